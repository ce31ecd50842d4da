"""The experiments on asymmetric node scaling: data, training, and what is measured after it.

Defaults are the protocol of the published runs. Their full length is a matter of an hour on two cores, so it is a command
that can be interrupted, goes on where it stopped and can be shared between processes:

    python -m snn_ntk.scaling_study run simulated concrete airfoil --folder _build/scaling
    python -m snn_ntk.scaling_study collect simulated concrete airfoil --folder _build/scaling

The first trains, the second prunes, transfers and adds the seeds that have finished to those of
`results/13-asymmetrical-scaling`. What is there already stays; to begin anew, remove that folder.
"""

import itertools
import json
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
    "pruned",
    "simulated",
    "train",
    "training_risk",
    "transferred",
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


def problem(name: str, seed: int = 0, *, n: int | None = None, side: int = 28) -> Problem:
    """The data of an experiment.

    Args:
        name: "simulated", a data set of `datasets.uci`, or "mnist": pixels in [0, 1] and one-hot targets.
        seed: of simulated data; the regression sets have the published split for every seed.
        n: keep only the first so many points of every part.
        side: of MNIST's images, averaged over blocks down to side × side pixels.

    Returns:
        The data, float32. MNIST has no third part.

    Raises:
        ValueError: on another name.
        FileNotFoundError: if the data set is not on disk.

    Example:
        >>> problem("airfoil").x.shape
        (601, 5)
    """
    if name == "simulated":
        return simulated(seed)
    if name == "mnist":
        digits = [datasets.mnist(n, split=part, unit_norm=False, side=side) for part in ("train", "test")]
        x, x_test = (jnp.asarray(part.images) for part in digits)
        y, y_test = (jax.nn.one_hot(part.labels, 10) for part in digits)
        return Problem(x, y, x_test, y_test, x[:0], y[:0], x[:KERNEL_POINTS])
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
    seed: int | Array,
    m: int = 2000,
    variance: float = 2.0,
    first: int = 0,
    normalised: bool = False,
) -> Start:
    """A run at its beginning.

    Args:
        data: the data.
        configuration: γ and α.
        seed: of the initialisation, or a random key; configurations with equal seeds begin with equal weights and signs.
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
        seed if isinstance(seed, jax.Array) else jax.random.key(seed),
        lambdas,
        data.x.shape[1],
        outputs=outputs,
        variance=variance,
        dtype=jnp.float32,
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


def pruned(weights: Float[Array, "d m"], run: Start, removed: Any) -> tuple[np.ndarray, np.ndarray]:
    """Training and test risk without the nodes of smallest λ_j u_j².

    Args:
        weights: transposed, as `train` returns them.
        run: the run's constants.
        removed: how many nodes are removed, (k,).

    Returns:
        Both risks, each (k,).
    """
    net, data = _network(weights, run), run.data
    return (
        scaling.pruned_risk(net, data.x, data.y, removed),
        scaling.pruned_risk(net, data.x_test, data.y_test, removed),
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
    run: Start,
    counts: Any,
    *,
    seed: int,
    steps: int = 5000,
    learning_rate: float = 0.1,
    hidden: int = 64,
) -> tuple[np.ndarray, np.ndarray]:
    """Risks of a network that is trained on the most important nodes' features of new data.

    The features are `scaling.transfer_features` of the third part of the data. Its first half trains the other network,
    which has two hidden layers, by gradient descent; its second half tests it.

    Args:
        weights: transposed, as `train` returns them.
        run: the run's constants.
        counts: numbers of features, (k,); all are trained side by side.
        seed: of the other network.
        steps: of its training.
        learning_rate: of its training.
        hidden: units in each hidden layer.

    Returns:
        Training and test risk, each (k,).
    """
    counts = np.asarray(counts)
    features = scaling.transfer_features(_network(weights, run), run.data.x_transfer, int(counts.max()))
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


CHAPTER = "13-asymmetrical-scaling"
SEEDS = (0, 1, 2, 3, 4)
REMOVED = tuple(range(100, 2001, 100))
FEATURES = (10, 20, 30, 50, 100)
FOLLOWED = 10  # nodes whose movement is kept: they are nearly tied at the end, and differ early in the run
FOLLOWED_AT = (1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)


def _checkpoint(folder: Path, name: str, configuration: Configuration, seed: int) -> Path:
    return folder / f"{name}-{configuration.name}-seed{seed}.npz"


def _full(name: str, configuration: Configuration, seed: int, folder: Path) -> tuple[Start, Trajectory]:
    run = draw(problem(name, seed), configuration, seed=seed)
    return run, train(run, steps=STEPS[name], checkpoint=_checkpoint(folder, name, configuration, seed))


def _stamp() -> dict[str, Any]:
    import os
    import platform

    from .reporting import book_root
    from .reporting.provenance import provenance

    stamp = provenance(book_root(), CHAPTER, "gpu")
    del stamp["profile"], stamp["chapter"]
    device = f"{os.cpu_count()}-core CPU" if stamp["device"] == "cpu" else stamp["device"]
    return stamp | {"machine": f"{device}, {platform.machine()}"}


def _run(names: list[str], folder: Path, seeds: list[int], part: int, parts: int, only: list[str] | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [c for c in CONFIGURATIONS if only is None or c.name in only]
    todo = [(name, seed, c) for name in names for seed in seeds for c in chosen]
    for number, (name, seed, configuration) in enumerate(todo):
        if number % parts != part:
            continue
        # Beside the run from its beginning: when it is collected, the sources may be others.
        made = _checkpoint(folder, name, configuration, seed).with_suffix(".json")
        if not made.exists():
            made.write_text(json.dumps(_stamp()), encoding="utf-8")
        found = curves(_full(name, configuration, seed, folder)[1])
        print(name, configuration.name, seed, *(f"{float(c[-1]):.5g}" for c in found), flush=True)


def _finished(name: str, configuration: Configuration, seed: int, folder: Path) -> bool:
    path = _checkpoint(folder, name, configuration, seed)
    if not path.is_file():
        return False
    with np.load(path) as file:
        return int(file["step"]) == STEPS[name]


def _measured(name: str, configuration: Configuration, seed: int, folder: Path) -> tuple[dict, dict]:
    """The axes of a finished run's curves, and the curves."""
    run, trajectory = _full(name, configuration, seed, folder)
    values = curves(trajectory)._asdict()
    axes = {"steps": values.pop("steps").tolist(), "removed": list(REMOVED), "features": list(FEATURES)}
    values["prune_train"], values["prune_test"] = pruned(trajectory.params, run, REMOVED)
    if len(run.data.y_transfer):
        values["transfer_train"], values["transfer_test"] = transferred(trajectory.params, run, FEATURES, seed=seed)
    print(name, configuration.name, seed, flush=True)
    return axes, {key: value.tolist() for key, value in values.items()}


