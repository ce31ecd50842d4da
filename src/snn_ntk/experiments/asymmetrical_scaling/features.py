"""What is measured after training: pruning, and transfer of features to another network."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from snn_ntk._precision import full_precision
from snn_ntk.experiments.asymmetrical_scaling.runs import ScalingRun, network_of
from snn_ntk.node_scaling.pruning import pruned_risk, transfer_features
from snn_ntk.training.descent import gradient_descent

__all__ = ["pruned", "transferred"]


def pruned(weights: Float[Array, "d m"], run: ScalingRun, removed: Any) -> tuple[np.ndarray, np.ndarray]:
    """Training and test risk without the nodes of smallest λ_j u_j².

    Args:
        weights: Trained weights, transposed as `train_scaled` returns them, shape (d, m).
        run: The run's constants.
        removed: How many nodes are removed, shape (k,).

    Returns:
        Both risks, each (k,), float64.

    Source: caron2023overparameterised, Section 6.2.
    """
    net, data = network_of(weights, run), run.data
    return (
        pruned_risk(net, data.x, data.y, removed),
        pruned_risk(net, data.x_test, data.y_test, removed),
    )


class _External(NamedTuple):
    """The network that features are handed to: two hidden layers of ReLU units, all parameters trained."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array
    w3: Array
    b3: Array


class _Handed(NamedTuple):
    features: Array
    targets: Array


@full_precision
def _external(params: _External, features: Array) -> Array:
    hidden = jax.nn.relu(features @ params.w1 + params.b1)
    return (jax.nn.relu(hidden @ params.w2 + params.b2) @ params.w3 + params.b3)[:, 0]


def _external_risk(params: _External, handed: _Handed) -> Array:
    return jnp.mean((_external(params, handed.features) - handed.targets) ** 2)


def _external_init(key: Array, inputs: int, columns: int, hidden: int) -> _External:
    """Everything uniform on ±1/√(number of inputs), the default of the published runs' framework."""
    keys = jax.random.split(key, 6)
    fan = (inputs, inputs, hidden, hidden, hidden, hidden)
    shapes = ((columns, hidden), (hidden,), (hidden, hidden), (hidden,), (hidden, 1), (1,))
    drawn = [jax.random.uniform(k, s, jnp.float32, -1, 1) * f**-0.5 for k, s, f in zip(keys, shapes, fan, strict=True)]
    return _External(*drawn)


def transferred(
    weights: Float[Array, "d m"],
    run: ScalingRun,
    counts: Any,
    *,
    seed: int,
    steps: int = 5000,
    learning_rate: float = 0.1,
    hidden: int = 64,
) -> tuple[np.ndarray, np.ndarray]:
    """Risks of a network that is trained on the most important nodes' features of new data.

    The features are those of `transfer_features` on the third part of the data. Its first half trains the other
    network, which has two hidden layers, by gradient descent; its second half tests it.

    Args:
        weights: Trained weights, transposed as `train_scaled` returns them, shape (d, m).
        run: The run's constants.
        counts: Numbers of features, shape (k,); all are trained side by side.
        seed: Of the other network.
        steps: Of its training.
        learning_rate: Of its training.
        hidden: Units in each hidden layer.

    Returns:
        Training and test risk, each (k,), float64.

    Source: caron2023overparameterised, Section 6.2.
    """
    counts = np.asarray(counts)
    features = transfer_features(network_of(weights, run), run.data.x_transfer, int(counts.max()))
    targets, half = run.data.y_transfer, len(run.data.y_transfer) // 2
    # Columns beyond a network's own features are zero, so that all numbers of features share one compiled program.
    used = jnp.arange(features.shape[1]) < counts[:, None, None]
    features = jnp.where(used, features, 0)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 2), len(counts))
    drawn = [_external_init(key, int(k), features.shape[2], hidden) for key, k in zip(keys, counts, strict=True)]
    handed = _Handed(features[:, :half], jnp.broadcast_to(targets[:half], (len(counts), half)))
    left = _Handed(features[:, half:], jnp.broadcast_to(targets[half:], (len(counts), len(targets) - half)))
    found = gradient_descent(
        _external_risk,
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn),
        learning_rate=learning_rate,
        steps=steps,
        record_at=[steps],
        args=handed,
        batched=True,
        progress=False,
    ).params
    risks = [np.asarray(jax.vmap(_external_risk)(found, part), np.float64) for part in (handed, left)]
    return risks[0], risks[1]
