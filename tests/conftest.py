"""Shared by all tests: types are enforced at run time, and double precision is a fixture, never a global state."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import hypothesis
import jax
import jax.experimental
import jaxtyping
import pytest
from jaxlib import xla_client

# The build's scripts are not part of the package; the type checker below is imported by name.
sys.path[:0] = [str(Path(__file__).parents[1] / "workflow"), str(Path(__file__).parent)]

from compilation import quick_flags  # noqa: E402
from project import book, built  # noqa: E402, F401  (fixtures)

# From here on, importing the package checks every annotation at every call; users do not pay for that.
jaxtyping.install_import_hook("snn_ntk", "typechecker.check")

# Tests compile far longer than they compute. XLA reads its flags once, here: what a test starts compiles as it would.
with pytest.MonkeyPatch.context() as environment:
    environment.setenv("XLA_FLAGS", quick_flags())
    xla_client.CompileOptions()

# JAX's programs live as long as the process: to look through them for garbage at the usual rate takes a tenth of the time.
gc.set_threshold(200_000, 50, 1000)

# How long an example takes depends on what else a machine does.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

# JAX 0.4.38, the oldest supported, has it in jax.experimental only.
if not hasattr(jax, "enable_x64"):
    setattr(jax, "enable_x64", jax.experimental.enable_x64)  # noqa: B010


@pytest.fixture
def x64():
    """Double precision for the duration of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked():
    """The package as users have it: annotations are not enforced, so its own checks are the ones that answer."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """The folder in which official data files are looked for, with nothing in it: no file of this machine is found."""
    monkeypatch.setenv("SNN_NTK_DATA", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path
