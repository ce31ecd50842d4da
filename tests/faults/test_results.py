"""Committed results that are damaged: one line that names the file, what was expected and what came, before anything runs."""

from __future__ import annotations

import copy
import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from collect import collect, collect_packed
from project import ROOT, make_project, prepare, spoil

from snn_ntk.reporting import committed_runs, load_published, load_results
from snn_ntk.reporting.documents import read_results

SERIES = {
    "runs": {"m1": {"parameters": {"m": 1, "data": "a"}, "result": {"y": [0.5, 0.25], "end": 0.25, "diverged": False}}}
}
PROVENANCE = {"groups": [{"device": "cpu", "versions": {"jax": "0.0"}, "runs": ["m1"]}]}
PUBLISHED = {"source": "Someone, Figure 1", "figures": {"one": {"a": {"x": [1, 2], "y": [0.5, 0.25]}}}}
WHOLE = {"series": SERIES, "provenance": PROVENANCE, "published": PUBLISHED}


@pytest.fixture
def root(tmp_path) -> Path:
    make_project(tmp_path)
    for path in (place(tmp_path, name) for name in WHOLE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(WHOLE[path.stem]))
    return tmp_path


def place(root: Path, name: str) -> Path:
    return root / "results" / ("published" if name == "published" else "01-one") / f"{name}.json"


def changed(name: str, change: Callable[[Any], object]) -> str:
    content = copy.deepcopy(WHOLE[name])
    change(content)
    return json.dumps(content)


def result(content: Any) -> Any:
    return content["runs"]["m1"]["result"]


def curve(content: Any) -> Any:
    return content["figures"]["one"]["a"]


DAMAGE = [
    *((name, "", "expected JSON, got a damaged file") for name in WHOLE),
    *((name, json.dumps(WHOLE[name])[:-7], "expected JSON, got a damaged file") for name in WHOLE),
    *((name, b"\xff\xfe", "expected text in UTF-8, got another byte at position 0") for name in WHOLE),
    *((name, None, "expected a file, got a folder") for name in WHOLE),
    *((name, "null", r"expected a mapping with .*, got None") for name in WHOLE),
    *((name, "[1]", r"expected a mapping with .*, got \[1\]") for name in WHOLE),
    *(
        (name, changed(name, lambda c: c.update(colour=1)), r"expected keys out of .*, got \['colour'\]")
        for name in WHOLE
    ),
    *((name, changed(name, lambda c: c.popitem()), "expected the keys .*, got none of") for name in WHOLE),
    ("series", changed("series", lambda c: c["runs"].update(m1=None)), "runs, m1: expected a run, got None"),
    ("series", changed("series", lambda c: c["runs"]["m1"].pop("result")), r"got none of \['result'\]"),
    ("series", changed("series", lambda c: c["runs"]["m1"].update(seed=1)), r"m1: .* got \['seed'\]"),
    ("series", changed("series", lambda c: result(c).update(end="0.25")), "end: expected a finite number, got '0.25'"),
    ("series", changed("series", lambda c: result(c).update(end=None)), "end: expected a finite number, got None"),
    (
        "series",
        changed("series", lambda c: result(c).update(end=float("nan"))),
        "end: expected a finite number, got nan",
    ),
    ("series", changed("series", lambda c: result(c).update(end=1)).replace('"end": 1', '"end": 1e999'), "got inf"),
    ("series", changed("series", lambda c: result(c)["y"].append("a")), r"y: expected numbers, got 'a' among them"),
    ("series", changed("series", lambda c: result(c)["y"].append(None)), r"y: expected numbers, got None among them"),
    ("series", changed("series", lambda c: c["runs"]["m1"]["parameters"].update(m="1")), "got '1'"),
    ("provenance", changed("provenance", lambda c: c["groups"][0].update(runs=["m2"])), r"got others: \['m1', 'm2'\]"),
    ("provenance", changed("provenance", lambda c: c.update(groups=[])), r"got others: \['m1'\]"),
    ("provenance", changed("provenance", lambda c: c["groups"][0].update(versions={})), r"got none of \['jax'\]"),
    ("provenance", changed("provenance", lambda c: c["groups"][0].update(device=1)), "device: expected a text, got 1"),
    ("published", changed("published", lambda c: c.update(source="")), "source: expected a text, got ''"),
    ("published", changed("published", lambda c: curve(c).update(y=[1, "a"])), r"y\[1\]: expected a number, got 'a'"),
    ("published", changed("published", lambda c: curve(c).update(y=[1])), "expected as many y as x, got 2 and 1"),
    ("published", changed("published", lambda c: curve(c).update(y=[1, float("nan")])), r"y\[1\]: .* got nan"),
    ("published", changed("published", lambda c: curve(c).pop("x")), r"one, a: .* got none of \['x'\]"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGE)
def test_damaged_results_stop_the_build_before_anything_runs(root, name, content, message):
    prepare(root)
    spoil(place(root, name), content)
    with pytest.raises(ValueError, match=message) as caught:
        prepare(root)
    assert str(caught.value).startswith(str(place(root, name)))
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ValueError, match=re.escape(str(caught.value))):  # and who reads them by himself
        load_published("published", root=root) if name == "published" else load_results("01-one", root=root)


@pytest.mark.parametrize("name", ["series", "provenance"])
def test_one_file_without_the_other_is_named(root, name):
    place(root, name).unlink()
    with pytest.raises(ValueError, match=rf"{name}\.json: expected a file, got none"):
        prepare(root)
    with pytest.raises(ValueError, match=rf"{name}\.json: expected a file, got none"):
        committed_runs("01-one", root=root)


