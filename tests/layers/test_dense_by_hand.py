"""The stochastic dense layer by its own formulas: every field of its kernel, how it starts, and what it draws."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticDense, stax

W, B, S = 1.7, 0.4, 0.6
X1 = np.random.default_rng(0).normal(size=(3, 5))
X2 = np.random.default_rng(1).normal(size=(2, 5))
SLOPES = {"sigma": lambda s: 1.0, "log_sigma": lambda s: s, "softplus": lambda s: 1 - math.exp(-s)}


@pytest.mark.parametrize("form", SLOPES)
@pytest.mark.parametrize("b_std", [None, B])
@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
@pytest.mark.parametrize("noise", ["independent", "shared"])
def test_every_field_of_its_kernel(noise, parameterization, b_std, form, x64):
    """On inputs, and behind a layer whose kernel is Θ: the weights' share, and what comes from before times W_std²."""
    options = dict(sigma0=S, b_std=b_std, noise=noise, parameterization=parameterization, variance_weights=form)
    layer, shift, n = StochasticDense(7, W, **options), 0.0 if b_std is None else B**2, X1.shape[1]
    ntk_scaling, shared = parameterization == "ntk", noise == "shared"
    stored = S if ntk_scaling else S * W / math.sqrt(n)
    slope = SLOPES[form](stored)
    nngp, cov1, cov2 = X1 @ X2.T / n, (X1**2).mean(1), (X2**2).mean(1)
    variance = 1 + S**2
    k = layer[2](jnp.asarray(X1), jnp.asarray(X2))
    np.testing.assert_allclose(k.nngp, W**2 * nngp * (variance if shared else 1) + shift)
    np.testing.assert_allclose(k.cov1, W**2 * variance * cov1 + shift)
    np.testing.assert_allclose(k.cov2, W**2 * variance * cov2 + shift)
    groups = 1 + slope**2 if shared else 1.0
    own = groups * W**2 * nngp + shift if ntk_scaling else groups * n * nngp + (0 if b_std is None else 1)
    np.testing.assert_allclose(k.ntk, own)
    assert k.is_gaussian
    assert not k.is_input
    # σ_W² times the mean products of squares: what κ'' multiplies. The weights are W_std/√n of unit ones, or their own.
    if not shared:
        factor = W**4 / n if ntk_scaling else W**2
        np.testing.assert_allclose(k.spread, factor * (S * slope) ** 2 * (X1**2 @ (X2**2).T / n))
    before = stax.serial(stax.Dense(n), stax.Relu())[2](jnp.asarray(X1))
    behind = layer[2](before)
    np.testing.assert_allclose(behind.nngp, W**2 * before.nngp * (variance if shared else 1) + shift)
    np.testing.assert_allclose(behind.cov1, W**2 * variance * before.cov1 + shift)
    width = before.shape1[-1]
    if not ntk_scaling:
        slope = SLOPES[form](S * W / math.sqrt(width))
    groups = 1 + slope**2 if shared else 1.0
    own = (
        groups * W**2 * before.nngp + shift
        if ntk_scaling
        else groups * width * before.nngp + (0 if b_std is None else 1)
    )
    np.testing.assert_allclose(behind.ntk, own + W**2 * (variance if shared else 1) * before.ntk)
    assert getattr(behind, "spread", None) is None
    # The variance over the noise: of this layer, and later of it and of what comes from before.
    if not shared:
        one = layer[2](jnp.asarray(X1))
        np.testing.assert_allclose(one.excess, W**2 * S**2 * cov1)
        np.testing.assert_allclose(layer[2](one).excess, W**2 * (S**2 * one.cov1 + one.excess))
        shared_next = StochasticDense(7, W, sigma0=S, noise="shared")[2](one)
        np.testing.assert_allclose(shared_next.excess, W**2 * variance * one.excess)


@pytest.mark.parametrize("noise", ["independent", "per_position"])
def test_all_pairs_of_inputs_and_of_positions(noise, x64):
    """Which of them are inflated: an input with itself, all its positions or each with itself."""
    x = np.random.default_rng(2).normal(size=(2, 3, 4))
    k = StochasticDense(1, W, sigma0=S, noise=noise)[2](jnp.asarray(x), diagonal_batch=False, diagonal_spatial=False)
    products = W**2 * np.einsum("ipc,jqc->ijpq", x, x) / 4
    same = np.eye(2)[:, :, None, None] * (np.eye(3) if noise == "per_position" else np.ones((3, 3)))
    np.testing.assert_allclose(k.cov1, products * (1 + S**2 * same))
    np.testing.assert_allclose(k.nngp, products)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
