"""How XLA compiles programs that hardly run: quickly. What smoke and the tests do is nearly all compiling."""

from __future__ import annotations

import os
from importlib import metadata

from paths import WORKFLOW

__all__ = ["quick_flags"]

ANY_RELEASE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# Level 1 costs a tenth more than 0 to compile and runs five times as fast. XLA's newer emitters, by way of MLIR, cost
# twice as much; and a program's functions would be shared out to threads, which other jobs need.
LOCKED_RELEASE = (
    "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)


def quick_flags() -> str:
    """`XLA_FLAGS` for quick compilation on a CPU; what the reader has set comes last, and wins.

    XLA ends the process over a flag that it does not know, so a release other than the one in the lock is given old ones.
    """
    lock = (WORKFLOW.parent / "requirements.txt").read_text(encoding="utf-8")
    quick = LOCKED_RELEASE if f"jaxlib=={metadata.version('jaxlib')}\n" in lock else ANY_RELEASE
    return f"{quick} {os.environ.get('XLA_FLAGS', '')}".strip()
