"""Bounds against the quantities they bound, and convex programmes against their optimality conditions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from snn_ntk.ntk import (
    first_layer_gram,
    generalisation_bound,
    init_two_layer,
    logistic_path,
    margin_norm,
    pull_back,
    rademacher_ascent,
    rademacher_bound,
    rademacher_linearised,
    two_layer_gram,
    two_layer_output,
)

pytestmark = pytest.mark.usefixtures("x64")


def data(n=30, d=6):
    x = jax.random.normal(jax.random.key(0), (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True), jnp.sign(x[:, 0])


def test_bound_is_its_formula():
    x, y = data()
    kernel = first_layer_gram(x)
    by_hand = np.sqrt(2 * np.asarray(y) @ np.linalg.solve(np.asarray(kernel), np.asarray(y)) / len(y))
    assert float(generalisation_bound(kernel, y)) == pytest.approx(by_hand, rel=1e-8)
    with_confidence = float(generalisation_bound(kernel, y, delta=0.1))
    assert with_confidence == pytest.approx(by_hand + 3 * np.sqrt(np.log(60) / 60), rel=1e-8)


@pytest.mark.parametrize("seed", range(12))
def test_bound_of_inputs_that_are_there_twice_is_refused(seed):
    """With two different targets at one point no function of the kernel's space fits: the bound would be infinite."""
    x = jax.random.normal(jax.random.key(seed), (6, 3))
    with pytest.raises(ValueError, match="positive definite in float64"):
        generalisation_bound(first_layer_gram(x.at[5].set(x[0])), jnp.arange(6.0))


def test_bound_of_a_kernel_that_is_not_symmetric_is_refused():
    with pytest.raises(ValueError, match="kernel to be symmetric"):
        generalisation_bound(jnp.array([[1.0, 0.9], [0.0, 1.0]]), jnp.ones(2))


def test_linearised_complexity_is_attained_and_bounded():
    x, _ = data()
    start = init_two_layer(jax.random.key(1), 40, 6)
    signs = jax.random.rademacher(jax.random.key(2), (50, len(x)), x.dtype)
    values = rademacher_linearised(two_layer_gram(start, x), 1.5, signs)
    move = pull_back(start, x, signs[0])
    move = 1.5 * move / jnp.linalg.norm(move)
    jacobian = jax.jacobian(lambda w: two_layer_output(start._replace(w=w), x))(start.w)
    attained = jnp.mean(signs[0] * jnp.einsum("ird,rd->i", jacobian, move))
    assert float(values[0]) == pytest.approx(float(attained), rel=1e-9)
    assert float(values.mean()) <= 1.5 * float(jnp.sqrt(jnp.trace(two_layer_gram(start, x)))) / len(x) * 1.05


def test_network_complexity_found_by_ascent_stays_below_the_bound():
    x, _ = data()
    start = init_two_layer(jax.random.key(1), 400, 6, paired=True)
    signs = jax.random.rademacher(jax.random.key(2), (4, len(x)), x.dtype)
    found = np.mean([rademacher_ascent(start, x, row, 0.3, 2.0) for row in signs])
    linear = float(rademacher_linearised(two_layer_gram(start, x), 2.0, signs).mean())
    assert 0.5 * linear < found < sum(rademacher_bound(0.3, 2.0, 400, len(x), delta=0.1))


def test_ascent_where_nothing_can_move_stays_at_the_start():
    """The class of radius 0 is the start alone, and a network that answers to no input has no slope."""
    x, _ = data()
    start, signs = init_two_layer(jax.random.key(1), 20, 6), jnp.ones(len(x))
    here = float(jnp.mean(signs * two_layer_output(start, x)))
    for per_neuron, total in ((0.3, 0.0), (0.0, 2.0), (0.0, 0.0)):
        assert float(rademacher_ascent(start, x, signs, per_neuron, total)) == pytest.approx(here, rel=1e-12)
    assert float(rademacher_ascent(start, x, signs, 0.3, 0.1)) > here
    silent = start._replace(w=-jnp.abs(start.w))
    assert float(rademacher_ascent(silent, jnp.abs(x), signs, 0.3, 2.0)) == 0.0


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_radii_and_signs_are_checked(bad, unchecked):
    x, y = data(4)
    start = init_two_layer(jax.random.key(1), 20, 6)
    with pytest.raises(ValueError, match="finite total >= 0"):
        rademacher_ascent(start, x, y, 0.3, bad)
    with pytest.raises(ValueError, match="finite per_neuron >= 0"):
        rademacher_ascent(start, x, y, bad, 2.0)
    with pytest.raises(ValueError, match=r"expected signs of shape \(4,\), got \(4, 1\)"):
        rademacher_ascent(start, x, y[:, None], 0.3, 2.0)
    with pytest.raises(ValueError, match=r"expected y of shape \(4,\), got \(4, 2\)"):
        generalisation_bound(first_layer_gram(x), jnp.stack([y, y], axis=1))


