"""The page "Where is Lemma 4?": from every item of a source to function, test, page, notebook and claims.

It is made from what stands in the project already: the `Source:` lines of docstrings, the pages' links to functions, the
notebooks' code, the tests, and the claims' `source`. `book/statements.yml` lists what the sources number, so that nothing is
skipped in silence, and names the proofs.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from paths import Paths

__all__ = ["Place", "items_of", "places", "proofs", "read_statements", "sources_of", "status", "where_page"]

# Keys of docstrings and of claims, and how the page calls them.
SOURCES = {
    "P": ("wang2024vae", "The paper"),
    "J": ("jacot2018ntk", "Jacot, Gabriel and Hongler"),
    "S": ("lecture", "The lecture"),
    "A": ("caron2023overparameterised", "Asymmetrical node scaling"),
}
KINDS = ("Eq.", "Definition", "Assumption", "Condition", "Remark", "Lemma", "Proposition", "Theorem", "Corollary",
         "Algorithm", "Figure", "Section")  # fmt: skip
_NUMBER = r"[A-Z]?\d+(?:\.\d+)*"
_ITEM = re.compile(
    rf"(Eqs?\.|Equations?|{'|'.join(kind for kind in KINDS[1:])})s? ({_NUMBER}(?:(?:, | and |–|-){_NUMBER})*)"
)


class Place(NamedTuple):
    """Where one item of a source is to be found; every field holds names in order."""

    functions: list[str]
    tests: list[str]
    pages: list[str]
    notebooks: list[str]
    claims: list[str]


def items_of(text: str) -> list[str]:
    """The numbered items that a text names.

    >>> items_of("Lemma 2, second half; Eq. 2–3 and Theorems 4.1 and 4.2")
    ['Lemma 2', 'Eq. 2', 'Eq. 3', 'Theorem 4.1', 'Theorem 4.2']
    """
    found = []
    for kind, numbers in _ITEM.findall(text):
        kind = "Eq." if kind.startswith("Eq") else kind.removesuffix("s")
        ends = re.fullmatch(r"(\d+)[–-](\d+)", numbers)
        each = range(int(ends[1]), int(ends[2]) + 1) if ends else re.findall(_NUMBER, numbers)
        found += [f"{kind} {number}" for number in each]
    return found


def sources_of(docstring: str) -> dict[str, str]:
    """What stands after `Source:` by its key.

    >>> sources_of("One.\\n\\nSource: wang2024vae, Lemma 2 (as\\n    printed; and so on); book, chapter 6.")
    {'wang2024vae': 'Lemma 2 (as printed; and so on)', 'book': 'chapter 6.'}
    """
    _, _, line = docstring.rpartition("\nSource: ")
    parts = re.split(r";(?![^(]*\)) ", " ".join(line.split()))
    keys = (re.match(r"(\w+)[,.]?\s*(.*)", part) for part in parts)
    return {key[1]: key[2] for key in keys if key}


def _public_functions(package: Path) -> dict[str, tuple[str, str]]:
    """Docstring and importable name of every function and class that a folder re-exports, by its own name."""
    found = {}
    for path in sorted(package.glob("[!_]*/**/*.py")):
        folder = ".".join(path.relative_to(package.parent).with_suffix("").parts[:-1])
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                home = f"{folder}.{path.stem}" if folder == "snn_ntk.experiments" else folder
                found[node.name] = (ast.get_docstring(node) or "", f"{home}.{node.name}")
    return found


def _words(path: Path) -> set[str]:
    return set(re.findall(r"\w+", path.read_text(encoding="utf-8")))


def _tests_of(name: str, full: str, tests: Mapping[str, set[str]]) -> list[str]:
    """Test files that name a function: those that mirror its folder, else any."""
    naming = [test for test, words in tests.items() if name in words]
    folder = full.split(".")[1] + "/"
    return [test for test in naming if test.startswith(folder)] or naming


def places(paths: Paths, claims: Iterable[Any]) -> dict[str, dict[str, Place]]:
    """For each source, by its letter, the place of each item that a docstring or a claim names.

    Args:
        paths: of the checkout.
        claims: `snn_ntk.reporting.Claim`s.
    """
    functions = _public_functions(paths.source / "snn_ntk")
    folder = paths.root / "tests"
    tests = {path.relative_to(folder).as_posix(): _words(path) for path in sorted(folder.rglob("test_*.py"))}
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(paths.pages.glob("[0-9]*.md"))}
    notebooks = {path.stem: _words(path) for path in sorted(paths.notebooks.glob("*.md"))}
    found: dict[str, dict[str, Place]] = {letter: defaultdict(lambda: Place([], [], [], [], [])) for letter in SOURCES}

    def add(names: list[str], more: Iterable[str]) -> None:
        names += [name for name in more if name not in names]

    for name, (docstring, full) in functions.items():
        named = sources_of(docstring)
        for letter, (key, _) in SOURCES.items():
            for item in items_of(named.get(key, "")):
                place = found[letter][item]
                add(place.functions, [full])
                add(place.tests, _tests_of(name, full, tests))
                add(place.pages, (page for page, text in pages.items() if f"{full}`" in text))
                add(place.notebooks, (notebook for notebook, words in notebooks.items() if name in words))
    for claim in claims:
        for letter, text in re.findall(r"\[([A-Z])\] ([^\[]*)", claim.source):
            for item in items_of(text) if letter in SOURCES else ():
                place = found[letter][item]
                add(place.claims, [claim.id])
                add(place.pages, [page for page in pages if page == claim.chapter])
                add(place.notebooks, [claim.chapter])
    return found


def read_statements(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """For each source, by its letter, what it numbers: `says` and, where there is one, `proved`, `quoted` or `outside`."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def proofs(pages: Path) -> set[str]:
    """Labels of the theorems, lemmas, propositions and corollaries that a proof follows."""
    found = set()
    for path in pages.glob("[0-9]*.md"):
        blocks = re.findall(r"^`{3,}\{prf:(\w+)\}.*\n(?::label: (.*))?", path.read_text(encoding="utf-8"), re.MULTILINE)
        found |= {label for (_, label), (after, _) in itertools.pairwise(blocks) if after == "proof"}
    return found - {""}


