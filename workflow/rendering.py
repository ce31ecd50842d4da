"""Renders what was staged and publishes it: Sphinx reads again only the pages that have changed.

What Sphinx has read and written is kept between builds (`doctrees`), unless something changed on which all pages depend. It
writes the changed pages alone where nothing has changed that pages take from each other: titles, numbers, labels, citations.
Otherwise it writes every one, so a reference to something that is gone is a warning wherever it stands, and every warning is
an error. After an error, or an interruption, nothing is kept.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from docutils import nodes
from edition import sign
from paths import WORKFLOW, Paths, files, remove
from processes import PARENT, command
from sphinx.util.index_entries import split_index_msg

__all__ = ["main", "publish", "render", "setup"]

# What Sphinx takes for older than all that it has read.
OLD = 1_000_000_000
RECORD = "read.json"
JOBS = "SNN_NTK_JOBS"
# What Sphinx's environment keeps of pages that others take nothing from, or of what concerns all (`_digests`).
NOT_SHARED = {
    *("config", "external_site_map", "myst_config", "mystnb_config", "sd_config"),
    *("all_docs", "dependencies", "project", "settings", "titles_old", "snn_ntk_shared"),
}


def _digests(paths: Paths) -> dict[str, str]:
    """The content of everything that Sphinx reads, by name: staged files, the package, and "all" of what concerns all."""
    staged = Paths(paths.staging)
    found = {
        path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for path in files(staged.pages, staged.notebooks, staged.config, staged.toc, paths.source, paths.lock, WORKFLOW)
    }
    concerning_all = [staged.config, staged.toc, *staged.pages.glob("*.bib"), paths.lock, *WORKFLOW.glob("*.py")]
    parts = [sys.version, *sorted(found), *(found[path] for path in files(*concerning_all))]
    return found | {"all": hashlib.sha256("\n".join(parts).encode()).hexdigest()}


def _keep(paths: Paths) -> dict[str, str]:
    """Puts what Sphinx read and wrote last time in place, and makes staged files that have not changed older than that.

    Returns:
        The digests of what it reads now.
    """
    digests = _digests(paths)
    remove(paths.rendering)
    try:
        before = json.loads((paths.doctrees / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    staged = Paths(paths.staging)
    kept = isinstance(before, dict) and before.get("all") == digests["all"]
    changed = {path for path in digests if before.get(path) != digests[path]} if kept else set()
    for path in files(staged.pages, staged.notebooks):
        os.utime(path, None if path in changed else (OLD, OLD))
    if not kept:
        remove(paths.doctrees)
        return digests
    if not changed.isdisjoint(files(paths.source)):
        for page in (staged.pages / "api").glob("*.md"):
            page.touch()
    # Extensions write their styles last; pages would name them otherwise if they were there from the last time.
    remove(paths.doctrees / "html" / "_static")
    if not changed <= {page.as_posix() for page in staged.pages.rglob("*.md")}:
        remove(paths.doctrees / "html")  # figures, styles or functions are other ones
    os.rename(paths.doctrees, paths.rendering)
    return digests


def render(paths: Paths, jobs: int = 1) -> Path:
    """Runs Sphinx over the staging folder with warnings as errors.

    Args:
        paths: Of the profile.
        jobs: How many processes write pages.

    Returns:
        A new folder under `editions` with the rendered book.

    Raises:
        SystemExit: after Sphinx's own messages, if there was a warning.
    """
    digests = _keep(paths)
    sphinx = [*command("rendering"), str(paths.staging), str(paths.rendering)]
    # Sphinx imports an extension from here, and the package's modules.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(WORKFLOW), os.environ.get("PYTHONPATH", "")])}
    environment |= {PARENT: str(os.getpid()), JOBS: str(jobs)}
    finished = subprocess.run(
        sphinx, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if finished.returncode:
        message = re.sub(r"\x1b\[[0-9;]*m", "", finished.stdout)
        message = message.replace(str(paths.staging.resolve()) + os.sep, "")
        remove(paths.rendering)
        print(
            f"{message}\nThe book was not built. Its sources as staged: {os.path.relpath(paths.staging)}",
            file=sys.stderr,
        )
        raise SystemExit(1)
    edition = paths.editions / time.strftime("%Y%m%d-%H%M%S")
    remove(edition)  # of the same second
    shutil.copytree(paths.rendering / "html", edition)
    sign(edition)
    (paths.rendering / RECORD).write_text(json.dumps(digests), encoding="utf-8")
    remove(paths.doctrees)
    os.rename(paths.rendering, paths.doctrees)
    return edition


def publish(paths: Paths, edition: Path) -> None:
    """Points `html` at the new edition, in one rename, and removes older ones."""
    link = paths.out / f".html.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(edition.relative_to(paths.out), target_is_directory=True)
    if not paths.html.is_symlink():
        remove(paths.html)
    os.replace(link, paths.html)
    for old in edition.parent.iterdir():
        if old != edition:
            remove(old)


def _write_side_by_side(app: Any, env: Any) -> list[str]:
    """After the reading, which sphinx-proof does not allow side by side: one process resolves references, others write."""
    app.parallel = 1 + int(os.environ[JOBS])
    return []


def _text(value: Any) -> str:
    """What Sphinx keeps, as a text that is the same for the same content."""
    if isinstance(value, nodes.Node):
        return value.pformat()
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{_text(key)}: {_text(item)}' for key, item in value.items()))}}}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_text, value)))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    # Formatted entries of the bibliography say only where they lie in memory; they come from files that concern all pages.
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _shared(env: Any) -> str:
    """A digest of what pages take from each other."""
    shared = {name: value for name, value in env.__getstate__().items() if name not in NOT_SHARED}
    shared["metadata"] = {page: said | {"wordcount": None} for page, said in env.metadata.items()}
    cite = env.domaindata["cite"]  # its list is in the order in which pages were read
    shared["domaindata"] = env.domaindata | {
        "cite": cite | {"citation_refs": sorted(map(_text, cite["citation_refs"]))}
    }
    return hashlib.sha256(_text(shared).encode()).hexdigest()


def _write_what_has_changed(app: Any, env: Any) -> list[str]:
    """Once everything is read and numbered: every page, and nothing kept of them, unless what they share is as it was."""
    before, env.snn_ntk_shared = getattr(env, "snn_ntk_shared", None), _shared(env)
    if env.snn_ntk_shared == before:
        return [env.config.root_doc]  # with no page to write, Sphinx would leave the styles out too
    for item in Path(app.outdir).iterdir():
        if item.name != "_static":
            remove(item)
    return sorted(env.found_docs)


def _complete_search_index(app: Any) -> list[Any]:
    """Before it is written: Sphinx takes it over from the last time with words that are gone, and without its entries."""
    index = app.builder.indexer
    index._mapping, index._title_mapping = (
        {word: pages for word, pages in found.items() if pages} for found in (index._mapping, index._title_mapping)
    )
    index._index_entries = {
        page: sorted(
            {(word, goal, main) for kind, text, goal, main, _ in entries for word in split_index_msg(kind, text)}
        )
        for page, entries in sorted(app.env.domaindata["index"]["entries"].items())
    }
    return []


def setup(app: Any) -> dict[str, bool]:
    """As Sphinx's extension, which staging adds to the book's."""
    app.connect("env-updated", _write_side_by_side)
    app.connect("html-collect-pages", _complete_search_index)
    app.connect("env-get-updated", _write_what_has_changed, priority=950)  # after `numbering`
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main() -> int:
    """Sphinx's own process: `jupyter-book build` with a choice of where its doctrees lie."""
    from jupyter_book.sphinx import build_sphinx

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    # Pages are trees whose nodes know their parents: looking again and again for those that nobody uses takes a third of this
    # process's time. It ends soon, and without that it needs 1.2 GB, as a chapter does.
    gc.disable()
    source = Paths(options.source.absolute())
    # Autodoc imports JAX, whose threads do nothing here; the processes that write pages never use it.
    warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
    result = build_sphinx(
        source.root,
        options.target / "html",
        doctreedir=options.target / "doctrees",
        noconfig=True,
        path_config=source.config,
        confoverrides={
            "external_toc_path": source.toc.as_posix(),
            "latex_individualpages": False,
            "nitpicky": True,
        },
        warningiserror=True,
        keep_going=True,
        quiet=True,
    )
    return int(result != 0)
