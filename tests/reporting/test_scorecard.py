"""What people read: verdicts beside the committed ones, the scorecard, the build's report."""

import json
import math
import re
from dataclasses import replace

import pytest

from snn_ntk.reporting import Claim, Record, report, scorecard, scorecard_rows, substitutions, summary
from snn_ntk.reporting.scorecard import verdict_texts

SLOPE = Claim("slope", "c", "[P]", "slope −1/2", (-0.6, -0.4), -0.35, "", expect={"laptop": "reproduced"})
OTHER = Claim("other", "d", "[J]", "t", (0, 1), 2, "")
CLAIMS = {"slope": SLOPE, "other": OTHER}
AS_COMMITTED = Record("slope", -0.5, (-0.54, -0.46), seeds=5)
OTHERWISE = replace(AS_COMMITTED, interval=(-0.58, -0.42))


def test_pages_are_made_from_records():
    assert summary([AS_COMMITTED], CLAIMS, "laptop") == "2 claims: 1 reproduced, 1 not run"
    page = scorecard([AS_COMMITTED], CLAIMS, "laptop")
    assert "−0.50 [−0.54, −0.46]</data>" in page
    assert "[not run]{.verdict .not-run}" in page
    assert "otherwise" not in page
    assert "near an edge" not in page
    prose = substitutions([AS_COMMITTED], CLAIMS, "laptop")
    assert prose["slope"]["value"] == "−0.50"
    assert prose["slope"]["percent"] == "−50\u00a0%"
    assert prose["other"]["value"] == prose["other"]["percent"] == "*not run*"


def test_prose_rounds_a_value_and_separates_thousands():
    record = replace(AS_COMMITTED, value=-0.5123456, interval=(-0.5123457, -0.5123455), detail={"n": 60000, "is": True})
    prose = substitutions([record], CLAIMS, "laptop")["slope"]
    assert (prose["value"], prose["rounded"]) == ("−0.5123456", "−0.512")
    assert prose["detail"] == {"n": "60,000", "is": "True"}


def test_a_claim_says_why_it_is_open_inside_its_region():
    assert "[inconclusive]{.verdict .inconclusive}, too wide to rule out −0.35\n" in scorecard(
        [OTHERWISE], CLAIMS, "smoke"
    )
    straddling = replace(AS_COMMITTED, interval=(-0.62, -0.5))
    assert "too wide" not in scorecard([straddling], CLAIMS, "smoke")


def test_chapters_are_headed_by_their_titles():
    page = scorecard([AS_COMMITTED], CLAIMS, "laptop", {"c": "7. Convergence"})
    assert "(scorecard-c)=\n## 7. Convergence\n" in page
    assert "(scorecard-d)=\n## d\n" in page


def test_a_record_of_no_run_shows_no_number():
    nothing = Record("slope", 0.0, (-1.0, 1.0), seeds=0)
    assert verdict_texts([nothing], CLAIMS, "laptop") == {"slope": "not run", "other": "not run"}
    prose = substitutions([nothing], CLAIMS, "laptop")["slope"]
    assert (prose["value"], prose["interval"], prose["seeds"]) == ("*not run*", "*not run*", "0")
    assert scorecard_rows([nothing], CLAIMS, "laptop")[0]["value"] is None
    assert "</data>" not in scorecard([nothing], CLAIMS, "laptop")
    assert report([nothing], CLAIMS, "laptop")["near_edge"] == []


def test_sources_and_this_book_are_counted_apart():
    own = replace(OTHER, id="own", source="[B] what follows from [P] Lemma 1")
    page = scorecard([AS_COMMITTED], CLAIMS | {"own": own}, "laptop")
    tables = [block.split(":::")[0].split("* - ")[2:] for block in page.split(":class: scorecard-sources")[1:]]
    assert (
        '<a href="scorecard.html?source=P&amp;verdict=reproduced" aria-label="1 claims of [P] reproduced">1</a>' in page
    )
    counts = {row[1]: [re.sub("<.*?>", "", cell).strip() for cell in row.split("  - ")[1:]] for row in tables[0]}
    assert counts["P"] == ["1", "–", "–", "–", "–", "1"]
    assert counts["J"] == counts["B"] == ["–", "–", "–", "–", "1", "1"]
    assert counts["A"] == ["–"] * 6


def test_rows_hold_what_the_page_rounds_and_are_json():
    exact = replace(AS_COMMITTED, value=-0.123456789, interval=(-0.2, -0.1))
    slope, other = scorecard_rows(
        [exact], CLAIMS | {"other": replace(OTHER, accept=(0, math.inf), near_miss=-1)}, "laptop"
    )
    assert (slope["value"], slope["low"], slope["verdict"], slope["expected"]) == (
        -0.123456789, -0.2, "not reproduced", "reproduced",
    )  # fmt: skip
    assert (other["value"], other["verdict"], other["accept_low"], other["accept_high"]) == (None, "not run", 0, None)
    json.dumps([slope, other], allow_nan=False)


def test_what_came_out_otherwise_is_marked_everywhere():
    marked = "expected reproduced, here inconclusive"
    assert verdict_texts([OTHERWISE], CLAIMS, "laptop") == {"slope": marked, "other": "not run"}
    assert substitutions([OTHERWISE], CLAIMS, "laptop")["slope"]["verdict"] == marked
    assert summary([OTHERWISE], CLAIMS, "laptop").endswith("1 inconclusive, 1 not run; 1 otherwise than committed")
    page = scorecard([OTHERWISE], CLAIMS, "laptop")
    box, rows = page.split("## c")
    assert "{admonition} Claims that came out otherwise than committed (1)" in box
    assert "- `slope`: expected **reproduced**, here **inconclusive**; measured −0.50 [−0.58, −0.42]" in box
    assert f"  - [{marked}]{{.verdict .inconclusive}}" in rows
    assert report([OTHERWISE], CLAIMS, "laptop")["unexpected"] == [
        {
            "claim": "slope",
            "expected": "reproduced",
            "here": "inconclusive",
            "measured": "−0.50 [−0.58, −0.42]",
            "accepted": "[−0.6, −0.4]",
        }
    ]


def test_a_corrected_claim_says_that_it_fails_as_printed():
    printed = replace(SLOPE, id="printed", corrected_by="slope", expect={})
    records = [AS_COMMITTED, replace(AS_COMMITTED, id="printed", value=-1.0, interval=(-1.1, -0.9))]
    claims = {"printed": printed, **CLAIMS}
    words = "fails as printed; a correction holds"
    assert verdict_texts(records, claims, "laptop")["printed"] == words
    assert summary(records, claims, "laptop") == (
        "3 claims: 1 reproduced, 1 failing as printed with a correction that holds, 1 not run"
    )
    assert f'[{words}]{{.verdict .corrected}} by <a href="#claim-slope">' in scorecard(records, claims, "laptop")


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