def status(statement: Mapping[str, Any], place: Place | None) -> list[str]:
    """What is done about a statement: proved, run (in a notebook, or judged), quoted, outside; none of them if nothing is.

    >>> status({"says": "…", "quoted": "01-ntk-primer"}, None)
    ['quoted']
    """
    run = place is not None and bool(place.notebooks or place.claims)
    return ["proved"] * ("proved" in statement) + ["run"] * run + [k for k in ("quoted", "outside") if k in statement]


def _order(item: str) -> tuple[int, list[Any]]:
    kind, _, number = item.partition(" ")
    parts = [(part.isdigit(), int(part) if part.isdigit() else part) for part in re.findall(r"\d+|[A-Z]", number)]
    return KINDS.index(kind), parts


def _some(tests: list[str], most: int = 6) -> str:
    """The first of some tests, and how many more there are.

    >>> _some(["a.py", "b.py", "c.py"], most=2)
    '`a.py`, `b.py`, and 1 more'
    """
    rest = [f"and {len(tests) - most} more"] if len(tests) > most else []
    return ", ".join([*(f"`{name}`" for name in tests[:most]), *rest])


def where_page(
    statements: Mapping[str, Mapping[str, Mapping[str, Any]]],
    found: Mapping[str, Mapping[str, Place]],
    chapter_of: Mapping[str, str],
) -> str:
    """The page (MyST Markdown): one table a source.

    Args:
        statements: of `read_statements`.
        found: from `places`.
        chapter_of: the chapter of each claim, for links to the scorecard.
    """
    lines = [
        "(sec:where)=",
        "# Where is Lemma 4?",
        "",
        "Every numbered statement of the four sources, and what this book does about it.",
        "*Proved*: a proof stands here, linked; of the corrected form where the printed one fails. *Run*: a notebook computes it, or a claim judges it. *Quoted*: it is stated and not",
        "derived. *Outside*: it is not judged, for the reason given. A statement may be both proved and run.",
        "A source's numbers are never ours.",
    ]
    for letter, (key, title) in SOURCES.items():
        cite = f"{{cite}}`{key}`" if key != "lecture" else "on over-parameterisation and tangent kernels"
        sections = {item: {"says": ""} for item in found[letter] if item.startswith("Section")}
        listed: dict[str, Mapping[str, Any]] = {**statements[letter], **sections}
        done = {item: status(statement, found[letter].get(item)) for item, statement in statements[letter].items()}
        counts = ", ".join(
            f"{sum(kind in kinds for kinds in done.values())} {kind}" for kind in ("proved", "run", "quoted", "outside")
        )
        lines += ["", f"(where-{letter})=", f"## [{letter}] {title}", "", f"{title} {cite}.", ""]
        lines += [f"{len(done)} numbered statements: {counts}.", ""]
        lines += [":::{list-table}", ":header-rows: 1", ":widths: 17 14 20 18 6 10 15", ":class: where", ""]
        rows = [("Item", "Here", "Function", "Test", "Page", "Notebook", "Claims")]
        for item in sorted(listed, key=_order):
            place = found[letter].get(item, Place([], [], [], [], []))
            statement = listed[item]
            here = ", ".join(done.get(item, []))
            links = ", ".join(f"{{prf:ref}}`{label}`" for label in statement.get("proved", ()))
            pages = sorted({*place.pages, *([statement["quoted"]] if "quoted" in statement else [])})
            rows.append(
                (
                    f"**{item}** {statement['says']}".rstrip(),
                    ": ".join(filter(None, (here, links or statement.get("outside", "")))),
                    ", ".join(f"{{py:obj}}`~{name}`" for name in place.functions),
                    _some(place.tests),
                    ", ".join(f"{{doc}}`{name[:2]} <{name}>`" for name in map(str, pages)),
                    ", ".join(f"{{doc}}`{name[:2]} <../notebooks/{name}>`" for name in sorted(place.notebooks)),
                    ", ".join(f"[{name}](scorecard-{chapter_of[name]})" for name in place.claims),
                )
            )
        for row in rows:
            lines += [("* - " if index == 0 else "  - ") + (cell or "–") for index, cell in enumerate(row)]
        lines += [":::"]
    return "\n".join(lines) + "\n"
