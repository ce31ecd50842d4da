r"""Lemmas 2-5 and Theorem 1 with every constant derived: how wide is wide enough.

The paper leaves its constants inside O(.) and Omega(.). Here each statement is a function of the data, the activation and
the width, proved line by line in the book (chapters *Concentration* and *Convergence*), with no constant set to one.

Notation, for one neuron r: ``w_r``, ``v_r``, ``a_r`` are its rows of W_mu, W_sigma, W_d; ``z = (w + v o zeta) . x``; and

    g(x) = E phi(z),   p(x) = E phi'(z),   b(x) = E[zeta o x phi'(z)],   M_ij = p_i p_j <x_i, x_j> + <b_i, b_j>,
    Theta = (1/m) sum_r ( g g^T (x) I_d + M_r (x) a_r a_r^T ) = J J^T.

The activation class is the paper's Assumption 4.2 plus boundedness: B, L and beta bound phi, phi' and phi''.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

__all__ = [
    "ACTIVATION_CONSTANTS",
    "ActivationConstants",
    "DegenerateKernelError",
    "Lemma3",
    "Movement",
    "Setting",
    "lemma2",
    "lemma2_entrywise",
    "lemma2_entrywise_width",
    "lemma2_lambda_min",
    "lemma2_lambda_min_width",
    "lemma2_width",
    "lemma3",
    "lemma3_radius",
    "lemma4",
    "lemma4_path",
    "lemma5_operator_norm",
    "lemma5_residual",
    "lemma5_row_norm",
    "setting",
    "theorem1",
    "theorem1_holds",
    "theorem1_width",
]

# lambda_min(Theta(0)) >= 3 lambda0 / 4 stays above lambda0 / 2 while ||J(t) - J(0)|| < ETA sqrt(lambda0):
# singular values are 1-Lipschitz, and ETA = sqrt(3/4) - sqrt(1/2).
_ETA = math.sqrt(3 / 4) - math.sqrt(1 / 2)


class DegenerateKernelError(ValueError):
    """The limiting kernel is singular, so a statement that divides by lambda0 says nothing."""


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


@dataclasses.dataclass(frozen=True)
class Setting:
    r"""Everything the bounds need to know of a data set, its limiting kernel and its activation.

    Attributes:
        n: Number of inputs.
        d: Input and output dimension.
        sigma0: Initial value of every entry of W_sigma.
        lambda0: Smallest eigenvalue of the limiting kernel (of its n x n factor, which has the same one).
        norm: Spectral norm of the limiting kernel.
        norm_latent: Spectral norm of Theta_mu + Theta_sigma in the limit.
        Lambda_mu: Spectral norm of X X^T, between max(1, n / d) and n.
        Lambda_sigma: Spectral norm of (X o X)(X o X)^T, at most n.
        Lambda_inf: Sum over inputs of the largest squared coordinate, at most n.
        constants: The activation's B, L and beta.
    """

    n: int
    d: int
    sigma0: float
    lambda0: float
    norm: float
    norm_latent: float
    Lambda_mu: float
    Lambda_sigma: float
    Lambda_inf: float
    constants: ActivationConstants

    @property
    def latent(self) -> float:
        r"""Bound of a neuron's ||M_r|| at initialisation: L^2 Lambda_mu + min(sigma0^2 beta^2, 2 L^2 / pi) Lambda_sigma."""
        c = self.constants
        return c.L**2 * self.Lambda_mu + min((self.sigma0 * c.beta) ** 2, 2 * c.L**2 / math.pi) * self.Lambda_sigma


