"""Theorems 5.1 and 5.2: the velocity of weights and kernel at the start of the flow."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from snn_ntk import _validation as validation
from snn_ntk._gaussian import gauss_hermite_rule
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import derivative_of
from snn_ntk.activations.duals import dual, dual_derivatives
from snn_ntk.activations.resolution import resolve
from snn_ntk.node_scaling.movement import checked_data, checked_masses, expect

__all__ = ["theorem51_mean", "theorem51_size", "theorem52"]


def theorem51_mean(
    x: Float[Array | np.ndarray, "n d"], lambdas: Float[Array | np.ndarray, " m"], *, activation: Any
) -> Float[np.ndarray, "m d"]:
    """Theorem 5.1: the expected velocity of every weight at the start of the flow.

    E[dw_jk/dt] at t = 0 is −(λ_j/√d) Σ_i x_ik F(‖x_i‖/√d), F(c) = E[σ(cz) σ'(cz)], z ~ N(0, 1); for the ReLU
    F(c) = c/√(2π). The targets do not enter: each a_j is as likely to be 1 as −1. What is left is the network's own
    output being unlearned.

    Args:
        x: Inputs, shape (n, d), no row zero.
        lambdas: Masses λ, shape (m,), with sum 1.
        activation: σ, whatever `activations.resolve` accepts.

    Returns:
        Expectations over the initialisation, shape (m, d), float64.

    Raises:
        ValueError: If the masses do not sum to 1 or an input is zero.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> theorem51_mean(np.eye(2), np.array([0.75, 0.25]), activation=stax.Relu()).round(4).tolist()  # −λ_j/(d√(2π))
        [[-0.1496, -0.1496], [-0.0499, -0.0499]]

    Source: caron2023overparameterised, Theorem 5.1.
    """
    x, *_ = checked_data(x)
    phi = resolve(activation).phi
    slope = derivative_of(phi)
    d = x.shape[1]
    pull = expect(lambda z: phi(z) * slope(z), np.linalg.norm(x, axis=1) / math.sqrt(d)) @ x
    return -checked_masses(lambdas)[:, None] * pull / math.sqrt(d)


@functools.partial(jax.jit, static_argnums=0)
def _duals(activation: Any, c: Array, q1: Array, q2: Array) -> tuple[Array, Array]:
    return dual_derivatives(activation, c, q1, q2)[:2]


def theorem51_size(
    x: Float[Array | np.ndarray, "n d"], y: Any, lambdas: Float[Array | np.ndarray, " m"], *, activation: Any
) -> Float[np.ndarray, " m"]:
    """The size of every node's first step: the root mean square of ‖dw_j/dt‖ at t = 0, of order √λ_j.

    E‖dw_j/dt‖² = λ_j {yᵀ Θ̄ y + (1 − λ_j) tr(Θ̄ K̄) + λ_j E[sᵀ M_1 s]}, s = σ(X w_1/√d), K̄ = E s sᵀ.
    The last term is exact for ReLU (s_i σ'(z_i) = s_i, so it is E‖Xᵀs‖²/d) and by quadrature over pairs otherwise.

    Args:
        x: Inputs, shape (n, d), no row zero.
        y: Targets, shape (n,).
        lambdas: Masses λ, shape (m,), with sum 1.
        activation: σ, whatever `activations.resolve` accepts.

    Returns:
        Root mean squares over the initialisation, shape (m,), float64.

    Raises:
        ValueError: If the masses do not sum to 1, an input is zero, or `y` is not of shape (n,) or not finite.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> sizes = theorem51_size(np.eye(2), np.ones(2), np.array([0.75, 0.25]), activation=stax.Relu())
        >>> sizes.round(4).tolist()
        [0.7342, 0.405]

    Source: book, chapter 13; caron2023overparameterised, Theorem 5.1 (which states the mean only).
    """
    x, *_ = checked_data(x)
    y, lambdas = validation.finite(validation.of_shape(y, x.shape[:1], "y"), "y"), checked_masses(lambdas)
    inner = x @ x.T / x.shape[1]
    q1, q2 = np.diag(inner)[:, None], np.diag(inner)[None, :]
    k, slope_dual = (np.asarray(v, np.float64) for v in _duals(activation, inner, q1, q2))
    gram = inner * slope_dual
    phi = resolve(activation).phi
    if resolve(activation).name == "ReLU":
        own = float((inner * k).sum())
    else:
        slope = derivative_of(phi)
        own = float((inner * np.asarray(dual(lambda z: phi(z) * slope(z), inner, q1, q2), np.float64)).sum())
    return np.sqrt(lambdas * (y @ gram @ y + (1 - lambdas) * (gram * k).sum() + lambdas * own))


@full_precision
def theorem52(x: Float[Array | np.ndarray, "n d"], *, activation: Any, nodes: int = 24) -> Float[np.ndarray, "n n"]:
    """Theorem 5.2 (smooth σ): the matrix H of E[dΘ/dt] = −(Σ_j λ_j²) H at the start of the flow.

    H_{ii'} = (⟨x_i, x_i'⟩/d²) Σ_k {⟨x_i, x_k⟩ G(x_i, x_i', x_k) + ⟨x_i', x_k⟩ G(x_i', x_i, x_k)},
    G(x, x', x'') = E[σ''(z) σ'(z') σ'(z'') σ(z'')], (z, z', z'') ~ N(0, inner products/d), by
    Gauss–Hermite quadrature in three variables. Again no target enters.

    Args:
        x: Inputs, shape (n, d), no row zero; the cost is n³ times nodes³.
        activation: A smooth σ, whatever `activations.resolve` accepts.
        nodes: Number of quadrature nodes in each direction.

    Returns:
        H, shape (n, n), float64.

    Raises:
        ValueError: If an input is zero.

    Example:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> h = theorem52(np.eye(2), activation=jnp.tanh)
        >>> bool(h[0, 0] < 0 and abs(h[0, 1]) < 1e-6)  # σ'' opposes σ: the kernel grows as the output is unlearned
        True

    Source: caron2023overparameterised, Theorem 5.2.
    """
    x, *_ = checked_data(x)
    n, d = x.shape
    inner = x @ x.T / d
    phi = resolve(activation).phi
    slope = derivative_of(phi)
    bend = derivative_of(slope)
    at, weights = gauss_hermite_rule(nodes)
    grid = np.stack(np.meshgrid(at, at, at, indexing="ij")).reshape(3, -1)
    weight = np.einsum("a,b,c->abc", weights, weights, weights).reshape(-1)
    triples = np.stack(np.meshgrid(range(n), range(n), range(n), indexing="ij"), axis=-1).reshape(-1, 3)
    covariance = inner[triples[:, :, None], triples[:, None, :]]
    values, vectors = np.linalg.eigh(covariance)
    roots = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]  # singular where an input comes twice

    def g(root: Array) -> Array:
        z, z1, z2 = root @ grid
        return jnp.sum(weight * bend(z) * slope(z1) * slope(z2) * phi(z2))

    # A triple at a time: 24³ nodes for all n³ triples at once would not fit.
    third = np.asarray(jax.jit(lambda r: jax.lax.map(g, r))(jnp.asarray(roots)), np.float64).reshape(n, n, n)
    half = inner * np.einsum("ik,ijk->ij", inner, third)
    return half + half.T
