"""One run of the disentanglement experiment, on grids so small that it takes seconds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from snn_ntk import datasets, disentanglement
from snn_ntk.experiments.disentanglement import (
    SCORES,
    disentanglement_runs,
    random_code_scores,
    repeat_disentanglement,
    run_disentanglement,
    scores_of,
)
from snn_ntk.experiments.vae_settings import mean_image_error, shrink, steps_to

LEVELS = {"dsprites": {"scale": 2, "orientation": 2, "posX": 4, "posY": 4}, "cars": {"object": 2, "azimuth": 4}}


def test_images_are_averaged_over_blocks():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 2), dtype=np.uint8)
    small = shrink(images, 4)
    np.testing.assert_array_equal(small[1, 2, 3, 1], np.rint(images[1, 4:6, 6:8, 1].mean()))
    assert shrink(images, 8) is images
    with pytest.raises(ValueError, match="divides 8×8, got 3"):
        shrink(images, 3)


def test_error_of_the_mean_image_is_the_least_of_any_constant_guess():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1), dtype=np.uint8)
    x = images / 255

    def error(p):
        return float(np.mean(np.sum(-(x * np.log(p) + (1 - x) * np.log(1 - p)), axis=(1, 2, 3))))

    best = mean_image_error(images)
    assert best == pytest.approx(error(x.mean(axis=0)), rel=1e-6)
    assert best < error(np.clip(x.mean(axis=0) + 0.02, 0.01, 0.99))


def test_scores_of_known_codes_and_of_unused_latents():
    grid = datasets.dsprites().restrict(**LEVELS["dsprites"])
    factors = grid.factors(np.arange(len(grid)))
    perfect = factors[:, [1, 2, 3, 4, 5]].astype(np.float32)
    scores = scores_of(grid, perfect, seed=0, points=400)
    assert scores["active"] == 5
    for name in ("beta_vae", "factor_vae", "mig", "modularity", "disentanglement"):
        assert scores[name] > 0.9, name
    # Latents that are switched off change none of the paper's four.
    padded = np.hstack([perfect, np.zeros((len(perfect), 20), np.float32)])
    again = scores_of(grid, padded, seed=0, points=400)
    assert [again[name] for name in SCORES] == pytest.approx([scores[name] for name in SCORES], abs=1e-3)
    # Twice the same code: two scores stay, two vanish.
    twice = scores_of(grid, np.hstack([perfect, perfect]), seed=0, points=400)
    assert twice["mig"] == pytest.approx(0, abs=1e-9)
    assert twice["sap"] == pytest.approx(0, abs=1e-9)
    assert twice["factor_vae"] > 0.9


def test_gaps_of_random_codes_shrink_with_their_size():
    # The limit theorem of chapter 10, on averages over seeds: random directions of the plane of two factors.
    factors, rng = np.stack(np.divmod(np.arange(1600), 40), axis=1), np.random.default_rng(0)
    few, many = (
        np.mean([disentanglement.mig(factors @ rng.normal(size=(2, m)), factors) for _ in range(20)]) for m in (3, 300)
    )
    assert 0 < many < 0.2 * few
    scores = random_code_scores(data="dsprites", m=4, seed=0, levels=LEVELS, points=100)
    assert scores["active"] == 4
    assert scores["mig"] < 0.5


def test_steps_to_a_share_of_the_gain():
    assert steps_to([10, 20, 30, 40], [95.0, 60.0, 52.0, 50.0], 100.0) == 30
    assert steps_to([10, 20, 30, 40], [95.0, 60.0, 52.0, 50.0], 100.0, share=0.5) == 20
    assert steps_to([10, 20, 30], [120.0, 115.0, 110.0], 100.0) is None
    assert steps_to([10, 20, 30], [90.0, 105.0, 100.0], 100.0) is None


def test_a_run_reports_what_a_chapter_needs_and_goes_on_where_it_was_cut_off(tmp_path):
    settings = dict(data="dsprites", m=3, beta=1.0, seed=0, steps=40, parts=2, levels=LEVELS, points=100, rows=4)
    run = run_disentanglement(**settings, checkpoint=tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c-20.npz", "c-40.npz"]
    run = json.loads(json.dumps(run))
    assert run["name"] == "dSprites (re-rendered)"
    assert run["steps"] == [10, 20, 30, 40]
    assert [part["step"] for part in run["milestones"]] == [20, 40]
    assert set(SCORES) < set(run["milestones"][0])
    assert run["pictures"]["shape"] == [2, 6, 32, 32, 1]
    (tmp_path / "c-40.npz").unlink()
    again = run_disentanglement(**settings, checkpoint=tmp_path / "c")
    assert again["reconstruction"] == run["reconstruction"]
    assert again["milestones"] == run["milestones"]

    # Its first steps give the same loss again; those of another seed do not, and other data are not compared.
    made = {"parameters": settings | {"setting": "small"}, "result": run}
    assert repeat_disentanglement(made) < 1e-6
    assert repeat_disentanglement(made | {"parameters": made["parameters"] | {"seed": 1}}) > 1e-5
    assert repeat_disentanglement(made | {"result": run | {"name": "dSprites"}}) is None


def test_unknown_names_are_refused():
    settings = dict(m=3, beta=1.0, seed=0, steps=10)
    with pytest.raises(ValueError, match="expected data, one of"):
        run_disentanglement(data="mnist", **settings)
    with pytest.raises(ValueError, match="expected a setting, one of"):
        run_disentanglement(data="cars", setting="huge", **settings)
    with pytest.raises(ValueError, match="1 <= parts <= steps"):
        run_disentanglement(data="cars", parts=20, **settings)


@pytest.mark.heavy
def test_seeds_side_by_side_are_those_alone(tmp_path):
    settings = dict(data="dsprites", setting="tiny", m=3, beta=1.0, steps=20, levels=LEVELS, points=200, rows=4)
    both = disentanglement_runs(seeds=[0, 1], checkpoint=tmp_path / "both", **settings)
    for seed in (0, 1):
        alone = run_disentanglement(seed=seed, **settings)
        np.testing.assert_allclose(both[seed]["reconstruction"], alone["reconstruction"], rtol=1e-4)
        np.testing.assert_allclose(both[seed]["error"], alone["error"], rtol=1e-4)
    # Finished, the checkpoint holds the result of both.
    again = disentanglement_runs(seeds=[0, 1], checkpoint=tmp_path / "both", **settings)
    assert [run["kl"] for run in again] == [run["kl"] for run in both]
