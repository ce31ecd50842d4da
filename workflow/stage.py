"""Stages, checks and renders the book of one profile, and publishes it at once.

Staging holds the pages of `book/` and the executed notebooks (never the .md of one beside its .ipynb), the
scorecard and the API page. The rendered book appears under `_build/<profile>/html` by one rename, so a reader,
or an interrupted build, sees the old book or the new one and nothing between.
"""

from __future__ import annotations

if __name__ == "__main__":
    import interruption  # noqa: F401  (before all other imports)

import argparse
import csv
import fnmatch
import importlib.util
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import gate
import nbformat
import where
import yaml
from about import changelog_page, chapter_titles, cite_page, cost, report_page, seconds, statements_page, times_page
from api import api_pages
from edition import SHOWN, edition, setup_cell
from key_figures import key_figures
from paths import PROFILES, Paths, remove, write_atomically
from processes import PARENT, end_with_parent, kill_descendants
from rendering import publish, render
from sources import read_config, read_toc

__all__ = ["expand_toc", "stage"]

BIBLIOGRAPHY = "# Bibliography\n\n```{bibliography}\n:all:\n```\n"


def expand_toc(toc: Any, pages: set[str], notebooks: set[str]) -> Any:
    """Lists what exists: expands globs, drops files that do not exist, puts a chapter's notebook below its page."""
    if isinstance(toc, dict):
        expanded = {}
        for key, value in toc.items():
            value = expand_toc(value, pages, notebooks)
            if value or key not in ("parts", "chapters", "sections"):
                expanded[key] = value
        return expanded
    if not isinstance(toc, list):
        return toc
    entries = []
    for entry in toc:
        if "glob" in entry:
            names = sorted(fnmatch.filter(pages, entry["glob"]))
            entries += expand_toc([{"file": name} for name in names], pages, notebooks)
        elif "file" in entry:
            if entry["file"] not in pages:
                continue
            entry = expand_toc(entry, pages, notebooks)
            stem = entry["file"].removeprefix("book/")
            if stem in notebooks and "sections" not in entry:
                entry = {**entry, "sections": [{"file": f"notebooks/{stem}"}]}
            entries.append(entry)
        else:
            entry = expand_toc(entry, pages, notebooks)
            if entry.get("chapters"):
                entries.append(entry)
    return entries


def _toc_files(toc: Any) -> set[str]:
    if isinstance(toc, dict):
        mine = {toc[key] for key in ("root", "file") if key in toc}
        return mine.union(*map(_toc_files, toc.values()))
    return set().union(*map(_toc_files, toc)) if isinstance(toc, list) else set()


def _mathjax(extra: Path) -> None:
    """The one bundle that the book loads, with the TeX extensions that it may ask for."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("expected the package sphinx-mathjax-offline, got none: run make again")
    source = Path(spec.submodule_search_locations[0]) / "static" / "mathjax"
    target = extra / "mathjax"
    target.mkdir(parents=True)
    shutil.copy(source / "tex-svg.js", target)
    shutil.copytree(source / "input" / "tex" / "extensions", target / "input" / "tex" / "extensions")


def _two_columns(first: str, second: str, rows: dict[str, str]) -> str:
    """A table in Markdown, names with one remark in one row."""
    by_remark: dict[str, list[str]] = {}
    for name, remark in rows.items():
        by_remark.setdefault(remark, []).append(f"`{name}`")
    lines = [f"| {', '.join(names)} | {remark} |" for remark, names in by_remark.items()]
    return "\n".join([f"| {first} | {second} |", "|---|---|", *lines])


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes rows with the same keys as JSON and as CSV, for readers to download."""
    path.with_suffix(".json").write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0] if rows else [])
        table.writeheader()
        table.writerows(rows)


def _stage_notebook(notebook: nbformat.NotebookNode, target: Path, repository: str) -> None:
    """Writes an executed notebook; the cell of parameters that papermill added is folded, since it repeats the first.

    Where there is a repository, a first cell that only the downloaded notebook shows sets Colab up.
    """
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata["tags"], "hide-cell"]
    if repository:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(setup_cell(repository), metadata={"tags": ["remove-cell"]}))
    nbformat.write(notebook, target)


def _stamps(found: dict[str, Path]) -> dict[str, Any]:
    """What `provenance.json` says in each of the folders that have one."""
    files = {name: folder / "provenance.json" for name, folder in found.items()}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}


def _dump(content: Any) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C writes ten times as fast
    return yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True)


