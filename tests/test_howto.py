"""The how-to page's code runs, and gives what the page says."""

import doctest
import warnings
from pathlib import Path

PAGE = Path(__file__).parents[1] / "book" / "howto-stochastic-kernel.md"


def test_howto_page_runs():
    text = PAGE.read_text(encoding="utf-8")
    blocks = [part.split("```", 1)[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) >= 6
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runner.run(test)
    assert runner.failures == 0
    assert runner.tries > 15
