"""Checks that notebooks are what jupytext itself would write, and that their code fits the page.

MyST text without outputs, in step with Jupyter; code as ruff formats it, in lines and cells that a reader sees whole.
A notebook that was edited as an .ipynb in Jupyter is first written back to its .md (`jupytext --sync`). With `--fix` the
code is formatted in place.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jupytext
from parameters import known_parameters

__all__ = ["formatted", "problems"]

WIDEST = 100  # characters; longer lines are cut off on the page
LONGEST = 45  # lines of a cell; more does not fit the screen

_CODE_CELL = re.compile(
    r"(^```\{code-cell\}[^\n]*\n(?:---\n.*?\n---\n|(?::[^\n]*\n)*)\n*)(.*?)(\n```$)", re.MULTILINE | re.DOTALL
)
_BETWEEN = "# %% between two cells"


def formatted(text: str) -> str:
    """A notebook's text with the code of its cells as ruff formats it."""
    cells = [match[2] for match in _CODE_CELL.finditer(text)]
    finished = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--quiet", f"--line-length={WIDEST}", "--stdin-filename=cell.py", "-"],
        input=f"\n{_BETWEEN}\n".join(cells), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if finished.returncode:
        raise ValueError(f"expected cells of Python, got what ruff cannot read: {finished.stderr.strip()}")
    new = iter(part.strip("\n") for part in finished.stdout.split(_BETWEEN))
    return _CODE_CELL.sub(lambda match: match[1] + next(new) + match[3], text)


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
    code = [cell.source.splitlines() for cell in notebook.cells if cell.cell_type == "code"]
    wide = [line for lines in code for line in lines if len(line) > WIDEST]
    if wide:
        found.append(
            f"expected lines of at most {WIDEST} characters, got {len(wide)} longer, such as {wide[0].strip()!r}"
        )
    if long := [lines for lines in code if len(lines) > LONGEST]:
        found.append(f"expected cells of at most {LONGEST} lines, got {len(long)} longer, such as {long[0][0]!r}")
    if formatted(text) != text:
        found.append("expected code as `make format` writes it")
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
    names = [Path(name) for name in sys.argv[1:] if name != "--fix"]
    if "--fix" in sys.argv:
        for path in names:
            before = path.read_text(encoding="utf-8")
            if (after := formatted(before)) != before:
                path.write_text(after, encoding="utf-8")
    messages = [message for path in names for message in problems(path)]
    print("\n".join(messages), end="\n" if messages else "")
    sys.exit(bool(messages))
