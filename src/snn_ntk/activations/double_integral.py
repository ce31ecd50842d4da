"""E[f(a) g(b)] of smooth functions for few pairs whose Hermite series is too long: large variances, |ρ| next to 1.

With r = |ρ|, a = √q1 (√r x + √(1-r) y) and b = ±√q2 (√r x + √(1-r) y') for independent normal x, y and y': an outer
integral over x of the product of two inner ones. The nodes of the outer crowd towards x = 0, those of the inner
towards the y where a = 0.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from snn_ntk._gaussian import graded_nodes
from snn_ntk.activations.determinant import power_of_two
from snn_ntk.activations.series import Pairs, tolerance

__all__ = []

_CENTRE = 9.0
"""Beyond it the density is below rounding: what stands there needs no resolution."""


def _density(u: Array) -> Array:
    return jnp.exp(-u * u / 2) / jnp.sqrt(2 * jnp.pi)


def _integrals(functions: Callable[[Array], Sequence[Array]], pairs: Pairs, c: Array, q: Array, rest: Array) -> Array:
    """The integral of each pair by all nodes and by every second one, shape (2, pairs)."""
    x, x_weights = (jnp.asarray(part, c.dtype) for part in graded_nodes(13.0, 0.4, 0.12, 1e-4))
    offsets, y_weights = (jnp.asarray(part, c.dtype) for part in graded_nodes(22.0, 0.4, 0.12, 1e-4))
    scale = power_of_two(jnp.sqrt(q))
    unit, scaled = q / scale**2, c / scale[0] / scale[1]
    roots = jnp.sqrt(unit)
    r = jnp.minimum(jnp.abs(scaled) / (roots[0] * roots[1]), 1)
    other = rest / (1 + r)  # 1 - r
    same, own = jnp.sqrt(r), jnp.sqrt(other)
    centre = jnp.clip(-x * jnp.where(own > 0, same / jnp.where(own > 0, own, 1), 0), -_CENTRE, _CENTRE)
    y = centre[:, None] + offsets
    z = jnp.stack([jnp.ones_like(c), jnp.sign(c)])[:, None, None] * jnp.sqrt(q)[:, None, None]
    z = z * (same * x[:, None] + own * y)
    inner = y_weights * _density(y)
    values = [jnp.asarray(f, c.dtype) * jnp.ones_like(z) for f in functions(z)]
    outer = x_weights * _density(x)

    def by_every(step: int) -> Array:
        rows, columns = (slice((n // 2) % step, None, step) for n in (len(x), len(offsets)))
        means = [step * (f * inner)[:, :, columns].sum(-1) for f in values]
        return jnp.stack([step * (outer * means[i][0] * means[j][1])[rows].sum() for i, j in pairs])

    return jnp.stack([by_every(1), by_every(2)])


def double_integrals(
    functions: Callable[[Array], Sequence[Array]],
    pairs: Pairs,
    c: Array,
    q: Array,
    rest: Array,
    norms: tuple[Array, Array],
) -> Array:
    """E[f_i(a) f_j(b)] for each pair of functions and each entry, NaN where it is not resolved.

    Args:
        functions: All functions at once.
        pairs: Which are multiplied.
        c: Covariances, shape (k,).
        q: Variances of a and b, shape (k, 2).
        rest: 1 - c²/(q1 q2), shape (k,).
        norms: √E f² of each function, at the variances of a and at those of b, shape (functions, k).

    Returns:
        The integrals, shape (pairs, k).
    """

    def one(entry: tuple[Array, Array, Array, Array, Array]) -> Array:
        c, q, rest, norms1, norms2 = entry
        whole, half = _integrals(functions, pairs, c, q, rest)
        size = jnp.stack([norms1[i] * norms2[j] for i, j in pairs])
        # The error falls exponentially in the number of nodes: that of the whole rule is about the square.
        return jnp.where(jnp.abs(whole - half) <= tolerance(c.dtype) ** 0.5 * size, whole, jnp.nan)

    return jax.lax.map(one, (c, q, rest, norms[0].T, norms[1].T)).T
