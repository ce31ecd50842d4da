"""Shared by the tests of data sets: no file of this machine is found, only what a test writes."""

import pytest


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """The folder in which official files are looked for, with nothing in it."""
    monkeypatch.setenv("SNN_NTK_DATA", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path
