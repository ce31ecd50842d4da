"""The evidence against scipy's Gaussian, and its gradient against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from snn_ntk import StochasticDense, log_marginal_likelihood, predictive_variance, stax


def kernel(sigma0, W_std, b_std, x):
    layers = [StochasticDense(8, W_std, sigma0=sigma0, b_std=b_std), stax.Relu(), stax.Dense(1)]
    return stax.serial(*layers)[2](x)


@pytest.fixture
def x(x64):
    return jax.random.normal(jax.random.key(0), (6, 3))


def test_it_is_the_density_of_a_gaussian(x):
    k, y = kernel(0.5, 1.2, 0.1, x), jax.random.normal(jax.random.key(1), (6, 2))
    for ridge in (0.1, 0.1 + predictive_variance(k)):
        law = scipy.stats.multivariate_normal(np.zeros(6), np.asarray(k.nngp) + np.diag(np.broadcast_to(ridge, 6)))
        got = log_marginal_likelihood(k.nngp, y, ridge)
        np.testing.assert_allclose(got, law.logpdf(np.asarray(y).T).sum(), rtol=1e-10)


@pytest.mark.heavy
def test_its_gradient_in_every_parameter(x):
    y = jnp.sin(x[:, :1])

    def evidence(parameters):
        *network, ridge = parameters
        return log_marginal_likelihood(kernel(*network, x).nngp, y, ridge)

    at = jnp.array([0.5, 1.2, 0.3, 0.1])
    gradient = jax.grad(evidence)(at)
    for i, step in enumerate(1e-5 * np.eye(4)):
        difference = (evidence(at + step) - evidence(at - step)) / 2e-5
        np.testing.assert_allclose(gradient[i], difference, rtol=1e-6)
        assert abs(float(difference)) > 1e-3


def test_a_matrix_that_is_none_is_refused():
    with pytest.raises(ValueError, match="expected nngp \\+ ridge to be positive definite in float32"):
        log_marginal_likelihood(jnp.array([[1.0, 2.0], [2.0, 1.0]]), jnp.ones((2, 1)), 0.0)


@pytest.mark.parametrize("seed", range(12))
def test_a_point_that_is_there_twice_needs_noise(seed, x64):
    """With two different targets at one point the likelihood is 0 without noise; with some it is scipy's."""
    points, y = jax.random.normal(jax.random.key(seed), (6, 3)), jax.random.normal(jax.random.key(seed + 100), (6, 1))
    nngp = kernel(0.5, 1.2, 0.1, points.at[5].set(points[0])).nngp
    with pytest.raises(ValueError, match=r"positive definite in float64, got the eigenvalue .* not above rounding"):
        log_marginal_likelihood(nngp, y, 0.0)
    law = scipy.stats.multivariate_normal(np.zeros(6), np.asarray(nngp) + 0.1 * np.eye(6))
    np.testing.assert_allclose(log_marginal_likelihood(nngp, y, 0.1), law.logpdf(y[:, 0]), rtol=1e-10)


@pytest.mark.parametrize(
    ("nngp", "ridge", "message"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], -0.5, "ridge >= 0"),
        ([[1.0, 0.0], [0.0, 1.0]], [0.5, -0.5], "ridge >= 0"),
        ([[1.0, 0.0], [0.0, 1.0]], np.nan, "ridge >= 0"),
        ([[1.0, 0.9], [0.0, 1.0]], 0.1, "to be symmetric"),
    ],
)
def test_noise_is_not_negative_and_a_covariance_symmetric(nngp, ridge, message):
    with pytest.raises(ValueError, match=message):
        log_marginal_likelihood(jnp.array(nngp), jnp.ones((2, 1)), jnp.asarray(ridge))


def test_a_kernel_of_integers_leaves_targets_and_noise_as_they_are():
    y = jnp.array([[0.5], [0.7], [-0.3]])
    found = log_marginal_likelihood(2 * jnp.eye(3, dtype=int), y, 0.5)
    assert float(found) == pytest.approx(scipy.stats.norm.logpdf(y[:, 0], scale=2.5**0.5).sum(), rel=1e-6)


@pytest.mark.parametrize(
    "shapes", [((3, 3), (3,), ()), ((3, 3), (2, 1), ()), ((3, 2), (3, 1), ()), ((3, 3), (3, 1), (2,))]
)
def test_shapes_of_evidence_fit(unchecked, shapes):
    with pytest.raises(ValueError, match=r"expected nngp \(n, n\), y \(n, d_out\) and ridge"):
        log_marginal_likelihood(*map(jnp.ones, shapes))


def test_evidence_is_of_an_array(unchecked):
    kernel = stax.serial(stax.Dense(8), stax.Erf(), stax.Dense(1))[2](jnp.eye(3))
    with pytest.raises(TypeError, match="got a Kernel: give its nngp"):
        log_marginal_likelihood(kernel, jnp.ones((3, 1)), 0.1)
