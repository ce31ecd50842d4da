"""Any other smooth function: a Hermite series whose length follows from the function, variances and correlation."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from snn_ntk._gaussian import trapezoidal_rule
from snn_ntk.activations.base import Activation, Dual, as_floats, derivative_of, make_activation

__all__ = []

_BLOCK = 16

_MOST_TERMS = 2048


@functools.lru_cache(maxsize=1)
def _series_grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, √(weight · density) and √(density) to sum a function against normalised Hermite polynomials."""
    nodes, weights = trapezoidal_rule(13.0, 1 / 16)
    damping = np.exp(-(nodes**2) / 4)
    return nodes, weights / damping, damping


def _series(left: Callable, right: Callable, c: Array, q1: Array, q2: Array) -> Array:
    """E[left(a) right(b)] = Σ_k A_k(q1) B_k(q2) ρᵏ with A_k(q) = E[left(√q g) h_k(g)]  (Mehler's formula).

    The terms are summed in blocks until a block no longer counts, so the length follows from the activation, the
    variances and the largest correlation: a block or two for a noisy network at unit variance.
    """
    nodes, weights, damping = (jnp.asarray(part, c.dtype) for part in _series_grid())
    product = q1 * q2
    rho = jnp.where(product > 0, c / jnp.sqrt(jnp.where(product > 0, product, 1)), 0)
    rho = jnp.clip(rho, -1, 1)
    values1 = left(jnp.sqrt(q1)[..., None] * nodes) * weights
    values2 = right(jnp.sqrt(q2)[..., None] * nodes) * weights
    shape = jnp.broadcast_shapes(c.shape, q1.shape, q2.shape)
    tolerance = 0.03 * jnp.finfo(c.dtype).eps
    step = rho**_BLOCK

    def next_polynomial(state: tuple, _: None) -> tuple:
        k, previous, current = state
        following = (nodes * current - jnp.sqrt(k) * previous) / jnp.sqrt(k + 1)
        return (k + 1, current, following), current

    def block(state: tuple) -> tuple:
        polynomials, power, total, _ = state
        polynomials, h = jax.lax.scan(next_polynomial, polynomials, None, _BLOCK)
        # Full precision also on accelerators whose default matrix product rounds to fewer bits.
        series1, series2 = (jnp.matmul(values, h.T, precision="highest") for values in (values1, values2))
        part = jnp.zeros(shape, c.dtype)
        for i in reversed(range(_BLOCK)):
            part = part * rho + series1[..., i] * series2[..., i]
        part = part * power
        return polynomials, power * step, total + part, jnp.max(jnp.abs(part))

    def unfinished(state: tuple) -> Array:
        (k, *_), _, total, last = state
        return (k < _MOST_TERMS) & (last > tolerance * jnp.max(jnp.abs(total)))

    start = (
        (jnp.zeros((), c.dtype), jnp.zeros_like(damping), damping),
        jnp.ones(shape, c.dtype),
        jnp.zeros(shape, c.dtype),
        jnp.asarray(jnp.inf, c.dtype),
    )
    return jax.lax.while_loop(unfinished, block, start)[-2]


def smooth_form(phi: Callable[[Array], Array], name: str) -> Activation:
    """An activation known only as a smooth function."""

    @functools.cache
    def derivative(order: int) -> Callable[[Array], Array]:
        return phi if order == 0 else derivative_of(derivative(order - 1))

    @functools.cache
    def moment(p: int, r: int) -> Dual:
        """E[φ^(p)(a) φ^(r)(b)]; its derivatives are moments again (Price), finite also at |ρ| = 1 and q = 0."""

        # Compiled once for each shape: a loop run eagerly would be compiled anew at every call.
        series = jax.jit(lambda c, q1, q2: _series(derivative(p), derivative(r), c, q1, q2))

        @jax.custom_jvp
        def value(c: Array, q1: Array, q2: Array) -> Array:
            return series(*as_floats(c, q1, q2))

        @value.defjvp
        def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
            dc, dq1, dq2 = tangents
            tangent = (
                moment(p + 1, r + 1)(*primals) * dc
                + moment(p + 2, r)(*primals) * (dq1 / 2)
                + moment(p, r + 2)(*primals) * (dq2 / 2)
            )
            return value(*primals), tangent

        return value

    return make_activation(
        name,
        phi,
        moment(0, 0),
        derivatives=lambda c, q1, q2: (
            moment(0, 0)(c, q1, q2),
            moment(1, 1)(c, q1, q2),
            moment(2, 2)(c, q1, q2),
        ),
    )
