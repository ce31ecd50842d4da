"""Small results that are committed: full-length runs of the book's own code, and numbers that others published."""

from __future__ import annotations

import collections
import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from snn_ntk._files import write_bytes
from snn_ntk.reporting.documents import read_published, read_results
from snn_ntk.reporting.provenance import FULL_PRECISION, book_root, provenance
from snn_ntk.reporting.sweeps import expand, fresh, made_with, read_runs, runs_folder, write_run

__all__ = ["committed_runs", "gather_runs", "how_made", "load_published", "load_results", "write_results"]

_PARTS = ("series", "provenance")
_ORIGINS = {
    "job": "trained by jobs of this build",
    "here": "trained in this notebook",
    "read": "of this profile's runs read",
    "committed": "more runs read",
}


def load_results(chapter: str, *, root: Path | None = None) -> dict[str, dict[str, Any]] | None:
    """The committed run of a chapter, `results/<chapter>/{series,provenance}.json`.

    Args:
        chapter: The notebook's stem.
        root: The checkout; found from the working directory if left out.

    Returns:
        A mapping with "series" and "provenance", or None if the chapter has no committed run.

    Raises:
        ValueError: If a file is damaged, or only one of the two is there.
    """
    return read_results((root or book_root()) / "results" / chapter)


def committed_runs(chapter: str, *, root: Path | None = None) -> dict[str, dict[str, Any]]:
    """The runs of a chapter's sweep that are committed, by name, in the form in which `sweeps.read_runs` gives new ones.

    Args:
        chapter: The notebook's stem.
        root: The checkout; found from the working directory if left out.

    Returns:
        A mapping from each name to "parameters", "result" and "provenance", empty if none is committed.
    """
    found = load_results(chapter, root=root)
    if found is None:
        return {}
    stamps = {name: group for group in found["provenance"]["groups"] for name in group["runs"]}
    return {name: run | {"provenance": stamps[name]} for name, run in found["series"]["runs"].items()}