def _followed(trajectory: Trajectory) -> tuple[list, list]:
    """Steps, and the movement up to there of the nodes that have moved most at the end, (FOLLOWED, steps)."""
    moved = np.asarray(trajectory.records["moved"], np.float64)
    at = [i for i, s in enumerate(trajectory.steps) if s in FOLLOWED_AT or i == len(moved) - 1]
    furthest = np.argsort(-moved[-1], kind="stable")[:FOLLOWED]
    return trajectory.steps[at].tolist(), moved[at][:, furthest].T.tolist()


def _joined(name: str, old: dict | None, seeds: list[int], new: dict[str, list[tuple[dict, dict]]]) -> dict:
    """The series of a data set with further seeds, in the seeds' order."""
    have = old["seeds"] if old else []
    order = np.argsort([*have, *seeds])
    joined: dict[str, Any] = {"seeds": sorted([*have, *seeds]), "configurations": {}}
    for configuration, runs in new.items():
        before = old["configurations"][configuration] if old else {}
        axes = runs[0][0]
        for axis, points in axes.items():
            if old and before[axis] != points:
                raise ValueError(
                    f"expected seeds {seeds} of {name} to have the {axis} of the committed seeds {have}, "
                    f"{len(before[axis])} up to {before[axis][-1]}, got {len(points)} up to {points[-1]}"
                )
        rows = {key: [*before.get(key, []), *(values[key] for _, values in runs)] for key in runs[0][1]}
        joined["configurations"][configuration] = axes | {key: [value[i] for i in order] for key, value in rows.items()}
    return joined


