"""Every entry of the tangent kernels by its formula, in NumPy, for each way to scale; blocks, batches and what is missing."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax, tangent_kernels, tangent_kernels_batched

X1 = np.random.default_rng(0).normal(size=(4, 3))
X2 = np.random.default_rng(1).normal(size=(2, 3))
SIGMA0 = 0.7


def erf(c, q1, q2):
    root = np.sqrt((1 + 2 * q1) * (1 + 2 * q2) - 4 * c**2)
    return (
        2 / math.pi * np.arcsin(2 * c / np.sqrt((1 + 2 * q1) * (1 + 2 * q2))),
        4 / math.pi / root,
        16 / math.pi * c / root**3,
    )


def relu(c, q1, q2):
    theta = np.arccos(c / np.sqrt(q1 * q2))
    value = np.sqrt(q1 * q2) * (np.sin(theta) + (math.pi - theta) * np.cos(theta)) / (2 * math.pi)
    return value, (math.pi - theta) / (2 * math.pi), 1 / (2 * math.pi * np.sqrt(q1 * q2 - c**2))


def sign(c, q1, q2):
    gap = q1 * q2 - c**2
    return 2 / math.pi * np.arcsin(c / np.sqrt(q1 * q2)), 2 / math.pi / np.sqrt(gap), 2 / math.pi * c / gap**1.5


FORMS = {"erf": (stax.Erf(), erf), "relu": (stax.Relu(), relu), "sign": (stax.Sign(), sign)}


def by_hand(form, x1, x2, sigma0, W_std, b_std):
    """Θ^(μ) = c κ', Θ^(σ) = σ0² s² ⟨x∘x, x'∘x'⟩ κ'', Θ^(d) = κ with c = s ⟨x, x'⟩ + b² and q likewise, noise on its first part."""
    s = 1.0 if W_std is None else W_std**2 / x1.shape[1]
    shift = 0.0 if b_std is None else b_std**2
    c = s * x1 @ x2.T + shift
    q1, q2 = ((1 + sigma0**2) * s * (x**2).sum(1) + shift for x in (x1, x2))
    value, slope, curvature = form(c, q1[:, None], q2[None])
    return c * slope, sigma0**2 * s**2 * (x1**2 @ (x2**2).T) * curvature, value


@pytest.mark.parametrize("scales", [(None, None), (1.4, 0.3), (None, 0.6), (0.8, None)], ids=str)
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("factor", [1.0, 300.0])
def test_every_entry(name, scales, factor, x64):
    layer, form = FORMS[name]
    options = dict(zip(("W_std", "b_std"), scales, strict=True))
    for x2 in (factor * X2, None):
        found = tangent_kernels(factor * X1, x2, activation=layer, sigma0=SIGMA0, **options)
        wanted = by_hand(form, factor * X1, factor * X1 if x2 is None else x2, SIGMA0, *scales)
        for got, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-11)
        np.testing.assert_allclose(found.total, sum(wanted), rtol=1e-11)


@pytest.mark.parametrize("n", [515, 2052])
def test_a_kernel_made_of_blocks_on_and_above_the_diagonal(n):
    """Three columns: 515 is two blocks of 258 that overlap by one; 2,052 is eight of 257."""
    x = np.random.default_rng(2).normal(size=(n, 3)).astype(np.float32)
    found = tangent_kernels(x, activation=stax.Erf(), sigma0=SIGMA0)
    rows = [0, 1, 256, 257, 258, n // 2, n - 2, n - 1]
    for got, want in zip(found, by_hand(erf, x.astype(float)[rows], x.astype(float), SIGMA0, None, None), strict=True):
        np.testing.assert_allclose(np.asarray(got)[rows], want, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(np.asarray(got)[:, rows], want.T, rtol=2e-4, atol=1e-5)


def test_without_noise_or_with_an_input_of_zeros(x64):
    x = np.concatenate([X1, X1[:1], 0 * X1[:1]])
    relu0 = tangent_kernels(x, activation=stax.Relu(), sigma0=0.0)
    np.testing.assert_array_equal(relu0.sigma, 0)  # also where κ'' is infinite
    np.testing.assert_allclose(relu0.mu[0, 4], x[0] @ x[0] / 2)
    noisy = tangent_kernels(x, activation=stax.Sign(), sigma0=SIGMA0)
    np.testing.assert_array_equal(np.asarray([noisy.mu[-1], noisy.mu[:, -1]]), 0)
    assert not np.asarray(tangent_kernels(x, activation=stax.Sign(), sigma0=0.0).mu).any()
    # One input with noise, one without any: no gradient reaches the second.
    bias = tangent_kernels(x, activation=stax.Sign(), sigma0=SIGMA0, b_std=0.5)
    assert not np.asarray(bias.mu)[-1].any()
    assert (np.asarray(bias.mu)[:-1, :-1] != 0).all()


@pytest.mark.parametrize("scales", [(None, None), (None, 0.6), (1.4, 0.3)], ids=str)
def test_nearly_parallel_inputs_with_a_bias(scales, x64):
    """κ'' of ReLU is 1/(2π ‖u × v‖) of u = (W_std/√d x, b_std): a cross product keeps the digits of a small angle."""
    W_std, b_std = scales
    x = np.array([[0.3, -0.8], [0.3 + 2e-9, -0.8 + 1e-9]])
    s, noise = (1.0 if W_std is None else W_std**2 / 2), 1e-14
    found = tangent_kernels(x, activation=stax.Relu(), sigma0=noise, W_std=W_std, b_std=b_std).sigma[0, 1]
    u, v = np.column_stack([math.sqrt(s) * x, np.full(2, b_std or 0.0)])
    gap = np.linalg.norm(np.cross(u, v - u))
    assert float(found) == pytest.approx(
        noise**2 * s**2 * (x[0] ** 2 @ x[1] ** 2) / (2 * math.pi * gap), rel=1e-6, abs=0
    )


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("x2", [None, X2], ids=["one set", "two sets"])
def test_batches_of_rows(batch_size, x2):
    options = {"activation": stax.Erf(), "sigma0": SIGMA0}
    found = tangent_kernels_batched(X1, x2, **options, batch_size=batch_size)
    for got, want in zip(found, tangent_kernels(X1, x2, **options), strict=True):
        assert isinstance(got, np.ndarray)
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_function_that_is_computed_outside_of_the_compiled_program(x64):
    """tanh at a variance of 1e7 and equal inputs needs double integrals; exp overflows and is refused."""
    x = 1e3 * np.concatenate([X1[:2], X1[:1]])
    found = tangent_kernels(x, activation=jnp.tanh, sigma0=0.0)
    assert all(bool(jnp.isfinite(part).all()) for part in found)
    # E tanh'(a)² is (4/3)/√(2π q): tanh'² falls off long before the density does.
    q = (x**2).sum(1)
    np.testing.assert_allclose(np.diagonal(found.mu), q * (4 / 3) / np.sqrt(2 * math.pi * q), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(found.mu)[0], np.asarray(found.mu)[2], rtol=1e-9)
    # (1 + σ0²) ‖x‖²/2 + b² of the larger one, whichever of the two it is.
    large, small = np.array([[150.0, 20.0]]), np.array([[2.0, 3.0]])
    for one, other in ((large, small), (small, large)):
        with pytest.raises(ValueError, match=r"got q up to 2\.804e\+04"):
            tangent_kernels(one, other, activation=stax.Exp(), sigma0=1.2, W_std=1.0, b_std=10.0)


def test_types_meet_at_the_wider_one(x64):
    options = {"activation": stax.Erf(), "sigma0": SIGMA0}
    single, double = jnp.asarray(X1, jnp.float32), jnp.asarray(X2)
    assert tangent_kernels(single, double, **options).d.dtype == jnp.float64
    assert tangent_kernels(single, single, **options).d.dtype == jnp.float32
    assert jax.eval_shape(lambda x: tangent_kernels(x, **options), single).mu.dtype == jnp.float32
