"""How smooth the features of tangent kernels are: distances after each feature map, bounds, Lipschitz constants."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import in_precision_of
from snn_ntk.activations.base import derivative_of
from snn_ntk.activations.resolution import resolve
from snn_ntk.activations.series import norms

__all__ = [
    "FeatureDistances",
    "activation_moments",
    "feature_distances",
    "lipschitz_constant",
    "phi0_bound",
    "phi_bound",
    "sharp_lipschitz_constant",
]


class FeatureDistances(NamedTuple):
    """Distances of two inputs after each feature map; every field has the shape of the batch of pairs.

    Attributes:
        inputs: ‖x − y‖.
        phi0: ‖φ0(x) − φ0(y)‖.
        phi1: ‖φ1(x) − φ1(y)‖.
        phi: ‖Φ(x) − Φ(y)‖, Φ = (φ0 ⊗ x, φ1).
    """

    inputs: Array
    phi0: Array
    phi1: Array
    phi: Array


def feature_distances(x: Num[Array, "*b d"], y: Num[Array, "*b d"]) -> FeatureDistances:
    """Distances ‖x − y‖, ‖φ0(x) − φ0(y)‖, ‖φ1(x) − φ1(y)‖ and ‖Φ(x) − Φ(y)‖, Φ = (φ0 ⊗ x, φ1), exactly.

    With θ the angle: ‖φ0(x) − φ0(y)‖² = 2θ/π and ‖Φ(x) − Φ(y)‖² = ‖x − y‖² + 2⟨x, y⟩θ/π + ‖φ1(x) − φ1(y)‖².
    Written through the angle, not through 1 − κ(u), so that nothing cancels for close points.

    Args:
        x: First inputs, shape (…, d), non-zero.
        y: Second inputs, the same shape, non-zero.

    Returns:
        The four distances, each of shape (…).

    Example:
        >>> import jax.numpy as jnp
        >>> d = feature_distances(jnp.asarray([1.0, 0.0]), jnp.asarray([0.0, 1.0]))
        >>> round(float(d.phi0), 4)
        1.0

    Source: lecture, slide "Feature Maps", slide "Smoothness", Proposition 3; bietti2019inductive, Section 3.1.
    """
    x, y = validation.floats(x), validation.floats(y)
    nx, ny = jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1)
    ex, ey = x / nx[..., None], y / ny[..., None]
    # Kahan's formula: accurate for angles near 0 and near π alike
    theta = 2 * jnp.arctan2(jnp.linalg.norm(ex - ey, axis=-1), jnp.linalg.norm(ex + ey, axis=-1))
    inputs = jnp.linalg.norm(x - y, axis=-1)
    one_minus_kappa1 = 2 * jnp.sin(theta / 2) ** 2 - (jnp.sin(theta) - theta * jnp.cos(theta)) / jnp.pi
    phi1_squared = (nx - ny) ** 2 + 2 * nx * ny * one_minus_kappa1
    phi_squared = inputs**2 + 2 * jnp.sum(x * y, axis=-1) * theta / jnp.pi + phi1_squared
    return FeatureDistances(inputs, jnp.sqrt(2 * theta / jnp.pi), jnp.sqrt(phi1_squared), jnp.sqrt(phi_squared))


def phi0_bound(x: Num[Array, "*b d"], y: Num[Array, "*b d"], *, as_printed: bool = False) -> Float[Array, "*b"]:
    """Part 2 of Proposition 4: a bound on ‖φ0(x) − φ0(y)‖ for inputs of any norm.

    Corrected: √(‖x − y‖ / min(‖x‖, ‖y‖)). As the lecture was transcribed: √(1 / min(‖x‖, ‖y‖)) ‖x − y‖.

    Args:
        x: First inputs, shape (…, d), non-zero.
        y: Second inputs, the same shape, non-zero.
        as_printed: The transcribed formula, which fails, in place of the corrected one.

    Returns:
        The bound, pair by pair, shape (…).

    Example:
        >>> import jax.numpy as jnp
        >>> float(phi0_bound(jnp.asarray([1.0, 0.0]), jnp.asarray([1.0, 0.01])))  # doctest: +ELLIPSIS
        0.1...

    Source: lecture, Proposition 4 (its root as in the next); bietti2019inductive, Proposition 4; book, chapter 3 (corrected).
    """
    x, y = validation.floats(x), validation.floats(y)
    distance = jnp.linalg.norm(x - y, axis=-1)
    smaller = jnp.minimum(jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1))
    return distance / jnp.sqrt(smaller) if as_printed else jnp.sqrt(distance / smaller)


def phi_bound(x: Num[Array, "*b d"], y: Num[Array, "*b d"], *, as_printed: bool = False) -> Float[Array, "*b"]:
    """Part 3 of Proposition 4: a bound on ‖Φ(x) − Φ(y)‖ for inputs of any norm.

    Corrected: √(min(‖x‖, ‖y‖) ‖x − y‖) + 2‖x − y‖. As the lecture was transcribed: √min(‖x‖, ‖y‖) ‖x − y‖ + 2‖x − y‖.

    Args:
        x: First inputs, shape (…, d), non-zero.
        y: Second inputs, the same shape, non-zero.
        as_printed: The transcribed formula, which fails, in place of the corrected one.

    Returns:
        The bound, pair by pair, shape (…).

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(phi_bound(jnp.asarray([1.0, 0.0]), jnp.asarray([0.0, 1.0]))), 3)
        4.018

    Source: lecture, Proposition 4 (its root as in the next); bietti2019inductive, Proposition 4; book, chapter 3 (corrected).
    """
    x, y = validation.floats(x), validation.floats(y)
    distance = jnp.linalg.norm(x - y, axis=-1)
    smaller = jnp.minimum(jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1))
    first = jnp.sqrt(smaller) * distance if as_printed else jnp.sqrt(smaller * distance)
    return first + 2 * distance


def activation_moments(activation: Any) -> tuple[float, float, float]:
    """The moments γ_j = E[(σ⁽ʲ⁾(u))²], u ~ N(0, 1), j = 0, 1, 2, by quadrature in float64, to 1e-9.

    Args:
        activation: A smooth σ, whatever `activations.resolve` accepts.

    Returns:
        γ0, γ1, γ2.

    Raises:
        ValueError: If σ has a kink or a jump, overflows, or changes faster than is resolved.

    Example:
        >>> import jax.numpy as jnp
        >>> [round(g, 3) for g in activation_moments(lambda u: jnp.exp(u - 1))]
        [1.0, 1.0, 1.0]

    Source: lecture, Proposition 9; bietti2019inductive, Proposition 9.
    """
    resolved = resolve(activation)
    slope = derivative_of(resolved.phi)
    functions = resolved.phi, slope, derivative_of(slope)
    with in_precision_of(np.float64):
        found, good = norms(lambda z: [f(z) for f in functions], ((0, 1), (1, 2)), jnp.ones(1))
    if not good.all():
        raise ValueError(
            f"expected an activation with two derivatives that are integrated at unit variance, got {resolved.name}: it "
            "has a kink or a jump, overflows, or changes faster than is resolved"
        )
    gamma0, gamma1, gamma2 = found[:, 0].tolist()
    return gamma0, gamma1, gamma2


def lipschitz_constant(gamma0: float, gamma1: float, gamma2: float) -> float:
    """The Lipschitz constant of Proposition 9, of the feature map of K_σ on the sphere.

    √((γ0 + γ1) max(1, (2γ1 + γ2)/(γ0 + γ1))).

    Args:
        gamma0: Moment γ0 = E[σ²], positive.
        gamma1: Moment γ1 = E[σ'²].
        gamma2: Moment γ2 = E[σ''²].

    Returns:
        The constant.

    Example:
        >>> round(lipschitz_constant(1.0, 1.0, 1.0) ** 2, 6)
        3.0

    Source: lecture, Proposition 9; bietti2019inductive, Proposition 9.
    """
    total = gamma0 + gamma1
    return float(np.sqrt(total * max(1.0, (2 * gamma1 + gamma2) / total)))


def sharp_lipschitz_constant(gamma1: float, gamma2: float) -> float:
    """The smallest Lipschitz constant of the feature map of K_σ on the sphere, √(2γ1 + γ2).

    ‖Φ(x) − Φ(y)‖²/‖x − y‖² = (k(1) − k(u))/(1 − u) for a dot-product kernel k with Taylor coefficients ≥ 0; it is
    largest as u → 1, where it tends to k'(1) = 2γ1 + γ2. The maximum with 1 in Proposition 9 is not needed.

    Args:
        gamma1: Moment γ1 = E[σ'²].
        gamma2: Moment γ2 = E[σ''²].

    Returns:
        The constant.

    Example:
        >>> round(sharp_lipschitz_constant(1.0, 1.0) ** 2, 6)
        3.0

    Source: book, chapter 3.
    """
    return float(np.sqrt(2 * gamma1 + gamma2))
