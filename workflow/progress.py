"""What a build says while it runs: which chapters run, how many are done, and about how long the rest takes.

It reads what the jobs print. Times are those of the last build of the profile, or where there are none those that are
committed in workflow/durations.yml.
"""

from __future__ import annotations

import heapq
import json
import re
import shutil
import sys
import time
from collections.abc import Mapping
from typing import TextIO

import yaml
from paths import WORKFLOW, Paths, write_atomically

__all__ = ["Progress", "clock", "known_durations", "plan", "usual"]

_PLAN = re.compile(r"To run: (.+)")
_BEGINS = re.compile(r"(\S+): (?:running|checking)\b")
_ENDS = re.compile(r"(\S+): done in (\d+) s")
_FAILS = re.compile(r"(\S+): (?:FAILED|interrupted)\b")
# Without a terminal, a line is said at least this often (seconds).
QUIET = 60.0


def known_durations(paths: Paths) -> dict[str, float]:
    """Seconds of each job of the profile: chapters, runs of sweeps ("chapter/run") and the book."""
    committed = yaml.safe_load((WORKFLOW / "durations.yml").read_text(encoding="utf-8")).get(paths.profile, {})
    try:
        last = json.loads(paths.durations.read_text(encoding="utf-8"))
        return committed | {str(job): float(seconds) for job, seconds in last.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return committed  # none yet, or a damaged file: the next build writes it anew


def usual(durations: dict[str, float], job: str) -> float | None:
    """Seconds of a job; a run of a sweep that is not listed counts as any of its chapter."""
    return durations.get(job, durations.get(f"{job.partition('/')[0]}/*") if "/" in job else None)


def plan(jobs: list[str]) -> str:
    """The line by which the Snakefile says what is to run."""
    return f"To run: {' '.join(sorted(jobs))}"


def clock(seconds: float) -> str:
    """A time in words.

    >>> clock(7), clock(43), clock(100), clock(754)
    ('10 s', '40 s', '2 min', '13 min')
    """
    return f"{max(10, round(seconds, -1)):.0f} s" if seconds < 95 else f"{seconds / 60:.0f} min"


class Progress:
    """Keeps account of the jobs of a build and prints what they print, with how far it is.

    Args:
        paths: Of the profile.
        cores: How many jobs run at once.
        live: Whether `out` is a terminal, whose last line may be written again and again.
        out: Where to print.
    """

    def __init__(self, paths: Paths, cores: int, *, live: bool, out: TextIO = sys.stdout) -> None:
        self.paths, self.cores, self.live, self.out = paths, cores, live, out
        self.expected = known_durations(paths)
        self.planned: list[str] = []
        self.running: dict[str, float] = {}
        self.ended: dict[str, float | None] = {}
        self.last_said = time.monotonic()

    def _estimate(self, job: str) -> float | None:
        if (seconds := usual(self.expected, job)) is not None:
            return seconds
        known = list(self.expected.values())
        return sum(known) / len(known) if known else None

    def _pace(self, took: Mapping[str, float | None]) -> float:
        """This machine, today, against the one of the estimates."""
        pairs = [(time, seconds) for job, time in took.items() if time and (seconds := usual(self.expected, job))]
        return sum(time for time, _ in pairs) / max(1.0, sum(seconds for _, seconds in pairs)) if pairs else 1.0

    def _late(self, now: float) -> dict[str, float]:
        """How long the jobs have run that should have ended, had they kept the pace of those that have."""
        elapsed, pace = {job: now - since for job, since in self.running.items()}, self._pace(self.ended)
        return {job: took for job, took in elapsed.items() if took > pace * (self._estimate(job) or took)}

    def remaining(self, now: float) -> float | None:
        """Seconds until the last planned job ends; None if nothing is known of any."""
        estimates = {job: self._estimate(job) for job in self.planned if job not in self.ended}
        if not estimates or None in estimates.values():
            return None
        pace = self._pace(self.ended | self._late(now))
        left = {job: pace * (seconds or 0.0) for job, seconds in estimates.items()}
        for job in self.running.keys() & left.keys():
            elapsed = now - self.running[job]
            left[job] = max(left[job] - elapsed, elapsed / 10)  # one that is late is not done: it takes a little more
        ends = [left[job] for job in left if job in self.running and job != "book"]
        heap = (ends + [0.0] * self.cores)[: max(self.cores, len(ends))]
        heapq.heapify(heap)
        for seconds in sorted((left[job] for job in left if job not in self.running and job != "book"), reverse=True):
            heapq.heapreplace(heap, heap[0] + seconds)
        return max(heap) + left.get("book", 0.0)

    def _how_far(self, now: float) -> str:
        text = f"{sum(took is not None for took in self.ended.values())} of {len(self.planned)} done"
        left, waited_for = self.remaining(now), set(self.planned) - self.ended.keys()
        if left is None or not waited_for:
            return text
        if waited_for <= self._late(now).keys():
            return f"{text}, longer than expected"  # a number would stand still
        return f"{text}, about {clock(left)} left"

    def _print(self, text: str, end: str = "\n") -> None:
        try:
            print(text, end=end, file=self.out, flush=True)
        except OSError:  # nobody reads any more; the build goes on until it is told to end
            self.live = False
        self.last_said = time.monotonic()

    def line(self, text: str) -> None:
        """Takes a line that a job printed."""
        now = time.monotonic()
        if found := _PLAN.fullmatch(text):
            self.planned = found[1].split()
            left = self.remaining(now)
            text = f"To run: {len(self.planned)} {'job' if len(self.planned) == 1 else 'jobs'} on {self.cores} {'core' if self.cores == 1 else 'cores'}"
            text += f", about {clock(left)}" if left is not None else ""
        elif found := _ENDS.match(text):
            job, seconds = found[1], float(found[2])
            self.running.pop(job, None)
            self.ended[job] = seconds
            text = f"{text} ({self._how_far(now)})"
            self._note(job, seconds)
        elif (found := _BEGINS.match(text)) and found[1] in self.planned:
            self.running[found[1]] = now
        elif (found := _FAILS.match(text)) and found[1] in self.planned:
            self.running.pop(found[1], None)
            self.ended[found[1]] = None
        self._print(("\r\x1b[K" if self.live else "") + text)
        self.tick()

    def _note(self, job: str, seconds: float) -> None:
        self.expected = {**self.expected, job: seconds} if job not in self.expected else self.expected
        kept = known_durations(self.paths) | {job: seconds}
        try:
            write_atomically(self.paths.durations, json.dumps(kept, indent=1, sort_keys=True))
        except OSError:
            pass  # an estimate is not worth a failure; what needs the disk says that it is full

    def tick(self) -> None:
        """Says what runs now: on a terminal in its last line, elsewhere when nothing was said for a minute."""
        now = time.monotonic()
        if not self.planned or (not self.live and now - self.last_said < QUIET):
            return
        running = ", ".join(f"{job} ({clock(now - since)})" for job, since in self.running.items()) or "nothing"
        text = f"[{self._how_far(now)}] running: {running}"
        if self.live:
            self._print("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1], end="")
        else:
            self._print(text)

    def close(self) -> None:
        """Clears the last line of a terminal."""
        if self.live:
            self._print("\r\x1b[K", end="")
