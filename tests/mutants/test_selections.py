"""What `make mutants` is told stays true: its files and tests exist, and so do the lines whose mutants change nothing."""

import tomllib
from pathlib import Path

import pytest

ROOT, HERE = Path(__file__).parents[2], Path(__file__).parent
SELECTIONS = tomllib.loads((HERE / "selections.toml").read_text(encoding="utf-8"))
EQUIVALENT = tomllib.loads((HERE / "equivalents.toml").read_text(encoding="utf-8"))["equivalent"]


@pytest.mark.parametrize("file", SELECTIONS)
def test_a_selection_names_tests_that_there_are(file):
    assert (ROOT / "src" / "snn_ntk" / file).is_file()
    for test in SELECTIONS[file]:
        path, _, function = test.partition("::")
        assert f"def {function}" in (ROOT / path).read_text(encoding="utf-8"), test


@pytest.mark.parametrize("entry", EQUIVALENT, ids=lambda entry: entry["was"])
def test_a_reason_is_given_for_a_line_that_there_is(entry):
    lines = (ROOT / "src" / "snn_ntk" / entry["file"]).read_text(encoding="utf-8").splitlines()
    assert entry["was"] in map(str.strip, lines)
    assert entry["file"] in SELECTIONS
    assert entry["why"]
