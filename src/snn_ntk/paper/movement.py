"""Lemmas 3 and 4: what moving rows does to the kernel, and how far rows can move."""

from __future__ import annotations

import math
from typing import NamedTuple

from snn_ntk import _validation as validation
from snn_ntk.paper.settings import Setting, positive_lambda0

__all__ = ["Lemma3", "Movement", "lemma3", "lemma3_radius", "lemma4", "lemma4_path"]

# λ_min(Θ(0)) ≥ 3λ0/4 stays above λ0/2 while ‖J(t) − J(0)‖₂ < ETA √λ0, because singular values are 1-Lipschitz.
ETA = math.sqrt(3 / 4) - math.sqrt(1 / 2)


class Lemma3(NamedTuple):
    """How far moving every row by at most R can take the kernel.

    Attributes:
        jacobian: Bound of ‖J(t) − J(0)‖₂.
        kernel: Bound of ‖Θ(t) − Θ(0)‖₂.

    Source: wang2024vae, Lemma 3 (corrected); book, chapter 6.
    """

    jacobian: float
    kernel: float


def lemma3(s: Setting, *, R_mu: float, R_sigma: float, R_d: float, alpha: float, norm: float | None = None) -> Lemma3:
    """What moving each row of W_μ, W_σ and W_d by at most R_μ, R_σ and R_d can do to Θ.

    With ρ² = R_μ² + R_σ² and Λ = Λ_μ + Λ_∞,

        ‖J(t) − J(0)‖₂² ≤ Λ (β ρ α + L R_d)² + n L² ρ² =: ε²,
        ‖Θ(t) − Θ(0)‖₂ ≤ (2 √‖Θ(0)‖₂ + ε) ε,

    the k ≠ k' blocks and the movement of W_σ included. It is deterministic.

    Args:
        s: The `Setting`.
        R_mu: Largest movement R_μ of a row of W_μ.
        R_sigma: The same for W_σ.
        R_d: The same for W_d.
        alpha: α = ‖W_d(0)‖₂/√m; `lemma5_operator_norm` bounds it.
        norm: ‖Θ(0)‖₂; None is what Lemma 2 leaves of it, ‖Θ∞‖₂ + λ0/4.

    Returns:
        `Lemma3`, both bounds.

    Raises:
        ValueError: If a radius, α or the norm is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma3, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma3(s, R_mu=0.0, R_sigma=0.0, R_d=0.0, alpha=1.1).kernel
        0.0

    Source: wang2024vae, Lemma 3 (corrected), Eq. 16; book, chapter 6.
    """
    if not all(0 <= radius < math.inf for radius in (R_mu, R_sigma, R_d)):
        raise ValueError(f"expected finite radii of at least 0, got {(R_mu, R_sigma, R_d)}")
    alpha, norm = validation.non_negative(alpha, "alpha"), validation.optional_non_negative(norm, "norm")
    c = s.constants
    rho = math.hypot(R_mu, R_sigma)
    latent = math.sqrt(s.Lambda_mu + s.Lambda_inf) * (c.beta * rho * alpha + c.L * R_d)
    epsilon = math.hypot(latent, math.sqrt(s.n) * c.L * rho)
    norm = s.norm + s.lambda0 / 4 if norm is None else norm
    return Lemma3(epsilon, (2 * math.sqrt(norm) + epsilon) * epsilon)


