"""Smooth activations in closed form: erf, GELU, sin, exp, Gaussian, polynomials, Gabor."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import erf, ndtr
from jaxtyping import Array

from snn_ntk.activations.arctangent import arctan2
from snn_ntk.activations.base import SQRT_2PI, Activation, make_activation, standard_deviation
from snn_ntk.activations.determinant import determinant, half_squared_distance, power_of_two

__all__ = []


def _inflated(c: Array, q1: Array, q2: Array, rest: Array | None) -> tuple[Array, Array, Array]:
    """c and √((1 + q1)(1 + q2) - c²) divided by a power of two near √((1 + q1)(1 + q2)), and that power.

    Nothing large cancels or overflows.
    """
    c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
    s1, s2 = (power_of_two(jnp.sqrt(1 + q)) for q in (q1, q2))
    one1, one2, q1, q2 = 1 / s1**2, 1 / s2**2, q1 / s1**2, q2 / s2**2
    c = c / s1 / s2
    return c, jnp.sqrt(one1 * one2 + one2 * q1 + one1 * q2 + determinant(c, q1, q2, rest)), s1 * s2


def erf_form(a: float | Array = 1.0, b: float | Array = 1.0, c: float | Array = 0.0) -> Activation:
    """φ(z) = a erf(b z) + c."""
    shift = c

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        c, root, size = _inflated(2 * b * b * c, 2 * b * b * q1, 2 * b * b * q2, rest)
        value = a * a * (2 / math.pi) * arctan2(c, root) + shift * shift
        slope = (a * b) ** 2 * (4 / math.pi) / root / size
        return value, slope, 2 * b * b * c * slope / root**2 / size

    def smoothed(u: Array, s: Array) -> Array:
        return a * erf(b * u / jnp.sqrt(1 + 2 * (b * s) ** 2)) + shift

    return make_activation(
        "erf",
        lambda z: a * erf(b * z) + shift,
        lambda *point: derivatives(*point)[0],
        smoothed=smoothed,
        derivatives=derivatives,
    )


def normal_density(z: Array) -> Array:
    return jnp.exp(-z * z / 2) / SQRT_2PI


def gelu_form() -> Activation:
    """φ(z) = z Φ(z), also for a layer that approximates it: that only changes neural-tangents' finite networks."""

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        part, unit, size = _inflated(c, q1, q2, rest)
        root, angle = unit * size, arctan2(part, unit)
        ones = (1 / (1 + q1)) * (1 / (1 + q2))
        rational = c / root * c * ones + q1 / (1 + q1) * (q2 / (1 + q2)) * root
        inverse = 1 / (1 + q1) + 1 / (1 + q2) + 1 / root / root
        # φ'' = (2 - z²) n(z): a normal pair of variances 1 - tilted and covariance c/root² is left under n(a) n(b).
        tilted = [(1 + q) / root / root for q in (q1, q2)]
        curvature = ((1 + tilted[0]) * (1 + tilted[1]) + 2 * (c / root / root) ** 2) / root
        value = c / 4 + (rational + c * angle) / (2 * math.pi)
        return value, 0.25 + (angle + c / root * inverse) / (2 * math.pi), curvature / (2 * math.pi)

    def smoothed(u: Array, s: Array) -> Array:
        root = jnp.sqrt(1 + s * s)
        return u * ndtr(u / root) + s * s / root * normal_density(u / root)

    return make_activation(
        "GELU",
        lambda z: z * ndtr(z),
        lambda *point: derivatives(*point)[0],
        smoothed=smoothed,
        derivatives=derivatives,
    )


def _sin_name(a: float | Array, b: float | Array, c: float | Array) -> str:
    if any(isinstance(value, Tracer) for value in (a, b, c)) or (a, b, c) == (1, 1, 0):
        return "sin"
    return f"{float(a):g} sin({float(b):g} z + {float(c):g})"


