"""How smooth the features of tangent kernels are: distances after each feature map, bounds, Lipschitz constants."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from snn_ntk._gaussian import gauss_hermite_rule

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
    """Distances of two inputs after each feature map; every field has the shape of the batch of pairs."""

    inputs: Array
    phi0: Array
    phi1: Array
    phi: Array


def feature_distances(x: Float[Array, "*b d"], y: Float[Array, "*b d"]) -> FeatureDistances:
    """Distances ‖x − y‖, ‖φ₀(x) − φ₀(y)‖, ‖φ₁(x) − φ₁(y)‖ and ‖Φ(x) − Φ(y)‖, Φ = (φ₀ ⊗ x, φ₁), exactly.

    With θ the angle: ‖φ₀(x) − φ₀(y)‖² = 2θ/π and ‖Φ(x) − Φ(y)‖² = ‖x − y‖² + 2⟨x, y⟩θ/π + ‖φ₁(x) − φ₁(y)‖².
    Written through the angle, not through 1 − κ(u), so that nothing cancels for close points.

    Args:
        x: first inputs, non-zero.
        y: second inputs, non-zero.

    Returns:
        The four distances.

    Example:
        >>> import jax.numpy as jnp
        >>> d = feature_distances(jnp.asarray([1.0, 0.0]), jnp.asarray([0.0, 1.0]))
        >>> round(float(d.phi0), 4)
        1.0

    Source: the lecture's slides "Feature Maps" and "Smoothness"; Bietti and Mairal (2019), Section 3.1.
    """
    nx, ny = jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1)
    ex, ey = x / nx[..., None], y / ny[..., None]
    # Kahan's formula: accurate for angles near 0 and near π alike
    theta = 2 * jnp.arctan2(jnp.linalg.norm(ex - ey, axis=-1), jnp.linalg.norm(ex + ey, axis=-1))
    inputs = jnp.linalg.norm(x - y, axis=-1)
    one_minus_kappa1 = 2 * jnp.sin(theta / 2) ** 2 - (jnp.sin(theta) - theta * jnp.cos(theta)) / jnp.pi
    phi1_squared = (nx - ny) ** 2 + 2 * nx * ny * one_minus_kappa1
    phi_squared = inputs**2 + 2 * jnp.sum(x * y, axis=-1) * theta / jnp.pi + phi1_squared
    return FeatureDistances(inputs, jnp.sqrt(2 * theta / jnp.pi), jnp.sqrt(phi1_squared), jnp.sqrt(phi_squared))


def phi0_bound(x: Float[Array, "*b d"], y: Float[Array, "*b d"], *, as_printed: bool = False) -> Float[Array, "*b"]:
    """Proposition 4.2's bound on ‖φ₀(x) − φ₀(y)‖ for inputs of any norm.

    Corrected: √(‖x − y‖ / min(‖x‖, ‖y‖)). As the slide prints it: √(1 / min(‖x‖, ‖y‖)) ‖x − y‖.

    Args:
        x: first inputs, non-zero.
        y: second inputs, non-zero.
        as_printed: the slide's formula, which fails, in place of the corrected one.

    Returns:
        The bound, pair by pair.

    Example:
        >>> import jax.numpy as jnp
        >>> float(phi0_bound(jnp.asarray([1.0, 0.0]), jnp.asarray([1.0, 0.01])))  # doctest: +ELLIPSIS
        0.1...

    Source: the lecture's Proposition 4; Bietti and Mairal (2019), Proposition 4.
    """
    distance = jnp.linalg.norm(x - y, axis=-1)
    smaller = jnp.minimum(jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1))
    return distance / jnp.sqrt(smaller) if as_printed else jnp.sqrt(distance / smaller)


def phi_bound(x: Float[Array, "*b d"], y: Float[Array, "*b d"], *, as_printed: bool = False) -> Float[Array, "*b"]:
    """Proposition 4.3's bound on ‖Φ(x) − Φ(y)‖ for inputs of any norm.

    Corrected: √(min(‖x‖, ‖y‖) ‖x − y‖) + 2‖x − y‖. As the slide prints it: √min(‖x‖, ‖y‖) ‖x − y‖ + 2‖x − y‖.

    Args:
        x: first inputs, non-zero.
        y: second inputs, non-zero.
        as_printed: the slide's formula, which fails, in place of the corrected one.

    Returns:
        The bound, pair by pair.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(phi_bound(jnp.asarray([1.0, 0.0]), jnp.asarray([0.0, 1.0]))), 3)
        4.018

    Source: the lecture's Proposition 4; Bietti and Mairal (2019), Proposition 4.
    """
    distance = jnp.linalg.norm(x - y, axis=-1)
    smaller = jnp.minimum(jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1))
    first = jnp.sqrt(smaller) * distance if as_printed else jnp.sqrt(smaller * distance)
    return first + 2 * distance


def activation_moments(activation: Callable[[Array], Array], *, nodes: int = 100) -> tuple[float, float, float]:
    """The moments γ_j = E[(σ⁽ʲ⁾(u))²], u ~ N(0, 1), j = 0, 1, 2, by Gauss–Hermite quadrature.

    Args:
        activation: a smooth scalar function that JAX can differentiate.
        nodes: number of quadrature nodes.

    Returns:
        γ₀, γ₁, γ₂.

    Example:
        >>> import jax.numpy as jnp
        >>> [round(g, 3) for g in activation_moments(lambda u: jnp.exp(u - 1))]
        [1.0, 1.0, 1.0]

    Source: the lecture's Proposition 9; Bietti and Mairal (2019), Proposition 9.
    """
    u, weights = gauss_hermite_rule(nodes)
    derivatives = [activation, jax.grad(activation), jax.grad(jax.grad(activation))]
    values = [np.asarray(jax.vmap(f)(jnp.asarray(u)), dtype=np.float64) for f in derivatives]
    gamma0, gamma1, gamma2 = (float(weights @ v**2) for v in values)
    return gamma0, gamma1, gamma2


def lipschitz_constant(gamma0: float, gamma1: float, gamma2: float) -> float:
    """Proposition 9's Lipschitz constant of the feature map of K_σ on the sphere.

    √((γ₀ + γ₁) max(1, (2γ₁ + γ₂)/(γ₀ + γ₁))).

    Args:
        gamma0: E[σ²], positive.
        gamma1: E[σ′²].
        gamma2: E[σ″²].

    Returns:
        The constant.

    Example:
        >>> round(lipschitz_constant(1.0, 1.0, 1.0) ** 2, 6)
        3.0

    Source: the lecture's Proposition 9; Bietti and Mairal (2019), Proposition 9.
    """
    total = gamma0 + gamma1
    return float(np.sqrt(total * max(1.0, (2 * gamma1 + gamma2) / total)))


def sharp_lipschitz_constant(gamma1: float, gamma2: float) -> float:
    """The smallest Lipschitz constant of the feature map of K_σ on the sphere, √(2γ₁ + γ₂).

    ‖Φ(x) − Φ(y)‖²/‖x − y‖² = (k(1) − k(u))/(1 − u) for a dot-product kernel k with Taylor coefficients ≥ 0; it is largest
    as u → 1, where it tends to k′(1) = 2γ₁ + γ₂. The maximum with 1 in Proposition 9 is not needed.

    Args:
        gamma1: E[σ′²].
        gamma2: E[σ″²].

    Returns:
        The constant.

    Example:
        >>> round(sharp_lipschitz_constant(1.0, 1.0) ** 2, 6)
        3.0

    Source: derived in the book's chapter 03.
    """
    return float(np.sqrt(2 * gamma1 + gamma2))
