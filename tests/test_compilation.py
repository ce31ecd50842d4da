"""The flags with which smoke and the tests compile."""

import compilation
from jaxlib import xla_client


def test_xla_has_read_the_flags_of_the_release_in_use():
    level = 1 if compilation.quick_flags().startswith(compilation.LOCKED_RELEASE) else 0
    assert xla_client.CompileOptions().executable_build_options.debug_options.xla_backend_optimization_level == level


def test_another_release_gets_flags_that_all_know_and_the_readers_come_last(monkeypatch):
    monkeypatch.setattr(compilation.metadata, "version", lambda _: "0.0")
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_the_reader=1")
    assert compilation.quick_flags() == f"{compilation.ANY_RELEASE} --xla_of_the_reader=1"
