"""A book of two pages with the configuration of the real one, on which the build is tried."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from paths import Paths

ROOT = Path(__file__).parents[1]

HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  name: python3
  display_name: Python 3
---
"""

NOTEBOOK = (
    HEADER
    + """
# {title} (notebook)

See [the page](../book/{chapter}.md).

```{{code-cell}} ipython3
:tags: [parameters]
profile: str = "laptop"
value: float = -0.45
widths: list = [1, 2]
```

```{{code-cell}} ipython3
import json, os, pathlib, signal, time

if False:  # for the build, which reads what a notebook imports
    import module, {module}

folder = pathlib.Path(os.environ["SNN_NTK_OUTPUT"])
trap = pathlib.Path("../trap").read_text() if pathlib.Path("../trap").exists() else ""
pathlib.Path("../{chapter}.pid").write_text(str(os.getpid()))
if trap == "die {chapter}":
    os.kill(os.getpid(), signal.SIGKILL)
if trap == "crash once {chapter}":
    if not (folder / "checkpoint").exists():
        (folder / "checkpoint").write_text("")
        os.kill(os.getpid(), signal.SIGSEGV)
    from snn_ntk.reporting.provenance import provenance

    stamp = provenance(pathlib.Path(".."), "{chapter}", profile)
    (folder / "provenance.json").write_text(json.dumps(stamp))
if trap == "fail {chapter}":
    raise RuntimeError("a cell that fails")
if trap == "wait {chapter}":
    time.sleep(60)
```

```{{code-cell}} ipython3
record = {{"id": "{claim}", "value": value, "interval": [value, value], "seeds": 2}}
(folder / "claims.json").write_text(json.dumps([record]))
```
"""
)

CLAIM = """\
- id: {claim}
  source: "[P] Lemma 1"
  statement: The rate is $m^{{-1/2}}$.
  published: -0.5
  accept: [-0.6, -0.4]
  near_miss: -0.35
  why: an example
  expect: {{smoke: reproduced}}
"""

PAGE = """\
(sec:{chapter})=
# {title}

```{{prf:lemma}} Rate
:label: lem:{claim}
Errors fall as $m^{{-1/2}}$.
```

```{{math}}
:label: eq:{claim}
e = m^{{-1/2}}
```

{{prf:ref}}`lem:{claim}`, {{eq}}`eq:{claim}`, was measured in {{doc}}`../notebooks/{chapter}`: {{{{ r["{claim}.rate"].value }}}} {{cite}}`price`.
"""

CHAPTERS = ("01-one", "02-two")


def copy_sources(target: Path) -> None:
    """The sources of this project as in a fresh clone: nothing that was built, installed or cached."""
    unwanted = shutil.ignore_patterns("_build", ".git", ".venv*", ".snakemake", "__pycache__", "*.ipynb", ".*_cache")
    shutil.copytree(ROOT, target, ignore=unwanted)


def make_project(root: Path) -> None:
    """A book of two chapters with the configuration of the real one, and no package."""
    for folder in ("book/claims", "notebooks", "profiles/smoke", "src"):
        (root / folder).mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", root)
    shutil.copy(ROOT / "_toc.yml", root)
    shutil.copytree(ROOT / "book" / "assets", root / "book" / "assets")
    for module in ("module", "one", "two"):
        (root / "src" / f"{module}.py").write_text("VALUE = 1\n")
    (root / "requirements.txt").write_text("")
    (root / "book" / "references.bib").write_text(
        "@article{price, title={T}, author={Price, R.}, year={1958}, journal={J}}"
    )
    (root / "book" / "intro.md").write_text("# Introduction\n\n{{ summary }} at {{ profile }}.\n")
    for chapter in CHAPTERS:
        claim, title = chapter[3:], chapter[3:].title()
        (root / "book" / f"{chapter}.md").write_text(PAGE.format(chapter=chapter, title=title, claim=claim))
        text = NOTEBOOK.format(chapter=chapter, title=title, claim=f"{claim}.rate", module=claim)
        (root / "notebooks" / f"{chapter}.md").write_text(text)
        (root / "book" / "claims" / f"{chapter}.yml").write_text(CLAIM.format(claim=f"{claim}.rate"))
        profile(root, chapter).write_text("value: -0.5\n")


def profile(root: Path, chapter: str) -> Path:
    return root / "profiles" / "smoke" / f"{chapter}.yml"


def start(root: Path, *arguments: str, check: bool = False) -> subprocess.Popen[str]:
    # A shell starts background jobs with SIGINT ignored; an interruption must reach the build all the same.
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, str(ROOT / "workflow" / "build.py")]
    command += ["--root", str(root), "--profile", "smoke", "--cores", "2", *arguments]
    return subprocess.Popen(
        command,
        env={**os.environ, "CI": "1", "CHECK": "1" if check else ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def build(root: Path, *arguments: str, check: bool = False) -> tuple[int, str]:
    process = start(root, *arguments, check=check)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def prepare(root: Path, *, cores: str = "2", chapter: tuple[str, ...] = (), profile: str = "smoke") -> Paths:
    """What the build does before it runs anything."""
    import build as workflow_build  # not everywhere where this file is imported

    options = argparse.Namespace(root=root, profile=profile, cores=cores, chapter=list(chapter))
    paths, lock = workflow_build._prepare(options)
    os.close(lock)
    return paths


def spoil(path: Path, content: str | bytes | None) -> None:
    """Writes a file; None puts a folder in its place."""
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def fingerprint(root: Path) -> str:
    """Every file of the published book and its content."""
    digest, html = hashlib.sha256(), root / "_build" / "smoke" / "html"
    for path in sorted(html.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(html).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def wait_for(condition, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def executed(root: Path, chapter: str) -> Path:
    return root / "_build" / "smoke" / "chapters" / chapter / "notebook.ipynb"


def later(path: Path, text: str | None = None) -> None:
    """Changes a file now: later than every output, earlier than what the next job writes.

    A time in the future would make a job that ends before it fail, since its output were older than its input.
    """
    if text is not None:
        path.write_text(text)
    moment = time.time()
    os.utime(path, (moment, moment))


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("built") / "project"
    make_project(root)
    status, output = build(root)
    assert status == 0, output
    assert "2 claims: 2 reproduced" in output
    assert (root / "_build" / "smoke" / "html" / "index.html").absolute().as_uri() in output
    return root


@pytest.fixture
def book(built, tmp_path) -> Path:
    """A copy of the built project, times included, that a test may spoil."""
    return Path(shutil.copytree(built, tmp_path / "project", symlinks=True))


def children(pid: int) -> list[int]:
    """All processes below a process, kernels included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except FileNotFoundError:
            continue
        if parent == pid:
            child = int(path.parent.name)
            found += [child, *children(child)]
    return found
