"""The flags with which smoke and the tests compile."""

import re

import compilation
from jaxlib import xla_client
from project import ROOT


def test_xla_has_read_the_flags_of_the_release_in_use():
    level = int(compilation.LOCKED_RELEASE in compilation.quick_flags())
    assert xla_client.CompileOptions().executable_build_options.debug_options.xla_backend_optimization_level == level


def test_another_release_gets_flags_that_all_know_and_the_readers_come_last(monkeypatch):
    monkeypatch.setattr(compilation.metadata, "version", lambda _: "0.0")
    monkeypatch.setenv("XLA_FLAGS", "--xla_of_the_reader=1")
    assert compilation.quick_flags() == f"{compilation.ANY_RELEASE} --xla_of_the_reader=1"


def test_what_computes_for_long_is_compiled_better(monkeypatch):
    (locked,) = re.findall(r"^jaxlib==(.*)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    monkeypatch.setattr(compilation.metadata, "version", lambda _: locked)
    quick, better = (compilation.quick_flags(name).split()[0] for name in ("01-ntk-primer", compilation.COMPUTING[0]))
    assert (quick, better) == ("--xla_backend_optimization_level=0", "--xla_backend_optimization_level=1")
    # Whoever renames one of these says so here.
    assert set(compilation.COMPUTING) <= {path.stem for path in (ROOT / "notebooks").glob("*.md")}
