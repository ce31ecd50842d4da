"""Kills at random times: the book stays whole, no process is left, the next build goes on, and nothing lies about."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from project import ROOT, build, later, wait_for

pytestmark = pytest.mark.xdist_group("workflow")

HOWS = [signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGINT]
# What part of the build is hit: make, the build, the engine, one of its jobs, a kernel or Sphinx, or a whole group.
PARTS = ["make", "build", "engine", "job", "below", "group of make", "group of engine"]


def make(root: Path) -> subprocess.Popen[str]:
    """`make book` of the real Makefile in the test project, in a process group of its own."""
    environment = root / "environment"
    if not environment.exists():
        (environment / "bin").mkdir(parents=True)
        (environment / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        (environment / "bin" / "python").chmod(0o755)
        (root / "workflow").symlink_to(ROOT / "workflow")
        (root / "pyproject.toml").write_text("")
        (environment / ".ready").write_text("")
    command = ["make", "-f", str(ROOT / "Makefile"), "book", "PROFILE=smoke", "CORES=2", f"VENV={environment}"]
    return subprocess.Popen(
        command,
        cwd=root,
        env=os.environ | {"CI": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def at_work(root: Path) -> list[psutil.Process]:
    """The processes that work in or on the project."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if str(root) in " ".join(process.cmdline()) or Path(process.cwd()).is_relative_to(root):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def hit(process: subprocess.Popen[str], part: str, how: signal.Signals) -> None:
    """Sends a signal to a part of the build, or to the part above it where there is none at this moment."""
    below = psutil.Process(process.pid).children(recursive=True)
    depth = {"make": 0, "build": 1, "engine": 2, "job": 3, "below": 4}
    if part == "group of make":
        os.killpg(process.pid, how)
    elif part == "group of engine":
        groups = {os.getpgid(child.pid) for child in below} - {process.pid}
        os.killpg(min(groups, default=process.pid), how)
    else:
        chain = [process.pid, *(child.pid for child in below)]
        os.kill(chain[min(depth[part], len(chain) - 1)], how)


def edition(root: Path) -> tuple[str, set[str]]:
    """The published edition and the names of its files."""
    html = root / "_build" / "smoke" / "html"
    return html.resolve().name, {
        path.relative_to(html).as_posix() for path in html.rglob("*") if path.is_file() and path.stat().st_size
    }


def strike(book: Path, seed: int, longest: float) -> None:
    """One build that is hit at a random time, and one that goes on from there."""
    chosen = random.Random(seed)
    part, how, moment = chosen.choice(PARTS), chosen.choice(HOWS), chosen.uniform(0.0, longest)
    case = f"seed {seed}: signal {how.name} to {part} after {moment:.1f} s"
    before, files = edition(book)
    later(book / "book" / "intro.md", f"# Introduction\n\nText {seed}.\n")
    later(book / "src" / f"{chosen.choice(['one', 'module'])}.py")
    process = make(book)
    time.sleep(moment)
    alive = process.poll() is None
    try:
        hit(process, part, how)
    except (ProcessLookupError, psutil.NoSuchProcess):
        pass  # it ended by itself
    output, _ = process.communicate(timeout=300)
    wait_for(lambda: not at_work(book), 60)
    assert "Traceback" not in output, f"{case}\n{output}"
    if alive and how is not signal.SIGKILL and part in ("build", "engine", "group of engine"):
        assert len(re.findall(r"^Interrupted|was not updated", output, re.MULTILINE)) <= 1, f"{case}\n{output}"
    now, files_now = edition(book)
    assert files_now == files, case
    text = (book / "_build" / "smoke" / "html" / "book" / "intro.html").read_text()
    assert (f"Text {seed}." in text) == (now != before), case

    status, output = build(book)
    assert status == 0, f"{case}\n{output}"
    assert f"Text {seed}." in (book / "_build" / "smoke" / "html" / "book" / "intro.html").read_text(), case
    out = book / "_build" / "smoke"
    left = [*out.rglob("*.part"), *out.glob("running/*"), *out.glob(".html.*"), *out.glob("rendering")]
    assert not left, case
    assert len(list((out / "editions").iterdir())) == 1, case
    assert not at_work(book), case


@pytest.mark.heavy
def test_kills_leave_the_book_whole_and_no_process(book):
    for seed in (1, 2):
        strike(book, seed, longest=8.0)


@pytest.mark.weekly
def test_forty_kills(book):
    started = time.monotonic()
    later(book / "src" / "module.py")
    assert build(book)[0] == 0
    longest = time.monotonic() - started
    for seed in range(100, 140):
        strike(book, seed, longest)
