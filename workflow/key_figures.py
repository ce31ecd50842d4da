"""Figures of executed notebooks for the pages of prose, by reference: the images that the notebook's page downloads."""

from __future__ import annotations

import re

import nbformat

from snn_ntk.reporting.figures import figure_html

__all__ = ["key_figures"]

_FIGURE = re.compile(
    r'<figure class="snn-figure"><img [^>]*?alt="(?P<alt>[^"]*)".*?(?P<controls><div class="snn-controls".*?</div>)?'
    r"<figcaption>(?P<caption>.*?)(?P<links> \(<a .*)?</figcaption>",
    re.DOTALL,
)
_FILE = re.compile(r'href="(?P<file>[^"]*figures/(?P<chapter>[^/"]+)/(?P<name>[^/"]+))\.svg"')


def key_figures(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Every figure of an executed notebook as HTML, by "chapter/name": its caption, and a link to where it was made."""
    found = {}
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    for html in ("".join(output.get("data", {}).get("text/html", "")) for output in outputs):
        figure, file = _FIGURE.search(html), _FILE.search(html)
        if figure and file:
            found[f"{file['chapter']}/{file['name']}"] = figure_html(
                f"{file['file']}.svg",
                f"{file['file']}.dark.svg",
                caption=figure["caption"],
                alt=figure["alt"],
                controls=figure["controls"] or "",
                links=f'<a href="../notebooks/{file["chapter"]}.html">how it was made</a>',
            )
    return found
