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
from jaxtyping import Array, ArrayLike, Float

from snn_ntk._gaussian import trapezoidal_rule

__all__ = ["Activation"]

SQRT_2PI = math.sqrt(2 * math.pi)

Scalars = Float[Array, "..."]

Dual = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Activation:
    """An activation φ with what a stochastic network needs to know about it.

    Every function acts entry by entry on arrays that broadcast against each other and is differentiable and jittable.

    Attributes:
        name: How to call it in a figure or an error message.
        phi: φ itself.
        smoothed: `smoothed(u, s)` = φ̂(u; s) = E_{g ~ N(0, 1)} φ(u + s g), for s ≥ 0.
        second_moment: `second_moment(u, s)` = E_{g ~ N(0, 1)} φ(u + s g)².
        dual: `dual(c, q1, q2)` = κ.
        derivatives: `derivatives(c, q1, q2)` = (κ, κ', κ''), derivatives with respect to c.
        jumps: Whether φ has a jump: then only noise gives f̂ a slope, and without any its gradient is 0 almost everywhere.
        degree: k where φ(t z) = tᵏ φ(z) for t > 0; else None.

    Source: book, chapter 4, chapter 5.
    """

    name: str
    phi: Callable[[Array], Array] = field(repr=False)
    smoothed: Callable[[Array, Array], Array] = field(repr=False)
    second_moment: Callable[[Array, Array], Array] = field(repr=False)
    dual: Dual = field(repr=False)
    derivatives: Callable[[Array, Array, Array], tuple[Array, Array, Array]] = field(repr=False)
    jumps: bool = False
    degree: int | None = None


def as_floats(*values: ArrayLike) -> list[Array]:
    """Arrays of one floating type: that of the floats among them with a type of their own, else the default."""
    arrays = [jnp.asarray(value) for value in values]
    dtype = jnp.result_type(float, *[a for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)])
    floating = [a.dtype for a in arrays if jnp.issubdtype(a.dtype, jnp.floating) and not a.weak_type]
    dtype = jnp.result_type(*floating) if floating else dtype
    return [a.astype(dtype) for a in arrays]


def by_autodiff(kappa: Dual) -> Callable[[Array, Array, Array], tuple[Array, Array, Array]]:
    """κ, κ' and κ'' of a κ that is smooth wherever it is evaluated, by forward differentiation in c."""

    def derivatives(c: Array, q1: Array, q2: Array) -> tuple[Array, Array, Array]:
        c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
        one = jnp.ones_like(c)

        def first(c: Array) -> tuple[Array, Array]:
            return jax.jvp(lambda c: kappa(c, q1, q2), (c,), (one,))

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
    """(u, s) -> E[gᵏ φ(u + s g)] with k = `power`, by quadrature.

    Its own derivatives are again of this form, so they are taken before the quadrature and no intermediate array of
    the size of the grid is kept for a backward pass.
    """

    @jax.custom_jvp
    def expectation(u: Array, s: Array) -> Array:
        u, s = jnp.broadcast_arrays(u, s)
        nodes, weights = trapezoidal_rule(7.0, 0.2)
        g, w = jnp.asarray(nodes, u.dtype), jnp.asarray(weights * nodes**power, u.dtype)
        return jnp.sum(phi(u[..., None] + s[..., None] * g) * w, axis=-1)

    @expectation.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        u, s = primals
        du, ds = tangents
        slope = derivative_of(phi)
        tangent = gaussian_expectation(slope, power)(u, s) * du + gaussian_expectation(slope, power + 1)(u, s) * ds
        return expectation(u, s), tangent

    return expectation


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
