"""Finds official data files on disk, or downloads them when asked."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["find", "folders", "retrieve"]


def folders() -> list[Path]:
    """Where official files are looked for: `SNN_NTK_DATA` (if set), then the user's cache folder.

    Returns:
        One folder or two, whether they exist or not.
    """
    named = os.environ.get("SNN_NTK_DATA")
    return ([Path(named).expanduser()] if named else []) + [platformdirs.user_cache_path("snn_ntk")]


def find(dataset: str, name: str) -> Path | None:
    """The first `<folder>/<dataset>/<name>` or `<folder>/<name>` that exists.

    Args:
        dataset: Name of the data set's folder.
        name: The file's name.

    Returns:
        The file, or None.
    """
    candidates = [path for folder in folders() for path in (folder / dataset / name, folder / name)]
    return next((path for path in candidates if path.is_file()), None)


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
