"""Brings the book of a profile up to date: `make book` calls this, and this calls Snakemake.

It keeps two builds of one profile apart, passes an interruption on to everything it started, and says how it went.
With CHECK=1 in the environment a verdict other than the committed one is a failure, after the book was published.
"""

from __future__ import annotations

if __name__ == "__main__":
    import interruption  # noqa: F401  (before all other imports)

import argparse
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

from leftovers import check_folders, clear
from parameters import write_runs
from paths import WORKFLOW, Paths, library, remove
from processes import PARENT, command, take_lock, watch_parent
from progress import Progress
from sources import check_sources

__all__ = ["main"]


def _snakemake(root: Path, profile: str, cores: int, targets: list[str], again: list[str]) -> list[str]:
    engine = [*command("snakemake.cli"), "--snakefile", str(WORKFLOW / "Snakefile"), "--directory", str(root)]
    engine += ["--config", f"profile={profile}", "--cores", str(cores), "--resources", "gpu=1"]
    # A chapter that fails must not stop the others; one that was cut off is run again.
    engine += ["--keep-going", "--rerun-incomplete"]
    # The build's own lock dies with its processes; Snakemake's would outlive a kill -9.
    engine += ["--nolock"]
    # Times decide, not contents: touching a source re-runs what depends on it.
    engine += ["--max-checksum-file-size", "0"]
    engine += ["--forcerun", *again] if again else []
    engine += ["--scheduler", "greedy", "--quiet", "all", "--", *targets]
    return engine


# What a reader's shell may set that would make chapters compute something else, or fail on another's warning.
UNSET = ("JAX_ENABLE_X64", "JAX_DEBUG_NANS", "JAX_DISABLE_JIT", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_NUMPY_RANK_PROMOTION",
         "JAX_NUMPY_DTYPE_PROMOTION", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONINSPECT")  # fmt: skip


def _environment(paths: Paths) -> dict[str, str]:
    """What the engine and its jobs inherit; their temporary files lie where the next build clears them."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return kept | {PARENT: str(os.getpid()), "TMPDIR": str(paths.temporary)}


def _follow(engine: subprocess.Popen[str], progress: Progress) -> int:
    """Passes on what the engine and its jobs say until they have ended; returns the engine's status."""
    lines: queue.Queue[str] = queue.Queue()

    def read(stream: TextIO) -> None:
        for line in stream:
            lines.put(line.rstrip("\n"))

    assert engine.stdout is not None
    reader = threading.Thread(target=read, args=[engine.stdout], daemon=True)
    reader.start()
    while True:
        try:
            progress.line(lines.get(timeout=0.5))
        except queue.Empty:
            # A kernel may hold the pipe for a moment longer than the engine that was killed.
            if engine.poll() is not None and (not reader.is_alive() or not _group_lives(engine.pid)):
                break
            progress.tick()
    progress.close()
    engine.stdout.close()
    return engine.wait()


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _table(rows: list[dict[str, str]]) -> str:
    """Rows of texts under their names, in columns."""
    lines = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _say(outcome: dict[str, Any], check: bool) -> int:
    """Says which claims came out otherwise than committed; returns the status of the build."""
    if check and (close := outcome["near_edge"]):
        print(f"\nClaims so near an edge that more seeds might turn them ({len(close)}):\n{_table(close)}")
    if not (rows := outcome["unexpected"]):
        return 0
    print(f"\nClaims that came out otherwise than committed ({len(rows)}):\n{_table(rows)}")
    print("A processor that rounds differently can let a training end elsewhere; the scorecard marks these claims.")
    if check:
        print("The book is published, but CHECK=1 asks for the committed verdicts.", file=sys.stderr)
    return int(check)


def _published(paths: Paths) -> str | None:
    """The edition that readers see, by its path; None before the first."""
    return os.path.realpath(paths.html) if paths.html.exists() else None


def _interruption(before: str | None, after: str | None) -> str:
    """What an interruption left of the book."""
    if before != after:
        return "Interrupted. The new book was published before the interruption; the same command goes on from here."
    return "Interrupted. The published book is as it was; the same command goes on from here."


_ROWS = {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}}
OUTCOME = {
    "type": "object",
    "properties": {
        "profile": {"type": "string"},
        "chapters": {"type": "array"},
        "claims": {"type": "string"},
        "unexpected": _ROWS,
        "near_edge": _ROWS,
    },
    "required": ["profile", "chapters", "claims", "unexpected", "near_edge"],
}


