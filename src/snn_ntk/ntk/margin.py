"""Classification in a kernel's function space: the best logistic loss in a ball, and the hard margin."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from snn_ntk import _validation as validation

__all__ = ["LogisticPath", "logistic_path", "margin_norm"]


class LogisticPath(NamedTuple):
    """Minimisers of the logistic loss over balls of a kernel's function space, one a penalty.

    Attributes:
        radius: Norms R = ‖f‖, shape (k,), increasing.
        loss: Losses at the minimisers, shape (k,).
        dual: Coefficients α of f = Σ_j α_j k(·, x_j), shape (k, n).
    """

    radius: np.ndarray
    loss: np.ndarray
    dual: np.ndarray


def logistic_path(kernel: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> LogisticPath:
    """Best logistic loss (1/n) Σ log(1 + exp(−y_i f(x_i))) in the ball ‖f‖ ≤ R, for a range of R.

    Each minimiser over a ball is the minimiser of loss + λ‖f‖²/2 for one λ; f = Σ_j α_j k(·, x_j), solved by
    Newton's method in a trust region from the strongest penalty down, to a millionth of ‖f‖.

    Args:
        kernel: Gram matrix, shape (n, n), positive definite, float64.
        y: Labels ±1, shape (n,).
        penalties: Penalties λ > 0, shape (k,), in any order; taken in decreasing order, so that R increases.

    Returns:
        `LogisticPath`, one minimiser a penalty.

    Raises:
        ValueError: If a label is not ±1, a penalty not positive or too small for float64, or the kernel not finite.

    Example:
        >>> path = logistic_path(np.eye(4), np.array([1, -1, 1, -1.0]), np.array([1.0, 0.1]))
        >>> bool(path.loss[1] < path.loss[0] < np.log(2))
        True

    Source: lecture, slide "Expected 0-1 Error Bound" (its first term); cao2019generalization, Theorem 3.3.
    """
    kernel, y, n = validation.finite(kernel, "kernel"), np.asarray(y, dtype=np.float64), len(y)
    if not np.all(np.abs(y) == 1):
        raise ValueError("expected labels -1 and 1, got others")
    penalties = np.sort(np.asarray(penalties, dtype=np.float64))[::-1]
    if not (penalties > 0).all():
        raise ValueError(f"expected positive penalties, got {penalties.min()}")
    eigenvalues, vectors = np.linalg.eigh(kernel)
    features = vectors * np.sqrt(np.maximum(eigenvalues, 0))  # f = features @ v with ‖f‖ = ‖v‖
    v, rows = np.zeros(n), []

    def objective(v, penalty):
        margins = y * (features @ v)
        slope = -y / (1 + np.exp(np.clip(margins, -500, 500)))
        value = np.mean(np.logaddexp(0, -margins)) + penalty * v @ v / 2
        return value, features.T @ slope / n + penalty * v

    def curvature(v, penalty):
        margins = np.clip(y * (features @ v), -500, 500)
        weight = 1 / (2 + np.exp(margins) + np.exp(-margins))
        return (features.T * weight) @ features / n + penalty * np.eye(n)

    pull = np.linalg.norm(objective(v, 0.0)[1])
    for penalty in penalties:
        # No minimiser is nearer to 0 than this, and none farther from v than the gradient over the penalty.
        least = max(np.linalg.norm(v), pull / (penalty + eigenvalues[-1] / (4 * n)))
        tolerance = 1e-6 * penalty * least
        found = minimize(
            objective,
            v,
            args=(penalty,),
            jac=True,
            method="trust-exact",
            hess=curvature,
            options={"gtol": tolerance, "maxiter": 1000},
        )
        left = np.abs(found.jac).max()
        if not left <= tolerance:
            raise ValueError(
                f"expected penalties that float64 resolves for this kernel, got {penalty:.2g}: the gradient stays at "
                f"{left:.1e}, where {tolerance:.1e} says that the minimiser is there to a millionth"
            )
        v = found.x
        margins = y * (features @ v)
        dual = y / (1 + np.exp(margins)) / (n * penalty)  # stationarity: α_i = −ℓ'_i/(nλ)
        rows.append((np.linalg.norm(v), np.mean(np.logaddexp(0, -margins)), dual))
    radius, loss, dual = (np.asarray(column) for column in zip(*rows, strict=True))
    return LogisticPath(radius, loss, dual)


def margin_norm(kernel: np.ndarray, y: np.ndarray) -> float:
    """The infimum inf{√(ỹᵀK⁻¹ỹ) : ỹ_i y_i ≥ 1}, the norm of the hard-margin kernel support vector machine.

    Solved in the dual, max_{α ≥ 0} Σα − ½ (α∘y)ᵀK(α∘y), whose value is half the squared norm.

    Args:
        kernel: Gram matrix, shape (n, n), positive definite, float64.
        y: Labels ±1, shape (n,).

    Returns:
        The norm; at most √(yᵀK⁻¹y).

    Raises:
        ValueError: If a label is not ±1, the kernel not finite or with a negative eigenvalue, or the infimum infinite or
            not found to a hundredth.

    Example:
        >>> round(margin_norm(np.eye(4), np.array([1, -1, 1, -1.0])), 4)
        2.0

    Source: lecture, Corollary 3.10; cao2019generalization, Corollary 3.10.
    """
    y = np.asarray(y, dtype=np.float64)
    if not np.all(np.abs(y) == 1):
        raise ValueError(f"expected labels -1 and 1, got {np.unique(y)}")
    q = validation.finite(kernel, "kernel") * np.outer(y, y)
    values = np.linalg.eigvalsh(q)
    if values[0] < -1e-10 * abs(values[-1]):
        raise ValueError(f"expected a kernel without negative eigenvalues, got {values[0]:.3g} beside {values[-1]:.3g}")

    def negative_dual(alpha):
        product = q @ alpha
        return alpha @ product / 2 - alpha.sum(), product - 1

    start = np.full(len(y), 1 / max(q.sum(axis=1).max(), 1e-12))
    result = minimize(
        negative_dual,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] * len(y),
        options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 30},
    )
    # Divided by the least margin the function is feasible: so near is its norm to the infimum, if there is one.
    least = float((q @ result.x).min())
    if not least > 0.99:
        raise ValueError(
            f"expected labels that functions of the kernel's space have by a margin which float64 resolves, got one of "
            f"{least:.2g} for 1: an input that is there twice with both labels has none"
        )
    return float(np.sqrt(max(-2 * result.fun, 0.0)))
