"""Where a number came from: versions, device, a hash of the sources."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

import jax

from snn_ntk.reporting.dependencies import imported_files

__all__ = ["FULL_PRECISION", "book_root", "provenance", "sources_hash"]

FULL_PRECISION = "full precision"
_PACKAGES = ("jax", "jaxlib", "neural-tangents", "numpy", "scipy")


def book_root(start: Path | None = None) -> Path:
    """The folder that holds `book/claims`, found from the working directory upwards.

    Raises:
        FileNotFoundError: If there is none, naming what was looked for.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "book" / "claims").is_dir():
            return folder
    raise FileNotFoundError(f"expected to run inside a checkout that holds book/claims, got {start}")


@functools.cache
def sources_hash(root: Path, chapter: str) -> str:
    """SHA-256 (first 16 digits) of the chapter's notebook, of the package's files that it needs, and of the lock."""
    digest = hashlib.sha256()
    notebook = root / "notebooks" / f"{chapter}.md"
    needed = imported_files(root, notebook) if notebook.is_file() else []
    for path in [*needed, notebook, root / "requirements.txt"]:
        if path.is_file():
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def provenance(root: Path, chapter: str, profile: str) -> dict[str, object]:
    """The stamp that every record and figure carries; it says so if the build had to try the notebook a second time.

    `products` says how products of matrices are computed that ask for nothing: on a card the default keeps fewer bits.
    """
    device = jax.devices()[0]
    full = device.platform == "cpu" or jax.config.read("jax_default_matmul_precision") in ("highest", "float32")
    retried = os.environ.get("SNN_NTK_RETRIED")
    return {
        "chapter": chapter,
        "profile": profile,
        "device": device.device_kind,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "x64": bool(jax.config.read("jax_enable_x64")),
        "products": FULL_PRECISION if full else "default of the device",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "sources": sources_hash(root, chapter),
        **({"retried": retried} if retried else {}),
    }
