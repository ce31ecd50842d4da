"""Lemmas 3 and 4: what moving rows does to the kernel, and how far rows can move."""

from __future__ import annotations

import math
from typing import NamedTuple

from snn_ntk.paper.setting import Setting, positive_lambda0

__all__ = ["Lemma3", "Movement", "lemma3", "lemma3_radius", "lemma4", "lemma4_path"]

# lambda_min(Theta(0)) >= 3 lambda0 / 4 stays above lambda0 / 2 while ||J(t) - J(0)|| < ETA sqrt(lambda0):
# singular values are 1-Lipschitz, and ETA = sqrt(3/4) - sqrt(1/2).
ETA = math.sqrt(3 / 4) - math.sqrt(1 / 2)


class Lemma3(NamedTuple):
    """How far moving every row by at most R can take the kernel: ||J(t) - J(0)||_2 and ||Theta(t) - Theta(0)||_2."""

    jacobian: float
    kernel: float


def lemma3(s: Setting, *, R_mu: float, R_sigma: float, R_d: float, alpha: float, norm: float | None = None) -> Lemma3:
    r"""Lemma 3: what moving each row of W_mu, W_sigma and W_d by at most R_mu, R_sigma and R_d can do to Theta.

    With rho^2 = R_mu^2 + R_sigma^2 and Lambda = Lambda_mu + Lambda_inf,

        ||J(t) - J(0)||^2 <= Lambda (beta rho alpha + L R_d)^2 + n L^2 rho^2 =: eps^2,
        ||Theta(t) - Theta(0)|| <= (2 ||Theta(0)||^{1/2} + eps) eps,

    the k != k' blocks and the movement of W_sigma included. It is deterministic.

    Args:
        s: The `Setting`.
        R_mu: Largest movement of a row of W_mu.
        R_sigma: The same for W_sigma.
        R_d: The same for W_d.
        alpha: ||W_d(0)||_2 / sqrt(m); `lemma5_operator_norm` bounds it.
        norm: ||Theta(0)||_2; by default what Lemma 2 leaves of it, ||Theta_inf|| + lambda0 / 4.

    Returns:
        `Lemma3` (jacobian, kernel).

    Raises:
        ValueError: If a radius is negative.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma3, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma3(s, R_mu=0.0, R_sigma=0.0, R_d=0.0, alpha=1.1).kernel
        0.0

    Source:
        The paper, Lemma 3, corrected.
    """
    if min(R_mu, R_sigma, R_d) < 0:
        raise ValueError(f"expected radii of at least 0, got {(R_mu, R_sigma, R_d)}")
    c = s.constants
    rho = math.hypot(R_mu, R_sigma)
    latent = math.sqrt(s.Lambda_mu + s.Lambda_inf) * (c.beta * rho * alpha + c.L * R_d)
    epsilon = math.hypot(latent, math.sqrt(s.n) * c.L * rho)
    norm = s.norm + s.lambda0 / 4 if norm is None else norm
    return Lemma3(epsilon, (2 * math.sqrt(norm) + epsilon) * epsilon)


def lemma3_radius(s: Setting, *, alpha: float, norm_form: bool = False) -> float:
    r"""The R such that rows within R of their start keep lambda_min(Theta) >= lambda0 / 2, given it was >= 3 lambda0 / 4.

    Args:
        s: The `Setting`.
        alpha: ||W_d(0)||_2 / sqrt(m).
        norm_form: Ask for the paper's stronger ||Theta(t) - Theta(0)||_2 <= lambda0 / 4, which costs R = O(lambda0) where
            lambda_min alone costs O(sqrt(lambda0)).

    Returns:
        R, for R_mu = R_sigma = R_d = R.

    Raises:
        DegenerateKernelError: If lambda0 is not positive.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma3_radius, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma3_radius(s, alpha=1.1) > lemma3_radius(s, alpha=1.1, norm_form=True) > 0
        True

    Source:
        The paper, Lemma 3, corrected: c_1 and c_3 there, computed.
    """
    lambda0 = positive_lambda0(s)
    # eps is linear in R, so one evaluation at R = 1 gives its slope.
    return allowed_jacobian_change(s, lambda0, norm_form) / lemma3(s, R_mu=1, R_sigma=1, R_d=1, alpha=alpha).jacobian


def allowed_jacobian_change(s: Setting, lambda0: float, norm_form: bool) -> float:
    if not norm_form:
        return ETA * math.sqrt(lambda0)
    # (2 sqrt(N) + eps) eps = lambda0 / 4 solved for eps.
    norm = s.norm + lambda0 / 4
    return math.sqrt(norm + lambda0 / 4) - math.sqrt(norm)


class Movement(NamedTuple):
    """Bounds R'_mu, R'_sigma, R'_d of how far a row moves."""

    mu: float
    sigma: float
    d: float


def lemma4(s: Setting, m: float, *, residual: float, row_norm: float) -> Movement:
    r"""Lemma 4: while lambda_min(Theta) >= lambda0 / 2, no row moves further than R'.

        R'_d = 2 B sqrt(n) ||X - f(0)|| / (sqrt(m) lambda0),
        R'_mu = 2 L sqrt(Lambda_mu) (max_r ||a_r(0)|| + R'_d) ||X - f(0)|| / (sqrt(m) lambda0),  R'_sigma with Lambda_inf.

    Args:
        s: The `Setting`.
        m: Width.
        residual: ||X - f(X; 0)||_F; `lemma5_residual` bounds it.
        row_norm: Largest row norm of W_d(0); `lemma5_row_norm` bounds it.

    Returns:
        `Movement` (mu, sigma, d).

    Raises:
        DegenerateKernelError: If lambda0 is not positive.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma4, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma4(s, 100, residual=3.0, row_norm=2.0).d / lemma4(s, 400, residual=3.0, row_norm=2.0).d, 6)
        2.0

    Source:
        The paper, Lemma 4, corrected (its proof bounds phi' by the constant of phi'').
    """
    unit = 2 * residual / (math.sqrt(m) * positive_lambda0(s))
    c = s.constants
    R_d = c.B * math.sqrt(s.n) * unit
    latent = c.L * (row_norm + R_d) * unit
    return Movement(math.sqrt(s.Lambda_mu) * latent, math.sqrt(s.Lambda_inf) * latent, R_d)


def lemma4_path(s: Setting, *, residual: float) -> float:
    r"""While lambda_min(Theta) >= lambda0 / 2, all weights together travel at most sqrt(2 / lambda0) ||X - f(0)||_F.

    Args:
        s: The `Setting`.
        residual: ||X - f(X; 0)||_F.

    Returns:
        The bound of the length of the path in parameter space: independent of the width.

    Raises:
        DegenerateKernelError: If lambda0 is not positive.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma4_path, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma4_path(s, residual=2.0), 4)
        3.1623

    Source:
        The book, chapter 7 (the argument is that of Oymak and Soltanolkotabi).
    """
    return math.sqrt(2 / positive_lambda0(s)) * residual
