"""What each noisy layer draws is what its kernel says: covariances over the noise, for all positions and inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import Reparameterize, StochasticConv, StochasticDense, StochasticDropout, stax

DRAWS = 20_000


@pytest.fixture
def x(x64):
    return jax.random.normal(jax.random.key(0), (2, 3, 4))


def covariance(draw):
    """Covariance over the noise of one vector, and its standard error."""
    draws = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(2), DRAWS)).reshape(DRAWS, -1)
    centred = draws - draws.mean(0)
    products = centred[:, :, None] * centred[:, None, :]
    return products.mean(0), products.std(0) / DRAWS**0.5


def said_by(kernel):
    """Blocks of cov1 − nngp of each input, nothing between inputs, as a matrix over inputs and positions."""
    n, p = len(kernel.cov1), kernel.cov1.shape[1]
    want = np.zeros((n, p, n, p))
    for i in range(n):
        want[i, :, i, :] = kernel.cov1[i] - kernel.nngp[i, i]
    return want.reshape(n * p, n * p)


@pytest.mark.parametrize("parameterization", ["ntk", pytest.param("standard", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("noise", ["independent", "per_position", "shared"])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_noisy_weights(kind, noise, parameterization, x):
    options = {"sigma0": 0.8, "noise": noise, "parameterization": parameterization}
    layer = StochasticDense(1, 1.3, b_std=0.3, **options)
    if kind == "conv":
        layer = StochasticConv(1, (2,), None, "SAME", 1.3, 0.3, **options)
    init_fn, apply_fn, kernel_fn = layer
    _, params = init_fn(jax.random.key(1), x.shape)
    got, error = covariance(lambda key: apply_fn(params, x, rng=key)[..., 0])
    want = said_by(kernel_fn(x))
    if noise == "shared":  # nothing is independent: the covariance of all is the share σ0²/(1 + σ0²) of nngp
        want = (0.64 / 1.64) * np.asarray(kernel_fn(x).nngp - 0.09).transpose(0, 2, 1, 3).reshape(6, 6)
    np.testing.assert_array_less(np.abs(got - want), 4.5 * error + 1e-9)


@pytest.mark.parametrize("padding", ["VALID", "SAME", "CIRCULAR"])
def test_filters_of_different_sizes(padding, x):
    """Of weights whose σ differ, as after training: the variances of one draw an input are those of one a position."""
    image, sigma = (
        jnp.concatenate([x, x[:, ::-1]], 1).reshape(2, 3, 4, 2),
        jax.random.normal(jax.random.key(5), (2, 3, 2, 1)),
    )
    draws = {}
    for noise in ("independent", "per_position"):
        layer = StochasticConv(1, (2, 3), None, padding, 1.3, sigma0=0.8, noise=noise)
        draws[noise] = covariance(lambda key, layer=layer: layer[1]((0 * sigma, sigma, None), image, rng=key))
    (one, error), (other, _) = draws["independent"], draws["per_position"]
    np.testing.assert_array_less(jnp.abs(jnp.diagonal(one - other)), 6.5 * jnp.diagonal(error) + 1e-9)


def test_dropout(x):
    layer = StochasticDropout(0.7)
    got, error = covariance(lambda key: layer[1]((), x[..., 0], rng=key))
    np.testing.assert_array_less(np.abs(got - np.diag(x[..., 0].ravel() ** 2) * (1 / 0.7 - 1)), 4.5 * error + 1e-9)
    mean = jax.vmap(lambda key: layer[1]((), x, rng=key))(jax.random.split(jax.random.key(3), 4000)).mean(0)
    np.testing.assert_allclose(mean, x, atol=4.5 * float(jnp.abs(x).max()) * (0.43 / 4000) ** 0.5)


def test_latents(x):
    layer = Reparameterize(-0.4)
    mean, h = x[..., 0], x[..., 1]
    got, error = covariance(lambda key: layer[1]((), [mean, h], rng=key))
    np.testing.assert_array_less(np.abs(got - np.diag(jnp.exp(h - 0.4).ravel())), 4.5 * error + 1e-9)
    nothing = Reparameterize(-jnp.inf)[1]((), [mean, h], rng=jax.random.key(0))
    np.testing.assert_array_equal(nothing, mean)


def test_a_kernel_of_positions_inflates_what_is_drawn_together(x):
    """Dropout and the draw of latents only where an input's position meets itself, also where all inputs are in cov1."""
    heads = stax.serial(stax.FanOut(2), stax.parallel(stax.Dense(8), stax.Dense(8, 1.5, 0.2)))
    before = stax.serial(stax.Dense(8), stax.Relu())[2](x, diagonal_batch=False)
    mean, h = heads[2](before)
    same = jnp.einsum("ij,pq->ijpq", jnp.eye(2), jnp.eye(3))
    for got, cov, factor, shift in (
        (StochasticDropout(0.8)[2](before), before.cov1, 1.25, 0.0),
        (Reparameterize(0.3)[2]([mean, h]), mean.cov1, 1.0, jnp.exp(0.3 + h.cov1 / 2)),
    ):
        np.testing.assert_allclose(got.cov1, jnp.where(same > 0, factor * cov + shift, cov), rtol=1e-12)
        assert not got.is_gaussian
    np.testing.assert_array_equal(StochasticDropout(0.8)[2](before).ntk, before.ntk)
    np.testing.assert_array_equal(Reparameterize(0.3)[2]([mean, h]).ntk, mean.ntk)
