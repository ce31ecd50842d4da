"""What the most important nodes know: pruning, and transfer of their features."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.resolution import resolve
from snn_ntk.node_scaling.network import RELU, ScaledNetwork, node_amplitudes, node_pre_activations

__all__ = ["pruned_outputs", "pruned_risk", "pruning_order", "transfer_features"]


def pruning_order(network: ScaledNetwork) -> Int[np.ndarray, " m"]:
    """The order in which nodes are removed: by increasing λ_j ‖a_j‖².

    With γ = 1 all nodes tie, and the criterion says nothing. Ties are broken by the nodes' numbers, which is as good as
    a random order: the nodes are exchangeable at initialisation.

    Args:
        network: The network; its weights play no role.

    Returns:
        Node numbers, the first to be removed first, shape (m,).

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(3), jnp.ones(3), jnp.array([0.5, 0.2, 0.3]))
        >>> pruning_order(net).tolist()
        [1, 2, 0]

    Source: caron2023overparameterised, Section 6.2.
    """
    signs = np.asarray(network.signs, np.float64)
    squares = signs**2 if signs.ndim == 1 else (signs**2).sum(1)
    # Rounding must not order what ties: ±1 squares are exact.
    return np.argsort(np.asarray(network.scalings, np.float64) * squares, kind="stable")


@full_precision
def pruned_outputs(
    network: ScaledNetwork,
    x: Num[Array, "n d"],
    removed: Int[ArrayLike, " k"] | Sequence[int],
    *,
    activation: Any = RELU,
) -> Float[np.ndarray, "k n ..."]:
    """The function of the network without its least important nodes.

    Args:
        network: The network.
        x: Inputs, shape (n, d).
        removed: Counts of nodes that are removed in `pruning_order`, shape (k,), each between 0 and m.
        activation: As in `scaled_output`.

    Returns:
        Outputs, shape (k, n) or (k, n, K), float64.

    Raises:
        ValueError: If a count is not between 0 and m.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.array([0.64, 0.36]))
        >>> pruned_outputs(net, jnp.full((1, 2), 2**0.5), [0, 1, 2]).round(2).tolist()
        [[1.4], [0.8], [0.0]]

    Source: caron2023overparameterised, Section 6.2.
    """
    removed, m = np.asarray(removed), network.scalings.shape[0]
    if removed.size and (removed.min() < 0 or removed.max() > m):
        raise ValueError(f"expected between 0 and {m} removed nodes, got {removed.min()} to {removed.max()}")
    features = np.asarray(resolve(activation).phi(node_pre_activations(network.weights, x)), np.float64)
    amplitudes = np.asarray(node_amplitudes(network), np.float64)
    order = pruning_order(network)
    outputs = [features[:, order[k:]] @ amplitudes[order[k:]] for k in removed]
    return np.stack(outputs)


def pruned_risk(
    network: ScaledNetwork,
    x: Num[Array, "n d"],
    y: Num[ArrayLike, "n ..."],
    removed: Int[ArrayLike, " k"] | Sequence[int],
    *,
    activation: Any = RELU,
) -> Float[np.ndarray, " k"]:
    """The risk that remains when the least important nodes are removed, without training again.

    Args:
        network: The network.
        x: Inputs, shape (n, d).
        y: Targets, of the output's shape.
        removed: As in `pruned_outputs`; with all m nodes removed the risk is the mean of y².
        activation: As in `scaled_output`.

    Returns:
        Risks, shape (k,), float64.

    Raises:
        ValueError: If a count is not between 0 and m, or `y` is not of the output's shape.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.full(2, 0.5))
        >>> pruned_risk(net, jnp.ones((1, 2)), jnp.full(1, 2.0), [2]).tolist()
        [4.0]

    Source: caron2023overparameterised, Section 6.2.
    """
    outputs = pruned_outputs(network, x, removed, activation=activation)
    errors = outputs - np.asarray(validation.of_shape(y, outputs.shape[1:], "y"), np.float64)
    return (errors**2).mean(axis=tuple(range(1, errors.ndim)))


def transfer_features(
    network: ScaledNetwork, x: Num[Array, "n d"], k: int, *, scaled: bool = True, activation: Any = RELU
) -> Float[Array, "n k"]:
    """What the k nodes of largest scale make of the inputs, to be handed to another network.

    z_j(x) = √λ_j σ(w_j·x/√d) for the k largest λ_j. Ties, as between all nodes at γ = 1, go to the smaller number.

    Args:
        network: The network.
        x: Inputs, shape (n, d).
        k: Number of features, at most m.
        scaled: Whether they have the factor √λ_j, as in the published runs.
        activation: As in `scaled_output`.

    Returns:
        Features, shape (n, k), the largest scale first.

    Raises:
        ValueError: If `k` is not between 1 and m.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.array([0.36, 0.64]))
        >>> round(float(transfer_features(net, jnp.array([[0.0, 2**0.5]]), 1)[0, 0]), 3)
        0.8

    Source: caron2023overparameterised, Section 6.2.
    """
    m = network.scalings.shape[0]
    if not 1 <= k <= m:
        raise ValueError(f"expected k between 1 and {m} features, got {k}")
    best = np.argsort(-np.asarray(network.scalings, np.float64), kind="stable")[:k]
    features = resolve(activation).phi(node_pre_activations(network.weights[best], x))
    return features * jnp.sqrt(network.scalings[best]) if scaled else features
