"""How XLA compiles programs that hardly run: quickly. What smoke and the tests do is nearly all compiling."""

from __future__ import annotations

import os
from importlib import metadata

from paths import WORKFLOW

__all__ = ["quick_flags"]

ANY_RELEASE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# XLA's newer emitters, by way of MLIR, cost twice as much; and a program's functions would be shared out to threads, which
# other jobs need.
LOCKED_RELEASE = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
# Level 0 compiles in half the time of level 1, and runs several times as slowly: too slowly for these, which compute for
# longer than they compile even at smoke. It costs them ten seconds each and saves the others up to eight.
COMPUTING = ("06-concentration", "13-asymmetrical-scaling")


def quick_flags(chapter: str | None = None) -> str:
    """`XLA_FLAGS` for quick compilation on a CPU, of a chapter or of tests; what the reader has set comes last, and wins.

    XLA ends the process over a flag that it does not know, so a release other than the one in the lock is given old ones.
    """
    lock = (WORKFLOW.parent / "requirements.txt").read_text(encoding="utf-8")
    locked = f"jaxlib=={metadata.version('jaxlib')}\n" in lock
    level = int(chapter is None or chapter in COMPUTING)
    quick = f"--xla_backend_optimization_level={level} {LOCKED_RELEASE}" if locked else ANY_RELEASE
    return f"{quick} {os.environ.get('XLA_FLAGS', '')}".strip()
