"""q1 q2 - c² and (q1 + q2)/2 - c to their last digits, also as small differences of large numbers, without overflow.

Whoever knows 1 - ρ² = 1 - c²/(q1 q2) better than c, q1 and q2, which are rounded, gives it as `rest`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

__all__ = []


def power_of_two(x: Array) -> Array:
    """The power of two next to x > 0: to divide by it is exact. 1 where x = 0."""
    x = jax.lax.stop_gradient(x)
    return jax.lax.reduce_precision(jnp.where(x > 0, x, 1), jnp.finfo(x.dtype).nexp, 0)


@jax.custom_jvp
def determinant(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
    """q1 q2 - c², at least 0, of numbers whose squares do not overflow; its derivatives are those of this formula.

    Each factor is split into two halves whose products are exact, so what is left is exact to rounding of the result:
    a difference of rounded products loses everything where |c| is next to √(q1 q2).
    """
    if rest is not None:
        return q1 * q2 * rest
    bits = jnp.finfo(c.dtype)

    def halves(x: Array) -> tuple[Array, Array]:
        high = jax.lax.reduce_precision(x, bits.nexp, bits.nmant // 2 - 1)
        return high, x - high

    (c1, c2), (p1, p2), (r1, r2) = halves(c), halves(q1), halves(q2)
    return jnp.maximum((p1 * r1 - c1 * c1) + (p1 * r2 + p2 * r1 - 2 * c1 * c2) + (p2 * r2 - c2 * c2), 0)


@determinant.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (c, q1, q2, _), (dc, dq1, dq2, _) = primals, tangents
    return determinant(*primals), q2 * dq1 + q1 * dq2 - 2 * c * dc


def uncorrelated(c: Array, q1: Array, q2: Array) -> Array:
    """1 - c²/(q1 q2), at least 0, of numbers of any size; 1 where a variance is 0."""
    s1, s2 = power_of_two(jnp.sqrt(q1)), power_of_two(jnp.sqrt(q2))
    c, q1, q2 = jnp.broadcast_arrays(c / s1 / s2, q1 / s1 / s1, q2 / s2 / s2)
    positive = q1 * q2 > 0
    return jnp.where(positive, determinant(c, q1, q2) / jnp.where(positive, q1 * q2, 1), 1)


@jax.custom_jvp
def half_squared_distance(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
    """E(a - b)²/2 = (q1 + q2)/2 - c, at least 0; its derivatives are those of this formula."""
    rest = uncorrelated(c, q1, q2) if rest is None else rest
    root1, root2 = jnp.sqrt(q1), jnp.sqrt(q2)
    one, two, total = (jnp.where(root > 0, root, 1) for root in (root1, root2, root1 + root2))
    cosine = jnp.minimum(jnp.abs(c) / one / two, 1)
    product = root1 * root2 * jnp.where(c > 0, rest / (1 + cosine), 1 + cosine)  # √(q1 q2) - c
    return ((q1 - q2) / total) ** 2 / 2 + product


@half_squared_distance.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    dc, dq1, dq2, _ = tangents
    return half_squared_distance(*primals), (dq1 + dq2) / 2 - dc
