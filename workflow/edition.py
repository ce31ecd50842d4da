"""A Sphinx extension: which edition this is, at the foot of every page, and where to run a notebook, at its head.

Staging writes `edition.json`. Binder and Colab are offered as soon as `repository.url` in `_config.yml` names a repository on GitHub: Binder opens the
notebook's text there, Colab the executed notebook of the book as published on its branch `gh-pages`.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from paths import WORKFLOW

__all__ = ["SHOWN", "edition", "launch_links", "setup", "setup_cell", "sign"]

SHOWN = "edition.json"
# Stands for the edition in what Sphinx writes, since pages that have not changed are not written again.
UNSIGNED = b"<!-- edition -->"
PUBLISHED = "gh-pages"


def _git(root: Path, *arguments: str) -> str:
    try:
        found = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def edition(root: Path, version: str, profile: str) -> dict[str, str]:
    """Version, date, commit and profile; without a repository no commit, and today's date."""
    top = _git(root, "rev-parse", "--show-toplevel")
    mine = bool(top) and Path(top).resolve() == root.resolve()
    commit = _git(root, "rev-parse", "--short=10", "HEAD") if mine else ""
    if commit and _git(root, "status", "--porcelain", "--untracked-files=no"):
        commit += ", with changes"
    date = _git(root, "log", "-1", "--format=%cs") if mine else ""
    return {"version": version, "date": date or time.strftime("%Y-%m-%d"), "commit": commit, "profile": profile}


def sign(html: Path) -> None:
    """Writes at the foot of every page of a rendered book which edition it is."""
    said = json.loads((html / SHOWN).read_text(encoding="utf-8"))
    commit = f", commit {said['commit']}" if said["commit"] else ""
    text = f"Version {said['version']}, {said['date']}{commit}, profile {said['profile']}."
    for page in html.rglob("*.html"):
        if UNSIGNED in (content := page.read_bytes()):
            page.write_bytes(content.replace(UNSIGNED, text.encode()))


def launch_links(url: str, branch: str, page: str) -> dict[str, str]:
    """Where a notebook's page can be run, by name; nowhere without a repository on GitHub.

    >>> launch_links("https://github.com/a/b", "main", "notebooks/05-x")["Colab"]
    'https://colab.research.google.com/github/a/b/blob/gh-pages/_sources/notebooks/05-x.ipynb'
    >>> launch_links("", "main", "notebooks/05-x"), launch_links("https://github.com/a/b", "main", "book/05-x")
    ({}, {})
    """
    repository = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", url)
    if not repository or not page.startswith("notebooks/"):
        return {}
    return {
        "Binder": f"https://mybinder.org/v2/gh/{repository[1]}/{branch}?urlpath=lab/tree/{page}.md",
        "Colab": f"https://colab.research.google.com/github/{repository[1]}/blob/{PUBLISHED}/_sources/{page}.ipynb",
    }


def setup_cell(url: str) -> str:
    """What the first cell of a downloaded notebook does on Colab: it fetches the checkout and installs the package."""
    folder = url.rstrip("/").removesuffix(".git").rpartition("/")[2]
    return "\n".join(
        [
            "import sys",
            "",
            'if "google.colab" in sys.modules:',
            f"    !git clone -q {url}",
            f"    %cd {folder}/notebooks",
            "    %pip install -q ..[experiments,regression] jsonschema",
            "    %pip install -q --no-deps neural-tangents==0.6.5",
        ]
    )


def _prepare(app: Any, config: Any) -> None:
    config.templates_path = [*config.templates_path, str(WORKFLOW / "templates")]


def _tell(app: Any, page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    shown = Path(app.srcdir) / "extra" / SHOWN
    said = json.loads(shown.read_text(encoding="utf-8"))
    context["edition"] = UNSIGNED.decode()
    context["launch_links"] = launch_links(said["repository"], said["branch"], page)


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", _prepare)
    app.connect("html-page-context", _tell)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
