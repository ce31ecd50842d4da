"""Pages about the book: how to cite it, what has changed, its theorems in order, and how long its chapters took, on what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numbering import chapter_of

__all__ = [
    "changelog_page",
    "chapter_titles",
    "cite_page",
    "cost",
    "report_page",
    "seconds",
    "statements_page",
    "times_page",
]


def cite_page(citation: Mapping[str, Any], edition: Mapping[str, str]) -> str:
    """How to cite the book (MyST Markdown), from `CITATION.cff`."""
    authors = " and ".join("{" + author["name"] + "}" for author in citation["authors"])
    year = edition["date"][:4]
    fields = {
        "title": "{" + citation["title"] + "}",
        "author": authors,
        "year": year,
        "version": citation["version"],
        **({"doi": citation["doi"]} if "doi" in citation else {}),
        **({"url": citation["repository-code"]} if "repository-code" in citation else {}),
        "note": "commit " + edition["commit"] if edition["commit"] else "",
    }
    entry = ["@software{snn-ntk,", *(f"  {key} = {{{value}}}," for key, value in fields.items() if value), "}"]
    lines = ["(sec:cite)=", "# How to cite", "", f"{citation['message']}", "", "```bibtex", *entry, "```", ""]
    lines += ["The papers whose statements are checked here:", ""]
    for work in citation["references"]:
        names = ", ".join(f"{author['given-names']} {author['family-names']}" for author in work["authors"])
        where = work.get("url") or work.get("conference", {}).get("name", "")
        link = f"<{where}>" if where.startswith("https:") else where
        lines += [f"- {names}, *{work['title']}*, {work['year']}. {link}"]
    lines += [
        "",
        "To cite a single result, add its number (Theorem 7.3) and the commit: numbers may move between versions, labels in the address do not.",
    ]
    return "\n".join(lines) + "\n"


def changelog_page(text: str) -> str:
    """`CHANGELOG.md` as a page, with a label."""
    return f"(sec:changelog)=\n{text}"


_QUOTED = re.compile(r'r\["([^"]+)"\]')
# What the verdicts of the claims that an item quotes may be, by the words that its list begins with.
_LISTS = {"**What holds.**": ("reproduced",), "**What does not.**": ("reproduced", "not reproduced", "corrected")}
_NOT_SHOWN = "**What the profile {profile} does not show.** A larger one may: the sentences were written for `laptop`."


def report_page(text: str, outcome: Mapping[str, str], profile: str) -> str:
    """The report on one page, where an item stands in the lists of what holds and what does not only if the verdicts say so.

    The others get a list of their own after these two.

    Args:
        text: Of `book/report.md`.
        outcome: The verdict of each claim.
        profile: Of this book.
    """
    kept, moved, allowed, last = [], [], None, 0
    for line in text.splitlines():
        allowed = next((_LISTS[head] for head in _LISTS if line.startswith(head)), allowed)
        if line.startswith("**") and line not in _LISTS:
            allowed = None
        if allowed and line.startswith("- ") and any(outcome[name] not in allowed for name in _QUOTED.findall(line)):
            moved.append(line)
            continue
        kept.append(line)
        last = len(kept) if allowed else last
    if moved:
        kept[last:last] = [_NOT_SHOWN.format(profile=profile), "", *moved, ""]
    return "\n".join(kept) + "\n"


_STATEMENT = re.compile(r"^`{3,}\{prf:(?!proof)\w+\} *(?P<title>.*)\n:label: (?P<label>\S+)", re.MULTILINE)
_TITLE = re.compile(r"^# (.*)", re.MULTILINE)


def chapter_titles(pages: Path) -> dict[str, str]:
    """The title of each chapter's page with its number before it, by the chapter's name, in order."""
    found = {path.stem: _TITLE.search(path.read_text(encoding="utf-8")) for path in sorted(pages.glob("[0-9]*.md"))}
    return {name: f"{chapter_of(f'book/{name}')}. {title[1]}" for name, title in found.items() if title}


def statements_page(pages: Path) -> str:
    """Every definition, lemma, proposition and theorem of the book in order, linked (MyST Markdown)."""
    lines = ["(sec:statements)=", "# All theorems, in order", "", "Numbers are this book's, by chapter."]
    for chapter, title in chapter_titles(pages).items():
        if found := _STATEMENT.findall((pages / f"{chapter}.md").read_text(encoding="utf-8")):
            lines += ["", f"## {title}", ""]
            lines += [f"- {{prf:ref}}`{label}` {name}".rstrip() for name, label in found]
    return "\n".join(lines) + "\n"


def seconds(notebook: Mapping[str, Any]) -> float:
    """How long the execution of a notebook took, by papermill."""
    return float(notebook["metadata"]["papermill"]["duration"])


def _lasted(time: float) -> str:
    """
    >>> _lasted(42.4), _lasted(150), _lasted(7500)
    ('42 s', '2.5 min', '2.1 h')
    """
    if time < 90:
        return f"{time:.0f} s"
    return f"{time / 60:.1f} min" if time < 5400 else f"{time / 3600:.1f} h"


def cost(times: Mapping[str, float], stamps: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence: how long all notebooks took, added up, and on what.

    >>> cost({"01-a": 100, "02-b": 50}, {"01-a": {"device": "cpu", "machine": "2 cores, x86_64"}})
    'Executing the 2 notebooks took 2.5 min, added up, on 2 cores, x86_64 (cpu).'
    """
    places = sorted({f"{stamp['machine']} ({stamp['device']})" for stamp in stamps.values()})
    on = f", on {' and '.join(places)}" if places else ""
    return f"Executing the {len(times)} notebooks took {_lasted(sum(times.values()))}, added up{on}."


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [("* - " if index == 0 else "  - ") + (cell or "–") for row in rows for index, cell in enumerate(row)]
    return [":::{list-table}", ":header-rows: 1", "", *cells, ":::", ""]


