"""The API reference: one page a public folder of the package, what it holds in a table on top, and a page of the folders.

The order of the folders is that of `_toc.yml`.
"""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["api_pages", "first_sentence"]


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring, on one line; a table would end at a bar.

    >>> first_sentence("The dual κ of an\\nactivation. More of it.")
    'The dual κ of an activation.'
    >>> first_sentence("The minimiser of Eq. 12.")
    'The minimiser of Eq. 12.'
    """
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"(?<!\bEq)(?<!\bEqs)\. ", paragraph)[0].rstrip(".").replace("|", "\\|") + "."


def _definitions(file: Path) -> Iterator[tuple[str, str]]:
    """Names and docstrings of the functions and classes of a file, in its order."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, ast.get_docstring(node) or ""


def _exported(file: Path) -> list[str]:
    """The names in `__all__` of a module; none where it has no such list."""
    _, _, listed = file.read_text(encoding="utf-8").partition("__all__ =")
    return ast.literal_eval(listed[: listed.index("]") + 1].strip()) if listed else []


def _page(folder: Path) -> str:
    name = f"snn_ntk.{folder.name}"
    modules = {name: folder / "__init__.py"}
    if not _exported(modules[name]):  # its modules are imported by their own names
        paths = ((item.name, folder / item.name) for item in pkgutil.iter_modules([str(folder)]))
        modules = {f"{name}.{key}": p / "__init__.py" if p.is_dir() else p.with_suffix(".py") for key, p in paths}
    described = {key: doc for file in sorted(folder.rglob("*.py")) for key, doc in _definitions(file)}
    lines = [f"(api-{folder.name})=", f"# `{name}`", ""]
    lines += [":::{list-table}", ":header-rows: 1", "", "* - Name", "  - What it is"]
    for module, file in modules.items():
        for key in _exported(file):
            if key in described:
                lines += [f"* - {{py:obj}}`~{module}.{key}`", f"  - {first_sentence(described[key])}"]
    lines += [":::", ""]
    for module in modules:
        lines += [f"## `{module}`", ""] if len(modules) > 1 else []
        lines += ["```{eval-rst}", f".. automodule:: {module}", "```", ""]
    return "\n".join(lines)


def api_pages(package: Path, order: list[str]) -> dict[str, str]:
    """The pages (MyST Markdown) by name: `api`, and `api/<folder>` for each folder.

    Args:
        package: The folder `snn_ntk`.
        order: Names of folders, as the index lists them; those that it lacks come last.
    """
    folders = {path.parent.name: path.parent for path in sorted(package.glob("[!_]*/__init__.py"))}
    names = [name for name in order if name in folders] + [name for name in folders if name not in order]
    lines = [
        "(sec:api)=",
        "# API reference",
        "",
        "Public names are imported from the folder that this table names.",
        "",
    ]
    lines += [":::{list-table}", ":header-rows: 1", "", "* - Folder", "  - What it holds"]
    for name in names:
        docstring = ast.get_docstring(ast.parse((folders[name] / "__init__.py").read_text(encoding="utf-8"))) or ""
        lines += [f"* - [`snn_ntk.{name}`](api-{name})", f"  - {first_sentence(docstring)}"]
    return {"api": "\n".join([*lines, ":::", ""])} | {f"api/{name}": _page(folders[name]) for name in names}