def setting(
    x: Float[Array | np.ndarray, "n d"],
    *,
    latent_kernel: Float[Array | np.ndarray, "n n"],
    d_kernel: Float[Array | np.ndarray, "n n"],
    sigma0: float,
    constants: ActivationConstants | str,
) -> Setting:
    r"""The quantities that the bounds are made of.

    Args:
        x: (n, d) inputs of unit norm, as Theorem 1 asks.
        latent_kernel: (n, n) factor of Theta_mu + Theta_sigma in the limit.
        d_kernel: (n, n) factor of Theta_d in the limit.
        sigma0: Initial value of W_sigma.
        constants: `ActivationConstants`, or a name in `ACTIVATION_CONSTANTS`.

    Returns:
        A `Setting`. It may have lambda0 <= 0 (to rounding): the bounds that divide by it then raise.

    Raises:
        ValueError: If the rows of x are not of unit norm, or the activation's constants are unknown.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting
        >>> x = np.eye(3)
        >>> s = setting(x, latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> s.n, round(s.lambda0, 6), s.Lambda_mu
        (3, 0.8, 1.0)

    Source:
        The paper, Definition 1 and Assumption 4.2; the book, chapter 6.
    """
    x = np.asarray(x, np.float64)
    norms = np.linalg.norm(x, axis=1)
    if not np.allclose(norms, 1.0, atol=1e-4):
        raise ValueError(f"expected rows of unit norm, got norms between {norms.min():.4g} and {norms.max():.4g}")
    if isinstance(constants, str):
        if constants not in ACTIVATION_CONSTANTS:
            raise ValueError(
                f"expected one of {sorted(ACTIVATION_CONSTANTS)} or ActivationConstants, got {constants!r}"
            )
        constants = ACTIVATION_CONSTANTS[constants]
    latent_kernel, d_kernel = np.asarray(latent_kernel, np.float64), np.asarray(d_kernel, np.float64)
    eigenvalues = np.linalg.eigvalsh(latent_kernel + d_kernel)
    # Below rounding, an eigenvalue is no evidence of being positive.
    floor = len(x) * np.finfo(np.float64).eps * eigenvalues[-1]
    return Setting(
        n=x.shape[0],
        d=x.shape[1],
        sigma0=float(sigma0),
        lambda0=float(eigenvalues[0]) if eigenvalues[0] > floor else 0.0,
        norm=float(eigenvalues[-1]),
        norm_latent=float(np.linalg.norm(latent_kernel, 2)),
        Lambda_mu=float(np.linalg.norm(x, 2) ** 2),
        Lambda_sigma=float(np.linalg.norm(x * x, 2) ** 2),
        Lambda_inf=float((x * x).max(axis=1).sum()),
        constants=constants,
    )


def _positive(s: Setting) -> float:
    if not s.lambda0 > 0:
        raise DegenerateKernelError(
            "expected lambda0 > 0, got a singular limiting kernel (duplicated inputs, or inputs that the activation "
            "cannot tell apart): no width satisfies the theorem, and it promises no rate"
        )
    return s.lambda0


def _check(m: float, delta: float) -> None:
    if not m >= 1:
        raise ValueError(f"expected a width of at least 1, got {m}")
    if not 0 < delta < 1:
        raise ValueError(f"expected 0 < delta < 1, got {delta}")


def _bernstein(m: float, variance: float, scale: float, log: float) -> float:
    """The t at which m t^2 / 2 = log (variance + scale t)."""
    return (scale * log + math.sqrt((scale * log) ** 2 + 2 * m * variance * log)) / m


def _smallest_width(enough: Callable[[float], bool]) -> float:
    """The smallest real width, to one part in a million, from which on a condition that only improves is met."""
    high = 1.0
    while not enough(high):
        high *= 2
        if high > 1e300:
            return math.inf
    low = high / 2
    while high / low > 1 + 1e-6:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def lemma2(s: Setting, m: float, *, delta: float) -> float:
    r"""Lemma 2, first half: the t with P(||Theta(0) - Theta_inf||_2 > t) <= delta at width m.

    Theta(0) - Theta_inf = (1/m) sum_r M_r (x) (a_r a_r^T - I) + (1/m) sum_r (g g^T + M_r - K) (x) I; matrix Bernstein bounds
    the first term (sub-exponential: variance (d + 3) ||E M^2||, scale max(2, (d + 4)/3) ||M||) and the second (bounded).

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability of failure.

    Returns:
        The radius t, of order sqrt(log(nd / delta) / m).

    Raises:
        ValueError: If m < 1 or delta is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, lemma2
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> bool(1.9 < lemma2(s, 1e6, delta=0.1) / lemma2(s, 4e6, delta=0.1) < 2.1)
        True

    Source:
        The paper, Lemma 2, corrected; matrix Bernstein inequalities of Tropp (2012), Theorems 6.1 and 6.2.
    """
    _check(m, delta)
    bounded = s.n * s.constants.B**2 + s.latent
    readout = _bernstein(
        m,
        (s.d + 3) * s.latent * s.norm_latent,
        max(2.0, (s.d + 4) / 3) * s.latent,
        math.log(4 * s.n * s.d / delta),
    )
    neurons = _bernstein(m, bounded * s.norm, bounded / 3, math.log(4 * s.n / delta))
    return readout + neurons


