"""What builds that were cut off leave behind, cleared by the next one, and folders that are none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paths import Paths, remove

__all__ = ["check_folders", "clear"]


def check_folders(paths: Paths) -> None:
    """Looks at the folders that a build writes to.

    Raises:
        ValueError: if something else is where one belongs, or it cannot be written to.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        writable = os.access(cache, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        raise ValueError(f"{cache}: expected a folder that can be written to, got one that cannot; set HOME to another")
    build = paths.out.parent
    kept = [paths.editions, paths.chapter("x").parent, paths.running("x").parent, paths.result("x", "y").parent.parent]
    for folder in (build, paths.out, *kept, paths.root / ".snakemake"):
        if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
            raise ValueError(f"{os.path.relpath(folder)}: expected a folder, got something else; remove it")
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise ValueError(
                f"{os.path.relpath(folder)}: expected a folder that can be written to, got one that cannot"
            )


def clear(paths: Paths, stages: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Removes what builds of the profile that were cut off have left. Only who has the build's lock may call it.

    Args:
        paths: Of the profile.
        stages: The sweeps: what a run has left stays while the run is wanted, and it goes on from there.
    """
    remove(paths.rendering)
    remove(paths.temporary)
    paths.temporary.mkdir()
    shown = paths.html.resolve()
    for edition in paths.editions.glob("*"):
        if edition.resolve() != shown:
            remove(edition)
    for folder in paths.running("x").parent.glob("*"):
        if folder.name != "sweeps":
            remove(folder)
    wanted = {paths.running(chapter, run) for chapter, listed in stages.items() for stage in listed for run in stage}
    for folder in paths.running("x", "y").parent.parent.glob("*/*"):
        if folder not in wanted:
            remove(folder)
    for pattern in (".html.*", "**/.*.part"):
        for path in paths.out.glob(pattern):
            remove(path)
