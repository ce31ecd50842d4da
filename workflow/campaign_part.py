"""One part of a campaign, in a process of its own: `campaign.py` calls it.

Whatever fails is noted by name, and the next one is begun.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from campaign import out_folder
from campaign_makers import MAKERS, Maker, figure2_step, floor
from campaign_plan import Group, Log, does_fit, groups, longest, read_plan
from parameters import known_parameters
from paths import WORKFLOW, Paths, write_atomically

from snn_ntk.experiments import agreement
from snn_ntk.reporting.provenance import provenance

__all__ = ["do_groups", "main"]


# Not of a run that a campaign makes: it sets the seed itself, and a row of chapter 9's table of choices is no part of it.
OTHERS = ("profile", "seed", "choice", "widest", "narrowest", "seeds")


def do_groups(
    found: Sequence[Group],
    maker: Maker,
    log: Log,
    *,
    part: dict[str, Any],
    out: Path,
    stamp: dict[str, Any],
    defaults: dict[str, Any],
    until: float,
) -> None:
    """Makes the runs of a part that are not there and fit the time that is left; notes every outcome by name."""
    folder, rest = out / "sweeps" / part["chapter"], float(part["rest"])
    shared = {key: value for key, value in defaults.items() if key not in OTHERS}
    for group in found:
        missing = {
            name: seed
            for name, seed in group.runs.items()
            if not _is_there(folder / f"{name}.json", stamp, group.parameters)
        }
        if not missing:
            log.add(part["part"], group.name, "there already")
            continue
        parameters, seeds = shared | group.parameters, list(missing.values())
        try:
            if (left := until - log.clock()) < rest:
                why = f"it takes {rest:.0f} s beside its steps, {max(0.0, left):.0f} s are left"
                log.add(part["part"], group.name, "left out", why=why)
                continue
            step = maker.step(seeds, parameters)
            left, steps = until - log.clock(), parameters["steps"]
            if part.get("longest"):
                fits = longest(steps, step.seconds, rest, left)
                missing = {name.replace(f"steps{steps}", f"steps{fits}"): seed for name, seed in missing.items()}
                parameters |= {"steps": fits}
            else:
                fits = steps if does_fit(steps, step.seconds, rest, left) else 0
            timed = {"milliseconds": 1e3 * step.seconds, "steps": fits or steps, "seeds": len(seeds)} | floor(step)
            _keep_step(out, stamp, group.name, timed)
            if not fits:
                why = f"{steps:,} steps of {1e3 * step.seconds:.2f} ms need {steps * step.seconds + rest:.0f} s"
                log.add(part["part"], group.name, "left out", why=f"{why}, {left:.0f} s are left", **timed)
                continue
            if all(_is_there(folder / f"{name}.json", stamp, parameters) for name in missing):
                log.add(part["part"], group.name, "there already", runs=list(missing))
                continue
            began = log.clock()
            file = f"{next(iter(missing))}-{len(missing)}-{stamp['sources']}.npz"
            checkpoint = out / "campaign" / "checkpoints" / part["chapter"] / file
            results = maker.make(seeds, checkpoint, parameters)
            for (name, seed), result in zip(missing.items(), results, strict=True):
                content = {
                    "parameters": parameters | {"seed": seed},
                    "result": result,
                    "provenance": stamp | {"side_by_side": len(seeds)},
                }
                write_atomically(folder / f"{name}.json", json.dumps(content))
            spent = log.clock() - began
            rest = max(1.0, spent - fits * step.seconds)
            log.add(part["part"], group.name, "done", runs=list(missing), seconds=spent, **timed)
        except Exception as error:  # whatever it is, the next group is tried
            log.add(part["part"], group.name, "failed", why=f"{type(error).__name__}: {str(error)[:500]}")


def _is_there(path: Path, stamp: dict[str, Any], parameters: dict[str, Any]) -> bool:
    """Whether a run was made with these sources and parameters."""
    if not path.is_file():
        return False
    found = json.loads(path.read_text(encoding="utf-8"))
    same = all(found["parameters"].get(key) == value for key, value in parameters.items())
    return same and found["provenance"]["sources"] == stamp["sources"]


def _keep_step(out: Path, stamp: dict[str, Any], name: str, timed: dict[str, float]) -> None:
    """Adds what a step takes, beside the least that it could, to the table of all of them."""
    path = out / "sweeps" / "campaign" / "steps.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["result"] if path.is_file() else {}
    content = {"parameters": {}, "result": kept | {name: timed}, "provenance": stamp | {"chapter": "campaign"}}
    write_atomically(path, json.dumps(content))


def _agreement(log: Log, part: dict[str, Any], *, out: Path, stamp: dict[str, Any], until: float) -> None:
    """Writes how far the device is from the CPU, quantity by quantity."""
    inputs = {"n": part["n"], "width": part["width"]}
    path, device = out / "sweeps" / "campaign" / "agreement.json", jax.devices()[0]
    before = json.loads(path.read_text(encoding="utf-8")) if _is_there(path, stamp, inputs) else {"result": {}}
    found: dict[str, Any] = before["result"]
    all_of_them = agreement.quantities(**inputs)
    for name in part.get("quantities", all_of_them):
        if name in found:
            log.add("agreement", name, "there already")
            continue
        if log.clock() >= until:
            log.add("agreement", name, "left out", why="no time was left")
            continue
        try:
            found[name] = agreement.device_agreement(name, all_of_them[name], device)
        except Exception as error:  # the next quantity is tried
            log.add("agreement", name, "failed", why=f"{type(error).__name__}: {str(error)[:500]}")
            continue
        write_atomically(path, json.dumps({"parameters": inputs, "result": found, "provenance": stamp}))
        log.add("agreement", name, "done", **found[name])


def _probe(log: Log, tag: str, defaults: dict[str, Any]) -> None:
    """Times a step of Figure 2 with the flags that this process was started with."""
    if jax.devices()[0].platform == "cpu":
        log.add("command-buffers", tag, "left out", why="there is no card")
        return
    shared = {key: value for key, value in defaults.items() if key not in OTHERS}
    step = figure2_step([0, 1, 2], shared | {"targets": "classes", "outputs": 10, "width": 256})
    log.add("command-buffers", tag, "done", milliseconds=1e3 * step.seconds)


def _chapters(log: Log, part: dict[str, Any], names: Sequence[str], *, paths: Paths, until: float) -> None:
    """Executes chapters through papermill, several at once, and says how much of each was compilation."""

    def one(chapter: str) -> None:
        if log.is_done(part["part"], chapter):
            log.add(part["part"], chapter, "there already")
            return
        if (left := until - log.clock()) < 5:
            log.add(part["part"], chapter, "left out", why="no time was left")
            return
        command = [sys.executable, str(WORKFLOW / "run_chapter.py"), "--profile", paths.profile]
        platforms = {} if jax.devices()[0].platform == "cpu" else {"JAX_PLATFORMS": "cuda,cpu"}
        # Compilations and their times go to the notebook's output, where they are added up.
        environment = os.environ | {"JAX_LOG_COMPILES": "1"} | platforms
        began = log.clock()
        try:
            done = subprocess.run(
                [*command, "--root", str(paths.root), chapter],
                env=environment, capture_output=True, text=True, timeout=left, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            log.add(part["part"], chapter, "left out", why=f"it had not ended after the {left:.0f} s that were left")
            return
        seconds = log.clock() - began
        if done.returncode:
            log.add(part["part"], chapter, "failed", why=done.stderr.strip()[-500:], seconds=seconds)
            return
        compiled = _compilation(paths.executed(chapter))
        log.add(part["part"], chapter, "done", seconds=seconds, **compiled)

    with ThreadPoolExecutor(part["at_once"]) as pool:
        list(pool.map(one, names))


def _compilation(notebook: Path) -> dict[str, float]:
    """How many programs an executed notebook compiled, and the seconds that took, by JAX's own log of it."""
    times = re.findall(r"Finished XLA compilation of .*? in ([\d.e-]+) s", notebook.read_text(encoding="utf-8"))
    return {"programs": len(times), "compiling": float(np.sum([float(seconds) for seconds in times]))}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--scale", type=float, required=True)
    parser.add_argument("--until", type=float, required=True, help="seconds since the epoch")
    parser.add_argument("--sources", required=True)
    parser.add_argument("--tag", default="")
    options = parser.parse_args(arguments)
    (part,) = read_plan([options.part])
    root, paths = options.root, Paths(options.root, options.profile)
    out = out_folder(root, options.profile, options.scale)
    log = Log(out / "campaign" / "log.jsonl", options.sources)
    if "chapters" in part:
        names = paths.chapters() if part["chapters"] == "all" else part["chapters"]
        _chapters(log, part, names, paths=Paths(root, part["profile"]), until=options.until)
        return 0
    chapter = part.get("chapter", "09-weight-movement")
    defaults = known_parameters(paths.sweep(chapter).read_text(encoding="utf-8"), chapter)
    stamp = provenance(root, f"sweeps/{chapter}", options.profile) | {"time": time.strftime("%Y-%m-%d", time.gmtime())}
    if flags := os.environ.get("XLA_FLAGS", "").strip():
        stamp["flags"] = flags
    if part["part"] == "agreement":
        stamp |= {"chapter": "campaign", "sources": options.sources}
        _agreement(log, part, out=out, stamp=stamp, until=options.until)
    elif part["part"] == "command-buffers":
        _probe(log, options.tag, defaults)
    else:
        do_groups(
            groups(part["sweep"], options.scale), MAKERS[chapter], log,
            part=part, out=out, stamp=stamp, defaults=defaults, until=options.until,
        )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