def lemma2_width(s: Setting, *, delta: float) -> float:
    r"""The width from which on Lemma 2 gives ||Theta(0) - Theta_inf||_2 <= lambda0 / 4: O(log(nd/delta) / lambda0^2).

    Args:
        s: The `Setting`.
        delta: Probability of failure.

    Returns:
        The width, a float (it can exceed any machine).

    Raises:
        DegenerateKernelError: If lambda0 is not positive.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, lemma2, lemma2_width
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> abs(lemma2(s, lemma2_width(s, delta=0.1), delta=0.1) - s.lambda0 / 4) < 1e-4
        True

    Source:
        The paper, Lemma 2 (which prints lambda0 where its own proof gives lambda0 squared).
    """
    lambda0 = _positive(s)
    return _smallest_width(lambda m: lemma2(s, m, delta=delta) <= lambda0 / 4)


def lemma2_entrywise(s: Setting, m: float, *, delta: float) -> float:
    r"""The same radius as `lemma2` by the paper's own route: every entry, a union bound, the Frobenius norm.

    Hoeffding's inequality, which the paper applies to all of it, needs bounded summands: it is kept for
    g g^T + M. The factors a_k a_k' are products of Gaussians, so their entries get Bernstein's inequality with
    variance 4 lambda_M^2 and scale 2 lambda_M, lambda_M = L^2 + min(sigma0^2 beta^2, 2 L^2/pi).

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability of failure.

    Returns:
        The radius t, of order n d sqrt(log(nd / delta) / m).

    Raises:
        ValueError: If m < 1 or delta is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, lemma2, lemma2_entrywise
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma2_entrywise(s, 1e6, delta=0.1) > lemma2(s, 1e6, delta=0.1)
        True

    Source:
        The paper, proof of Lemma 2, with the inequality its summands allow.
    """
    _check(m, delta)
    c = s.constants
    entry = c.L**2 + min((s.sigma0 * c.beta) ** 2, 2 * c.L**2 / math.pi)
    readout = s.n * s.d * _bernstein(m, 4 * entry**2, 2 * entry, math.log(4 * (s.n * s.d) ** 2 / delta))
    neurons = s.n * (c.B**2 + entry) * math.sqrt(2 * math.log(4 * s.n**2 / delta) / m)
    return readout + neurons


def lemma2_entrywise_width(s: Setting, *, delta: float) -> float:
    r"""The width from which on the paper's route gives ||Theta(0) - Theta_inf||_2 <= lambda0 / 4.

    Args:
        s: The `Setting`.
        delta: Probability of failure.

    Returns:
        The width: O(n^2 d^2 log(nd / delta) / lambda0^2), its constants computed.

    Raises:
        DegenerateKernelError: If lambda0 is not positive.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, lemma2_width, lemma2_entrywise_width
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma2_entrywise_width(s, delta=0.1) > lemma2_width(s, delta=0.1)
        True

    Source:
        The paper, Lemma 2.
    """
    lambda0 = _positive(s)
    return _smallest_width(lambda m: lemma2_entrywise(s, m, delta=delta) <= lambda0 / 4)


def _relative_variance(s: Setting) -> float:
    """v with E[(Theta_inf^{-1/2} Z Theta_inf^{-1/2})^2] <= v I for one neuron's contribution Z."""
    return (s.n * s.constants.B**2 + (s.d + 2) * s.latent) / _positive(s)


def lemma2_lambda_min(s: Setting, m: float, *, delta: float) -> float:
    r"""Lemma 2, second half: with probability 1 - delta, Theta(0) >= (1 - eps) Theta_inf, so lambda_min >= (1 - eps) lambda0.

    A sum of positive semi-definite terms has a sub-Gaussian lower tail whatever its upper tail does:
    eps = sqrt(2 v log(nd / delta) / m), v = (n B^2 + (d + 2) ||M||) / lambda0.

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability of failure.

    Returns:
        (1 - eps) lambda0, or 0 where eps >= 1 (then it says nothing).

    Raises:
        DegenerateKernelError: If lambda0 is not positive.
        ValueError: If m < 1 or delta is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, lemma2_lambda_min
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma2_lambda_min(s, 10, delta=0.1), 0.7 < lemma2_lambda_min(s, 1e5, delta=0.1) < 0.8
        (0.0, True)

    Source:
        The paper, Lemma 2 (there stated for the norm, which bounds nothing from below); the book, chapter 6.
    """
    _check(m, delta)
    epsilon = math.sqrt(2 * _relative_variance(s) * math.log(s.n * s.d / delta) / m)
    return max(0.0, 1 - epsilon) * s.lambda0


