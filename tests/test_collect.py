"""Committing a sweep: what exists is written, what was committed before stays, nothing is invented."""

from __future__ import annotations

import json

import pytest
from collect import collect

from snn_ntk.reporting import load_results

NOTEBOOK = "```{code-cell}\n:tags: [parameters]\n\nsweep: list = []\n```\n"
SWEEP = "sweep:\n  - {m: [1, 2, 3], steps: 5}\n"


@pytest.fixture
def root(tmp_path):
    for folder in ("profiles/gpu", "notebooks/sweeps"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "profiles" / "gpu" / "01-a.yml").write_text(SWEEP)
    (tmp_path / "notebooks" / "01-a.md").write_text(NOTEBOOK)
    (tmp_path / "notebooks" / "sweeps" / "01-a.md").write_text("")
    return tmp_path


def run(root, m, value, device="cpu", steps=5):
    folder = root / "_build" / "gpu" / "sweeps" / "01-a"
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "parameters": {"m": m, "steps": steps},
        "result": {"y": [value], "pictures": "…"},
        "provenance": {"device": device, "versions": {"jax": "0.0"}},
    }
    (folder / f"m{m}.json").write_text(json.dumps(content))


def test_runs_are_committed_and_stay_committed(root):
    run(root, 1, 0.1)
    run(root, 2, 0.2)
    run(root, 3, 0.3, steps=4)  # made with other parameters: not a run of this sweep
    assert collect(root, "gpu", "01-a") == ["m1", "m2"]
    for path in (root / "_build").rglob("*.json"):
        path.unlink()
    run(root, 2, 0.25, device="gpu")
    assert collect(root, "gpu", "01-a") == ["m2"]
    found = load_results("01-a", root=root)
    assert {name: entry["result"] for name, entry in found["series"]["runs"].items()} == {
        "m1": {"y": [0.1]},
        "m2": {"y": [0.25]},
    }
    assert [(g["device"], g["runs"]) for g in found["provenance"]["groups"]] == [("cpu", ["m1"]), ("gpu", ["m2"])]


def test_runs_that_the_chapter_made_itself_are_committed_too(root):
    folder = root / "_build" / "gpu" / "chapters" / "02-b" / "runs"
    folder.mkdir(parents=True)
    made = {"parameters": {"m": 9}, "result": {"y": [0.5]}, "provenance": {"device": "cpu", "versions": {}}}
    (folder / "m9_rate0.1.json").write_text(json.dumps(made))
    assert collect(root, "gpu", "02-b") == ["m9_rate0.1"]


def test_nothing_to_commit_is_an_error(root):
    for chapter in ("01-a", "02-b"):
        with pytest.raises(ValueError, match=f"expected runs of {chapter}"):
            collect(root, "gpu", chapter)
    assert load_results("01-a", root=root) is None
