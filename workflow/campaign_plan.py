"""What a campaign does and in which order: its parts, the runs that train side by side, and what still fits.

Standard library and YAML only, so that the campaign itself starts at once and survives a part that dies.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from paths import WORKFLOW, library

__all__ = ["Group", "Log", "does_fit", "groups", "longest", "read_plan", "scaled"]

PLAN = WORKFLOW / "campaign.yml"
# A run may take longer than its first steps say.
MARGIN = 1.1


def read_plan(wanted: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The parts of the campaign in their order, only the `wanted` ones if any are named.

    Raises:
        ValueError: if a wanted part does not exist.
    """
    plan = yaml.safe_load(PLAN.read_text(encoding="utf-8"))
    names = [part["part"] for part in plan]
    if unknown := sorted(set(wanted) - set(names)):
        raise ValueError(f"expected parts of the campaign, some of {names}, got {unknown}")
    return [part for part in plan if not wanted or part["part"] in wanted]


class Group(NamedTuple):
    """Runs that differ in their seed alone.

    Attributes:
        parameters: What they have in common.
        runs: Seed by the run's name.
    """

    parameters: dict[str, Any]
    runs: dict[str, int]

    @property
    def name(self) -> str:
        names = list(self.runs)
        return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more seeds"


def scaled(stage: dict[str, Any], scale: float) -> dict[str, Any]:
    """A stage of a sweep with fewer steps: a share of them, two at least."""
    fewer = lambda steps: max(2, round(steps * scale))  # noqa: E731
    steps = stage["steps"]
    return stage if scale == 1 else stage | {"steps": [*map(fewer, steps)] if isinstance(steps, list) else fewer(steps)}


def groups(sweep: Sequence[dict[str, Any]], scale: float = 1.0) -> list[Group]:
    """The runs of a sweep in the order in which they first come, those together that differ in their seed alone."""
    found: list[Group] = []
    for stage in library("reporting.sweeps").expand([scaled(stage, scale) for stage in sweep]):
        for name, parameters in stage.items():
            common = {key: value for key, value in parameters.items() if key != "seed"}
            group = next((group for group in found if group.parameters == common), None)
            if group is None:
                found.append(group := Group(common, {}))
            group.runs[name] = parameters["seed"]
    return found


def does_fit(steps: int, seconds_a_step: float, rest: float, left: float) -> bool:
    """Whether a run ends in the seconds that are left."""
    return MARGIN * steps * seconds_a_step + rest <= left


def longest(steps: int, seconds_a_step: float, rest: float, left: float) -> int:
    """The largest power of two up to `steps` that fits, or 0."""
    powers = [2**k for k in range(steps.bit_length()) if 2**k <= steps]
    return max((power for power in powers if does_fit(power, seconds_a_step, rest, left)), default=0)


class Log:
    """What came of everything, a line of JSON each, written at once; a second campaign reads what the first has done.

    Args:
        path: The file.
        sources: Hash of what the campaign runs; lines of other sources do not count.
        clock: Seconds; for tests.
    """

    def __init__(self, path: Path, sources: str, clock: Callable[[], float] = time.time) -> None:
        self.path, self.sources, self.clock = path, sources, clock
        path.parent.mkdir(parents=True, exist_ok=True)

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        found = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [line for line in found if line["sources"] == self.sources]

    def add(self, part: str, name: str, outcome: str, **more: Any) -> None:
        """Notes an outcome: done, there already, left out, or failed; and says it."""
        line = {"part": part, "name": name, "outcome": outcome, "sources": self.sources, "time": self.clock(), **more}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{part}: {name}: {outcome}{': ' + more['why'] if 'why' in more else ''}", flush=True)

    def is_done(self, part: str, name: str) -> bool:
        return any((line["part"], line["name"], line["outcome"]) == (part, name, "done") for line in self.lines())
