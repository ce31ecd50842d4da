"""Sign and the step behind noise, which alone gives them a slope: both roads against quadrature over neurons.

The oracle averages over the noise in closed form and over the neurons by quadrature: for u the mean of a pre-activation
and s the size of its noise, E_g sign(u + s g) = erf(u/(s√2)), whose derivatives in u and s are those of f̂.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax, tangent_kernels
from snn_ntk.activations import dual_derivatives, resolve
from snn_ntk.layers import StochasticDense

LAYERS = {"sign": stax.Sign(), "step": stax.RectifiedMonomial(0)}
SIGMA0, W_STD, B_STD = 0.8, 1.3, 0.3


def averaged(name, u, s):
    sign = jax.scipy.special.erf(u / (s * 2**0.5))
    return sign if name == "sign" else (1 + sign) / 2


def over_neurons(name, means, noise):
    """E φ̂ φ̂', E ∂_u φ̂ ∂_u φ̂' and E ∂_s φ̂ ∂_s φ̂', for u ~ N(0, means) and s² = noise."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    s = jnp.sqrt(noise)
    out = np.zeros((3, *means.shape))
    for i, j in np.ndindex(means.shape):
        u = jnp.sqrt(means[i, i]) * nodes[:, None]
        left = means[i, j] / means[i, i] * u + jnp.sqrt(means[j, j] - means[i, j] ** 2 / means[i, i]) * nodes[None, :]
        # At i = j the second node is not used: all mass of u' is at u.
        left = u if i == j else left
        values = []
        for z, size in ((u, s[i]), (left, s[j])):
            one, zero = jnp.ones_like(z), jnp.zeros_like(z)
            value, slope = jax.jvp(lambda z, t: averaged(name, z, t), (z, jnp.full_like(z, size)), (one, zero))
            _, spread = jax.jvp(lambda z, t: averaged(name, z, t), (z, jnp.full_like(z, size)), (zero, one))
            values.append((value, slope, spread))
        for k in range(3):
            out[k, i, j] = weights @ (values[0][k] * values[1][k] * np.ones((200, 200))) @ weights
    return out


@pytest.fixture
def x(x64):
    return jax.random.normal(jax.random.key(0), (3, 5))


def network(layer, b_std=None, sigma0: Any = SIGMA0):
    return stax.serial(StochasticDense(1, W_STD, sigma0=sigma0, b_std=b_std), layer, stax.Dense(1))


@pytest.mark.parametrize("b_std", [None, B_STD])
@pytest.mark.parametrize("name", LAYERS)
def test_one_layer(name, b_std, x):
    gram = W_STD**2 * x @ x.T / 5
    noise = SIGMA0**2 * jnp.diagonal(gram)
    means = gram + (b_std or 0) ** 2
    value, slope, spread = over_neurons(name, means, noise)
    sizes = jnp.sqrt(jnp.outer(noise, noise))
    sigma = spread * W_STD**4 * SIGMA0**2 * (x**2 @ (x**2).T) / 25 / sizes
    got = network(LAYERS[name], b_std)[2](x)
    np.testing.assert_allclose(got.nngp, value, rtol=1e-8)
    np.testing.assert_allclose(got.ntk, value + means * slope + sigma, rtol=1e-8)
    closed = tangent_kernels(x, activation=LAYERS[name], sigma0=SIGMA0, W_std=W_STD, b_std=b_std)
    for got, want in zip(closed, (means * slope, sigma, value), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8)


@pytest.mark.parametrize("name", LAYERS)
def test_deeper(name, x):
    below = stax.serial(StochasticDense(1, W_STD, sigma0=SIGMA0), stax.Erf(), stax.Dense(1, 1.1, 0.2))
    pre = below[2](x)
    value, slope, _ = over_neurons(name, pre.nngp, pre.cov1 - jnp.diagonal(pre.nngp))
    got = stax.serial(below, LAYERS[name], stax.Dense(1))[2](x)
    np.testing.assert_allclose(got.ntk, value + pre.ntk * slope, rtol=1e-8)


