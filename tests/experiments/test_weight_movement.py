"""The experiment of Figure 2: what is learned, seeds, the edge of stability against a dense kernel, and a run's report."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from snn_ntk.experiments import weight_movement
from snn_ntk.experiments.figure2_choices import run_choice
from snn_ntk.experiments.figure2_targets import principal_coordinates
from snn_ntk.experiments.weight_movement import (
    objective_edge,
    run_weight_movement,
    stability_edge,
    train_figure2,
    weight_movement_runs,
)
from snn_ntk.paper import draw_figure2_problem, figure2_objective

X = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0], jnp.float32)


def test_principal_coordinates_keep_what_images_have():
    images = np.random.default_rng(0).normal(size=(3, 7))
    np.testing.assert_array_equal(principal_coordinates(images, 7), images)
    for outputs in (3, 5):  # as many directions as the rank, and more: inner products stay, the rest is zero
        found = principal_coordinates(images, outputs)
        assert found.shape == (3, outputs)
        np.testing.assert_allclose(found @ found.T, images @ images.T, atol=1e-10)
    one = principal_coordinates(images, 1)
    assert (one**2).sum() == pytest.approx(np.linalg.svd(images)[1][0] ** 2)
    with pytest.raises(ValueError, match="1 <= outputs <= 7, got 8"):
        principal_coordinates(images, 8)


def test_a_seed_does_not_depend_on_those_beside_it():
    options = dict(width=8, steps=3, learning_rate=0.1, record_at=[0, 3], pixels=5)
    both = train_figure2(X, X, seeds=[0, 1], **options)
    alone = train_figure2(X, X, seeds=[1], **options)
    np.testing.assert_allclose(both.relative[:, 1], alone.relative[:, 0], rtol=1e-5)
    np.testing.assert_allclose(both.missing[1], alone.missing[0], atol=1e-6)
    assert np.abs(both.missing[0] - both.missing[1]).max() > 0.1
    # What is left is measured against the targets: here it starts with the squared norm of what is missing.
    np.testing.assert_allclose(both.left[0], (both.missing**2).sum((1, 2)) / float((X**2).sum()), rtol=1e-5)
    with pytest.raises(ValueError, match="'frozen' or 'fresh', got 'none'"):
        train_figure2(X, X, seeds=[0], noise="none", **options)


@pytest.mark.parametrize("double", [False, pytest.param(True, marks=pytest.mark.heavy)])
def test_edge_is_that_of_the_dense_kernel(double):
    with jax.enable_x64(double):
        check_edge()


def check_edge():
    problem = draw_figure2_problem(jax.random.key(0), X, X[:, :3], width=8, activation=jnp.tanh, sigma0=0.5, samples=2)
    jacobian = jax.jacobian(lambda params: weight_movement._outputs(params, problem).ravel())(problem.start)
    rows = np.hstack([np.asarray(leaf).reshape(15, -1) for leaf in jacobian[:4]])
    assert stability_edge(problem) == pytest.approx(2 * 5 / np.linalg.eigvalsh(rows @ rows.T)[-1], rel=2e-3)


@pytest.mark.heavy
@pytest.mark.parametrize("beta", [None, 2.0])
def test_edge_of_the_objective_is_that_of_its_dense_hessian(beta, x64):
    options = {"width": 6, "activation": jnp.tanh, "sigma0": 0.5, "samples": 2}
    problem = draw_figure2_problem(jax.random.key(0), jnp.asarray(X, float), X[:, :3], beta=beta, **options)
    flat, unravel = ravel_pytree(problem.start)
    hessian = jax.hessian(lambda w: figure2_objective(unravel(w), problem, activation=jnp.tanh))(flat)
    assert objective_edge(problem) == pytest.approx(2 / np.linalg.eigvalsh(hessian)[-1], rel=2e-3)
    # Where nothing is left to learn and no term is added, the curvature is that of the outputs alone.
    learned = draw_figure2_problem(jax.random.key(0), X, 0 * X[:, :3], initial_output=0.0, **options)
    assert objective_edge(learned) == pytest.approx(stability_edge(learned), rel=4e-3)


def test_a_run_reports_movement_beside_the_limit(tmp_path):
    settings = dict(outputs=2, width=512, seed=0, n=4, learning_rate=0.5)
    run = json.loads(json.dumps(run_weight_movement(**settings, steps=8)))
    assert run["steps"] == [0, 1, 2, 4, 8]
    assert not run["diverged"]
    assert run["left"][-1] < run["left"][0]
    np.testing.assert_allclose(np.array(run["moved"])[1:] / np.array(run["limit"])[1:], 1, atol=0.25)
    # The longer run passes through the same points.
    longer = run_weight_movement(**settings, steps=16)
    np.testing.assert_allclose(longer["relative"][:5], run["relative"], rtol=1e-5)


@pytest.mark.heavy
def test_classes_are_other_targets_and_seeds_side_by_side_are_those_alone():
    settings = dict(outputs=10, width=16, n=6, steps=4)
    both = weight_movement_runs(seeds=[0, 1], targets="classes", **settings)
    alone = run_weight_movement(seed=1, targets="classes", **settings)
    np.testing.assert_allclose(both[1]["moved"], alone["moved"], rtol=1e-5)
    # One-hot labels have a squared norm of one an image, so the first error is that of what the network gives.
    assert both[0]["left"][0] != pytest.approx(run_weight_movement(seed=0, **settings)["left"][0], rel=1e-2)
    with pytest.raises(ValueError, match="'classes' with 10 outputs, got 'classes' with 3"):
        run_weight_movement(seed=0, targets="classes", **settings | {"outputs": 3})
    # The KL term holds the latent layer back, and is counted in none of the reported errors.
    held = run_weight_movement(seed=0, targets="classes", beta=1.0, learning_rate=0.2, **settings)
    free = run_weight_movement(seed=0, targets="classes", learning_rate=0.2, **settings)
    assert held["moved"][-1][1] < free["moved"][-1][1]
    assert held["left"][0] == free["left"][0]


def test_a_diverged_run_says_so_and_keeps_what_was_finite():
    run = run_weight_movement(outputs=784, width=8, seed=0, n=4, steps=64, learning_rate=4.0)
    assert run["diverged"]
    assert len(run["steps"]) == len(run["moved"]) == len(run["limit"]) < 8
    assert np.isfinite(run["moved"]).all()


@pytest.mark.heavy
def test_a_choice_is_its_change_and_seeds_and_widths_are_those_of_single_runs():
    settings = dict(n=6, steps=4, learning_rate=1.0)
    run = run_choice(choice="ten-classes", narrowest=8, widest=16, seeds=2, **settings)
    alone = run_weight_movement(outputs=10, targets="classes", width=16, seed=1, **settings)
    np.testing.assert_allclose(np.array(run["relative"][1])[:, 1], alone["relative"], rtol=1e-5)
    np.testing.assert_allclose(np.array(run["left"][1])[:, 1], alone["left"], rtol=1e-5)
    # What grows beyond all numbers ends before it: the lists can be written as JSON.
    lost = run_choice(choice="784-outputs", narrowest=8, widest=8, seeds=1, n=4, steps=64)
    assert lost["steps"][0][-1] < 64
    assert len(lost["left"][0]) == len(lost["relative"][0]) == len(lost["steps"][0])
    assert np.isfinite(lost["left"][0]).all()
    with pytest.raises(ValueError, match="expected a choice"):
        run_choice(choice="default", narrowest=8, widest=8, seeds=1, steps=1)
