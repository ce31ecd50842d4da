"""A sweep: many runs of one notebook, each a job of its own, whose results a chapter collects.

Only the standard library is imported with this file: the build reads it by its path, in Snakemake's own environment.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["expand", "fresh", "made_with", "read_runs", "runs_folder", "write_run"]


def fresh() -> bool:
    """Whether everything is trained anew, as the environment variable `FRESH=1` asks for: no committed run stands in."""
    return os.environ.get("FRESH") == "1"


def expand(
    sweep: Sequence[Mapping[str, Any]], only: Mapping[str, Any] | None = None
) -> list[dict[str, dict[str, Any]]]:
    """The runs that a sweep consists of.

    Each entry is a stage. Its lists are crossed, the last one running fastest; they name the run. Its single values
    are the same for all runs of the stage. A later stage is begun when no run of an earlier one is left to begin, so
    that a sweep that is cut off has done what stands first.

    Args:
        sweep: The entries, such as `[{"seed": [0, 1], "m": [10, 50], "steps": 3000}]`.
        only: Parameters of the runs that are wanted, such as `{"seed": 0}`; all by default.

    Returns:
        For each stage, parameters by the name of the run.

    Raises:
        ValueError: If two runs have one name, a stage has no list, or an empty one, or no run has the parameters `only`.

    >>> expand([{"data": ["cars"], "m": [10, 50], "steps": 5}])
    [{'cars_m10': {'data': 'cars', 'm': 10, 'steps': 5}, 'cars_m50': {'data': 'cars', 'm': 50, 'steps': 5}}]
    """
    seen: set[str] = set()
    stages = []
    for entry in sweep:
        crossed = {key: value for key, value in entry.items() if isinstance(value, list)}
        if not crossed or not all(crossed.values()):
            raise ValueError(f"expected lists with at least one value in a stage of a sweep, got {dict(entry)}")
        stage = {}
        for values in itertools.product(*crossed.values()):
            parameters = dict(entry) | dict(zip(crossed, values, strict=True))
            name = "_".join(
                value if isinstance(value, str) else f"{key}{value}" for key, value in zip(crossed, values, strict=True)
            )
            if name in seen:
                raise ValueError(f"expected runs with different names, got two of {name}: give what differs as a list")
            seen.add(name)
            stage[name] = parameters
        stages.append(stage)
    if only is None:
        return stages
    kept = [
        {name: run for name, run in stage.items() if all(run.get(key) == value for key, value in only.items())}
        for stage in stages
    ]
    if not any(kept):
        raise ValueError(f"expected parameters of some run of the sweep, got {dict(only)}")
    return [stage for stage in kept if stage]


def runs_folder(root: Path, profile: str, chapter: str) -> Path:
    """Where the build puts the results of a chapter's runs."""
    return root / "_build" / profile / "sweeps" / chapter


def write_run(parameters: Mapping[str, Any], result: Any, provenance: Mapping[str, Any], *, name: str = "run") -> None:
    """Writes what a run found to a file, `run.json` for a job, in the folder that the build names in `SNN_NTK_OUTPUT`, else nowhere.

    Args:
        parameters: Those that name the run's place in the sweep.
        result: Numbers, texts, lists and mappings.
        provenance: Versions, device and hash of the sources; the day is added.
        name: Of the file, without its ending.
    """
    if "SNN_NTK_OUTPUT" not in os.environ:
        return
    from snn_ntk._files import write_bytes

    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    content = {"parameters": dict(parameters), "result": result, "provenance": {**provenance, "day": day}}
    write_bytes(Path(os.environ["SNN_NTK_OUTPUT"]) / f"{name}.json", json.dumps(content).encode())


def made_with(run: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Whether a run was made with these parameters."""
    return all(run["parameters"].get(key) == value for key, value in parameters.items())


def read_runs(folder: Path, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The runs of a sweep that exist, in the order of the sweep.

    Args:
        folder: Of `runs_folder`.
        wanted: Parameters by name, one stage or several of `expand`.

    Returns:
        What `write_run` wrote, by name. A run that was made with other parameters does not count.

    Raises:
        ValueError: If a file is damaged.
    """
    from snn_ntk.reporting.documents import RUN, read_json

    found = {}
    for name, parameters in wanted.items():
        path = folder / f"{name}.json"
        if path.exists():
            content = read_json(path, RUN)
            if made_with(content, parameters):
                found[name] = content
    return found