def stage(paths: Paths) -> dict[str, Any]:
    """Fills the staging folder, laid out as the checkout is, and returns what `book.json` says of the claims.

    Raises:
        gate.UnfinishedNotebook: if a notebook failed or never finished.
        ValueError: if a claim of a chapter has no record, or a page of book/ or a notebook is not in the table of contents.
    """
    import snn_ntk
    from snn_ntk import reporting
    from snn_ntk.layers.known import OWN, REFUSED, SUPPORTED

    profile, staged, extra = paths.profile, Paths(paths.staging), paths.staging / "extra"
    remove(paths.staging)
    config, chapters = read_config(paths), paths.chapters()
    repository, branch = (config.get("repository", {}).get(key) or "" for key in ("url", "branch"))
    records, figures, times = [], {}, {}
    for chapter in chapters:
        made = paths.chapter(chapter)
        notebook = gate.check_file(paths.executed(chapter), chapter)
        records += reporting.load_records(made / "claims.json") if (made / "claims.json").is_file() else []
        figures |= key_figures(notebook)
        times[chapter] = seconds(notebook)
        staged.notebooks.mkdir(parents=True, exist_ok=True)
        _stage_notebook(notebook, staged.notebook(chapter).with_suffix(".ipynb"), repository)
        for kind in ("figures", "claims.json"):
            target = extra / ("figures" if kind == "figures" else "records") / chapter
            if (made / kind).is_dir():
                shutil.copytree(made / kind, target)
            elif (made / kind).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(made / kind, target.with_suffix(".json"))
    claims = reporting.load_claims(paths.claims)
    recorded = {record.id for record in records}
    if missing := [c.id for c in claims.values() if c.chapter in chapters and c.id not in recorded]:
        raise ValueError(f"expected a record of every claim of an executed chapter, got none of {missing}")

    ignored = shutil.ignore_patterns(paths.claims.name, ".ipynb_checkpoints")
    shutil.copytree(paths.pages, staged.pages, ignore=ignored)
    this = edition(paths.root, snn_ntk.__version__, profile)
    card = reporting.scorecard(records, claims, profile, chapter_titles(paths.pages))
    generated = {"scorecard": card, "bibliography": BIBLIOGRAPHY}
    stamps = _stamps({chapter: paths.chapter(chapter) for chapter in chapters})
    kept = _stamps({chapter: paths.results(chapter)[0] for chapter in chapters})
    committed = {name: provenance["groups"] for name, provenance in kept.items()}
    generated |= {"statements": statements_page(paths.pages), "times": times_page(profile, times, stamps, committed)}
    if paths.citation.is_file():
        generated["cite"] = cite_page(yaml.safe_load(paths.citation.read_text(encoding="utf-8")), this)
    if paths.changelog.is_file():
        generated["changelog"] = changelog_page(paths.changelog.read_text(encoding="utf-8"))
    package = paths.source / "snn_ntk"
    if package.is_dir():
        chapter_of = {claim.id: claim.chapter for claim in claims.values()}
        generated |= api_pages(package, re.findall(r"book/api/(\w+)", paths.toc.read_text(encoding="utf-8")))
        statements = where.read_statements(paths.pages / "statements.yml")
        generated["where"] = where.where_page(statements, where.places(paths, claims.values()), chapter_of)
    for name, text in generated.items():
        page = staged.pages / f"{name}.md"
        if not page.exists():
            page.parent.mkdir(exist_ok=True)
            page.write_text(text, encoding="utf-8")
    if (report := staged.pages / "report.md").is_file():
        outcome = reporting.verdicts(claims, records)
        report.write_text(report_page(report.read_text(encoding="utf-8"), outcome, profile), encoding="utf-8")
    _mathjax(extra)
    shown = this | {"repository": repository, "branch": branch or "main"}
    (extra / SHOWN).write_text(json.dumps(shown, indent=1), encoding="utf-8")
    _write_rows(extra / "scorecard", reporting.scorecard_rows(records, claims, profile))

    pages = {path.relative_to(staged.root).with_suffix("").as_posix() for path in staged.pages.rglob("*.md")}
    toc = expand_toc(read_toc(paths), pages, set(chapters))
    wanted = pages | {f"notebooks/{chapter}" for chapter in chapters}
    if unlisted := sorted(wanted - _toc_files(toc)):
        raise ValueError(f"_toc.yml: expected to list every page, got no entry for {unlisted}")
    staged.toc.write_text(_dump(toc), encoding="utf-8")
    sphinx = config.setdefault("sphinx", {}).setdefault("config", {})
    sphinx["extensions"] = [*sphinx.get("extensions", []), "rendering"]  # workflow/rendering.py
    sphinx["myst_substitutions"] = {
        "r": reporting.substitutions(records, claims, profile),
        "profile": profile,
        "own_layers": _two_columns("layer", "tested against", OWN),
        "supported_layers": _two_columns("behind noise", "tested against", SUPPORTED),
        "refused_layers": _two_columns("behind noise", "why it is refused", REFUSED),
        "summary": reporting.summary(records, claims, profile),
        "totals": reporting.totals(records, claims),
        "cost": cost(times, stamps),
        "fig": figures,
    }
    staged.config.write_text(_dump(config), encoding="utf-8")
    return {"profile": profile, "chapters": chapters} | reporting.report(records, claims, profile)


def _interrupted(_number: int, _frame: object) -> None:
    """Ends at once: an exception might be raised inside a callback of JAX's, which drops it, and the book would go on."""
    os.write(2, b"book: interrupted\n")
    kill_descendants()
    os._exit(130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop", choices=PROFILES)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--jobs", type=int, default=1, help="how many processes write pages")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, _interrupted)
    if PARENT in os.environ:
        end_with_parent()
    paths = Paths(arguments.root, arguments.profile)
    started = time.monotonic()
    print("book: checking and rendering", flush=True)
    try:
        outcome = stage(paths)
        publish(paths, render(paths, arguments.jobs))
        write_atomically(paths.outcome, json.dumps(outcome, indent=1))
    except (ValueError, RuntimeError, OSError) as error:
        raise SystemExit(f"book: {error}") from None
    print(f"book: done in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