def lemma2_lambda_min_width(s: Setting, *, delta: float) -> float:
    r"""The width from which on lambda_min(Theta(0)) >= 3 lambda0 / 4 with probability 1 - delta.

    m = 32 (n B^2 + (d + 2) ||M||) log(nd / delta) / lambda0: one power of lambda0, and n d in place of n^2 d^2.

    Args:
        s: The `Setting`.
        delta: Probability of failure.

    Returns:
        The width.

    Raises:
        DegenerateKernelError: If lambda0 is not positive.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, lemma2_lambda_min, lemma2_lambda_min_width
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma2_lambda_min(s, lemma2_lambda_min_width(s, delta=0.1), delta=0.1) / s.lambda0, 6)
        0.75

    Source:
        The book, chapter 6.
    """
    _check(1, delta)
    return 32 * _relative_variance(s) * math.log(s.n * s.d / delta)


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
        >>> from snn_ntk.bounds import setting, lemma3
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
        >>> from snn_ntk.bounds import setting, lemma3_radius
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma3_radius(s, alpha=1.1) > lemma3_radius(s, alpha=1.1, norm_form=True) > 0
        True

    Source:
        The paper, Lemma 3, corrected: c_1 and c_3 there, computed.
    """
    lambda0 = _positive(s)
    # eps is linear in R, so one evaluation at R = 1 gives its slope.
    return _allowed_jacobian_change(s, lambda0, norm_form) / lemma3(s, R_mu=1, R_sigma=1, R_d=1, alpha=alpha).jacobian


def _allowed_jacobian_change(s: Setting, lambda0: float, norm_form: bool) -> float:
    if not norm_form:
        return _ETA * math.sqrt(lambda0)
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
        >>> from snn_ntk.bounds import setting, lemma4
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma4(s, 100, residual=3.0, row_norm=2.0).d / lemma4(s, 400, residual=3.0, row_norm=2.0).d, 6)
        2.0

    Source:
        The paper, Lemma 4, corrected (its proof bounds phi' by the constant of phi'').
    """
    unit = 2 * residual / (math.sqrt(m) * _positive(s))
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
        >>> from snn_ntk.bounds import setting, lemma4_path
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma4_path(s, residual=2.0), 4)
        3.1623

    Source:
        The book, chapter 7 (the argument is that of Oymak and Soltanolkotabi).
    """
    return math.sqrt(2 / _positive(s)) * residual


def lemma5_residual(s: Setting, *, delta: float) -> float:
    r"""With probability 1 - delta, ||X - f(X; 0)||_F <= sqrt(n) + B sqrt(nd) + B sqrt(2 n log(1 / delta)).

    Its square has mean n + d tr K_d, which is Theta(nd), not the paper's Theta(n).

    Args:
        s: The `Setting`.
        delta: Probability of failure.

    Returns:
        The bound of the Frobenius norm.

    Raises:
        ValueError: If delta is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, lemma5_residual
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma5_residual(s, delta=0.1), 3)
        8.449

    Source:
        The paper, proof of Lemma 5, corrected.
    """
    _check(1, delta)
    return math.sqrt(s.n) * (1 + s.constants.B * (math.sqrt(s.d) + math.sqrt(2 * math.log(1 / delta))))


def lemma5_row_norm(s: Setting, m: float, *, delta: float) -> float:
    r"""With probability 1 - delta, every row of W_d(0) is at most sqrt(d) + sqrt(2 log(m / delta)) long.

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability of failure.

    Returns:
        The bound.

    Raises:
        ValueError: If m < 1 or delta is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, lemma5_row_norm
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma5_row_norm(s, 1000, delta=0.1), 3)
        6.024

    Source:
        Gaussian concentration of the norm, and a union bound; the book, chapter 7.
    """
    _check(m, delta)
    return math.sqrt(s.d) + math.sqrt(2 * math.log(m / delta))


def lemma5_operator_norm(s: Setting, m: float, *, delta: float) -> float:
    r"""With probability 1 - delta, ||W_d(0)||_2 / sqrt(m) <= 1 + (sqrt(d) + sqrt(2 log(1 / delta))) / sqrt(m).

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability of failure.

    Returns:
        The bound: Lemma 3's alpha.

    Raises:
        ValueError: If m < 1 or delta is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, lemma5_operator_norm
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma5_operator_norm(s, 1000, delta=0.1), 3)
        1.123

    Source:
        Davidson and Szarek (2001), Theorem II.13; the book, chapter 7.
    """
    _check(m, delta)
    return 1 + (math.sqrt(s.d) + math.sqrt(2 * math.log(1 / delta))) / math.sqrt(m)


def theorem1(s: Setting, t: ArrayLike, *, loss0: ArrayLike = 1.0) -> np.ndarray:
    r"""Theorem 1's bound exp(-lambda0 t / n) L(0) on the loss of Eq. 7 at time t of gradient flow (Eq. 11).

    Args:
        s: The `Setting`.
        t: Times, any shape.
        loss0: Loss at time zero.

    Returns:
        The bound, of the broadcast shape.

    Raises:
        DegenerateKernelError: If lambda0 is not positive: the theorem then promises no rate.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, theorem1
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> float(np.round(theorem1(s, 3 / 0.8), 4))
        0.3679

    Source:
        The paper, Theorem 1, Eq. 11.
    """
    decay = np.exp(-_positive(s) / s.n * np.asarray(t, np.float64))
    return np.asarray(decay * np.asarray(loss0, np.float64))


_ROUTES = ("path", "rows", "paper")


def theorem1_holds(s: Setting, m: float, *, delta: float, route: str = "path") -> bool:
    r"""Whether the proof of Theorem 1 covers width m: R' < R with probability 1 - delta.

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability of failure, a quarter for each random event used.
        route: ``"path"`` closes the loop with the length of the whole path, ``"rows"`` with each row's movement (Lemma 4) and
            lambda_min (Lemmas 2 and 3), ``"paper"`` with the norms that the paper's Lemmas 2 and 3 state, by its route.

    Returns:
        True if covered.

    Raises:
        DegenerateKernelError: If lambda0 is not positive.
        ValueError: If route is unknown, m < 1 or delta is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, theorem1_holds
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> theorem1_holds(s, 100, delta=0.1), theorem1_holds(s, 1e8, delta=0.1)
        (False, True)

    Source:
        The paper, Lemma 5 and Theorem 1, corrected.
    """
    if route not in _ROUTES:
        raise ValueError(f"expected route in {_ROUTES}, got {route!r}")
    _check(m, delta)
    lambda0, share, c = _positive(s), delta / 4, s.constants
    if route == "paper":
        start = lemma2_entrywise(s, m, delta=share) <= lambda0 / 4
    else:
        start = lemma2_lambda_min(s, m, delta=share) >= 3 * lambda0 / 4
    if not start:
        return False
    residual = lemma5_residual(s, delta=share)
    row_norm = lemma5_row_norm(s, m, delta=share)
    if route == "path":
        latent = (s.Lambda_mu + s.Lambda_inf) * ((c.beta * row_norm) ** 2 + c.L**2)
        change = math.sqrt(latent + s.n * c.L**2) * lemma4_path(s, residual=residual) / math.sqrt(m)
    else:
        R = lemma4(s, m, residual=residual, row_norm=row_norm)
        alpha = lemma5_operator_norm(s, m, delta=share)
        change = lemma3(s, R_mu=R.mu, R_sigma=R.sigma, R_d=R.d, alpha=alpha).jacobian
    return change < _allowed_jacobian_change(s, lambda0, route == "paper")


def theorem1_width(s: Setting, *, delta: float, route: str = "path") -> float:
    r"""The width from which on Theorem 1 is proved, every constant computed.

    Route ``"path"`` is O(n^2 d^2 log(m/delta) / lambda0^2), ``"rows"`` O(n^3 d^2 log / lambda0^3) and ``"paper"``
    O(n^4 d^2 log / lambda0^4) in the worst case; the paper prints n^5 d^3 / (lambda0^4 delta^2), without constants.

    Args:
        s: The `Setting`.
        delta: Probability of failure.
        route: As in `theorem1_holds`.

    Returns:
        The width, a float.

    Raises:
        DegenerateKernelError: If lambda0 is not positive.
        ValueError: If route is unknown or delta is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.bounds import setting, theorem1_width
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> widths = [theorem1_width(s, delta=0.1, route=route) for route in ("path", "rows", "paper")]
        >>> widths == sorted(widths)
        True

    Source:
        The paper, Theorem 1, corrected.
    """
    return _smallest_width(lambda m: theorem1_holds(s, m, delta=delta, route=route))
