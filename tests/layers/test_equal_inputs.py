"""How much of a kernel is lost at equal and parallel inputs without noise, as the how-to states it: its bounds hold."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticDense, stax, tangent_kernels

PAGE = Path(__file__).parents[2] / "book" / "howto-stochastic-kernel.md"
DTYPES = ["float32", "float64"]
# Of ε, for each layer with a nonlinearity: relative to an entry. q: the variance of its pre-activations.
KINK, JUMP, SMOOTH = 3, 6, 60


def epsilon(dtype):
    return float(np.finfo(dtype).eps)


def rows(dtype, size=1.0, n=20, d=784, seed=0):
    return (math.sqrt(size) * np.random.default_rng(seed).normal(size=(n, d))).astype(dtype)


def at_itself(values, n, block):
    """The entries of inputs with themselves: on the diagonal, and in the block below of what is parallel to them."""
    return np.asarray(np.diagonal(values, -n * block), np.float64)


def test_the_page_states_these_bounds():
    text = PAGE.read_text(encoding="utf-8")
    for stated in (rf"${KINK}\sqrt\varepsilon$", rf"${JUMP}\sqrt\varepsilon$", rf"${SMOOTH}\,q\,\varepsilon$"):
        assert stated in text


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", ["relu", "leaky", "abs"])
def test_a_kink_keeps_half_of_the_digits_of_the_tangent_kernel(name, depth, dtype):
    """κ(q; q, q) = h q and κ' = h, h the mean of the squared slopes; at 3x the kernels are 3 times as large."""
    layer, h = {"relu": (stax.Relu(), 0.5), "leaky": (stax.LeakyRelu(0.2), 0.52), "abs": (stax.Abs(), 1.0)}[name]
    with jax.enable_x64(dtype == "float64"):
        x = rows(dtype)
        k = stax.serial(*[stax.Dense(1), layer] * depth)[2](jnp.concatenate([x, 3 * x]), jnp.asarray(x))
        assert k.ntk.dtype == dtype
        q = (x.astype(float) ** 2).mean(1)
        for block, factor in ((0, 1), (1, 3)):
            nngp, ntk = (at_itself(values, len(x), block) / factor for values in (k.nngp, k.ntk))
            np.testing.assert_allclose(nngp, h**depth * q, rtol=60 * epsilon(dtype))
            np.testing.assert_allclose(ntk, depth * h**depth * q, rtol=KINK * depth * math.sqrt(epsilon(dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("layer", "value"), [(stax.Sign(), 1.0), (stax.RectifiedMonomial(0), 0.5)], ids=["sign", "step"]
)
def test_a_jump_keeps_half_of_the_digits_of_the_covariance(layer, value, dtype):
    with jax.enable_x64(dtype == "float64"):
        x = rows(dtype)
        k = stax.serial(stax.Dense(1), layer)[2](jnp.concatenate([x, 3 * x]), jnp.asarray(x))
        for block in (0, 1):
            found = at_itself(k.nngp, len(x), block)
            np.testing.assert_allclose(found, value, rtol=JUMP * math.sqrt(epsilon(dtype)))


SLOPES = {
    "erf": (stax.Erf(), lambda q: 4 / math.pi / np.sqrt(1 + 4 * q)),
    "sin": (stax.Sin(), lambda q: (1 + np.exp(-2 * q)) / 2),
    "rbf": (stax.Rbf(0.5), np.ones_like),
    "gaussian": (stax.Gaussian(), lambda q: 4 * q / (1 + 4 * q) ** 1.5),
    "gelu": (
        stax.Gelu(),
        lambda q: (
            0.25
            + (np.arctan2(q, np.sqrt(1 + 2 * q)) + q / np.sqrt(1 + 2 * q) * (2 / (1 + q) + 1 / (1 + 2 * q)))
            / 2
            / math.pi
        ),
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SLOPES)
def test_a_smooth_nonlinearity_loses_a_factor_of_its_variance(name, dtype):
    layer, slope = SLOPES[name]
    with jax.enable_x64(dtype == "float64"):
        for size in (1.0, 30.0, 1e3):
            x = rows(dtype, size)
            k = stax.serial(stax.Dense(1), layer)[2](jnp.concatenate([x, x]), jnp.asarray(x))
            q = (x.astype(float) ** 2).mean(1)
            for block in (0, 1):
                error = at_itself(k.ntk, len(x), block) / (q * slope(q)) - 1
                assert np.abs(error).max() < SMOOTH * size * epsilon(dtype)


def test_noise_and_the_closed_form_keep_the_digits():
    """Where noise makes 1 − ρ² much larger than ε, and where `tangent_kernels` sees the inputs themselves."""
    x, eps = rows("float32"), epsilon("float32")
    q = (x.astype(float) ** 2).mean(1)
    layers = StochasticDense(1, sigma0=1.0), stax.Relu(), stax.Dense(1)
    k = stax.serial(*layers)[2](jnp.concatenate([x, x]), jnp.asarray(x))
    # ρ = 1/2: κ' = 1/4 + arcsin(1/2)/2π = 1/3, κ = 2q (√3/2 + π/3)/2π and κ'' = 1/(2π √3 q).
    kappa = 2 * q * (math.sqrt(3) / 2 + math.pi / 3) / (2 * math.pi)
    sigma = (x.astype(float) ** 4).mean(1) / x.shape[1] / (2 * math.pi * math.sqrt(3) * q)
    for block in (0, 1):
        np.testing.assert_allclose(at_itself(k.ntk, len(x), block), q / 3 + sigma + kappa, rtol=200 * eps)
    for layer, slope in ((stax.Relu(), lambda q: 0.5 + 0 * q), *SLOPES.values()):
        for size in (1.0, 1e3):
            y = rows("float32", size)
            variance = (y.astype(float) ** 2).mean(1)
            mu = tangent_kernels(jnp.concatenate([y, y]), jnp.asarray(y), activation=layer, sigma0=0.0, W_std=1.0).mu
            for block in (0, 1):
                np.testing.assert_allclose(at_itself(mu, len(y), block), variance * slope(variance), rtol=200 * eps)