def sin_form(a: float | Array = 1.0, b: float | Array = 1.0, c: float | Array = 0.0) -> Activation:
    """φ(z) = a sin(b z + c)."""
    phase = c
    # Of 1 ∓ cos(2c); as Python's numbers, since an activation serves both precisions.
    here: Any = jnp if isinstance(phase, Tracer) else math
    sine, cosine = here.sin(phase), here.cos(phase)

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
        same = jnp.exp(-b * b * half_squared_distance(c, q1, q2, rest))
        opposite = jnp.exp(-b * b * half_squared_distance(-c, q1, q2, rest))
        # Their difference keeps its digits where the two are nearly equal.
        near = b * b * jnp.abs(c) < 0.5
        small = 2 * jnp.exp(-b * b * (q1 / 2 + q2 / 2)) * jnp.sinh(b * b * jnp.where(near, c, 0))
        odd = jnp.where(near, small, same - opposite)
        value = a * a / 2 * (odd + 2 * sine**2 * opposite)
        return value, a * a / 2 * b**2 * (odd + 2 * cosine**2 * opposite), b**4 * value

    def damped(u: Array, s: Array) -> Array:
        return a * jnp.exp(-((b * s) ** 2) / 2) * jnp.sin(b * u + phase)

    def second_moment(u: Array, s: Array) -> Array:
        exponent = -2 * (b * s) ** 2
        return a * a / 2 * (2 * jnp.exp(exponent) * jnp.sin(b * u + phase) ** 2 - jnp.expm1(exponent))

    return make_activation(
        _sin_name(a, b, c),
        lambda z: a * jnp.sin(b * z + phase),
        lambda *point: derivatives(*point)[0],
        smoothed=damped,
        second_moment=second_moment,
        derivatives=derivatives,
    )


def rbf_form(gamma: float | Array = 1.0) -> Activation:
    """φ(z) = √2 sin(√(2γ) z + π/4), whose dual is the Gaussian kernel."""
    if not isinstance(gamma, Tracer) and not gamma > 0:
        raise ValueError(f"expected gamma > 0, got {gamma}")
    root: Any = jnp.sqrt(2 * gamma) if isinstance(gamma, Tracer) else math.sqrt(2 * gamma)
    return sin_form(math.sqrt(2), root, math.pi / 4)


