"""The dual of an activation, κ(c; q1, q2) = E[φ(a) φ(b)] for (a, b) ~ N(0, [[q1, c], [c, q2]]), and its derivatives."""

from typing import Any

import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike

from snn_ntk.activations.base import Scalars, as_floats
from snn_ntk.activations.refusal import is_unresolved, refuse
from snn_ntk.activations.resolution import resolve

__all__ = ["dual", "dual_derivatives"]


def _point(c: ArrayLike, q1: ArrayLike, q2: ArrayLike) -> list[Array]:
    """Covariances and variances as floats, where they are there those of two numbers, or nearly: rounding is left room."""
    point = as_floats(c, q1, q2)
    if any(isinstance(value, Tracer) for value in point):
        return point
    c_, q1_, q2_ = (np.asarray(value, np.float64) for value in point)
    if (q1_ < 0).any() or (q2_ < 0).any() or (np.abs(c_) > 1.1 * np.sqrt(q1_) * np.sqrt(q2_)).any():
        raise ValueError("expected variances >= 0 and covariances |c| <= √(q1 q2), got others among them")
    return point


def dual(activation: Any, c: ArrayLike, q1: ArrayLike, q2: ArrayLike) -> Scalars:
    """The dual activation of two jointly Gaussian pre-activations.

    κ(c; q1, q2) = E[φ(a) φ(b)], (a, b) ~ N(0, [[q1, c], [c, q2]])

    Args:
        activation: φ, what `resolve` accepts.
        c: Covariances, any shape.
        q1: Variances of a, broadcast against `c`.
        q2: Variances of b, broadcast against `c`.

    Returns:
        κ, of the broadcast shape.

    Raises:
        TypeError: If `activation` is not an activation.
        ValueError: If a variance is negative, or a covariance larger than two numbers of these variances have; if
            `activation` is one without a dual for every variance (`stax.Hermite`); or if it overflows or is not resolved
            at one of these variances, which the message names. Inside of `jax.jit` that is NaN.

    Example:
        >>> from snn_ntk import stax
        >>> round(float(dual(stax.Relu(), 1.0, 1.0, 1.0)), 6)
        0.5

    Source: book, chapter 5; daniely2016toward; lee2019wide (neural-tangents' closed forms).
    """
    activation, point = resolve(activation), _point(c, q1, q2)
    value = activation.dual(*point)
    if is_unresolved(value):
        refuse(activation, *point[1:])
    return value


def dual_derivatives(activation: Any, c: ArrayLike, q1: ArrayLike, q2: ArrayLike) -> tuple[Scalars, Scalars, Scalars]:
    """The dual activation with its first and second derivative in the covariance.

    κ = E[φ(a) φ(b)], κ' = ∂κ/∂c = E[φ'(a) φ'(b)], κ'' = ∂²κ/∂c² = E[φ''(a) φ''(b)]

    Closed forms are exact to rounding. A smooth function without one is integrated, to an error of 1e-9
    √(κ(q1, q1, q1) κ(q2, q2, q2)) in float64, and so κ' and κ'' on their own scales: at every variance from 1e-8 to 1e8
    for tanh, sigmoid, softplus, swish, mish, both GELUs and what else changes over a distance of about 1 around 0. The
    error is estimated from the function's values, and what is not resolved is refused; no finite number of values can
    exclude a narrow bump somewhere. Large variances with a correlation next to 1 need a double integral for each pair,
    which is not compiled inside of `jax.jit`: NaN there.

    κ'' of an activation with a kink (ReLU and its family) is infinite where a = ±b, and so returned.

    Args:
        activation: φ, what `resolve` accepts.
        c: Covariances, any shape.
        q1: Variances of a, broadcast against `c`.
        q2: Variances of b, broadcast against `c`.

    Returns:
        κ, κ' and κ'', each of the broadcast shape.

    Raises:
        TypeError: If `activation` is not an activation.
        ValueError: If a variance is negative, or a covariance larger than two numbers of these variances have; if
            `activation` is one without a dual for every variance (`stax.Hermite`); or if it overflows or is not resolved
            at one of these variances, which the message names. Inside of `jax.jit` that is NaN.

    Example:
        >>> from snn_ntk import stax
        >>> [round(float(k), 4) for k in dual_derivatives(stax.Sin(), 0.5, 1.0, 1.0)]
        [0.1917, 0.4148, 0.1917]

    Source: book, chapter 5; price1958useful (Price's theorem).
    """
    activation, point = resolve(activation), _point(c, q1, q2)
    values = activation.derivatives(*point)
    if is_unresolved(*values):
        refuse(activation, *point[1:])
    return values
