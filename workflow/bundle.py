"""Packs what a node without a network needs to run a campaign: `make bundle` calls this.

One file: the sources, the wheels that the node lacks, and `run.sh`. Which wheels follows from the lock: everything that a
campaign needs less everything that the node has, in the lock's versions.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import WORKFLOW, files

__all__ = ["closure", "main", "missing_packages"]

# What executes a chapter, beside what the package itself needs.
RUNNING = ("papermill", "jupytext", "ipykernel", "ipython", "pyyaml", "matplotlib", "seaborn", "neural-tangents")
# What the owner of a node with a card has installed, and with it whatever that needs.
ON_THE_NODE = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "diffrax",
    "equinox",
    "optax",
    "matplotlib",
    "seaborn",
    "scikit-learn",
    "pillow",
    "pandas",
)
SOURCES = ("src", "workflow", "notebooks", "profiles", "results", "book/claims", "requirements.txt", "pyproject.toml")
GLIBC = (28, 27, 26, 24, 17, 12, 5)
LIMIT = 60e6


def _environment(python: str) -> dict[str, str]:
    """What markers of dependencies are read with: Linux, and the node's Python."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": platform.machine(),
    }


def _locked(root: Path, python: str) -> tuple[dict[str, str], set[str]]:
    """Versions of the lock for the node's Python, and names that the lock has for that Python but not for this one."""
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    entries = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    there = [r for r in entries if r.marker is None or r.marker.evaluate(_environment(python))]
    versions: dict[str, str] = {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in there}
    here: set[str] = {canonicalize_name(r.name) for r in entries if r.marker is None or r.marker.evaluate()}
    return versions, set(versions) - here


def closure(roots: Iterable[str], python: str, instead: Mapping[str, list[str]]) -> set[str]:
    """Names of everything that the roots need on a Linux with this Python, by the metadata of what is installed here.

    Args:
        roots: Requirements.
        python: Such as "3.12".
        instead: Requirements of packages whose own metadata ask for too much.
    """
    found: set[str] = set()
    seen, waiting = set(), [Requirement(root) for root in roots]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        found.add(name)
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # needed there only: `_locked` knows what it needs
        for needed in map(Requirement, instead.get(name, requires)):
            environments = [_environment(python) | {"extra": extra} for extra in requirement.extras or {""}]
            if needed.marker is None or any(map(needed.marker.evaluate, environments)):
                waiting.append(needed)
    return found


def _project(root: Path) -> tuple[list[str], dict[str, list[str]]]:
    """What the package and its experiments need, and what neural-tangents really needs."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    instead = {entry["name"]: entry["requires-dist"] for entry in project["tool"]["uv"]["dependency-metadata"]}
    return [*project["project"]["dependencies"], *extras["experiments"], *extras["regression"]], instead


def missing_packages(root: Path, python: str) -> dict[str, str]:
    """Names and versions of what a campaign needs and the node has not.

    Raises:
        ValueError: if the lock lacks one.
    """
    needs, instead = _project(root)
    versions, only_there = _locked(root, python)
    wanted = closure([*needs, *RUNNING], python, instead) | only_there
    missing = sorted(wanted - closure(ON_THE_NODE, python, instead))
    if unknown := [name for name in missing if name not in versions]:
        raise ValueError(f"expected every package that a campaign needs in requirements.txt, got no {unknown}")
    return {name: versions[name] for name in missing}


def _least(root: Path) -> dict[str, str]:
    """The least version of each package that the node has to have, as the project states it."""
    stated: dict[str, Requirement] = {canonicalize_name((r := Requirement(text)).name): r for text in _project(root)[0]}
    least = {name: "" for name in ON_THE_NODE}
    for name in least:
        for bound in stated[name].specifier if name in stated else ():
            if bound.operator == ">=":
                least[name] = bound.version
    return least


def _download(packages: Mapping[str, str], python: str, folder: Path) -> None:
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in GLIBC]
    platforms += [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--python-version", python, "--implementation", "cp"]
    for abi in (f"cp{python.replace('.', '')}", "abi3", "none"):
        command += ["--abi", abi]
    for name in platforms:
        command += ["--platform", name]
    subprocess.run([*command, "--dest", str(folder), *(f"{k}=={v}" for k, v in packages.items())], check=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--python", default="3.12", help="the node's")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    try:
        missing = missing_packages(root, options.python)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    archive = root / "_build" / "bundle" / f"snn-ntk-bundle-py{options.python.replace('.', '')}.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "snn-ntk-bundle"
        for name in files(*(root / part for part in SOURCES)):
            target = folder / "snn-ntk" / Path(name).relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target)
        _download(missing, options.python, folder / "wheels")
        for name in ("run.sh", "check.py"):
            shutil.copy(WORKFLOW / "node" / name, folder)
        content: dict[str, Any] = {"python": options.python, "machine": platform.machine(), "node_has": _least(root)}
        (folder / "bundle.json").write_text(json.dumps(content | {"wheels": missing}, indent=1), encoding="utf-8")
        size = sum(path.stat().st_size for path in (folder / "wheels").iterdir())
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, folder.name)
    total = archive.stat().st_size
    print(f"{os.path.relpath(archive)}: {total / 1e6:.1f} MB, {len(missing)} wheels of {size / 1e6:.1f} MB")
    print(f"The node needs Python {options.python}, pip, a CUDA build of JAX, and: {', '.join(ON_THE_NODE)}.")
    print("There: tar -xzf " + archive.name + " && MINUTES=8 bash snn-ntk-bundle/run.sh")
    if total > LIMIT:
        print(f"expected less than {LIMIT / 1e6:.0f} MB, got {total / 1e6:.1f} MB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
