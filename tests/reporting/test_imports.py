"""Reporting knows no mathematics: it judges numbers, whatever they are about."""

import ast
from pathlib import Path

import pytest

from snn_ntk import reporting

FOLDER = Path(reporting.__file__).parent


def imported(path: Path) -> set[str]:
    """Modules that a file of `snn_ntk.reporting` imports, inside functions too, relative names resolved."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ["snn_ntk", "reporting"][: 3 - node.level] if node.level else []
            module = ".".join([*package, *([node.module] if node.module else [])])
            # `from snn_ntk import x` imports the module x.
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "snn_ntk" else {module}
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_of_the_package_only_files_and_reporting_itself_are_imported(path):
    ours = {name for name in imported(path) if name.split(".")[0] == "snn_ntk"}
    assert {name for name in ours if name != "snn_ntk._files" and not name.startswith("snn_ntk.reporting")} == set()


def test_the_reader_of_imports_sees_every_form(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "from .. import kernels\nfrom ..ridge import a\ndef f():\n    import snn_ntk.vae\nfrom . import b\n"
    )
    assert imported(path) == {"snn_ntk.kernels", "snn_ntk.ridge", "snn_ntk.vae", "snn_ntk.reporting"}


def test_the_introduction_names_every_file():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert {name for name in files if f"- `{name}`:" not in (reporting.__doc__ or "")} == set()
