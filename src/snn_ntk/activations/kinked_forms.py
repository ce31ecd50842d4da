"""Activations with a kink or a jump in closed form: ReLU and its family, and sign."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.scipy.special import erf, ndtr
from jaxtyping import Array

from snn_ntk.activations.arctangent import arctan2
from snn_ntk.activations.base import Activation, make_activation
from snn_ntk.activations.determinant import determinant, power_of_two
from snn_ntk.activations.smooth_forms import normal_density

__all__ = []


class Scaled(NamedTuple):
    """Covariance and variances divided by powers of two, so that products of variances near 1 remain.

    Attributes:
        c: c / size.
        q1: q1 / s1².
        q2: q2 / s2².
        size: s1 s2.
        root: √(q1 q2 - c²) / size.
    """

    c: Array
    q1: Array
    q2: Array
    size: Array
    root: Array


@jax.custom_jvp
def _root(c: Array, q1: Array, q2: Array, rest: Array | None) -> Array:
    """√(q1 q2 - c²) with derivative 0 where it is 0: its one-sided slopes are ±infinite.

    0 within a few roundings of it too, which is all that c, q1 and q2 tell by themselves.
    """
    gap = determinant(c, q1, q2, rest)
    if rest is not None:
        return jnp.sqrt(jnp.where(gap > 0, gap, 0))
    return jnp.sqrt(jnp.where(gap > 4 * jnp.finfo(gap.dtype).eps * q1 * q2, gap, 0))


@_root.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (c, q1, q2, _), (dc, dq1, dq2, _) = primals, tangents
    root = _root(*primals)
    inverse = jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), 0)
    return root, inverse * (q2 * dq1 / 2 + q1 * dq2 / 2 - c * dc)


def scaled(c: Array, q1: Array, q2: Array, rest: Array | None) -> Scaled:
    c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
    s1, s2 = (power_of_two(jnp.sqrt(jax.lax.stop_gradient(q))) for q in (q1, q2))
    c, q1, q2 = c / s1 / s2, q1 / s1 / s1, q2 / s2 / s2
    return Scaled(c, q1, q2, s1 * s2, _root(c, q1, q2, rest))


def angle(c: Array, root: Array) -> Array:
    """arcsin of the correlation, 0 where a variance is 0."""
    degenerate = (c == 0) & (root == 0)
    return jnp.where(degenerate, 0, arctan2(c, jnp.where(degenerate, 1, root)))


@jax.custom_jvp
def _dual_abs(c: Array, q1: Array, q2: Array, rest: Array | None) -> Array:
    """E|a||b|."""
    at = scaled(c, q1, q2, rest)
    return (2 / math.pi) * at.size * (at.root + at.c * angle(at.c, at.root))


@_dual_abs.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (_, q1, q2, _), (dc, dq1, dq2, _) = primals, tangents
    root = scaled(*primals).root * scaled(*primals).size

    def share(q: Array) -> Array:
        return jnp.where(q > 0, root / jnp.where(q > 0, q, 1), 0) / math.pi

    return _dual_abs(*primals), _dual_sign(*primals) * dc + share(q1) * dq1 + share(q2) * dq2


def _dual_sign(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
    """E sign(a) sign(b)."""
    at = scaled(c, q1, q2, rest)
    return (2 / math.pi) * angle(at.c, at.root)


def _reciprocal(root: Array) -> Array:
    """1/root, infinite at 0 but with a finite derivative there."""
    return jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), jnp.inf)


def _ratio(u: Array, s: Array) -> Array:
    """u/s, capped where the Gaussian tail beyond it is 0 in every precision (so also at s = 0)."""
    inside = 40 * s > jnp.abs(u)
    return jnp.where(inside, u / jnp.where(inside, s, 1), 40 * jnp.sign(u))


@jax.custom_jvp
def _smoothed_relu(u: Array, s: Array) -> Array:
    z = _ratio(u, s)
    return u * ndtr(z) + s * normal_density(z)


@_smoothed_relu.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (u, s), (du, ds) = primals, tangents
    z = _ratio(u, s)
    return _smoothed_relu(u, s), ndtr(z) * du + normal_density(z) * ds


def _abrelu_name(a: float | Array, b: float | Array) -> str:
    if isinstance(a, Tracer) or isinstance(b, Tracer):
        return "ABReLU"
    return {(0.0, 1.0): "ReLU", (-1.0, 1.0): "abs"}.get((float(a), float(b)), f"ABReLU({a}, {b})")


def abrelu_form(a: float | Array, b: float | Array) -> Activation:
    """φ(z) = a min(z, 0) + b max(z, 0) = (a + b)/2 z + (b - a)/2 |z|."""
    linear, kink = ((a + b) / 2) ** 2, ((b - a) / 2) ** 2

    def kappa(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
        return linear * c + kink * _dual_abs(c, q1, q2, rest)

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        at = scaled(c, q1, q2, rest)
        infinite = jnp.where(at.root > 0, kink * (2 / math.pi) / at.size * _reciprocal(at.root), jnp.inf)
        curvature = jnp.where(kink > 0, infinite, 0)
        return kappa(c, q1, q2, rest), linear + kink * _dual_sign(c, q1, q2, rest), curvature

    def second_moment(u: Array, s: Array) -> Array:
        z = _ratio(u, s)
        total = u * u + s * s
        positive = total * ndtr(z) + u * s * normal_density(z)
        return b * b * positive + a * a * (total - positive)

    return make_activation(
        _abrelu_name(a, b),
        lambda z: a * jnp.minimum(z, 0) + b * jnp.maximum(z, 0),
        kappa,
        smoothed=lambda u, s: b * _smoothed_relu(u, s) - a * _smoothed_relu(-u, s),
        second_moment=second_moment,
        derivatives=derivatives,
        degree=1,
    )


def sign_form() -> Activation:
    """φ(z) = sign(z): its expectation over noise is differentiable although it is not."""

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        at = scaled(c, q1, q2, rest)
        inverse = _reciprocal(at.root)
        slope = (2 / math.pi) * inverse / at.size
        # At c = 0 too where a variance is 0 and the inverse infinite.
        curvature = jnp.where(at.c == 0, 0, at.c * slope * jnp.where(at.c == 0, 0, inverse) ** 2 / at.size)
        return _dual_sign(c, q1, q2, rest), slope, curvature

    return make_activation(
        "sign",
        jnp.sign,
        _dual_sign,
        smoothed=lambda u, s: erf(_ratio(u, s) / math.sqrt(2)),
        second_moment=lambda u, s: jnp.where((u == 0) & (s == 0), 0, jnp.ones_like(u * s)),
        derivatives=derivatives,
        jumps=True,
        degree=0,
    )


def step_form() -> Activation:
    """φ(z) = 1 for z ≥ 0 and 0 below: (1 + sign(z))/2 but for φ(0) = 1."""
    sign = sign_form()

    def kappa(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
        # The other is at most 0 half of the time; where a variance is 0, so is the covariance, and φ = 1.
        value = (1 + _dual_sign(c, q1, q2, rest)) / 4
        return jnp.where((q1 > 0) & (q2 > 0), value, jnp.where((q1 > 0) | (q2 > 0), 0.5, 1.0))

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        _, slope, curvature = sign.derivatives(c, q1, q2, rest)
        return kappa(c, q1, q2, rest), slope / 4, curvature / 4

    def smoothed(u: Array, s: Array) -> Array:
        return jnp.where((u == 0) & (s == 0), 1, ndtr(_ratio(u, s)))

    return make_activation(
        "step",
        lambda z: jnp.where(z >= 0, 1, jnp.zeros_like(z)),
        kappa,
        smoothed=smoothed,
        second_moment=smoothed,
        derivatives=derivatives,
        jumps=True,
        degree=0,
    )
