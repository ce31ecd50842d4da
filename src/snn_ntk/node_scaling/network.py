"""Networks whose hidden nodes have scales of their own, and whose features therefore move.

    f(x) = Σ_j √λ_j a_j σ(w_j·x/√d),     w_j trained,  a_j = ±1 and λ_j fixed,     λ_j = γ/m + (1 − γ) λ̃_j

With γ = 1 this is the NTK scaling. With γ < 1 a few nodes keep a finite share of the output however wide the network
is: its tangent kernel stays random, its weights move, and most of its nodes can be removed.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Num, PRNGKeyArray

from snn_ntk import _validation as validation
from snn_ntk._neural_tangents import stax
from snn_ntk._precision import full_precision
from snn_ntk.activations.resolution import resolve

__all__ = ["ScaledNetwork", "init_scaled", "node_movement", "risk", "scaled_output"]

RELU = stax.Relu()


class ScaledNetwork(NamedTuple):
    """A network f(x) = Σ_j √λ_j a_j σ(w_j·x/√d) of m nodes.

    Attributes:
        weights: Weights w, shape (m, d), the only parameters that are trained.
        signs: Signs a = ±1, shape (m,), or (m, K) with K outputs.
        scalings: Scales λ, shape (m,).
    """

    weights: Float[Array, "*batch m d"]
    signs: Float[Array, "*batch m"] | Float[Array, "*batch m outputs"]
    scalings: Float[Array, "*batch m"]


def init_scaled(
    key: PRNGKeyArray,
    scalings: Num[ArrayLike, " m"],
    d: int,
    *,
    outputs: int | None = None,
    variance: float = 1.0,
    dtype: Any = None,
) -> ScaledNetwork:
    """Draw a network at initialisation, w_j ~ N(0, variance · I), a_j = ±1 with equal probability.

    Args:
        key: Random key.
        scalings: Scales λ, shape (m,).
        d: Dimension of an input.
        outputs: Number K of outputs; None is one output, without an axis of its own.
        variance: Variance of the weights: 1 in the source, 2 in its published runs. A ReLU network is homogeneous, so
            this multiplies its output by the square root.
        dtype: Floating type; JAX's default if left out.

    Returns:
        The network.

    Raises:
        TypeError: If a size is not an integer.
        ValueError: If a size is below 1, or a scale or the variance is negative.

    Example:
        >>> import jax
        >>> from snn_ntk.node_scaling import node_scalings
        >>> init_scaled(jax.random.key(0), node_scalings(8, gamma=1.0), 3).weights.shape
        (8, 3)

    Source: caron2023overparameterised, Eq. 3, Eq. 8.
    """
    scalings, d = np.asarray(scalings), validation.positive_integer(d, "d")
    if scalings.ndim != 1 or not scalings.size or not (scalings >= 0).all():
        raise ValueError(f"expected non-negative scalings of shape (m,), got {scalings.shape}")
    variance = validation.non_negative(variance, "variance")
    shape = (scalings.size,) if outputs is None else (scalings.size, validation.positive_integer(outputs, "outputs"))
    dtype = jnp.result_type(float) if dtype is None else dtype
    key_weights, key_signs = jax.random.split(key)
    return ScaledNetwork(
        weights=jnp.sqrt(jnp.asarray(variance, dtype)) * jax.random.normal(key_weights, (scalings.size, d), dtype),
        signs=jax.random.rademacher(key_signs, shape, dtype),
        scalings=jnp.asarray(scalings, dtype),
    )


@full_precision
def node_pre_activations(weights: Array, x: Array) -> Array:
    """w_j·x_i/√d, shape (n, m)."""
    return jnp.matmul(x / np.sqrt(x.shape[-1]), weights.T)


def node_amplitudes(network: ScaledNetwork) -> Array:
    """√λ_j a_j, with the shape of the signs."""
    roots = jnp.sqrt(network.scalings)
    return network.signs * (roots if network.signs.ndim == 1 else roots[:, None])


@full_precision
def scaled_output(network: ScaledNetwork, x: Num[Array, "n d"], *, activation: Any = RELU) -> Float[Array, "n ..."]:
    """The network's function f(x) = Σ_j √λ_j a_j σ(w_j·x/√d).

    Args:
        network: The network.
        x: Inputs, shape (n, d).
        activation: σ, whatever `activations.resolve` accepts: a nonlinearity of neural-tangents or a smooth function.

    Returns:
        Outputs, shape (n,), or (n, K) with K outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.full(2, 0.5))
        >>> scaled_output(net, jnp.array([[2.0, -2.0]])).round(3).tolist()
        [1.0]

    Source: caron2023overparameterised, Eq. 2.
    """
    return resolve(activation).phi(node_pre_activations(network.weights, x)) @ node_amplitudes(network)


def risk(
    network: ScaledNetwork, x: Num[Array, "n d"], y: Num[Array, "n ..."], *, activation: Any = RELU
) -> Float[Array, ""]:
    """Mean of the squared errors, (1/n) Σ_i ‖f(x_i) − y_i‖²/K: what the published runs train and show.

    The source's objective, L = ½ Σ_i (f(x_i) − y_i)², is n/2 times this.

    Args:
        network: The network.
        x: Inputs, shape (n, d).
        y: Targets, of the output's shape.
        activation: As in `scaled_output`.

    Returns:
        The risk, a scalar.

    Raises:
        ValueError: If `y` is not of the output's shape.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.full(2, 0.5))
        >>> float(risk(net, jnp.zeros((3, 2)), jnp.full(3, 2.0)))
        4.0

    Source: caron2023overparameterised, Eq. 5, Section 6.
    """
    output = scaled_output(network, x, activation=activation)
    return jnp.mean((output - validation.of_shape(y, output.shape, "y")) ** 2)


def node_movement(weights: Float[Array, "*batch m d"], start: Float[Array, "*batch m d"]) -> Float[Array, "*batch m"]:
    """How far each node's weights are from where they began, ‖w_j(t) − w_j(0)‖.

    Args:
        weights: Weights w(t), shape (…, m, d).
        start: Weights w(0), the same shape.

    Returns:
        The distances, shape (…, m).

    Example:
        >>> import jax.numpy as jnp
        >>> node_movement(jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2))).tolist()
        [5.0]

    Source: caron2023overparameterised, Theorem 4.1 (what its part c bounds).
    """
    return jnp.sqrt(jnp.sum((weights - start) ** 2, axis=-1))
