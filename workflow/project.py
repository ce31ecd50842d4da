"""Where things lie, and the blocks of shared YAML files that belong to one chapter."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import yaml

__all__ = ["PROFILES", "chapters", "files", "output", "read_block", "stages", "write_atomically", "write_blocks"]

PROFILES = ("smoke", "laptop", "gpu")
SWEEPS = Path(__file__).resolve().parents[1] / "src" / "snn_ntk" / "reporting" / "sweeps.py"


def output(root: Path, profile: str) -> Path:
    """The folder that everything made for a profile goes to."""
    if profile not in PROFILES:
        raise ValueError(f"expected a profile, one of {', '.join(PROFILES)}, got {profile!r}")
    return root / "_build" / profile


def chapters(root: Path) -> list[str]:
    """Stems of the notebooks, in the order of their numbers."""
    return sorted(path.stem for path in (root / "notebooks").glob("*.md"))


def files(root: Path, *names: str) -> list[str]:
    """Every file of the given folders and files that exists, as text relative to `root`."""
    found = []
    for path in (root / name for name in names):
        found += [path] if path.is_file() else [item for item in sorted(path.rglob("*")) if item.is_file()]
    skipped = ("__pycache__", ".ipynb_checkpoints")
    return [path.relative_to(root).as_posix() for path in found if not set(skipped) & set(path.parts)]


def write_atomically(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part; leaves it alone if unchanged."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def stages(root: Path, profile: str) -> dict[str, list[dict[str, dict[str, Any]]]]:
    """The sweeps of a profile: for each chapter that has one, its stages, each with the parameters of its runs by name.

    A chapter has a sweep if its block has an entry `sweep` and `notebooks/sweeps` has a notebook of its name.

    Raises:
        ValueError: if a sweep names no runs, or two by one name.
    """
    # By its path: on a cluster this runs in Snakemake's environment, which does not have the package.
    found = importlib.util.spec_from_file_location("sweeps", SWEEPS)
    assert found is not None
    assert found.loader is not None
    sweeps = importlib.util.module_from_spec(found)
    found.loader.exec_module(sweeps)
    source = root / "profiles" / f"{profile}.yml"
    blocks = (yaml.safe_load(source.read_text(encoding="utf-8")) if source.is_file() else None) or {}
    made = {}
    for chapter, block in blocks.items():
        if (block or {}).get("sweep") and (root / "notebooks" / "sweeps" / f"{chapter}.md").is_file():
            try:
                made[chapter] = sweeps.expand(block["sweep"])
            except ValueError as error:
                raise ValueError(f"{source}, {chapter}: {error}") from None
    return made


def write_blocks(root: Path, profile: str) -> None:
    """Writes `blocks/<chapter>.yml`: the chapter's parameters and its claims, all that it depends on in shared files.

    Each run of a sweep has a block of its own, `blocks/<chapter>/<run>.yml`, with its parameters.

    Raises:
        ValueError: if the profile has a block for a chapter that does not exist.
    """
    source = root / "profiles" / f"{profile}.yml"
    blocks = (yaml.safe_load(source.read_text(encoding="utf-8")) if source.is_file() else None) or {}
    names = chapters(root)
    if unknown := sorted(set(blocks) - set(names)):
        raise ValueError(f"{source}: expected chapters of notebooks/, one of {names}, got {unknown}")
    listed = root / "book" / "claims.yml"
    claims = (yaml.safe_load(listed.read_text(encoding="utf-8")) if listed.is_file() else None) or []
    for name in names:
        block = {
            "parameters": blocks.get(name) or {},
            "claims": [claim for claim in claims if claim.get("chapter") == name],
        }
        text = yaml.safe_dump(block, sort_keys=False, allow_unicode=True)
        write_atomically(output(root, profile) / "blocks" / f"{name}.yml", text)
    for name, made in stages(root, profile).items():
        for run, parameters in ((run, parameters) for stage in made for run, parameters in stage.items()):
            text = yaml.safe_dump({"parameters": parameters}, sort_keys=False, allow_unicode=True)
            write_atomically(output(root, profile) / "blocks" / name / f"{run}.yml", text)


def read_block(root: Path, profile: str, chapter: str) -> dict[str, Any]:
    """What `write_blocks` wrote for a chapter, or for a run, `<chapter>/<run>`."""
    path = output(root, profile) / "blocks" / f"{chapter}.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))
