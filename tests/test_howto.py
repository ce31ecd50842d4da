"""The how-to pages' code runs, and gives what the pages say."""

import doctest
import importlib.util
import re
import warnings
from pathlib import Path

import jax
import pytest

PAGES = sorted((Path(__file__).parents[1] / "book").glob("howto-*.md"))
FENCE = re.compile(r"^```python( \w+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.heavy
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_howto_page_runs(page):
    text = page.read_text(encoding="utf-8")
    flax = importlib.util.find_spec("flax") is not None
    blocks = [block for tag, block in FENCE.findall(text) if not tag or (tag == " flax" and flax)]
    assert blocks
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            runner.run(test)
        finally:
            jax.config.update("jax_enable_x64", False)  # which a page may set
    assert runner.failures == 0
    assert runner.tries > 5
