"""The two parameterisations are one function of scaled weights, so their tangent kernels are tied exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticDense, kernels, stax
from snn_ntk.activations import dual_derivatives

SIGMA0 = 0.7
X = np.random.default_rng(0).normal(size=(4, 6))


def kernel(W_std, b_std, parameterization):
    layer = StochasticDense(8, W_std, sigma0=SIGMA0, b_std=b_std, parameterization=parameterization)
    return stax.serial(layer, stax.Erf(), stax.Dense(1))[2](jnp.asarray(X))


@pytest.mark.parametrize("b_std", [None, 0.4])
@pytest.mark.parametrize("W_std", [0.6, 1.7])
def test_weights_that_hold_their_scale_have_kernels_larger_by_its_inverse_square(x64, W_std, b_std):
    # W = (W_std/√N) ω and b = b_std β: a gradient in W is one in ω over W_std/√N, one in b is one in β over b_std.
    ntk, standard = (kernel(W_std, b_std, name) for name in ("ntk", "standard"))
    np.testing.assert_allclose(standard.nngp, ntk.nngp, rtol=1e-12)
    scale, shift = W_std**2 / X.shape[1], 0.0 if b_std is None else b_std**2
    c = scale * X @ X.T + shift
    q = (1 + SIGMA0**2) * scale * (X**2).sum(axis=1) + shift
    slope = np.asarray(dual_derivatives(stax.Erf(), c, q[:, None], q[None])[1])
    biases, biases_ntk = (0.0, 0.0) if b_std is None else (slope, shift * slope)
    # What is left of the kernel without the last layer's share, which is the nngp in both, and the biases'.
    weights = np.asarray(ntk.ntk - ntk.nngp) - biases_ntk
    np.testing.assert_allclose(standard.ntk - standard.nngp - biases, weights / scale, rtol=1e-10)


@pytest.mark.parametrize("b_std", [None, 0.4])
@pytest.mark.parametrize("W_std", [0.6, 1.7])
def test_the_layer_and_the_closed_form_of_one_hidden_layer_are_one(x64, W_std, b_std):
    known = kernels.tangent_kernels(jnp.asarray(X), activation=stax.Erf(), sigma0=SIGMA0, W_std=W_std, b_std=b_std)
    np.testing.assert_allclose(kernel(W_std, b_std, "ntk").ntk, known.total, rtol=1e-10)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_both_start_as_the_same_function(parameterization, x64):
    init_fn, apply_fn, _ = StochasticDense(5, 1.7, sigma0=SIGMA0, b_std=0.4, parameterization=parameterization)
    _, params = init_fn(jax.random.key(0), X.shape)
    _, scaled = StochasticDense(5, 1.7, sigma0=SIGMA0, b_std=0.4)[0](jax.random.key(0), X.shape)
    expected = StochasticDense(5, 1.7, sigma0=SIGMA0, b_std=0.4)[1](scaled, jnp.asarray(X), rng=jax.random.key(1))
    np.testing.assert_allclose(apply_fn(params, jnp.asarray(X), rng=jax.random.key(1)), expected, rtol=1e-10)
