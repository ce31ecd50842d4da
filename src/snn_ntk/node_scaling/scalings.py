"""The scales of hidden nodes: a constant part, a Zipf part, or a mixture of both."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import zeta

from snn_ntk import _validation as validation

__all__ = ["node_scalings", "zipf_second_moment"]


def checked_share(gamma: Any) -> float:
    """γ, a number between 0 and 1."""
    gamma = float(validation.non_negative(gamma, "gamma"))
    if gamma > 1:
        raise ValueError(f"expected gamma between 0 and 1, got {gamma}")
    return gamma


def zipf_masses(j: np.ndarray, alpha: Any) -> np.ndarray:
    """Masses j^(−1/α)/ζ(1/α) of a Zipf law, 0 at j = 0."""
    if alpha is None or not 0 < float(alpha) < 1:
        raise ValueError(f"expected alpha between 0 and 1 for the Zipf part, got {alpha}")
    exponent = 1 / float(alpha)
    return np.where(j > 0, np.maximum(j, 1.0) ** -exponent, 0.0) / zeta(exponent)


def node_scalings(
    m: int, *, gamma: float, alpha: float | None = None, first: int = 1, normalised: bool = True
) -> Float[np.ndarray, " m"]:
    """The scales of m nodes: a constant part, a Zipf part, or a mixture of both.

    λ_j = γ/m + (1 − γ) λ̃_j / Σ_k λ̃_k, λ̃_j = j^(−1/α)/ζ(1/α).

    Args:
        m: Number of nodes.
        gamma: Share γ of the constant part, between 0 and 1.
        alpha: Exponent α of the Zipf law, between 0 and 1; a smaller one is more asymmetric. Not needed for γ = 1.
        first: Number of the first node, 1 in the source. The published runs count from 0, where the Zipf law has no
            mass: their first node has scale γ/m, the second the largest scale, and the mass of number m is missing.
        normalised: Whether to divide the Zipf masses by their sum over the m nodes, so that Σ λ_j = 1. The
            published runs do not: a sum of 1 − (1 − γ) P(more than m) remains, which matters for α near 1 (0.97 at
            α = 0.7, γ = 0, m = 2000).

    Returns:
        Scales λ, shape (m,), float64, in the order of the nodes' numbers.

    Raises:
        ValueError: If γ is not in [0, 1], α not in (0, 1), `m` below 1 or `first` neither 0 nor 1.

    Example:
        >>> node_scalings(4, gamma=0.5, alpha=0.5).round(3).tolist()
        [0.476, 0.213, 0.164, 0.147]
        >>> node_scalings(4, gamma=1.0).tolist()
        [0.25, 0.25, 0.25, 0.25]

    Source: caron2023overparameterised, Eq. 1, Eq. 4.
    """
    m, gamma = validation.positive_integer(m, "m"), checked_share(gamma)
    if first not in (0, 1):
        raise ValueError(f"expected first to be 0 or 1, got {first}")
    constant = np.full(m, gamma / m)
    if gamma == 1:
        return constant
    masses = zipf_masses(np.arange(first, first + m), alpha)
    if normalised:
        if not masses.sum():
            raise ValueError("expected a node with Zipf mass, got m = 1 counted from 0")
        masses = masses / masses.sum()
    return constant + (1 - gamma) * masses


def zipf_second_moment(alpha: float) -> float:
    """Σ_j λ̃_j² of a Zipf law: how far from the kernel regime its network is.

    Σ_j λ̃_j² = ζ(2/α) / ζ(1/α)².

    Args:
        alpha: Exponent α of the Zipf law, between 0 and 1.

    Returns:
        The sum, between 0 (α → 1) and 1 (α → 0).

    Raises:
        ValueError: If α is not in (0, 1).

    Example:
        >>> round(zipf_second_moment(0.5), 4)
        0.4

    Source: caron2023overparameterised, Section 3.2, Figure 5.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"expected alpha between 0 and 1, got {alpha}")
    return float(zeta(2 / alpha) / zeta(1 / alpha) ** 2)
