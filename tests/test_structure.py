"""The house: which folder may import which, that nothing goes in a circle, and that every name means one thing."""

from __future__ import annotations

import ast
import graphlib
import importlib
import itertools
import re
from pathlib import Path

import pytest
from paths import Paths
from where import places, proofs, read_statements, sources_of, status

from snn_ntk.reporting import load_claims

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "snn_ntk"
FOUNDATION = {"_files", "_gaussian", "_precision", "_validation"}
BASE = FOUNDATION | {"activations", "_neural_tangents"}
LIBRARY = BASE | {"kernels", "layers"}
SOURCES = {"paper", "ntk", "node_scaling"}
# What stands left may import what stands right, and itself. `reporting` knows no mathematics, and none knows it.
MAY_IMPORT = {
    "_files": set(),
    "_gaussian": set(),
    "_validation": set(),
    "_precision": set(),
    "activations": FOUNDATION,
    "_neural_tangents": FOUNDATION | {"activations"},
    "kernels": BASE,
    "layers": BASE | {"kernels"},
    "regression": LIBRARY,
    "training": BASE,
    "datasets": BASE,
    "vae": BASE | {"training"},
    "disentanglement": BASE,
    "paper": LIBRARY | {"training"},
    "ntk": LIBRARY | {"training"},
    "node_scaling": LIBRARY | {"training", "paper"},
    "experiments": LIBRARY | SOURCES | {"training", "datasets", "vae", "disentanglement"},
    "reporting": {"_files"},
}


def modules() -> dict[str, Path]:
    names = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imported(name: str) -> set[str]:
    """Modules of the package that a module names in its import statements, wherever they stand."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            found |= {
                f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in MODULES else origin for alias in node.names
            }
    return found & set(MODULES)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"snn_ntk"}))
def test_imports_point_one_way(module):
    mine = room(module)
    rooms = {room(other) for other in imported(module)} - {mine}
    assert rooms <= MAY_IMPORT[mine], f"{module} imports {sorted(rooms - MAY_IMPORT[mine])}"


def test_the_top_imports_the_library_only():
    assert {room(other) for other in imported("snn_ntk")} <= LIBRARY


def test_nothing_goes_in_a_circle():
    files = {name for name, path in MODULES.items() if path.name != "__init__.py"}
    order = graphlib.TopologicalSorter({name: imported(name) & files for name in files}).static_order()
    assert set(order) == files


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_exported_name_exists(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is for"
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported), f"{name}.{exported}"


def definitions(name: str) -> list[ast.FunctionDef | ast.ClassDef]:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def test_a_public_name_is_defined_once():
    homes: dict[str, list[str]] = {}
    for name in MODULES:
        for node in definitions(name):
            overloaded = any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list)
            if not node.name.startswith("_") and not overloaded:
                homes.setdefault(node.name, []).append(name)
    assert not {name: where for name, where in homes.items() if len(where) > 1}


def test_no_function_takes_more_than_six_arguments_by_place():
    many = [
        f"{name}.{node.name}"
        for name in MODULES
        for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and len(node.args.posonlyargs + node.args.args) > 6
    ]
    assert not many


def test_a_file_holds_one_idea():
    """Or it says at its top why it is longer, as `reporting/documents.py` does, which the build reads by its path."""
    texts = [path.read_text(encoding="utf-8") for path in MODULES.values()]
    lengths = sorted(len(text.splitlines()) for text in texts if "the build reads it by its path" not in text)
    assert lengths[len(lengths) // 2] <= 150
    assert lengths[-1] <= 350


def test_pages_name_tests_that_exist():
    missing = []
    for page in [*(ROOT / "book").rglob("*.md"), *(ROOT / "notebooks").rglob("*.md"), ROOT / "CONTRIBUTING.md"]:
        for path, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?", page.read_text(encoding="utf-8")):
            file = ROOT / path
            if not file.is_file() or (test and f"def {test}(" not in file.read_text(encoding="utf-8")):
                missing.append(f"{page.name}: {path}{'::' + test if test else ''}")
    assert not missing


def test_source_lines_name_known_works():
    works = set(
        re.findall(r"^@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.MULTILINE)
    )
    unknown = []
    for name in MODULES:
        for node in definitions(name):
            docstring = ast.get_docstring(node) or ""
            keys = sources_of(docstring) if "\nSource: " in docstring else {}
            unknown += [f"{name}.{node.name}: {key}" for key in keys if key not in works | {"book", "lecture"}]
    assert not unknown


def test_every_numbered_statement_of_a_source_is_accounted_for():
    paths = Paths(ROOT)
    statements = read_statements(paths.pages / "statements.yml")
    found = places(paths, load_claims(paths.claims).values())
    assert statements.keys() == found.keys()
    proved, pages = proofs(paths.pages), {path.stem: path.read_text("utf-8") for path in paths.pages.glob("[0-9]*.md")}
    for letter, listed in statements.items():
        named = {item for item in found[letter] if not item.startswith("Section")}
        assert named <= listed.keys(), f"[{letter}]: a docstring or claim names what statements.yml lacks"
        for item, statement in listed.items():
            assert status(statement, found[letter].get(item)), f"[{letter}] {item}: skipped in silence"
            assert set(statement) <= {"says", "proved", "quoted", "outside"}
            assert set(statement.get("proved", ())) <= proved, f"[{letter}] {item}: no proof follows its label"
            assert statement.get("quoted", "01-ntk-primer") in pages


def test_every_numbered_statement_of_the_paper_leads_somewhere():
    paths = Paths(ROOT)
    found = places(paths, load_claims(paths.claims).values())["P"]
    for item in ("Lemma 1", "Lemma 2", "Lemma 3", "Lemma 4", "Lemma 5", "Theorem 1", "Theorem 2", "Eq. 4", "Eq. 12"):
        place = found[item]
        assert place.functions, item
        assert place.tests, item
        assert place.pages, item
        assert place.notebooks, item


def test_docstrings_have_one_style():
    wrong = []
    for name in MODULES:
        for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            lines = (ast.get_docstring(node) or "").split("\n")
            if "Args:" not in lines:
                continue
            start = lines.index("Args:")
            arguments = [line for line in itertools.takewhile(lambda line: line.startswith(" "), lines[start + 1 :])]
            if start - 1 > 16 or not re.match(r"    \S", arguments[0]):
                wrong.append(f"{name}.{node.name}: {start - 1} lines before Args, or arguments not four spaces in")
            sources = [index for index, line in enumerate(lines) if re.match(r"Sources?:", line)]
            if len(sources) > 1 or any(not lines[index].startswith("Source: ") for index in sources):
                wrong.append(f"{name}.{node.name}: expected one line `Source: key, item`")
    assert not wrong
