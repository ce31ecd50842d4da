"""The parameters of notebooks: their defaults, what a profile sets, and the runs of a sweep."""

from __future__ import annotations

import ast
from typing import Any

import yaml
from paths import Paths, library, write_atomically

__all__ = ["check_parameters", "known_parameters", "read_profile", "read_run", "stages", "write_runs"]


def known_parameters(text: str, name: str) -> dict[str, Any]:
    """Names assigned in the cell tagged `parameters` of a notebook, with their defaults (None where not a literal).

    Raises:
        ValueError: if there is not exactly one such cell.
    """
    cells = [cell for cell in library("reporting.dependencies").code_cells(text) if "parameters" in cell.tags]
    if len(cells) != 1:
        raise ValueError(f"notebooks/{name}.md: expected one cell tagged `parameters`, got {len(cells)}")
    known = {}
    for node in ast.parse(cells[0].source).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        try:
            default = ast.literal_eval(node.value)
        except (ValueError, TypeError):
            default = None
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        known |= {target.id: default for target in targets if isinstance(target, ast.Name)}
    return known


def _numbers_as_text(value: Any, default: Any) -> list[str]:
    """Strings where the default has numbers: YAML reads 1e-3 as text."""
    if isinstance(value, list):
        example = default[0] if isinstance(default, list) and default else default
        return [text for item in value for text in _numbers_as_text(item, example)]
    is_number = isinstance(default, int | float) and not isinstance(default, bool)
    return [value] if isinstance(value, str) and is_number else []


def check_parameters(parameters: dict[str, Any], known: dict[str, Any], where: str) -> None:
    """Papermill only warns about a parameter that the notebook does not have.

    Raises:
        ValueError: on an unknown name, saying which are known, or on text where the default is a number.
    """
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(f"{where}: expected parameters of the notebook, one of {sorted(known)}, got {unknown}")
    for name, value in parameters.items():
        if texts := _numbers_as_text(value, known[name]):
            raise ValueError(
                f"{where}: expected numbers for {name}, got text {texts} (YAML reads 1e-3 as text: write 1.0e-3)"
            )


def read_profile(paths: Paths, chapter: str) -> dict[str, Any]:
    """What the profile sets for a chapter; nothing where it has no file, as `laptop` never has."""
    path, _ = paths.settings(chapter)
    return (yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None) or {}


def stages(paths: Paths, *, read: bool = False) -> dict[str, list[dict[str, dict[str, Any]]]]:
    """The sweeps of a profile: for each chapter that has one, its stages, each with the parameters of its runs by name.

    A chapter has a sweep if there is a notebook for its runs and the profile, or else the chapter's notebook itself,
    sets a `sweep` that is not empty. If it says which of these runs are `trained` the others are read from `results/`, and
    so are those that it lists under `read`, unless `FRESH=1` or the argument `read` asks for all.

    Raises:
        ValueError: if a sweep names no runs, or two by one name.
    """
    made = {}
    for chapter in filter(lambda name: paths.sweep(name).is_file(), paths.chapters()):
        defaults = known_parameters(paths.notebook(chapter).read_text(encoding="utf-8"), chapter)
        values = defaults | read_profile(paths, chapter)
        sweeps, listed, trained = library("reporting.sweeps"), ["sweep"], values.get("trained")
        if read or sweeps.fresh():
            listed, trained = ["sweep", "read"], None
        if sweep := [stage for name in listed for stage in values.get(name) or []]:
            try:
                made[chapter] = sweeps.expand(sweep, trained)
            except ValueError as error:
                raise ValueError(f"{chapter}, profile {paths.profile}: {error}") from None
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
    return yaml.safe_load(paths.block(chapter, run).read_text(encoding="utf-8"))
