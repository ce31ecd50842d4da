"""The profile of a cluster, run through a real Slurm: the commands that `book/reproduce.md` prints for one, as they are.

`make slurm-test` runs the book of two pages through it: two jobs at once, each with a card, one killed, one out of time,
and the build that goes on from there. With WHOLE=1 the real book at `smoke` follows. `cluster` says what is needed.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from project import CHAPTERS, ROOT, copy_sources, make_project, wait_for
from slurm.cluster import cluster

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]

# This Slurm keeps no accounts, and nobody waits 40 seconds before asking after a job of five.
HERE = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5"]


class Job(NamedTuple):
    number: int
    rule: str
    state: str
    began: datetime.datetime
    ended: datetime.datetime | None
    cards: int


def jobs() -> list[Job]:
    """Every job that has begun, the oldest first."""
    listed = subprocess.run(["scontrol", "--oneliner", "show", "jobs"], capture_output=True, text=True, check=True)
    found = []
    for line in listed.stdout.splitlines():
        fields = dict(re.findall(r"(\w+)=(\S*)", line))
        began, ended = (
            None if fields.get(key, "Unknown") == "Unknown" else datetime.datetime.fromisoformat(fields[key])
            for key in ("StartTime", "EndTime")
        )
        if began is not None:
            cards = re.fullmatch(r"gres:gpu:(\d+)", fields.get("TresPerJob", ""))
            ended = None if fields["JobState"] == "RUNNING" else ended  # until then it is when the time is up
            rule = fields["Comment"].removeprefix("rule_")
            found.append(
                Job(int(fields["JobId"]), rule, fields["JobState"], began, ended, int(cards[1]) if cards else 0)
            )
    return sorted(found)


def table(listed: list[Job]) -> str:
    first = min(job.began for job in listed)
    lines = [f"{'job':>4}  {'rule':44} {'state':10} {'cards':>5} {'from':>5} {'to':>5} s"]
    for job in listed:
        ended = f"{(job.ended - first).seconds:5}" if job.ended else "    –"
        lines.append(
            f"{job.number:4}  {job.rule:44} {job.state:10} {job.cards:5} {(job.began - first).seconds:5} {ended}"
        )
    return "\n".join(lines)


def at_once(listed: list[Job]) -> int:
    """How many jobs ran at one moment, at most."""
    return max(sum(a.began <= b.began < a.ended for a in listed if a.ended) for b in listed)


def printed(pattern: str) -> str:
    """The command with a pattern among those that the page prints for a cluster."""
    text = (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
    lines = itertools.chain.from_iterable(b.splitlines() for b in re.findall(r"```bash cluster\n(.*?)```", text, re.S))
    (line,) = (command for line in lines if re.search(pattern, command := line.partition("#")[0].strip()))
    return line


@pytest.fixture(scope="module")
def slurm():
    folder = Path(tempfile.gettempdir()) / f"snn-ntk-slurm-{os.getpid()}"  # pytest's own is closed to munge
    with cluster(folder):
        yield
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the sources, as after `make setup`, with Snakemake's environment made as the page says."""
    copy = tmp_path_factory.mktemp("cluster") / "snn-ntk"
    copy_sources(copy)
    (copy / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    for line in (printed("-m venv"), printed("pip install")):
        done = subprocess.run(line, shell=True, cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return copy


@pytest.fixture
def project(tmp_path, checkout) -> Path:
    """The book of two pages. What stands for CUDA's environment is that of this test."""
    make_project(tmp_path / "project")
    (tmp_path / "project" / ".venv-cuda").symlink_to(sys.prefix, target_is_directory=True)
    for name in (".venv-slurm", "workflow"):
        (tmp_path / "project" / name).symlink_to(checkout / name, target_is_directory=True)
    return tmp_path / "project"


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Runs a printed command in a folder, with further arguments; what still runs at the test's end is killed."""
    begun: list[subprocess.Popen[str]] = []

    def start(line: str, folder: Path, *further: str) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONPATH": str((folder / "workflow").resolve().parent / "src")}
        command = [*line.split(), *HERE, *further]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=7200)
    return process.returncode, output


def rule(chapter: str) -> str:
    return f"chapter_{chapter.replace('-', '_')}"


def book(folder: Path, profile: str) -> dict:
    """What the build says of a book that was published whole."""
    out = folder / "_build" / profile
    assert (out / "html" / "index.html").is_file()
    assert not any((out / "running").glob("*/notebook.ipynb"))
    return json.loads((out / "book.json").read_text())


def test_two_at_once_one_killed_one_out_of_time_and_the_build_goes_on(slurm, project, begin):
    line, chapters, before = printed("profiles/slurm$"), project / "_build" / "gpu" / "chapters", len(jobs())
    waiting = project / "notebooks" / f"{CHAPTERS[1]}.md"
    waiting.write_text(waiting.read_text().replace("time.sleep(60)", "time.sleep(600)"))
    kernel = project / f"{CHAPTERS[1]}.pid"

    def running(name: str) -> list[Job]:
        return [job for job in jobs()[before:] if job.rule == name and job.state == "RUNNING"]

    def alive() -> bool:
        return Path(f"/proc/{kernel.read_text()}").exists()

    (project / "trap").write_text(f"wait {CHAPTERS[1]}")
    build = begin(line, project)
    wait_for(lambda: build.poll() is not None or ((chapters / CHAPTERS[0]).is_dir() and kernel.is_file()))
    assert build.poll() is None, finish(build)
    (job,) = running(rule(CHAPTERS[1]))
    assert alive()
    subprocess.run(["scancel", "--signal=KILL", "--full", str(job.number)], check=True)
    status, output = finish(build)
    assert status == 1, output
    wait_for(lambda: not alive(), 30)

    first = (chapters / CHAPTERS[0] / "notebook.ipynb").stat().st_mtime_ns
    status, output = finish(begin(line, project, "--set-resources", f"{rule(CHAPTERS[1])}:runtime=1"))
    assert status == 1, output
    wait_for(lambda: not alive(), 30)
    assert not (project / "_build" / "gpu" / "html").exists()

    (project / "trap").unlink()
    status, output = finish(begin(line, project))
    assert status == 0, output
    assert book(project, "gpu")["claims"].startswith("2 claims: 2 reproduced")
    assert (chapters / CHAPTERS[0] / "notebook.ipynb").stat().st_mtime_ns == first

    made = jobs()[before:]
    print(f"\n{table(made)}")
    assert [(job.rule, job.cards) for job in made if job.rule == rule(CHAPTERS[0])] == [(rule(CHAPTERS[0]), 1)]
    ends = [job.state for job in made if job.rule == rule(CHAPTERS[1])]
    assert ends[1:] == ["TIMEOUT", "COMPLETED"]
    assert ends[0] in ("FAILED", "CANCELLED")
    assert all(job.cards == 1 for job in made if job.rule != "book")
    assert [job.state for job in made if job.rule == "book"] == ["COMPLETED"]
    assert at_once(made) == 2


@pytest.mark.weekly
def test_the_whole_book_at_smoke(slurm, checkout, begin):
    before, began = len(jobs()), time.monotonic()
    status, output = finish(begin(printed("profile=smoke"), checkout))
    assert status == 0, output[-5000:]
    made, outcome = jobs()[before:], book(checkout, "smoke")
    print(f"\n{table(made)}\n{time.monotonic() - began:.0f} s; {outcome['claims']}")
    assert {job.state for job in made} == {"COMPLETED"}
    assert len(outcome["chapters"]) == len(list((checkout / "notebooks").glob("*.md")))
    assert outcome["unexpected"] == []
    assert at_once(made) == 2