def test_rademacher_terms():
    first, second, third = rademacher_bound(0.1, 2.0, 10_000, 50, delta=0.5)
    log_term = 2 * np.log(4)
    assert first == pytest.approx(0.2 * (1 + (log_term / 10_000) ** 0.25))
    assert second == pytest.approx(2.0)
    assert third == pytest.approx(0.1 * log_term**0.5)
    assert rademacher_bound(0.1, 2.0, 10_000, 50, delta=0.5, nu=0.5)[1] == pytest.approx(4.0)


def test_logistic_path_is_optimal_in_its_ball():
    """No function of the same norm fits better, and the path is monotone."""
    x, y = data()
    kernel, y = np.asarray(first_layer_gram(x)), np.asarray(y)
    path = logistic_path(kernel, y, np.array([1.0, 0.1, 0.01]))
    assert np.all(np.diff(path.radius) > 0)
    assert np.all(np.diff(path.loss) < 0)
    radius = np.sqrt(np.einsum("ki,ij,kj->k", path.dual, kernel, path.dual))
    np.testing.assert_allclose(radius, path.radius, rtol=1e-3)
    root = np.linalg.cholesky(kernel)
    rng = np.random.default_rng(0)
    for _ in range(50):
        v = rng.standard_normal(len(y))
        outputs = root @ (v / np.linalg.norm(v) * path.radius[1])
        assert np.mean(np.logaddexp(0, -y * outputs)) >= path.loss[1]
        better = root.T @ path.dual[1] + 1e-2 * v
        outputs = root @ (better / np.linalg.norm(better) * path.radius[1])
        assert np.mean(np.logaddexp(0, -y * outputs)) >= path.loss[1] - 1e-9


@pytest.mark.parametrize(("labels", "penalties"), [([0.0, 1.0], [1.0]), ([1.0, -1.0], [1.0, 0.0])])
def test_logistic_path_refuses(labels, penalties):
    with pytest.raises(ValueError, match="expected"):
        logistic_path(np.eye(2), np.array(labels), np.array(penalties))


@pytest.mark.parametrize("labels", [[0.0, 1.0], [1.0, 2.0], [1.0, np.nan]])
def test_margin_norm_refuses_other_labels(labels):
    with pytest.raises(ValueError, match="expected labels -1 and 1"):
        margin_norm(np.eye(2), np.array(labels))
    with pytest.raises(ValueError, match="finite values in kernel"):
        margin_norm(np.full((2, 2), np.nan), np.array([1, -1]))
    assert margin_norm(np.eye(2), np.array([1, -1])) == pytest.approx(2**0.5)


def test_margin_norm_of_what_has_none_is_refused():
    """Equal inputs with both labels have no margin; with one label they are one input."""
    assert margin_norm(np.ones((2, 2)), np.array([1.0, 1])) == pytest.approx(1)
    with pytest.raises(ValueError, match="there twice with both labels"):
        margin_norm(np.ones((2, 2)), np.array([1.0, -1]))
    for kernel in (-np.eye(2), np.array([[1.0, 2], [2, 1]])):
        with pytest.raises(ValueError, match="without negative eigenvalues"):
            margin_norm(kernel, np.ones(2))


def test_margin_norm_is_the_constrained_infimum():
    x, y = data(12)
    kernel, y = np.asarray(first_layer_gram(x)), np.asarray(y)
    inverse = np.linalg.inv(kernel)
    solution = minimize(
        lambda z: z @ inverse @ z,
        y,
        jac=lambda z: 2 * inverse @ z,
        bounds=[(1, None) if label > 0 else (None, -1) for label in y],
    )
    norm = margin_norm(kernel, y)
    assert norm == pytest.approx(np.sqrt(solution.fun), rel=1e-3)
    assert norm <= np.sqrt(y @ inverse @ y) + 1e-9


@pytest.mark.parametrize("penalty", [1.0, 1e-3, 1e-6, 1e-8])
def test_logistic_path_reaches_weak_penalties(penalty):
    """For K = 1 all margins are one number a with 1/(1 + eᵃ) = nλ a, and the dual is y a."""
    n, y = 4, np.array([1.0, -1.0, 1.0, -1.0])
    a = brentq(lambda a: 1 / (1 + math.exp(a)) - n * penalty * a, 0, 100, xtol=1e-13)
    path = logistic_path(np.eye(n), y, np.array([100, 1]) * penalty)
    assert path.radius[-1] == pytest.approx(2 * a, rel=1e-6)
    assert path.loss[-1] == pytest.approx(math.log1p(math.exp(-a)), rel=1e-5)
    np.testing.assert_allclose(path.dual[-1], y * a, rtol=1e-5)


def test_logistic_path_refuses_a_penalty_that_float64_does_not_resolve():
    with pytest.raises(ValueError, match="expected penalties that float64 resolves"):
        logistic_path(np.eye(2), np.array([1.0, -1.0]), np.array([1.0, 1e-300]))
