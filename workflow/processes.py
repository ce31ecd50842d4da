"""Processes that end with the one that started them, however that one ends, and the lock that keeps two builds apart.

A watched parent is all there is to it: every process of a build looks five times a second whether its parent is still
there. `kill -9` gives no other notice. A kernel looks for itself (`JPY_PARENT_PID`).

As a script it runs the function `main` of a module in this way: `processes.py MODULE ARGUMENTS…`.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

__all__ = ["PARENT", "command", "end_with_parent", "kill_descendants", "take_lock", "watch_parent"]

# Where a process says to those below it who it is: by the time that one of them looks, its parent may be gone already.
PARENT = "SNN_NTK_PARENT"


def kill_descendants() -> None:
    """Kills every process below this one, kernels in sessions of their own included."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _end() -> None:
    kill_descendants()
    os._exit(1)


def watch_parent(parent: int, then: Callable[[], None] = _end) -> None:
    """Calls `then` in a thread once the process `parent`, which started this one, is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        then()

    threading.Thread(target=watch, daemon=True).start()


def end_with_parent() -> None:
    """Makes this process and all below it end with its parent, and those that it starts with it."""
    watch_parent(int(os.environ.get(PARENT) or os.getppid()))
    os.environ[PARENT] = str(os.getpid())


def command(module: str) -> list[str]:
    """The beginning of a command line that runs `main` of a module and ends with the process that started it."""
    return [sys.executable, str(Path(__file__).resolve()), module]


def take_lock(path: Path) -> int:
    """Takes the build's lock; the system releases it when the last process that has it ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode() or "unknown"
        print(f"Another build, process {holder}, is running; waiting for it to end.", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


if __name__ == "__main__":
    # An interruption must reach this one even where a shell that put the build into the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent()
    _, module, *sys.argv[1:] = sys.argv
    sys.argv[0] = module
    sys.path[0] = ""  # this script's folder is no place to look for other modules
    try:
        sys.exit(importlib.import_module(module).main())
    except KeyboardInterrupt:
        sys.exit(130)
