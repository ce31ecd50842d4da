"""The angle of a point right of the vertical axis, as arithmetic that a compiler makes into vector instructions.

XLA calls the system's `atan2f` for one number after the other on a processor: as long as everything else that three
kernels take from a matrix product, matrix products included.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

__all__ = []

# (atan(√s)/√s - 1)/s on [0, 1] as a polynomial in s, lowest power first: the fit of least largest relative error in the
# arctangent, 2.6e-9, a 23rd of a rounding.
_COEFFICIENTS = (
    -0.333332991,
    0.199985483,
    -0.142642416,
    0.109521856,
    -0.0840344968,
    0.0579575823,
    -0.0311778344,
    0.0109145995,
    -0.0017936203,
)


@jax.custom_jvp
def arctan2(y: Array, x: Array) -> Array:
    """The angle of (x, y) for x ≥ 0, not both 0: in single precision to 4 units in the last place, else the system's."""
    if jnp.result_type(y, x) != jnp.float32:
        return jnp.arctan2(y, x)
    size = jnp.abs(y)
    low, high = jnp.minimum(size, x), jnp.maximum(size, x)
    square = (low / high) ** 2
    rest = functools.reduce(lambda value, c: value * square + c, _COEFFICIENTS[::-1], jnp.zeros_like(square))
    scaled = low + low * (square * rest)
    scaled = jnp.where(size > x, math.pi / 2 * high - scaled, scaled)
    # The division comes last: XLA writes down what ends with one, and computes anew, for each use, what ends with a sum.
    return jnp.where(y < 0, -scaled, scaled) / high


@arctan2.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (y, x), (dy, dx) = primals, tangents
    square = x * x + y * y
    return arctan2(y, x), x / square * dy - y / square * dx
