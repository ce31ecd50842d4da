"""Lemma 2: how close the kernel of a finite network is to its limit at the start, every constant computed."""

from __future__ import annotations

import math

from snn_ntk.paper.setting import Setting, check_width_and_delta, positive_lambda0, smallest_width

__all__ = [
    "lemma2",
    "lemma2_entrywise",
    "lemma2_entrywise_width",
    "lemma2_lambda_min",
    "lemma2_lambda_min_width",
    "lemma2_width",
]


def _bernstein(m: float, variance: float, scale: float, log: float) -> float:
    """The t at which m t^2 / 2 = log (variance + scale t)."""
    return (scale * log + math.sqrt((scale * log) ** 2 + 2 * m * variance * log)) / m


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
        >>> from snn_ntk.paper import lemma2, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> bool(1.9 < lemma2(s, 1e6, delta=0.1) / lemma2(s, 4e6, delta=0.1) < 2.1)
        True

    Source:
        The paper, Lemma 2, corrected; matrix Bernstein inequalities of Tropp (2012), Theorems 6.1 and 6.2.
    """
    check_width_and_delta(m, delta)
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
        >>> from snn_ntk.paper import lemma2, lemma2_width, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> abs(lemma2(s, lemma2_width(s, delta=0.1), delta=0.1) - s.lambda0 / 4) < 1e-4
        True

    Source:
        The paper, Lemma 2 (which prints lambda0 where its own proof gives lambda0 squared).
    """
    lambda0 = positive_lambda0(s)
    return smallest_width(lambda m: lemma2(s, m, delta=delta) <= lambda0 / 4)


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
        >>> from snn_ntk.paper import lemma2, lemma2_entrywise, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma2_entrywise(s, 1e6, delta=0.1) > lemma2(s, 1e6, delta=0.1)
        True

    Source:
        The paper, proof of Lemma 2, with the inequality its summands allow.
    """
    check_width_and_delta(m, delta)
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
        >>> from snn_ntk.paper import lemma2_entrywise_width, lemma2_width, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma2_entrywise_width(s, delta=0.1) > lemma2_width(s, delta=0.1)
        True

    Source:
        The paper, Lemma 2.
    """
    lambda0 = positive_lambda0(s)
    return smallest_width(lambda m: lemma2_entrywise(s, m, delta=delta) <= lambda0 / 4)


def _relative_variance(s: Setting) -> float:
    """v with E[(Theta_inf^{-1/2} Z Theta_inf^{-1/2})^2] <= v I for one neuron's contribution Z."""
    return (s.n * s.constants.B**2 + (s.d + 2) * s.latent) / positive_lambda0(s)


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
        >>> from snn_ntk.paper import lemma2_lambda_min, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma2_lambda_min(s, 10, delta=0.1), 0.7 < lemma2_lambda_min(s, 1e5, delta=0.1) < 0.8
        (0.0, True)

    Source:
        The paper, Lemma 2 (there stated for the norm, which bounds nothing from below); the book, chapter 6.
    """
    check_width_and_delta(m, delta)
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
        >>> from snn_ntk.paper import lemma2_lambda_min, lemma2_lambda_min_width, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma2_lambda_min(s, lemma2_lambda_min_width(s, delta=0.1), delta=0.1) / s.lambda0, 6)
        0.75

    Source:
        The book, chapter 6.
    """
    check_width_and_delta(1, delta)
    return 32 * _relative_variance(s) * math.log(s.n * s.d / delta)
