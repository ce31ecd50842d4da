"""The stochastic network with node scalings: reductions, limiting kernels and their variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from scipy.integrate import quad

from snn_ntk import paper
from snn_ntk._neural_tangents import stax
from snn_ntk.datasets import sphere
from snn_ntk.kernels import tangent_kernels
from snn_ntk.node_scaling import (
    limiting_kernels,
    node_scalings,
    node_variance,
    rescaled,
    scaled_expected_output,
    scaled_tangent_kernels,
    zipf_second_moment,
)

ERF = stax.Erf()
X = sphere(jax.random.key(0), 5, 4)
SCALINGS = node_scalings(6, gamma=0.3, alpha=0.5)


def test_equal_scalings_are_the_plain_network():
    params = paper.init_parameters(jax.random.key(1), 6, 4, 2, sigma0=0.7)
    equal = np.full(6, 1 / 6)
    np.testing.assert_allclose(
        scaled_expected_output(params, equal, X, activation=ERF),
        paper.expected_output(params, X, activation=ERF),
        rtol=1e-5,
    )
    ours = jax.jit(lambda p: scaled_tangent_kernels(p, equal, X, activation=ERF))(params)
    for a, b in zip(
        ours, jax.jit(lambda p: paper.empirical_tangent_kernels(p, X, activation=ERF))(params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_kernels_are_jacobian_products():
    params = paper.init_parameters(jax.random.key(2), 6, 4, 3, sigma0=0.7)
    jacobian = jax.jit(jax.jacobian(lambda p: scaled_expected_output(p, SCALINGS, X, activation=ERF)))(params)
    kernels = jax.jit(lambda p: scaled_tangent_kernels(p, SCALINGS, X, activation=ERF))(params)
    for group, kernel in zip(jacobian, kernels, strict=True):
        flat = np.asarray(group).reshape(5, 3, -1)
        np.testing.assert_allclose(kernel, np.einsum("ikp,jkp->ij", flat, flat) / 3, rtol=2e-4, atol=1e-5)


def test_samples_of_the_rescaled_network_average_to_the_expected_output():
    params = paper.init_parameters(jax.random.key(3), 6, 4, 1, sigma0=0.7)
    draw = lambda key: paper.sampled_output(rescaled(params, SCALINGS), X, key, activation=ERF)  # noqa: E731
    samples = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(4), 4000)), np.float64)
    expected = scaled_expected_output(params, SCALINGS, X, activation=ERF)
    assert (np.abs(samples.mean(0) - expected) < 4.5 * samples.std(0) / np.sqrt(4000)).all()


def test_variance_of_the_kernels():
    """E‖Θ − K‖² = Σλ² Σ Var M, in every group."""
    outputs = 2
    draw = lambda key: paper.init_parameters(key, 6, 4, outputs, sigma0=0.7)  # noqa: E731
    params = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(5), 6000))
    kernels = jax.jit(jax.vmap(lambda p: scaled_tangent_kernels(p, SCALINGS, X, activation=ERF)))(params)
    means = tangent_kernels(X, activation=ERF, sigma0=0.7)
    variances = jax.jit(lambda s: node_variance(X, activation=ERF, sigma0=s, outputs=outputs))(0.7)
    for kernel, mean, variance in zip(kernels, means, variances, strict=True):
        squares = ((np.asarray(kernel, np.float64) - np.asarray(mean)) ** 2).sum((1, 2))
        expected, error = float(variance.sum()) * (SCALINGS**2).sum(), squares.std() / np.sqrt(6000)
        assert abs(squares.mean() - expected) < 4.5 * error
        assert abs(squares.mean() - 1.5 * expected) > 4.5 * error


@pytest.mark.parametrize(("steepness", "sigma0"), [(5.0, 0.0), (1.0, 0.7)])
def test_variance_of_orthogonal_and_equal_inputs(steepness, sigma0):
    """u and u' are equal or independent: moments in one variable."""
    b = steepness / np.sqrt(1 + 2 * (steepness * sigma0) ** 2)  # erf(b u) is erf(steepness u), blurred
    value = lambda u: special.erf(b * u)  # noqa: E731
    slope = lambda u: 2 * b / np.sqrt(np.pi) * np.exp(-((b * u) ** 2))  # noqa: E731
    spread = lambda u: -2 * b * b * u * slope(u)  # noqa: E731

    def moment(g, power):
        return quad(lambda u: g(u) ** power * stats.norm.pdf(u), -12, 12, points=[0], epsabs=1e-13, limit=500)[0]

    found = node_variance(jnp.eye(2), activation=stax.Erf(b=steepness), sigma0=sigma0, outputs=2)
    for kernel, g, decoder, scale in (
        (found.d, value, 1, [1, 1]),
        (found.mu, slope, 2, [1, 0]),
        (found.sigma, spread, 2, [sigma0**4, 0]),
    ):
        same, other = (decoder * moment(g, 4) - moment(g, 2) ** 2, decoder * moment(g, 2) ** 2 - moment(g, 1) ** 4)
        np.testing.assert_allclose(kernel[0], [scale[0] * same, scale[1] * other], rtol=2e-5)


