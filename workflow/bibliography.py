"""A Sphinx extension: the bibliography's labels read as the citations do, "Arora et al., 2019"."""

from __future__ import annotations

from typing import Any

import pybtex.plugin
from pybtex.style.formatting.alpha import Style as AlphaStyle
from pybtex.style.labels.alpha import LabelStyle

__all__ = ["AuthorYear", "Labels", "setup"]


class Labels(LabelStyle):
    """Author and year; its base tells entries of one author and year apart by letters."""

    def format_label(self, entry: Any) -> str:
        names = [" ".join((*person.prelast_names, *person.last_names)) for person in entry.persons.get("author", ())]
        names = [name.replace("{", "").replace("}", "") for name in names] or [entry.key]
        who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        return f"{who}, {entry.fields['year']}" if "year" in entry.fields else who


class AuthorYear(AlphaStyle):
    """Entries as the style "alpha" formats them, under these labels."""

    default_label_style = Labels


def setup(app: Any) -> dict[str, bool]:
    pybtex.plugin.register_plugin("pybtex.style.formatting", "author_year", AuthorYear)
    return {"parallel_read_safe": True}
