"""The finite network: its expectation and variance against sampled noise, its kernels against Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from snn_ntk import nt, stax
from snn_ntk.kernels import tangent_kernels
from snn_ntk.paper import (
    Parameters,
    empirical_tangent_kernels,
    expected_output,
    init_parameters,
    output_variance,
    sampled_output,
)

ACTIVATIONS = {"erf": stax.Erf(), "relu": stax.Relu(), "sin": stax.Sin(), "tanh": jnp.tanh}


@pytest.fixture
def x():
    x = jax.random.normal(jax.random.PRNGKey(0), (4, 6))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


def trained(key, width=300, d_out=2):
    """Parameters away from initialisation: W_σ differs from weight to weight."""
    params = init_parameters(key, width, 6, d_out, sigma0=0.7)
    return params._replace(sigma=params.sigma + 0.2 * jax.random.normal(key, params.sigma.shape))


@pytest.mark.heavy
def test_gradient_of_the_variance_falls_as_the_root_of_the_width(x, x64):
    """‖∇V_k‖² = O(1/m), so that a flow whose other gradients are of order one moves V on times of order m only."""

    def squared(width):
        params = trained(jax.random.key(1), width)
        gradient = jax.grad(lambda p: output_variance(p, x, activation=stax.Erf())[0, 0])(params)
        return float(sum(jnp.vdot(g, g) for g in gradient))

    assert squared(400) / squared(40_000) == pytest.approx(100, rel=0.3)


def test_initialisation(x64):
    params = init_parameters(jax.random.key(0), 4000, 5, sigma0=0.3)
    assert params.mu.shape == params.sigma.shape == params.d.shape == (4000, 5)
    np.testing.assert_array_equal(params.sigma, 0.3)
    for weights in (params.mu, params.d):
        # Five standard errors of mean and variance over 20,000 weights.
        assert abs(float(weights.mean())) < 5 / np.sqrt(20_000)
        assert abs(float(weights.var()) - 1) < 5 * np.sqrt(2 / 20_000)
    assert init_parameters(jax.random.key(0), 3, 2, sigma0=0, dtype=jnp.float32).mu.dtype == jnp.float32


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_expectation_and_variance_over_noise(name, x):
    params, samples = trained(jax.random.key(1)), 4000
    keys = jax.random.split(jax.random.key(2), samples)
    sample = jax.jit(jax.vmap(lambda key: sampled_output(params, x, key, activation=ACTIVATIONS[name])))(keys)
    variance = output_variance(params, x, activation=ACTIVATIONS[name])
    error = sample.mean(0) - expected_output(params, x, activation=ACTIVATIONS[name])
    # Eight outputs: four standard errors; the sample variance of a near-Gaussian has relative error √(2/samples).
    np.testing.assert_array_less(jnp.abs(error), 4 * jnp.sqrt(variance / samples))
    np.testing.assert_allclose(sample.var(0, ddof=1), variance, rtol=4 * np.sqrt(2 / samples))


@pytest.mark.parametrize("sigma0", [1e-4, 0.02, 0.1])
@pytest.mark.parametrize(
    ("activation", "phi"),
    [(stax.Erf(), erf), (stax.Relu(), lambda z: np.maximum(z, 0)), (jnp.tanh, np.tanh), (stax.Abs(), np.abs)],
    ids=["erf", "relu", "tanh", "abs"],
)
def test_the_variance_of_little_noise_is_not_rounding(activation, phi, sigma0, x):
    """In float64, of φ(z) − φ(u), which is small too; a rule on each side of the kink at z = 0."""
    params = init_parameters(jax.random.key(1), 30, 6, sigma0=sigma0)
    u, s = (np.asarray(x, float) @ np.asarray(params.mu, float).T)[..., None], sigma0 * np.linalg.norm(x, axis=1)
    s = s[:, None, None]
    kink, (nodes, weights) = np.clip(-u / s, -9, 9), np.polynomial.legendre.leggauss(100)
    g = np.concatenate([kink + (nodes - 1) / 2 * (kink + 9.5), kink + (nodes + 1) / 2 * (9.5 - kink)], axis=-1)
    weights = np.concatenate([weights * (kink + 9.5), weights * (9.5 - kink)], axis=-1) * np.exp(-(g**2) / 2)
    weights /= weights.sum(-1, keepdims=True)
    difference = phi(u + s * g) - phi(u)
    variance = (weights * difference**2).sum(-1) - (weights * difference).sum(-1) ** 2
    expected = variance @ np.asarray(params.d, float) ** 2 / 30
    np.testing.assert_allclose(output_variance(params, x, activation=activation), expected, rtol=3e-5)


def test_sampling_by_neuron_is_sampling_by_weight(x):
    """Eq. 3 draws ζ for every weight; one g a neuron has the same distribution for one input."""
    params, samples = trained(jax.random.key(3), width=20), 20_000
    x = x[:1]

    def by_weight(key):
        z = (params.mu + params.sigma * jax.random.normal(key, params.mu.shape)) @ x[0]
        return jnp.tanh(z) @ params.d / jnp.sqrt(20.0)

    outputs = jax.vmap(by_weight)(jax.random.split(jax.random.key(4), samples))
    variance = output_variance(params, x, activation=jnp.tanh)[0]
    mean = expected_output(params, x, activation=jnp.tanh)[0]
    np.testing.assert_array_less(jnp.abs(outputs.mean(0) - mean), 4 * jnp.sqrt(variance / samples))
    np.testing.assert_allclose(outputs.var(0), variance, rtol=4 * np.sqrt(2 / samples))


@pytest.mark.parametrize(
    "name", ["tanh", *(pytest.param(name, marks=pytest.mark.heavy) for name in ACTIVATIONS if name != "tanh")]
)
def test_kernels_are_products_of_jacobians(name, x, x64):
    activation = ACTIVATIONS[name]
    x = jnp.asarray(x, jnp.float64)
    y = x[:3] + 0.1
    params = trained(jax.random.key(5))
    jacobian = jax.jit(jax.jacobian(lambda p, x: expected_output(p, x, activation=activation)))
    left, right = jacobian(params, x), jacobian(params, y)
    every = empirical_tangent_kernels(params, x, y, activation=activation, outputs="all")
    mean = empirical_tangent_kernels(params, x, y, activation=activation)
    for j1, j2, all_pairs, averaged in zip(left, right, every, mean, strict=True):
        want = jnp.einsum("ikrl,jqrl->ikjq", j1, j2)
        np.testing.assert_allclose(all_pairs, want, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(averaged, jnp.einsum("ikjk->ij", want) / 2, rtol=1e-10, atol=1e-12)


def test_total_is_the_empirical_kernel_of_neural_tangents(x):
    params = trained(jax.random.key(6))
    kernel_fn = nt.empirical_ntk_fn(lambda p, x: expected_output(p, x, activation=stax.Erf()))
    want = kernel_fn(x, None, params)
    got = empirical_tangent_kernels(params, x, activation=stax.Erf()).total
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["erf", "relu"])
def test_kernels_approach_the_limit(name, x, x64):
    """Differences over independent networks are centred on 0 and shrink with the width like m^{-1/2}."""
    x = jnp.asarray(x, jnp.float64)
    limit = jnp.stack(tangent_kernels(x, activation=ACTIVATIONS[name], sigma0=0.7))
    errors = {}
    for width in (100, 1600):

        def difference(key, width=width):
            params = init_parameters(key, width, 6, 2, sigma0=0.7)
            return jnp.stack(empirical_tangent_kernels(params, x, activation=ACTIVATIONS[name])) - limit

        samples = jax.jit(lambda keys: jax.lax.map(difference, keys))(jax.random.split(jax.random.key(width), 24))
        errors[width] = jnp.sqrt((samples**2).mean((0, 2, 3)))
        # 30 distinct entries over 24 networks: Student's t, so five standard errors.
        np.testing.assert_array_less(jnp.abs(samples.mean(0)), 5 * samples.std(0, ddof=1) / np.sqrt(24) + 1e-12)
    # 16 times wider is 4 times closer; the entries of a kernel move together, so the ratio is known to about 30 %.
    np.testing.assert_allclose(errors[100] / errors[1600], 4, rtol=0.5)


@pytest.mark.heavy
def test_no_noise_has_finite_gradients_and_no_variance(x):
    params = init_parameters(jax.random.key(7), 30, 6, 2, sigma0=0.0)
    for activation in ACTIVATIONS.values():
        gradient = jax.grad(lambda p, a=activation: expected_output(p, x, activation=a).sum())(params)
        assert all(bool(jnp.isfinite(g).all()) for g in gradient)
        np.testing.assert_array_equal(gradient.sigma, 0)
        np.testing.assert_allclose(output_variance(params, x, activation=activation), 0, atol=1e-5)
        assert all(bool(jnp.isfinite(k).all()) for k in empirical_tangent_kernels(params, x, activation=activation))


def test_parameters_are_a_pytree(x):
    batch = jax.vmap(lambda key: init_parameters(key, 20, 6, 2, sigma0=0.5))(jax.random.split(jax.random.key(8), 3))
    outputs = jax.vmap(lambda p: expected_output(p, x, activation=stax.Erf()))(batch)
    assert isinstance(batch, Parameters)
    assert outputs.shape == (3, 4, 2)


def test_bad_input_is_named(x, unchecked):
    params = init_parameters(jax.random.key(9), 8, 6, sigma0=0.5)
    with pytest.raises(ValueError, match="6 features like W_mu, got 5"):
        expected_output(params, x[:, :5], activation=jnp.tanh)
    with pytest.raises(ValueError, match="finite values"):
        output_variance(params, x * jnp.nan, activation=jnp.tanh)
    with pytest.raises(ValueError, match='"mean" or "all"'):
        empirical_tangent_kernels(params, x, activation=jnp.tanh, outputs="some")
    with pytest.raises(ValueError, match="sigma0 >= 0"):
        init_parameters(jax.random.key(0), 8, 6, sigma0=-0.1)
    with pytest.raises(ValueError, match="width >= 1"):
        init_parameters(jax.random.key(0), 0, 6, sigma0=0.1)
