"""Says whether a node has what the bundle expects there, before anything is installed. Standard library only."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import sys
from pathlib import Path

__all__ = ["problems"]

# One of them is what lets JAX see a card.
CUDA = ("jax-cuda13-plugin", "jax-cuda12-plugin")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def problems(bundle: dict, *, rehearsal: bool) -> list[str]:
    """What is not as the bundle expects it, a sentence each."""
    found = []
    here = "{}.{}".format(*sys.version_info)
    if here != bundle["python"]:
        found.append(
            f"expected Python {bundle['python']}, for which this bundle was made, got {here} ({sys.executable}): "
            f"name another one by PYTHON=…, or make the bundle by `make bundle NODE_PYTHON={here}`"
        )
    if platform.machine() != bundle["machine"]:
        found.append(f"expected a processor of the kind {bundle['machine']}, got {platform.machine()}")
    if _version("pip") is None:
        found.append("expected pip, got none")
    for name, least in bundle["node_has"].items():
        version = _version(name)
        if version is None:
            found.append(f"expected {name} on this node, got none: the bundle leaves it out")
        elif _numbers(version) < _numbers(least):
            found.append(f"expected {name} {least} or newer, got {version}")
    if not rehearsal and not any(map(_version, CUDA)):
        found.append(f"expected JAX for CUDA ({' or '.join(CUDA)}), got neither: no card would be used")
    return found


if __name__ == "__main__":
    content = json.loads((Path(sys.argv[1]) / "bundle.json").read_text(encoding="utf-8"))
    if wrong := problems(content, rehearsal=os.environ.get("REHEARSAL") == "1"):
        sys.exit("This node cannot run the bundle:\n" + "\n".join(f"  - {line}" for line in wrong))
    cuda = next((f"{name} {_version(name)}" for name in CUDA if _version(name)), "no CUDA: a rehearsal")
    print(f"Python {platform.python_version()}, JAX {_version('jax')}, NumPy {_version('numpy')}, {cuda}", flush=True)
