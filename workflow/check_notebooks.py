"""Checks that notebooks are what jupytext itself would write: MyST text without outputs, in step with Jupyter.

A notebook that was edited as an .ipynb in Jupyter is first written back to its .md (`jupytext --sync`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import jupytext
from parameters import known_parameters

__all__ = ["problems"]


def problems(path: Path) -> list[str]:
    """What is wrong with one notebook, in words."""
    found = []
    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="md:myst")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("expected the kernelspec python3 in its header")
    if any(cell.get("outputs") for cell in notebook.cells):
        found.append("expected no outputs")
    try:
        known_parameters(text, path.stem)
    except ValueError as error:
        found.append(str(error))
    again = jupytext.reads(jupytext.writes(notebook, fmt="md:myst"), fmt="md:myst")
    if [(cell.cell_type, cell.source) for cell in again.cells] != [
        (cell.cell_type, cell.source) for cell in notebook.cells
    ]:
        found.append("expected text that survives a round trip through jupytext")
    beside = path.with_suffix(".ipynb")
    if beside.is_file():
        mine = [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]
        theirs = [(cell.cell_type, cell.source.strip()) for cell in jupytext.read(beside).cells]
        if mine != theirs:
            found.append(f"differs from {beside.name}: run jupytext --sync, or remove the .ipynb")
    return [f"{path}: {problem}" for problem in found]


if __name__ == "__main__":
    messages = [message for name in sys.argv[1:] for message in problems(Path(name))]
    print("\n".join(messages), end="\n" if messages else "")
    sys.exit(bool(messages))
