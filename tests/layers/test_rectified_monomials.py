"""The kernel of z^n for z ≥ 0 at equal inputs and at inputs of 0."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticDense, stax


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
