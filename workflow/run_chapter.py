"""Executes one chapter: MyST notebook → papermill with the profile's parameters → gate → moved into place at once.

The run happens in `_build/<profile>/running/<chapter>`; a failed one stays there, to be read. With `--run` it is one run
of the chapter's sweep, from `notebooks/sweeps/<chapter>.md`.
"""

from __future__ import annotations

import argparse
import ast
import logging
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import gate
import jupytext
import nbformat
import papermill
import project

__all__ = ["check_parameters", "known_parameters", "run", "sweep_run"]


def known_parameters(notebook: nbformat.NotebookNode, name: str) -> dict[str, Any]:
    """Names assigned in the cell tagged `parameters`, with their defaults (None where not a literal).

    Raises:
        ValueError: if there is not exactly one such cell.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
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


def _environment(folder: Path, profile: str) -> None:
    """What the kernel inherits."""
    os.environ["SNN_NTK_OUTPUT"] = str(folder.resolve())
    # A chapter's own bars would end up in its page; papermill's bar shows the progress of the build.
    os.environ["TQDM_DISABLE"] = "1"
    # One card may serve other programs too, and preallocation takes three quarters of it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # XLA's remarks about slow compilations would go to the terminal, between the lines about chapters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if profile == "gpu":
        return
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # Chapters run side by side, one a core: more threads than that only get in each other's way.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    if profile == "smoke":
        # Programs are compiled once and hardly used: compiling them well takes longer than running them badly.
        os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


def _last_lines(error: Exception, count: int = 12) -> str:
    text = "\n".join(getattr(error, "traceback", None) or [f"{type(error).__name__}: {error}"])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return "\n".join("    " + line for line in plain.strip().splitlines()[-count:])


def _execute(source: Path, running: Path, profile: str, parameters: dict[str, Any], name: str) -> float:
    """Executes a notebook in the folder `running` and checks it; returns the seconds that it took.

    Raises:
        SystemExit: after a message, if the notebook fails.
    """
    notebook = jupytext.read(source)
    known = known_parameters(notebook, name)
    check_parameters(parameters, known, f"profiles/{profile}.yml, {name}")
    if "profile" in known:
        parameters = {"profile": profile} | parameters
    running.mkdir(parents=True, exist_ok=True)
    executed = running / "notebook.ipynb"
    nbformat.write(notebook, running / "source.ipynb")
    _environment(running, profile)
    # It warns about names that it cannot find by its own reading of the cell; check_parameters has read it properly.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    quiet = bool(os.environ.get("CI")) or not sys.stderr.isatty()
    started = time.monotonic()
    print(f"{name}: running ({profile})", flush=True)
    try:
        papermill.execute_notebook(
            running / "source.ipynb",
            executed,
            parameters,
            kernel_name="python3",
            language="python",
            cwd=source.parent,
            progress_bar=not quiet and {"desc": name},  # pyright: ignore[reportArgumentType]
            # A kernel's own messages; it logs the signal that shuts it down as an error. Failures arrive by the notebook.
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
        gate.check_file(executed, name)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        print(
            f"\n{name}: FAILED after {time.monotonic() - started:.0f} s\n{_last_lines(error)}\n"
            f"    The notebook up to there: {os.path.relpath(executed)}\n",
            file=sys.stderr,
            flush=True,
        )
        raise SystemExit(1) from None
    (running / "source.ipynb").unlink()
    return time.monotonic() - started


def run(root: Path, profile: str, chapter: str) -> None:
    """Executes a chapter and puts `notebook.ipynb`, `claims.json` and `figures/` in place.

    Raises:
        SystemExit: after a message, if the notebook fails.
    """
    out = project.output(root, profile)
    running, final = out / "running" / chapter, out / "chapters" / chapter
    parameters = dict(project.read_block(root, profile, chapter)["parameters"])
    shutil.rmtree(running, ignore_errors=True)
    seconds = _execute(root / "notebooks" / f"{chapter}.md", running, profile, parameters, chapter)
    shutil.rmtree(final, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.rename(running, final)
    print(f"{chapter}: done in {seconds:.0f} s", flush=True)


def sweep_run(root: Path, profile: str, chapter: str, name: str) -> None:
    """Executes one run of a chapter's sweep and puts its result, `<run>.json`, in place, its notebook beside it.

    What an interrupted run left behind stays for it to go on from.

    Raises:
        SystemExit: after a message, if the notebook fails or leaves no result.
    """
    out = project.output(root, profile)
    running, final = out / "running" / "sweeps" / chapter / name, out / "sweeps" / chapter
    parameters = dict(project.read_block(root, profile, f"{chapter}/{name}")["parameters"])
    label = f"{chapter}/{name}"
    seconds = _execute(root / "notebooks" / "sweeps" / f"{chapter}.md", running, profile, parameters, label)
    if not (running / "run.json").is_file():
        raise SystemExit(f"{label}: expected the notebook to leave its result by sweeps.write_run, got none")
    final.mkdir(parents=True, exist_ok=True)
    os.replace(running / "notebook.ipynb", final / f"{name}.ipynb")
    os.replace(running / "run.json", final / f"{name}.json")
    shutil.rmtree(running)
    print(f"{label}: done in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chapter")
    parser.add_argument("--profile", default="laptop", choices=project.PROFILES)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--run", help="this run of the chapter's sweep, instead of the chapter")
    arguments = parser.parse_args()
    try:
        if arguments.run:
            sweep_run(arguments.root, arguments.profile, arguments.chapter, arguments.run)
        else:
            run(arguments.root, arguments.profile, arguments.chapter)
    except ValueError as error:
        raise SystemExit(str(error)) from None
