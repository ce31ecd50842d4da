"""The network of Figure 2 against its infinite-width limit, and the reduction of its first layer against no reduction."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk.paper import (
    Figure2Parameters,
    draw_figure2_problem,
    figure2_limit_kernels,
    figure2_objective,
    in_basis,
    init_figure2,
    initial_norms,
    kl_to_start,
    latent_law,
    layer_movement,
    noisy_outputs,
)
from snn_ntk.training import gradient_descent

TANH = {"activation": jnp.tanh}


def points(n, d, seed=0):
    x = jax.random.normal(jax.random.key(seed), (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(("sigma0", "samples"), [(0.0, None), (0.8, 2)])
def test_kernels_of_wide_networks_are_the_limit_layer_by_layer(sigma0, samples):
    n, m, seeds = 3, 256, 24
    x = points(n, 5)
    limit = figure2_limit_kernels(x, sigma0=sigma0, samples=samples, **TANH)

    def finite(key):
        params = init_figure2(key, m, 5, 1)
        noise = None if samples is None else jax.random.normal(jax.random.fold_in(key, 1), (samples, n, m))
        jacobian = jax.jacobian(lambda p: noisy_outputs(p, x, noise, sigma0=sigma0, **TANH)[:, 0])(params)
        return jnp.stack([jnp.einsum("iab,jab->ij", part, part) for part in jacobian[:4]])

    finite = np.asarray(jax.lax.map(finite, jax.random.split(jax.random.key(1), seeds)))
    error = finite.std(0, ddof=1) / np.sqrt(seeds)
    # Four standard errors over 36 entries, and a bias of order 1/m.
    np.testing.assert_array_less(np.abs(finite.mean(0) - np.stack(limit)), 4 * error + 1 / m)
    # The test can tell: without the mixing of shared noise, or with a wrong σ0, the diagonals are off.
    if samples:
        wrong = np.stack(figure2_limit_kernels(x, sigma0=sigma0, **TANH))
        assert (np.abs(finite.mean(0) - wrong) > 4 * error + 1 / m).any()


def test_weights_are_the_draws_of_their_own_keys():
    shapes = {"encoder": (5, 6), "mu": (6, 6), "hidden": (6, 6), "decoder": (6, 2)}
    params = init_figure2(jax.random.key(3), 6, 5, 2)
    for key, (name, shape) in zip(jax.random.split(jax.random.key(3), 4), shapes.items(), strict=True):
        np.testing.assert_array_equal(getattr(params, name), jax.random.normal(key, shape))


def test_the_total_is_the_sum_and_samples_tend_to_the_expected_output():
    x = points(4, 6)
    expected = figure2_limit_kernels(x, sigma0=0.5, **TANH)
    np.testing.assert_allclose(expected.total, sum(expected), rtol=1e-6)
    many = figure2_limit_kernels(x, sigma0=0.5, samples=10**6, **TANH)
    np.testing.assert_allclose(many.total, expected.total, atol=1e-5)
    with pytest.raises(ValueError, match="expected samples >= 1, got 0"):
        figure2_limit_kernels(x, sigma0=0.5, samples=0, **TANH)


def test_training_in_the_basis_of_the_inputs_changes_nothing(x64):
    x = points(4, 20).astype(jnp.float64)
    reduced = in_basis(x)
    assert reduced.shape == (4, 4)
    np.testing.assert_allclose(reduced @ reduced.T, x @ x.T, atol=1e-12)
    basis = np.linalg.lstsq(np.asarray(reduced), np.asarray(x), rcond=None)[0].T  # x = reduced @ basis.T
    np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-12)

    options = {"width": 16, "sigma0": 0.4, "samples": 2, **TANH}
    whole = draw_figure2_problem(jax.random.key(0), x, x, **options)
    small = whole._replace(
        inputs=reduced, start=whole.start._replace(encoder=jnp.asarray(basis).T @ whole.start.encoder)
    )
    moved = []
    for problem in (whole, small):
        run = gradient_descent(
            partial(figure2_objective, **TANH), problem.start, args=problem,
            learning_rate=1.0, steps=30, record=lambda p, a: layer_movement(p, a.start), record_at=[0, 10, 30],
        )  # fmt: skip
        moved.append(run.records)
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-9, atol=1e-12)


def test_the_norm_left_out_has_the_right_law():
    start = init_figure2(jax.random.key(0), 50, 10, 3)
    norms = jax.vmap(lambda k: initial_norms(start, d_in=110, key=k))(jax.random.split(jax.random.key(1), 500))
    left_out = np.asarray(norms[:, 0] ** 2 - jnp.sum(start.encoder**2))
    assert abs(left_out.mean() - 5000) < 4 * np.sqrt(2 * 5000 / 500)
    assert 0.8 < left_out.var() / (2 * 5000) < 1.25
    np.testing.assert_allclose(initial_norms(start, d_in=10, key=jax.random.key(1))[0], jnp.linalg.norm(start.encoder))


def test_kl_is_that_of_the_latent_normals_and_vanishes_at_the_start():
    x = points(3, 4)
    start = init_figure2(jax.random.key(0), 6, 4, 2)
    law = latent_law(start, x, sigma0=0.5, **TANH)
    assert float(kl_to_start(law, law)) == 0
    moved = start._replace(mu=start.mu + 0.3)
    mean = latent_law(moved, x, sigma0=0.5, **TANH)[0]
    np.testing.assert_allclose(
        kl_to_start((mean, law[1]), law), np.sum((mean - law[0]) ** 2 / (2 * law[1] ** 2)) / 3, rtol=1e-5
    )


@pytest.mark.parametrize("train_sigma", [False, True])
def test_the_noise_has_the_variance_of_equation_3(train_sigma):
    x, m = points(2, 4), 5
    params = init_figure2(jax.random.key(0), m, 4, 2, train_sigma=0.6 if train_sigma else None)
    h = jnp.tanh(x @ params.encoder)
    zeta = jax.random.normal(jax.random.key(1), (20_000, m, m))
    z = jnp.einsum("ni,sio->sno", h, params.mu + 0.6 * zeta) / np.sqrt(m)
    mean, deviation = latent_law(params, x, sigma0=0.6, **TANH)
    np.testing.assert_allclose(z.mean(0), mean, atol=0.02)
    np.testing.assert_allclose(z.std(0), jnp.broadcast_to(deviation, mean.shape), rtol=0.03)


def test_without_noise_sigma0_and_samples_do_not_matter():
    x = points(3, 4)
    problem = draw_figure2_problem(jax.random.key(0), x, x, width=8, sigma0=0.0, samples=2, **TANH)
    gradient = jax.grad(lambda p: figure2_objective(p, problem, **TANH))(problem.start)
    assert all(np.isfinite(g).all() for g in gradient[:4])
    np.testing.assert_allclose(
        noisy_outputs(problem.start, x, problem.noise, sigma0=0.0, **TANH),
        noisy_outputs(problem.start, x, None, **TANH),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip


def test_wrong_shapes_are_refused():
    params = init_figure2(jax.random.key(0), 8, 4, 2)
    with pytest.raises(ValueError, match=r"expected noise of shape \(S, 3, 8\)"):
        noisy_outputs(params, points(3, 4), jnp.zeros((2, 4, 8)), sigma0=1.0, **TANH)
    with pytest.raises(ValueError, match="expected sizes of at least 1"):
        init_figure2(jax.random.key(0), 0, 4, 2)
    assert isinstance(params, Figure2Parameters)


@pytest.mark.parametrize(
    "x",
    [
        [[0.0, 0, 0], [1, 0, 0]],
        [[1.0, 0, 0, 0], [2, 0, 0, 0], [1, 1, 1, 1]],
        [[-3.0, 0, 4, 0], [0, 0, 0, 0], [3, 1, -4, 1]],
    ],
)
def test_a_basis_keeps_the_products_of_dependent_inputs(x):
    x = np.asarray(x, np.float32)
    reduced = np.asarray(in_basis(jnp.asarray(x)))
    assert reduced.shape == (len(x), len(x))
    np.testing.assert_allclose(reduced @ reduced.T, x @ x.T, atol=1e-5)


def test_an_encoder_has_no_more_rows_than_inputs():
    with pytest.raises(ValueError, match="at least the encoder's 20 rows, got 10"):
        initial_norms(init_figure2(jax.random.key(0), 10, 20, 2), d_in=10, key=jax.random.key(1))


def test_an_activation_that_is_not_resolved_is_refused():
    with pytest.raises(ValueError, match="expected"):
        figure2_limit_kernels(jnp.eye(3), activation=lambda z: jnp.sin(400 * z), sigma0=0.5)


def test_a_basis_of_integers_has_their_products():
    x = np.array([[1, 2, 3, 0], [0, 1, 1, 1]])
    reduced = np.asarray(in_basis(jnp.asarray(x)))
    np.testing.assert_allclose(reduced @ reduced.T, [[14, 5], [5, 3]], rtol=1e-6)


def test_targets_of_another_shape_are_not_broadcast(unchecked):
    x, options = points(3, 4), dict(width=8, sigma0=0.5, **TANH)
    for y in (x[:1, :2], x[:, 0]):
        with pytest.raises(ValueError, match=r"expected y of shape \(3, "):
            draw_figure2_problem(jax.random.key(0), x, y, **options)
    problem = draw_figure2_problem(jax.random.key(0), x, x[:, :2], **options)
    assert figure2_objective(problem.start, problem, **TANH) > 0
    with pytest.raises(ValueError, match=r"expected targets of shape \(3, 2\), got \(3, 1\)"):
        figure2_objective(problem.start, problem._replace(targets=x[:, :1]), **TANH)
