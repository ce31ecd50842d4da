"""Where things lie: the folders of a checkout and those that the build of a profile fills. No other script spells one."""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PROFILES", "WORKFLOW", "Paths", "files", "is_name", "library", "remove", "write_atomically"]

WORKFLOW = Path(__file__).resolve().parent


@functools.cache
def library(name: str) -> Any:
    """A module of the package that imports the standard library only, loaded by its path.

    On a cluster this runs in Snakemake's environment, which does not have the package.
    """
    path = (WORKFLOW.parent / "src" / "snn_ntk").joinpath(*name.split(".")).with_suffix(".py")
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


PROFILES: tuple[str, ...] = library("reporting.documents").PROFILES


def is_name(text: str) -> bool:
    """Whether a text can stand in paths and in commands: letters, digits and a few signs."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._,=-]*", text) is not None


@dataclass(frozen=True)
class Paths:
    """Folders and files of the checkout `root` at one profile.

    Names may be Snakemake's wildcards: `Paths(Path(".")).executed("{chapter}")`.
    """

    root: Path
    profile: str = "laptop"

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"expected a profile, one of {', '.join(PROFILES)}, got {self.profile!r}")

    # The checkout

    @property
    def pages(self) -> Path:
        return self.root / "book"

    @property
    def claims(self) -> Path:
        return self.pages / "claims"

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def parameters(self) -> Path:
        """What the profile sets, a file a chapter; none at `laptop`, which is the notebooks' own defaults."""
        return self.root / "profiles" / self.profile

    def settings(self, chapter: str) -> tuple[Path, Path]:
        """A chapter's parameters, where the profile sets any, and its claims."""
        return self.parameters / f"{chapter}.yml", self.claims / f"{chapter}.yml"

    @property
    def source(self) -> Path:
        return self.root / "src"

    @property
    def lock(self) -> Path:
        return self.root / "requirements.txt"

    @property
    def config(self) -> Path:
        return self.root / "_config.yml"

    @property
    def toc(self) -> Path:
        return self.root / "_toc.yml"

    @property
    def citation(self) -> Path:
        return self.root / "CITATION.cff"

    @property
    def changelog(self) -> Path:
        return self.root / "CHANGELOG.md"

    def chapters(self) -> list[str]:
        """Stems of the notebooks, in the order of their numbers.

        Raises:
            ValueError: On a name that is more than letters, digits and a few signs: names become parts of paths.
        """
        names = sorted(path.stem for path in self.notebooks.glob("*.md"))
        if odd := [name for name in names if not is_name(name)]:
            raise ValueError(f"notebooks/: expected names of letters, digits, '-', '_' and '.', got {odd}")
        return names

    def notebook(self, chapter: str) -> Path:
        return self.notebooks / f"{chapter}.md"

    def sweep(self, chapter: str) -> Path:
        """The notebook that makes one run of a chapter's sweep."""
        return self.notebooks / "sweeps" / f"{chapter}.md"

    def results(self, chapter: str) -> tuple[Path, Path]:
        """What a chapter reads under results/: its own committed runs, and published numbers."""
        return self.root / "results" / chapter, self.published

    @property
    def published(self) -> Path:
        return self.root / "results" / "published"

    # What the build makes

    @property
    def out(self) -> Path:
        return self.root / "_build" / self.profile

    @property
    def build_lock(self) -> Path:
        return self.out / ".lock"

    @property
    def temporary(self) -> Path:
        """Where the jobs' temporary files lie."""
        return self.out / "tmp"

    @property
    def durations(self) -> Path:
        """How long each job took when it last ran."""
        return self.out / "durations.json"

    @property
    def outcome(self) -> Path:
        """What the last build said of the book; its time is the book's."""
        return self.out / "book.json"

    @property
    def staging(self) -> Path:
        return self.out / "staging"

    @property
    def rendering(self) -> Path:
        return self.out / "rendering"

    @property
    def doctrees(self) -> Path:
        """What Sphinx read for the last book."""
        return self.out / "doctrees"

    @property
    def editions(self) -> Path:
        return self.out / "editions"

    @property
    def html(self) -> Path:
        return self.out / "html"

    @property
    def pdf(self) -> Path:
        return self.out / "snn-ntk.pdf"

    def chapter(self, chapter: str) -> Path:
        """The folder of a chapter that has finished and passed the gate."""
        return self.out / "chapters" / chapter

    def executed(self, chapter: str) -> Path:
        return self.chapter(chapter) / "notebook.ipynb"

    def result(self, chapter: str, run: str) -> Path:
        """What a run of a sweep found."""
        return library("reporting.sweeps").runs_folder(self.root, self.profile, chapter) / f"{run}.json"

    def block(self, chapter: str, run: str) -> Path:
        """The parameters of a run of a sweep."""
        return self.out / "blocks" / chapter / f"{run}.yml"

    def running(self, chapter: str, run: str | None = None) -> Path:
        """Where a chapter or a run of its sweep is executed; a failed one stays there."""
        return self.out / "running" / (f"sweeps/{chapter}/{run}" if run else chapter)


def files(*paths: Path) -> list[str]:
    """Every file of the given folders and files that exists, as text."""
    found = []
    for path in paths:
        found += [path] if path.is_file() else [item for item in sorted(path.rglob("*")) if item.is_file()]
    skipped = {"__pycache__", ".ipynb_checkpoints"}
    return [path.as_posix() for path in found if not skipped & set(path.parts)]


def remove(path: Path) -> None:
    """Removes a file, a link or a folder, whichever it is, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part; leaves it alone if unchanged."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    library("_files").write_bytes(path, text.encode())
