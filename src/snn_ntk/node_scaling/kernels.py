"""The tangent Gram matrix of a network with scaled nodes: at finite width, its mean and variance, its random limit."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import derivative_of
from snn_ntk.activations.duals import dual, dual_derivatives
from snn_ntk.activations.resolution import resolve
from snn_ntk.node_scaling.network import RELU, ScaledNetwork, init_scaled, node_pre_activations
from snn_ntk.node_scaling.scalings import checked_share, zipf_masses

__all__ = ["gram_variance", "limiting_gram", "mean_gram", "tangent_gram"]


def slopes_at(activation: Any, h: Array) -> Array:
    """σ'(h)."""
    return derivative_of(resolve(activation).phi)(h)


@full_precision
def tangent_gram(
    network: ScaledNetwork,
    x1: Num[Array, "n1 d"],
    x2: Num[Array, "n2 d"] | None = None,
    *,
    activation: Any = RELU,
) -> Float[Array, "n1 n2"]:
    """The tangent Gram matrix of a network at its present weights.

    Θ = Σ_j λ_j M_j, M_j = (1/d) D_j X X'ᵀ D'_j, D_j = diag σ'(X w_j/√d).

    Args:
        network: The network.
        x1: Inputs, shape (n1, d).
        x2: Further inputs, shape (n2, d); `x1` again if left out.
        activation: As in `scaled_output`.

    Returns:
        Θ, shape (n1, n2). With several outputs this is the block of any one output with itself, where a² = 1.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.array([0.75, 0.25]))
        >>> tangent_gram(net, jnp.array([[1.0, 1.0], [1.0, -1.0]])).tolist()
        [[1.0, 0.0], [0.0, 0.75]]

    Source: caron2023overparameterised, Eq. 6, Eq. 7.
    """
    x1, x2 = validation.floats(x1), None if x2 is None else validation.floats(x2)
    left = slopes_at(activation, node_pre_activations(network.weights, x1))
    right = left if x2 is None else slopes_at(activation, node_pre_activations(network.weights, x2))
    x2 = x1 if x2 is None else x2
    inner = jnp.matmul(x1, x2.T) / x1.shape[1]
    return inner * jnp.matmul(left * network.scalings, right.T)


@full_precision
def covariances(x1: Array, x2: Array, variance: Any) -> tuple[Array, Array, Array]:
    """Covariances of the pre-activations at two sets of inputs, and their variances at each."""
    x1, x2 = validation.floats(x1), validation.floats(x2)
    scale = validation.non_negative(variance, "variance") / x1.shape[1]
    c = scale * jnp.matmul(x1, x2.T)
    return c, scale * (x1**2).sum(1)[:, None], scale * (x2**2).sum(1)[None, :]


def mean_gram(
    x1: Num[Array, "n1 d"], x2: Num[Array, "n2 d"] | None = None, *, activation: Any = RELU, variance: float = 1.0
) -> Float[Array, "n1 n2"]:
    """The mean Θ̄ = E M_1 of the tangent Gram matrix at initialisation: the same for every γ, λ and m.

    Θ̄(x, x') = (⟨x, x'⟩/d) E[σ'(w·x/√d) σ'(w·x'/√d)], whose smallest eigenvalue is the κ_n of the theorems. For the
    ReLU the expectation is (π − angle)/2π.

    Args:
        x1: Inputs, shape (n1, d).
        x2: Further inputs, shape (n2, d); `x1` again if left out.
        activation: As in `scaled_output`.
        variance: Variance of the weights.

    Returns:
        Θ̄, shape (n1, n2), assuming Σ λ_j = 1.

    Example:
        >>> import jax.numpy as jnp
        >>> mean_gram(jnp.eye(2)).tolist()
        [[0.25, 0.0], [0.0, 0.25]]

    Source: caron2023overparameterised, Eq. 9, Eq. 10, Proposition 3.1.
    """
    x2 = x1 if x2 is None else x2
    c, q1, q2 = covariances(x1, x2, variance)
    return c / variance * dual_derivatives(activation, c, q1, q2)[1]


def gram_variance(x: Num[Array, "n d"], *, activation: Any = RELU, variance: float = 1.0) -> Float[Array, "n n"]:
    """The variances of the entries of M_1, the contribution of one node to the tangent Gram matrix.

    Var (M_1)_{ii'} = (⟨x_i, x_i'⟩/d)² (E[σ'(h)² σ'(h')²] − E[σ'(h) σ'(h')]²).
    For the ReLU, whose slope is 0 or 1, the bracket is p − p² with p = (π − angle)/2π.

    Args:
        x: Inputs, shape (n, d).
        activation: As in `scaled_output`.
        variance: Variance of the weights.

    Returns:
        The variances, shape (n, n). At finite width Θ has these times Σ_j λ_j²; in the limit of infinite width, times
        (1 − γ)² Σ_j λ̃_j².

    Example:
        >>> import jax.numpy as jnp
        >>> gram_variance(jnp.eye(2))[0].tolist()
        [0.0625, 0.0]

    Source: caron2023overparameterised, Eq. 12.
    """
    c, q1, q2 = covariances(x, x, variance)
    mean = dual_derivatives(activation, c, q1, q2)[1]
    # A slope that is 0 or 1 equals its square.
    second = mean if _is_relu(activation) else dual(_squared_slope(activation), c, q1, q2)
    return (c / variance) ** 2 * (second - mean**2)


def _is_relu(activation: Any) -> bool:
    return resolve(activation).name == resolve(RELU).name


@functools.cache
def _squared_slope(activation: Any) -> Any:
    return lambda h: slopes_at(activation, h) ** 2


def limiting_gram(
    key: PRNGKeyArray,
    x: Num[Array, "n d"],
    *,
    gamma: float,
    alpha: float | None = None,
    nodes: int = 4096,
    activation: Any = RELU,
    variance: float = 1.0,
) -> Float[Array, "n n"]:
    """One sample of the infinitely wide network's tangent Gram matrix, which is random for γ < 1.

    Θ_∞ = γ Θ̄ + (1 − γ) Σ_j λ̃_j M_j.

    Args:
        key: Random key.
        x: Inputs, shape (n, d).
        gamma: Share γ of the constant part, between 0 and 1.
        alpha: Exponent α of the Zipf law λ̃, between 0 and 1; not needed for γ = 1.
        nodes: Number of terms of the sum that are sampled; the rest is replaced by its mean, which leaves E Θ_∞
            exact and takes away (1 − γ)² Σ_{j > nodes} λ̃_j² of the variance's factor.
        activation: As in `scaled_output`.
        variance: Variance of the weights.

    Returns:
        Θ_∞, shape (n, n).

    Raises:
        ValueError: As `node_scalings`; if `nodes` is below 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> limiting_gram(jax.random.key(0), jnp.eye(2), gamma=1.0).tolist()
        [[0.25, 0.0], [0.0, 0.25]]

    Source: caron2023overparameterised, Proposition 3.3, Eq. 11.
    """
    x, gamma = validation.floats(x), checked_share(gamma)
    mean = mean_gram(x, activation=activation, variance=variance)
    if gamma == 1:
        return mean
    masses = zipf_masses(np.arange(1, validation.positive_integer(nodes, "nodes") + 1), alpha)
    drawn = init_scaled(key, masses, x.shape[1], variance=variance, dtype=x.dtype)
    rest = gamma + (1 - gamma) * (1 - float(masses.sum()))
    return rest * mean + (1 - gamma) * tangent_gram(drawn, x, activation=activation)
