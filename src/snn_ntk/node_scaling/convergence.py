"""Theorems 4.1 and 4.2 on asymmetrical node scaling, with every constant derived and none set to one.

The network is f(x) = Σ_j √λ_j a_j σ(w_jᵀx/√d), w_j ~ N(0, I) trained, a_j = ±1 fixed, Σ_j λ_j = 1 and
λ_j = γ/m + (1 − γ) λ^(2)_j; the loss is ½ ‖r‖², r = f(X) − y, and its Gram matrix

    Θ = Σ_j λ_j M_j,   M_j = (1/d) D_j X Xᵀ D_j,   D_j = diag σ'(X w_j/√d),   E M_j = Θ̄,   κ_n = λ_min(Θ̄).

The idea of both: Θ ≥ Θ^(1) = (γ/m) Σ_j M_j, the part of the symmetrical scaling, which concentrates and does not move
however far single nodes go. Proofs are in the book's chapter 13.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from snn_ntk.activations.constants import ActivationConstants, constants_of
from snn_ntk.node_scaling.movement import check_promise, checked_data, checked_masses, proposition_c1_width

__all__ = ["Convergence", "theorem41", "theorem41_width", "theorem42", "theorem42_width"]

# λ_min(Θ^(1)(0)) ≥ γκ_n/2 stays above γκ_n/4 while the Jacobian behind it moves by less than η √(γκ_n), because
# singular values are 1-Lipschitz: η = √(1/2) − √(1/4).
_ETA = math.sqrt(1 / 2) - 1 / 2


class Convergence(NamedTuple):
    """What Theorems 4.1 and 4.2 promise, with the constants of one data set.

    Attributes:
        rate: The c of L(t) ≤ exp(−c t) L(0), γκ_n/2.
        eigenvalue: Lower bound of λ_min(Θ(t)), γκ_n/4.
        movement: Upper bounds of ‖w_j(t) − w_j(0)‖, shape (m,), float64.
        kernel_change: Upper bound of ‖Θ(t) − Θ(0)‖, spectral norm.
        applies: Whether these masses and this width satisfy what the theorem asks for.
    """

    rate: float
    eigenvalue: float
    movement: np.ndarray
    kernel_change: float
    applies: bool


def _with_symmetrical_part(lambdas: Any, gamma: float) -> np.ndarray:
    """Masses, checked: the proofs hold on to γ/m of each node."""
    lambdas = checked_masses(lambdas)
    if (least := float(lambdas.min())) < (1 - 1e-5) * gamma / len(lambdas):
        raise ValueError(f"expected masses of at least γ/m = {gamma / len(lambdas):.4g} each, got one of {least:.4g}")
    return lambdas


def _radius(x: np.ndarray, norm: float, residual: float, gamma: float, kappa_n: float, L: float) -> float:
    """The R of ‖w_j(t) − w_j(0)‖ ≤ R √λ_j."""
    return 4 * L * norm * residual / (math.sqrt(x.shape[1]) * gamma * kappa_n)


def _convergence(
    x: np.ndarray, lambdas: np.ndarray, norm: float, *, radius: float, gamma: float, kappa_n: float, L: float,
    first: float, whole: float, delta: float,
) -> Convergence:  # fmt: skip
    """The promise, given the squared norms that the Jacobians of Θ^(1) (`first`) and Θ (`whole`) can have moved by."""
    limit = L * norm / math.sqrt(x.shape[1])  # ‖Jacobian(0)‖, as Σλ = 1
    width = proposition_c1_width(x, kappa_n=kappa_n, delta=delta, L=L)
    return Convergence(
        rate=gamma * kappa_n / 2,
        eigenvalue=gamma * kappa_n / 4,
        movement=np.sqrt(lambdas) * radius,
        kernel_change=whole + 2 * math.sqrt(whole) * limit,
        applies=len(lambdas) >= width and first < _ETA**2 * gamma * kappa_n,
    )


def _flips(reach: float, squares: float, delta: float) -> float:
    """What the masses of the nodes whose derivative may flip at one input sum to, but for a probability δ.

    A node may flip with probability at most √(2/π) times its reach, independently of the others.
    """
    mean = math.sqrt(2 / math.pi) * reach
    return min(mean / delta, mean + math.sqrt(squares * math.log(1 / delta) / 2))


def theorem41(
    x: Float[Array | np.ndarray, "n d"],
    lambdas: Float[Array | np.ndarray, " m"],
    *,
    gamma: float,
    kappa_n: float,
    residual: float,
    delta: float,
) -> Convergence:
    """Theorem 4.1 (ReLU): four bounds on the flow at these masses, all at once with probability 1 − δ if it applies.

    With R = 4‖X‖ρ/(√d γκ_n), ρ the bound on ‖y − f_0‖, and masses μ_j = γ/m for Θ^(1), μ_j = λ_j for Θ, the squared
    movement of the Jacobian is at most Δ² = (‖X‖_F²/d) · min{(4/δ) p, p + √(Σ_j μ_j² log(4/δ)/2)},
    p = √(2/π) R Σ_j μ_j √λ_j (Markov's inequality as in the source, or Hoeffding's). It applies if
    m ≥ `proposition_c1_width` at δ/4 and Δ_1 < (√½ − ½) √(γκ_n); then ‖Θ(t) − Θ(0)‖ ≤ Δ² + 2Δ‖X‖/√d.

    Args:
        x: Inputs, shape (n, d), no row zero.
        lambdas: Masses λ, shape (m,), at least γ/m each, with sum 1.
        gamma: Share γ > 0 of the symmetrical scaling.
        kappa_n: κ_n, smallest eigenvalue of the mean Gram matrix `mean_gram`.
        residual: Bound ρ on ‖y − f_0‖, from `residual_bound` at δ/4 (or the residual itself, if it is not to count
            towards δ).
        delta: Probability of failure.

    Returns:
        The promise, a `Convergence`.

    Raises:
        DegenerateKernelError: If κ_n is not positive and finite.
        ValueError: If γ, δ or the residual is out of range, the masses do not sum to 1, one is below γ/m, or an input is
            zero.

    Example:
        >>> import numpy as np
        >>> bounds = theorem41(np.eye(3), np.full(100, 0.01), gamma=1.0, kappa_n=1 / 12, residual=1.0, delta=0.1)
        >>> bounds.applies, round(bounds.rate, 4)
        (False, 0.0417)

    Source: caron2023overparameterised, Theorem 4.1, Eq. 14, Lemma D.2, Lemma D.3 (with smaller constants); book,
        chapter 13.
    """
    check_promise(gamma, kappa_n, delta, residual)
    x, norm, frobenius, _ = checked_data(x)
    lambdas = _with_symmetrical_part(lambdas, gamma)
    m, radius = len(lambdas), _radius(x, norm, residual, gamma, kappa_n, 1.0)
    energy = frobenius**2 / x.shape[1]
    first = energy * _flips(radius * gamma * float(np.mean(np.sqrt(lambdas))), gamma**2 / m, delta / 4)
    whole = energy * _flips(radius * float(np.sum(lambdas**1.5)), float(np.sum(lambdas**2)), delta / 4)
    return _convergence(
        x, lambdas, norm, radius=radius, gamma=gamma, kappa_n=kappa_n, L=1.0, first=first, whole=whole, delta=delta / 4
    )


def theorem41_width(
    x: Float[Array | np.ndarray, "n d"], *, gamma: float, kappa_n: float, residual: float, delta: float
) -> float:
    """The width from which on Theorem 4.1 applies, whatever the asymmetrical part of the masses.

    Since Σ_j √λ_j ≤ √m, Δ_1² ≤ (γ‖X‖_F²/(d√m)) h with h = min{(4/δ) √(2/π) R, √(2/π) R + √(log(4/δ)/2)}, and
    m = max{8‖X‖² log(4n/δ)/(dκ_n), [‖X‖_F² h/((√½ − ½)² d κ_n)]²}: with the residual's Markov bound, of order
    n⁴/(d³ γ² κ_n⁴ δ) at worst.

    Args:
        x: Inputs, shape (n, d), no row zero.
        gamma: Share γ > 0 of the symmetrical scaling.
        kappa_n: κ_n, smallest eigenvalue of the mean Gram matrix `mean_gram`.
        residual: Bound ρ on ‖y − f_0‖, as in `theorem41`.
        delta: Probability of failure.

    Returns:
        The width, a float.

    Raises:
        DegenerateKernelError: If κ_n is not positive and finite.
        ValueError: If γ, δ or the residual is out of range or an input is zero.

    Example:
        >>> import numpy as np
        >>> width = theorem41_width(np.eye(1), gamma=1.0, kappa_n=0.5, residual=0.1, delta=0.5)
        >>> m = int(width) + 1
        >>> theorem41(np.eye(1), np.full(m, 1 / m), gamma=1.0, kappa_n=0.5, residual=0.1, delta=0.5).applies
        True

    Source: caron2023overparameterised, Theorem 4.1 (with smaller constants and less dependence on δ); book, chapter 13.
    """
    check_promise(gamma, kappa_n, delta, residual)
    x, norm, frobenius, _ = checked_data(x)
    flips = frobenius**2 / x.shape[1] * _flips(_radius(x, norm, residual, gamma, kappa_n, 1.0), 1.0, delta / 4)
    # A hair above equality, because the theorem asks for strict inequality.
    return max(proposition_c1_width(x, kappa_n=kappa_n, delta=delta / 4), 1.000001 * (flips / (_ETA**2 * kappa_n)) ** 2)


def theorem42(
    x: Float[Array | np.ndarray, "n d"],
    lambdas: Float[Array | np.ndarray, " m"],
    *,
    gamma: float,
    kappa_n: float,
    residual: float,
    delta: float,
    constants: ActivationConstants | str,
) -> Convergence:
    """Theorem 4.2 (smooth σ): four bounds on the flow at these masses, with probability 1 − δ if it applies.

    With R = 4L‖X‖ρ/(√d γκ_n) and B = β‖X‖ max‖x_i‖ R/d: the Jacobians of Θ^(1) and Θ move by at most
    Δ_1² = B² Σ_j (γ/m) λ_j = B² γ/m and Δ² = B² Σ_j λ_j², and nothing in this is random.

    Args:
        x: Inputs, shape (n, d), no row zero.
        lambdas: Masses λ, shape (m,), at least γ/m each, with sum 1.
        gamma: Share γ > 0 of the symmetrical scaling.
        kappa_n: κ_n, smallest eigenvalue of the mean Gram matrix `mean_gram`.
        residual: Bound ρ on ‖y − f_0‖, from `residual_bound` at δ/2 (or the residual itself, if it is not to count
            towards δ).
        delta: Probability of failure.
        constants: The activation's L = sup |σ'| and β = sup |σ''|, or its name in `activations.ACTIVATION_CONSTANTS`.

    Returns:
        The promise, a `Convergence`.

    Raises:
        DegenerateKernelError: If κ_n is not positive and finite.
        ValueError: If γ, δ or the residual is out of range, the masses do not sum to 1, one is below γ/m, an input is
            zero or the activation unknown.

    Example:
        >>> import numpy as np
        >>> masses = np.full(10**6, 1e-6)
        >>> bounds = theorem42(
        ...     np.eye(3), masses, gamma=1.0, kappa_n=0.2, residual=1.0, delta=0.1, constants="tanh"
        ... )
        >>> bounds.applies, bounds.kernel_change < 0.02
        (True, True)

    Source: caron2023overparameterised, Theorem 4.2, Eq. 14, Lemma D.4, Lemma D.5 (with smaller constants); book,
        chapter 13.
    """
    check_promise(gamma, kappa_n, delta, residual)
    x, norm, _, longest = checked_data(x)
    lambdas, c = _with_symmetrical_part(lambdas, gamma), constants_of(constants)
    radius = _radius(x, norm, residual, gamma, kappa_n, c.L)
    b = c.beta * norm * longest * radius / x.shape[1]
    first, whole = b**2 * gamma / len(lambdas), b**2 * float(np.sum(lambdas**2))
    return _convergence(
        x, lambdas, norm, radius=radius, gamma=gamma, kappa_n=kappa_n, L=c.L, first=first, whole=whole, delta=delta / 2
    )


def theorem42_width(
    x: Float[Array | np.ndarray, "n d"],
    *,
    gamma: float,
    kappa_n: float,
    residual: float,
    delta: float,
    constants: ActivationConstants | str,
) -> float:
    """The width from which on Theorem 4.2 applies, whatever the asymmetrical part of the masses.

    m = max{8L²‖X‖² log(2n/δ)/(dκ_n), (B/(√½ − ½))²/κ_n}, of order n³/(d³ γ² κ_n³ δ) at worst.

    Args:
        x: Inputs, shape (n, d), no row zero.
        gamma: Share γ > 0 of the symmetrical scaling.
        kappa_n: κ_n, smallest eigenvalue of the mean Gram matrix `mean_gram`.
        residual: Bound ρ on ‖y − f_0‖, as in `theorem42`.
        delta: Probability of failure.
        constants: As in `theorem42`.

    Returns:
        The width, a float.

    Raises:
        DegenerateKernelError: If κ_n is not positive and finite.
        ValueError: If γ, δ or the residual is out of range, an input is zero or the activation unknown.

    Example:
        >>> import numpy as np
        >>> round(theorem42_width(np.eye(3), gamma=1.0, kappa_n=0.2, residual=1.0, delta=0.1, constants="tanh"))
        1023

    Source: caron2023overparameterised, Theorem 4.2 (with smaller constants); book, chapter 13.
    """
    check_promise(gamma, kappa_n, delta, residual)
    x, norm, _, longest = checked_data(x)
    c = constants_of(constants)
    b = c.beta * norm * longest * _radius(x, norm, residual, gamma, kappa_n, c.L) / x.shape[1]
    start = proposition_c1_width(x, kappa_n=kappa_n, delta=delta / 2, L=c.L)
    return max(start, 1.000001 * (b / _ETA) ** 2 / kappa_n)
