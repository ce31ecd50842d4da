"""What a notebook depends on: the files of the package to which its imports lead.

An `__init__` that only re-exports is read as a table: `from snn_ntk.datasets import mnist` leads to the file that
defines `mnist` and to what that imports, not to everything that the table lists.

Only the standard library is imported here: the build reads this file by its path, in Snakemake's own environment.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["Cell", "code_cells", "imported_files"]

# A fence, options in one of two forms, code.
_CELL = re.compile(
    r"^(`{3,})\{code-cell\}[^\n]*\n(---\n.*?^---\n|(?::[^\n]*\n)*)(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL
)
_MAGIC = re.compile(r"^[%!].*$", re.MULTILINE)


class Cell(NamedTuple):
    """A code cell of a notebook."""

    tags: list[str]
    source: str


def code_cells(text: str) -> list[Cell]:
    """The code cells of a notebook in MyST Markdown.

    >>> code_cells("Text\\n```{code-cell}\\n:tags: [parameters]\\n\\nm = 1\\n```\\n")
    [Cell(tags=['parameters'], source='m = 1')]
    """
    cells = []
    for _, options, source in _CELL.findall(text):
        tags = re.search(r"tags:(.*)", options)
        cells.append(Cell(re.findall(r"[\w-]+", tags[1]) if tags else [], source.strip("\n")))
    return cells


class _Reference(NamedTuple):
    """Something that code names: a module, by its dotted name, and the attributes that lead on from there."""

    module: str
    names: tuple[str, ...] = ()


class _Reading(NamedTuple):
    """What a file says of imports."""

    only_exports: bool
    imports: Mapping[str, set[_Reference]]  # by the name that they bind
    uses: Mapping[str, set[tuple[str, ...]]]  # by name: the attributes that are read of it, () of the name alone


@functools.cache  # many notebooks lead to the same files
def _read(text: str, package: str) -> _Reading:
    """Reads the code of a module of `package`."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # running it will say so, and say where
        tree = ast.parse("")
    imports: dict[str, set[_Reference]] = defaultdict(set)
    uses: dict[str, set[tuple[str, ...]]] = defaultdict(set, {"*": {()}})
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                imports[item.asname or item.name].add(_Reference(item.name))
                if not item.asname:  # `import a.b` binds a
                    top = item.name.split(".")[0]
                    imports[top].add(_Reference(top))
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join(above + ([node.module] if node.module else []))
            for item in node.names:
                imports[item.asname or item.name].add(_Reference(module, () if item.name == "*" else (item.name,)))
        elif isinstance(node, ast.Attribute | ast.Name) and id(node) not in inner:
            attributes, root = [], node
            while isinstance(root, ast.Attribute):
                attributes.append(root.attr)
                root = root.value
                inner.add(id(root))
            if isinstance(root, ast.Name):
                uses[root.id].add(tuple(reversed(attributes)))
    return _Reading(all(map(_exports, tree.body)), imports, uses)


def _exports(node: ast.stmt) -> bool:
    """Whether a statement is a docstring, an import, or defines a name such as `__all__` or `__getattr__`."""
    names = [node.name] if isinstance(node, ast.FunctionDef) else []
    if isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    special = bool(names) and all(re.fullmatch("__.*__", name) for name in names)
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return special or docstring or isinstance(node, ast.Import | ast.ImportFrom)


class _Source:
    """The folder that Python finds the package in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, module: str) -> Path | None:
        """The file of a module; None if it is none of ours."""
        path = self.folder.joinpath(*module.split("."))
        return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)

    def read(self, file: Path) -> _Reading:
        return _read(file.read_text(encoding="utf-8"), ".".join(file.parent.relative_to(self.folder).parts))

    def follow(self, reference: _Reference) -> _Reference:
        """Through the tables of packages, to the module that defines what is named."""
        module, names = reference
        file = self.file(module)
        if not names or file is None or file.name != "__init__.py":
            return reference
        for target in self.read(file).imports.get(names[0], ()):
            if target != _Reference(module, names[:1]) and self.file(target.module):
                return self.follow(_Reference(target.module, target.names + names[1:]))
        below = f"{module}.{names[0]}"
        return self.follow(_Reference(below, names[1:])) if self.file(below) else reference

    def defining(self, reference: _Reference, *, used: bool = True) -> set[Path]:
        """The files that something named is defined in; all files of a package that is used as a whole."""
        module, names = self.follow(reference)
        file = self.file(module)
        if file is None:
            return set()
        if file.name == "__init__.py" and not names:
            return set(file.parent.rglob("*.py")) if used else set()
        return {file}

    def imported(self, reading: _Reading) -> set[Path]:
        """The files that one reading leads to at once."""
        found = set()
        for name, references in reading.imports.items():
            for module, names in references:
                if self.file(module) is None:
                    continue
                for more in reading.uses.get(name, ()):
                    found |= self.defining(_Reference(module, names + more))
                found |= self.defining(_Reference(module, names), used=False)
        for file in list(found):  # a package that does more than list names does so whenever a module of it is imported
            above = [folder / "__init__.py" for folder in file.parents if self.folder in folder.parents]
            found |= {init for init in above if init.is_file() and not self.read(init).only_exports}
        return found


def imported_files(root: Path, notebook: Path) -> list[Path]:
    """The files below `src` that a notebook needs: those that it imports from, those that they import from, and so on.

    Imports inside functions count as well. A package that is used as a whole, as in `from snn_ntk.paper import *`, counts
    with all its files.

    Args:
        root: The checkout.
        notebook: Its MyST Markdown.
    """
    source = _Source(root / "src")
    code = "\n".join(cell.source for cell in code_cells(notebook.read_text(encoding="utf-8")))
    left, found = source.imported(_read(_MAGIC.sub("", code), "")), set()
    while left:
        file = left.pop()
        found.add(file)
        left |= source.imported(source.read(file)) - found
    return sorted(found)
