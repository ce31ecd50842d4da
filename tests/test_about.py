"""The pages about the book."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from about import report_page

ROOT = Path(__file__).parents[1]
REPORT = (ROOT / "book" / "report.md").read_text(encoding="utf-8")
ITEMS = [line for line in REPORT.splitlines() if line.startswith("- ")]


def lists(text: str) -> dict[str, list[str]]:
    """The items under each bold heading."""
    parts = re.split(r"^\*\*(.+?)\*\*", text, flags=re.MULTILINE)
    return {
        head: [line for line in body.splitlines() if line.startswith("- ")]
        for head, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def committed(profile: str) -> dict[str, str]:
    claims = [claim for path in (ROOT / "book" / "claims").glob("*.yml") for claim in yaml.safe_load(path.read_text())]
    return {claim["id"]: claim.get("expect", {}).get(profile, "inconclusive") for claim in claims}


def test_at_laptop_the_report_is_as_it_is_written():
    assert report_page(REPORT, committed("laptop"), "laptop") == REPORT


@pytest.mark.parametrize("verdict", ["inconclusive", "not run", "not reproduced"])
def test_what_a_profile_does_not_show_is_in_neither_list(verdict):
    page = report_page(REPORT, committed("laptop") | {"lemma1.d": verdict}, "smoke")
    found = lists(page)
    (item,) = [line for line in ITEMS if 'r["lemma1.d"]' in line]
    assert found["What the profile smoke does not show."] == [item]
    assert item not in found["What holds."] + found["What does not."]
    assert sorted(line for line in page.splitlines() if line.startswith("- ")) == sorted(ITEMS)