def lemma3_radius(s: Setting, *, alpha: float, norm_form: bool = False) -> float:
    """The R such that rows within R of their start keep λ_min(Θ) ≥ λ0/2, given that it was at least 3λ0/4.

    Args:
        s: The `Setting`.
        alpha: α = ‖W_d(0)‖₂/√m.
        norm_form: Ask for the paper's stronger ‖Θ(t) − Θ(0)‖₂ ≤ λ0/4, which costs R = O(λ0) where λ_min alone costs
            O(√λ0).

    Returns:
        R, for R_μ = R_σ = R_d = R.

    Raises:
        DegenerateKernelError: If λ0 is not positive.
        ValueError: If α is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma3_radius, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma3_radius(s, alpha=1.1) > lemma3_radius(s, alpha=1.1, norm_form=True) > 0
        True

    Source: wang2024vae, Lemma 3 (corrected: its constants c_1 and c_3, computed), Eq. 16; book, chapter 6.
    """
    lambda0 = positive_lambda0(s)
    # ε is linear in R, so one evaluation at R = 1 gives its slope.
    return allowed_jacobian_change(s, lambda0, norm_form) / lemma3(s, R_mu=1, R_sigma=1, R_d=1, alpha=alpha).jacobian


def allowed_jacobian_change(s: Setting, lambda0: float, norm_form: bool) -> float:
    """The ‖J(t) − J(0)‖₂ below which Θ keeps half of λ0, in eigenvalue or in norm."""
    if not norm_form:
        return ETA * math.sqrt(lambda0)
    # (2√N + ε) ε = λ0/4 solved for ε.
    norm = s.norm + lambda0 / 4
    return math.sqrt(norm + lambda0 / 4) - math.sqrt(norm)


class Movement(NamedTuple):
    """Bounds of how far a row moves.

    Attributes:
        mu: R'_μ, for a row of W_μ.
        sigma: R'_σ, for a row of W_σ.
        d: R'_d, for a row of W_d.

    Source: wang2024vae, Lemma 4 (corrected); book, chapter 7.
    """

    mu: float
    sigma: float
    d: float


def lemma4(s: Setting, m: float, *, residual: float, row_norm: float) -> Movement:
    """The R' that no row moves further than while λ_min(Θ) ≥ λ0/2.

        R'_d = 2 B √n ‖X − f̂(0)‖_F/(√m λ0),
        R'_μ = 2 L √Λ_μ (max_r ‖a_r(0)‖ + R'_d) ‖X − f̂(0)‖_F/(√m λ0),    R'_σ the same with Λ_∞.

    Args:
        s: The `Setting`.
        m: Width.
        residual: ‖X − f̂(X; 0)‖_F; `lemma5_residual` bounds it.
        row_norm: Largest row norm of W_d(0); `lemma5_row_norm` bounds it.

    Returns:
        `Movement`, one bound a weight matrix.

    Raises:
        DegenerateKernelError: If λ0 is not positive.
        ValueError: If the residual or the row norm is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma4, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma4(s, 100, residual=3.0, row_norm=2.0).d / lemma4(s, 400, residual=3.0, row_norm=2.0).d, 6)
        2.0

    Source: wang2024vae, Lemma 4 (corrected: its proof bounds φ' by the constant of φ''), Eq. 17; book, chapter 7.
    """
    residual, row_norm = validation.non_negative(residual, "residual"), validation.non_negative(row_norm, "row_norm")
    unit = 2 * residual / (math.sqrt(m) * positive_lambda0(s))
    c = s.constants
    R_d = c.B * math.sqrt(s.n) * unit
    latent = c.L * (row_norm + R_d) * unit
    return Movement(math.sqrt(s.Lambda_mu) * latent, math.sqrt(s.Lambda_inf) * latent, R_d)


def lemma4_path(s: Setting, *, residual: float) -> float:
    """The length √(2/λ0) ‖X − f̂(0)‖_F that all weights together travel at most while λ_min(Θ) ≥ λ0/2.

    Args:
        s: The `Setting`.
        residual: ‖X − f̂(X; 0)‖_F.

    Returns:
        The bound of the length of the path in parameter space, independent of the width.

    Raises:
        DegenerateKernelError: If λ0 is not positive.
        ValueError: If the residual is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma4_path, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma4_path(s, residual=2.0), 4)
        3.1623

    Source: book, chapter 7; oymak2019overparameterized (its argument).
    """
    return math.sqrt(2 / positive_lambda0(s)) * validation.non_negative(residual, "residual")
