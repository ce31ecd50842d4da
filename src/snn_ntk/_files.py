"""Writing a file at once or not at all, so that a reader finds the old content or the new, never half of one; and hashes.

Only the standard library is imported with this file: the build reads it by its path, in Snakemake's own environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["digest", "replacing", "write_arrays", "write_bytes"]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` when the block ends, and is removed if it ends by an error.

    Folders above it are made. The content is on the disk before the name is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two writers of one path, on two machines too, must not share what they write to.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file."""
    with replacing(path) as file:
        file.write(content)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes named arrays to an .npz file."""
    import numpy as np

    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def digest(*parts: Any) -> str:
    """A hash of texts and arrays, the arrays' types and shapes included: SHA-256 in hexadecimal digits.

    >>> digest("a", [1, 2]) == digest("a", (1, 2)), digest([1, 2]) == digest([1.0, 2.0])
    (True, False)
    """
    import numpy as np

    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(part.encode())
        else:
            array = np.asarray(part)
            found.update(f"{array.dtype}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()
