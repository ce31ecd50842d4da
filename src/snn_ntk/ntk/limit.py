"""The tangent kernel of a deep network at infinite width, layer by layer; its feature map and principal components."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.scipy.special import erf
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import as_floats, standard_deviation
from snn_ntk.activations.duals import dual_derivatives
from snn_ntk.ntk.relu_kernel import kappa0, kappa1, snapped

__all__ = ["LimitLayer", "erf_dual", "feature_map", "principal_components", "recursion", "relu_dual"]

Dual = Callable[[Array, Array, Array], tuple[Array, Array]]


class LimitLayer(NamedTuple):
    """Kernels of layer h in the limit of infinite width.

    Attributes:
        nngp: Covariance Σ^(h) of the pre-activations f^(h), shape (n1, n2).
        derivative: Σ̇^(h) = W_std² E[φ'φ'] under Σ^(h−1), shape (n1, n2); ones for h = 1, where no activation
            comes before.
        ntk: Tangent kernel Θ^(h) of the network cut after layer h, shape (n1, n2).
    """

    nngp: Float[Array, "n1 n2"]
    derivative: Float[Array, "n1 n2"]
    ntk: Float[Array, "n1 n2"]


def relu_dual(c: Array | float, q1: Array | float, q2: Array | float) -> tuple[Array, Array]:
    """E[φφ] and E[φ'φ'] of the ReLU for (a, b) ~ N(0, [[q1, c], [c, q2]]), in closed form.

    E[φ(a)φ(b)] = √(q1 q2) κ1(ρ)/2, E[φ'(a)φ'(b)] = κ0(ρ)/2, ρ = c/√(q1 q2). Where a variance is 0, ρ = 0, and with it
    E[φφ] = 0 and E[φ'φ'] = 1/4: φ'(0) = 1/2, as in `activations.dual_derivatives`.

    Args:
        c: Covariance, any shape.
        q1: Variance of a, any shape.
        q2: Variance of b, any shape.

    Returns:
        The two expectations, each of the shape to which the arguments broadcast.

    Example:
        >>> [round(float(k), 4) for k in relu_dual(1.0, 1.0, 1.0)]
        [0.5, 0.5]

    Source: cho2009kernel.
    """
    c, q1, q2 = as_floats(c, q1, q2)
    scale = standard_deviation(q1) * standard_deviation(q2)
    rho = snapped(c / jnp.where(scale > 0, scale, 1))
    return scale * kappa1(rho) / 2, kappa0(rho) / 2


def erf_dual(c: Array | float, q1: Array | float, q2: Array | float) -> tuple[Array, Array]:
    """E[φφ] and E[φ'φ'] of erf for (a, b) ~ N(0, [[q1, c], [c, q2]]), in closed form.

    E[φφ] = (2/π) arcsin(2c/√((1 + 2q1)(1 + 2q2))), E[φ'φ'] = (4/π)/√((1 + 2q1)(1 + 2q2) − 4c²).

    The second is the derivative of the first with respect to c (Price's theorem).

    Args:
        c: Covariance, any shape.
        q1: Variance of a, any shape.
        q2: Variance of b, any shape.

    Returns:
        The two expectations, each of the shape to which the arguments broadcast.

    Example:
        >>> [round(float(k), 4) for k in erf_dual(0.5, 0.5, 0.5)]
        [0.3333, 0.7351]

    Source: williams1998computation, Eq. 11; price1958useful.
    """
    return dual_derivatives(erf, c, q1, q2)[:2]


def recursion(
    x1: Num[Array, "n1 d_in"],
    x2: Num[Array, "n2 d_in"] | None = None,
    *,
    depth: int,
    dual: Dual = relu_dual,
    W_std: float = 1.0,
    b_std: float = 0.0,
) -> list[LimitLayer]:
    """The limiting kernels of every layer, by the recursion of Jacot's Theorem 1.

    Σ^(1) = W_std² ⟨x, x'⟩/n_0 + b_std², Θ^(1) = Σ^(1), and, with expectations under N(0, Σ^(h)),
    Σ^(h+1) = W_std² E[φφ] + b_std², Σ̇^(h+1) = W_std² E[φ'φ'], Θ^(h+1) = Θ^(h) Σ̇^(h+1) + Σ^(h+1).

    Args:
        x1: Inputs, shape (n1, n_0).
        x2: Further inputs, shape (n2, n_0); `x1` again if left out. In float32 an input of both sets is told from itself
            by a rounding, which erf multiplies by its variance: above 1e3, leave `x2` out or take float64.
        depth: Number L of weight matrices, so L − 1 hidden layers.
        dual: Function of (c, q1, q2) that returns (E[φφ], E[φ'φ']); the ReLU's if left out.
        W_std: Scale of the weights.
        b_std: Scale of the biases.

    Returns:
        A list of L `LimitLayer`s; the last one's `ntk` is the network's.

    Raises:
        ValueError: If the depth is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(recursion(jnp.ones((1, 1)), depth=2, W_std=2.0**0.5)[-1].ntk[0, 0]), 4)
        4.0

    Source: jacot2018ntk, Proposition 1, Theorem 1; lecture, Theorem 3.1.
    """
    if depth < 1:
        raise ValueError(f"expected a positive depth, got {depth}")
    x2 = None if x2 is None else validation.floats(x2)
    return _recursion(validation.floats(x1), x2, depth, dual, W_std, b_std)


@full_precision
@partial(jax.jit, static_argnums=(2, 3))
def _recursion(x1, x2, depth, dual, W_std, b_std):
    n_0 = x1.shape[1]
    nngp = W_std**2 / n_0 * x1 @ (x1 if x2 is None else x2).T + b_std**2
    if x2 is None:
        # Not by another sum: its rounding would tell an input from itself, which a large variance multiplies.
        q1, q2 = jnp.diagonal(nngp)[:, None], jnp.diagonal(nngp)[None, :]
    else:
        q1 = W_std**2 / n_0 * jnp.sum(x1**2, axis=1)[:, None] + b_std**2
        q2 = W_std**2 / n_0 * jnp.sum(x2**2, axis=1)[None, :] + b_std**2
    layers = [LimitLayer(nngp, jnp.ones_like(nngp), nngp)]
    for _ in range(depth - 1):
        value, slope = dual(nngp, q1, q2)
        q1, q2 = (W_std**2 * dual(q, q, q)[0] + b_std**2 for q in (q1, q2))
        nngp, derivative = W_std**2 * value + b_std**2, W_std**2 * slope
        layers.append(LimitLayer(nngp, derivative, layers[-1].ntk * derivative + nngp))
    return layers


def feature_map(x: Num[Array, "n d"], *, hidden: int) -> Float[Array, "n p"]:
    """An explicit feature map of the ReLU tangent kernel on finitely many points.

    Ψ_k = φ1(Ψ_{k−1}), Φ_k = [φ0(Ψ_{k−1}) ⊗ Φ_{k−1}, φ1(Ψ_{k−1})], Φ_0 = Ψ_0 = x.

    φ0 and φ1 live in infinite-dimensional spaces; on n points their span has dimension at most n, and the symmetric
    square root of the Gram matrix is a coordinate system of that span. The inner products are therefore exact.

    Args:
        x: Inputs, shape (n, d), none of them zero.
        hidden: Number of hidden layers; features grow as n^hidden, so keep n and this small.

    Returns:
        Features Φ, shape (n, p), with Φ Φᵀ the kernel of the network without bias, scaled to c_σ = 2 and no 1/√d at
        the input.

    Raises:
        ValueError: If the number of hidden layers is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> feature_map(jnp.eye(3), hidden=1).shape
        (3, 12)

    Source: lecture, Lemma 1; bietti2019inductive, Lemma 1.
    """
    if hidden < 0:
        raise ValueError(f"expected a non-negative number of hidden layers, got {hidden}")
    return _feature_map(validation.floats(x), hidden)


@full_precision
@partial(jax.jit, static_argnums=1)
def _feature_map(x, hidden):
    psi = features = x
    for _ in range(hidden):
        gram = psi @ psi.T
        norms = jnp.sqrt(jnp.diag(gram))
        sizes = jnp.outer(norms, norms)
        # An input of zeros has no angles: any will do, since its features are 0.
        cosines = snapped(gram / jnp.where(sizes > 0, sizes, 1))
        cosines = jnp.where(sizes > 0, cosines, jnp.eye(len(x), dtype=x.dtype))
        outer = jnp.einsum("np,nq->npq", _square_root(kappa0(cosines)), features).reshape(x.shape[0], -1)
        psi = _square_root(kappa1(cosines) * sizes)
        features = jnp.concatenate([outer, psi], axis=1)
    return features


def _square_root(matrix):
    values, vectors = jnp.linalg.eigh(matrix)
    return vectors * jnp.sqrt(jnp.clip(values, 0.0))[None, :]


def principal_components(
    kernel: Float[Array, "n n"] | Float[np.ndarray, "n n"], count: int | None = None
) -> tuple[Float[np.ndarray, " count"], Float[np.ndarray, "n count"]]:
    """Eigenvalues and eigenfunctions of the kernel operator Π of the empirical measure, largest first.

    (Π f)(x) = (1/n) Σ_j K(x, x_j) f(x_j), ‖f‖² = (1/n) Σ_j f(x_j)² = 1. For the linear kernel K = X Xᵀ the functions
    times √λ are, up to sign, the coordinates of X on its principal directions
    (`experiments.figure2_targets.principal_coordinates`).

    Args:
        kernel: Gram matrix, shape (n, n), symmetric.
        count: Number of components; all if left out.

    Returns:
        Eigenvalues λ, shape (count,), and functions, shape (n, count). Column i is f^(i) on the data, its sign making
        the entry of largest size positive.

    Raises:
        TypeError: If `count` is not an integer.
        ValueError: If the kernel is not finite, or `count` not between 1 and n.

    Example:
        >>> import jax.numpy as jnp
        >>> values, functions = principal_components(2 * jnp.eye(4) + jnp.ones((4, 4)))
        >>> round(float(values[0]), 3), round(float(jnp.mean(functions[:, 0] ** 2)), 3)
        (1.5, 1.0)

    Source: jacot2018ntk, Section 5.
    """
    n = kernel.shape[0]
    first = 0 if count is None else n - validation.positive_integer(count, "count")
    if first < 0:
        raise ValueError(f"expected count of at most {n}, got {count}")
    # On the host: asking LAPACK for the wanted end of the spectrum alone is several times cheaper than XLA's full one.
    values, vectors = scipy.linalg.eigh(validation.finite(kernel, "kernel") / n, subset_by_index=(first, n - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return values, vectors * np.sign(largest) * math.sqrt(n)
