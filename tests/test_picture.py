"""The README's picture says what the committed runs say."""

import re

import numpy as np
import picture
from project import ROOT


def test_the_committed_picture_is_the_one_of_the_committed_runs(tmp_path):
    picture.draw(ROOT, tmp_path / "again.svg")
    texts = [
        re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))
        for path in (picture.PICTURE, tmp_path / "again.svg")
    ]
    assert texts[0] == texts[1]
    assert sum("slope" in text for text in texts[0]) == 4
    assert picture.PICTURE.name in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_narrow_slopes_are_those_of_the_committed_runs():
    widths, moved = picture.movement(ROOT)
    assert all(len(values) == len(widths) and min(map(len, values)) >= 3 for values in moved.values())
    ends = {
        name: np.log(values[-1].mean() / values[0].mean()) / np.log(widths[-1] / widths[0])
        for name, values in moved.items()
    }
    assert ends["latent"] < ends["encoder"] < ends["decoder"] < 0
