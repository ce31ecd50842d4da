"""The closed-form training of the infinitely wide network.

With L = 1/(2n) ‖f(X) − Y‖² (Eq. 7) the limit moves as f(t) = Y + exp(−Θt/n) (f(0) − Y).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

__all__ = ["LimitFlow", "limit_flow", "limit_movement"]


class LimitFlow(NamedTuple):
    """Outputs of the infinitely wide network over time.

    Attributes:
        train: On the training points, shape (r, n, d), float64.
        test: On the test points, shape (r, k, d), float64, or None.
    """

    train: Float[np.ndarray, "r n d"]
    test: Float[np.ndarray, "r k d"] | None


def _spectrum(kernel, f0, y):
    dtype = getattr(kernel, "dtype", np.float64)
    kernel, f0, y = (np.asarray(a, dtype=np.float64) for a in (kernel, f0, y))
    n = len(kernel) if kernel.ndim else 0
    if not n or kernel.shape != (n, n) or f0.shape != y.shape or f0.ndim != 2 or len(f0) != n:
        raise ValueError(f"expected a kernel (n, n) and f0, y (n, d), got {kernel.shape}, {f0.shape} and {y.shape}")
    if not all(np.isfinite(a).all() for a in (kernel, f0, y)):
        raise ValueError("expected a finite kernel and finite outputs and targets, got NaN or infinity")
    if not np.allclose(kernel, kernel.T, rtol=0, atol=1e-3 * np.abs(kernel).max(initial=0)):
        raise ValueError("expected a symmetric kernel, that of the training points with themselves, got another one")
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    if values[0] < -1e-3 * values[-1]:
        raise ValueError(f"expected a kernel without negative eigenvalues, got {values[0]:.3g} beside {values[-1]:.3g}")
    # What a unit in the last place of every entry can make of an eigenvalue, what the decomposition can, and what the
    # most negative one shows.
    unit = float(jnp.finfo(dtype).eps) if jnp.issubdtype(dtype, jnp.floating) else 0.0
    rounding = max(max(unit, n * np.finfo(np.float64).eps) * values[-1], -values[0])
    return np.where(values <= rounding, 0.0, values), vectors, vectors.T @ (y - f0)


def _filters(values, times, learning_rate, n):
    # What is left of each eigenmode at each time, and (1 − left)/λ. Without error a mode of eigenvalue 0 has no part in
    # the kernel of test points either, which is then a multiple of 0 that rounding has moved: it must not grow with t.
    left, gained = _all_filters(values, times, learning_rate, n)
    # Where the kernel is 0 altogether nothing is known of them, and they move along a line.
    null = values == 0
    return np.where(null, 1.0, left), np.where(null & (values.max() > 0), 0.0, gained)


def _check_line(gained):
    if not np.isfinite(gained).all():
        raise ValueError("expected finite times for a kernel that is 0, got infinity: what it moves, moves for ever")


@np.errstate(invalid="ignore")  # 0 · ∞, in modes that are not looked at
def _all_filters(values, times, learning_rate, n):
    times = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if times.ndim != 1 or not (times >= 0).all():
        raise ValueError(f"expected times of shape (r,), each at least 0, got {times}")
    times = times[:, None]
    if learning_rate is not None and not learning_rate > 0:
        raise ValueError(f"expected a learning rate > 0, got {learning_rate}")
    if learning_rate is None:
        exponent = -values * times / n
        slope = times / n
    else:
        if not (times == np.rint(times)).all():
            raise ValueError(f"expected whole numbers of steps with a learning rate, got {times.ravel()}")
        rate = learning_rate * values / n
        if np.any(rate >= 1):  # the mode oscillates: (1 − rate)^t is negative for odd t
            with np.errstate(over="ignore"):
                left = (1 - rate) ** times
            # At a rate of 2 to rounding a mode changes its sign for ever: there is no end that a power would be.
            endless = np.isinf(times).any() and rate.max() >= 2 - 1e-12
            if endless or not np.isfinite(left).all():
                raise ValueError(
                    f"expected a learning rate below {2 * n / values.max():.3g}, or fewer steps, got {learning_rate:.3g} "
                    f"and {times.max():.3g}: descent diverges, and its outputs {'have no limit' if np.isfinite(left).all() else 'overflow'}"
                )
            return left, (1 - left) / np.where(values > 0, values, 1.0)
        exponent = times * np.log1p(-rate)
        slope = learning_rate * times / n
    flat = np.abs(exponent) < 1e-12
    gained = np.where(flat, slope, -np.expm1(exponent) / np.where(flat, 1.0, values))
    return np.exp(exponent), gained


def limit_flow(
    kernel: Any,
    f0: Any,
    y: Any,
    times: Any,
    *,
    kernel_test: Any = None,
    f0_test: Any = None,
    learning_rate: float | None = None,
) -> LimitFlow:
    """Outputs of the infinitely wide network during training, in closed form.

    On the training points f(t) = Y + exp(−Θt/n) (f(0) − Y); elsewhere
    f(x, t) = f(x, 0) + Θ(x, X) Θ⁻¹ (I − exp(−Θt/n)) (Y − f(0)). Everything is computed in float64 on the host.
    Eigenvalues of Θ that rounding of its entries (in the type they come in) can make of 0, those of inputs that are
    there twice, count as 0: their modes are never learned, and test points do not see them.

    Args:
        kernel: Factor Θ of the tangent kernel Θ ⊗ I_d, shape (n, n).
        f0: Outputs before training, shape (n, d).
        y: Targets, shape (n, d).
        times: Times of the flow of L = 1/(2n) ‖f − Y‖², or whole numbers of steps if `learning_rate` is given, shape (r,);
            infinity is the end.
        kernel_test: Kernel between test and training points, shape (k, n).
        f0_test: Outputs on test points before training, shape (k, d).
        learning_rate: The rate η of gradient descent; exp(−Θt/n) then becomes (I − ηΘ/n)^t, exactly.

    Returns:
        Both outputs; `test` is None without `kernel_test`.

    Raises:
        ValueError: If shapes do not fit together, the kernel is not symmetric and positive, a number is not finite, a time is
            negative or a number of steps not whole, the learning rate is not positive, descent diverges beyond the range of
            floats or is asked for an end that it does not have (η ≥ 2n/λ_max), only one of `kernel_test` and `f0_test` is
            given, or test points are asked for at infinity under a kernel that is 0.

    Example:
        >>> import numpy as np
        >>> flow = limit_flow(np.eye(2), np.zeros((2, 1)), np.ones((2, 1)), [0.0, 2.0])
        >>> flow.train[:, 0, 0].round(4).tolist()
        [0.0, 0.6321]

    Source: wang2024vae, Theorem 1 (in the limit); jacot2018ntk, Section 5.
    """
    values, vectors, modes = _spectrum(kernel, f0, y)
    left, gained = _filters(values, times, learning_rate, len(values))
    train = np.asarray(y, np.float64) - np.einsum("ik,rk,kd->rid", vectors, left, modes)
    if (kernel_test is None) != (f0_test is None):
        raise ValueError("expected kernel_test and f0_test together, got one of them")
    if kernel_test is None:
        return LimitFlow(train, None)
    kernel_test, f0_test = np.asarray(kernel_test, np.float64), np.asarray(f0_test, np.float64)
    if kernel_test.shape != (len(f0_test), len(values)) or f0_test.shape[1:] != train.shape[2:]:
        raise ValueError(
            f"expected kernel_test (k, {len(values)}) and f0_test (k, {train.shape[2]}), "
            f"got {kernel_test.shape} and {f0_test.shape}"
        )
    _check_line(gained)
    across = kernel_test @ vectors
    test = f0_test + np.einsum("ik,rk,kd->rid", across, gained, modes)
    return LimitFlow(train, test)


def limit_movement(
    layer_kernel: Any,
    kernel: Any,
    f0: Any,
    y: Any,
    times: Any,
    *,
    learning_rate: float | None = None,
) -> Float[np.ndarray, " r"]:
    """How far one layer's weights move in the infinitely wide network: the limit of ‖W_s(t) − W_s(0)‖_F.

    With g(t) = Θ⁻¹ (I − exp(−Θt/n)), ‖ΔW_s(t)‖_F² → (Y − f(0))ᵀ g(t) Θ^(s) g(t) (Y − f(0)), summed over outputs.

    Args:
        layer_kernel: Tangent kernel Θ^(s) of the layer alone, shape (n, n).
        kernel: Tangent kernel Θ of everything that is trained, shape (n, n).
        f0: Outputs before training, shape (n, d).
        y: Targets, shape (n, d).
        times: Times, or numbers of steps if `learning_rate` is given, shape (r,).
        learning_rate: As in `limit_flow`.

    Returns:
        Frobenius norms, shape (r,), float64.

    Raises:
        ValueError: As `limit_flow` raises it.

    Example:
        >>> import numpy as np
        >>> limit_movement(np.eye(2), 2 * np.eye(2), np.zeros((2, 1)), np.ones((2, 1)), [0.0, 1e9]).round(4).tolist()
        [0.0, 0.7071]

    Source: book, chapter 9.
    """
    values, vectors, modes = _spectrum(kernel, f0, y)
    _, gained = _filters(values, times, learning_rate, len(values))
    _check_line(gained)
    layer_kernel = np.asarray(layer_kernel, np.float64)
    if layer_kernel.shape != vectors.shape:
        raise ValueError(f"expected layer_kernel of shape {vectors.shape} like kernel, got {layer_kernel.shape}")
    layer = vectors.T @ layer_kernel @ vectors
    moved = gained[:, :, None] * modes
    return np.sqrt(np.maximum(np.einsum("rkd,kl,rld->r", moved, layer, moved), 0.0))
