"""A Sphinx extension: the bibliography's labels read as the citations do, "Arora et al., 2019", in a list of list items."""

from __future__ import annotations

from typing import Any

import pybtex.plugin
from pybtex.backends.plaintext import Backend
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


def _list_items(_app: Any, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """docutils writes a list of `doc-biblioentry`, a role that DPUB-ARIA 1.1 deprecates and that no list may hold."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Any) -> dict[str, bool]:
    app.connect("html-page-context", _list_items)
    pybtex.plugin.register_plugin("pybtex.style.formatting", "author_year", AuthorYear)
    # Every citation asks for this one, and pybtex would look through all installed packages for it.
    pybtex.plugin.register_plugin("pybtex.backends", "plaintext", Backend, force=True)
    return {"parallel_read_safe": True}
