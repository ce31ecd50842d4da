"""A convolution is a dense layer on patches: kernels, Θ^(σ) included, are those of `StochasticDense`, in every mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticConv, StochasticDense, stax

SHAPES = {
    "1 dimension": ((2, 5, 3), (2,), None, "VALID"),
    "1 dimension, strides": ((2, 6, 2), (3,), (2,), "SAME"),
    "2 dimensions": ((2, 4, 3, 2), (2, 3), None, "VALID"),
    "2 dimensions, padded": ((2, 3, 4, 2), (3, 2), (1, 2), "SAME"),
    "2 dimensions, on a torus": ((2, 3, 4, 2), (3, 3), None, "CIRCULAR"),
}
LIGHT = ("1 dimension, strides", "2 dimensions, padded")
LAYER = {"W_std": 1.3, "b_std": 0.3, "sigma0": 0.8}


def patches(x, size, strides, padding):
    if padding == "CIRCULAR":
        x, padding = jnp.pad(x, [(0, 0), *[((s - 1) // 2, s // 2) for s in size], (0, 0)], mode="wrap"), "VALID"
    letters = "HW"[: len(size)]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return jax.lax.conv_general_dilated_patches(
        x, size, strides or (1,) * len(size), padding, dimension_numbers=numbers
    )


def both(name, end, **options):
    shape, size, strides, padding = SHAPES[name]
    x = jax.random.normal(jax.random.key(0), shape)
    behind = [stax.Erf(), end, stax.Dense(1)]
    noisy = stax.serial(StochasticConv(8, size, strides, padding, **LAYER, **options), *behind)
    dense = stax.serial(StochasticDense(8, **LAYER, **options), *behind)
    return x, noisy, patches(x, size, strides, padding), dense


@pytest.mark.parametrize(
    "noise", ["independent", *(pytest.param(n, marks=pytest.mark.heavy) for n in ("per_position", "shared"))]
)
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in LIGHT else pytest.mark.heavy) for n in SHAPES])
def test_the_kernels_are_those_of_a_dense_layer_on_patches(name, noise, x64):
    x, conv, seen, dense = both(name, stax.Flatten() if "padded" in name else stax.GlobalAvgPool(), noise=noise)
    got, want = conv[2](x, x[:1]), dense[2](seen, seen[:1])
    for field in ("nngp", "ntk", "cov1", "cov2"):
        np.testing.assert_allclose(getattr(got, field), getattr(want, field), rtol=1e-10)


@pytest.mark.parametrize("noise", ["independent", "shared"])
def test_both_parameterisations_and_what_is_stored(noise, x64):
    for form in ("log_sigma", "softplus"):
        x, conv, seen, dense = both(
            "1 dimension", stax.Flatten(), parameterization="standard", variance_weights=form, noise=noise
        )
        np.testing.assert_allclose(conv[2](x).ntk, dense[2](seen).ntk, rtol=1e-10)


@pytest.mark.heavy
def test_masked_positions_are_as_in_the_layer_without_noise(x64):
    x = jax.random.normal(jax.random.key(0), (2, 5, 3)).at[1, 3:].set(1e3)
    behind = [stax.Erf(), stax.GlobalAvgPool(), stax.Dense(1)]
    key = jax.random.key(1)
    for padding in ("VALID", "SAME"):
        noisy = stax.serial(StochasticConv(4, (2,), None, padding, 1.3, 0.3, sigma0=0.0), *behind)
        plain = stax.serial(stax.Conv(4, (2,), None, padding, 1.3, 0.3), *behind)
        got, want = (network[2](x, mask_constant=1e3) for network in (noisy, plain))
        for field in ("nngp", "ntk", "cov1"):
            np.testing.assert_allclose(getattr(got, field), getattr(want, field), rtol=1e-10)
        _, ((W, b), *rest) = plain[0](key, x.shape)
        outputs = [
            stax.unmask_fn(network[1])(params, x, mask_constant=1e3, rng=key)
            for network, params in ((noisy, ((W, jnp.zeros_like(W), b), *rest)), (plain, ((W, b), *rest)))
        ]
        np.testing.assert_allclose(*outputs, rtol=1e-10)
    kernel_fn = stax.serial(StochasticConv(4, (2,), **LAYER), *behind)[2]
    # A window over some of the masked positions is an output, in which they count as zero: the third of four here.
    short = kernel_fn(x[1:, :4].at[:, 3].set(0.0))
    np.testing.assert_allclose(kernel_fn(x, mask_constant=1e3).ntk[1:, 1:], short.ntk, rtol=1e-10)


def test_integers_are_the_floats_that_they_are():
    pixels = np.array([[[200], [3], [17]]], np.uint8)
    init_fn, apply_fn, _ = StochasticConv(4, (2,), sigma0=0.5, noise="per_position")
    _, params = init_fn(jax.random.key(0), pixels.shape)
    got, want = (apply_fn(params, x, rng=jax.random.key(1)) for x in (pixels, pixels * 1.0))
    np.testing.assert_allclose(got, want, rtol=1e-6)
