"""A chapter made twice has the same records and the same figures, to the last bit, in whatever order sets come."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT


def made(chapter: str, root: Path, hash_seed: str) -> dict[str, bytes]:
    """The records and the figures of a chapter at smoke, by file."""
    root.mkdir()
    for name in ("book", "notebooks", "profiles", "results", "src", "requirements.txt"):
        (root / name).symlink_to(ROOT / name)
    command = [sys.executable, str(ROOT / "workflow" / "run_chapter.py"), chapter, "--profile", "smoke"]
    done = subprocess.run(
        [*command, "--root", str(root)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    folder = root / "_build" / "smoke" / "chapters" / chapter
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".ipynb"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.heavy
@pytest.mark.parametrize("chapter", ["04-stochastic-network", "14-audit"])
def test_a_chapter_made_twice_is_the_same(chapter, tmp_path):
    first, second = (made(chapter, tmp_path / seed, seed) for seed in ("1", "2"))
    assert {"claims.json", "provenance.json"} < set(first)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
