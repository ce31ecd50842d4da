"""A chapter's output: figures, records, and what it refuses."""

import base64
import json
import re

import matplotlib.pyplot as plt
import pytest
import yaml
from key_figures import key_figures
from nbformat.v4 import new_code_cell, new_notebook, new_output

from snn_ntk.reporting import Chapter, Estimate, exactly, load_records
from snn_ntk.reporting import chapter as module

CLAIM = {"id": "a", "source": "[P]", "statement": "s", "accept": [0, 1], "near_miss": 2.0, "why": "w"}
CLAIM["expect"] = {"laptop": "reproduced"}


@pytest.fixture
def shown(tmp_path, monkeypatch):
    (tmp_path / "book" / "claims").mkdir(parents=True)
    (tmp_path / "book" / "claims" / "c.yml").write_text(yaml.safe_dump([CLAIM]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SNN_NTK_OUTPUT", str(tmp_path / "out"))
    displayed = []
    monkeypatch.setattr(module, "display", displayed.append)
    return displayed


def test_records_are_written_at_the_end_and_read_back(shown, tmp_path):
    chapter = Chapter("c", "smoke")
    chapter.record("a", Estimate(0.5, (0.4, 0.6), 3), note="widths 1–2", slope=1)
    assert not (tmp_path / "out" / "claims.json").exists()
    chapter.close()
    (record,) = load_records(tmp_path / "out" / "claims.json")
    assert (record.value, record.interval, record.seeds, record.detail) == (0.5, (0.4, 0.6), 3, {"slope": 1})
    assert record.provenance["profile"] == "smoke"
    assert len(record.provenance["sources"]) == 16
    assert "**reproduced**" in shown[-1].data


def test_no_seeds_are_no_run_whatever_the_estimate_counts(shown):
    chapter = Chapter("c", "laptop")
    chapter.record("a", exactly(0.5, 3), seeds=0)
    chapter.close()
    assert "**not run**" in shown[-1].data


def test_a_verdict_other_than_the_committed_one_is_marked(shown):
    chapter = Chapter("c", "laptop")
    chapter.record("a", exactly(2.0))
    chapter.close()
    assert "**expected reproduced, here not reproduced**" in shown[-1].data


def test_an_open_verdict_inside_the_region_says_what_is_not_ruled_out(shown, tmp_path):
    (tmp_path / "book" / "claims" / "c.yml").write_text(yaml.safe_dump([CLAIM | {"near_miss": 1.2}]))
    chapter = Chapter("c", "smoke")
    chapter.record("a", Estimate(0.5, (0.0, 1.0), 3))
    chapter.close()
    assert "**inconclusive**, too wide to rule out 1.2 |" in shown[-1].data


def test_figure_is_saved_with_its_data_and_displayed_with_alt_text(shown, tmp_path):
    chapter = Chapter("c", "smoke")
    figure, axis = plt.subplots()
    axis.plot([1, 2], [3, 4])
    chapter.figure(figure, "line", caption="A <line>.", alt='It "rises".', data={"x": [1, 2]})
    page = shown[-1].data
    svg = base64.b64decode(re.search('base64,([^"]+)', page)[1])
    assert svg == (tmp_path / "out" / "figures" / "line.svg").read_bytes()
    assert "A &lt;line&gt;." in page
    assert 'alt="It &quot;rises&quot;."' in page
    assert 'href="../figures/c/line.png"' in page
    assert 'src="../figures/c/line.dark.svg" hidden' in page
    saved = json.loads((tmp_path / "out" / "figures" / "line.json").read_text())
    assert saved["data"] == {"x": [1, 2]}
    assert saved["provenance"]["profile"] == "smoke"


def test_a_figure_that_moves_has_a_frame_for_every_choice_and_stays_one_on_the_chapters_page(shown, tmp_path):
    def draw(slope, power):
        figure, axis = plt.subplots()
        axis.plot([0, 1], [0, slope**power])
        return figure

    chapter = Chapter("c", "smoke")
    choices = {"slope": [1, 2, 3], "power": [0.5, 1]}
    words = {"caption": "Moves <fast>.", "alt": "A line.", "data": {}, "title": "It rises"}
    chapter.moving_figure(draw, "lines", choices, still=[2, 1], **words)
    page = shown[-1].data
    folder = tmp_path / "out" / "figures"
    frames = {f"lines.{i}.{j}{dark}.svg" for i in range(3) for j in range(2) for dark in ("", ".dark")}
    assert frames <= {path.name for path in folder.iterdir()}
    assert len({(folder / f"lines.{i}.{j}.svg").read_bytes() for i, j in ((0, 0), (1, 0), (1, 1), (2, 1))}) == 4
    assert re.findall(r'max="(\d)" value="(\d)"', page) == [("2", "1"), ("1", "1")]
    # The chapter's page shows the same by reference, with its sliders.
    notebook = new_notebook(cells=[new_code_cell(outputs=[new_output("display_data", {"text/html": page})])])
    (key,) = key_figures(notebook).items()
    assert key[0] == "c/lines"
    for part in (
        'src="../figures/c/lines.svg"',
        'src="../figures/c/lines.dark.svg" hidden',
        'alt="A line."',
        "Moves &lt;fast&gt;. (",
    ):
        assert part in key[1]
    assert key[1].count("<input") == 2
    assert "base64" not in key[1]


def test_refusals(shown):
    with pytest.raises(ValueError, match="'d'"):
        Chapter("d", "smoke")
    with pytest.raises(ValueError, match=r"one of .*'laptop'.*, got 'labtop'"):
        Chapter("c", "labtop")
    chapter = Chapter("c", "smoke")
    with pytest.raises(ValueError, match="none of \\['a'\\]"):
        chapter.close()
    with pytest.raises(ValueError, match="got 'b'"):
        chapter.record("b", 0.0, interval=(0, 0), seeds=1)
    with pytest.raises(ValueError, match="interval and a number of seeds"):
        chapter.record("a", 0.0)
    with pytest.raises(ValueError, match="seeds >= 0, got -1"):
        chapter.record("a", exactly(2.0), seeds=-1)
    chapter.record("a", 0.0, interval=(0, 0), seeds=1)
    with pytest.raises(ValueError, match="second"):
        chapter.record("a", 0.0, interval=(0, 0), seeds=1)
    assert not any(chapter.folder.glob("*"))


def test_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds book/claims"):
        Chapter("c", "smoke")
