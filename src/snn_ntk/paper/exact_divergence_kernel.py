"""The tangent kernel of W_μ in the geometry of the exact divergence (Eq. 4)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.duals import dual_derivatives

__all__ = ["exact_kl_kernel", "whitened_product"]


@full_precision
def whitened_product(
    x1: Num[ArrayLike, "n1 _"], x: Num[ArrayLike, "n _"], *, rtol: float | None = None
) -> Float[np.ndarray, "n1 n"]:
    """Products in which the training inputs look isotropic, ⟨x₁, (UᵀU)⁺ x⟩ with u_i = x_i/‖x_i‖.

    For n ≤ d independent unit-norm inputs, `whitened_product(x, x)` is the identity.

    Args:
        x1: Inputs to evaluate at, shape (n1, d). Their part outside the span of `x` does not count.
        x: Training inputs, none zero, shape (n, d).
        rtol: Singular values of U at most `rtol` times the largest count as zero, because directions below it would be
            divided by noise; None is max(n, d) times the epsilon of the dtype of `x`, of float64
            for integers.

    Returns:
        Products, shape (n1, n), float64.

    Raises:
        ValueError: If the inputs are not finite or of different dimension, or a training input is zero.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
        >>> bool(jnp.allclose(whitened_product(x, x), jnp.eye(2), atol=1e-6))
        True

    Source: book, chapter 8.
    """
    tolerance = _rank_tolerance(x) if rtol is None else rtol
    x1, x = validation.finite(x1, "x1"), validation.finite(x, "x")
    if x1.shape[1] != x.shape[1]:
        raise ValueError(f"expected inputs of dimension {x.shape[1]}, got {x1.shape[1]}")
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    if not norms.all():
        raise ValueError(
            f"expected training inputs other than 0, which has no direction, got row {norms.argmin()} of 0"
        )
    return _whitened(x1, x, x / norms, tolerance)


def _rank_tolerance(x):
    """max(n, d) units in the last place of `x`; integers are exact in float64."""
    return max(np.shape(x)) * float(np.finfo(np.result_type(np.asarray(x), 1.0)).eps)


def _whitened(x1, x, rows, rtol):
    """⟨x₁, (RᵀR)⁺ x⟩, R the matrix of the rows; singular values at most `rtol` times the largest count as zero."""
    _, values, basis = np.linalg.svd(rows, full_matrices=False)
    kept = values > rtol * values[0]
    basis, values = basis[kept], values[kept]
    return (x1 @ basis.T / values**2) @ (x @ basis.T).T


def exact_kl_kernel(
    x1: Num[ArrayLike, "n1 d"],
    x: Num[ArrayLike, "n d"],
    *,
    activation: Any,
    sigma0: float,
    rtol: float | None = None,
    variance_weights: bool = False,
) -> Float[np.ndarray, "n1 n"]:
    """Tangent kernel of W_μ in the geometry of the exact divergence, Θ_KL = ⟨x₁, (UᵀU)⁺ x⟩ κ'(⟨x₁, x⟩).

    With W_σ trained too, for inputs of unit norm and to second order of the divergence in the movement,
    Θ_KL + (σ0²/2) ⟨s₁, (SᵀS)⁺ s⟩ κ''(⟨x₁, x⟩) with s = x∘x: a variance costs twice as much as a mean.

    Args:
        x1: Inputs to evaluate at, shape (n1, d).
        x: Training inputs, none zero, shape (n, d).
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        sigma0: The constant σ0 of the variance weights.
        rtol: Rank tolerance of `whitened_product`.
        variance_weights: Whether W_σ is trained too; inputs are then of unit norm.

    Returns:
        Kernel, shape (n1, n), float64. Unlike Θ^(μ) it depends on the whole training set, not on the two inputs alone.

    Raises:
        TypeError: If the activation is unknown.
        ValueError: If the inputs are of different dimension, a training input is zero, or, with `variance_weights`, they
            are not of unit norm.

    Example:
        >>> import jax.numpy as jnp
        >>> from snn_ntk import stax
        >>> x = jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
        >>> kernel = exact_kl_kernel(x, x, activation=stax.Erf(), sigma0=0.7)
        >>> bool(abs(kernel[0, 1]) < 1e-6), bool(jnp.allclose(kernel[0, 0], kernel[1, 1]))  # samples decouple
        (True, True)

    Source: wang2024vae, Eq. 4, Theorem 2 (for this objective); book, chapter 8.
    """
    kernel = whitened_product(x1, x, rtol=rtol) * _slope_moment(x1, x, activation, sigma0)
    if not variance_weights:
        return kernel
    squares1, squares = (np.asarray(validation.unit_rows(points), np.float64) ** 2 for points in (x1, x))
    tolerance = _rank_tolerance(x) if rtol is None else rtol
    product = _whitened(squares1, squares, squares, tolerance)
    return kernel + sigma0**2 / 2 * product * _derivatives(x1, x, activation, sigma0)[2]


def _slope_moment(x1, x, activation, sigma0):
    """κ' at the law of the pre-activations, E[φ'(z) φ'(z')] under independent noise."""
    return _derivatives(x1, x, activation, sigma0)[1]


@full_precision
def _derivatives(x1, x, activation, sigma0):
    """κ, κ' and κ'' at the law of the pre-activations."""
    x1, x = validation.floats(x1), validation.floats(x)
    q1, q = ((1 + sigma0**2) * jnp.sum(points**2, axis=1) for points in (x1, x))
    return [np.asarray(each, np.float64) for each in dual_derivatives(activation, x1 @ x.T, q1[:, None], q)]
