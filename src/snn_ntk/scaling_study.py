"""The experiments on asymmetric node scaling: data, training, and what is measured after it.

Defaults are the protocol of the published runs. Their full length is a matter of an hour on two cores, so it is a command
that can be interrupted, goes on where it stopped and can be shared between processes:

    python -m snn_ntk.scaling_study run simulated concrete airfoil --folder _build/scaling
    python -m snn_ntk.scaling_study collect simulated concrete airfoil --folder _build/scaling

The first trains, the second prunes, transfers and writes `results/13-asymmetrical-scaling`.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from . import datasets, scaling
from .dynamics import Trajectory, gradient_descent
from .scaling import ScaledNetwork

__all__ = [
    "CONFIGURATIONS",
    "STEPS",
    "Configuration",
    "Curves",
    "Problem",
    "curves",
    "draw",
    "problem",
    "simulated",
    "train",
    "training_risk",
]


class Configuration(NamedTuple):
    """A choice of γ and α, with the name that the published curves have."""

    gamma: float
    alpha: float | None

    @property
    def name(self) -> str:
        return "gamma=1.0" if self.alpha is None else f"alpha={self.alpha},gamma={self.gamma}"


CONFIGURATIONS = (
    Configuration(1.0, None),
    Configuration(0.5, 0.7),
    Configuration(0.2, 0.5),
    Configuration(0.0, 0.4),
)
STEPS = {"simulated": 50_000, "concrete": 100_000, "airfoil": 100_000}
KERNEL_POINTS = 50  # of the regression sets; simulated data have 100, all of them followed


class Problem(NamedTuple):
    """Data of one run: training and test part, and a third part on which features are tried.

    Attributes:
        x: training inputs, (n, d).
        y: training targets, (n,) or (n, K).
        x_test: test inputs.
        y_test: test targets.
        x_transfer: inputs for transfer; no rows where there are none.
        y_transfer: their targets.
        x_kernel: the training inputs on which the tangent kernel is followed.
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    x_transfer: Array
    y_transfer: Array
    x_kernel: Array


def simulated(seed: int, *, n: int = 100, d: int = 50) -> Problem:
    """Simulated data: inputs uniform on the unit sphere, y = mean_k 5 sin(π x_k) + 0.1 ε, ε ~ N(0, 1).

    Args:
        seed: a data set of its own for every seed: the published one is not available, so that the spread between
            runs has to hold that between data sets too.
        n: training points, and as many for testing.
        d: dimension.

    Returns:
        The data, float32.

    Example:
        >>> simulated(0).x.shape
        (100, 50)

    Source: Section 6 of the asymmetrical-scaling paper.
    """
    key_x, key_noise = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
    x = datasets.sphere(key_x, 2 * n, d).astype(jnp.float32)
    y = jnp.mean(5 * jnp.sin(jnp.pi * x), axis=1) + 0.1 * jax.random.normal(key_noise, (2 * n,), jnp.float32)
    return Problem(x[:n], y[:n], x[n:], y[n:], x[:0], y[:0], x[:n])


def problem(name: str, seed: int = 0, *, n: int | None = None) -> Problem:
    """The data of an experiment.

    Args:
        name: "simulated", or a data set of `datasets.uci`.
        seed: of simulated data; the regression sets have the published split for every seed.
        n: keep only so many points of every part.

    Returns:
        The data, float32.

    Raises:
        ValueError: on another name.
        FileNotFoundError: if the data set is not on disk.

    Example:
        >>> problem("airfoil").x.shape
        (601, 5)
    """
    if name == "simulated":
        return simulated(seed)
    parts = datasets.split(datasets.uci(name))
    names = ("x_train", "y_train", "x_test", "y_test", "x_validation", "y_validation")
    kept = [jnp.asarray(getattr(parts, part)[:n], jnp.float32) for part in names]
    return Problem(*kept, x_kernel=kept[0][:KERNEL_POINTS])


class Start(NamedTuple):
    """What a run holds fixed: its data, its scales and where its weights began, (d, m)."""

    data: Problem
    signs: Array
    scalings: Array
    start: Array


