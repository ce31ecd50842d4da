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
from snn_ntk._precision import full_precision, in_precision_of
from snn_ntk.activations.base import derivative_of
from snn_ntk.activations.duals import dual, dual_derivatives
from snn_ntk.activations.resolution import resolve
from snn_ntk.activations.series import norms
from snn_ntk.node_scaling.movement import checked_data, checked_masses, second_moments

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
        ValueError: If the masses do not sum to 1, an input is zero, σ jumps, or σ² overflows or is not resolved at the
            variance ‖x_i‖²/d of an input.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> theorem51_mean(np.eye(2), np.array([0.75, 0.25]), activation=stax.Relu()).round(4).tolist()  # −λ_j/(d√(2π))
        [[-0.1496, -0.1496], [-0.0499, -0.0499]]

    Source: caron2023overparameterised, Theorem 5.1.
    """
    x, *_ = checked_data(x)
    d = x.shape[1]
    if resolve(activation).jumps:
        raise ValueError(
            f"expected an activation without jumps, got {resolve(activation).name}, whose weights have no gradient"
        )
    _, products = second_moments(activation, np.linalg.norm(x, axis=1) / math.sqrt(d))
    pull = products @ x
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


_TOLERANCE = 1e-6
"""Of G, relative to the mean of the absolute value."""

_MOST_NODES, _AT_ONCE = 2**24, 2**14


def _factors(phi: Any, z: Array) -> tuple[Array, Array, Array, Array]:
    """σ, σ', σ'' and σ'σ."""
    slope = derivative_of(phi)
    return phi(z), slope(z), derivative_of(slope)(z), slope(z) * phi(z)


@functools.partial(jax.jit, static_argnums=0)
def _norms(phi: Any, q: Array) -> tuple[Array, Array]:
    return norms(lambda z: _factors(phi, z), ((0, 1), (1, 2)), q)


@functools.partial(jax.jit, static_argnums=0)
def _sums(phi: Any, root: Array, nodes: Array, weights: Array) -> Array:
    """Weighted sums of the product, of its absolute value and of each factor's square."""
    z = root @ nodes
    factors = _factors(phi, z[0])[2], _factors(phi, z[1])[1], _factors(phi, z[2])[3]
    product = factors[0] * factors[1] * factors[2]
    return jnp.stack([product, jnp.abs(product), *(f**2 for f in factors)]) @ weights


def _trapezoid(phi: Any, root: np.ndarray, spacing: float, half_width: float) -> np.ndarray | None:
    """`_sums` over the principal axes, with neighbours at most `spacing` apart on each and in each pre-activation.

    None if that takes too many nodes.
    """
    steps = spacing / np.maximum(np.abs(root).max(axis=0), 1)
    halves = np.where(root.any(axis=0), np.ceil(half_width / steps), 0).astype(int)
    sizes = tuple(2 * halves + 1)
    count = math.prod(map(int, sizes))
    if count > _MOST_NODES:
        return None
    axes = [np.arange(-half, half + 1) * step for half, step in zip(halves, steps, strict=True)]
    densities = [np.exp(-(axis**2) / 2) for axis in axes]
    total = np.zeros(5)
    for start in range(0, count, _AT_ONCE):
        places = np.arange(start, start + _AT_ONCE)
        at = np.unravel_index(np.minimum(places, count - 1), sizes)
        nodes = np.stack([axis[i] for axis, i in zip(axes, at, strict=True)])
        weights = np.prod([density[i] / density.sum() for density, i in zip(densities, at, strict=True)], axis=0)
        total += np.asarray(_sums(phi, root, nodes, np.where(places < count, weights, 0)))
    return total


def _third_moment(phi: Any, covariance: np.ndarray, squares: np.ndarray) -> float:
    """E[σ''(z) σ'(z') (σ'σ)(z'')] by rules that are refined until two agree; NaN where that takes too many nodes.

    `squares` are the means of the factors' squares: a rule that does not give them has missed something.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.where(values > 1e-14 * values.max(), values, 0))  # singular where an input comes twice
    last = math.inf
    for level in range(30):
        found = _trapezoid(phi, root, 0.8 / 1.5**level, min(6.5 + level, 13.0))
        if found is None:
            break
        value, size = found[:2]
        if abs(value - last) <= _TOLERANCE * size and (np.abs(found[2:] - squares) <= 1e-4 * squares).all():
            return float(value)
        last = value
    return math.nan


@full_precision
def theorem52(x: Float[Array | np.ndarray, "n d"], *, activation: Any) -> Float[np.ndarray, "n n"]:
    """Theorem 5.2 (smooth σ): the matrix H of E[dΘ/dt] = −(Σ_j λ_j²) H at the start of the flow.

    H_{ii'} = (⟨x_i, x_i'⟩/d²) Σ_k {⟨x_i, x_k⟩ G(x_i, x_i', x_k) + ⟨x_i', x_k⟩ G(x_i', x_i, x_k)},
    G(x, x', x'') = E[σ''(z) σ'(z') σ'(z'') σ(z'')], (z, z', z'') ~ N(0, inner products/d), by
    trapezoid rules in up to three variables, in float64, to 1e-6 of E|σ''σ'σ'σ|. Again no target enters.

    Args:
        x: Inputs, shape (n, d), no row zero; the cost is n³ integrals, each times the standard deviation of a
            pre-activation to the power of up to three where that is above 1.
        activation: A smooth σ, whatever `activations.resolve` accepts.

    Returns:
        H, shape (n, n), float64.

    Raises:
        ValueError: If an input is zero; if σ has a kink or a jump, or overflows or is not resolved at the variance
            ‖x_i‖²/d of an input.

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
    resolved = resolve(activation)
    with in_precision_of(np.float64):
        squares, good = (np.asarray(part) for part in _norms(resolved.phi, jnp.asarray(np.diag(inner))))
        third = np.zeros((n, n, n))
        for i, j, k in np.ndindex(n, n, n):
            # Of no weight, or of a σ that is refused below.
            if inner[i, j] and inner[i, k] and good.all():
                at = np.array([i, j, k])
                expected = squares[[2, 1, 3], at]
                third[i, j, k] = _third_moment(resolved.phi, inner[np.ix_(at, at)], expected)
    if not (good.all() and np.isfinite(third).all()):
        raise ValueError(
            f"expected inputs at which {resolved.name} and two derivatives can be integrated, got variances ‖x‖²/d up to "
            f"{inner.max():.4g}: it has a kink or a jump, overflows, or changes faster than is resolved"
        )
    half = inner * np.einsum("ik,ijk->ij", inner, third)
    return half + half.T
