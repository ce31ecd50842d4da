"""Lemma 2: how close the kernel of a finite network is to its limit at the start, every constant computed."""

from __future__ import annotations

import math

from snn_ntk.paper.settings import Setting, check_width_and_delta, positive_lambda0, smallest_width

__all__ = [
    "lemma2",
    "lemma2_entrywise",
    "lemma2_entrywise_width",
    "lemma2_lambda_min",
    "lemma2_lambda_min_width",
    "lemma2_width",
]


def _bernstein(m: float, variance: float, scale: float, log: float) -> float:
    """The t at which m t²/2 = log · (variance + scale · t)."""
    return (scale * log + math.sqrt((scale * log) ** 2 + 2 * m * variance * log)) / m


def lemma2(s: Setting, m: float, *, delta: float) -> float:
    """The radius t with P(‖Θ(0) − Θ∞‖₂ > t) ≤ δ at width m, the first half of Lemma 2.

    Θ(0) − Θ∞ = (1/m) Σ_r M_r ⊗ (a_r a_rᵀ − I) + (1/m) Σ_r (g_r g_rᵀ + M_r − K) ⊗ I

    Matrix Bernstein inequalities bound the first term (sub-exponential: variance (d + 3) ‖E M²‖, scale
    max(2, (d + 4)/3) ‖M‖) and the second (bounded).

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability δ of failure.

    Returns:
        The radius t, of order √(log(nd/δ)/m).

    Raises:
        ValueError: If m < 1 or δ is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma2, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> bool(1.9 < lemma2(s, 1e6, delta=0.1) / lemma2(s, 4e6, delta=0.1) < 2.1)
        True

    Source: wang2024vae, Lemma 2 (corrected), Eq. 15; tropp2012user, Theorem 6.1, Theorem 6.2; book, chapter 6.
    """
    check_width_and_delta(m, delta)
    bounded = s.n * s.constants.B**2 + s.latent
    decoder = _bernstein(
        m,
        (s.d + 3) * s.latent * s.norm_latent,
        max(2.0, (s.d + 4) / 3) * s.latent,
        math.log(4 * s.n * s.d / delta),
    )
    neurons = _bernstein(m, bounded * s.norm, bounded / 3, math.log(4 * s.n / delta))
    return decoder + neurons


def lemma2_width(s: Setting, *, delta: float) -> float:
    """The width from which on Lemma 2 gives ‖Θ(0) − Θ∞‖₂ ≤ λ0/4, O(log(nd/δ)/λ0²).

    Args:
        s: The `Setting`.
        delta: Probability δ of failure.

    Returns:
        The width, a float (it can exceed any machine).

    Raises:
        DegenerateKernelError: If λ0 is not positive.
        ValueError: If δ is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma2, lemma2_width, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> abs(lemma2(s, lemma2_width(s, delta=0.1), delta=0.1) - s.lambda0 / 4) < 1e-4
        True

    Source: wang2024vae, Lemma 2 (which prints λ0 where its own proof gives λ0²), Eq. 15; book, chapter 6.
    """
    lambda0 = positive_lambda0(s)
    return smallest_width(lambda m: lemma2(s, m, delta=delta) <= lambda0 / 4)


def lemma2_entrywise(s: Setting, m: float, *, delta: float) -> float:
    """The same radius as `lemma2` by the paper's own route: every entry, a union bound, the Frobenius norm.

    Hoeffding's inequality, which the paper applies to all of it, needs bounded summands: it is kept for g gᵀ + M.
    The factors a_k a_k' are products of Gaussians, so their entries get Bernstein's inequality with variance 4ℓ1² and
    scale 2ℓ1, where ℓ1 = L² + min(σ0² β², 2L²/π) bounds an entry of M.

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability δ of failure.

    Returns:
        The radius t, of order n d √(log(nd/δ)/m).

    Raises:
        ValueError: If m < 1 or δ is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma2, lemma2_entrywise, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma2_entrywise(s, 1e6, delta=0.1) > lemma2(s, 1e6, delta=0.1)
        True

    Source: wang2024vae, Lemma 2 (its proof, with the inequality its summands allow), Eq. 15; book, chapter 6.
    """
    check_width_and_delta(m, delta)
    c = s.constants
    entry = c.L**2 + min((s.sigma0 * c.beta) ** 2, 2 * c.L**2 / math.pi)
    decoder = s.n * s.d * _bernstein(m, 4 * entry**2, 2 * entry, math.log(4 * (s.n * s.d) ** 2 / delta))
    neurons = s.n * (c.B**2 + entry) * math.sqrt(2 * math.log(4 * s.n**2 / delta) / m)
    return decoder + neurons


