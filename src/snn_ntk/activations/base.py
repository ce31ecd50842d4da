"""An activation and what a stochastic network needs of it, in closed form where there is one and else by quadrature.

By Price's theorem ∂κ/∂c = E[φ'(a) φ'(b)] and ∂²κ/∂c² = E[φ''(a) φ''(b)] for (a, b) ~ N(0, [[q1, c], [c, q2]]): the
three tangent kernels of a stochastic network are κ, κ' and κ'' up to inner products of the inputs. An activation
smoothed by its noise, E_g φ(u + s g), is all that the expected output of a stochastic layer needs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from snn_ntk._gaussian import graded_nodes, trapezoidal_rule

__all__ = ["Activation"]

SQRT_2PI = math.sqrt(2 * math.pi)

Scalars = Float[Array, "..."]

Dual = Callable[..., Array]
"""(c, q1, q2, rest) -> κ. `rest`, 1 - c²/(q1 q2), is there where it is known better than c, q1 and q2 tell."""


@dataclass(frozen=True)
class Activation:
    """An activation φ with what a stochastic network needs to know about it.

    Every function acts entry by entry on arrays that broadcast against each other and is differentiable and jittable.

    Attributes:
        name: How to call it in a figure or an error message.
        phi: φ itself.
        smoothed: `smoothed(u, s)` = φ̂(u; s) = E_{g ~ N(0, 1)} φ(u + s g), for s ≥ 0.
        second_moment: `second_moment(u, s)` = E_{g ~ N(0, 1)} φ(u + s g)².
        dual: `dual(c, q1, q2)` = κ. A fourth argument, 1 - c²/(q1 q2), is taken where it is known better than c, q1 and q2 tell.
        derivatives: `derivatives(c, q1, q2)` = (κ, κ', κ''), derivatives with respect to c; the fourth argument likewise.
        jumps: Whether φ has a jump: then only noise gives f̂ a slope, and without any its gradient is 0 almost everywhere.
        degree: k where φ(t z) = tᵏ φ(z) for t > 0; else None.

    Source: book, chapter 4, chapter 5.
    """

    name: str
    phi: Callable[[Array], Array] = field(repr=False)
    smoothed: Callable[[Array, Array], Array] = field(repr=False)
    second_moment: Callable[[Array, Array], Array] = field(repr=False)
    dual: Dual = field(repr=False)
    derivatives: Callable[..., tuple[Array, Array, Array]] = field(repr=False)
    jumps: bool = False
    degree: int | None = None


def as_floats(*values: ArrayLike) -> list[Array]:
    """Arrays of one floating type: that of the floats among them with a type of their own, else the default."""
    arrays = [jnp.asarray(value) for value in values]
    dtype = jnp.result_type(float, *[a for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)])
    floating = [a.dtype for a in arrays if jnp.issubdtype(a.dtype, jnp.floating) and not a.weak_type]
    dtype = jnp.result_type(*floating) if floating else dtype
    return [a.astype(dtype) for a in arrays]


def by_autodiff(kappa: Dual) -> Callable[..., tuple[Array, Array, Array]]:
    """κ, κ' and κ'' of a κ that is smooth wherever it is evaluated, by forward differentiation in c."""

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
        one = jnp.ones_like(c)

        def first(c: Array) -> tuple[Array, Array]:
            return jax.jvp(lambda c: kappa(c, q1, q2, rest), (c,), (one,))

        (value, slope), (_, curvature) = jax.jvp(first, (c,), (one,))
        return value, slope, curvature

    return derivatives


def derivative_of(phi: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """φ', entry by entry."""
    return lambda u: jax.jvp(phi, (u,), (jnp.ones_like(u),))[1]


def standard_deviation(variance: Array) -> Array:
    """√variance with derivative 0 where it is 0, which is where W_σ = 0 or x = 0: the slope of f̂ in W_σ is 0 there."""
    positive = variance > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1)), 0)


def gaussian_expectation(phi: Callable[[Array], Array], power: int = 0) -> Callable[[Array, Array], Array]:
    """(u, s) -> E[gᵏ φ(u + s g)] with k = `power`, by quadrature; NaN where that is not resolved.

    Its own derivatives are again of this form, so they are taken before the quadrature and no intermediate array of
    the size of the grid is kept for a backward pass.
    """

    @jax.custom_jvp
    def expectation(u: Array, s: Array) -> Array:
        return _integrated(phi, power, *jnp.broadcast_arrays(u, s))

    @expectation.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        u, s = primals
        du, ds = tangents
        slope = derivative_of(phi)
        tangent = gaussian_expectation(slope, power)(u, s) * du + gaussian_expectation(slope, power + 1)(u, s) * ds
        return expectation(u, s), tangent

    return expectation


_CENTRE = 9.0
"""Beyond it the density is below rounding: what stands there needs no resolution."""