@pytest.mark.parametrize("name", LAYERS)
def test_without_noise_the_gradient_is_0_almost_everywhere(name, x):
    deterministic = stax.serial(stax.Dense(1), LAYERS[name], stax.Dense(1))[2](x, x[:2] + 0.1)
    np.testing.assert_array_equal(deterministic.ntk, deterministic.nngp)
    for sigma0 in (0.0, jnp.zeros(())):
        got = network(LAYERS[name], sigma0=sigma0)[2](x, x[:2] + 0.1)
        np.testing.assert_array_equal(got.ntk, got.nngp)
        closed = tangent_kernels(x, activation=LAYERS[name], sigma0=sigma0)
        assert not closed.mu.any()
        assert not closed.sigma.any()
    # Nor has it any where the jump comes before the noise.
    late = [stax.Dense(1), LAYERS[name], StochasticDense(1, sigma0=0.5), stax.Erf(), stax.Dense(1)]
    early = [stax.Dense(1), LAYERS[name], stax.Dense(1), stax.Erf(), stax.Dense(1)]
    assert bool(jnp.isfinite(stax.serial(*late)[2](x, x[:2] + 0.1, "ntk")).all())
    assert not bool(jnp.allclose(*(stax.serial(*one)[2](x, x[:2] + 0.1, "ntk") for one in (late, early))))


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_rectified_monomials_have_variances(degree, x):
    """E max(z, 0)^2n = (2n - 1)!! q^n/2, at equal inputs too, so that more layers can follow."""
    got = network(stax.RectifiedMonomial(degree))[2](x)
    q = 1.64 * W_STD**2 * (x**2).mean(1)
    np.testing.assert_allclose(got.cov1, {0: 1, 1: 1, 2: 3}[degree] * q**degree / 2, rtol=1e-12)
    deeper = stax.serial(network(stax.RectifiedMonomial(degree)), stax.Erf(), stax.Dense(1))[2](x)
    assert bool(jnp.isfinite(deeper.ntk).all())


@pytest.mark.parametrize("b_std", [None, B_STD])
def test_a_zero_row_has_no_noise(b_std, x):
    x = x.at[1].set(0)
    closed = tangent_kernels(x, activation=stax.Sign(), sigma0=SIGMA0, W_std=W_STD, b_std=b_std)
    assert all(bool(jnp.isfinite(part).all()) for part in closed)
    np.testing.assert_array_equal(closed.mu[1], 0)
    np.testing.assert_array_equal(closed.sigma[1], 0)
    # The other rows know nothing of it.
    alone = tangent_kernels(x[::2], activation=stax.Sign(), sigma0=SIGMA0, W_std=W_STD, b_std=b_std)
    np.testing.assert_allclose(closed.total[::2, ::2], alone.total, rtol=1e-14)
    got = network(stax.Sign(), b_std)[2](x, None, "ntk")
    np.testing.assert_allclose(got, closed.total, rtol=1e-12)
    np.testing.assert_allclose(network(stax.Sign(), b_std)[2](x, x[1:], "ntk"), closed.total[:, 1:], rtol=1e-12)


def test_the_kernel_grows_like_one_over_the_noise(x):
    """Θ^(μ) and Θ^(σ) of a jump do not tend to those of the noiseless network, which are 0."""
    parts = [tangent_kernels(x, activation=stax.Sign(), sigma0=s) for s in (1e-2, 1e-3)]
    for name in ("mu", "sigma"):
        wide, narrow = (jnp.diagonal(getattr(part, name)) for part in parts)
        np.testing.assert_allclose(narrow / wide, 10, rtol=1e-2)


def test_inputs_with_positions_are_refused(x):
    shifts = jax.random.normal(jax.random.key(1), (2, 3, 5))
    below = [stax.Dense(1), stax.Erf(), StochasticDense(1, sigma0=0.5), stax.Sign()]
    with pytest.raises(ValueError, match=r"got stax\.Sign"):
        stax.serial(*below, stax.Flatten(), stax.Dense(1))[2](shifts, None, "ntk")
    assert stax.serial(*below, stax.Flatten(), stax.Dense(1))[2](shifts, None, "nngp").shape == (2, 2)


def test_the_step_is_half_of_one_plus_sign(x64):
    step, sign = resolve(LAYERS["step"]), resolve(stax.Sign())
    u, s = jnp.array([-1.0, 0.0, 0.5, 3.0, -2.0]), jnp.array([0.3, 1.0, 0.0, 2.0, 0.0])
    np.testing.assert_allclose(step.smoothed(u, s), (1 + sign.smoothed(u, s)) / 2, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(step.phi(jnp.array([-1.0, 0.0, 2.0])), LAYERS["step"][1]((), jnp.array([-1.0, 0, 2])))
    np.testing.assert_array_equal(
        dual_derivatives(LAYERS["step"], 0.0, jnp.array([0.0, 0.0]), jnp.array([0.0, 2.0]))[0], [1, 0.5]
    )
