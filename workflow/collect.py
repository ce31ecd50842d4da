"""Commits runs, those of a sweep's jobs and those that a chapter made itself: writes them to `results/<chapter>`.

There chapters find them on every machine. Called by `make results CHAPTER=… PROFILE=…`, for the profile `laptop` after
`make book FRESH=1`, and by `make results FROM=…` with the file that a campaign packed, on this machine or another. Runs
that were committed before and are not made again stay.
"""

from __future__ import annotations

import argparse
import json
import re
import tarfile
import zlib
from pathlib import Path
from typing import Any

from parameters import stages
from paths import PROFILES, Paths

from snn_ntk.reporting import load_results, write_results
from snn_ntk.reporting.documents import RUN, check_schema, read_json
from snn_ntk.reporting.sweeps import read_runs, runs_folder

__all__ = ["collect", "collect_packed"]

_MANIFEST = {
    "type": "object",
    "description": "a mapping with the scale",
    "properties": {"scale": {"type": "number", "description": "a number"}},
    "required": ["scale"],
}


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
        found[path.stem] = read_json(path, RUN)
    if not found:
        raise ValueError(f"expected runs of {chapter} made by a build of profile {profile}, got none")
    return _merge(root, chapter, found, pictures=pictures)


def collect_packed(root: Path, archive: Path, *, rehearsal: bool = False) -> dict[str, list[str]]:
    """Merges every run of a packed campaign; returns the names of the runs by chapter.

    Raises:
        ValueError: if the file is no campaign's, holds no run, or is a rehearsal's, with fewer steps than the runs say
            they stand for, and `rehearsal` is not asked for.
    """
    try:
        with tarfile.open(archive) as tar:
            read = lambda name: json.loads(tar.extractfile(name).read())  # noqa: E731  # pyright: ignore
            manifest = read("manifest.json")
            places = [re.fullmatch(r"sweeps/([\w-]+)/([^/]+)\.json", name) for name in tar.getnames()]
            runs = [(*place.groups(), read(place.group())) for place in places if place]
    except (OSError, EOFError, tarfile.TarError, zlib.error, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"expected {archive} to be what a campaign packed, got another file ({error})") from error
    check_schema(manifest, _MANIFEST, f"{archive}, manifest.json")
    if manifest["scale"] != 1 and not rehearsal:
        raise ValueError(f"expected runs of full length, got a rehearsal at {manifest['scale']:g} of it: {archive}")
    if not runs:
        raise ValueError(f"expected runs in {archive}, got none")
    found: dict[str, dict[str, Any]] = {}
    for chapter, name, run in runs:
        check_schema(run, RUN, f"{archive}, sweeps/{chapter}/{name}.json")
        found.setdefault(chapter, {})[name] = run
    return {chapter: _merge(root, chapter, of_chapter) for chapter, of_chapter in found.items()}


def _merge(root: Path, chapter: str, found: dict[str, Any], *, pictures: bool = False) -> list[str]:
    """Writes runs beside those that were committed before, which give way to runs of their names."""
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
    parser.add_argument("chapter", nargs="?")
    parser.add_argument("--packed", type=Path, help="what a campaign packed, instead of a chapter's sweep")
    parser.add_argument("--rehearsal", action="store_true", help="merge runs with fewer steps too, to try it")
    parser.add_argument("--profile", default="gpu", choices=PROFILES)
    parser.add_argument("--pictures", action="store_true", help="keep the runs' pictures too")
    parser.add_argument("--root", type=Path, default=Path("."))
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    try:
        if arguments.packed:
            added = collect_packed(root, arguments.packed, rehearsal=arguments.rehearsal)
        elif arguments.chapter:
            made = collect(root, arguments.profile, arguments.chapter, pictures=arguments.pictures)
            added = {arguments.chapter: made}
        else:
            parser.error("expected a chapter or --packed, got neither")
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None
    for chapter, names in added.items():
        print(f"results/{chapter}: {len(names)} runs")
