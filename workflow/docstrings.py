"""A Sphinx extension: bars in a docstring, as in |φ'| ≤ L, are absolute values and not reStructuredText."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["escape_bars", "setup"]


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


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = escape_bars(lines)


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True}
