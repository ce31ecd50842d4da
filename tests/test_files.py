"""The one atomic write: old content or new, nothing left behind."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from snn_ntk import _files


def test_content_replaces_content_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "x.json"
    _files.write_bytes(path, b"old")
    _files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path):
    path = tmp_path / "x"
    _files.write_bytes(path, b"old")

    def interrupted():
        with _files.replacing(path) as file:
            file.write(b"half of")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "x"
    with _files.replacing(path) as first, _files.replacing(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_come_back_and_objects_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    _files.write_arrays(path, {"a": np.arange(3)})
    with np.load(path) as found:
        np.testing.assert_array_equal(found["a"], [0, 1, 2])
    with pytest.raises(ValueError, match="allow_pickle=False"):
        _files.write_arrays(path, {"a": np.array([object()])})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("file", ["_files.py", "reporting/sweeps.py"])
def test_what_the_build_reads_by_its_path_imports_the_standard_library_only(file):
    tree = ast.parse((Path(_files.__file__).parent / file).read_text(encoding="utf-8"))
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert names
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
