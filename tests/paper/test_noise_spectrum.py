"""Degree weights against closed forms, the filter against the package's kernels, harmonics against Mercer's trace."""

import math

import jax
import numpy as np
import pytest
from scipy.special import erf

from snn_ntk import stax
from snn_ntk.kernels import tangent_kernels
from snn_ntk.ntk import mercer_quadrature, multiplicity
from snn_ntk.paper import degree_weights, noise_factors, sampled_degree_weights

FUNCTIONS = {
    "erf": (erf, stax.Erf()),
    "relu": (lambda z: np.maximum(z, 0), stax.Relu()),
    "sin": (np.sin, stax.Sin()),
}


@pytest.mark.parametrize("q", [1.0, 2.0, 5.0])
def test_weights_of_sin_and_exp(q):
    k = np.arange(9)
    factorial = np.array([math.factorial(i) for i in k], float)
    np.testing.assert_allclose(degree_weights(np.exp, variance=q), q**k * np.exp(q) / factorial, rtol=1e-8)
    odd = np.where(k % 2, q**k * np.exp(-q) / factorial, 0)
    np.testing.assert_allclose(degree_weights(np.sin, variance=q), odd, atol=1e-14, rtol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("sigma0", [0.0, 0.5, 1.5])
def test_filtered_series_is_the_stochastic_kernel(name, sigma0):
    phi, layer = FUNCTIONS[name]
    t = np.linspace(-0.6, 0.6, 7)
    x1 = np.array([[1.0, 0.0]])
    x2 = np.stack([t, np.sqrt(1 - t**2)], axis=1)
    kernels = tangent_kernels(x1, x2, activation=layer, sigma0=sigma0)
    weights = degree_weights(phi, variance=1 + sigma0**2, degrees=60)
    k = np.arange(61)
    series = weights * (1 + sigma0**2) ** -k.astype(float)
    powers = t[:, None] ** k
    # float32 kernels; the series is cut at 0.6^60
    np.testing.assert_allclose(kernels.d[0], powers @ series, atol=3e-6)
    np.testing.assert_allclose(kernels.mu[0], powers @ (k * series), atol=3e-6)


@pytest.mark.parametrize("sigma0", [0.5, 1.0, 2.0])
def test_table_of_factors_against_no_noise(sigma0):
    def factors(phi):
        values = noise_factors(phi, sigma0=sigma0, degrees=5, against="no noise")
        return values, np.isfinite(values)

    k, q = np.arange(6.0), 1 + sigma0**2
    for phi, expected in [
        (erf, (1 + 2 / 3 * sigma0**2) ** -k),
        (lambda z: np.maximum(z, 0), q ** (1 - k)),
        (np.sin, np.exp(-(sigma0**2)) + 0 * k),
        (np.exp, np.exp(sigma0**2) + 0 * k),
    ]:
        values, present = factors(phi)
        assert present.sum() >= 3
        np.testing.assert_allclose(values[present], expected[present], rtol=1e-6)
    values, present = factors(np.square)
    assert present.tolist() == [True, False, True, False, False, False]
    np.testing.assert_allclose(values[present], [q**2, 1.0], rtol=1e-10)


@pytest.mark.parametrize("size", [1e-12, 1e6])
def test_factors_do_not_know_the_size_of_the_activation(size):
    for against in ("same variance", "no noise"):
        one, other = (noise_factors(lambda z, s=s: s * erf(z), sigma0=0.5, against=against) for s in (1.0, size))
        np.testing.assert_array_equal(np.isfinite(one), np.arange(9) % 2 == 1)  # erf is odd
        np.testing.assert_allclose(other, one, rtol=1e-9)


def test_same_variance_factor_does_not_know_the_activation():
    for phi in (erf, np.sin, np.exp, np.cos):
        values = noise_factors(phi, sigma0=0.7, degrees=5)
        present = np.isfinite(values)
        np.testing.assert_allclose(values[present], 1.49 ** -np.arange(6.0)[present], rtol=1e-12)


def test_sampled_weights_are_within_their_error():
    runs = np.array(
        [sampled_degree_weights(np.random.default_rng(i), np.sin, width=50_000, sigma0=1.0) for i in range(20)]
    )
    exact = degree_weights(np.sin, variance=2.0) * 2.0 ** -np.arange(9)
    for k in (1, 3):
        assert abs(runs[:, k].mean() - exact[k]) < 4 * runs[:, k].std(ddof=1) / math.sqrt(20)
        assert abs(runs[:, k].mean() - 1.2 * exact[k]) > 4 * runs[:, k].std(ddof=1) / math.sqrt(20)


def test_harmonics_sum_to_the_trace_and_obey_the_bound():
    spectrum = mercer_quadrature(np.exp, 14, 6)
    assert abs((spectrum * multiplicity(np.arange(15), 6)).sum() - math.e) < 1e-10
    ratio = mercer_quadrature(lambda t: np.exp(t / 2), 8, 6) / spectrum[:9]
    assert (ratio <= 0.5 ** np.arange(9) * (1 + 1e-9)).all()
    wide = mercer_quadrature(lambda t: np.exp(t / 2), 2, 600) / mercer_quadrature(np.exp, 2, 600)
    np.testing.assert_allclose(wide, [1.0, 0.5, 0.25], rtol=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: degree_weights(np.sin, variance=0.0), "variance > 0"),
        (lambda: degree_weights(np.tanh, variance=np.inf), "finite variance"),
        (lambda: degree_weights(np.sin, degrees=-1), "degrees ≥ 0"),
        (lambda: noise_factors(np.sin, sigma0=-1.0), "sigma0 ≥ 0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("phi", "variance", "near", "exact"),
    [
        (np.sin, 1e4, 2e3, 0.0),  # 191 waves for 200 nodes
        (np.cos, 1e4, 2e3, 0.0),
        (np.exp, 100.0, 36.0, 36.0 * math.exp(36.0)),  # its weight is where the rule ends, around 10
        (lambda z: np.clip(z, -1, 1), 1.0, 1e-4, 1e-4),  # kinks that are not at 0, and none within reach
    ],
)
def test_what_quadrature_does_not_resolve_is_refused(phi, variance, near, exact):
    """And a_1² is right where it is resolved: q exp(∓q), and q for the identity."""
    with pytest.raises(ValueError, match="expected phi that quadrature resolves at variance"):
        degree_weights(phi, variance=variance, degrees=1)
    assert degree_weights(phi, variance=near, degrees=1)[1] == pytest.approx(exact, rel=1e-7, abs=1e-25)


def test_psd_order_on_points():
    x = np.asarray(jax.random.normal(jax.random.key(0), (24, 8)))
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    noisy = tangent_kernels(x, activation=stax.Erf(), sigma0=1.0)
    same = tangent_kernels(x, activation=stax.Erf(), sigma0=0.0, W_std=math.sqrt(2 * 8))
    gap = np.asarray(same.mu + same.d, float) / 2 - np.asarray(noisy.mu + noisy.d, float)
    assert np.linalg.eigvalsh(gap).min() > -1e-6
