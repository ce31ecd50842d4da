"""The closed form of z^n for z ≥ 0, against an integral over the plane, its own derivative, and at equal inputs."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticDense, stax
from snn_ntk._neural_tangents.rectified_monomials import rectified_monomial_dual


@pytest.mark.parametrize("degree", range(5))
def test_it_is_the_integral_over_the_plane(degree, x64):
    """In polar coordinates E[r^2n] = 2^n n! and the angle is uniform."""
    rho, s = 0.4, 1.3
    angle = np.linspace(0, 2 * np.pi, 200_001)[:-1]
    first, second = np.cos(angle), rho * np.cos(angle) + np.sqrt(1 - rho**2) * np.sin(angle)
    both = (first > 0) & (second > 0)
    want = s**degree * 2**degree * math.factorial(degree) * np.mean(np.where(both, first * second, 0) ** degree * both)
    assert float(rectified_monomial_dual(degree, rho * s, s)) == pytest.approx(want, rel=2e-5)


@pytest.mark.parametrize("degree", range(4))
def test_its_derivatives_are_its_differences(degree, x64):
    c, s, h = 0.3, 0.8, 1e-6
    for argument in (0, 1):
        step = np.array([h, 0]) if argument == 0 else np.array([0, h])
        up, down = (rectified_monomial_dual(degree, *(np.array([c, s]) + sign * step)) for sign in (1, -1))
        got = jax.grad(rectified_monomial_dual, argument + 1)(degree, c, s)
        assert float(got) == pytest.approx(float(up - down) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_inputs_have_a_kernel(degree, dtype, x64):
    """They were NaN: E[z^2n; z ≥ 0] = (2n − 1)!! q^n / 2, and κ' = n² (2n − 3)!! q^(n−1) / 2."""
    x = np.array([[0.3, 0.4], [0.3, 0.4 * (1 + 1e-7)], [3e-8, 4e-8]], dtype)
    k = stax.serial(stax.Dense(1, 2**0.5), stax.RectifiedMonomial(degree))[2](x)
    q = np.array([0.25, 0.25, 2.5e-15])[[0, 0, 2]]
    double = math.prod(range(1, 2 * degree, 2))
    np.testing.assert_allclose(np.diag(k.nngp), double * q**degree / 2, rtol=1e-5)
    np.testing.assert_allclose(k.cov1, np.diag(k.nngp), rtol=1e-5)
    slope = degree**2 * math.prod(range(1, 2 * degree - 2, 2)) * q ** (degree - 1) / 2
    np.testing.assert_allclose(np.diag(k.ntk), q * slope, rtol=1e-3 if dtype == np.float32 else 1e-5)
    np.testing.assert_allclose(k.nngp[0, 1], k.nngp[0, 0], rtol=1e-5)


def test_an_input_of_zeros_has_a_kernel():
    kernel_fn = stax.serial(StochasticDense(1, sigma0=0.5), stax.RectifiedMonomial(2), stax.Dense(1))[2]
    k = kernel_fn(jnp.array([[0.0, 0.0], [1.0, 2.0]]))
    np.testing.assert_array_equal(k.ntk[0], 0)
    assert bool(jnp.isfinite(k.ntk).all())
