"""What people read: verdicts beside the committed ones, the scorecard, the build's report."""

import re
from dataclasses import replace

import pytest

from snn_ntk.reporting import Claim, Record, report, scorecard, substitutions, summary
from snn_ntk.reporting.scorecard import verdict_texts

SLOPE = Claim("slope", "c", "[P]", "slope −1/2", (-0.6, -0.4), -0.35, "", expect={"laptop": "reproduced"})
OTHER = Claim("other", "d", "[J]", "t", (0, 1), 2, "")
CLAIMS = {"slope": SLOPE, "other": OTHER}
AS_COMMITTED = Record("slope", -0.5, (-0.54, -0.46), seeds=5)
OTHERWISE = replace(AS_COMMITTED, interval=(-0.58, -0.42))


def test_pages_are_made_from_records():
    assert summary([AS_COMMITTED], CLAIMS, "laptop") == "2 claims: 1 reproduced, 1 not run"
    page = scorecard([AS_COMMITTED], CLAIMS, "laptop")
    assert "-0.5, [-0.54, -0.46]" in page
    assert "**not run**" in page
    assert "otherwise" not in page
    assert "near an edge" not in page
    prose = substitutions([AS_COMMITTED], CLAIMS, "laptop")
    assert prose["slope"]["value"] == "-0.5"
    assert prose["other"]["value"] == "*not run*"


def test_what_came_out_otherwise_is_marked_everywhere():
    marked = "expected reproduced, here inconclusive"
    assert verdict_texts([OTHERWISE], CLAIMS, "laptop") == {"slope": marked, "other": "not run"}
    assert substitutions([OTHERWISE], CLAIMS, "laptop")["slope"]["verdict"] == marked
    assert summary([OTHERWISE], CLAIMS, "laptop").endswith("1 inconclusive, 1 not run; 1 otherwise than committed")
    page = scorecard([OTHERWISE], CLAIMS, "laptop")
    box, rows = page.split("## c")
    assert "{admonition} Claims that came out otherwise than committed (1)" in box
    assert "- `slope`: expected **reproduced**, here **inconclusive**; measured -0.5, [-0.58, -0.42]" in box
    assert f"  - **{marked}**" in rows
    assert report([OTHERWISE], CLAIMS, "laptop")["unexpected"] == [
        {
            "claim": "slope",
            "expected": "reproduced",
            "here": "inconclusive",
            "measured": "-0.5, [-0.58, -0.42]",
            "accepted": "[-0.6, -0.4]",
        }
    ]


def test_a_corrected_claim_says_that_it_fails_as_printed():
    printed = replace(SLOPE, id="printed", corrected_by="slope", expect={})
    records = [AS_COMMITTED, replace(AS_COMMITTED, id="printed", value=-1.0, interval=(-1.1, -0.9))]
    claims = {"printed": printed, **CLAIMS}
    words = "fails as printed; a correction holds"
    assert verdict_texts(records, claims, "laptop")["printed"] == words
    assert summary(records, claims, "laptop") == f"3 claims: 1 reproduced, 1 {words}, 1 not run"
    assert f"**{words}** → `slope`" in scorecard(records, claims, "laptop")


def test_the_scorecard_counts_by_who_says_it():
    page = scorecard([AS_COMMITTED], CLAIMS, "laptop")
    assert "| [P] Wang & Huang, the paper | 1 | – | – | – | – |" in page
    assert "| [J] Jacot, Gabriel & Hongler | – | – | – | – | 1 |" in page
    assert "[A]" not in page.split("who says it")[1].split("chapter")[0]


def test_what_is_not_committed_for_the_profile_is_not_marked():
    assert verdict_texts([OTHERWISE], CLAIMS, "smoke")["slope"] == "inconclusive"
    assert report([OTHERWISE], CLAIMS, "smoke")["unexpected"] == []


@pytest.mark.parametrize(("low", "listed"), [(-0.545, True), (-0.535, False)])
def test_claims_near_an_edge_are_folded_away_on_the_page_and_reported(low, listed):
    # The near miss is rejected while the lower end is less than 0.05 below the value.
    record = replace(AS_COMMITTED, interval=(low, -0.46))
    page, rows = scorecard([record], CLAIMS, "laptop"), report([record], CLAIMS, "laptop")["near_edge"]
    assert ("{dropdown} Claims so near an edge" in page) == listed
    assert bool(re.search(r"- `slope`: \*\*reproduced\*\*, nearly inconclusive", page)) == listed
    assert [(row["claim"], row["verdict"], row["nearly"]) for row in rows] == (
        [("slope", "reproduced", "inconclusive")] if listed else []
    )
