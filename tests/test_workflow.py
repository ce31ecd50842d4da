"""The build, tried on a book of two pages: gate, parameters, resumption, interruption at every stage, publication."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import build as workflow_build
import check_notebooks
import gate
import jupytext
import nbformat
import parameters
import pytest
import run_chapter
import stage
import yaml
from paths import Paths, library
from project import (
    CHAPTERS,
    HEADER,
    ROOT,
    build,
    children,
    executed,
    fingerprint,
    later,
    make_project,
    profile,
    start,
    wait_for,
)

pytestmark = pytest.mark.xdist_group("workflow")


# The gate


def notebook(**papermill: object) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell("1", metadata={"papermill": {"status": "completed", "exception": False}})
    run = {"exception": None, "end_time": "2026-01-01T00:00:00", **papermill}
    return nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": run})


def test_gate_lets_a_finished_notebook_pass():
    gate.check(notebook(), "x")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda n: n.metadata.clear(), "not executed"),
        (lambda n: n.metadata.papermill.update(exception=True), "raised an exception"),
        (lambda n: n.metadata.papermill.update(end_time=None), "never finished"),
        (lambda n: n.metadata.papermill.pop("end_time"), "never finished"),
        (lambda n: n.cells[0].metadata.papermill.update(status="pending"), "cell 1 is pending"),
        (lambda n: n.cells[0].metadata.pop("papermill"), "cell 1 is not executed"),
        (lambda n: n.cells[0].metadata.papermill.update(exception=True), "cell 1 raised"),
        (lambda n: n.cells[0].outputs.append(nbformat.v4.new_output("error", ename="E", evalue="")), "cell 1 raised"),
    ],
)
def test_gate_stops_a_failed_or_unfinished_notebook(spoil, message):
    spoiled = notebook()
    spoil(spoiled)
    with pytest.raises(gate.UnfinishedNotebook, match=message):
        gate.check(spoiled, "x")


def test_an_unfinished_notebook_is_not_staged(book):
    unfinished = nbformat.read(executed(book, "01-one"), as_version=4)
    unfinished.metadata.papermill["end_time"] = None
    nbformat.write(unfinished, executed(book, "01-one"))
    before = fingerprint(book)
    status, output = build(book)
    assert status == 1
    assert "01-one: execution never finished" in output
    assert fingerprint(book) == before


# Parameters

CELL = """\
Text.