def draw(
    data: Problem,
    configuration: Configuration,
    *,
    seed: int,
    m: int = 2000,
    variance: float = 2.0,
    first: int = 0,
    normalised: bool = False,
) -> Start:
    """A run at its beginning.

    Args:
        data: the data.
        configuration: γ and α.
        seed: of the initialisation; configurations with equal seeds begin with equal weights and signs.
        m: width.
        variance: of the initial weights: 2 in the published runs, 1 in the paper.
        first: number of the first node: 0 in the published runs, 1 in the paper.
        normalised: whether Σ λ_j = 1: not quite in the published runs, exactly in the paper.

    Returns:
        The constants of the run. Weights are kept transposed: both products of a step then read the (n, m) array of
        pre-activations along its rows, which takes a third less time on a CPU.

    Example:
        >>> draw(simulated(0), CONFIGURATIONS[0], seed=0, m=8).start.shape
        (50, 8)
    """
    lambdas = scaling.node_scalings(
        m, gamma=configuration.gamma, alpha=configuration.alpha, first=first, normalised=normalised
    )
    outputs = None if data.y.ndim == 1 else data.y.shape[1]
    net = scaling.init(
        jax.random.key(seed), lambdas, data.x.shape[1], outputs=outputs, variance=variance, dtype=jnp.float32
    )
    return Start(data, net.signs, net.scalings, net.weights.T)


def _network(weights: Array, run: Start) -> ScaledNetwork:
    return ScaledNetwork(weights.T, run.signs, run.scalings)


def training_risk(weights: Float[Array, "d m"], run: Start) -> Float[Array, ""]:
    """The loss that is descended, `scaling.risk` on the training part, of the transposed weights."""
    return scaling.risk(_network(weights, run), run.data.x, run.data.y)


def _observe(weights: Array, run: Start) -> dict[str, Array]:
    net, start = _network(weights, run), _network(run.start, run)
    few = run.data.x_kernel
    kernel = scaling.tangent_gram(net, few)
    change = jnp.abs(jnp.linalg.eigvalsh(kernel - scaling.tangent_gram(start, few))).max()
    return {
        "train": scaling.risk(net, run.data.x, run.data.y),
        "test": scaling.risk(net, run.data.x_test, run.data.y_test),
        "moved": scaling.node_movement(weights.T, run.start.T),
        "change": change,
        "mineig": jnp.linalg.eigvalsh(kernel)[0],
    }


def train(
    run: Start,
    *,
    steps: int,
    every: int = 1000,
    learning_rate: float = 1.0,
    checkpoint: Any = None,
    progress: bool | None = None,
) -> Trajectory:
    """Full-batch gradient descent of one network on the mean squared error.

    Args:
        run: where it begins, from `draw`.
        steps: number of steps.
        every: steps between two records.
        learning_rate: 1 in the published runs.
        checkpoint: as in `gradient_descent`.
        progress: as in `gradient_descent`.

    Returns:
        The trajectory, its weights transposed, (d, m).
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
        steps: numbers of steps, (r,).
        train: training risk.
        test: test risk.
        wdiff: ‖w_j(t) − w_j(0)‖ of the node j that has moved most at the end.
        ntkdiff: √ of the spectral norm of Θ(t) − Θ(0) on `x_kernel`, as the published curves have it.
        mineig: smallest eigenvalue of Θ(t) there.
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
        trajectory: what `train` returned.

    Returns:
        The curves, float64.
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


def _checkpoint(folder: Path, name: str, configuration: Configuration, seed: int) -> Path:
    return folder / f"{name}-{configuration.name}-seed{seed}.npz"


def _run(names: list[str], folder: Path, seeds: int, part: int, parts: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    todo = [(name, seed, c) for name in names for seed in range(seeds) for c in CONFIGURATIONS]
    for number, (name, seed, configuration) in enumerate(todo):
        if number % parts == part:
            start = draw(problem(name, seed), configuration, seed=seed)
            found = curves(train(start, steps=STEPS[name], checkpoint=_checkpoint(folder, name, configuration, seed)))
            print(name, configuration.name, seed, *(f"{float(c[-1]):.5g}" for c in found), flush=True)


def _main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "collect"))
    parser.add_argument("names", nargs="+", choices=sorted(STEPS))
    parser.add_argument("--folder", type=Path, default=Path("_build/scaling"), help="where the runs are kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", type=int, default=0, help="this process's share of the runs, counted from 0")
    parser.add_argument("--parts", type=int, default=1, help="processes that share the runs")
    chosen = parser.parse_args()
    if chosen.what == "run":
        _run(chosen.names, chosen.folder, chosen.seeds, chosen.part, chosen.parts)


if __name__ == "__main__":
    _main()
