"""Suprema of activations and their derivatives: the constants of the convergence theorems."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["ACTIVATION_CONSTANTS", "ActivationConstants"]


class ActivationConstants(NamedTuple):
    """Suprema of an activation and of its first two derivatives (Assumption 4.2, and boundedness).

    Attributes:
        B: sup of abs(phi).
        L: sup of abs(phi'), the paper's Lipschitz constant L.
        beta: sup of abs(phi''), the paper's smoothness constant (not the weight of the KL term, which shares its letter).
    """

    B: float
    L: float
    beta: float


ACTIVATION_CONSTANTS = {
    # phi' = 2 exp(-x^2) / sqrt(pi); |phi''| = 4 |x| exp(-x^2) / sqrt(pi) peaks at x = 1/sqrt(2).
    "erf": ActivationConstants(1.0, 2 / math.sqrt(math.pi), 4 / math.sqrt(2 * math.pi * math.e)),
    # phi'' = -2 tanh (1 - tanh^2) peaks where tanh^2 = 1/3.
    "tanh": ActivationConstants(1.0, 1.0, 4 / (3 * math.sqrt(3))),
    "sin": ActivationConstants(1.0, 1.0, 1.0),
}


def constants_of(activation: ActivationConstants | str) -> ActivationConstants:
    """The constants themselves, or those of an activation in `ACTIVATION_CONSTANTS` by its name.

    Raises:
        ValueError: on another name.
    """
    if isinstance(activation, ActivationConstants):
        return activation
    if activation not in ACTIVATION_CONSTANTS:
        raise ValueError(f"expected one of {sorted(ACTIVATION_CONSTANTS)} or ActivationConstants, got {activation!r}")
    return ACTIVATION_CONSTANTS[activation]