def _collect(names: list[str], folder: Path, seeds: list[int], time: str) -> None:
    from .reporting import load_results, write_results

    committed = load_results(CHAPTER) or {"series": {}, "provenance": {}}
    series, batches = committed["series"], committed["provenance"].get("batches", [])
    added: dict[str, dict] = {}  # which runs, by how they were made

    def note(name: str, configuration: Configuration, seed: int) -> None:
        made = _checkpoint(folder, name, configuration, seed).with_suffix(".json").read_text(encoding="utf-8")
        runs = added.setdefault(made, {}).setdefault(name, {})
        runs.setdefault(configuration.name, []).append(seed)

    for name in names:
        old = series.get(name)
        new = [s for s in seeds if not (old and s in old["seeds"])]
        new = [s for s in new if all(_finished(name, c, s, folder) for c in CONFIGURATIONS)]
        if new:
            measured = {c.name: [_measured(name, c, s, folder) for s in new] for c in CONFIGURATIONS}
            series[name] = _joined(name, old, new, measured)
            for seed, c in itertools.product(new, CONFIGURATIONS):
                note(name, c, seed)
        if name not in series:
            continue
        # Further runs of single configurations: what is left of the training risk, for the spread between data sets;
        # and of every run at hand the nodes that moved most, for the spread between nodes.
        for c in CONFIGURATIONS:
            control = series.get("controls", {}).get(name, {}).get(c.name, {"seeds": [], "train": []})
            curve = series[name]["configurations"][c.name]["train"]
            ends = {s: values[-1] for s, values in zip(series[name]["seeds"], curve, strict=True)}
            ends |= dict(zip(control["seeds"], control["train"], strict=True))
            of_data = series.setdefault("nodes", {}).setdefault(name, {})
            nodes = of_data.setdefault(c.name, {"seeds": [], "steps": [], "moved": []})
            moved = dict(zip(nodes["seeds"], nodes["moved"], strict=True))
            for seed in (s for s in seeds if s not in moved and _finished(name, c, s, folder)):
                trajectory = _full(name, c, seed, folder)[1]
                nodes["steps"], moved[seed] = _followed(trajectory)
                ends.setdefault(seed, float(curves(trajectory).train[-1]))
                if seed not in new:
                    note(name, c, seed)
            nodes["seeds"], nodes["moved"] = sorted(moved), [moved[s] for s in sorted(moved)]
            if len(ends) > len(curve):
                series.setdefault("controls", {}).setdefault(name, {})[c.name] = {
                    "seeds": sorted(ends),
                    "train": [ends[s] for s in sorted(ends)],
                }
    stamp = {
        "chapter": CHAPTER,
        "command": "python -m snn_ntk.scaling_study run simulated concrete airfoil",
        "protocol": "published runs': m = 2000, variance 2, first = 0, normalised = False, learning rate 1, float32",
        "runs": {name: {"seeds": series[name]["seeds"], "steps": STEPS[name]} for name in series if name in STEPS},
        "batches": [*batches, *({"runs": runs} | json.loads(made) | {"time": time} for made, runs in added.items())],
    }
    write_results(CHAPTER, series=series, provenance=stamp)


def _main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "collect"))
    parser.add_argument("names", nargs="+", choices=sorted(STEPS))
    parser.add_argument("--folder", type=Path, default=Path("_build/scaling"), help="where the runs are kept")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), help="which runs, by their seeds")
    parser.add_argument("--part", type=int, default=0, help="this process's share of the runs, counted from 0")
    parser.add_argument("--parts", type=int, default=1, help="processes that share the runs")
    parser.add_argument("--only", nargs="+", choices=[c.name for c in CONFIGURATIONS], help="run: only these")
    parser.add_argument("--time", default="", help="collect: a remark on how long the added runs took")
    chosen = parser.parse_args()
    if chosen.what == "run":
        _run(chosen.names, chosen.folder, chosen.seeds, chosen.part, chosen.parts, chosen.only)
    else:
        _collect(chosen.names, chosen.folder, chosen.seeds, chosen.time)


if __name__ == "__main__":
    _main()