def lemma2_entrywise_width(s: Setting, *, delta: float) -> float:
    """The width from which on the paper's route gives ‖Θ(0) − Θ∞‖₂ ≤ λ0/4.

    Args:
        s: The `Setting`.
        delta: Probability δ of failure.

    Returns:
        The width, O(n² d² log(nd/δ)/λ0²), its constants computed.

    Raises:
        DegenerateKernelError: If λ0 is not positive.
        ValueError: If δ is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma2_entrywise_width, lemma2_width, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma2_entrywise_width(s, delta=0.1) > lemma2_width(s, delta=0.1)
        True

    Source: wang2024vae, Lemma 2 (by the route of its proof), Eq. 15; book, chapter 6.
    """
    lambda0 = positive_lambda0(s)
    return smallest_width(lambda m: lemma2_entrywise(s, m, delta=delta) <= lambda0 / 4)


def _relative_variance(s: Setting) -> float:
    """The v with E[(Θ∞^(−1/2) Z Θ∞^(−1/2))²] ≤ v I for one neuron's contribution Z."""
    return (s.n * s.constants.B**2 + (s.d + 2) * s.latent) / positive_lambda0(s)


def lemma2_lambda_min(s: Setting, m: float, *, delta: float) -> float:
    """The bound that λ_min(Θ(0)) keeps with probability 1 − δ at width m, the second half of Lemma 2.

    Θ(0) ⪰ (1 − ε) Θ∞, so λ_min(Θ(0)) ≥ (1 − ε) λ0, with ε = √(2 v log(nd/δ)/m), v = (n B² + (d + 2) ‖M‖)/λ0

    A sum of positive semi-definite terms has a sub-Gaussian lower tail whatever its upper tail does.

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability δ of failure.

    Returns:
        (1 − ε) λ0, or 0 where ε ≥ 1 (then it says nothing).

    Raises:
        DegenerateKernelError: If λ0 is not positive.
        ValueError: If m < 1 or δ is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma2_lambda_min, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> lemma2_lambda_min(s, 10, delta=0.1), 0.7 < lemma2_lambda_min(s, 1e5, delta=0.1) < 0.8
        (0.0, True)

    Source: wang2024vae, Lemma 2 (there stated for the norm, which bounds nothing from below); book, chapter 6.
    """
    check_width_and_delta(m, delta)
    epsilon = math.sqrt(2 * _relative_variance(s) * math.log(s.n * s.d / delta) / m)
    return max(0.0, 1 - epsilon) * s.lambda0


def lemma2_lambda_min_width(s: Setting, *, delta: float) -> float:
    """The width from which on λ_min(Θ(0)) ≥ 3λ0/4 with probability 1 − δ.

    m = 32 (n B² + (d + 2) ‖M‖) log(nd/δ)/λ0

    It has one power of λ0, and n d in place of n² d².

    Args:
        s: The `Setting`.
        delta: Probability δ of failure.

    Returns:
        The width, a float.

    Raises:
        DegenerateKernelError: If λ0 is not positive.
        ValueError: If δ is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma2_lambda_min, lemma2_lambda_min_width, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma2_lambda_min(s, lemma2_lambda_min_width(s, delta=0.1), delta=0.1) / s.lambda0, 6)
        0.75

    Source: wang2024vae, Lemma 2 (its second half, corrected); book, chapter 6.
    """
    check_width_and_delta(1, delta)
    return 32 * _relative_variance(s) * math.log(s.n * s.d / delta)
