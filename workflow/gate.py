"""The gate: an executed notebook that failed, or never finished, must not get into the book.

Sphinx renders such a notebook without a word, and papermill leaves one behind by design, so that it can be read.
"""

from __future__ import annotations

from pathlib import Path

import nbformat

__all__ = ["UnfinishedNotebook", "check", "check_file"]


class UnfinishedNotebook(RuntimeError):
    """The notebook was not executed from its first cell to its last without an error."""


def check(notebook: nbformat.NotebookNode, name: str) -> None:
    """Looks at papermill's metadata and at the outputs.

    Raises:
        UnfinishedNotebook: naming the notebook and the first thing that is wrong with it.
    """
    run = notebook.metadata.get("papermill", {})
    if not run:
        raise UnfinishedNotebook(f"{name}: not executed by papermill")
    if run.get("exception"):
        raise UnfinishedNotebook(f"{name}: a cell raised an exception")
    if not run.get("end_time"):
        raise UnfinishedNotebook(f"{name}: execution never finished (no end time)")
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        status = cell.metadata.get("papermill", {})
        if any(output.output_type == "error" for output in cell.outputs) or status.get("exception"):
            raise UnfinishedNotebook(f"{name}: cell {number} raised an exception")
        if status.get("status") != "completed":
            raise UnfinishedNotebook(f"{name}: cell {number} is {status.get('status', 'not executed')}")


def check_file(path: Path, name: str | None = None) -> nbformat.NotebookNode:
    """Reads and checks an executed notebook.

    Raises:
        UnfinishedNotebook: naming what is wrong with it.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        check(notebook, name or path.name)
    except (OSError, ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as error:
        # Removing it is all that it takes for the build to make it anew.
        why = str(error).split("\n")[0][:100] or type(error).__name__
        raise UnfinishedNotebook(
            f"{name or path}: expected an executed notebook, got a damaged file: remove {path} ({why})"
        ) from None
    return notebook
