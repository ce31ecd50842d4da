"""Lemma 5 and Theorem 1: the random quantities at the start, and the width from which on the loss falls linearly."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from snn_ntk import _validation as validation
from snn_ntk.paper.concentration import lemma2_entrywise, lemma2_lambda_min
from snn_ntk.paper.movement import allowed_jacobian_change, lemma3, lemma4, lemma4_path
from snn_ntk.paper.settings import Setting, check_width_and_delta, positive_lambda0, smallest_width

__all__ = ["lemma5_operator_norm", "lemma5_residual", "lemma5_row_norm", "theorem1", "theorem1_holds", "theorem1_width"]


def lemma5_residual(s: Setting, *, delta: float, targets: float | None = None) -> float:
    """The bound that the residual at the start keeps with probability 1 − δ.

    ‖Y − f̂(X; 0)‖_F ≤ ‖Y‖_F + B √(nd) + B √(2n log(1/δ))

    X are the encoded inputs and Y the targets. Its square has mean ‖Y‖_F² + d tr K_d, which is Θ(nd) for targets of unit
    norm, not the paper's Θ(n).

    Args:
        s: The `Setting`.
        delta: Probability δ of failure.
        targets: ‖Y‖_F; None is √n, of targets of unit norm.

    Returns:
        The bound of the Frobenius norm.

    Raises:
        ValueError: If δ is outside (0, 1), or `targets` is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma5_residual, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma5_residual(s, delta=0.1), 3)
        8.449

    Source: wang2024vae, Lemma 5 (its proof, corrected); book, chapter 7.
    """
    check_width_and_delta(1, delta)
    y = math.sqrt(s.n) if targets is None else validation.non_negative(targets, "targets")
    return y + math.sqrt(s.n) * s.constants.B * (math.sqrt(s.d) + math.sqrt(2 * math.log(1 / delta)))


def lemma5_row_norm(s: Setting, m: float, *, delta: float) -> float:
    """The length √d + √(2 log(m/δ)) that every row of W_d(0) keeps with probability 1 − δ.

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability δ of failure.

    Returns:
        The bound.

    Raises:
        ValueError: If m < 1 or δ is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma5_row_norm, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma5_row_norm(s, 1000, delta=0.1), 3)
        6.024

    Source: book, chapter 7 (Gaussian concentration of the norm, and a union bound).
    """
    check_width_and_delta(m, delta)
    return math.sqrt(s.d) + math.sqrt(2 * math.log(m / delta))


def lemma5_operator_norm(s: Setting, m: float, *, delta: float) -> float:
    """The bound 1 + (√d + √(2 log(1/δ)))/√m that ‖W_d(0)‖₂/√m keeps with probability 1 − δ.

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability δ of failure.

    Returns:
        The bound, the α of Lemma 3.

    Raises:
        ValueError: If m < 1 or δ is outside (0, 1).

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import lemma5_operator_norm, setting
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> round(lemma5_operator_norm(s, 1000, delta=0.1), 3)
        1.123

    Source: davidson2001local, Theorem II.13; book, chapter 7.
    """
    check_width_and_delta(m, delta)
    return 1 + (math.sqrt(s.d) + math.sqrt(2 * math.log(1 / delta))) / math.sqrt(m)


def theorem1(s: Setting, t: ArrayLike, *, loss0: ArrayLike = 1.0) -> np.ndarray:
    """Theorem 1's bound exp(−λ0 t/n) L(0) on the loss of Eq. 7 at time t of gradient flow.

    Args:
        s: The `Setting`.
        t: Times, any shape.
        loss0: Loss L(0) at time zero, broadcast against `t`.

    Returns:
        The bound, of the broadcast shape, float64.

    Raises:
        DegenerateKernelError: If λ0 is not positive: the theorem then promises no rate.
        ValueError: If a time or L(0) is negative or NaN.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import setting, theorem1
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> float(np.round(theorem1(s, 3 / 0.8), 4))
        0.3679

    Source: wang2024vae, Theorem 1, Eq. 11; book, chapter 7.
    """
    t, loss0 = np.asarray(t, np.float64), np.asarray(loss0, np.float64)
    if not ((t >= 0).all() and (loss0 >= 0).all()):
        raise ValueError(f"expected times and losses of at least 0, got {t.min()} and {loss0.min()}")
    return np.asarray(np.exp(-positive_lambda0(s) / s.n * t) * loss0)


_ROUTES = ("path", "rows", "paper")


def theorem1_holds(s: Setting, m: float, *, delta: float, route: str = "path", targets: float | None = None) -> bool:
    """Whether the proof of Theorem 1 covers width m, R' < R with probability 1 − δ.

    Args:
        s: The `Setting`.
        m: Width.
        delta: Probability δ of failure, a quarter for each random event used.
        route: "path" closes the loop with the length of the whole path, "rows" with each row's movement (Lemma 4) and
            λ_min (Lemmas 2 and 3), "paper" with the norms that the paper's Lemmas 2 and 3 state, by its route.
        targets: ‖Y‖_F; None is √n.

    Returns:
        True if covered.

    Raises:
        DegenerateKernelError: If λ0 is not positive.
        ValueError: If `route` is unknown, m < 1, δ is outside (0, 1), or `targets` is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import setting, theorem1_holds
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> theorem1_holds(s, 100, delta=0.1), theorem1_holds(s, 1e8, delta=0.1)
        (False, True)

    Source: wang2024vae, Lemma 5 (corrected), Theorem 1; book, chapter 7.
    """
    if route not in _ROUTES:
        raise ValueError(f"expected route in {_ROUTES}, got {route!r}")
    check_width_and_delta(m, delta)
    lambda0, share, c = positive_lambda0(s), delta / 4, s.constants
    if route == "paper":
        start = lemma2_entrywise(s, m, delta=share) <= lambda0 / 4
    else:
        start = lemma2_lambda_min(s, m, delta=share) >= 3 * lambda0 / 4
    if not start:
        return False
    residual = lemma5_residual(s, delta=share, targets=targets)
    row_norm = lemma5_row_norm(s, m, delta=share)
    if route == "path":
        latent = (s.Lambda_mu + s.Lambda_inf) * ((c.beta * row_norm) ** 2 + c.L**2)
        change = math.sqrt(latent + s.n * c.L**2) * lemma4_path(s, residual=residual) / math.sqrt(m)
    else:
        R = lemma4(s, m, residual=residual, row_norm=row_norm)
        alpha = lemma5_operator_norm(s, m, delta=share)
        change = lemma3(s, R_mu=R.mu, R_sigma=R.sigma, R_d=R.d, alpha=alpha).jacobian
    return change < allowed_jacobian_change(s, lambda0, route == "paper")


def theorem1_width(s: Setting, *, delta: float, route: str = "path", targets: float | None = None) -> float:
    """The width from which on Theorem 1 is proved, every constant computed.

    Route "path" is O(n² d² log(m/δ)/λ0²), "rows" O(n³ d² log(m/δ)/λ0³) and "paper" O(n⁴ d² log(m/δ)/λ0⁴) in the worst
    case; the paper prints n⁵ d³/(λ0⁴ δ²), without constants.

    Args:
        s: The `Setting`.
        delta: Probability δ of failure.
        route: As in `theorem1_holds`.
        targets: ‖Y‖_F; None is √n.

    Returns:
        The width, a float.

    Raises:
        DegenerateKernelError: If λ0 is not positive.
        ValueError: If `route` is unknown, δ is outside (0, 1), or `targets` is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from snn_ntk.paper import setting, theorem1_width
        >>> s = setting(np.eye(3), latent_kernel=0.5 * np.eye(3), d_kernel=0.3 * np.eye(3), sigma0=0.7, constants="erf")
        >>> widths = [theorem1_width(s, delta=0.1, route=route) for route in ("path", "rows", "paper")]
        >>> widths == sorted(widths)
        True

    Source: wang2024vae, Theorem 1 (corrected); book, chapter 7.
    """
    return smallest_width(lambda m: theorem1_holds(s, m, delta=delta, route=route, targets=targets))