def test_a_file_in_the_place_of_the_folder_is_named(root):
    for name in ("series", "provenance"):
        place(root, name).unlink()
    (root / "results" / "01-one").rmdir()
    prepare(root)  # no runs are committed
    (root / "results" / "01-one").write_text("")
    with pytest.raises(ValueError, match="01-one: expected a folder, got a file"):
        prepare(root)


def test_the_committed_results_are_whole():
    folders = [path.parent for path in sorted((ROOT / "results").glob("*/series.json"))]
    chapters = {path.stem for path in (ROOT / "notebooks").glob("*.md")}
    assert folders
    assert {folder.name for folder in folders} <= chapters
    assert all(read_results(folder) for folder in folders)


# Committing


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON, got a damaged file"),
        (b"\xff", "expected text in UTF-8"),
        (None, "expected a file, got a folder"),
        ("[]", r"expected a run, got \[\]"),
        ('{"parameters": {}, "result": {}}', r"got none of \['provenance'\]"),
        ('{"parameters": {}, "result": 5, "provenance": {}}', "result: expected a mapping, got 5"),
    ],
)
@pytest.mark.parametrize("where", ["sweeps/01-one/m1.json", "chapters/01-one/runs/m1.json"])
def test_a_damaged_run_is_not_committed(root, where, content, message):
    (root / "notebooks" / "sweeps").mkdir()
    (root / "notebooks" / "sweeps" / "01-one.md").write_text("")
    (root / "notebooks" / "01-one.md").write_text(
        "```{code-cell}\n:tags: [parameters]\n\nsweep: list = [{'m': [1]}]\n```\n"
    )
    (root / "profiles" / "smoke" / "01-one.yml").unlink()
    path = root / "_build" / "smoke" / where
    path.parent.mkdir(parents=True)
    path.write_text("")
    spoil(path, content)
    before = place(root, "series").read_text()
    with pytest.raises(ValueError, match=message) as caught:
        collect(root, "smoke", "01-one")
    assert str(caught.value).startswith(str(path))
    assert place(root, "series").read_text() == before


def pack(path: Path, **files: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "expected .* to be what a campaign packed"),
        ({"manifest.json": "{"}, "expected .* to be what a campaign packed"),
        ({"manifest.json": "[]"}, r"manifest.json: expected a mapping with the scale, got \[\]"),
        ({"manifest.json": '{"scale": "1"}'}, "scale: expected a number, got '1'"),
        ({"manifest.json": '{"scale": 1}'}, "expected runs in .*, got none"),
        ({"manifest.json": '{"scale": 1}', "sweeps/01-one/m1.json": "[]"}, r"m1.json: expected a run, got \[\]"),
    ],
)
def test_a_damaged_campaign_is_not_merged(root, files, message):
    with pytest.raises(ValueError, match=message):
        collect_packed(root, pack(root / "campaign.tar.gz", **files))
    whole = pack(root / "whole.tar.gz", **{"manifest.json": " " * 10_000}).read_bytes()
    (root / "campaign.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"expected .* to be what a campaign packed"):
        collect_packed(root, root / "campaign.tar.gz")


def test_who_commits_sees_one_line(root):
    spoil(place(root, "series"), "{")
    run = {"parameters": {"m": 2}, "result": {}, "provenance": PROVENANCE["groups"][0]}
    path = root / "_build" / "smoke" / "chapters" / "01-one" / "runs" / "m2.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(run))
    command = [
        sys.executable,
        str(ROOT / "workflow" / "collect.py"),
        "--root",
        str(root),
        "--profile",
        "smoke",
        "01-one",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{place(root, 'series')}: expected JSON, got a damaged file")
    assert len(done.stderr.splitlines()) == 1


# Claims


def test_all_bad_claims_are_refused_in_one_message_before_anything_runs(root):
    good = '- {id: %s, source: "[P]", statement: s, accept: [0, 1], near_miss: 2, why: w}\n'
    bad = {
        "accept: [0, 1]": [
            "accept: [0, 1, 2]",
            "accept: text",
            "accept: [1, 0]",
            "accept: [0, .nan]",
            "accept: [0, x]",
        ],
        "near_miss: 2": ["near_miss: 0.5", "near_miss: .inf", "near_miss: 2, expect: {huge: reproduced}"],
        "why: w": ["why: w, expect: {smoke: fine}", "why: w, colour: red", "why: 5"],
    }
    changes = [(was, becomes) for was, all_of_them in bad.items() for becomes in all_of_them]
    text = "".join((good % f"one.{k}").replace(*change) for k, change in enumerate(changes))
    (root / "book" / "claims" / "01-one.yml").write_text(text)
    (root / "book" / "claims" / "02-two.yml").write_text("- 5\n")
    with pytest.raises(ValueError, match="expected") as caught:
        prepare(root)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(changes) + 1
    assert all(f"01-one.yml, claim one.{k}" in line for k, line in enumerate(lines[:-1]))
    assert lines[0].endswith("accept: expected [low, high], got [0, 1, 2]")
    assert lines[-1].endswith("02-two.yml[0]: expected a claim: a mapping with an id, got 5")


def test_corrections_of_nothing_are_refused_before_anything_runs(root):
    path = root / "book" / "claims" / "01-one.yml"
    path.write_text(path.read_text() + "  corrected_by: one.gone\n")
    with pytest.raises(ValueError, match=r"one\.rate: expected corrected_by to name another, got 'one\.gone'"):
        prepare(root)
