"""The parameters of notebooks: their defaults, what a profile sets, and the runs of a sweep."""

from __future__ import annotations

import ast
import math
from typing import Any

import yaml
from paths import Paths, is_name, library, write_atomically

# A file of a profile, and the stages of a sweep.
PROFILE = {"type": ["object", "null"], "propertyNames": {"type": "string"}, "description": "a mapping of parameters"}
SWEEP = {
    "type": "array",
    "items": {"type": "object", "description": "a stage: a mapping of parameters"},
    "description": "a list of stages",
}

__all__ = ["check_parameters", "known_parameters", "read_notebook", "read_profile", "read_run", "stages", "write_runs"]


def known_parameters(text: str, name: str) -> dict[str, Any]:
    """Names assigned in the cell tagged `parameters` of a notebook, with their defaults (None where not a literal).

    Raises:
        ValueError: if there is not exactly one such cell, or it is not Python.
    """
    cells = [cell for cell in library("reporting.dependencies").code_cells(text) if "parameters" in cell.tags]
    if len(cells) != 1:
        raise ValueError(f"notebooks/{name}.md: expected one cell tagged `parameters`, got {len(cells)}")
    try:
        statements = ast.parse(cells[0].source).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"notebooks/{name}.md: expected Python in the cell tagged `parameters`, got {error}") from None
    known = {}
    for node in statements:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        try:
            default = ast.literal_eval(node.value)
        except (ValueError, TypeError):
            default = None
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        known |= {target.id: default for target in targets if isinstance(target, ast.Name)}
    return known


# What a value of a profile is, seen by its default; None says nothing.
KINDS = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "a text"),
    ((list, tuple), "a list"),
    (dict, "a mapping"),
)


def _kind(value: Any) -> str:
    return next((name for kind, name in KINDS if isinstance(value, kind)), "nothing")


def _check_kind(value: Any, default: Any, where: str) -> None:
    if default is None:
        return
    if _kind(value) != _kind(default):
        hint = (
            " (YAML reads 1e-3 as text: write 1.0e-3)"
            if isinstance(value, str) and _kind(default) == "a number"
            else ""
        )
        raise ValueError(f"{where}: expected {_kind(default)}, got {value!r}{hint}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}: expected a finite number, got {value}")
    if isinstance(value, list) and len({_kind(item) for item in default}) == 1:
        for number, item in enumerate(value):
            _check_kind(item, default[0], f"{where}[{number}]")


def check_parameters(parameters: dict[str, Any], known: dict[str, Any], where: str) -> None:
    """Papermill only warns about a parameter that the notebook does not have.

    Raises:
        ValueError: on an unknown name, saying which are known, or on a value of another kind than the default.
    """
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(f"{where}: expected parameters of the notebook, one of {sorted(known)}, got {unknown}")
    for name, value in parameters.items():
        _check_kind(value, known[name], f"{where}, {name}")


def read_profile(paths: Paths, chapter: str) -> dict[str, Any]:
    """What the profile sets for a chapter; nothing where it has no file, as `laptop` never has."""
    path, _ = paths.settings(chapter)
    return (library("reporting.documents").read_yaml(path, PROFILE) if path.exists() else None) or {}


def read_notebook(paths: Paths, chapter: str) -> dict[str, Any]:
    """The parameters of a chapter at the profile: the notebook's defaults and what the profile sets.

    Raises:
        ValueError: if the notebook or the profile's file cannot be read, or they do not fit each other.
    """
    documents = library("reporting.documents")
    text = documents.read_text(paths.notebook(chapter))
    _, _, header = text.partition("---\n") if text.startswith("---\n") else ("", "", "")
    documents.parse_yaml(header.partition("\n---\n")[0], f"notebooks/{chapter}.md, header")
    known, chosen = known_parameters(text, chapter), read_profile(paths, chapter)
    check_parameters(chosen, known, f"profile {paths.profile}, {chapter}")
    return known | chosen


def stages(paths: Paths, *, read: bool = False) -> dict[str, list[dict[str, dict[str, Any]]]]:
    """The sweeps of a profile: for each chapter that has one, its stages, each with the parameters of its runs by name.

    A chapter has a sweep if there is a notebook for its runs and the profile, or else the chapter's notebook itself,
    sets a `sweep` that is not empty. If it says which of these runs are `trained` the others are read from `results/`, and
    so are those that it lists under `read`, unless `FRESH=1` or the argument `read` asks for all.

    Raises:
        ValueError: if a sweep names no runs, or two by one name.
    """
    made = {}
    sweeps = library("reporting.sweeps")
    for chapter in paths.chapters():
        values = read_notebook(paths, chapter)
        listed, trained = ["sweep"], values.get("trained")
        if read or sweeps.fresh():
            listed, trained = ["sweep", "read"], None
        sweep = [stage for name in listed for stage in values.get(name) or []]
        if sweep and paths.sweep(chapter).is_file():
            where = f"{chapter}, profile {paths.profile}, sweep"
            library("reporting.documents").check_schema(sweep, SWEEP, where)
            try:
                made[chapter] = sweeps.expand(sweep, trained)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if odd := [name for stage in made[chapter] for name in stage if not is_name(name)]:
                raise ValueError(f"{where}: expected values that make names of files, got {odd}")
    return made


def write_runs(paths: Paths) -> dict[str, list[dict[str, dict[str, Any]]]]:
    """Writes the parameters of each run of a sweep to a file of its own: a run is made again when they change.

    Returns:
        The `stages` of the profile.

    Raises:
        ValueError: if the profile has a file for a chapter that does not exist.
    """
    names = paths.chapters()
    if unknown := sorted({path.stem for path in paths.parameters.glob("*.yml")} - set(names)):
        raise ValueError(f"{paths.parameters}: expected chapters of notebooks/, one of {names}, got {unknown}")
    made = stages(paths)
    for chapter, runs in ((chapter, runs) for chapter, listed in made.items() for runs in listed):
        for run, parameters in runs.items():
            text = yaml.safe_dump(parameters, sort_keys=False, allow_unicode=True)
            write_atomically(paths.block(chapter, run), text)
    return made


def read_run(paths: Paths, chapter: str, run: str) -> dict[str, Any]:
    """The parameters of a run, as `write_runs` wrote them."""
    return library("reporting.documents").read_yaml(paths.block(chapter, run), {"type": "object"})
