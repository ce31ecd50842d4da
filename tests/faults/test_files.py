"""Files that are not what they should be: one line each, which names the file, what was expected and what came."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import gate
import nbformat
import pytest
from parameters import check_parameters, read_run
from project import ROOT, make_project, prepare, spoil

from snn_ntk.reporting import load_claims, load_records


@pytest.fixture
def root(tmp_path) -> Path:
    make_project(tmp_path)
    return tmp_path


CLAIM = '- {id: one.rate, source: "[P]", statement: s, accept: [0, 1], near_miss: 2, why: w}\n'
PROFILE, CLAIMS, NOTEBOOK = "profiles/smoke/01-one.yml", "book/claims/01-one.yml", "notebooks/01-one.md"
CELL = "```{code-cell}\n:tags: [parameters]\n\n%s\n```\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (PROFILE, "value: [1", "expected YAML, got in line"),
        (PROFILE, "value:\n\t- 1", "expected YAML, got in line 2: found character"),
        (PROFILE, "- 1\n", r"expected a mapping of parameters, got \[1\]"),
        (PROFILE, "5\n", "expected a mapping of parameters, got 5"),
        (PROFILE, "1: 2\n", "expected type string, got 1"),
        (PROFILE, "value: -0.5\nvalue: -0.4\n", "the key 'value' twice"),
        (PROFILE, "value: [1.0]\n", r"profile smoke, 01-one, value: expected a number, got \[1.0\]"),
        (PROFILE, "value: null\n", "value: expected a number, got None"),
        (PROFILE, "value: .nan\n", "value: expected a finite number, got nan"),
        (PROFILE, "value: true\n", "value: expected a number, got True"),
        (PROFILE, "value: 1e-3\n", r"got '1e-3' \(YAML reads"),
        (PROFILE, "widths: 3\n", "widths: expected a list, got 3"),
        (PROFILE, "widths: [1, a]\n", r"widths\[1\]: expected a number, got 'a'"),
        (PROFILE, b"value: \xff\n", "expected text in UTF-8, got another byte at position 7"),
        (PROFILE, "value: !!python/object/apply:os.getcwd []\n", "expected YAML, .*python/object"),
        (PROFILE, "value: \0", "expected YAML, got"),
        (PROFILE, None, "expected a file, got a folder"),
        (CLAIMS, "a: 1\n", "expected a list of claims, got {'a': 1}"),
        (CLAIMS, "text\n", "expected a list of claims, got 'text'"),
        (CLAIMS, "", "expected a list of claims, got None"),
        (CLAIMS, "- text\n", r"\[0\]: expected a claim: a mapping with an id, got 'text'"),
        (CLAIMS, "- {}\n", "claim without id: expected the keys"),
        (CLAIMS, CLAIM * 2, "claim one.rate: expected unique ids"),
        (CLAIMS, CLAIM.replace("[0, 1]", "[0, 1, 2]"), r"one.rate, accept: expected \[low, high\], got \[0, 1, 2\]"),
        (CLAIMS, CLAIM.replace("[0, 1]", "[0, a]"), r"accept\[1\]: expected a number, or null for no bound, got 'a'"),
        (CLAIMS, CLAIM.replace("statement: s", "statement: null"), "statement: expected a text, got None"),
        (CLAIMS, CLAIM.replace("near_miss: 2", "near_miss: true"), "near_miss: expected a number, got True"),
        (CLAIMS, CLAIM.replace("why: w", "why: w, why: w"), "the key 'why' twice"),
        (CLAIMS, b"\xff", "expected text in UTF-8"),
        (NOTEBOOK, b"\xff", "01-one.md: expected text in UTF-8"),
        (NOTEBOOK, "", "01-one.md: expected one cell tagged `parameters`, got 0"),
        (NOTEBOOK, CELL % "value: float = = 1", "01-one.md: expected Python in the cell tagged `parameters`, got"),
        (NOTEBOOK, "---\njupytext: [\n---\n" + CELL % "value: float = 1", "01-one.md, header: expected YAML, got"),
        (NOTEBOOK, None, "expected a file, got a folder"),
        ("_toc.yml", "root: [", "_toc.yml: expected YAML"),
        ("_toc.yml", "[]", r"_toc.yml: expected a table of contents, got \[\]"),
        ("_toc.yml", "format: jb-book\nroot: book/intro\n", r"_toc.yml: expected the keys .* got none of \['parts'\]"),
        (
            "_toc.yml",
            "format: jb-book\nroot: book/intro\nparts: [{caption: a, chapters: 5}]\n",
            "a list of entries, got 5",
        ),
        ("_toc.yml", "format: jb-book\nroot: book/intro\nparts: [{caption: a, chapters: [{fle: x}]}]\n", "'fle'"),
        ("_config.yml", "text", "_config.yml: expected a mapping of settings, got 'text'"),
        ("_config.yml", "title: a\ntitle: b\n", "_config.yml: expected YAML, got in line 1: the key 'title' twice"),
        ("_config.yml", "title: a\nsphinx: 5\n", "_config.yml, sphinx: expected a mapping of settings, got 5"),
        ("book/references.bib", b"\xff", "references.bib: expected text in UTF-8"),
        ("book/references.bib", None, "references.bib: expected a file, got a folder"),
        ("book/01-one.md", "No title.\n", "01-one.md: expected a page with a title"),
        ("book/01-one.md", b"# \xff", "01-one.md: expected text in UTF-8"),
    ],
)
def test_a_spoiled_source_stops_the_build_before_anything_runs(root, name, content, message):
    spoil(root / name, content)
    with pytest.raises(ValueError, match=message) as caught:
        prepare(root)
    assert len(str(caught.value).splitlines()) == 1
    assert Path(name).stem in str(caught.value)


def test_what_only_the_claims_know_is_refused(root):
    for change, message in (
        (CLAIM.replace("why: w", "why: w, corrected_by: one.rate"), "corrected_by to name another, got 'one.rate'"),
        (CLAIM.replace("near_miss: 2", "near_miss: 0.5"), "near_miss outside"),
        (CLAIM.replace("[0, 1]", "[.nan, 1]"), "low, high"),
    ):
        spoil(root / CLAIMS, change)
        with pytest.raises(ValueError, match=message):
            load_claims(root / "book" / "claims")


@pytest.mark.parametrize("name", ["it's", 'a"b', "a;touch x", "$(touch x)", "a b", "-x", "ü"])
def test_a_notebook_of_an_odd_name_is_refused(root, name):
    (root / "notebooks" / f"{name}.md").write_text("")
    with pytest.raises(ValueError, match="expected names of letters"):
        prepare(root)


@pytest.mark.parametrize("cores", ["0", "many", "", "-1", "1.5", "99999", "$(touch x)"])
def test_cores_are_a_number(root, cores):
    with pytest.raises(ValueError, match="expected a number of cores"):
        prepare(root, cores=cores)


def test_chapters_profiles_and_fresh_are_checked_by_name(root, monkeypatch):
    with pytest.raises(ValueError, match=r"got .*01-one;touch x"):
        prepare(root, chapter=("01-one;touch x",))
    with pytest.raises(ValueError, match="expected a profile"):
        prepare(root, profile="$(touch x)")
    monkeypatch.setenv("FRESH", "maybe")
    with pytest.raises(ValueError, match="FRESH to be 1 or nothing, got 'maybe'"):
        prepare(root)


@pytest.mark.parametrize("variable", ["PROFILE", "CORES", "CHAPTER"])
@pytest.mark.parametrize(
    "text", ["$$(touch x)", "$(shell touch x)", "`touch x`", "a;touch x", "'; touch x; '", '"; touch x; "']
)
@pytest.mark.parametrize("as_argument", [True, False])
def test_make_passes_on_what_is_typed_as_text(tmp_path, variable, text, as_argument):
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (environment / "bin" / "python").chmod(0o755)
    for name in ("requirements.txt", "pyproject.toml", "environment/.ready"):
        (tmp_path / name).write_text("")
    command = ["make", "-f", str(ROOT / "Makefile"), "chapter", f"VENV={environment}", "CHAPTER=01-one"]
    given = [f"{variable}={text}"] if as_argument else []
    inherited = {} if as_argument else {variable: text}
    if variable == "CHAPTER":
        command.remove("CHAPTER=01-one")
    finished = subprocess.run(
        command + given, cwd=tmp_path, env=os.environ | inherited, capture_output=True, text=True, check=False
    )
    assert f"--{variable.lower()}={text}" in finished.stdout.splitlines(), finished.stderr
    assert not (tmp_path / "x").exists()


# What a build left


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "5", '{"a": 1}', '{"cells": 5, "nbformat": 4}', '{"nbformat": "x"}', b"\xff", None]
)
def test_an_executed_notebook_that_is_damaged_is_named(tmp_path, content):
    path = tmp_path / "notebook.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    spoil(path, content)
    with pytest.raises(gate.UnfinishedNotebook, match="01-one: ") as caught:
        gate.check_file(path, "01-one")
    assert len(str(caught.value).splitlines()) == 1


RECORD = {"id": "a", "value": 1.0, "interval": [0.0, 2.0], "seeds": 3}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON, got a damaged file"),
        (json.dumps([RECORD])[:-5], "expected JSON, got a damaged file"),
        ("{}", "expected a list of records, got {}"),
        (json.dumps([RECORD | {"colour": 1}]), r"got \['colour'\]"),
        (json.dumps([RECORD | {"interval": None}]), r"interval: expected \[low, high\], got None"),
        (json.dumps([RECORD | {"value": "1"}]), "value: expected a number, got '1'"),
        (json.dumps([RECORD | {"value": float("nan")}]), "expected finite numbers"),
        (json.dumps([RECORD | {"seeds": 2.5}]), "seeds: expected a whole number, got 2.5"),
        (json.dumps([{"id": "a"}]), r"got none of \['value', 'interval', 'seeds'\]"),
        ("[" * 100_000, "claims.json: expected"),
        (b"\xff", "expected text in UTF-8"),
        (None, "expected a file, got a folder"),
    ],
)
def test_records_that_are_damaged_are_named(tmp_path, content, message):
    path = tmp_path / "claims.json"
    path.write_text(json.dumps([RECORD]))
    assert load_records(path)[0].seeds == 3
    spoil(path, content)
    with pytest.raises(ValueError, match=message) as caught:
        load_records(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"profile": "smoke"}', b"\xff", None])
def test_a_damaged_account_of_the_book_is_made_anew(root, content):
    paths = prepare(root)
    (paths.editions / "1").mkdir(parents=True)
    (paths.editions / "1" / "index.html").write_text("")
    paths.html.symlink_to("editions/1")
    whole = {"profile": "smoke", "chapters": [], "claims": "none", "unexpected": [], "near_edge": []}
    paths.outcome.write_text(json.dumps(whole))
    prepare(root)
    assert paths.outcome.is_file()
    spoil(paths.outcome, content)
    prepare(root)
    assert not paths.outcome.exists()


@pytest.mark.parametrize(
    "name", ["_build", "_build/smoke", "_build/smoke/editions", "_build/smoke/running", ".snakemake"]
)
@pytest.mark.parametrize("link", [False, True])
def test_something_else_where_a_folder_belongs_is_named(root, name, link):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere") if link else path.write_text("")
    with pytest.raises(ValueError, match=f"{path.name}: expected a folder, got something else"):
        prepare(root)


@pytest.mark.parametrize("link", [False, True])
def test_what_lies_about_is_cleared(root, link):
    paths = prepare(root)
    paths.editions.mkdir()
    (paths.editions / "1").mkdir()
    paths.html.symlink_to("editions/1")
    stray = [
        paths.editions / ".DS_Store",
        paths.editions / "2",
        paths.rendering,
        paths.running("01-one"),
        paths.running("01-one", "no-run"),
        paths.chapter("01-one") / ".claims.json.0.part",
        paths.out / ".html.99",
        paths.temporary / "tmpabc.json",
    ]
    for path in stray:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("nowhere") if link else path.write_text("")
    prepare(root)
    assert not [path for path in stray if path.exists() or path.is_symlink()]
    assert (paths.html.resolve()) == paths.editions / "1"


def test_a_damaged_block_of_a_run_is_named(root):
    paths = prepare(root)
    path = paths.block("01-one", "m5")
    path.parent.mkdir(parents=True)
    path.write_text("m: [")
    with pytest.raises(ValueError, match=r"m5\.yml: expected YAML"):
        read_run(paths, "01-one", "m5")


def test_a_cache_that_cannot_be_written_to_is_named(root, monkeypatch):
    (root / "file").write_text("")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(root / "file"))
    with pytest.raises(ValueError, match="expected a folder that can be written to, got one that cannot; set HOME"):
        prepare(root)


def test_kinds_of_parameters_follow_the_defaults():
    known = {"a": 3, "b": [1.0, 2], "c": "x", "d": None, "e": {}, "f": True, "g": []}
    check_parameters({"a": 0.5, "b": [], "d": [1], "e": {"k": 1}, "f": False, "g": ["x", 1]}, known, "x")
    for name, value in (("a", "b"), ("b", {}), ("c", 1), ("e", []), ("f", 1), ("g", "x"), ("b", [[1]])):
        with pytest.raises(ValueError, match=f"x, {name}"):
            check_parameters({name: value}, known, "x")
