"""How XLA compiles programs that hardly run: quickly rather than well. What smoke and the tests do is nearly all compiling."""

from __future__ import annotations

import os
from importlib import metadata

from paths import WORKFLOW

__all__ = ["quick_flags"]


def quick_flags() -> str:
    """`XLA_FLAGS` with which a CPU's programs are compiled in half the time; what the reader has set comes last and wins.

    XLA's newer emitters go by way of MLIR, and a program's functions would be spread over threads that other chapters need.
    XLA ends the process over a flag that it does not know, so only the release in the lock is given any.
    """
    locked = f"jaxlib=={metadata.version('jaxlib')}\n" in (WORKFLOW.parent / "requirements.txt").read_text(encoding="utf-8")
    quick = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1" if locked else ""
    return f"{quick} {os.environ.get('XLA_FLAGS', '')}".strip()