def _where(stamp: Mapping[str, Any]) -> tuple[str, ...]:
    versions = stamp.get("versions", {})
    return stamp.get("device", ""), stamp.get("machine", ""), stamp.get("python", ""), versions.get("jax", "")


def times_page(
    profile: str,
    times: Mapping[str, float],
    stamps: Mapping[str, Mapping[str, Any]],
    committed: Mapping[str, Iterable[Mapping[str, Any]]],
) -> str:
    """How long each chapter took and on what machine (MyST Markdown), as its notebook and its records say.

    Args:
        profile: Of this book.
        times: Seconds, by chapter.
        stamps: Provenance, by chapter.
        committed: Provenance of the runs under `results/` that a chapter reads, by chapter.
    """
    lines = ["(sec:times)=", "# Times and machine", ""]
    lines += [f"Profile **{profile}**. {cost(times, stamps)} Several run side by side."]
    lines += [
        "Each time is that of the execution which made the numbers in this book, on a machine that may have been busy with other things.",
        "",
    ]
    head = ("Device", "Machine", "Python", "JAX")
    rows = [("Chapter", "Time", *head)]
    rows += [
        (f"{{doc}}`{name} <../notebooks/{name}>`", _lasted(time), *_where(stamps.get(name, {})))
        for name, time in times.items()
    ]
    lines += _table(rows)
    if committed:
        lines += ["## Runs that are read", "", "Longer runs, made before and committed under `results/`.", ""]
        runs: list[Sequence[str]] = [("Chapter", "Runs", *head, "When")]
        for name, groups in committed.items():
            for group in groups:
                when = str(group.get("day") or group.get("time") or "")
                runs.append((f"{{doc}}`{name}`", str(len(group.get("runs", ()))), *_where(group), when))
        lines += _table(runs)
    return "\n".join(lines)