def exp_form(a: float | Array = 1.0, b: float | Array = 1.0) -> Activation:
    """φ(z) = a exp(b z)."""

    def kappa(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
        return a * a * jnp.exp(b * b * ((q1 + q2) / 2 + c))

    return make_activation(
        "exp",
        lambda z: a * jnp.exp(b * z),
        kappa,
        smoothed=lambda u, s: a * jnp.exp(b * u + (b * s) ** 2 / 2),
        second_moment=lambda u, s: a * a * jnp.exp(2 * b * u + 2 * (b * s) ** 2),
    )


def gaussian_form(a: float | Array = 1.0, b: float | Array = -1.0) -> Activation:
    """φ(z) = a exp(b z²)."""

    def kappa(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
        c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
        gap = 1 - 2 * b * (q1 + q2) + 4 * b * b * determinant(c, q1, q2, rest)
        finite = (gap > 0) & (2 * b * jnp.maximum(q1, q2) < 1)  # where I - 2 b Σ is positive definite
        return jnp.where(finite, a * a / jnp.sqrt(jnp.where(finite, gap, 1)), jnp.inf)

    def smoothed(u: Array, s: Array, a: float | Array = a, b: float | Array = b) -> Array:
        spread = 1 - 2 * b * s * s
        return a * jnp.exp(b * u * u / spread) / jnp.sqrt(spread)

    return make_activation(
        "Gaussian",
        lambda z: a * jnp.exp(b * z * z),
        kappa,
        smoothed=smoothed,
        second_moment=lambda u, s: smoothed(u, s, a * a, 2 * b),
    )


def polynomial_form(coef: Sequence[Any] | Array | np.ndarray) -> Activation:
    """φ(z) = Σ_k coef[k] zᵏ."""
    coef = [value if isinstance(value, Tracer) else float(value) for value in coef] or [0.0]
    degree = len(coef) - 1

    def gaussian_derivatives(q: Array) -> list[Array]:
        """E φ^(k)(√q g) for each k: finite sums, polynomials in q."""
        return [
            sum(
                coef[k + 2 * j] * math.factorial(k + 2 * j) / (2**j * math.factorial(j)) * q**j
                for j in range((degree - k) // 2 + 1)
            )
            + jnp.zeros_like(q)
            for k in range(degree + 1)
        ]

    def kappa(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
        value = jnp.zeros_like(c * q1 * q2)
        left, right = gaussian_derivatives(q1), gaussian_derivatives(q2)
        for k in reversed(range(degree + 1)):
            value = value * c + left[k] * right[k] / math.factorial(k)
        return value

    def smoothed_by(coef: Sequence[Any]) -> Callable[[Array, Array], Array]:
        degree = len(coef) - 1

        def smoothed(u: Array, s: Array) -> Array:
            value = jnp.zeros_like(u * s)
            for k in reversed(range(degree + 1)):
                value = value * u + sum(
                    coef[k + 2 * j] * math.comb(k + 2 * j, k) * math.prod(range(2 * j - 1, 0, -2)) * s ** (2 * j)
                    for j in range((degree - k) // 2 + 1)
                )
            return value

        return smoothed

    # Of φ², and no NumPy: a coefficient may be traced.
    square = [
        sum(coef[i] * coef[k - i] for i in range(max(k - degree, 0), min(k, degree) + 1)) for k in range(2 * degree + 1)
    ]

    def phi(z: Array) -> Array:
        return functools.reduce(lambda value, coefficient: value * z + coefficient, coef[::-1], jnp.zeros_like(z))

    return make_activation(
        f"polynomial of degree {degree}",
        phi,
        kappa,
        smoothed=smoothed_by(coef),
        second_moment=smoothed_by(square),
    )


def monomial_form(degree: int) -> Activation:
    """φ(z) = z^degree."""
    return polynomial_form([0.0] * degree + [1.0])


def exp_normalized_form(gamma: float | Array, shift: float | Array, phi: Callable[[Array], Array]) -> Activation:
    """No function of one number: a kernel that is √(q1 q2) exp(γ (ρ + shift))."""

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        norm = standard_deviation(q1) * standard_deviation(q2)
        positive = norm > 0
        rho = jnp.where(positive, c / jnp.where(positive, norm, 1), 0)
        factor = jnp.exp(gamma * (rho + shift))
        curvature = jnp.where(positive, gamma**2 * factor / jnp.where(positive, norm, 1), 0)
        return norm * factor, gamma * factor, curvature

    return make_activation("ExpNormalized", phi, lambda *point: derivatives(*point)[0], derivatives=derivatives)


def gabor_form() -> Activation:
    """φ(z) = exp(-z²) sin(z), the imaginary part of exp(-z² + i z)."""

    def kappa(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
        # 1 + 2 (q1 + q2) + 4 (q1 q2 - c²) over a power of two of its size: derivatives in c neither overflow nor vanish.
        c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
        s1, s2 = (power_of_two(jnp.sqrt(1 + q)) for q in (q1, q2))
        one, cross, size = 1 / s1**2 / s2**2, q1 / s1**2 / s2**2 + q2 / s1**2 / s2**2, s1 * s2
        c = c / s1 / s2
        gap = one + 2 * cross + 4 * determinant(c, q1 / s1**2, q2 / s2**2, rest)
        return jnp.exp((one + cross) / (2 * gap) - 0.5) * jnp.sinh(c / gap / size) / jnp.sqrt(gap) / size

    def smoothed(u: Array, s: Array) -> Array:
        spread = 1 + 2 * s * s
        return jnp.exp(-(u * u + s * s / 2) / spread) * jnp.sin(u / spread) / jnp.sqrt(spread)

    return make_activation("Gabor", lambda z: jnp.exp(-z * z) * jnp.sin(z), kappa, smoothed=smoothed)
