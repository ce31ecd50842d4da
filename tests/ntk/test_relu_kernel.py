"""Closed forms of the two-layer ReLU kernel against sampling, neural-tangents, and an independent spectral expansion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gamma

from snn_ntk import stax
from snn_ntk.ntk import (
    activation_moments,
    feature_distances,
    first_layer_gram,
    kappa0,
    kappa1,
    lipschitz_constant,
    mercer_eigenvalues,
    mercer_quadrature,
    multiplicity,
    phi0_bound,
    phi_bound,
    power_coefficients,
    relu_ntk,
    relu_ntk_profile,
    sharp_lipschitz_constant,
    zonal_polynomials,
)

pytestmark = pytest.mark.usefixtures("x64")


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def unit(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def test_kernels_against_sampling():
    """Both expectations within four standard errors, and not equal to each other."""
    x, w = normal(0, 4, 3), normal(1, 100_000, 3)
    pre = np.asarray(w @ x.T)
    active, positive = (pre >= 0).astype(float), np.maximum(pre, 0)
    terms = (
        2 * np.asarray(x @ x.T) * active[:, :, None] * active[:, None] + 2 * positive[:, :, None] * positive[:, None]
    )
    error = terms.std(axis=0) / len(pre) ** 0.5
    assert np.all(np.abs(terms.mean(axis=0) - np.asarray(relu_ntk(x))) < 4 * error + 1e-12)


def test_kernel_is_neural_tangents_own():
    x, y = normal(0, 5, 3), normal(1, 4, 3)
    _, _, kernel_fn = stax.serial(stax.Dense(1, W_std=2**0.5), stax.Relu(), stax.Dense(1))
    scale = 3**0.5  # stax divides by the root of the input dimension
    theirs = np.asarray(kernel_fn(x * scale, y * scale, "ntk"))
    np.testing.assert_allclose(relu_ntk(x, y) * 1.0, theirs, atol=1e-6)


def test_first_layer_gram_is_half_the_first_part():
    x = normal(0, 6, 4)
    norms = jnp.linalg.norm(x, axis=1)
    u = x @ x.T / jnp.outer(norms, norms)
    both = 2 * first_layer_gram(x) + jnp.outer(norms, norms) * kappa1(u)
    np.testing.assert_allclose(relu_ntk(x), both, atol=1e-7)
    np.testing.assert_allclose(jnp.diag(first_layer_gram(x)), norms**2 / 2, rtol=1e-7)


@pytest.mark.parametrize("d", [2, 20, 784])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_kernels_of_inputs_with_themselves_and_their_opposites(d, dtype):
    """K(x, x) = 2‖x‖² and K(x, −x) = 0, H∞(x, x) = ‖x‖²/2 and H∞(x, −x) = 0, to rounding."""
    x = normal(0, 50, d).astype(dtype)
    squares, tolerance = jnp.sum(x.astype(float) ** 2, axis=1), 16 * float(jnp.finfo(dtype).eps)
    for kernel, factor in ((relu_ntk, 2), (first_layer_gram, 0.5)):
        for same in (kernel(x), kernel(x, x)):
            np.testing.assert_allclose(jnp.diagonal(same), factor * squares, rtol=tolerance)
        np.testing.assert_allclose(jnp.diagonal(kernel(x, -x)) / squares, 0, atol=tolerance)


def test_different_dimensions_are_refused():
    with pytest.raises((ValueError, TypeError)):  # the annotations, enforced under test, may be first
        relu_ntk(normal(0, 2, 3), normal(1, 2, 4))


def test_feature_distances_against_kernels():
    """‖φ(x) − φ(y)‖² = k(x,x) + k(y,y) − 2k(x,y) where that does not cancel."""
    x, y = normal(0, 20, 3), 2 * normal(1, 20, 3)
    distance = feature_distances(x, y)
    nx, ny = jnp.linalg.norm(x, axis=1), jnp.linalg.norm(y, axis=1)
    u = jnp.sum(x * y, axis=1) / nx / ny
    np.testing.assert_allclose(distance.phi0**2, 2 - 2 * kappa0(u), rtol=1e-9)
    np.testing.assert_allclose(distance.phi1**2, nx**2 + ny**2 - 2 * nx * ny * kappa1(u), rtol=1e-9)
    np.testing.assert_allclose(distance.phi**2, 2 * (nx**2 + ny**2) - 2 * nx * ny * relu_ntk_profile(u), rtol=1e-9)


def test_exponents_at_tiny_distances():
    """Exponents 1/2, 1 and 1/2 down to 1e-7, where 1 − κ would have cancelled."""
    gap = jnp.asarray([1e-7, 1e-5])
    y = jnp.stack([jnp.cos(gap), jnp.sin(gap)], axis=1)
    distance = feature_distances(jnp.broadcast_to(jnp.asarray([1.0, 0.0]), y.shape), y)
    slopes = [float(jnp.diff(jnp.log(d))[0] / jnp.diff(jnp.log(distance.inputs))[0]) for d in distance[1:]]
    np.testing.assert_allclose(slopes, [0.5, 1.0, 0.5], atol=2e-3)


@pytest.mark.parametrize(("bound", "field"), [(phi0_bound, "phi0"), (phi_bound, "phi")])
def test_corrected_bounds_hold_and_printed_ones_fail(bound, field):
    norms = 10 ** jax.random.uniform(jax.random.key(2), (2000, 1), minval=-2, maxval=2)
    reach = 10 ** jax.random.uniform(jax.random.key(3), (2000, 1), minval=-6, maxval=1)
    x = norms * unit(normal(0, 2000, 4))
    y = x + norms * reach * unit(normal(1, 2000, 4))
    distance = getattr(feature_distances(x, y), field)
    assert float((distance / bound(x, y)).max()) <= 1 + 1e-9
    assert float((distance / bound(x, y, as_printed=True)).max()) > 50


def test_unit_norm_bound_is_attained_at_antipodes():
    x = jnp.asarray([1.0, 0.0])
    np.testing.assert_allclose(feature_distances(x, -x).phi0, phi0_bound(x, -x), rtol=1e-12)


def test_lipschitz_constants():
    exponential = activation_moments(lambda u: jnp.exp(u - 2))
    np.testing.assert_allclose(exponential, np.exp(-2.0), rtol=1e-9)
    softplus = activation_moments(jax.nn.softplus)
    assert lipschitz_constant(*exponential) == pytest.approx(3**0.5 / np.e, rel=1e-9)
    assert lipschitz_constant(*softplus) == pytest.approx(1.102, abs=5e-4)
    assert sharp_lipschitz_constant(*softplus[1:]) == pytest.approx(0.795, abs=5e-4)


@pytest.mark.parametrize("steepness", [0.1, 5.0, 100.0])
def test_activation_moments_of_a_steep_erf(steepness):
    """E erf(bu)² = (2/π) arcsin(2b²/(1 + 2b²)); σ'² is a Gaussian, σ''² one times u²."""
    b, v = steepness, 1 + 4 * steepness**2
    expected = 2 / np.pi * np.arcsin(2 * b**2 / (1 + 2 * b**2)), 4 / np.pi * b**2 * v**-0.5, 16 / np.pi * b**6 * v**-1.5
    np.testing.assert_allclose(activation_moments(lambda u: jax.scipy.special.erf(b * u)), expected, rtol=1e-9)