def test_a_kink_without_noise_has_no_variance_here():
    with pytest.raises(ValueError, match="ReLU, blurred"):
        node_variance(X, activation=stax.Relu(), sigma0=0.0)


def test_limit_is_random_only_below_one():
    keys = jax.random.split(jax.random.key(6), 2)
    settings = dict(activation=ERF, sigma0=0.7, alpha=0.5, nodes=50)
    a, b = (limiting_kernels(key, X, gamma=0.5, **settings).total for key in keys)
    assert float(jnp.abs(a - b).max()) > 0.01
    fixed = [limiting_kernels(key, X, gamma=1.0, **settings).total for key in keys]
    np.testing.assert_array_equal(fixed[0], fixed[1])


@pytest.mark.parametrize("alpha", [0.5, 0.9])
def test_mean_and_variance_of_the_limit(alpha):
    """E Θ = K and E‖Θ − K‖² = (1 − γ)² Σλ̃² Σ Var M, however much mass lies beyond the nodes that are drawn."""
    gamma, outputs, runs = 0.3, 2, 4000

    def draw(key):
        return limiting_kernels(
            key, X, gamma=gamma, alpha=alpha, activation=ERF, sigma0=0.7, outputs=outputs, nodes=200
        )

    kernels = jax.jit(lambda keys: jax.lax.map(draw, keys))(jax.random.split(jax.random.key(7), runs))
    means = tangent_kernels(X, activation=ERF, sigma0=0.7)
    variances = node_variance(X, activation=ERF, sigma0=0.7, outputs=outputs)
    for kernel, mean, variance in zip(kernels, means, variances, strict=True):
        kernel, mean = np.asarray(kernel, np.float64), np.asarray(mean)
        assert (np.abs(kernel.mean(0) - mean) < 4.5 * kernel.std(0) / np.sqrt(runs) + 1e-6).all()
        squares = ((kernel - mean) ** 2).sum((1, 2))
        expected = float(variance.sum()) * (1 - gamma) ** 2 * zipf_second_moment(alpha)
        assert abs(squares.mean() - expected) < 4.5 * squares.std() / np.sqrt(runs)
        assert abs(squares.mean() - 1.5 * expected) > 4.5 * squares.std() / np.sqrt(runs)


def test_bad_arguments():
    params = paper.init_parameters(jax.random.key(1), 6, 4, 1, sigma0=0.7)
    with pytest.raises(ValueError, match=r"shape \(6,\)"):
        rescaled(params, np.ones(5))
    with pytest.raises(ValueError, match="unit norm"):
        node_variance(2 * X, activation=ERF, sigma0=0.5)
    with pytest.raises(ValueError, match="sigma0 >= 0"):
        node_variance(X, activation=ERF, sigma0=-0.5)
    for gamma in (1.5, -0.5, np.nan):
        with pytest.raises(ValueError, match="gamma"):
            limiting_kernels(jax.random.key(0), X, gamma=gamma, alpha=0.5, activation=ERF, sigma0=0.5)
    with pytest.raises(ValueError, match="nodes >= 1, got 0"):
        limiting_kernels(jax.random.key(0), X, gamma=0.5, alpha=0.5, activation=ERF, sigma0=0.5, nodes=0)
