"""The arctangent of single precision against the system's in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk.activations.arctangent import arctan2


def points():
    """Right of the vertical axis: all angles, at sizes over many orders, and both axes themselves."""
    rng = np.random.default_rng(0)
    angle = np.concatenate([np.linspace(-np.pi / 2, np.pi / 2, 20_001), 10.0 ** rng.uniform(-30, 0, 1000)])
    size = 10.0 ** rng.uniform(-5, 5, len(angle))
    y, x = np.append(size * np.sin(angle), [0, 2, -2]), np.append(size * np.abs(np.cos(angle)), [3, 0, 0])
    return y.astype(np.float32), x.astype(np.float32)


@pytest.mark.parametrize("function", [arctan2, jax.jit(arctan2), jax.vmap(arctan2)], ids=["eager", "jit", "vmap"])
def test_every_angle_to_four_units_in_the_last_place(function):
    y, x = points()
    found, wanted = function(jnp.asarray(y), jnp.asarray(x)), np.arctan2(y.astype(float), x.astype(float))
    assert found.dtype == jnp.float32
    units = np.abs(np.asarray(found, float) - wanted) / np.spacing(np.abs(wanted).astype(np.float32))
    assert units.max() <= 4
    np.testing.assert_array_equal(function(jnp.asarray(-y), jnp.asarray(x)), -found)


def test_double_precision_is_the_system_s(x64):
    y, x = (jnp.asarray(part, jnp.float64) for part in points())
    np.testing.assert_array_equal(arctan2(y, x), jnp.arctan2(y, x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_are_those_of_the_angle(dtype):
    """Also on the diagonal and the axes, where the form changes; and once more."""
    with jax.enable_x64(dtype == "float64"):
        y, x = (jnp.asarray(part, dtype) for part in ([0.3, 1, -1, 0, 2, -2, -3], [0.8, 1, 1, 2, 0, 0, 0.5]))
        for order in (jax.grad, lambda f, argnums: jax.grad(jax.grad(f), argnums)):
            found, wanted = (jax.vmap(order(f, argnums=(0, 1)))(y, x) for f in (arctan2, jnp.arctan2))
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
