"""The experiments on asymmetric node scaling: data, training, and what is measured after it.

Defaults are the protocol of the published runs. Their full length is a matter of an hour on two cores, so it is a command
that can be interrupted, goes on where it stopped and can be shared between processes:

    python -m snn_ntk.experiments.asymmetrical_scaling run simulated concrete airfoil --folder _build/scaling
    python -m snn_ntk.experiments.asymmetrical_scaling collect simulated concrete airfoil --folder _build/scaling

The first trains, the second prunes, transfers and adds the seeds that have finished to those of
`results/13-asymmetrical-scaling`. What is there already stays; to begin anew, remove that folder.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from snn_ntk.experiments.asymmetrical_scaling.data import scaling_data
from snn_ntk.experiments.asymmetrical_scaling.features import pruned, transferred
from snn_ntk.experiments.asymmetrical_scaling.runs import (
    CONFIGURATIONS,
    STEPS,
    Configuration,
    ScalingRun,
    curves,
    draw_run,
    train_scaled,
)
from snn_ntk.training.descent import Trajectory

__all__ = ["CHAPTER", "FEATURES", "FOLLOWED", "FOLLOWED_AT", "REMOVED", "SEEDS"]

CHAPTER = "13-asymmetrical-scaling"

SEEDS = (0, 1, 2, 3, 4)

REMOVED = tuple(range(100, 2001, 100))

FEATURES = (10, 20, 30, 50, 100)

FOLLOWED = 10  # nodes whose movement is kept: they are nearly tied at the end, and differ early in the run

FOLLOWED_AT = (1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)


def _checkpoint(folder: Path, name: str, configuration: Configuration, seed: int) -> Path:
    return folder / f"{name}-{configuration.name}-seed{seed}.npz"


def _full(name: str, configuration: Configuration, seed: int, folder: Path) -> tuple[ScalingRun, Trajectory]:
    run = draw_run(scaling_data(name, seed), configuration, seed=seed)
    return run, train_scaled(run, steps=STEPS[name], checkpoint=_checkpoint(folder, name, configuration, seed))


def _stamp() -> dict[str, Any]:
    import os
    import platform

    from snn_ntk.reporting import book_root
    from snn_ntk.reporting.provenance import provenance

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
    from snn_ntk.reporting import load_results, write_results

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
        "command": "python -m snn_ntk.experiments.asymmetrical_scaling run simulated concrete airfoil",
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