def gather_runs(
    chapter: str,
    profile: str,
    sweep: Sequence[Mapping[str, Any]],
    *,
    run: Callable[..., dict[str, Any]],
    inline: Sequence[Mapping[str, Any]] = (),
    trained: Mapping[str, Any] | None = None,
    read: Sequence[Mapping[str, Any]] = (),
    repeat: Callable[[Mapping[str, Any]], float | None] | None = None,
    train_missing: bool = True,
    root: Path | None = None,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """All runs of a chapter: those that jobs of its sweep made, those made here and now, and those that are committed.

    A run of `read`, or one of the sweep that `trained` does not mean, is read where it is committed with its very parameters. Its first
    steps are made again, and how far they are from the committed ones is kept. With `FRESH=1` every run is made. What
    is made here is also written down, in the chapter's folder `runs`, from where it can be committed.

    Args:
        chapter: The notebook's stem.
        profile: Whose jobs count.
        sweep: The profile's runs, as `sweeps.expand` reads them.
        run: Makes a run: parameters to result.
        inline: Runs that are always made here, in the same form.
        trained: Parameters of the sweep's runs that are made in any case, as `sweeps.expand` takes them; all by default.
        read: Further runs, in the form of the sweep, none of which has to be made.
        repeat: The relative difference between a committed run's first steps and the same made here; None if that run
            is of other data than there are here, which then has to be made.
        train_missing: Whether runs of the sweep that no job made are made here too.
        root: The checkout; found from the working directory if left out.

    Returns:
        A mapping from each name to its "parameters", "result" and "origin", which is "job", "here", "read" or
        "committed". A committed run gives way to one of its name that was made now, and has the difference under
        "repeat" where first steps were made again. And the names of the sweep's runs that are missing. Committed runs
        are left out that were made with other parameters than are wanted under their name, or whose products were not
        in full precision, because what is gathered is judged together: `committed_runs` has them.

    Raises:
        ValueError: If there is no run at all.
    """
    root = root or book_root()
    wanted, here = (
        {k: v for stage in expand(stages) for k, v in stage.items()} for stages in ([*sweep, *read], inline)
    )
    always = {name for stage in expand(sweep, trained) for name in stage} if sweep else set()
    held = {name: parameters for name, parameters in wanted.items() if name not in always}
    committed = {
        name: found
        for name, found in committed_runs(chapter, root=root).items()
        if found["provenance"].get("products", FULL_PRECISION) == FULL_PRECISION
    }
    again = {
        name: difference
        for name, parameters in held.items()
        if name in committed and made_with(committed[name], parameters)
        if repeat is not None and (difference := repeat(committed[name])) is not None
    }
    stands_in = {} if fresh() else {name: committed[name] | {"origin": "read"} for name in again}
    made = {name: parameters for name, parameters in wanted.items() if name not in stands_in}
    jobs = read_runs(runs_folder(root, profile, chapter), made)
    runs = {
        name: stands_in.get(name) or jobs[name] | {"origin": "job"}
        for name in wanted
        if name in stands_in or name in jobs
    }
    if train_missing:
        here = {name: parameters for name, parameters in wanted.items() if name not in runs} | here
    stamp = provenance(root, chapter, profile)
    for name, parameters in tqdm(here.items(), desc="runs", disable=None):
        runs[name] = {"parameters": parameters, "result": run(**parameters), "origin": "here"}
        write_run(parameters, runs[name]["result"], stamp, name=f"runs/{name}")
    missing = [name for name in wanted if name not in runs]
    for name, found in committed.items():
        if name not in wanted or made_with(found, wanted[name]):
            runs.setdefault(name, found | {"origin": "committed"})
    for name, difference in again.items():
        runs[name]["repeat"] = difference
    if not runs:
        raise ValueError(f"expected at least one run of {chapter}, got none: let the build make the sweep")
    return runs, missing


def how_made(runs: Mapping[str, Mapping[str, Any]], missing: Sequence[str] = ()) -> str:
    """What a reader has to know of gathered runs: which this build trained, and where and when the others were made.

    Args:
        runs: Of `gather_runs`.
        missing: Names of the sweep's runs that are missing, likewise.

    Returns:
        A few lines of text, of 88 characters.
    """
    names = {origin: [name for name, run in runs.items() if run["origin"] == origin] for origin in _ORIGINS}
    kept = [f"{len(names[origin])} {text}" for origin, text in _ORIGINS.items() if names[origin]]
    kept.append(f"trained: {', '.join(names['job'] + names['here']) or 'none'}")
    if again := [run["repeat"] for run in runs.values() if "repeat" in run]:
        kept.append(f"first steps of {len(again)} committed runs, made again here: loss within {max(again):.1e}")
    made = collections.defaultdict(list)
    for name in names["read"] + names["committed"]:
        stamp = runs[name]["provenance"]
        where = [stamp["device"], stamp.get("machine", ""), f"JAX {stamp['versions']['jax']}", stamp.get("day", "")]
        made[", ".join(filter(None, where))].append(name)
    kept += [f"{len(those)} of those that are read were made on {where}" for where, those in made.items()]
    kept += [f"{len(missing)} missing: {', '.join(missing)}"] if missing else []
    return "\n".join(textwrap.fill(line, 88, break_on_hyphens=False, break_long_words=False) for line in kept)


def load_published(name: str, *, root: Path | None = None) -> dict[str, Any]:
    """Numbers from a publication, `results/published/<name>.json`, with their source under "source".

    Args:
        name: The file's stem.
        root: The checkout; found from the working directory if left out.

    Raises:
        ValueError: If there is none, it is damaged or names no source.
    """
    return read_published((root or book_root()) / "results" / "published" / f"{name}.json")


def _text(value: Any, depth: int = 0) -> str:
    """JSON with one line for every list of numbers: small files, readable differences."""
    if isinstance(value, Mapping):
        inner = " " * (depth + 1)
        items = ",\n".join(f"{inner}{json.dumps(str(k))}: {_text(v, depth + 1)}" for k, v in value.items())
        return "{\n" + items + "\n" + " " * depth + "}"
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return json.dumps(_rounded(value), ensure_ascii=False, allow_nan=False)


def _rounded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write_results(
    chapter: str, *, series: Mapping[str, Any], provenance: Mapping[str, Any], root: Path | None = None
) -> Path:
    """Writes a chapter's committed run, each file at once; numbers keep six digits.

    Args:
        chapter: The notebook's stem.
        series: What was measured: mappings, lists and arrays of finite numbers.
        provenance: How: the command, the machine, versions, seeds, time.
        root: The checkout; found from the working directory if left out.

    Returns:
        The folder written to.

    Raises:
        ValueError: If a number is not finite.
    """
    folder = (root or book_root()) / "results" / chapter
    for part, content in zip(_PARTS, (series, provenance), strict=True):
        write_bytes(folder / f"{part}.json", (_text(content) + "\n").encode())
    return folder
