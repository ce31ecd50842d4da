"""Kernels of kinked activations where inputs are next to parallel: positive, and every entry against rational numbers."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax, tangent_kernels
from snn_ntk.activations import dual_derivatives

KINKED = {"relu": stax.Relu(), "leaky": stax.LeakyRelu(0.2), "abs": stax.Abs(), "abrelu": stax.ABRelu(-0.3, 0.8)}
UNITS = 100
"""The tolerance of everything here, in units in the last place of the largest eigenvalue or of an entry."""


def configuration(seed, dtype):
    """Eight inputs: two equal, two parallel, two opposite, a near duplicate and zeros, with their network."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(8, 3))
    sigma0 = rng.choice([0.0, 10.0 ** rng.uniform(-9, 0.5)], p=[0.2, 0.8])
    distance = rng.choice([1e-9, 1e-5, 1e-2, max(sigma0, 1e-9)])
    x[1], x[2], x[3], x[4], x[5] = x[0], 3.7 * x[0], -x[0], 0, x[0] + distance * rng.normal(size=3)
    x = (x * 10.0 ** rng.uniform(-8, 8)).astype(dtype)
    b_std = rng.choice([0.0, 0.3, float(np.abs(x).max())])
    return x, {"sigma0": sigma0, "W_std": rng.choice([0.0, 1.3], p=[0.1, 0.9]), "b_std": b_std}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", KINKED)
def test_every_group_of_a_random_network_is_symmetric_and_positive(name, dtype):
    with jax.enable_x64(dtype == "float64"):
        for seed in range(25):
            x, network = configuration(seed, dtype)
            order = np.random.default_rng(seed).permutation(len(x))
            whole, part = (tangent_kernels(x, other, activation=KINKED[name], **network) for other in (x, x[order]))
            for kernel, block in zip(whole, part, strict=True):
                assert kernel.dtype == dtype
                kernel, block = np.asarray(kernel, np.float64), np.asarray(block, np.float64)
                assert np.isfinite(kernel).all(), (seed, network)
                allowed = UNITS * np.finfo(dtype).eps
                values = np.linalg.eigvalsh((kernel + kernel.T) / 2)
                assert values[0] >= -allowed * values[-1], (seed, network)
                size = allowed * np.abs(kernel).max()
                np.testing.assert_allclose(kernel, kernel.T, atol=size, rtol=0)
                np.testing.assert_allclose(block, kernel[:, order], atol=size, rtol=0)


@pytest.mark.parametrize("sigma0", [2.0**-26, 2.0**-17, 2.0**-7])
@pytest.mark.parametrize("distance", [2.0**-40, 2.0**-20, 2.0**-8])
def test_the_variance_weights_kernel_against_rational_numbers(sigma0, distance, x64):
    """Θ^(σ) = σ0² ⟨x∘x, x'∘x'⟩ / (2π √(q q' - c²)) of ReLU; a unit in the last place of x moves it by 1/√(1 - ρ²) units."""
    x = np.random.default_rng(1).normal(size=(3, 4))
    x[1] = x[0] + distance * x[1]
    x[2] = -3 * x[0] + distance * x[2]
    got = np.asarray(tangent_kernels(x, activation=stax.Relu(), sigma0=sigma0).sigma)
    rows, noise = [[Fraction(value) for value in row] for row in x.tolist()], Fraction(sigma0) ** 2

    def product(left, right):
        return sum(a * b for a, b in zip(left, right, strict=True))

    for i, left in enumerate(rows):
        for j, right in enumerate(rows):
            squares = product([a * a for a in left], [b * b for b in right])
            norms = (1 + noise) ** 2 * product(left, left) * product(right, right)
            gap = norms - product(left, right) ** 2
            want = float(noise * squares) / (2 * math.pi * math.sqrt(gap))
            allowed = 10 * np.finfo(float).eps * (1 + math.sqrt(norms / gap))
            assert got[i, j] == pytest.approx(want, rel=allowed, abs=0), (i, j)


def test_relu_keeps_its_digits_at_parallel_inputs_without_noise():
    """κ' of parallel inputs is 1/2, and 0 of opposite ones; from c, q and q' alone half of the digits are left."""
    x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    scales = np.array([1, 3, 0.7, -1.9], np.float32)
    for row in x:
        rows = scales[:, None] * row
        kernel = tangent_kernels(rows, activation=stax.Relu(), sigma0=0.0)
        want = np.maximum(np.outer(scales, scales), 0) / 2 * float(row.astype(float) @ row)
        np.testing.assert_allclose(kernel.mu, want, rtol=2e-6, atol=2e-6 * want.max())
        np.testing.assert_allclose(kernel.d, want, rtol=2e-6, atol=2e-6 * want.max())


@pytest.mark.parametrize(
    ("layer", "slope"), [(stax.Erf(), lambda q: 4 / np.pi / np.sqrt(1 + 4 * q)), (stax.Rbf(0.5), np.ones_like)]
)
def test_smooth_activations_keep_their_digits_at_equal_inputs_of_any_size(layer, slope):
    """κ'(q; q, q), in single precision: of sin and erf it was of the wrong order from variances of 1e7 on, pixels as bytes."""
    x = (
        np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
        * np.float32([1, 10, 100, 1e3, 1e4, 1e5])[:, None]
    )
    kernel = tangent_kernels(np.concatenate([x, x]), activation=layer, sigma0=0.0)
    q = (x.astype(float) ** 2).sum(1)
    for rows in (0, 6):
        found = np.diagonal(np.asarray(kernel.mu, float)[:6], rows)[:6]
        np.testing.assert_allclose(found, q * slope(q), rtol=1e-5)


@pytest.mark.parametrize("sigma0", [0.03, 0.08, 0.11, 0.16, 0.19, 0.3])
def test_equal_inputs_under_small_noise_keep_the_digits_of_a_power_of_their_distance(sigma0):
    """κ'' of exp(−z²/2) at large variances is 3 q²/(1 + 2q + q² (1 − ρ²))^(5/2) to leading order, 1 − ρ² of size σ0²."""
    x = 2e3 * np.random.default_rng(24).normal(size=(40, 3)).astype(np.float32)
    network = {"activation": stax.Gaussian(1.0, -0.5), "sigma0": sigma0, "W_std": 1.4, "b_std": 2500.0}
    found = tangent_kernels(np.concatenate([x, x]), x, **network).sigma
    with jax.enable_x64(True):
        exact = np.asarray(tangent_kernels(x.astype(float), x.astype(float), **network).sigma)
    for block in (0, 40):
        got = np.diagonal(np.asarray(found, float), -block)
        np.testing.assert_allclose(got, np.diagonal(exact), rtol=200 * np.finfo(np.float32).eps)


def test_gradients_pass_the_nearly_parallel(x64):
    """The derivative of Θ^(d) in a scale of one of two inputs, which ReLU passes on: κ is homogeneous."""
    x = jnp.array([[0.3, -0.4], [0.3 + 1e-9, -0.4]])

    def entry(t):
        return tangent_kernels(x * jnp.array([[t], [1.0]]), activation=stax.Relu(), sigma0=0.0).d[0, 1]

    assert float(jax.grad(entry)(1.0)) == pytest.approx(float(entry(1.0)), rel=1e-7)
    exact = float(dual_derivatives(stax.Relu(), 0.25, 0.25, 0.25)[0])
    assert float(entry(1.0)) == pytest.approx(exact, rel=1e-8)
