"""Finds official data files on disk, or downloads them when asked."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import platformdirs

__all__ = ["find", "folders", "retrieve", "say_fallback"]


def folders() -> list[Path]:
    """Where official files are looked for: `SNN_NTK_DATA` (if set), then the user's cache folder.

    Returns:
        One folder or two; the cache folder may not exist.

    Raises:
        FileNotFoundError: If `SNN_NTK_DATA` names a folder that does not exist.
    """
    named = os.environ.get("SNN_NTK_DATA")
    if named and not Path(named).expanduser().is_dir():
        raise FileNotFoundError(f"expected SNN_NTK_DATA to name a folder that exists, got {named!r}")
    return ([Path(named).expanduser()] if named else []) + [platformdirs.user_cache_path("snn_ntk")]


def find(
    dataset: str,
    *names: str,
    inside: Sequence[str] = (),
    folder: bool = False,
    among: Sequence[Path] | None = None,
) -> Path | None:
    """The first `<folder>/<dataset>/<name>` or `<folder>/<name>` that exists, looked for in all of a folder before the next one.

    Args:
        dataset: Name of the data set's folder.
        names: The file's name, and others that it goes by.
        inside: Folders of that folder in which it may lie as well.
        folder: Whether a folder of that name will do.
        among: Folders to look in; by default those of `folders`. Files that belong together are looked for in one.

    Returns:
        The file, or None.

    Raises:
        ValueError: If there is no such file, but something else of its name.
    """
    places = [Path(first, part) for part in (".", *inside) for first in (dataset, ".")]
    candidates = [top / place / name for top in among or folders() for place in places for name in names]
    found = next((path for path in candidates if path.is_file() or (folder and path.is_dir())), None)
    other = next((path for path in candidates if os.path.lexists(path)), None)
    if found is None and other is not None:
        kind = "a folder" if other.is_dir() else "a broken link" if other.is_symlink() else "a pipe or device"
        raise ValueError(f"{other}: expected a file of {dataset}, got {kind}")
    return found


@functools.cache
def _warn_once(message: str) -> None:
    logging.getLogger("snn_ntk").warning(message)


def say_fallback(wanted: str, instead: str) -> None:
    """Says what takes the place of files that were not found, to who has named a folder for them.

    Args:
        wanted: What was looked for.
        instead: What is used.
    """
    if os.environ.get("SNN_NTK_DATA"):
        _warn_once(f"no {wanted} in {' or '.join(map(str, folders()))}: {instead} instead")


def retrieve(dataset: str, name: str, url: str, sha256: str | None) -> Path:
    """The file on disk, downloaded to the user's cache folder if it is not there yet.

    Args:
        dataset: Name of the data set's folder.
        name: The file's name.
        url: Where it is downloaded from.
        sha256: What pooch checks a download against, also "md5:…"; None checks nothing.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If it is not there and cannot be downloaded, naming what to put where.
        ValueError: If the download is not the file that was expected.
    """
    found = find(dataset, name)
    if found is not None:
        return found
    import pooch  # here, because it brings notebook widgets along that warn where they cannot be shown

    target = folders()[-1] / dataset
    try:
        path = pooch.retrieve(url, known_hash=sha256, fname=name, path=target, progressbar=True)
    except OSError as error:
        places = " or ".join(str(folder / dataset) for folder in folders())
        raise FileNotFoundError(
            f"{name} is not on disk and could not be downloaded from {url} ({error}); put the file into {places}"
        ) from error
    return Path(path)
