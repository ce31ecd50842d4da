"""What people write for the book besides notebooks and profiles, looked at before anything is run."""

from __future__ import annotations

import os
import re
from typing import Any

from paths import Paths, library

__all__ = ["check_sources", "read_config", "read_toc"]

_ENTRIES = {"type": "array", "items": {"$ref": "#/$defs/entry"}, "description": "a list of entries"}
_NAME = {"type": "string", "description": "the name of a page"}
TOC = {
    "type": "object",
    "properties": {
        "format": {"const": "jb-book", "description": "jb-book"},
        "root": _NAME,
        "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "description": "a list of parts"},
    },
    "required": ["format", "root", "parts"],
    "additionalProperties": False,
    "description": "a table of contents",
    "$defs": {
        "part": {
            "type": "object",
            "properties": {"caption": {"type": "string", "description": "a text"}, "chapters": _ENTRIES},
            "required": ["caption", "chapters"],
            "additionalProperties": False,
            "description": "a part with a caption and chapters",
        },
        "entry": {
            "type": "object",
            "properties": {"file": _NAME, "glob": _NAME, "sections": _ENTRIES},
            "minProperties": 1,
            "additionalProperties": False,
            "description": "an entry with a file or a glob",
        },
    },
}
_SETTINGS = {"type": "object", "description": "a mapping of settings"}
CONFIG = {
    **_SETTINGS,
    "properties": {
        "title": {"type": "string", "description": "a text"},
        "sphinx": {**_SETTINGS, "properties": {"config": _SETTINGS}},
        **dict.fromkeys(("execute", "html", "parse", "repository", "latex"), _SETTINGS),
    },
    "required": ["title"],
}


def read_toc(paths: Paths) -> dict[str, Any]:
    """`_toc.yml`.

    Raises:
        ValueError: if it is damaged.
    """
    return library("reporting.documents").read_yaml(paths.toc, TOC)


def read_config(paths: Paths) -> dict[str, Any]:
    """`_config.yml`.

    Raises:
        ValueError: if it is damaged.
    """
    return library("reporting.documents").read_yaml(paths.config, CONFIG)


def check_sources(paths: Paths) -> None:
    """Looks at the table of contents, the configuration, the claims, committed results, the bibliography and the pages.

    Raises:
        ValueError: naming the file, what was expected and what came.
    """
    documents = library("reporting.documents")
    read_toc(paths)
    read_config(paths)
    documents.read_claims(paths.claims)
    for chapter in paths.chapters():
        documents.read_results(paths.results(chapter)[0])
    for path in sorted(paths.published.glob("*.json")):
        documents.read_published(path)
    for path in [paths.pages / "references.bib", *sorted(paths.pages.glob("*.md"))]:
        text = documents.read_text(path)
        if path.suffix == ".md" and not re.search(r"^# *\S", text, re.MULTILINE):
            raise ValueError(f"{os.path.relpath(path)}: expected a page with a title, a line '# …', got none")
