"""Committed results: written, read, refused when damaged; distances to published curves."""

import json

import numpy as np
import pytest
from scipy import stats

from snn_ntk.reporting import (
    committed_runs,
    compare,
    gather_runs,
    how_made,
    load_published,
    load_results,
    log_distance,
    worst_distance,
    worst_end,
    worst_shift,
    write_results,
)
from snn_ntk.reporting.sweeps import runs_folder

STAMP = {"device": "cpu", "versions": {"jax": "0.0"}}


def test_what_is_written_is_read(tmp_path):
    assert load_results("01-x", root=tmp_path) is None
    run = {"parameters": {"m": 1}, "result": {"y": np.array([[1 / 3, 2.0], [3.0, 4.0]])}}
    provenance = {"groups": [STAMP | {"runs": ["m1"]}]}
    folder = write_results("01-x", series={"runs": {"m1": run}}, provenance=provenance, root=tmp_path)
    assert folder == tmp_path / "results" / "01-x"
    read = {"runs": {"m1": run | {"result": {"y": [[0.333333, 2.0], [3.0, 4.0]]}}}}
    assert load_results("01-x", root=tmp_path) == {"series": read, "provenance": provenance}


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_results("01-x", series={"a": [float("nan")]}, provenance={}, root=tmp_path)


def test_published_curves_name_their_source_and_are_curves():
    found = load_published("asymmetrical-node-scaling")
    assert "MIT" in found["source"]
    for curves in found["figures"].values():
        assert len(curves) == 4
        for curve in curves.values():
            assert len(curve["x"]) == len(curve["y"])
            assert (np.diff(curve["x"]) > 0).all()


def test_distances_by_hand():
    found = compare([0, 1, 2], [[9, 1.1, 1.0], [9, 1.3, 1.0]], [1, 2, 3], [1.0, 0.8, 5.0])
    assert found.distance == pytest.approx((0.2 + 0.25) / 2)
    assert found.end == pytest.approx(0.25)
    np.testing.assert_allclose(found.ends, np.log(1.25))
    np.testing.assert_allclose(found.shifts, [(np.log(1.1) + np.log(1.25)) / 2, (np.log(1.3) + np.log(1.25)) / 2])
    with pytest.raises(ValueError, match="common point"):
        compare([0], [[1.0]], [1], [1.0])


def test_intervals_see_a_near_miss():
    rng = np.random.default_rng(0)
    at, curve = np.arange(10), np.ones(10)

    def four(shift):
        factors = np.exp(shift + 0.03 * rng.normal(size=(4, 3, 1)))
        return [compare(at, f * curve, at, curve) for f in factors]

    near, far = worst_distance(four(0.0)), worst_distance(four(0.3))
    assert near.interval[1] < 0.15 < far.interval[0]
    assert near.n == 3
    assert worst_shift(four(0.0)).interval[1] < 0.15 < worst_shift(four(0.3)).interval[0]
    near, far = worst_end(four(0.0)), worst_end(four(0.3))
    assert near.interval[1] < 0.15 < far.interval[0]


def test_two_means_of_one_law_are_told_apart_as_rarely_as_the_interval_says():
    """Without the scatter of the published five, one in seven."""
    rng, missed = np.random.default_rng(3), 0
    for _ in range(400):
        published, ours = np.exp(rng.normal(size=5)), np.exp(rng.normal(size=5))
        centre = np.exp(np.log(published).mean())
        missed += log_distance(centre, ours).interval[0] > 0
    # |difference| has its interval above 0 in 5 %.
    assert 8 <= missed <= 34
    with pytest.raises(ValueError, match="expected positive values of at least two runs"):
        log_distance(1.0, [1.0])
    with pytest.raises(ValueError, match="expected positive values of at least two runs"):
        log_distance(0.0, [1.0, 2.0])
    with pytest.raises(ValueError, match="expected positive values of at least two runs"):
        log_distance(1.0, [0.0, 2.0])


def test_at_the_end_scatter_widens_the_interval_instead_of_excusing_a_difference():
    ends = np.array([[0.0, 0.2, 0.4]] * 4)
    quiet, loud = (
        worst_end([compare([1], np.exp(0.2 + size * (row[:, None] - 0.2)), [1], [1.0]) for row in ends])
        for size in (0.1, 2.0)
    )
    assert quiet.value == pytest.approx(loud.value) == pytest.approx(0.2)
    assert quiet.interval[1] < 0.25 < 0.5 < loud.interval[1]
    half = stats.t.ppf(0.975, 8) * 0.02 * (1 / 3 + 1 / 5) ** 0.5
    np.testing.assert_allclose(quiet.interval, (0.2 - half, 0.2 + half))


