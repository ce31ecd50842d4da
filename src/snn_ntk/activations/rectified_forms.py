"""Rectified monomials, φ(z) = zⁿ for z ≥ 0 and 0 below: the arc-cosine kernels, by recursion."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from snn_ntk.activations.base import Activation, make_activation
from snn_ntk.activations.determinant import power_of_two
from snn_ntk.activations.kinked_forms import abrelu_form, angle, scaled, step_form

__all__ = []


def _on_axis(power: int, root: Array, q: Array) -> Array:
    """E δ(a) max(b, 0)ᵏ for E a² = q: the density of a at 0, and b of variance root²/q there."""
    half = 2 ** (power / 2 - 1) * math.gamma((power + 1) / 2) / math.sqrt(math.pi)
    return half * (root / jnp.sqrt(q)) ** power / jnp.sqrt(2 * math.pi * q)


def _quadrant(m: int, n: int, c: Array, qa: Array, qb: Array, root: Array) -> Array:
    """E aᵐ bⁿ over a, b > 0, by Stein's identity for a: qa E ∂_a + c E ∂_b of aᵐ⁻¹ bⁿ and of its jumps on the axes."""
    if m == n == 0:
        return 0.25 + angle(c, root) / (2 * math.pi)
    if m < n:
        return _quadrant(n, m, c, qb, qa, root)
    own = (m - 1) * _quadrant(m - 2, n, c, qa, qb, root) if m > 1 else _on_axis(n, root, qa)
    other = n * _quadrant(m - 1, n - 1, c, qa, qb, root) if n else _on_axis(m - 1, root, qb)
    return qa * own + c * other


def _moment(m: int, n: int, c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
    """E max(a, 0)ᵐ max(b, 0)ⁿ; its derivatives are such moments again (Price)."""

    @jax.custom_jvp
    def value(c: Array, q1: Array, q2: Array, rest: Array | None) -> Array:
        at = scaled(c, q1, q2, rest)
        degenerate = (at.q1 == 0) | (at.q2 == 0)
        one, two = (jnp.where(degenerate, 1, q) for q in (at.q1, at.q2))
        s1, s2 = (power_of_two(jnp.sqrt(q)) for q in jnp.broadcast_arrays(q1, q2))
        return jnp.where(degenerate, 0, s1**m * s2**n * _quadrant(m, n, at.c, one, two, at.root))

    @value.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        dc, dq1, dq2, _ = tangents
        tangent = m * n * _moment(m - 1, n - 1, *primals) * dc
        tangent = tangent + m * (m - 1) * _moment(max(m - 2, 0), n, *primals) * dq1 / 2
        return value(*primals), tangent + n * (n - 1) * _moment(m, max(n - 2, 0), *primals) * dq2 / 2

    # Below the second power a derivative in a variance has a share of the kink.
    return value(c, q1, q2, rest) if min(m, n) >= 2 else value.__wrapped__(c, q1, q2, rest)


def rectified_form(degree: int) -> Activation:
    """φ(z) = max(z, 0)^degree; the step for degree 0, with φ(0) = 1."""
    if degree == 0:
        return step_form()
    if degree == 1:
        return abrelu_form(0, 1)

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        powers = (degree, degree - 1, degree - 2)
        kappas = [_moment(k, k, c, q1, q2, rest) for k in powers]
        if degree == 2:
            # φ'' is twice the step; at 0, the step is 1 on one side: its dual with a variable that is 0 is not needed.
            kappas[2] = step_form().dual(c, q1, q2, rest)
        return kappas[0], degree**2 * kappas[1], (degree * (degree - 1)) ** 2 * kappas[2]

    return make_activation(
        f"{degree}-rectified monomial",
        lambda z: jnp.where(z >= 0, z, 0) ** degree,
        lambda *point: _moment(degree, degree, *point),
        derivatives=derivatives,
        degree=degree,
    )
