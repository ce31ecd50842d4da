"""What Theorems 4.1 and 4.2 stand on: the first residual, the smallest eigenvalue at the start, the nodes' movement."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from snn_ntk import _validation as validation
from snn_ntk._precision import in_precision_of
from snn_ntk.activations.refusal import check_smoothing
from snn_ntk.activations.resolution import resolve
from snn_ntk.paper.settings import DegenerateKernelError

__all__ = ["lemma_d1", "proposition_c1_width", "residual_bound"]


def checked_data(x: Float[Array | np.ndarray, "n d"]) -> tuple[np.ndarray, float, float, float]:
    """The inputs with their spectral norm, Frobenius norm and longest row."""
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or not np.isfinite(x).all() or not (x != 0).any(axis=1).all():
        raise ValueError(f"expected finite, non-zero rows of shape (n, d), got shape {x.shape}")
    return x, float(np.linalg.norm(x, 2)), float(np.linalg.norm(x)), float(np.linalg.norm(x, axis=1).max())


def check_promise(gamma: float, kappa_n: float, delta: float, residual: float = 0.0) -> None:
    if not 0 < gamma <= 1:
        raise ValueError(f"expected 0 < gamma <= 1 (the theorem says nothing at gamma = 0), got {gamma}")
    if not 0 < kappa_n < math.inf:
        raise DegenerateKernelError(f"expected a finite kappa_n > 0 (Proposition 3.1), got {kappa_n}")
    if not 0 < delta < 1:
        raise ValueError(f"expected 0 < delta < 1, got {delta}")
    validation.non_negative(residual, "residual")


def checked_masses(lambdas: Float[Array | np.ndarray, " m"]) -> np.ndarray:
    lambdas = np.asarray(lambdas, np.float64)
    if lambdas.ndim != 1 or (lambdas < 0).any() or not math.isclose(lambdas.sum(), 1, rel_tol=1e-4):
        raise ValueError(
            f"expected non-negative masses (m,) with sum 1, got shape {lambdas.shape}, sum {lambdas.sum()}"
        )
    return lambdas


def second_moments(activation: Any, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E σ(cz)² and E σ(cz) σ'(cz), half the first one's derivative in the mean, for every c in `scales`, in float64."""
    activation = resolve(activation)
    with in_precision_of(np.float64):
        s = jnp.asarray(scales, np.float64)
        mean = jnp.zeros_like(s)
        square, twice = jax.jvp(lambda u: activation.second_moment(u, s), (mean,), (jnp.ones_like(s),))
        check_smoothing(activation, mean, s, square, twice)
    return np.asarray(square), np.asarray(twice) / 2


def residual_bound(x: Float[Array | np.ndarray, "n d"], y: Any, *, activation: Any, delta: float) -> float:
    """A radius that ‖y − f_0‖ exceeds with probability at most δ over the initialisation, by Markov's inequality.

    E‖y − f_0‖² = ‖y‖² + Σ_i E σ(‖x_i‖ z/√d)², exactly and for all masses, because the signs a_j are independent.

    Args:
        x: Inputs, shape (n, d), no row zero.
        y: Targets, shape (n,).
        activation: σ, whatever `activations.resolve` accepts.
        delta: Probability of failure; 1 gives the root mean square itself.

    Returns:
        The radius √(E‖y − f_0‖²/δ).

    Raises:
        ValueError: If δ is outside (0, 1], an input is zero, `y` is not of shape (n,) or not finite, or σ² overflows or
            is not resolved at the variance ‖x_i‖²/d of an input.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> round(residual_bound(np.eye(2), np.ones(2), activation=stax.Relu(), delta=1.0) ** 2, 3)  # 2 + 2 · 1/(2d)
        2.5

    Source: caron2023overparameterised, Appendix E, Appendix F (their last steps); book, chapter 13.
    """
    if not 0 < delta <= 1:
        raise ValueError(f"expected 0 < delta <= 1, got {delta}")
    x, *_ = checked_data(x)
    y = validation.finite(validation.of_shape(y, x.shape[:1], "y"), "y")
    initial, _ = second_moments(activation, np.linalg.norm(x, axis=1) / math.sqrt(x.shape[1]))
    return float(np.sqrt((np.sum(y**2) + initial.sum()) / delta))


def proposition_c1_width(x: Float[Array | np.ndarray, "n d"], *, kappa_n: float, delta: float, L: float = 1.0) -> float:
    """The width from which on λ_min(Θ^(1)(0)) ≥ γκ_n/2 with probability 1 − δ, whatever γ and the other masses.

    m = 8 L² ‖X‖² log(n/δ)/(d κ_n), by the matrix Chernoff inequality: 0 ≤ M_j ≤ L²‖X‖²/d.

    Args:
        x: Inputs, shape (n, d), no row zero.
        kappa_n: κ_n, smallest eigenvalue of the mean Gram matrix `mean_gram`.
        delta: Probability of failure.
        L: L = sup |σ'|.

    Returns:
        The width, a float.

    Raises:
        DegenerateKernelError: If κ_n is not positive.
        ValueError: If δ is outside (0, 1), an input is zero, or L is negative or not finite.

    Example:
        >>> import numpy as np
        >>> round(proposition_c1_width(np.eye(4), kappa_n=0.125, delta=0.1), 2)  # 16 log 40
        59.02

    Source: caron2023overparameterised, Proposition A.1, Proposition C.1; oymak2020moderate, Lemma 4.
    """
    check_promise(1.0, kappa_n, delta)
    validation.non_negative(L, "L")
    x, norm, _, _ = checked_data(x)
    return 8 * (L * norm) ** 2 * math.log(len(x) / delta) / (x.shape[1] * kappa_n)


def lemma_d1(
    x: Float[Array | np.ndarray, "n d"],
    lambdas: Float[Array | np.ndarray, " m"],
    *,
    residual: float,
    eigenvalue: float,
    L: float = 1.0,
) -> np.ndarray:
    """How far each node moves while λ_min(Θ) ≥ ξ: ‖w_j(t) − w_j(0)‖ ≤ √(λ_j/d) L ‖X‖ ‖y − f_0‖/ξ.

    Deterministic: it holds on every trajectory of the flow with that eigenvalue. With ξ = γκ_n/4 it is part (c) of
    Theorems 4.1 and 4.2.

    Args:
        x: Inputs, shape (n, d), no row zero.
        lambdas: Masses λ, shape (m,), with sum 1.
        residual: ‖y − f_0‖, or a bound on it.
        eigenvalue: Lower bound ξ > 0 of λ_min(Θ).
        L: L = sup |σ'|.

    Returns:
        The bounds, shape (m,), float64.

    Raises:
        ValueError: If ξ is not positive, the residual or L negative, either not finite, the masses do not sum to 1 or an
            input is zero.

    Example:
        >>> import numpy as np
        >>> lemma_d1(np.eye(4), np.array([0.5, 0.5]), residual=1.0, eigenvalue=0.1).round(4).tolist()
        [3.5355, 3.5355]

    Source: caron2023overparameterised, Lemma D.1, Eq. 21.
    """
    if not 0 < eigenvalue < math.inf:
        raise ValueError(f"expected a finite eigenvalue > 0, got {eigenvalue}")
    residual, L = validation.non_negative(residual, "residual"), validation.non_negative(L, "L")
    x, norm, _, _ = checked_data(x)
    return np.sqrt(checked_masses(lambdas) / x.shape[1]) * L * norm * residual / eigenvalue
