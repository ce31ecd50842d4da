"""A Sphinx extension for docstrings with mathematics: bars, as in |φ'| ≤ L, are absolute values and not markup.

Tables of bars are tables, and the keys behind "Source:" are citations.

It also leaves out the fields of named tuples, which their class describes under Attributes.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["cite_sources", "escape_bars", "list_tables", "setup"]


def escape_bars(lines: list[str]) -> list[str]:
    """Puts a backslash before every bar outside ``literals`` and examples.

    >>> escape_bars(["|phi'| is at most ``a | b``", ">>> x | y"])
    ["\\\\|phi'\\\\| is at most ``a | b``", '>>> x | y']
    """
    escaped, example = [], False
    for line in lines:
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        pieces = re.split(r"(``.*?``|`[^`]*`)", line)
        pieces[::2] = [piece.replace("|", r"\|") for piece in pieces[::2]]
        escaped.append(line if example else "".join(pieces))
    return escaped


def list_tables(lines: list[str]) -> list[str]:
    """Turns Markdown's tables, which the folders' docstrings hold, into list tables, the form that Sphinx reads.

    >>> list_tables(["| a | b |", "|---|---|", "| 1 | `2` |"])
    ['', '.. list-table::', '   :header-rows: 1', '', '   * - a', '     - b', '   * - 1', '     - `2`', '']
    """
    made, inside = [], False
    for line in lines:
        row = re.fullmatch(r"\|(.*)\|", line.strip())
        if row and not inside:
            made += ["", ".. list-table::", "   :header-rows: 1", ""]
        elif inside and not row:
            made.append("")
        inside = bool(row)
        if not row:
            made.append(line)
        elif not re.fullmatch(r"[\s|:-]+", row[1]):
            cells = [cell.strip() for cell in row[1].split("|")]
            made += [f"   {'* -' if index == 0 else '  -'} {cell}" for index, cell in enumerate(cells)]
    return [*made, ""] if inside else made


def cite_sources(lines: list[str]) -> list[str]:
    """Turns the keys of the bibliography behind "Source:" into citations.

    >>> cite_sources(["The kernel of jacot2018ntk.", "", "Source: wang2024vae, Lemma 2;", "jacot2018ntk."])
    ['The kernel of jacot2018ntk.', '', 'Source: :cite:t:`wang2024vae`, Lemma 2;', ':cite:t:`jacot2018ntk`.']
    """
    cited, inside = [], False
    for line in lines:
        inside = line.startswith("Source: ") or (inside and bool(line.strip()))
        cited.append(re.sub(r"\b[a-z]+\d{4}[a-z]*\b", r":cite:t:`\g<0>`", line) if inside else line)
    return cited


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    # The underscore that ends the name of what scikit-learn fits would be read as that of a link.
    lines[:] = [re.sub(r"^(:ivar \w+)_:", r"\1\\_:", line) for line in escape_bars(list_tables(cite_sources(lines)))]


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}