def _outcome(paths: Paths) -> dict[str, Any] | None:
    """What the last rendering said of the claims; None if there is none that can be read."""
    try:
        return library("reporting.documents").read_json(paths.outcome, OUTCOME)
    except (ValueError, OSError):
        return None


def _prepare(options: argparse.Namespace) -> tuple[Paths, int]:
    """Looks at everything that was given before anything is run, takes the lock and clears what others left.

    Returns:
        The paths, and the descriptor of the lock.

    Raises:
        ValueError: naming what was expected and what came.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,3}", options.cores):
        raise ValueError(f"expected a number of cores from 1 to 9999, got {options.cores!r}")
    if (fresh := os.environ.get("FRESH", "")) not in ("", "0", "1"):
        raise ValueError(f"expected FRESH to be 1 or nothing, got {fresh!r}")
    paths = Paths(options.root.resolve(), options.profile)
    if unknown := sorted(set(options.chapter) - set(paths.chapters())):
        raise ValueError(f"expected chapters of notebooks/, one of {paths.chapters()}, got {unknown}")
    check_folders(paths)
    check_sources(paths)
    lock = take_lock(paths.build_lock)
    clear(paths, write_runs(paths))
    if not (paths.html / "index.html").is_file() or _outcome(paths) is None:
        remove(paths.outcome)  # the book is rendered anew
    return paths, lock


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--cores", default=str(os.cpu_count() or 1))
    parser.add_argument("--chapter", action="append", default=[], help="run this chapter and do not render the book")
    parser.add_argument("--parent", type=int, help="end when this process, which started the build, is gone")
    options = parser.parse_args(arguments)
    print(f"Profile {options.profile}: looking for what has changed", flush=True)
    try:
        paths, lock = _prepare(options)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    page, before = paths.html / "index.html", _published(paths)
    names = options.chapter or paths.chapters()
    # What a committed run may stand in for is trained anew.
    again = [name for name in names if os.environ.get("FRESH") == "1" and paths.results(name)[0].is_dir()]
    targets, again = (
        [paths.executed(name).relative_to(paths.root).as_posix() for name in chosen]
        for chosen in (options.chapter, again)
    )
    engine: subprocess.Popen[str] | None = None
    interrupted = 0

    def pass_on(number: int, _frame: object) -> None:
        nonlocal interrupted
        first, interrupted = not interrupted, number
        if engine is not None and engine.poll() is None:
            # Whoever asks a second time means it.
            os.killpg(engine.pid, signal.SIGINT if first else signal.SIGKILL)

    # Before the engine starts: it must not inherit "ignore", which a shell gives to background jobs.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, pass_on)
    if options.parent is not None:
        watch_parent(options.parent, lambda: os.kill(os.getpid(), signal.SIGTERM))
    # A process group of its own, so that an interruption reaches every process exactly once, however it was sent.
    engine = subprocess.Popen(
        _snakemake(paths.root, options.profile, int(options.cores), targets or ["book"], again),
        start_new_session=True,
        pass_fds=[lock],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(paths),
    )
    live = sys.stdout.isatty() and not os.environ.get("CI")
    status = _follow(engine, Progress(paths, int(options.cores), live=live))
    if interrupted:
        print(f"\n{_interruption(before, _published(paths))}", file=sys.stderr)
        return 128 + interrupted
    if status:
        why = f"the engine was killed by signal {-status}" if status < 0 else "see the messages above"
        print(
            f"\nThe book of profile {options.profile} was not updated: {why}. "
            f"What is finished is kept; the same command goes on from here.",
            file=sys.stderr,
        )
        return 1
    if options.chapter:
        for name in options.chapter:
            print(f"Executed: {os.path.relpath(paths.executed(name))}")
        return 0
    outcome = _outcome(paths)
    assert outcome is not None
    print(f"\nThe book:  {os.path.relpath(page)}\n           {page.absolute().as_uri()}")
    print(f"Profile:   {outcome['profile']}, {len(outcome['chapters'])} chapters")
    print(f"Scorecard: {outcome['claims']}")
    # Here and not in the job: a book that is up to date is checked too, and one that fails the check stays published.
    return _say(outcome, check=os.environ.get("CHECK") == "1")


if __name__ == "__main__":
    sys.exit(main())
