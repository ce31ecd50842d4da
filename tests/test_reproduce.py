"""The commands that README, CONTRIBUTING and the book print: every block says who runs it, and here runs what says `test`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jupytext
import pytest
from compilation import quick_flags
from project import ROOT, copy_sources

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md")))
FENCE = re.compile(r"^( *)```(bash|sh|shell|console|python)\b *([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
TAGS = ("test", "slow", "gpu", "cluster")


class Block(NamedTuple):
    page: str
    language: str
    tag: str
    text: str


BLOCKS = [Block(page.name, *found) for page in PAGES for _, *found in FENCE.findall(page.read_text(encoding="utf-8"))]
SHELL = [block for block in BLOCKS if block.language != "python"]  # Python without a tag: tests/test_howto.py
MAKE = sorted({line for block in SHELL for line in block.text.splitlines() if line.startswith("make ")})
TESTED = [block for block in BLOCKS if block.tag == "test"]
SLOW = {line.partition("#")[0].strip() for block in SHELL if block.tag == "slow" for line in block.text.splitlines()}
ELSEWHERE = {
    "make test": "the job of CI that these tests are a part of",
    "make unit": "a part of `make test`",
    "make pdf": "tests/test_browser.py, with the book at smoke",
    "make book PROFILE=smoke": "a part of `make test`",
    "pip install snn-ntk": "tests/test_wheel.py, with the wheel that a release would be",
    "pip install --no-deps neural-tangents==0.6.5": "tests/test_wheel.py",
    ".venv/bin/pre-commit install": "writes into the clone's .git",
    "make chapter CHAPTER=13-name PROFILE=smoke": "of a chapter that a contributor writes; `make book` runs all there are",
    ".venv/bin/pip install jupyterlab": "for a reader's browser",
    ".venv/bin/jupyter lab notebooks/05-stochastic-ntk.md": "for a reader's browser, and does not end",
}
"""What of the blocks tagged `slow` is run elsewhere, or by nobody, and why."""
WEEKLY = {"make book FRESH=1", "make campaign SCALE=0.01 MINUTES=8"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the sources under a name with a space, as after `make setup`."""
    copy = tmp_path_factory.mktemp("a clone") / "snn ntk"
    copy_sources(copy)
    (copy / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return copy


def test_every_block_of_commands_says_who_runs_it():
    assert [block for block in SHELL if block.tag not in TAGS] == []
    assert {block.tag for block in SHELL} == set(TAGS)


@pytest.mark.heavy
@pytest.mark.parametrize("block", TESTED, ids=[f"{block.page}-{block.language}" for block in TESTED])
def test_what_is_printed_runs(block, checkout):
    command = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = quick_flags()  # compiling well takes longer than these small sizes
    done = subprocess.run(
        [*command, block.text], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_what_is_run_elsewhere_is_still_printed():
    assert set(ELSEWHERE) <= SLOW


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=pytest.mark.weekly if line in WEEKLY else pytest.mark.heavy)
        for line in sorted(SLOW - set(ELSEWHERE))
    ],
)
def test_what_takes_minutes_runs(line, checkout):
    # The environment is there, whatever the age of its stamp.
    command = ["make", "--old-file", ".venv/.ready", *line.split()[1:]]
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("line", MAKE)
def test_make_has_what_is_printed(line, checkout):
    command = ["make", "--dry-run", *line.partition("#")[0].split()[1:]]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").rglob("*.md")), ids=lambda path: path.stem)
def test_a_notebook_names_the_language_that_papermill_asks_for(path):
    assert jupytext.read(path).metadata["kernelspec"]["language"] == "python"