def test_committed_runs_are_none_or_those_of_the_sweep(tmp_path):
    assert committed_runs("01-x", root=tmp_path) == {}
    runs = {"m1": {"parameters": {"m": 1}, "result": {"y": 2}}}
    stamp = STAMP | {"runs": ["m1"]}
    write_results("01-x", series={"runs": runs}, provenance={"groups": [stamp]}, root=tmp_path)
    assert committed_runs("01-x", root=tmp_path) == {"m1": runs["m1"] | {"provenance": stamp}}


def test_runs_are_gathered_from_jobs_from_here_and_from_what_is_committed(tmp_path):
    sweep, inline = [{"m": [1, 2, 3], "steps": 5}], [{"k": [9], "steps": 5}]
    folder = runs_folder(tmp_path, "laptop", "01-a")
    folder.mkdir(parents=True)
    job = {"parameters": {"m": 1, "steps": 5}, "result": {"y": 0.1}, "provenance": {}}
    (folder / "m1.json").write_text(json.dumps(job))
    runs = {name: {"parameters": {}, "result": {"y": 7.0}} for name in ("m1", "m4")}
    # One with the parameters that are wanted, and one of that name with others.
    runs |= {
        name: {"parameters": {"m": m, "steps": 5 * m - 10}, "result": {"y": 7.0}} for name, m in (("m3", 3), ("m2", 2))
    }
    runs["m5"] = {"parameters": {}, "result": {"y": 7.0}}  # in TF32: not to be judged beside the others
    stamps = [STAMP | {"runs": ["m1", "m2", "m3", "m4"]}, STAMP | {"products": "TF32", "runs": ["m5"]}]
    stamp = {"groups": stamps}
    write_results("01-a", series={"runs": runs}, provenance=stamp, root=tmp_path)

    def gather(**options):
        found, missing = gather_runs(
            "01-a", "laptop", sweep, inline=inline, run=lambda **settings: {"y": settings}, root=tmp_path, **options
        )
        return {name: run["origin"] for name, run in found.items()}, missing

    assert gather() == ({"m1": "job", "m2": "here", "m3": "here", "k9": "here", "m4": "committed"}, [])
    assert gather(train_missing=False) == (
        {"m1": "job", "k9": "here", "m3": "committed", "m4": "committed"},
        ["m2", "m3"],
    )
    assert "m5" in committed_runs("01-a", root=tmp_path)
    with pytest.raises(ValueError, match="expected at least one run of 02-b"):
        gather_runs("02-b", "laptop", [], run=dict, root=tmp_path)


def test_runs_that_are_not_to_be_trained_are_read_if_they_are_committed_with_the_same_parameters(tmp_path, monkeypatch):
    sweep = [{"m": [1, 2, 3, 4], "steps": 5}]
    runs = {
        f"m{m}": {"parameters": {"m": m, "steps": steps}, "result": {"y": 7.0}}
        for m, steps in ((1, 5), (2, 5), (3, 6), (4, 5))
    }
    stamp = {"groups": [{"device": "cpu", "versions": {"jax": "0.0"}, "day": "2026-01-02", "runs": list(runs)}]}
    write_results("01-a", series={"runs": runs}, provenance=stamp, root=tmp_path)

    def gather():
        return gather_runs(
            "01-a",
            "laptop",
            sweep,
            run=lambda **settings: {"y": 8.0},
            trained={"m": 1},
            repeat=lambda run: None if run["parameters"]["m"] == 4 else 1e-6,  # run 4 is of other data
            root=tmp_path,
        )

    found, missing = gather()
    assert {name: (run["origin"], run["result"]["y"], run.get("repeat")) for name, run in found.items()} == {
        "m2": ("read", 7.0, 1e-6),
        "m1": ("here", 8.0, None),
        "m3": ("here", 8.0, None),
        "m4": ("here", 8.0, None),
    }
    assert missing == []
    text = how_made(found)
    assert "trained: m1, m3, m4" in text
    assert "1 of this profile's runs read" in text
    assert "made on cpu, JAX 0.0, 2026-01-02" in text

    # Of `read` nothing has to be made.
    only_read, _ = gather_runs("01-a", "laptop", [], run=dict, read=sweep[:1], repeat=lambda run: 0.0, root=tmp_path)
    assert [(name, run["origin"]) for name, run in only_read.items() if run["origin"] == "read"] == [
        (name, "read") for name in ("m1", "m2", "m4")
    ]

    monkeypatch.setenv("FRESH", "1")
    assert {(run["origin"], run.get("repeat")) for run in gather()[0].values()} == {("here", None), ("here", 1e-6)}


def test_a_run_made_by_a_chapter_is_written_down(tmp_path, monkeypatch):
    monkeypatch.setenv("SNN_NTK_OUTPUT", str(tmp_path / "out"))
    gather_runs("01-a", "laptop", [{"m": [1]}], run=lambda m: {"y": m}, root=tmp_path)
    written = json.loads((tmp_path / "out" / "runs" / "m1.json").read_text())
    assert (written["parameters"], written["result"], written["provenance"]["profile"]) == (
        {"m": 1},
        {"y": 1},
        "laptop",
    )
