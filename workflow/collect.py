"""Commits runs, those of a sweep's jobs and those that a chapter made itself: writes them to `results/<chapter>`.

There chapters find them on every machine. Called by `make results CHAPTER=… PROFILE=…`, for the profile `laptop` after
`make book FRESH=1`. Runs that were committed before and are not made again stay.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from parameters import stages
from paths import PROFILES, Paths

from snn_ntk.reporting import load_results, write_results
from snn_ntk.reporting.sweeps import read_runs, runs_folder

__all__ = ["collect"]


def collect(root: Path, profile: str, chapter: str, *, pictures: bool = False) -> list[str]:
    """Writes `results/<chapter>/{series,provenance}.json` and returns the names of the runs that were added.

    The series are `{"runs": {name: {"parameters": …, "result": …}}}`; the provenance lists what was run together, with
    device, machine, versions and hash of the sources. Pictures are large and left out, unless asked for: mostly those
    of runs that were made on the spot are drawn.

    Raises:
        ValueError: if no run of the chapter exists in this profile.
    """
    paths = Paths(root, profile)
    sweep = stages(paths, read=True).get(chapter, [])
    found = read_runs(runs_folder(root, profile, chapter), {n: p for stage in sweep for n, p in stage.items()})
    for path in sorted((paths.chapter(chapter) / "runs").glob("*.json")):
        found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"expected runs of {chapter} made by a build of profile {profile}, got none")
    before = load_results(chapter, root=root) or {"series": {"runs": {}}, "provenance": {"groups": []}}
    kept = {name: run for name, run in before["series"]["runs"].items() if name not in found}
    groups: list[dict[str, Any]] = [
        group | {"runs": names}
        for group in before["provenance"]["groups"]
        if (names := [name for name in group["runs"] if name in kept])
    ]
    for name, run in found.items():
        stamp = run["provenance"]
        group = next((g for g in groups if {k: v for k, v in g.items() if k != "runs"} == stamp), None)
        if group is None:
            groups.append(group := stamp | {"runs": []})
        group["runs"].append(name)
    new = {
        name: {
            "parameters": run["parameters"],
            "result": {key: value for key, value in run["result"].items() if pictures or key != "pictures"},
        }
        for name, run in found.items()
    }
    write_results(chapter, series={"runs": kept | new}, provenance={"groups": groups}, root=root)
    return list(new)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapter")
    parser.add_argument("--profile", default="gpu", choices=PROFILES)
    parser.add_argument("--pictures", action="store_true", help="keep the runs' pictures too")
    parser.add_argument("--root", type=Path, default=Path("."))
    arguments = parser.parse_args()
    try:
        added = collect(arguments.root.resolve(), arguments.profile, arguments.chapter, pictures=arguments.pictures)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(f"results/{arguments.chapter}: {len(added)} runs")
