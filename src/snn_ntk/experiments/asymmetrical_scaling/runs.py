"""Training of networks with scaled nodes as the published runs did, and their curves."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from snn_ntk.experiments.asymmetrical_scaling.data import ScalingData
from snn_ntk.node_scaling.kernels import tangent_gram
from snn_ntk.node_scaling.network import ScaledNetwork, init_scaled, node_movement, risk
from snn_ntk.node_scaling.scalings import node_scalings
from snn_ntk.training.descent import Trajectory, gradient_descent

__all__ = ["CONFIGURATIONS", "Configuration", "Curves", "curves", "draw_run", "train_scaled", "training_risk"]


class Configuration(NamedTuple):
    """A choice of γ and α.

    Attributes:
        gamma: Share γ of the symmetrical part.
        alpha: Exponent α of the Zipf law of the rest; None if there is no rest.
    """

    gamma: float
    alpha: float | None

    @property
    def name(self) -> str:
        """The name that the published curves have."""
        return "gamma=1.0" if self.alpha is None else f"alpha={self.alpha},gamma={self.gamma}"


CONFIGURATIONS = (
    Configuration(1.0, None),
    Configuration(0.5, 0.7),
    Configuration(0.2, 0.5),
    Configuration(0.0, 0.4),
)


class ScalingRun(NamedTuple):
    """What a run holds fixed.

    Attributes:
        data: The data.
        signs: Output weights of the nodes, ±1.
        scalings: Scales λ_j of the nodes, shape (m,).
        start: Where the weights began, transposed, shape (d, m).
    """

    data: ScalingData
    signs: Array
    scalings: Array
    start: Array


def draw_run(
    data: ScalingData,
    configuration: Configuration,
    *,
    seed: int | Array,
    m: int = 2000,
    variance: float = 2.0,
    first: int = 0,
    normalised: bool = False,
) -> ScalingRun:
    """A run at its beginning.

    Args:
        data: The data.
        configuration: Choice of γ and α.
        seed: Of the initialisation, or a random key; configurations with equal seeds begin with equal weights and
            signs.
        m: Width of the network.
        variance: Of the initial weights: 2 in the published runs, 1 in the paper.
        first: Number of the first node: 0 in the published runs, 1 in the paper.
        normalised: Whether Σ λ_j = 1: not quite in the published runs, exactly in the paper.

    Returns:
        The constants of the run.

    Example:
        >>> from snn_ntk.experiments.asymmetrical_scaling import simulated_data
        >>> draw_run(simulated_data(0), CONFIGURATIONS[0], seed=0, m=8).start.shape
        (50, 8)

    Source: caron2023overparameterised, Section 6.1.
    """
    # Weights are kept transposed: both products of a step then read the (n, m) array of pre-activations along its rows,
    # which takes a third less time on a CPU.
    lambdas = node_scalings(m, gamma=configuration.gamma, alpha=configuration.alpha, first=first, normalised=normalised)
    outputs = None if data.y.ndim == 1 else data.y.shape[1]
    net = init_scaled(
        seed if isinstance(seed, jax.Array) else jax.random.key(seed),
        lambdas,
        data.x.shape[1],
        outputs=outputs,
        variance=variance,
        dtype=jnp.float32,
    )
    return ScalingRun(data, net.signs, net.scalings, net.weights.T)


def network_of(weights: Array, run: ScalingRun) -> ScaledNetwork:
    """The network that transposed weights belong to."""
    return ScaledNetwork(weights.T, run.signs, run.scalings)


def training_risk(weights: Float[Array, "d m"], run: ScalingRun) -> Float[Array, ""]:
    """The loss that is descended: the `risk` on the training part.

    Args:
        weights: Transposed weights, shape (d, m).
        run: The run's constants.

    Returns:
        The mean squared error.

    Example:
        >>> from snn_ntk.experiments.asymmetrical_scaling import simulated_data
        >>> run = draw_run(simulated_data(0), CONFIGURATIONS[0], seed=0, m=8)
        >>> 0 < float(training_risk(run.start, run)) < 10
        True

    Source: caron2023overparameterised, Eq. 5 (which is n/2 times this).
    """
    return risk(network_of(weights, run), run.data.x, run.data.y)


def _observe(weights: Array, run: ScalingRun) -> dict[str, Array]:
    net, start = network_of(weights, run), network_of(run.start, run)
    few = run.data.x_kernel
    kernel = tangent_gram(net, few)
    change = jnp.abs(jnp.linalg.eigvalsh(kernel - tangent_gram(start, few))).max()
    return {
        "train": risk(net, run.data.x, run.data.y),
        "test": risk(net, run.data.x_test, run.data.y_test),
        "moved": node_movement(weights.T, run.start.T),
        "change": change,
        "mineig": jnp.linalg.eigvalsh(kernel)[0],
    }


def train_scaled(
    run: ScalingRun,
    *,
    steps: int,
    every: int = 1000,
    learning_rate: float = 1.0,
    checkpoint: Any = None,
    progress: bool | None = None,
) -> Trajectory:
    """Full-batch gradient descent of one network on the mean squared error.

    Args:
        run: Where it begins, from `draw_run`.
        steps: Number of steps.
        every: Steps between two records.
        learning_rate: The rate, 1 in the published runs.
        checkpoint: As in `gradient_descent`.
        progress: As in `gradient_descent`.

    Returns:
        The trajectory, its weights transposed, shape (d, m).

    Source: caron2023overparameterised, Section 6.1.
    """
    at = np.unique([*range(0, steps + 1, every), steps])
    return gradient_descent(
        training_risk,
        run.start,
        learning_rate=learning_rate,
        steps=steps,
        record=_observe,
        record_at=at,
        args=run,
        checkpoint=checkpoint,
        checkpoint_every=max(every, steps // 16 // every * every),
        progress=progress,
    )


class Curves(NamedTuple):
    """The curves that the paper's figures show of one run, over recorded steps.

    Attributes:
        steps: Numbers of steps, shape (r,).
        train: Training risk, shape (r,), as are all the following.
        test: Test risk.
        wdiff: Movement ‖w_j(t) − w_j(0)‖ of the node j that has moved most at the end.
        ntkdiff: Square root of the spectral norm of Θ(t) − Θ(0) on `x_kernel`, as the published curves have it.
        mineig: Smallest eigenvalue of Θ(t) there.
    """

    steps: np.ndarray
    train: np.ndarray
    test: np.ndarray
    wdiff: np.ndarray
    ntkdiff: np.ndarray
    mineig: np.ndarray


def curves(trajectory: Trajectory) -> Curves:
    """The figures' curves from a run's records.

    Args:
        trajectory: What `train_scaled` returned.

    Returns:
        The curves, float64.

    Source: caron2023overparameterised, Figure 1, Figure 2.
    """
    records = {name: np.asarray(value, np.float64) for name, value in trajectory.records.items()}
    moved = records["moved"]
    return Curves(
        np.asarray(trajectory.steps),
        records["train"],
        records["test"],
        moved[:, moved[-1].argmax()],
        np.sqrt(records["change"]),
        records["mineig"],
    )
