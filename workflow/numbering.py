"""A Sphinx extension: numbers count by chapter (Theorem 7.3, Equation (7.12)), and a title has its chapter's before it.

A chapter's number is that of its files, as on the scorecard. Theorems, lemmas and whatever else is stated count together
(`prf_realtyp_to_countertyp` in `_config.yml`), equations by themselves; a notebook goes on where its page ends. Sphinx's own
numbers by section would need parts of the table of contents that are numbered or not as a whole.

Each numbered statement gets a permalink, as Sphinx gives one to each numbered equation.
"""

from __future__ import annotations

import copy
import html
import re
from collections import Counter
from typing import Any

from docutils import nodes

__all__ = ["chapter_of", "number_by_chapter", "setup"]


def chapter_of(page: str) -> int | None:
    """The number of a page's or a notebook's chapter.

    >>> chapter_of("notebooks/07-convergence"), chapter_of("book/scorecard")
    (7, None)
    """
    found = re.match(r"(?:book|notebooks)/(\d\d)-", page)
    return int(found[1]) if found else None


def number_by_chapter(app: Any, env: Any) -> list[str]:
    """After Sphinx has numbered everything in the order of the book, numbers each chapter's by itself, and its title."""
    env.counted_by_sphinx, env.toc_fignumbers = env.toc_fignumbers, copy.deepcopy(env.toc_fignumbers)
    counted: Counter[tuple[int, str]] = Counter()
    for page in sorted(env.found_docs):  # "book/…" before "notebooks/…"
        chapter = chapter_of(page)
        if chapter is None:
            continue
        for kind, numbers in env.toc_fignumbers.get(page, {}).items():
            for name in numbers:
                counted[chapter, kind] += 1
                numbers[name] = (chapter, counted[chapter, kind])
        if page.startswith("book/"):
            title, *sections = env.tocs[page].findall(nodes.reference)
            env.titles[page]["secnumber"] = title["secnumber"] = (chapter,)
            env.toc_secnumbers[page] = {"": (chapter,)} | {section["anchorname"]: () for section in sections}
    return []


def _give_back(app: Any, env: Any, docnames: list[str]) -> None:
    """Before the next reading: Sphinx takes pages whose numbers are not its own for changed, and would write them anew."""
    env.toc_fignumbers = getattr(env, "counted_by_sphinx", env.toc_fignumbers)


def _link_statements(app: Any, doctree: nodes.document, page: str) -> None:
    """Ends the title of each numbered statement with a link to it."""
    for node in doctree.findall(nodes.Element):
        if "countertype" in node.attributes and isinstance(title := node[0], nodes.title):
            goal = html.escape(node["ids"][0])
            link = f'<a class="headerlink" href="#{goal}" title="Link to this {node["realtype"]}">#</a>'
            title += nodes.raw("", link, format="html")


def setup(app: Any) -> dict[str, bool]:
    app.connect("env-before-read-docs", _give_back)
    app.connect("env-get-updated", number_by_chapter, priority=900)  # after Sphinx's own
    app.connect("doctree-resolved", _link_statements)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
