r"""The theorems on asymmetrical node scaling with every constant derived: convergence, movement, and the first step.

The network is f(x) = Σ_j √λ_j a_j σ(w_jᵀx/√d), w_j ~ N(0, I) trained, a_j = ±1 fixed, Σ_j λ_j = 1 and
λ_j = γ/m + (1 − γ) λ^(2)_j; the loss is ½ ‖r‖², r = f(X) − y, and its Gram matrix

    Θ = Σ_j λ_j M_j,   M_j = (1/d) D_j X Xᵀ D_j,   D_j = diag σ'(X w_j/√d),   E M_j = Θ̄,   κ_n = λ_min(Θ̄).

The idea of all of them: Θ ≥ Θ^(1) = (γ/m) Σ_j M_j, the part of the symmetrical scaling, which concentrates and does not move
however far single nodes go. Proofs are in the book's chapter *Asymmetrical node scaling*; no constant is set to one.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from snn_ntk.bounds import ACTIVATION_CONSTANTS, ActivationConstants, DegenerateKernelError
from snn_ntk.duals import dual, dual_derivatives, resolve

__all__ = [
    "Convergence",
    "lemma_d1",
    "proposition_c1_width",
    "residual_bound",
    "theorem41",
    "theorem41_width",
    "theorem42",
    "theorem42_width",
    "theorem51_mean",
    "theorem51_size",
    "theorem52",
]

# λ_min(Θ^(1)(0)) ≥ γκ/2 stays above γκ/4 while the Jacobian behind it moves by less than ETA √(γκ), because singular
# values are 1-Lipschitz: ETA = √(1/2) − √(1/4).
_ETA = math.sqrt(1 / 2) - 1 / 2


class Convergence(NamedTuple):
    """What Theorems 4.1 and 4.2 promise, with the constants of one data set.

    Attributes:
        rate: c with L(t) ≤ exp(−c t) L(0), that is γκ_n/2.
        eigenvalue: lower bound of λ_min(Θ(t)), γκ_n/4.
        movement: (m,) upper bounds of ‖w_j(t) − w_j(0)‖.
        kernel_change: upper bound of ‖Θ(t) − Θ(0)‖₂.
        applies: whether these masses and this width satisfy what the theorem asks for.
    """

    rate: float
    eigenvalue: float
    movement: np.ndarray
    kernel_change: float
    applies: bool


def _data(x: Float[Array | np.ndarray, "n d"]) -> tuple[np.ndarray, float, float, float]:
    """The inputs with their spectral norm, Frobenius norm and longest row."""
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or not np.isfinite(x).all() or not (x != 0).any(axis=1).all():
        raise ValueError(f"expected finite, non-zero rows of shape (n, d), got shape {x.shape}")
    return x, float(np.linalg.norm(x, 2)), float(np.linalg.norm(x)), float(np.linalg.norm(x, axis=1).max())


def _check(gamma: float, kappa: float, delta: float) -> None:
    if not 0 < gamma <= 1:
        raise ValueError(f"expected 0 < gamma <= 1 (the theorem says nothing at gamma = 0), got {gamma}")
    if not kappa > 0:
        raise DegenerateKernelError(f"expected kappa > 0 (Proposition 3.1), got {kappa}")
    if not 0 < delta < 1:
        raise ValueError(f"expected 0 < delta < 1, got {delta}")


def _masses(lambdas: Float[Array | np.ndarray, " m"]) -> np.ndarray:
    lambdas = np.asarray(lambdas, np.float64)
    if lambdas.ndim != 1 or (lambdas < 0).any() or not math.isclose(lambdas.sum(), 1, rel_tol=1e-4):
        raise ValueError(
            f"expected non-negative masses (m,) with sum 1, got shape {lambdas.shape}, sum {lambdas.sum()}"
        )
    return lambdas


def _constants(constants: ActivationConstants | str) -> ActivationConstants:
    if isinstance(constants, ActivationConstants):
        return constants
    if constants not in ACTIVATION_CONSTANTS:
        raise ValueError(f"expected one of {sorted(ACTIVATION_CONSTANTS)} or ActivationConstants, got {constants!r}")
    return ACTIVATION_CONSTANTS[constants]


# --- on one Gaussian: E over z ~ N(0, 1) by the trapezoidal rule, which also does justice to a kink at 0 --------------

_NODES = np.arange(-2400, 2401) / 240.0
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


def _slope(phi: Any) -> Any:
    return lambda z: jax.jvp(phi, (z,), (jnp.ones_like(z),))[1]


def _expect(function: Any, scales: np.ndarray) -> np.ndarray:
    """E function(c z) for every c in `scales`."""
    values = function(jnp.asarray(scales[:, None] * _NODES))
    return np.asarray(values, np.float64) @ _WEIGHTS


def residual_bound(x: Float[Array | np.ndarray, "n d"], y: Any, *, activation: Any, delta: float) -> float:
    r"""A radius that ‖y − f_0‖ exceeds with probability at most δ over the initialisation, by Markov's inequality.

    E‖y − f_0‖² = ‖y‖² + Σ_i E σ(‖x_i‖ z/√d)², exactly and for all masses, because the signs a_j are independent.

    Args:
        x: (n, d) inputs.
        y: (n,) targets.
        activation: σ, what `duals.resolve` accepts.
        delta: Probability of failure; 1 gives the root mean square itself.

    Returns:
        √(E‖y − f_0‖²/δ).

    Raises:
        ValueError: If δ is outside (0, 1] or an input is zero.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> round(residual_bound(np.eye(2), np.ones(2), activation=stax.Relu(), delta=1.0) ** 2, 3)  # 2 + 2 · 1/(2d)
        2.5

    Source:
        Appendices E and F of the asymmetrical-scaling paper, their last step.
    """
    if not 0 < delta <= 1:
        raise ValueError(f"expected 0 < delta <= 1, got {delta}")
    x, *_ = _data(x)
    phi = resolve(activation).phi
    initial = _expect(lambda z: phi(z) ** 2, np.linalg.norm(x, axis=1) / math.sqrt(x.shape[1])).sum()
    return float(np.sqrt((np.sum(np.asarray(y, np.float64) ** 2) + initial) / delta))


def proposition_c1_width(x: Float[Array | np.ndarray, "n d"], *, kappa: float, delta: float, L: float = 1.0) -> float:
    r"""The width from which on λ_min(Θ^(1)(0)) ≥ γκ_n/2 with probability 1 − δ, whatever γ and the other masses.

    m = 8 L² ‖X‖² log(n/δ)/(d κ_n), by the matrix Chernoff inequality: 0 ≤ M_j ≤ L²‖X‖²/d.

    Args:
        x: (n, d) inputs.
        kappa: κ_n, smallest eigenvalue of the mean Gram matrix.
        delta: Probability of failure.
        L: sup |σ'|.

    Returns:
        The width.

    Raises:
        DegenerateKernelError: If κ_n is not positive.
        ValueError: If δ is outside (0, 1) or an input is zero.

    Example:
        >>> import numpy as np
        >>> round(proposition_c1_width(np.eye(4), kappa=0.125, delta=0.1), 2)  # 16 log 40
        59.02

    Source:
        The asymmetrical-scaling paper, Proposition C.1, after Oymak and Soltanolkotabi (2020), Lemma 4.
    """
    _check(1.0, kappa, delta)
    x, norm, _, _ = _data(x)
    return 8 * (L * norm) ** 2 * math.log(len(x) / delta) / (x.shape[1] * kappa)


def lemma_d1(
    x: Float[Array | np.ndarray, "n d"],
    lambdas: Float[Array | np.ndarray, " m"],
    *,
    residual: float,
    eigenvalue: float,
    L: float = 1.0,
) -> np.ndarray:
    r"""How far each node moves while λ_min(Θ) ≥ ξ: ‖w_j(t) − w_j(0)‖ ≤ √(λ_j/d) L ‖X‖ ‖y − f_0‖/ξ.

    Deterministic: it holds on every trajectory of the flow with that eigenvalue. With ξ = γκ_n/4 it is part (c) of
    Theorems 4.1 and 4.2.

    Args:
        x: (n, d) inputs.
        lambdas: (m,) masses.
        residual: ‖y − f_0‖, or a bound on it.
        eigenvalue: ξ > 0.
        L: sup |σ'|.

    Returns:
        (m,) bounds.

    Raises:
        ValueError: If ξ is not positive, the masses do not sum to 1 or an input is zero.

    Example:
        >>> import numpy as np
        >>> lemma_d1(np.eye(4), np.array([0.5, 0.5]), residual=1.0, eigenvalue=0.1).round(4).tolist()
        [3.5355, 3.5355]

    Source:
        The asymmetrical-scaling paper, Lemma D.1.
    """
    if not eigenvalue > 0:
        raise ValueError(f"expected eigenvalue > 0, got {eigenvalue}")
    x, norm, _, _ = _data(x)
    return np.sqrt(_masses(lambdas) / x.shape[1]) * L * norm * residual / eigenvalue


def _radius(x: np.ndarray, norm: float, residual: float, gamma: float, kappa: float, L: float) -> float:
    """R with ‖w_j(t) − w_j(0)‖ ≤ R √λ_j."""
    return 4 * L * norm * residual / (math.sqrt(x.shape[1]) * gamma * kappa)


def _convergence(
    x: np.ndarray, lambdas: np.ndarray, norm: float, residual: float, gamma: float, kappa: float, L: float,
    first: float, whole: float, delta: float,
) -> Convergence:  # fmt: skip
    """From what the Jacobians of Θ^(1) and of Θ can have moved (squared norms `first` and `whole`)."""
    limit = L * norm / math.sqrt(x.shape[1])  # ‖Jacobian(0)‖, as Σλ = 1
    width = proposition_c1_width(x, kappa=kappa, delta=delta, L=L)
    return Convergence(
        rate=gamma * kappa / 2,
        eigenvalue=gamma * kappa / 4,
        movement=np.sqrt(lambdas) * _radius(x, norm, residual, gamma, kappa, L),
        kernel_change=whole + 2 * math.sqrt(whole) * limit,
        applies=len(lambdas) >= width and first < _ETA**2 * gamma * kappa,
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
    kappa: float,
    residual: float,
    delta: float,
) -> Convergence:
    r"""Theorem 4.1 (ReLU): the four bounds of the flow at these masses, all at once with probability 1 − δ if it applies.

    With R = 4‖X‖ρ/(√d γκ_n), ρ the bound on ‖y − f_0‖, and masses μ_j = γ/m for Θ^(1), μ_j = λ_j for Θ, the squared
    movement of the Jacobian is at most Δ² = (‖X‖_F²/d) · min{(4/δ) p, p + √(Σ_j μ_j² log(4/δ)/2)}, p = √(2/π) R Σ_j μ_j √λ_j
    (Markov's inequality as in the paper, or Hoeffding's). It applies if m ≥ `proposition_c1_width` at δ/4 and
    Δ_1 < (√½ − ½) √(γκ_n); then ‖Θ(t) − Θ(0)‖ ≤ Δ² + 2Δ‖X‖/√d.

    Args:
        x: (n, d) inputs.
        lambdas: (m,) masses.
        gamma: γ > 0, the share of the symmetrical scaling.
        kappa: κ_n.
        residual: ρ, from `residual_bound` at δ/4 (or the residual itself, if it is not to count towards δ).
        delta: Probability of failure.

    Returns:
        `Convergence`.

    Raises:
        DegenerateKernelError: If κ_n is not positive.
        ValueError: If γ or δ is out of range, the masses do not sum to 1 or an input is zero.

    Example:
        >>> import numpy as np
        >>> bounds = theorem41(np.eye(3), np.full(100, 0.01), gamma=1.0, kappa=1 / 12, residual=1.0, delta=0.1)
        >>> bounds.applies, round(bounds.rate, 4)
        (False, 0.0417)

    Source:
        The asymmetrical-scaling paper, Theorem 4.1 and Lemmas D.2, D.3, with smaller constants.
    """
    _check(gamma, kappa, delta)
    x, norm, frobenius, _ = _data(x)
    lambdas = _masses(lambdas)
    m, radius = len(lambdas), _radius(x, norm, residual, gamma, kappa, 1.0)
    energy = frobenius**2 / x.shape[1]
    first = energy * _flips(radius * gamma * float(np.mean(np.sqrt(lambdas))), gamma**2 / m, delta / 4)
    whole = energy * _flips(radius * float(np.sum(lambdas**1.5)), float(np.sum(lambdas**2)), delta / 4)
    return _convergence(x, lambdas, norm, residual, gamma, kappa, 1.0, first, whole, delta / 4)


def theorem41_width(
    x: Float[Array | np.ndarray, "n d"], *, gamma: float, kappa: float, residual: float, delta: float
) -> float:
    r"""The width from which on Theorem 4.1 applies, whatever the asymmetrical part of the masses.

    Since Σ_j √λ_j ≤ √m, Δ_1² ≤ (γ‖X‖_F²/(d√m)) h with h = min{(4/δ) √(2/π) R, √(2/π) R + √(log(4/δ)/2)}, and
    m = max{8‖X‖² log(4n/δ)/(dκ_n), [‖X‖_F² h/((√½ − ½)² d κ_n)]²}: with the residual's Markov bound, of order
    n⁴/(d³ γ² κ_n⁴ δ) at worst.

    Args:
        x: (n, d) inputs.
        gamma: γ > 0.
        kappa: κ_n.
        residual: ρ, see `theorem41`.
        delta: Probability of failure.

    Returns:
        The width, a float (it can exceed any machine).

    Raises:
        DegenerateKernelError: If κ_n is not positive.
        ValueError: If γ or δ is out of range or an input is zero.

    Example:
        >>> import numpy as np
        >>> width = theorem41_width(np.eye(1), gamma=1.0, kappa=0.5, residual=0.1, delta=0.5)
        >>> m = int(width) + 1
        >>> theorem41(np.eye(1), np.full(m, 1 / m), gamma=1.0, kappa=0.5, residual=0.1, delta=0.5).applies
        True

    Source:
        The asymmetrical-scaling paper, Theorem 4.1, with smaller constants and a weaker dependence on δ.
    """
    _check(gamma, kappa, delta)
    x, norm, frobenius, _ = _data(x)
    flips = frobenius**2 / x.shape[1] * _flips(_radius(x, norm, residual, gamma, kappa, 1.0), 1.0, delta / 4)
    # A hair above equality, because the theorem asks for strict inequality.
    return max(proposition_c1_width(x, kappa=kappa, delta=delta / 4), 1.000001 * (flips / (_ETA**2 * kappa)) ** 2)


def theorem42(
    x: Float[Array | np.ndarray, "n d"],
    lambdas: Float[Array | np.ndarray, " m"],
    *,
    gamma: float,
    kappa: float,
    residual: float,
    delta: float,
    constants: ActivationConstants | str,
) -> Convergence:
    r"""Theorem 4.2 (smooth σ): the four bounds of the flow at these masses, with probability 1 − δ if it applies.

    With R = 4L‖X‖ρ/(√d γκ_n) and B = β‖X‖ max‖x_i‖ R/d: the Jacobians of Θ^(1) and Θ move by at most
    Δ_1² = B² Σ_j (γ/m) λ_j = B² γ/m and Δ² = B² Σ_j λ_j², and nothing in this is random.

    Args:
        x: (n, d) inputs.
        lambdas: (m,) masses.
        gamma: γ > 0, the share of the symmetrical scaling.
        kappa: κ_n.
        residual: ρ, from `residual_bound` at δ/2 (or the residual itself, if it is not to count towards δ).
        delta: Probability of failure.
        constants: The activation's L = sup |σ'| and β = sup |σ''|, or its name in `bounds.ACTIVATION_CONSTANTS`.

    Returns:
        `Convergence`.

    Raises:
        DegenerateKernelError: If κ_n is not positive.
        ValueError: If γ or δ is out of range, the masses do not sum to 1, an input is zero or the activation unknown.

    Example:
        >>> import numpy as np
        >>> masses = np.full(10**6, 1e-6)
        >>> bounds = theorem42(
        ...     np.eye(3), masses, gamma=1.0, kappa=0.2, residual=1.0, delta=0.1, constants="tanh"
        ... )
        >>> bounds.applies, bounds.kernel_change < 0.02
        (True, True)

    Source:
        The asymmetrical-scaling paper, Theorem 4.2 and Lemmas D.4, D.5, with smaller constants.
    """
    _check(gamma, kappa, delta)
    x, norm, _, longest = _data(x)
    lambdas, c = _masses(lambdas), _constants(constants)
    b = c.beta * norm * longest * _radius(x, norm, residual, gamma, kappa, c.L) / x.shape[1]
    first, whole = b**2 * gamma / len(lambdas), b**2 * float(np.sum(lambdas**2))
    return _convergence(x, lambdas, norm, residual, gamma, kappa, c.L, first, whole, delta / 2)


def theorem42_width(
    x: Float[Array | np.ndarray, "n d"],
    *,
    gamma: float,
    kappa: float,
    residual: float,
    delta: float,
    constants: ActivationConstants | str,
) -> float:
    r"""The width from which on Theorem 4.2 applies, whatever the asymmetrical part of the masses.

    m = max{8L²‖X‖² log(2n/δ)/(dκ_n), (B/(√½ − ½))²/κ_n}, of order n³/(d³ γ² κ_n³ δ) at worst.

    Args:
        x: (n, d) inputs.
        gamma: γ > 0.
        kappa: κ_n.
        residual: ρ, see `theorem42`.
        delta: Probability of failure.
        constants: As in `theorem42`.

    Returns:
        The width.

    Raises:
        DegenerateKernelError: If κ_n is not positive.
        ValueError: If γ or δ is out of range, an input is zero or the activation unknown.

    Example:
        >>> import numpy as np
        >>> round(theorem42_width(np.eye(3), gamma=1.0, kappa=0.2, residual=1.0, delta=0.1, constants="tanh"))
        1023

    Source:
        The asymmetrical-scaling paper, Theorem 4.2, with smaller constants.
    """
    _check(gamma, kappa, delta)
    x, norm, _, longest = _data(x)
    c = _constants(constants)
    b = c.beta * norm * longest * _radius(x, norm, residual, gamma, kappa, c.L) / x.shape[1]
    start = proposition_c1_width(x, kappa=kappa, delta=delta / 2, L=c.L)
    return max(start, 1.000001 * (b / _ETA) ** 2 / kappa)


def theorem51_mean(
    x: Float[Array | np.ndarray, "n d"], lambdas: Float[Array | np.ndarray, " m"], *, activation: Any
) -> Float[np.ndarray, "m d"]:
    r"""Theorem 5.1: the expected velocity of every weight at the start of the flow.

    E[dw_jk/dt]_{t=0} = −(λ_j/√d) Σ_i x_ik F(‖x_i‖/√d),   F(c) = E[σ(cz) σ'(cz)], z ~ N(0, 1); for ReLU F(c) = c/√(2π)

    The targets do not enter: each a_j is as likely to be 1 as −1. What is left is the network's own output being unlearned.

    Args:
        x: (n, d) inputs.
        lambdas: (m,) masses.
        activation: σ, what `duals.resolve` accepts.

    Returns:
        (m, d) expectations over the initialisation.

    Raises:
        ValueError: If the masses do not sum to 1 or an input is zero.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> theorem51_mean(np.eye(2), np.array([0.75, 0.25]), activation=stax.Relu()).round(4).tolist()  # −λ_j/(d√(2π))
        [[-0.1496, -0.1496], [-0.0499, -0.0499]]

    Source:
        The asymmetrical-scaling paper, Theorem 5.1.
    """
    x, *_ = _data(x)
    phi = resolve(activation).phi
    slope = _slope(phi)
    d = x.shape[1]
    pull = _expect(lambda z: phi(z) * slope(z), np.linalg.norm(x, axis=1) / math.sqrt(d)) @ x
    return -_masses(lambdas)[:, None] * pull / math.sqrt(d)


@functools.partial(jax.jit, static_argnums=0)
def _duals(activation: Any, c: Array, q1: Array, q2: Array) -> tuple[Array, Array]:
    return dual_derivatives(activation, c, q1, q2)[:2]


def theorem51_size(
    x: Float[Array | np.ndarray, "n d"], y: Any, lambdas: Float[Array | np.ndarray, " m"], *, activation: Any
) -> Float[np.ndarray, " m"]:
    r"""The size of every node's first step: the root mean square of ‖dw_j/dt‖ at t = 0, of order √λ_j.

    E‖dw_j/dt‖² = λ_j {yᵀ Θ̄ y + (1 − λ_j) tr(Θ̄ K̄) + λ_j E[sᵀ M_1 s]},   s = σ(X w_1/√d), K̄ = E s sᵀ

    The last term is exact for ReLU (s_i σ'(z_i) = s_i, so it is E‖Xᵀs‖²/d) and by quadrature over pairs otherwise.

    Args:
        x: (n, d) inputs.
        y: (n,) targets.
        lambdas: (m,) masses.
        activation: σ, what `duals.resolve` accepts.

    Returns:
        (m,) root mean squares over the initialisation.

    Raises:
        ValueError: If the masses do not sum to 1 or an input is zero.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> sizes = theorem51_size(np.eye(2), np.ones(2), np.array([0.75, 0.25]), activation=stax.Relu())
        >>> sizes.round(4).tolist()
        [0.7342, 0.405]

    Source:
        Derived in the book's chapter 13; the paper states the mean only.
    """
    x, *_ = _data(x)
    y, lambdas = np.asarray(y, np.float64), _masses(lambdas)
    inner = x @ x.T / x.shape[1]
    q1, q2 = np.diag(inner)[:, None], np.diag(inner)[None, :]
    k, slope_dual = (np.asarray(v, np.float64) for v in _duals(activation, inner, q1, q2))
    gram = inner * slope_dual
    phi = resolve(activation).phi
    if resolve(activation).name == "ReLU":
        own = float((inner * k).sum())
    else:
        slope = _slope(phi)
        own = float((inner * np.asarray(dual(lambda z: phi(z) * slope(z), inner, q1, q2), np.float64)).sum())
    return np.sqrt(lambdas * (y @ gram @ y + (1 - lambdas) * (gram * k).sum() + lambdas * own))


def theorem52(x: Float[Array | np.ndarray, "n d"], *, activation: Any, nodes: int = 24) -> Float[np.ndarray, "n n"]:
    r"""Theorem 5.2 (smooth σ): the matrix H with E[dΘ/dt]_{t=0} = −(Σ_j λ_j²) H.

    H_{ii'} = (⟨x_i, x_i'⟩/d²) Σ_k {⟨x_i, x_k⟩ G(x_i, x_i', x_k) + ⟨x_i', x_k⟩ G(x_i', x_i, x_k)},
    G(x, x', x'') = E[σ''(z) σ'(z') σ'(z'') σ(z'')], (z, z', z'') ~ N(0, inner products/d)

    Gauss–Hermite quadrature in three variables. Again no target enters.

    Args:
        x: (n, d) inputs; the cost is n³ times nodes³.
        activation: σ, a smooth one.
        nodes: quadrature nodes in each direction.

    Returns:
        (n, n) H.

    Raises:
        ValueError: If an input is zero.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> h = theorem52(np.eye(2), activation=jnp.tanh)
        >>> bool(h[0, 0] < 0 and abs(h[0, 1]) < 1e-6)  # σ'' opposes σ: the kernel grows as the output is unlearned
        True

    Source:
        The asymmetrical-scaling paper, Theorem 5.2.
    """
    x, *_ = _data(x)
    n, d = x.shape
    inner = x @ x.T / d
    phi = resolve(activation).phi
    slope = _slope(phi)
    bend = _slope(slope)
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack(np.meshgrid(at, at, at, indexing="ij")).reshape(3, -1)
    weight = np.einsum("a,b,c->abc", weights, weights, weights).reshape(-1) / (2 * math.pi) ** 1.5
    triples = np.stack(np.meshgrid(range(n), range(n), range(n), indexing="ij"), axis=-1).reshape(-1, 3)
    covariance = inner[triples[:, :, None], triples[:, None, :]]
    values, vectors = np.linalg.eigh(covariance)
    roots = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]  # singular where an input comes twice

    def g(root: Array) -> Array:
        z, z1, z2 = root @ grid
        return jnp.sum(weight * bend(z) * slope(z1) * slope(z2) * phi(z2))

    # A triple at a time: 24³ nodes for all n³ triples at once would not fit.
    third = np.asarray(jax.jit(lambda r: jax.lax.map(g, r))(jnp.asarray(roots)), np.float64).reshape(n, n, n)
    half = inner * np.einsum("ik,ijk->ij", inner, third)
    return half + half.T
