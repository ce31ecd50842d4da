"""Reads files that may hold anything: sizes are checked before anything is unpacked, and what is wrong is one error."""

from __future__ import annotations

import contextlib
import gzip
import math
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

__all__ = ["Bounded", "expecting", "npz_member", "read", "tar_files", "unpacked", "zip_member"]


@contextlib.contextmanager
def expecting(path: Path | str, expected: str) -> Iterator[None]:
    """Turns whatever is raised in the block into a ValueError that says which file, what was expected, and what came."""
    try:
        yield
    except Exception as error:  # parsers raise nearly anything on bytes that are not of their format
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path}: expected {expected}, got a corrupt or different one ({reason})") from error


class Bounded:
    """A stream that raises ValueError when it goes on for longer than it may."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._limit, self._left = stream, limit, limit

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"more than {self._limit:,} bytes")
        return content


@contextlib.contextmanager
def unpacked(path: Path, limit: int) -> Iterator[Bounded]:
    """A file to read from, unpacked if it is gzipped, which ends in a ValueError after `limit` bytes."""
    if not path.is_file():  # a pipe would be waited for
        raise ValueError("a folder" if path.is_dir() else "no file")
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield Bounded(gzip.open(file) if packed else file, limit)


def read(path: Path, limit: int) -> bytes:
    """The content of a file, unpacked if it is gzipped; a ValueError if that is more than `limit` bytes."""
    with unpacked(path, limit) as stream:
        return stream.read()


def tar_files(stream: Bounded, wanted: Callable[[str], Any], limit: int) -> Iterator[tuple[str, bytes]]:
    """Name in the archive and content of each file whose last name is wanted; a ValueError if one is above `limit`."""
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
        for member in archive:
            if not (wanted(Path(member.name).name) and member.isfile()):
                continue
            if member.size > limit:
                raise ValueError(f"{member.name} has {member.size:,} bytes, more than {limit:,}")
            content = archive.extractfile(member)
            assert content is not None
            yield member.name, content.read()


def zip_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """The content of a member; a ValueError if it is above `limit` bytes."""
    size = archive.getinfo(name).file_size  # no more is ever unpacked
    if size > limit:
        raise ValueError(f"{name} unpacks to {size:,} bytes, more than {limit:,}")
    return archive.read(name)


@contextlib.contextmanager
def npz_member(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[zipfile.ZipExtFile, tuple[int, ...], np.dtype]]:
    """An array of an .npz file opened after its header, its shape and type.

    Raises:
        ValueError: If it holds objects, which would be unpickled, is in Fortran's order, or has not the size that its
            header says.
    """
    with archive.open(f"{name}.npy") as opened:
        stream = cast(zipfile.ZipExtFile, opened)
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} is not an array of version 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if fortran or dtype.hasobject:
            raise ValueError(f"{name} has dtype {dtype}{' in Fortran order' if fortran else ''}")
        size, expected = archive.getinfo(f"{name}.npy").file_size - stream.tell(), math.prod(shape) * dtype.itemsize
        if size != expected:
            raise ValueError(f"{name} has {size:,} bytes where its shape {shape} says {expected:,}")
        yield stream, shape, dtype
