"""Masked inputs in a stochastic layer are what they are in neural-tangents' own dense layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax
from snn_ntk.layers import StochasticDense

MASK = 1e3


@pytest.fixture
def x(x64):
    """Two sentences of three words, one of them short."""
    return jax.random.normal(jax.random.key(0), (2, 3, 4)).at[1, 2].set(MASK)


def network(first, *, positions=True):
    read = [stax.GlobalAvgPool()] if positions else []
    return stax.serial(first, stax.Erf(), stax.Dense(8, 1.1, 0.1), stax.Erf(), *read, stax.Dense(1))


def both(sigma0, **options):
    return network(StochasticDense(8, 1.3, sigma0=sigma0, b_std=0.3), **options), network(
        stax.Dense(8, 1.3, 0.3), **options
    )


def test_without_noise_it_is_the_dense_layer(x):
    for inputs in (x, x[:, 0].at[0, 1].set(MASK)):
        noisy, dense = both(0.0, positions=inputs.ndim == 3)
        _, params = dense[0](jax.random.key(1), inputs.shape)
        (W, b), *rest = params
        mine = ((W, jnp.zeros_like(W), b), *rest)
        got, want = (
            stax.unmask_fn(one[1])(p, inputs, mask_constant=MASK, rng=jax.random.key(2))
            for one, p in ((noisy, mine), (dense, params))
        )
        np.testing.assert_allclose(got, want, rtol=1e-12)
        for name in ("nngp", "ntk", "cov1"):
            got, want = (getattr(one[2](inputs, mask_constant=MASK), name) for one in (noisy, dense))
            np.testing.assert_allclose(got, want, rtol=1e-12)


def test_a_short_sentence_is_a_short_sentence(x):
    """Its kernel does not know what stands behind its end, and neither does a sample of the network."""
    kernel_fn = both(0.8)[0][2]
    whole = kernel_fn(x, mask_constant=MASK)
    short = kernel_fn(x[1:, :2])
    for name in ("nngp", "ntk"):
        np.testing.assert_allclose(getattr(whole, name)[1:, 1:], getattr(short, name), rtol=1e-12)
    np.testing.assert_allclose(whole.cov1[1:], short.cov1, rtol=1e-12)
    np.testing.assert_allclose(kernel_fn(x, x[1:], mask_constant=MASK).ntk, whole.ntk[:, 1:], rtol=1e-12)


def test_masked_features_are_zero(x):
    """Of inputs (n, d), as of neural-tangents' Dense: a masked feature is 0."""
    inputs = x[:, 0].at[0, 1].set(MASK)
    kernel_fn = both(0.8, positions=False)[0][2]
    want = kernel_fn(jnp.where(inputs == MASK, 0, inputs))
    for name in ("nngp", "ntk", "cov1"):
        np.testing.assert_allclose(
            getattr(kernel_fn(inputs, mask_constant=MASK), name), getattr(want, name), rtol=1e-12
        )


def test_noise_respects_the_mask(x):
    init_fn, apply_fn, _ = StochasticDense(2000, 1.3, sigma0=0.8)
    _, params = init_fn(jax.random.key(1), x.shape)
    out = apply_fn(params, x, mask_constant=MASK, rng=jax.random.key(2))
    np.testing.assert_array_equal(out.mask[..., 0], [[False, False, False], [False, False, True]])
    assert not out.masked_value[1, 2].any()
    variance = 1.3**2 * 1.64 * (x[1, 1] ** 2).mean()
    # A sample variance of 2,000 draws, four standard errors.
    assert float(out.masked_value[1, 1].var()) == pytest.approx(float(variance), rel=4 * (2 / 2000) ** 0.5)