```{code-cell} ipython3
:tags: [parameters]
a: int = 3
b = [1.0, 2]
c: str = 'x'
d = f(1)
```
"""


def test_parameters_are_checked_by_name_and_kind():
    known = parameters.known_parameters(CELL, "x")
    assert known == {"a": 3, "b": [1.0, 2], "c": "x", "d": None}
    parameters.check_parameters({"a": 4, "b": [3.0], "c": "y", "d": 5}, known, "smoke, x")
    with pytest.raises(ValueError, match=r"one of \['a', 'b', 'c', 'd'\], got \['e'\]"):
        parameters.check_parameters({"e": 1}, known, "smoke, x")
    with pytest.raises(ValueError, match=r"write 1.0e-3"):
        parameters.check_parameters({"b": [1.0, "1e-3"]}, known, "smoke, x")
    with pytest.raises(ValueError, match="one cell tagged"):
        parameters.known_parameters("", "x")


def test_an_unknown_parameter_or_chapter_stops_the_build(book):
    later(profile(book, "01-one"), "valu: 1\n")
    status, output = build(book)
    assert status == 2
    assert re.search(r"01-one: expected parameters of the notebook, one of \[.*'value'.*\], got \['valu'\]", output)
    assert "02-two: running" not in output
    later(profile(book, "03-three"), "")
    status, output = build(book)
    assert status == 2
    assert "got ['03-three']" in output
    status, output = build(book, "--profile", "huge")
    assert status == 2
    assert "one of smoke, laptop, gpu" in output


def test_the_profiles_of_the_book_set_what_its_notebooks_have():
    # By themselves too, as `papermill --parameters_file` takes them.
    for path in sorted((ROOT / "profiles").glob("*/*.yml")):
        known = parameters.known_parameters((ROOT / "notebooks" / f"{path.stem}.md").read_text(), path.stem)
        chosen = yaml.safe_load(path.read_text())
        parameters.check_parameters(chosen, known, str(path))
        assert chosen["profile"] == path.parent.name
        assert known["profile"] == "laptop"


# What a notebook depends on

PACKAGE = {
    "__init__.py": "from p.paper import lemma\nfrom . import datasets\n__version__ = '1'\n",
    "paper/__init__.py": "from p.paper.first import lemma\nfrom p.paper import second\n__all__ = ['lemma', 'second']\n",
    "paper/first.py": "from ..kernels import k\nlemma = k\n",
    "paper/second.py": "import numpy\ndef f():\n    from .. import kernels\n    return kernels.k\n",
    "kernels.py": "k = 1\n",
    "datasets/__init__.py": '"""Sets."""\nfrom .mnist import mnist\nfrom .faces import faces\n',
    "datasets/mnist.py": "from ._store import get\nmnist = get\n",
    "datasets/faces.py": "from ._store import get\nfaces = get\n",
    "datasets/_store.py": "get = 1\n",
    "noisy/__init__.py": "from p.noisy.a import x\nfrom p.noisy import b\nprint(b)\n",
    "noisy/a.py": "x = 1\n",
    "noisy/b.py": "y = 1\n",
}
ALL = {name for name in PACKAGE if name.startswith("datasets/")}


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import os\nprint(os.path)", set()),
        ("from p.datasets import mnist", {"datasets/mnist.py", "datasets/_store.py"}),
        ("from p import datasets\ndatasets.mnist(3)", {"datasets/mnist.py", "datasets/_store.py"}),
        ("import p\np.datasets.mnist", {"datasets/mnist.py", "datasets/_store.py"}),
        ("import p.datasets as d\nprint(f'{d.mnist}')", {"datasets/mnist.py", "datasets/_store.py"}),
        ("import p.datasets._store", {"datasets/_store.py"}),
        ("from p import datasets", set()),
        ("from p import datasets\ngetattr(datasets, name)", ALL),
        ("from p.datasets import *", ALL),
        ("from p import lemma", {"paper/first.py", "kernels.py"}),
        ("from p.paper.first import lemma", {"paper/first.py", "kernels.py"}),
        ("from p import paper\npaper.second.f()", {"paper/second.py", "kernels.py"}),
        ("from p.noisy.a import x", {"noisy/__init__.py", "noisy/a.py", "noisy/b.py"}),
        ("%matplotlib inline\nfrom p import kernels as k\n!ls", {"kernels.py"}),
        ("from p import kernels\n1 +", set()),
    ],
)
def test_imports_lead_to_the_files_that_define_what_is_used(tmp_path, code, needed):
    for name, text in PACKAGE.items():
        (tmp_path / "src" / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / "p" / name).write_text(text)
    notebook = tmp_path / "x.md"
    notebook.write_text(f"from p import not_code\n\n```{{code-cell}} ipython3\n:tags: [a]\n\n{code}\n```\n")
    found = library("reporting.dependencies").imported_files(tmp_path, notebook)
    assert {path.relative_to(tmp_path / "src" / "p").as_posix() for path in found} == needed


def test_code_cells_are_those_that_jupytext_reads():
    for path in sorted((ROOT / "notebooks").rglob("*.md")):
        cells = [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]
        expected = [(cell.metadata.get("tags", []), cell.source) for cell in cells]
        assert library("reporting.dependencies").code_cells(path.read_text()) == expected


def test_which_chapters_run_again_for_which_file_of_the_package():
    def again(name: str) -> set[str]:
        """The notebooks that depend on the file that defines a function."""
        defines = re.compile(rf"^def {name}\(", re.MULTILINE)
        (changed,) = (path for path in (ROOT / "src").rglob("*.py") if defines.search(path.read_text()))
        return {
            path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()
            for path in (ROOT / "notebooks").rglob("*.md")
            if changed in library("reporting.dependencies").imported_files(ROOT, path)
        }

    every = {path.stem for path in (ROOT / "notebooks").glob("*.md")}
    assert again("celeba") == {"11-face-attributes", "sweeps/11-face-attributes"}
    assert again("resolve") >= {"05-stochastic-ntk", "06-concentration", "sweeps/09-weight-movement"}
    assert not again("resolve") & {"10-disentanglement", "sweeps/10-disentanglement"}
    assert again("load_claims") >= every


# Staging and the published book


def test_toc_lists_what_exists_with_each_notebook_below_its_page():
    toc = {
        "root": "book/intro",
        "parts": [
            {"caption": "A", "chapters": [{"glob": "book/0*"}, {"file": "book/gone"}]},
            {"caption": "B", "chapters": [{"file": "book/none"}]},
        ],
    }
    pages = {"book/intro", "book/02-b", "book/01-a"}
    assert stage.expand_toc(toc, pages, {"02-b"}) == {
        "root": "book/intro",
        "parts": [
            {
                "caption": "A",
                "chapters": [
                    {"file": "book/01-a"},
                    {"file": "book/02-b", "sections": [{"file": "notebooks/02-b"}]},
                ],
            }
        ],
    }


def test_chapters_beyond_the_paper_have_a_part_before_the_judgement():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = {"book/intro", "book/04-d", "book/14-audit", "book/scorecard"}
    captions = [part["caption"] for part in stage.expand_toc(toc, pages, set())["parts"]]
    assert captions == ["The stochastic network", "Judgement"]
    parts = stage.expand_toc(toc, pages | {"book/15-e", "book/20-f"}, {"15-e"})["parts"]
    assert [part["caption"] for part in parts] == ["The stochastic network", "Beyond the paper", "Judgement"]
    assert parts[1]["chapters"] == [
        {"file": "book/15-e", "sections": [{"file": "notebooks/15-e"}]},
        {"file": "book/20-f"},
    ]


def test_a_sources_numbers_are_marked():
    """Ours come by reference alone, so whatever is typed with a point in it is a source's."""
    statement = r"(?:Theorem|Lemma|Proposition|Corollary)s? [A-D\d]+\.\d+"
    for path in sorted((ROOT / "book").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        typed = [found[0] for found in re.finditer(rf"(?:\S+ )?{statement}", text)]
        whose = ("[A]", "[S]", "Tropp's", "(his")
        assert [name for name in typed if not name.lstrip("*").startswith(whose)] == [], path


def test_notebooks_mark_a_sources_numbers_too():
    """Outside their code; `14-audit` speaks of the paper alone."""
    statement = r"(?:Theorem|Lemma|Proposition|Corollary|Theorems|Lemmas|Propositions|Corollaries) \d"
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.md")):
        prose = re.sub(r"```\{code-cell\}.*?\n```\n", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        typed = [found[0] for found in re.finditer(rf"(?:\S+ )?{statement}", prose) if "14-audit" not in path.name]
        assert [name for name in typed if not re.match(r"\S*\[[PJSA]\]", name)] == [], path


def test_numbers_count_by_chapter(built):
    html = built / "_build" / "smoke" / "html" / "book"
    for number, name in enumerate(CHAPTERS, 1):
        page = (html / f"{name}.html").read_text()
        assert page.count(f'<span class="caption-number">Lemma {number}.1 </span>') == 1
        assert page.count('title="Link to this lemma">#</a>') == 1
        assert f">Lemma {number}.1</" in page  # the reference to it
        assert f'({number}.1)<a class="headerlink" href="#equation-eq-{name[3:]}"' in page
        assert f'href="#equation-eq-{name[3:]}">({number}.1)</a>' in page
        assert re.search(rf"<h1>(<span class=\"section-number\">)?{number}\. ", page)
        assert f"Lemma {number}.1</" in (html / "statements.html").read_text()


def test_the_foot_of_a_page_says_which_edition_it_is(built):
    from snn_ntk import __version__

    html = built / "_build" / "smoke" / "html"
    said = json.loads((html / "edition.json").read_text())
    assert said["version"] == __version__
    assert said["commit"] == ""  # the project is no repository
    page = (html / "book" / "01-one.html").read_text()
    assert f"Version {__version__}, {said['date']}, profile smoke." in page
    assert 'href="times.html"' in page
    assert "01-one" in (html / "book" / "times.html").read_text()


@pytest.mark.heavy
def test_notebooks_can_be_run_elsewhere_once_there_is_a_repository(book):
    config = yaml.safe_load((book / "_config.yml").read_text())
    page = book / "_build" / "smoke" / "html" / "notebooks" / "01-one.html"
    assert "colab" not in page.read_text()
    config["repository"] = {"url": "https://github.com/a/b", "branch": "main"}
    later(book / "_config.yml", yaml.safe_dump(config))
    status, output = build(book)
    assert status == 0, output
    text = page.read_text()
    assert 'href="https://mybinder.org/v2/gh/a/b/main?urlpath=lab/tree/notebooks/01-one.md"' in text
    assert 'href="https://colab.research.google.com/github/a/b/blob/gh-pages/_sources/notebooks/01-one.ipynb"' in text
    downloaded = nbformat.read(page.parents[1] / "_sources" / "notebooks" / "01-one.ipynb", as_version=4)
    assert "git clone -q https://github.com/a/b" in downloaded.cells[0].source
    assert "git clone" not in text


def test_the_published_book(built):
    html = built / "_build" / "smoke" / "html"
    assert html.is_symlink()
    page = (html / "book" / "01-one.html").read_text()
    assert "−0.5" in page
    bibliography = (html / "book" / "bibliography.html").read_text()
    assert "Price" in bibliography
    assert 'role="listitem"' in bibliography
    assert "2 claims: 2 reproduced" in (html / "book" / "scorecard.html").read_text()
    assert "2 claims: 2 reproduced at smoke" in (html / "book" / "intro.html").read_text()
    # Each executed notebook can be downloaded; no .md stands beside its .ipynb.
    downloads = sorted(path.name for path in (html / "_sources" / "notebooks").iterdir())
    assert downloads == ["01-one.ipynb", "02-two.ipynb"]
    gate.check_file(html / "_sources" / "notebooks" / "01-one.ipynb")
    assert 'href="../_sources/notebooks/01-one.ipynb"' in (html / "notebooks" / "01-one.html").read_text()
    assert (html / "records" / "01-one.json").is_file()
    assert (html / "mathjax" / "tex-svg.js").is_file()


def test_the_published_book_loads_nothing_from_the_network(built):
    html = built / "_build" / "smoke" / "html"
    for page in html.rglob("*.html"):
        text = page.read_text()
        assert not re.search(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"(?:https?:)?//", text), page
        assert not re.search(r"unpkg|jsdelivr|cdnjs|googleapis", text), page


def test_a_verdict_other_than_the_committed_one_is_marked_and_fails_a_check_alone(book):
    later(profile(book, "01-one"), "value: -0.3\n")
    status, output = build(book)
    assert status == 0, output
    assert re.search(r"claim +expected +here +measured +accepted\n", output)
    assert re.search(r"one\.rate +reproduced +not reproduced +−0\.3\d* +\[−0\.6, −0\.4\]\n", output)
    assert "two.rate" not in output
    html = book / "_build" / "smoke" / "html"
    scorecard = (html / "book" / "scorecard.html").read_text()
    assert "came out otherwise than committed (1)" in scorecard
    assert "expected reproduced, here not reproduced" in scorecard
    assert "1 otherwise than committed at smoke" in (html / "book" / "intro.html").read_text()

    # A book that is up to date is checked too, and stays published.
    before = fingerprint(book)
    status, again = build(book, check=True)
    assert status == 1
    assert "running" not in again
    assert "one.rate" in again
    assert "CHECK=1" in again
    assert fingerprint(book) == before


def test_a_check_passes_where_verdicts_are_as_committed(book):
    status, output = build(book, check=True)
    assert status == 0, output
    assert "otherwise" not in output


@pytest.mark.heavy
def test_a_chapter_that_recorded_nothing_stops_the_build(book):
    before = fingerprint(book)
    chapter = book / "notebooks" / "01-one.md"
    later(chapter, chapter.read_text().replace("json.dumps([record])", "json.dumps([])"))
    status, output = build(book)
    assert status == 1
    assert "expected a record of every claim of an executed chapter, got none of ['one.rate']" in output
    assert fingerprint(book) == before


def test_claims_near_an_edge_are_listed_by_a_check(capsys):
    row = {
        "claim": "a.long-name",
        "verdict": "reproduced",
        "nearly": "inconclusive",
        "measured": "1",
        "accepted": "≤ 2",
    }
    outcome = {"unexpected": [], "near_edge": [row, {**row, "claim": "b"}]}
    assert workflow_build._say(outcome, check=False) == 0
    assert capsys.readouterr().out == ""
    assert workflow_build._say(outcome, check=True) == 0
    *_, head, first, second = capsys.readouterr().out.splitlines()
    assert head.index("verdict") == first.index("reproduced") == second.index("reproduced")
    assert head.index("accepted") == second.index("≤ 2")


@pytest.mark.heavy
def test_a_warning_of_sphinx_stops_the_build(book):
    before = fingerprint(book)
    later(book / "book" / "01-one.md", "# One\n\n{doc}`nowhere`\n")
    status, output = build(book)
    assert status == 1
    assert "nowhere" in output
    assert "staging" in output
    assert fingerprint(book) == before


def moments(book: Path) -> dict[str, int]:
    """When Sphinx has last read and written each page, by the file that it made."""
    kept = book / "_build" / "smoke" / "doctrees"
    made = [*kept.rglob("*.doctree"), *kept.glob("html/book/*.html"), *kept.glob("html/notebooks/*.html")]
    return {path.relative_to(kept).as_posix(): path.stat().st_mtime_ns for path in made}


@pytest.mark.heavy
def test_a_changed_page_alone_is_read_and_written_and_a_broken_reference_elsewhere_is_seen(book, tmp_path):
    def same_as_from_nothing() -> str:
        published = fingerprint(book)
        shutil.rmtree(book / "_build" / "smoke" / "doctrees")
        later(book / "book" / "intro.md")
        assert build(book)[0] == 0
        assert fingerprint(book) == published
        return published

    page = book / "book" / "01-one.md"
    later(page, page.read_text() + "\nMore in {ref}`sec:02-two`.\n")
    assert build(book)[0] == 0
    for text in ("Another text.", "Yet another one."):
        before = moments(book)
        assert len(before) > 10
        later(book / "book" / "intro.md", f"# Introduction\n\n{text}\n")
        status, output = build(book)
        assert status == 0, output
        after = moments(book)
        assert {path for path in before if after[path] != before[path]} == {
            "doctrees/book/intro.doctree",
            "html/book/intro.html",
        }
    published = same_as_from_nothing()
    later(page)  # as it was: there is nothing to read, and a book to publish
    status, output = build(book)
    assert status == 0, output
    assert "rendering" in output
    assert fingerprint(book) == published
    # What others show of a page is written there too: its title in the sidebar, and by the reference.
    other = page.with_name("02-two.md")
    later(other, other.read_text().replace("# Two", "# Second"))
    before = moments(book)
    assert build(book)[0] == 0
    after = moments(book)
    assert {path for path in before if after[path] != before[path]} > {
        path for path in before if path.startswith("html")
    }
    assert "Second" in (book / "_build" / "smoke" / "html" / "book" / "01-one.html").read_text()
    alone = same_as_from_nothing()

    text = other.read_text()
    later(other, text.replace("(sec:02-two)=\n", ""))
    for _ in range(2):  # the second finds nothing that the first has read
        status, output = build(book)
        assert status == 1
        assert "sec:02-two" in output
        assert fingerprint(book) == alone
    later(other, text)
    assert build(book)[0] == 0
    assert fingerprint(book) == alone


# What runs again


def rules_to_run(root: Path, *targets: str) -> set[str]:
    """What a build would run for these files, by its own engine's dry run."""
    engine = workflow_build._snakemake(root, "smoke", 2, list(targets), [])
    quiet = engine.index("--quiet")
    engine[quiet : quiet + 2] = ["--dry-run"]
    finished = subprocess.run(engine, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return set(re.findall(r"rule (\w+):", finished.stdout + finished.stderr))


def to_run(root: Path) -> set[str]:
    """The chapters that a build would run."""
    found = rules_to_run(root, *(f"_build/smoke/chapters/{c}/notebook.ipynb" for c in CHAPTERS))
    return {name.removeprefix("chapter_").replace("_", "-") for name in found}


def commit_no_run(book):
    """Files of committed runs that hold none; returns the first."""
    committed = book / "results" / "01-one"
    committed.mkdir(parents=True)
    (committed / "provenance.json").write_text(json.dumps({"groups": []}))
    (committed / "series.json").write_text(json.dumps({"runs": {}}))
    return committed / "series.json"


def test_only_what_depends_on_a_change_runs_again(book):
    stamp = book / "_build" / "smoke" / "book.json"
    moment = stamp.stat().st_mtime_ns
    status, output = build(book)
    assert status == 0
    assert "running" not in output
    assert stamp.stat().st_mtime_ns == moment

    for changed, again in (
        (book / "notebooks" / "02-two.md", {"02-two"}),
        (profile(book, "02-two"), {"02-two"}),
        (book / "book" / "claims" / "01-one.yml", {"01-one"}),
        (book / "src" / "one.py", {"01-one"}),
        (book / "src" / "module.py", {"01-one", "02-two"}),
    ):
        before = changed.stat().st_mtime
        later(changed)
        assert to_run(book) == again
        os.utime(changed, (before, before))
    assert to_run(book) == set()

    commit_no_run(book)
    assert to_run(book) == {"01-one"}
    status, output = build(book, "--chapter", "01-one", "--chapter", "02-two")
    assert status == 0, output
    assert "01-one: running" in output
    assert "02-two: running" not in output
    assert to_run(book) == set()


def test_the_change_log_and_the_citation_are_rendered_again_too(book):
    status, output = build(book)
    assert status == 0, output
    assert rules_to_run(book, "_build/smoke/book.json") == set()
    for name in ("CHANGELOG.md", "CITATION.cff"):
        (book / name).write_text("new")
        assert rules_to_run(book, "_build/smoke/book.json") == {"book"}
        (book / name).unlink()


@pytest.mark.heavy
def test_fresh_runs_the_chapters_again_that_have_committed_runs(book, monkeypatch):
    committed = commit_no_run(book)
    os.utime(committed, (1, 1))
    monkeypatch.setenv("FRESH", "1")
    for _ in range(2):
        status, output = build(book, "--chapter", "01-one", "--chapter", "02-two")
        assert status == 0, output
        assert "01-one: running" in output
        assert "02-two: running" not in output
    monkeypatch.delenv("FRESH")
    status, output = build(book, "--chapter", "01-one", "--chapter", "02-two")
    assert status == 0, output
    assert "running" not in output


def test_what_a_shell_sets_for_others_does_not_reach_the_chapters(book, monkeypatch):
    for name, value in (("JAX_ENABLE_X64", "1"), ("PYTHONWARNINGS", "error"), ("PYTHONOPTIMIZE", "1")):
        monkeypatch.setenv(name, value)
    notebook = book / "notebooks" / "01-one.md"
    code = "import warnings\nassert 'JAX_ENABLE_X64' not in os.environ\nwarnings.warn('w')\nrecord = {"
    later(notebook, notebook.read_text().replace("record = {", code))
    status, output = build(book, "--chapter", "01-one")
    assert status == 0, output
    assert "Traceback" not in output


@pytest.mark.heavy
def test_a_second_build_waits_for_the_first_and_says_for_which(book):
    (book / "trap").write_text("wait 01-one")
    (book / "01-one.pid").unlink()
    later(book / "notebooks" / "01-one.md")
    first = start(book)
    wait_for(lambda: (book / "01-one.pid").is_file() and (book / "01-one.pid").read_text())
    second = start(book)
    assert second.stdout is not None
    said = [second.stdout.readline() for _ in range(2)]
    assert said[1] == f"Another build, process {first.pid}, is running; waiting for it to end.\n"
    (book / "trap").unlink()
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=300)
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0, output
    assert "01-one: done" in output


@pytest.mark.heavy
def test_a_published_book_that_was_deleted_comes_back(book):
    (book / "_build" / "smoke" / "html").unlink()
    status, output = build(book)
    assert status == 0, output
    assert "running" not in output
    assert (book / "_build" / "smoke" / "html" / "index.html").is_file()


# Sweeps

RUN = (
    HEADER
    + """
# One run

```{code-cell} ipython3
:tags: [parameters]
m: int = 1
seed: int = 0
steps: int = 2
```

```{code-cell} ipython3
import json, os, pathlib
with open("../../order.txt", "a") as file:
    file.write(f"m{m} seed{seed} steps{steps}\\n")
left = pathlib.Path(os.environ["SNN_NTK_OUTPUT"]) / "checkpoint"
if pathlib.Path("../../trap").exists() and not left.exists():
    left.write_text("")
    raise RuntimeError("cut off")
content = {"parameters": {"m": m, "seed": seed, "steps": steps}, "result": {"m": m}, "provenance": {}}
(left.parent / "run.json").write_text(json.dumps(content))
```
"""
)


@pytest.mark.heavy
def test_each_run_of_a_sweep_is_a_job_that_its_chapter_waits_for(tmp_path, monkeypatch):
    from snn_ntk.reporting.sweeps import expand, read_runs, runs_folder

    make_project(tmp_path)
    (tmp_path / "notebooks" / "sweeps").mkdir()
    (tmp_path / "notebooks" / "sweeps" / "01-one.md").write_text(RUN)
    chapter = tmp_path / "notebooks" / "01-one.md"
    more = "trained: dict = {}\nread: list = []\nsweep: list = []\n"
    chapter.write_text(chapter.read_text().replace("widths: list", f"{more}widths: list"))
    sweep = [{"seed": [0], "m": [5, 3], "steps": 4}, {"seed": [1], "m": [3], "steps": 4}]
    mine = profile(tmp_path, "01-one")
    mine.write_text(yaml.safe_dump({"value": -0.5, "sweep": sweep}, sort_keys=False))

    (tmp_path / "trap").write_text("")
    status, output = build(tmp_path, "--chapter", "01-one", "--cores", "1")
    assert status == 1
    assert "01-one/seed0_m5: FAILED" in output
    assert not executed(tmp_path, "01-one").exists()
    (tmp_path / "trap").unlink()
    (tmp_path / "order.txt").unlink()
    # Runs that were cut off find what they had left; the first stage goes first.
    status, output = build(tmp_path, "--chapter", "01-one", "--cores", "1")
    assert status == 0, output
    lines = (tmp_path / "order.txt").read_text().split("\n")[:-1]
    assert sorted(lines[:2]) == ["m3 seed0 steps4", "m5 seed0 steps4"]
    assert lines[2:] == ["m3 seed1 steps4"]
    folder = runs_folder(tmp_path, "smoke", "01-one")
    wanted = expand(sweep)[0]
    found = {name: run["result"] for name, run in read_runs(folder, wanted).items()}
    assert found == {"seed0_m5": {"m": 5}, "seed0_m3": {"m": 3}}
    assert sorted(path.name for path in folder.glob("*.ipynb")) == [
        f"{name}.ipynb" for name in ("seed0_m3", "seed0_m5", "seed1_m3")
    ]
    assert not (tmp_path / "_build" / "smoke" / "running" / "sweeps" / "01-one" / "seed0_m5").exists()

    # One more run: it alone is made, and its chapter again.
    sweep[1]["m"].append(7)
    mine.write_text(yaml.safe_dump({"value": -0.5, "sweep": sweep}, sort_keys=False))
    status, output = build(tmp_path, "--chapter", "01-one", "--cores", "1")
    assert status == 0, output
    assert (tmp_path / "order.txt").read_text().split("\n")[3:-1] == ["m7 seed1 steps4"]
    assert "01-one: running" in output

    # A run of other parameters does not count; nor does one that is not there.
    assert read_runs(folder, {"seed0_m5": {"m": 5, "seed": 0, "steps": 9}, "seed9_m1": {}}) == {}
    with pytest.raises(ValueError, match="different names, got two of m3"):
        expand([{"m": [3], "steps": 4}, {"m": [3], "steps": 5}])
    with pytest.raises(ValueError, match="at least one value"):
        expand([{"m": 3}])

    # A sweep that was cut off: the chapter takes what there is.
    (folder / "seed1_m7.json").unlink()
    executed(tmp_path, "01-one").unlink()
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "workflow" / "Snakefile"),
        "--directory",
        str(tmp_path),
    ]
    command += ["--dry-run", "--nolock", "--cores", "1", "--config", "profile=smoke"]
    target = ["--", "_build/smoke/chapters/01-one/notebook.ipynb"]
    for partial, again in (([], 1), (["partial=true"], 0)):
        finished = subprocess.run(command + partial + target, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr
        assert len(re.findall("rule run_01_one_1:", finished.stdout + finished.stderr)) == again

    # Where the profile has no sweep, the notebook's own counts; an empty one means none.
    assert list(parameters.stages(Paths(tmp_path, "smoke"))) == ["01-one"]
    mine.write_text("value: -0.5\n")
    assert parameters.stages(Paths(tmp_path, "smoke")) == {}
    chapter.write_text(chapter.read_text().replace("sweep: list = []", f"sweep: list = {sweep[:1]}"))
    assert parameters.stages(Paths(tmp_path, "smoke")) == {"01-one": expand(sweep[:1])}
    # What is not to be trained is no job, unless everything is made anew.
    mine.write_text(yaml.safe_dump({"sweep": sweep, "trained": {"seed": 0, "m": 3}}, sort_keys=False))
    assert [list(stage) for stage in parameters.stages(Paths(tmp_path, "smoke"))["01-one"]] == [["seed0_m3"]]
    assert parameters.stages(Paths(tmp_path, "smoke"), read=True) == {"01-one": expand(sweep)}
    monkeypatch.setenv("FRESH", "1")
    assert parameters.stages(Paths(tmp_path, "smoke")) == {"01-one": expand(sweep)}
    mine.write_text(yaml.safe_dump({"sweep": [], "read": sweep}, sort_keys=False))
    assert parameters.stages(Paths(tmp_path, "smoke")) == {"01-one": expand(sweep)}
    monkeypatch.delenv("FRESH")
    assert parameters.stages(Paths(tmp_path, "smoke")) == {}
    with pytest.raises(ValueError, match="parameters of some run"):
        expand(sweep, {"m": 4})
    mine.write_text("value: -0.5\nsweep: []\n")
    assert parameters.stages(Paths(tmp_path, "smoke")) == {}


# Failure and interruption


@pytest.mark.parametrize("trap", ["fail", "die"])
def test_a_failing_cell_or_a_killed_kernel_leaves_the_book_alone(book, trap):
    before = fingerprint(book)
    (book / "trap").write_text(f"{trap} 01-one")
    later(book / "src" / "module.py")
    status, output = build(book)
    assert status == 1, output
    assert "01-one: FAILED" in output
    assert "02-two: done" in output
    assert ("a cell that fails" if trap == "fail" else "the kernel died twice") in output
    assert ("once more" in output) == (trap == "die")
    # What was executed is kept for reading, where the message says.
    partial = book / "_build" / "smoke" / "running" / "01-one" / "notebook.ipynb"
    assert os.path.relpath(partial, book) in output
    nbformat.read(partial, as_version=4)
    assert fingerprint(book) == before

    (book / "trap").unlink()
    status, output = build(book, "--chapter", "01-one", "--chapter", "02-two")
    assert status == 0, output
    assert "01-one: running" in output
    assert "02-two: running" not in output
    gate.check_file(executed(book, "01-one"))


@pytest.mark.heavy
def test_a_kernel_that_dies_once_is_tried_again_and_the_records_say_so(book):
    (book / "trap").write_text("crash once 01-one")
    later(book / "src" / "module.py")
    status, output = build(book, "--chapter", "01-one", "--chapter", "02-two")
    assert status == 0, output
    assert re.search(r"01-one: the kernel died after \d+ s; once more", output)
    assert gate.check_file(executed(book, "01-one")).metadata["retried"] == "the kernel died once"
    stamp = json.loads(executed(book, "01-one").with_name("provenance.json").read_text())
    assert stamp["retried"] == "the kernel died once"
    assert "02-two: the kernel" not in output
    assert "retried" not in gate.check_file(executed(book, "02-two")).metadata


def test_a_kernel_that_does_not_start_is_started_once_more(book, monkeypatch, capsys):
    paths, real, tries = Paths(book, "smoke"), run_chapter.papermill.execute_notebook, []

    def execute(*arguments, **options):
        tries.append(options)
        if len(tries) == 1:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return real(*arguments, **options)

    monkeypatch.setattr(run_chapter.papermill, "execute_notebook", execute)
    monkeypatch.setattr(run_chapter, "_environment", lambda *_: None)
    monkeypatch.setenv("SNN_NTK_OUTPUT", str(paths.running("01-one")))
    run_chapter.run(paths, "01-one")
    assert len(tries) == 2
    assert "01-one: the kernel did not start; once more" in capsys.readouterr().out
    assert "retried" not in gate.check_file(executed(book, "01-one")).metadata


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupting_a_chapter_leaves_the_book_alone(book, how):
    before = fingerprint(book)
    (book / "trap").write_text("wait 01-one")
    (book / "01-one.pid").unlink()
    later(book / "notebooks" / "01-one.md")
    process = start(book)
    wait_for(lambda: (book / "01-one.pid").is_file() and (book / "01-one.pid").read_text())
    if how is signal.SIGINT:
        process.send_signal(how)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 130
        assert "Interrupted" in output
        kernel = int((book / "01-one.pid").read_text())
        wait_for(lambda: not Path(f"/proc/{kernel}").exists())
    else:
        # The harshest case: every process of the build is gone at once.
        engine = children(process.pid)
        for pid in (process.pid, *engine):
            os.kill(pid, how)
        process.communicate(timeout=300)
    assert fingerprint(book) == before
    assert not executed(book, "01-one").exists()

    (book / "trap").unlink()
    status, output = build(book)
    assert status == 0, output
    assert "01-one: done" in output
    assert "02-two: running" not in output


WAITING = """\
import os, pathlib, time

def setup(app):
    trap = pathlib.Path(os.environ["TRAP"])
    if trap.exists():
        trap.with_name("rendering.pid").write_text(str(os.getpid()))
        time.sleep(600)
"""


def test_interrupting_the_rendering_leaves_the_book_alone(book, tmp_path, monkeypatch):
    before = fingerprint(book)
    # An extension that waits, so that the interruption comes while Sphinx runs, however fast or slow the machine is.
    (tmp_path / "waiting.py").write_text(WAITING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TRAP", str(tmp_path / "trap"))
    (tmp_path / "trap").write_text("")
    config = yaml.safe_load((book / "_config.yml").read_text())
    config["sphinx"]["config"]["extensions"].append("waiting")
    later(book / "_config.yml", yaml.safe_dump(config))
    later(book / "book" / "intro.md", "# Introduction\n\nAnother text.\n")
    process = start(book)
    pid = tmp_path / "rendering.pid"
    wait_for(lambda: pid.is_file() and pid.read_text())
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "The published book is as it was" in output
    assert fingerprint(book) == before
    wait_for(lambda: not Path(f"/proc/{pid.read_text()}").exists())

    (tmp_path / "trap").unlink()
    status, output = build(book)
    assert status == 0, output
    assert "running" not in output
    assert "Another text" in (book / "_build" / "smoke" / "html" / "book" / "intro.html").read_text()


def test_an_interruption_says_whether_the_book_was_published_before_it():
    assert "is as it was" in workflow_build._interruption("editions/1", "editions/1")
    assert "is as it was" in workflow_build._interruption(None, None)
    assert "was published before" in workflow_build._interruption("editions/1", "editions/2")


# Continuous integration


def test_workflows_follow_the_schema():
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert [path.name for path in files] == ["book.yml", "ci.yml", "gpu.yml", "release.yml", "versions.yml"]
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        *map(str, files),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_slurm_profile_gives_each_chapter_a_card(built):
    folder = ROOT / "workflow" / "profiles" / "slurm"
    assert yaml.safe_load((folder / "config.yaml").read_text())["executor"] == "slurm"
    # Slurm's plugin lives elsewhere; a dry run shows that Snakemake accepts all the rest.
    command = [sys.executable, "-m", "snakemake", "--profile", str(folder), "--executor", "dryrun"]
    command += ["--snakefile", str(ROOT / "workflow" / "Snakefile"), "--directory", str(built), "--nolock"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert len(re.findall(r"rule chapter_\w+:", finished.stdout + finished.stderr)) == 2
    assert len(re.findall(r"gpu=1", finished.stdout + finished.stderr)) == 2


# Notebooks in the repository


def test_notebooks_are_clean(tmp_path):
    for path in sorted((ROOT / "notebooks").glob("*.md")):
        assert check_notebooks.problems(path) == []
    assert not list((ROOT / "notebooks").glob("*.ipynb")) or "*.ipynb" in (ROOT / ".gitignore").read_text()
    make_project(tmp_path)
    path = tmp_path / "notebooks" / "01-one.md"
    assert check_notebooks.problems(path) == []
    path.write_text(path.read_text().replace("[parameters]", "[other]").replace("name: python3", "name: julia"))
    assert len(check_notebooks.problems(path)) == 2
