"""q1 q2 - c² to its last digits, also where it is a small difference of large products, and without overflow."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

__all__ = []


def power_of_two(x: Array) -> Array:
    """The power of two next to x > 0: to divide by it is exact. 1 where x = 0."""
    x = jax.lax.stop_gradient(x)
    return jax.lax.reduce_precision(jnp.where(x > 0, x, 1), jnp.finfo(x.dtype).nexp, 0)


@jax.custom_jvp
def determinant(c: Array, q1: Array, q2: Array) -> Array:
    """q1 q2 - c², at least 0, of numbers whose squares do not overflow.

    Each factor is split into two halves whose products are exact, so what is left is exact to rounding of the result:
    a difference of rounded products loses everything where |c| is next to √(q1 q2).
    """
    bits = jnp.finfo(c.dtype)

    def halves(x: Array) -> tuple[Array, Array]:
        high = jax.lax.reduce_precision(x, bits.nexp, bits.nmant // 2 - 1)
        return high, x - high

    (c1, c2), (p1, p2), (r1, r2) = halves(c), halves(q1), halves(q2)
    return jnp.maximum((p1 * r1 - c1 * c1) + (p1 * r2 + p2 * r1 - 2 * c1 * c2) + (p2 * r2 - c2 * c2), 0)


@determinant.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (c, q1, q2), (dc, dq1, dq2) = primals, tangents
    return determinant(c, q1, q2), q2 * dq1 + q1 * dq2 - 2 * c * dc
