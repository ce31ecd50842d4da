"""No product of floats below full precision: every public function's example is run, and every product looked at.

The precision of a product stands in its jaxpr, on every device; only accelerators do anything with it.
"""

from __future__ import annotations

import doctest
import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import snn_ntk

PACKAGE = Path(snn_ntk.__file__).parent
PRODUCTS = (jax.lax.dot_general_p, jax.lax.conv_general_dilated_p)
HIGHEST = (jax.lax.Precision.HIGHEST,) * 2


def _public() -> dict[str, object]:
    """Every name of a folder's table, by where it is."""
    tables = [
        "snn_ntk",
        *(
            f"snn_ntk.{path.parent.relative_to(PACKAGE).as_posix().replace('/', '.')}"
            for path in sorted(PACKAGE.rglob("*/__init__.py"))
        ),
    ]
    found = {}
    for table in tables:
        module = importlib.import_module(table)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if callable(value) and getattr(value, "__module__", "").startswith("snn_ntk"):
                found[f"{value.__module__}.{name}"] = value
    return found


PUBLIC = _public()
EXAMPLES = {
    name: tests
    for name, value in PUBLIC.items()
    if (
        tests := [
            t
            for t in doctest.DocTestFinder(recurse=True).find(
                value, name, globs=vars(sys.modules[value.__module__]).copy()
            )
            if t.examples
        ]
    )
}
# Named tuples, errors and records, which compute nothing, and functions that take no product of floats.
NO_PRODUCT: set[str] = set()


def _caller() -> str:
    """The file of the nearest frame outside JAX."""
    frame = sys._getframe(2)
    while (frame and "/jax/" in frame.f_code.co_filename.replace("\\", "/")) or frame.f_code.co_filename.startswith(
        "<frozen"
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"


@pytest.fixture(scope="module", autouse=True)
def _traced_anew():
    """What was traced before, without being looked at, would not be traced again."""
    jax.clear_caches()


@pytest.fixture
def imprecise(monkeypatch):
    """The products of floats in less than full precision that are traced or computed, by who asks for them."""
    found: list[str] = []
    for primitive in PRODUCTS:

        def bind(*args, _bind=primitive.bind, _name=primitive.name, **params):
            floats = any(jnp.issubdtype(jax.dtypes.result_type(arg), jnp.inexact) for arg in args)
            where = _caller()
            if floats and params["precision"] != HIGHEST and not where.startswith(("<doctest", __file__)):
                found.append(f"{_name} by {where}")
            return _bind(*args, **params)

        monkeypatch.setattr(primitive, "bind", bind)
    return found


def test_every_public_function_is_walked_or_takes_no_product():
    assert set(PUBLIC) - set(EXAMPLES) == NO_PRODUCT


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_have_full_precision(name, imprecise):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    for example in EXAMPLES[name]:
        doctest.DocTestRunner(optionflags=flags).run(example)
    assert not imprecise