def test_no_moments_of_a_kink():
    with pytest.raises(ValueError, match="two derivatives that are integrated at unit variance, got ReLU"):
        activation_moments(jax.nn.relu)


@pytest.mark.parametrize("p", [3, 4, 7])
@pytest.mark.parametrize(
    ("layers", "kernel"), [("both", relu_ntk_profile), ("first", lambda u: u * kappa0(u)), ("last", kappa1)]
)
def test_mercer_closed_form_against_quadrature(p, layers, kernel):
    numeric = mercer_quadrature(lambda u: np.asarray(kernel(jnp.asarray(u))), 30, p, nodes=400)
    np.testing.assert_allclose(mercer_eigenvalues(np.arange(31), p, layers=layers), numeric, atol=2e-13)
    assert np.abs(numeric[3::2]).max() < 1e-14


@pytest.mark.parametrize("p", [3, 5, 6])
def test_mercer_sums_back_to_the_kernel(p):
    """Σ μ_k N(p, k) P_k(u) = κ(u); the tail beyond 2,000 is of order 1/2,000."""
    degrees, u = np.arange(2001), np.array([-0.9, 0.0, 0.4])
    weights = mercer_eigenvalues(degrees, p) * multiplicity(degrees, p)
    np.testing.assert_allclose(weights @ zonal_polynomials(u, 2000, p), relu_ntk_profile(jnp.asarray(u)), atol=1e-3)


@pytest.mark.parametrize("p", [3, 5, 8])
def test_mercer_asymptotic_constant(p):
    constant = 2.0 ** (p - 1) * gamma(p / 2) ** 2 / np.pi**2
    ratio = mercer_eigenvalues(np.array([100_000]), p) * 1e5**p / constant
    np.testing.assert_allclose(ratio, 1, rtol=1e-3)


def test_power_coefficients_of_a_polynomial():
    """2λ_k(2) expands t²: degrees 0 and 2 only."""
    k = np.arange(0, 9, 2)
    p = 4
    values = 2 * power_coefficients(2.0, k, p) * multiplicity(k, p)
    np.testing.assert_allclose(values @ zonal_polynomials(np.array([0.3, 1.0]), 8, p)[::2], [0.09, 1.0], atol=1e-12)
    np.testing.assert_allclose(values[2:], 0, atol=1e-14)


@pytest.mark.parametrize("p", [4, 6])
@pytest.mark.parametrize("a", [1.0, 1.7, 2.3, 3.1])
def test_membership_of_powers_is_decided_by_the_exponent(a, p):
    """The terms of ‖|x_1|^a‖² in the RKHS go like k^(p−2−2a), so that they can be summed if a > (p−1)/2 only."""
    k = np.array([20_000, 40_000])
    terms = multiplicity(k, p) * (2 * power_coefficients(a, k, p)) ** 2 / mercer_eigenvalues(k, p)
    np.testing.assert_allclose(np.log2(terms[1] / terms[0]), p - 2 - 2 * a, atol=2e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mercer_eigenvalues(np.arange(3), 2),
        lambda: mercer_eigenvalues(np.arange(3), 3, layers="middle"),
        lambda: multiplicity(np.arange(3), 1),
        lambda: power_coefficients(-1.0, np.arange(3), 3),
    ],
)
def test_bad_arguments(call):
    with pytest.raises(ValueError, match="expected"):
        call()