@pytest.mark.parametrize("form", SLOPES)
def test_how_it_starts(form, parameterization):
    make = {"sigma": lambda r: r, "log_sigma": np.exp, "softplus": lambda r: np.log1p(np.exp(r))}[form]
    layer = StochasticDense(20_000, W, sigma0=S, b_std=B, parameterization=parameterization, variance_weights=form)
    shape, (W_mu, rho, b) = layer[0](jax.random.key(0), (2, 3, 5))
    assert shape == (2, 3, 20_000)
    assert W_mu.shape == rho.shape == (5, 20_000)
    assert b.shape == (1, 1, 20_000)
    size, bias = (1.0, 1.0) if parameterization == "ntk" else (W / math.sqrt(5), B)
    np.testing.assert_allclose([W_mu.std(), b.std()], [size, bias], rtol=0.03)
    np.testing.assert_allclose(make(np.asarray(rho)), S * size, rtol=1e-5)
    assert abs(float((W_mu[0] * b[0, 0]).mean())) < 0.05 * size * bias  # drawn apart
    assert StochasticDense(2, sigma0=S)[0](jax.random.key(0), (2, 5))[1][2] is None


@pytest.mark.parametrize("noise", ["independent", "per_position", "shared"])
@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_what_it_draws(noise, parameterization):
    """Twice one input, twice one position: outputs have the mean and variance of their weights, and agree where noise does."""
    neurons, n = 20_000, 5
    x = np.random.default_rng(3).normal(size=(2, n)).astype(np.float32)
    x = np.stack([x[[0, 0, 1]], x[[0, 0, 1]]])  # inputs, positions, channels
    _, apply_fn, _ = StochasticDense(neurons, W, sigma0=S, b_std=B, noise=noise, parameterization=parameterization)
    mean, sigma, bias = (
        np.full((n, neurons), 0.3, np.float32),
        np.full((n, neurons), 0.2, np.float32),
        np.full((1, 1, neurons), 2.0, np.float32),
    )
    sigma[1] = 0.5
    scale, offset = (W / math.sqrt(n), 2 * B) if parameterization == "ntk" else (1.0, 2.0)
    for inputs, b in ((x, bias), (x[:, 0], bias[0])):
        out = np.asarray(apply_fn((mean, sigma, b), inputs, rng=jax.random.key(1)))
        assert out.shape == (*inputs.shape[:-1], neurons)
        np.testing.assert_allclose(out.mean(-1), scale * 0.3 * inputs.sum(-1) + offset, atol=0.04)
        np.testing.assert_allclose(out.var(-1), scale**2 * (inputs**2 @ sigma[:, 0] ** 2), rtol=0.06)
        without = apply_fn((mean, sigma, None), inputs, rng=jax.random.key(1))
        np.testing.assert_allclose(out, without + offset, rtol=1e-5, atol=1e-5)
    out = np.asarray(apply_fn((mean, sigma, None), x, rng=jax.random.key(1)))

    def alike(a, b):
        return bool(np.allclose(a, b, atol=1e-4))

    assert alike(out[0, 0], out[0, 1]) == (noise != "per_position")
    assert alike(out[0, 0], out[1, 0]) == (noise == "shared")
    rows = np.asarray(apply_fn((mean, sigma, None), x[:, 0], rng=jax.random.key(1)))
    assert alike(rows[0], rows[1]) == (noise == "shared")


def test_a_mask_needs_all_channels():
    mask = np.zeros((1, 2, 3), bool)
    mask[0, 0], mask[0, 1, 0] = True, True
    x = jnp.where(mask, 100.0, jnp.ones((1, 2, 3)))
    k = StochasticDense(1, W, sigma0=S, b_std=B)[2](x, mask_constant=100.0)
    np.testing.assert_allclose(k.cov1, [[[0, 0], [0, W**2 * (1 + S**2) * 2 / 3 + B**2]]], rtol=1e-6)
    x = jnp.where(mask, 100.0, jnp.ones((1, 2, 3)))
    _, apply_fn, _ = StochasticDense(4, W, sigma0=0.0)
    out = apply_fn(
        (np.ones((3, 4), np.float32), np.zeros((3, 4), np.float32), None), x, rng=jax.random.key(0), mask_constant=100.0
    )
    values = np.asarray(getattr(out, "masked_value", out))
    np.testing.assert_allclose(values[0, 1], W / math.sqrt(3) * 2, rtol=1e-6)
