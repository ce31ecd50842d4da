"""What the regularised network converges to (Theorem 2): as printed, corrected, and for the exact divergence.

Only W_μ is trained, starting at f̂₀; targets Y. Every formula has one shape, kernel ridge regression,

    f̂(x, ∞) = f̂₀(x) + K(x, X) (K(X, X) + ρ I)⁻¹ (Y − f̂₀(X)),

and they differ in K, in ρ and in whether f̂₀ is there:

    printed     K = Θ^(μ),                        ρ = β,        f̂₀ dropped
    corrected   K = Θ^(μ) = ⟨x, x'⟩ κ',            ρ = nβ        (penalty: Eq. 12's Frobenius norm)
    exact KL    K = Θ_KL  = ⟨x, (UᵀU)⁺ x'⟩ κ',     ρ = β/σ0²     (penalty: Eq. 4's divergence, W_σ held at σ0)

where the rows of U are the normalised training inputs. All functions take n × n factors: the full kernels are these
times the identity on the outputs, so every output is regressed by itself. Solves are done in float64 on the host.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

__all__ = ["effective_ridge", "ridge_as_printed", "ridge_corrected", "ridge_exact_kl"]


def solved(kernel, ridge, residual):
    """(K + ρ I)⁻¹ residual by Cholesky, refused where rounding decides it.

    A kernel averaged along a path is not symmetric: its inverse is by pivots and refused by its smallest singular value.

    Raises:
        ValueError: If the smallest eigenvalue of K + ρ I is not above what rounding of K can make of 0.
    """
    if not np.allclose(kernel, kernel.T, rtol=0, atol=1e-5 * np.abs(kernel).max()):
        shifted = kernel + ridge * np.eye(len(kernel))
        singular = np.linalg.svd(shifted, compute_uv=False)
        if singular[-1] <= len(kernel) * np.finfo(np.float64).eps * singular[0]:
            raise ValueError(
                f"expected an invertible kernel, got the singular values {singular[0]:.2g} to {singular[-1]:.2g}"
            )
        return np.linalg.solve(shifted, residual)
    rounding = len(kernel) * np.finfo(np.float64).eps * (float(np.abs(np.diagonal(kernel)).max()) + ridge)
    try:
        factor = cho_factor(kernel + ridge * np.eye(len(kernel)))
        # No pivot is below the smallest eigenvalue.
        smallest = float(np.diagonal(factor[0]).min() ** 2)
    except np.linalg.LinAlgError:
        factor, smallest = None, -math.inf
    if factor is not None and smallest > rounding:
        return cho_solve(factor, residual)
    lowest = float(np.linalg.eigvalsh((kernel + kernel.T) / 2)[0])
    raise ValueError(
        f"expected a kernel whose smallest eigenvalue plus the ridge is above rounding, {rounding:.2g}, got the "
        f"eigenvalue {lowest:.2g} and the ridge {ridge:.2g}: take a ridge above {max(rounding, rounding - lowest):.2g}, "
        "or a kernel computed in float64 and without inputs that are there twice"
    )


def regress(kernel, kernel_test, ridge, residual):
    """K_test (K + ρ I)⁻¹ residual."""
    return (kernel if kernel_test is None else kernel_test) @ solved(kernel, ridge, residual)


def checked_kernels(kernel, kernel_test, f0_test, beta, *outputs) -> tuple[Any, ...]:
    """The arguments of a ridge formula as float64 arrays whose shapes fit."""
    kernel, *outputs = (np.asarray(value, np.float64) for value in (kernel, *outputs))
    kernel_test = None if kernel_test is None else np.asarray(kernel_test, np.float64)
    f0_test = None if f0_test is None else np.asarray(f0_test, np.float64)
    check_square(kernel)
    for value in (kernel, kernel_test, f0_test, *outputs):
        if value is not None and not np.isfinite(value).all():
            raise ValueError("expected finite kernels, outputs and targets, got NaN or an infinity among them")
    if kernel_test is not None and kernel_test.shape[1:] != kernel.shape[:1]:
        raise ValueError(f"expected kernel_test of shape (n_test, {kernel.shape[0]}), got {kernel_test.shape}")
    if (kernel_test is None) != (f0_test is None):
        raise ValueError("expected kernel_test and f0_test together, got one of them")
    check_outputs(kernel, *outputs)
    if kernel_test is not None and f0_test is not None:
        fitting = (len(kernel_test), *outputs[0].shape[1:])
        if f0_test.shape != fitting:
            raise ValueError(f"expected f0_test of shape {fitting}, got {f0_test.shape}")
    if not 0 < beta < math.inf:
        raise ValueError(f"expected beta > 0, got {beta}")
    return kernel, kernel_test, f0_test, *outputs


def check_square(kernel):
    """Raises an error unless a kernel is that of points with themselves."""
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"expected a square kernel, got shape {kernel.shape}")


def check_outputs(kernel, *outputs):
    """Raises an error unless outputs and targets have one row for each point and one shape: NumPy would broadcast."""
    shapes = [each.shape for each in outputs]
    if len(set(shapes)) > 1 or shapes[0][:1] != kernel.shape[:1] or len(shapes[0]) > 2:
        raise ValueError(f"expected outputs and targets of one shape ({len(kernel)}, d_out), got {shapes}")


def ridge_as_printed(
    kernel: Float[ArrayLike, "n _"],
    y: Float[ArrayLike, "n d_out"],
    *,
    beta: float,
    kernel_test: Float[ArrayLike, "n_test _"] | None = None,
) -> Float[np.ndarray, "n_eval d_out"]:
    """Theorem 2 as the paper prints it, Θ^(μ)(x, X) (Θ^(μ)(X, X) + β I)⁻¹ Y.

    Kept to be compared with; `ridge_corrected` is what Eq. 12 converges to.

    Args:
        kernel: Θ^(μ)(X, X), shape (n, n).
        y: Targets Y, shape (n, d_out).
        beta: Weight β of Eq. 12.
        kernel_test: Θ^(μ)(x, X), shape (n_test, n); None for the training points.

    Returns:
        Predictions, shape (n_test, d_out) or (n, d_out), float64.

    Raises:
        ValueError: If shapes do not fit, β ≤ 0,
            or the ridge is too small for the kernel's smallest eigenvalue.

    Example:
        >>> import jax.numpy as jnp
        >>> ridge_as_printed(jnp.eye(2), jnp.eye(2), beta=1.0).round(6).tolist()
        [[0.5, 0.0], [0.0, 0.5]]

    Source: wang2024vae, Theorem 2 (as printed), Eq. 13.
    """
    start_test = None if kernel_test is None else np.zeros((*np.shape(kernel_test)[:1], *np.shape(y)[1:]))
    k, k_test, _, targets = checked_kernels(kernel, kernel_test, start_test, beta, y)
    return regress(k, k_test, beta, targets)


def ridge_corrected(
    kernel: Float[ArrayLike, "n _"],
    y: Float[ArrayLike, "n d_out"],
    f0: Float[ArrayLike, "n d_out"],
    *,
    beta: float,
    kernel_test: Float[ArrayLike, "n_test _"] | None = None,
    f0_test: Float[ArrayLike, "n_test d_out"] | None = None,
) -> Float[np.ndarray, "n_eval d_out"]:
    """The minimiser of Eq. 12 for a wide network, f̂₀(x) + Θ^(μ)(x, X) (Θ^(μ)(X, X) + nβ I)⁻¹ (Y − f̂₀(X)).

    Args:
        kernel: Θ^(μ)(X, X), shape (n, n).
        y: Targets Y, shape (n, d_out).
        f0: Outputs f̂₀(X) of the network at initialisation, shape (n, d_out).
        beta: Weight β of Eq. 12.
        kernel_test: Θ^(μ)(x, X), shape (n_test, n); None for the training points.
        f0_test: f̂₀(x), shape (n_test, d_out); with `kernel_test`.

    Returns:
        Predictions, shape (n_test, d_out) or (n, d_out), float64.

    Raises:
        ValueError: If shapes do not fit, one of `kernel_test` and `f0_test` is missing, β ≤ 0,
            or the ridge is too small for the kernel's smallest eigenvalue.

    Example:
        >>> import jax.numpy as jnp
        >>> ridge_corrected(jnp.eye(2), jnp.eye(2), jnp.zeros((2, 2)), beta=0.5).round(6).tolist()  # ridge nβ = 1
        [[0.5, 0.0], [0.0, 0.5]]

    Source: wang2024vae, Theorem 2 (corrected), Eq. 12; book, chapter 8.
    """
    k, k_test, start_test, targets, start = checked_kernels(kernel, kernel_test, f0_test, beta, y, f0)
    return (start if k_test is None else start_test) + regress(k, k_test, len(k) * beta, targets - start)


def ridge_exact_kl(
    kernel: Float[ArrayLike, "n _"],
    y: Float[ArrayLike, "n d_out"],
    f0: Float[ArrayLike, "n d_out"],
    *,
    beta: float,
    sigma0: float,
    kernel_test: Float[ArrayLike, "n_test _"] | None = None,
    f0_test: Float[ArrayLike, "n_test d_out"] | None = None,
) -> Float[np.ndarray, "n_eval d_out"]:
    """The minimiser of Eq. 4 for a wide network with W_σ = σ0 held, in which the ridge is β/σ0² whatever n is.

    f̂₀(x) + Θ_KL(x, X) (Θ_KL(X, X) + (β/σ0²) I)⁻¹ (Y − f̂₀(X))

    Args:
        kernel: `exact_kl_kernel(x, x, ...)`, shape (n, n).
        y: Targets Y, shape (n, d_out).
        f0: Outputs f̂₀(X) of the network at initialisation, shape (n, d_out).
        beta: Weight β of Eq. 4.
        sigma0: The constant σ0 > 0 of the variance weights.
        kernel_test: `exact_kl_kernel(x_test, x, ...)`, shape (n_test, n); None for the training points.
        f0_test: f̂₀(x_test), shape (n_test, d_out); with `kernel_test`.

    Returns:
        Predictions, shape (n_test, d_out) or (n, d_out), float64.

    Raises:
        ValueError: If shapes do not fit, one of `kernel_test` and `f0_test` is missing, β ≤ 0, σ0 ≤ 0,
            or the ridge is too small for the kernel's smallest eigenvalue.

    Example:
        >>> import jax.numpy as jnp
        >>> f0 = jnp.zeros((2, 2))
        >>> ridge_exact_kl(jnp.eye(2), jnp.eye(2), f0, beta=0.25, sigma0=0.5).round(6).tolist()  # ridge β/σ0² = 1
        [[0.5, 0.0], [0.0, 0.5]]

    Source: wang2024vae, Theorem 2 (for the objective of Eq. 4), Eq. 4; book, chapter 8.
    """
    k, k_test, start_test, targets, start = checked_kernels(kernel, kernel_test, f0_test, beta, y, f0)
    if not 0 < sigma0 < math.inf:
        raise ValueError(f"expected sigma0 > 0 (without noise the divergence is infinite), got {sigma0}")
    return (start if k_test is None else start_test) + regress(k, k_test, beta / sigma0**2, targets - start)


def effective_ridge(
    kernel: Float[ArrayLike, "n n"],
    y: Float[ArrayLike, "n d_out"],
    f0: Float[ArrayLike, "n d_out"],
    f: Float[ArrayLike, "n d_out"],
) -> float:
    """The ridge that a trained network acts as if it had: least-squares ρ in K (Y − f) = ρ (f − f̂₀).

    The equation is the ridge solution f = f̂₀ + K (K + ρ I)⁻¹ (Y − f̂₀) with the inverse multiplied out.

    Args:
        kernel: K(X, X), shape (n, n).
        y: Targets Y, shape (n, d_out).
        f0: Outputs at initialisation, shape (n, d_out).
        f: Outputs after training, shape (n, d_out).

    Returns:
        ρ; nβ if Eq. 12 was minimised and the network is wide.

    Raises:
        ValueError: If shapes do not fit, or the outputs did not move.

    Example:
        >>> import jax.numpy as jnp
        >>> y, f0 = jnp.eye(2), jnp.zeros((2, 2))
        >>> round(effective_ridge(jnp.eye(2), y, f0, ridge_corrected(jnp.eye(2), y, f0, beta=0.5)), 6)
        1.0

    Source: book, chapter 8.
    """
    kernel, y, f0, f = (np.asarray(value, np.float64) for value in (kernel, y, f0, f))
    check_square(kernel)
    check_outputs(kernel, y, f0, f)
    moved = f - f0
    if not moved.any():
        raise ValueError("expected outputs that training has moved, got f equal to f0")
    return float(np.sum(moved * (kernel @ (y - f))) / np.sum(moved**2))
