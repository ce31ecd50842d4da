"""The dual of an activation, κ(c; q1, q2) = E[φ(a) φ(b)] for (a, b) ~ N(0, [[q1, c], [c, q2]]), and its derivatives."""

from typing import Any

from jaxtyping import ArrayLike

from snn_ntk.activations.base import Scalars, as_floats
from snn_ntk.activations.resolution import resolve

__all__ = ["dual", "dual_derivatives"]


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
        ValueError: If `activation` is one without a dual for every variance (`stax.Hermite`).

    Example:
        >>> from snn_ntk import stax
        >>> round(float(dual(stax.Relu(), 1.0, 1.0, 1.0)), 6)
        0.5

    Source: book, chapter 5; daniely2016toward; lee2019wide (neural-tangents' closed forms).
    """
    return resolve(activation).dual(*as_floats(c, q1, q2))


def dual_derivatives(activation: Any, c: ArrayLike, q1: ArrayLike, q2: ArrayLike) -> tuple[Scalars, Scalars, Scalars]:
    """The dual activation with its first and second derivative in the covariance.

    κ = E[φ(a) φ(b)], κ' = ∂κ/∂c = E[φ'(a) φ'(b)], κ'' = ∂²κ/∂c² = E[φ''(a) φ''(b)]

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
        ValueError: If `activation` is one without a dual for every variance (`stax.Hermite`).

    Example:
        >>> from snn_ntk import stax
        >>> [round(float(k), 4) for k in dual_derivatives(stax.Sin(), 0.5, 1.0, 1.0)]
        [0.1917, 0.4148, 0.1917]

    Source: book, chapter 5; price1958useful (Price's theorem).
    """
    return resolve(activation).derivatives(*as_floats(c, q1, q2))
