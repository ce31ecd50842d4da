"""The rule that judges, and the committed claims: each must be able to fail."""

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snn_ntk.reporting import (
    Claim,
    ExpectationError,
    Record,
    check_expectations,
    judge,
    load_claims,
    scorecard,
    substitutions,
    summary,
    verdicts,
)

COMMITTED = load_claims(Path(__file__).parents[2] / "book" / "claims")
SLOPE = Claim("slope", "c", "[P]", "slope −1/2", (-0.6, -0.4), -0.35, "")


def around(claim: Claim, value: float, half: float) -> Record:
    return Record(claim.id, value, (value - half, value + half), seeds=5)


@pytest.mark.parametrize("claim", COMMITTED.values(), ids=COMMITTED)
def test_every_committed_claim_rejects_its_near_miss(claim):
    low, high = claim.accept
    gap = max(low - claim.near_miss, claim.near_miss - high)
    assert judge(claim, around(claim, claim.near_miss, 0.99 * gap)) == "not reproduced"
    assert claim.why.strip()
    assert claim.statement.strip()


@pytest.mark.parametrize("claim", COMMITTED.values(), ids=COMMITTED)
def test_no_committed_claim_is_reproduced_by_a_run_too_noisy_to_reject_the_near_miss(claim):
    low, high = claim.accept
    gap = max(low - claim.near_miss, claim.near_miss - high)
    centre = min(max(claim.near_miss, low), high)
    width = (high - low) / 2 if math.isfinite(high - low) else 10 * gap
    inside = centre + width * (1 if claim.near_miss < low else -1)
    assert judge(claim, around(claim, inside, 1.01 * gap)) == "inconclusive"


def test_slope_near_miss_at_its_sample_size():
    assert judge(SLOPE, around(SLOPE, -0.35, 0.04)) == "not reproduced"
    assert judge(SLOPE, around(SLOPE, -0.5, 0.04)) == "reproduced"
    assert judge(SLOPE, around(SLOPE, -0.42, 0.04)) == "inconclusive"
    assert judge(SLOPE, around(SLOPE, -0.5, 0.07)) == "inconclusive"


@given(st.floats(-2, 1), st.floats(0, 1))
def test_a_reproduced_interval_lies_inside_the_region(value, half):
    if judge(SLOPE, around(SLOPE, value, half)) == "reproduced":
        assert -0.6 <= value - half <= value + half <= -0.4


def test_one_sided_regions():
    claim = Claim("bound", "c", "[P]", "at most 3 %", (-math.inf, 0.03), 0.05, "")
    assert judge(claim, around(claim, 0.02, 0.005)) == "reproduced"
    assert judge(claim, around(claim, 0.05, 0.005)) == "not reproduced"
    assert judge(claim, None) == "not run"


def test_corrected_needs_the_correction_to_pass():
    printed = Claim("printed", "c", "[P]", "s", (-0.6, -0.4), -0.35, "", corrected_by="slope")
    claims = {"printed": printed, "slope": SLOPE}
    failing = around(printed, -1.0, 0.01)
    assert verdicts(claims, [failing, around(SLOPE, -0.5, 0.01)])["printed"] == "corrected"
    assert verdicts(claims, [failing, around(SLOPE, -1.0, 0.01)])["printed"] == "not reproduced"
    assert verdicts(claims, [failing])["printed"] == "not reproduced"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_never_recorded(value):
    with pytest.raises(ValueError, match="finite"):
        Record("slope", value, (value, value), seeds=1)


def test_interval_must_contain_its_value():
    with pytest.raises(ValueError, match="low ≤ value ≤ high"):
        Record("slope", 0.0, (1.0, 2.0), seeds=1)


def test_expectations():
    claim = Claim("slope", "c", "[P]", "s", (-0.6, -0.4), -0.35, "", expect={"laptop": "not reproduced"})
    claims, miss = {"slope": claim}, around(claim, -0.3, 0.01)
    check_expectations([miss], claims, "laptop", ["c"])
    check_expectations([], claims, "laptop", ["another chapter"])
    with pytest.raises(ExpectationError, match="recorded nothing"):
        check_expectations([], claims, "laptop", ["c"])
    with pytest.raises(ExpectationError, match="expected 'not reproduced' at laptop, got 'reproduced'"):
        check_expectations([around(claim, -0.5, 0.01)], claims, "laptop", ["c"])


ENTRY = {"id": "a", "source": "[P]", "statement": "s", "accept": [0, 1], "near_miss": 2.0, "why": "w"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"near_miss": 0.5}, "near_miss outside"),
        ({"near_miss": "1e-3"}, r"write 1\.0e-3"),
        ({"accept": [1, 0]}, "low, high"),
        ({"expect": {"laptop": "fine"}}, "laptop: fine"),
        ({"corrected_by": "nobody"}, "'nobody'"),
        ({"colour": "red"}, "colour"),
        ({"chapter": "06-c"}, "'chapter'"),
        ({"accept": None}, "expected the keys"),
    ],
)
def test_a_malformed_claim_is_refused(tmp_path, change, message):
    (tmp_path / "06-c.yml").write_text(yaml.safe_dump([{**ENTRY, **change}]))
    with pytest.raises(ValueError, match=message):
        load_claims(tmp_path)


def test_duplicate_and_unknown_ids(tmp_path):
    (tmp_path / "06-c.yml").write_text(yaml.safe_dump([ENTRY]))
    assert load_claims(tmp_path)["a"].chapter == "06-c"
    (tmp_path / "07-d.yml").write_text(yaml.safe_dump([ENTRY]))
    with pytest.raises(ValueError, match="unique"):
        load_claims(tmp_path)
    with pytest.raises(ValueError, match="a record of 'b'"):
        verdicts({"slope": SLOPE}, [Record("b", 0.0, (0.0, 0.0), 1)])
    with pytest.raises(ValueError, match="two of 'slope'"):
        verdicts({"slope": SLOPE}, [around(SLOPE, 0.0, 0.1)] * 2)


def test_pages_are_made_from_records():
    other = Claim("other", "d", "[J]", "t", (0, 1), 2, "")
    claims, records = {"slope": SLOPE, "other": other}, [around(SLOPE, -0.5, 0.04)]
    assert summary(records, claims) == "2 claims: 1 reproduced, 1 not run"
    page = scorecard(records, claims, "laptop")
    assert "-0.5, [-0.54, -0.46]" in page
    assert "**not run**" in page
    prose = substitutions(records, claims)
    assert prose["slope"]["value"] == "-0.5"
    assert prose["other"]["value"] == "*not run*"
