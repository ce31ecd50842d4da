"""Brings the book of a profile up to date: `make book` calls this, and this calls Snakemake.

It keeps two builds of one profile apart, passes an interruption on to everything it started, and says how it went.
With CHECK=1 in the environment a verdict other than the committed one is a failure, after the book was published.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from parameters import write_runs
from paths import WORKFLOW, Paths

__all__ = ["main"]


def _lock(path: Path) -> int:
    """Takes the build's lock; the system releases it when the last process that has it ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another build of this profile is running; waiting for it to end.", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _snakemake(root: Path, profile: str, cores: int, targets: list[str]) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(WORKFLOW / "Snakefile"), "--directory", str(root)]
    command += ["--config", f"profile={profile}", "--cores", str(cores), "--resources", "gpu=1"]
    # A chapter that fails must not stop the others; one that was cut off is run again.
    command += ["--keep-going", "--rerun-incomplete"]
    # The build's own lock dies with its processes; Snakemake's would outlive a kill -9.
    command += ["--nolock"]
    # Times decide, not contents: touching a source re-runs what depends on it.
    command += ["--max-checksum-file-size", "0"]
    command += ["--scheduler", "greedy", "--quiet", "all", "--", *targets]
    return command


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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--chapter", action="append", default=[], help="run this chapter and do not render the book")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    try:
        paths = Paths(root, options.profile)
        if unknown := sorted(set(options.chapter) - set(paths.chapters())):
            raise ValueError(f"expected chapters of notebooks/, one of {paths.chapters()}, got {unknown}")
        lock = _lock(paths.build_lock)
        write_runs(paths)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    page, before = paths.html / "index.html", _published(paths)
    if not page.is_file():
        paths.outcome.unlink(missing_ok=True)
    targets = [paths.executed(name).relative_to(root).as_posix() for name in options.chapter] or ["book"]
    command = _snakemake(root, options.profile, options.cores, targets)
    engine: subprocess.Popen[bytes] | None = None
    interrupted = 0

    def pass_on(number: int, _frame: object) -> None:
        nonlocal interrupted
        first, interrupted = not interrupted, number
        if engine is not None and engine.poll() is None:
            # Whoever asks a second time means it.
            os.killpg(engine.pid, signal.SIGINT if first else signal.SIGKILL)

    # Before the engine starts: it must not inherit "ignore", which a shell gives to background jobs.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    # A process group of its own, so that an interruption reaches every process exactly once, however it was sent.
    engine = subprocess.Popen(command, start_new_session=True, pass_fds=[lock])
    status = engine.wait()
    if interrupted:
        print(f"\n{_interruption(before, _published(paths))}", file=sys.stderr)
        return 128 + interrupted
    if status:
        print(
            f"\nThe book of profile {options.profile} was not updated: see the messages above. "
            f"What is finished is kept; the same command goes on from here.",
            file=sys.stderr,
        )
        return 1
    if options.chapter:
        for name in options.chapter:
            print(f"Executed: {os.path.relpath(paths.executed(name))}")
        return 0
    outcome = json.loads(paths.outcome.read_text(encoding="utf-8"))
    print(f"\nThe book:  {os.path.relpath(page)}\n           {page.absolute().as_uri()}")
    print(f"Profile:   {outcome['profile']}, {len(outcome['chapters'])} chapters")
    print(f"Scorecard: {outcome['claims']}")
    # Here and not in the job: a book that is up to date is checked too, and one that fails the check stays published.
    return _say(outcome, check=os.environ.get("CHECK") == "1")


if __name__ == "__main__":
    sys.exit(main())
