"""What a build says while it runs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import progress
import pytest
import yaml
from paths import PROFILES, Paths
from progress import Progress, known_durations, plan


@pytest.fixture
def paths(tmp_path, monkeypatch):
    made = Paths(tmp_path, "smoke")
    made.out.mkdir(parents=True)
    (tmp_path / "durations.yml").write_text("smoke: {a: 100, b: 60, c: 40, book: 20}\n")
    monkeypatch.setattr(progress, "WORKFLOW", tmp_path)
    return made


def following(paths, cores=2, live=False):
    return Progress(paths, cores, live=live, out=io.StringIO())


def test_the_rest_is_the_longest_first_on_the_cores_and_then_the_book(paths):
    account = following(paths)
    account.line(plan(["c", "book", "b", "a"]))
    # a on one core, b and c on the other, then the book.
    assert account.remaining(0.0) == 120
    assert account.out.getvalue() == "To run: 4 jobs on 2 cores, about 2 min\n"
    one = following(paths, cores=1)
    one.line(plan(["c", "book", "b", "a"]))
    assert one.remaining(0.0) == 220


def test_what_took_twice_as_long_makes_the_rest_twice_as_long(paths):
    account = following(paths)
    account.line(plan(["a", "b", "book"]))
    account.line("b: running (smoke)")
    account.line("b: done in 120 s")
    assert account.remaining(0.0) == 2 * (100 + 20)
    assert account.out.getvalue().splitlines()[-1] == "b: done in 120 s (1 of 3 done, about 4 min left)"
    assert json.loads(paths.durations.read_text())["b"] == 120
    # The next build knows the last one's time.
    assert known_durations(paths)["b"] == 120


def test_a_job_that_is_late_is_not_done(paths):
    account = following(paths)
    account.line(plan(["a"]))
    account.line("a: running (smoke)")
    account.running["a"] = 0.0
    assert account.remaining(70.0) == 30
    assert account.remaining(1000.0) == 100


def test_what_is_late_makes_the_rest_longer_and_promises_no_time_of_its_own(paths, monkeypatch):
    account = following(paths, cores=1, live=True)
    account.line(plan(["c", "book"]))
    account.line("c: running (smoke)")
    account.running["c"] = 0.0
    # c should have ended after 40 s: at 120 s the machine is three times as slow, and so is the book.
    assert account.remaining(120.0) == 12 + 3 * 20

    def says(now: float) -> str:
        monkeypatch.setattr(progress.time, "monotonic", lambda: now)
        account.tick()
        return account.out.getvalue().split("\r")[-1]

    assert "[0 of 2 done, about 70 s left]" in says(120.0)
    account.line("c: done in 120 s")
    account.line("book: checking and rendering")
    account.running["book"] = 120.0
    assert "[1 of 2 done, about 20 s left]" in says(160.0)
    for now in (181.0, 300.0, 3000.0):
        assert "[1 of 2 done, longer than expected]" in says(now)


def test_a_job_that_failed_is_not_waited_for(paths):
    account = following(paths)
    account.line(plan(["a", "b"]))
    account.line("a: FAILED after 3 s")
    assert account.remaining(0.0) == 60
    account.line("b: done in 60 s")
    assert "(1 of 2 done)" in account.out.getvalue()


def test_nothing_is_promised_where_nothing_is_known(paths, tmp_path):
    (tmp_path / "durations.yml").write_text("smoke: {}\n")
    account = following(paths)
    account.line(plan(["a"]))
    assert account.remaining(0.0) is None
    assert account.out.getvalue() == "To run: 1 job on 2 cores\n"


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"a": "x"}', '{"a": null}'])
def test_damaged_times_of_the_last_build_do_not_count(paths, damaged):
    paths.durations.write_text(damaged)
    assert known_durations(paths) == {"a": 100, "b": 60, "c": 40, "book": 20}


def test_a_terminal_shows_what_runs_in_its_last_line(paths):
    account = following(paths, live=True)
    account.line(plan(["a", "book"]))
    account.line("a: running (smoke)")
    last = account.out.getvalue().split("\r")[-1]
    assert "[0 of 2 done, about 2 min left] running: a (10 s)" in last
    assert "\n" not in last
    account.close()
    assert account.out.getvalue().endswith("\r\x1b[K")


def test_without_a_terminal_a_line_is_said_each_minute(paths):
    account = following(paths)
    account.line(plan(["a"]))
    account.line("a: running (smoke)")
    said = account.out.getvalue()
    account.tick()
    assert account.out.getvalue() == said
    account.last_said -= progress.QUIET
    account.tick()
    assert account.out.getvalue().removeprefix(said).startswith("[0 of 1 done, about 2 min left] running: a (")


def test_a_run_of_a_sweep_counts_as_any_of_its_chapter():
    durations = {"a": 100.0, "a/*": 5.0, "a/m1": 7.0}
    assert [progress.usual(durations, job) for job in ("a", "a/m1", "a/m2", "b", "b/m1")] == [100, 7, 5, None, None]


def test_the_committed_durations_are_of_jobs_that_exist():
    root = Path(__file__).parents[1]
    for profile in PROFILES:
        chapters = Paths(root, profile).chapters()
        named = yaml.safe_load((root / "workflow" / "durations.yml").read_text())[profile]
        assert {job.partition("/")[0] for job in named} <= {*chapters, "book"}
        assert all(seconds > 0 for seconds in named.values())