_WIDTHS = 7.0, 13.0

_NODES_AT_ONCE = 16

_LARGEST_NOISE = 2.5
"""With nodes at a distance of 0.2 it takes values of φ at a distance of 0.5."""


def _integrated(phi: Callable[[Array], Array], power: int, u: Array, s: Array) -> Array:
    """E[gᵏ φ(u + s g)] on an equal spacing, and where that is too wide or ends too early, on nodes that crowd towards
    the g where u + s g = 0.

    Every fourth node makes a sum of its own. What they differ by bounds the error: those of every second node, where φ
    has a kink, and both, where the error falls exponentially but happens to be 0 on one of them.
    """
    bits = jnp.finfo(u.dtype)
    accuracy, tail = (1e-8, 1e-11) if bits.bits == 64 else (1e-5, 1e-6)
    # The function's own rounding, where it nearly vanishes as a difference of numbers of its usual size.
    floor = 64 * bits.eps * sum(jnp.abs(phi(jnp.full((), z, u.dtype))) for z in (-1.0, 0.0, 1.0))

    def is_good(sums: Array, size: Array, width: float, power: int) -> Array:
        a, b, c, d = jnp.moveaxis(sums, -1, 0)
        halves, quarters = jnp.abs(a - b + c - d), jnp.abs(a - c) + jnp.abs(b - d)
        beyond = math.exp(-(width**2) / 2) / SQRT_2PI * width ** (power - 1)
        ends = beyond * (jnp.abs(phi(u + width * s)) + jnp.abs(phi(u - width * s)))
        smooth = (halves <= accuracy * size + floor) & (quarters <= accuracy**0.5 * size + floor)
        return smooth & (ends <= tail * size + floor)

    def equally_spaced(power: int) -> tuple[Array, Array]:
        nodes, weights = (np.pad(part, (0, 1)) for part in trapezoidal_rule(_WIDTHS[0], 0.2))
        weights, nodes = jnp.asarray(weights * nodes**power, u.dtype), jnp.asarray(nodes, u.dtype)
        terms = phi(u[..., None] + s[..., None] * nodes) * weights
        sums = terms.reshape(*u.shape, -1, 4).sum(-2)
        size = jnp.abs(sums).sum(-1) + sum(jnp.abs(phi(u + g * s)) for g in (-1, 0, 1))
        return sums.sum(-1), is_good(sums, size, _WIDTHS[0], power)

    total, good = equally_spaced(power)
    # Between nodes that are farther apart, what φ does next to 0 would be seen by none.
    good &= s <= _LARGEST_NOISE

    offsets, densities = graded_nodes(22.0, 0.4, 0.12, 1e-4)
    padding = -len(offsets) % _NODES_AT_ONCE
    offsets, densities = (jnp.asarray(np.pad(part, (0, padding)), u.dtype) for part in (offsets, densities))
    centre = jnp.clip(-u / jnp.where(s > 0, s, 1), -_CENTRE, _CENTRE)[..., None]

    def some(state: tuple) -> tuple:
        start, sums, norm = state
        at, weight = (jax.lax.dynamic_slice_in_dim(part, start, _NODES_AT_ONCE) for part in (offsets, densities))
        g = centre + at
        weight = weight * jnp.exp(-g * g / 2) / SQRT_2PI
        values = jnp.where(jnp.abs(g) < _WIDTHS[1], g**power * phi(u[..., None] + s[..., None] * g), 0)
        sums = sums + (weight * values).reshape(*u.shape, -1, 4).sum(-2)
        return start + _NODES_AT_ONCE, sums, norm + (weight * values**2).sum(-1)

    # A loop that is not entered where nothing needs it: of a condition, `jax.vmap` would compute both sides.
    needed = ~good.all()
    start = jnp.zeros((), int), jnp.zeros((*u.shape, 4), u.dtype), jnp.zeros_like(u)
    _, sums, norm = jax.lax.while_loop(lambda state: needed & (state[0] < len(offsets)), some, start)
    fine = jnp.where(is_good(sums, jnp.sqrt(norm), _WIDTHS[1], power), sums.sum(-1), jnp.nan)
    return jnp.where(good, total, fine)


def make_activation(
    name: str,
    phi: Callable,
    dual: Dual,
    *,
    smoothed: Callable | None = None,
    second_moment: Callable | None = None,
    derivatives: Callable | None = None,
    jumps: bool = False,
    degree: int | None = None,
) -> Activation:
    """An activation from what is known in closed form, quadrature for the rest."""
    return Activation(
        name=name,
        phi=phi,
        smoothed=smoothed or gaussian_expectation(phi),
        second_moment=second_moment or gaussian_expectation(lambda z: phi(z) ** 2),
        dual=dual,
        derivatives=derivatives or by_autodiff(dual),
        jumps=jumps,
        degree=degree,
    )
