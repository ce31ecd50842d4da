"""One run of the published protocol from its start to what is measured at its end, and many runs as arrays."""

import itertools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from snn_ntk.experiments.asymmetrical_scaling.data import scaling_data
from snn_ntk.experiments.asymmetrical_scaling.features import pruned, transferred
from snn_ntk.experiments.asymmetrical_scaling.runs import CONFIGURATIONS, curves, draw_run, train_scaled
from snn_ntk.training.descent import Trajectory

__all__ = ["followed_nodes", "run_asymmetrical_scaling", "stack_runs", "training_ends"]

REMOVED = tuple(range(100, 2001, 100))

FEATURES = (10, 20, 30, 50, 100)

FOLLOWED = 10  # nodes whose movement is kept: they are nearly tied at the end, and differ early in the run

FOLLOWED_AT = (1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)

_AXES = ("steps", "removed", "features")


def _followed(trajectory: Trajectory) -> dict[str, list]:
    moved = np.asarray(trajectory.records["moved"], np.float64)
    at = [i for i, s in enumerate(trajectory.steps) if s in FOLLOWED_AT or i == len(moved) - 1]
    furthest = np.argsort(-moved[-1], kind="stable")[:FOLLOWED]
    return {"steps": trajectory.steps[at].tolist(), "moved": moved[at][:, furthest].T.tolist()}


def run_asymmetrical_scaling(
    *,
    data: str,
    configuration: str,
    seed: int,
    steps: int,
    checkpoint: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Trains one network of 2,000 scaled nodes as the published runs did, prunes it and hands its features on.

    Args:
        data: As in `scaling_data`.
        configuration: Name of one of `CONFIGURATIONS`, a choice of γ and α.
        seed: Of the initialisation, of simulated data, and of the network that features are handed to.
        steps: Of training.
        checkpoint: A file that an interrupted run goes on from.

    Returns:
        What JSON can hold, namely the `curves`, each (r,), at `steps`; `prune_train` and `prune_test`, both risks without the
        first `removed` nodes; `transfer_train` and `transfer_test`, those of a network trained on so many `features`,
        where the data have a third part; and `followed`, the movement of the nodes that `moved` most by the end, (10,
        s), largest first, at `steps` of its own.

    Raises:
        ValueError: If no configuration has that name, or there are no such data.

    Source: caron2023overparameterised, Section 6.1, Section 6.2.
    """
    named = {c.name: c for c in CONFIGURATIONS}
    if configuration not in named:
        raise ValueError(f"expected a configuration, one of {list(named)}, got {configuration!r}")
    run = draw_run(scaling_data(data, seed), named[configuration], seed=seed)
    trajectory = train_scaled(run, steps=steps, checkpoint=checkpoint)
    found = curves(trajectory)._asdict()
    found["removed"] = np.array(REMOVED)
    found["prune_train"], found["prune_test"] = pruned(trajectory.params, run, REMOVED)
    if len(run.data.y_transfer):
        found["features"] = np.array(FEATURES)
        found["transfer_train"], found["transfer_test"] = transferred(trajectory.params, run, FEATURES, seed=seed)
    return {key: value.tolist() for key, value in found.items()} | {"followed": _followed(trajectory)}


def _results(
    runs: Iterable[Mapping[str, Any]], data: str, configuration: str, has: str
) -> dict[int, Mapping[str, Any]]:
    """What runs found that measured `has`, by seed in the seeds' order; of two with one seed the first counts."""
    found: dict[int, Mapping[str, Any]] = {}
    for run in runs:
        parameters = run["parameters"]
        if (parameters["data"], parameters["configuration"]) == (data, configuration) and has in run["result"]:
            found.setdefault(parameters["seed"], run["result"])
    return dict(sorted(found.items()))


def _stacked(results: Iterable[Mapping[str, Any]], keys: Iterable[str], axes: Iterable[str]) -> dict[str, np.ndarray]:
    """The results' values under `keys` as arrays with a leading axis of runs, beside the axes that they share."""
    results = list(results)
    for axis, result in itertools.product(axes, results):
        if result[axis] != results[0][axis]:
            raise ValueError(
                f"expected runs with the same {axis}, got {len(results[0][axis])} up to {results[0][axis][-1]} "
                f"and {len(result[axis])} up to {result[axis][-1]}"
            )
    shared = {axis: np.array(results[0][axis]) for axis in axes}
    return shared | {key: np.array([result[key] for result in results]) for key in keys}


def stack_runs(runs: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The curves of full runs as arrays over seeds, data set by data set.

    Args:
        runs: Each with its "parameters" and "result", as a sweep's runs are gathered.

    Returns:
        For each data set `seeds`, those that every one of `CONFIGURATIONS` was run in full for, in order; and
        `configurations`, for each name the axes `steps`, `removed` and, where there is a transfer, `features`, and each
        curve of `run_asymmetrical_scaling` over them, (seeds, points).

    Raises:
        ValueError: If runs that belong together have other steps.
    """
    runs, stacked = list(runs), {}
    for data in dict.fromkeys(run["parameters"]["data"] for run in runs):
        full = {c.name: _results(runs, data, c.name, "prune_test") for c in CONFIGURATIONS}
        seeds = [seed for seed in full[CONFIGURATIONS[0].name] if all(seed in results for results in full.values())]
        if not seeds:
            continue
        curves_of = {}
        for name, results in full.items():
            one = results[seeds[0]]
            axes = [key for key in _AXES if key in one]
            keys = [key for key in one if key not in (*axes, "followed")]
            curves_of[name] = _stacked([results[seed] for seed in seeds], keys, axes)
        stacked[data] = {"seeds": seeds, "configurations": curves_of}
    return stacked


def training_ends(runs: Iterable[Mapping[str, Any]], data: str, configuration: str) -> np.ndarray:
    """What is left of the training risk at the end of every run of a configuration.

    Args:
        runs: As in `stack_runs`.
        data: The data set's name.
        configuration: The configuration's name.

    Returns:
        Risks in the order of the seeds, shape (runs,), those of runs that kept nothing else included.

    Example:
        >>> run = {"parameters": {"data": "airfoil", "configuration": "gamma=1.0", "seed": 0}, "result": {"train": [0.1]}}
        >>> training_ends([run], "airfoil", "gamma=1.0").tolist()
        [0.1]
    """
    return np.array([result["train"][-1] for result in _results(runs, data, configuration, "train").values()])


def followed_nodes(runs: Iterable[Mapping[str, Any]], data: str, configuration: str) -> tuple[np.ndarray, np.ndarray]:
    """How far the nodes that moved most by the end had moved on the way, in every run of a configuration that kept it.

    Args:
        runs: As in `stack_runs`.
        data: The data set's name.
        configuration: The configuration's name.

    Returns:
        Numbers of steps, (s,), and movements, (runs, 10, s), the runs in the order of their seeds.

    Raises:
        ValueError: If the runs have other steps.
    """
    kept = [result["followed"] for result in _results(runs, data, configuration, "followed").values()]
    found = _stacked(kept, ["moved"], ["steps"])
    return found["steps"], found["moved"]
