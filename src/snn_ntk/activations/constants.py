"""Suprema of activations and their derivatives: the constants of the convergence theorems."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["ACTIVATION_CONSTANTS", "ActivationConstants"]


class ActivationConstants(NamedTuple):
    """Suprema of an activation and of its first two derivatives.

    Attributes:
        B: Supremum of |φ|.
        L: Supremum of |φ'|; the paper's L bounds σ' and ψ' one by one, so that |φ'| ≤ its L².
        beta: Supremum of |φ''|; of the kind of the paper's smoothness constant β, not the weight of the KL term.

    Source: wang2024vae, Assumption 4.2 (and boundedness); book, chapter 6.
    """

    B: float
    L: float
    beta: float


ACTIVATION_CONSTANTS = {
    # φ' = 2 exp(-z²)/√π; |φ''| = 4 |z| exp(-z²)/√π peaks at z = 1/√2.
    "erf": ActivationConstants(1.0, 2 / math.sqrt(math.pi), 4 / math.sqrt(2 * math.pi * math.e)),
    # |φ''| = 2 |tanh| (1 - tanh²) peaks where tanh² = 1/3.
    "tanh": ActivationConstants(1.0, 1.0, 4 / (3 * math.sqrt(3))),
    "sin": ActivationConstants(1.0, 1.0, 1.0),
}


def constants_of(activation: ActivationConstants | str) -> ActivationConstants:
    """The constants themselves, or those of an activation in `ACTIVATION_CONSTANTS` by its name.

    Args:
        activation: `ActivationConstants` or a name.

    Returns:
        The constants.

    Raises:
        ValueError: If there is no such name.

    Example:
        >>> constants_of("tanh").L
        1.0
    """
    if isinstance(activation, ActivationConstants):
        return activation
    if activation not in ACTIVATION_CONSTANTS:
        raise ValueError(f"expected one of {sorted(ACTIVATION_CONSTANTS)} or ActivationConstants, got {activation!r}")
    return ACTIVATION_CONSTANTS[activation]
