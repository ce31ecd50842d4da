"""The rule that judges, and the committed claims: each must be able to fail."""

import math
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snn_ntk.reporting import Claim, Record, judge, load_claims, near_edge, unexpected, verdicts

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


OPEN = {
    name: claim for name, claim in COMMITTED.items() if claim.expect.get("laptop", "inconclusive") == "inconclusive"
}


@pytest.mark.parametrize("claim", OPEN.values(), ids=OPEN)
def test_a_claim_that_the_laptop_leaves_open_says_why(claim):
    assert re.search(r"\b(?:inconclusive|laptop)\b", claim.why), f"{claim.id}: expected why, and what would decide it"
    assert claim.why.count("It stays inconclusive") <= 1


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


EXPECTED = replace(SLOPE, expect={"laptop": "not reproduced"})


@pytest.mark.parametrize(
    ("value", "profile", "found"),
    [
        (-0.3, "laptop", {}),  # an honest failure, as committed
        (-0.5, "laptop", {"slope": "not reproduced"}),
        (-0.5, "smoke", {}),  # nothing is committed for it
    ],
)
def test_unexpected_verdicts(value, profile, found):
    assert unexpected([around(EXPECTED, value, 0.01)], {"slope": EXPECTED}, profile) == found


def test_a_claim_that_was_not_run_is_not_unexpected():
    assert unexpected([], {"slope": EXPECTED}, "laptop") == {}


def test_a_correction_that_fails_is_unexpected():
    printed = replace(SLOPE, id="printed", corrected_by="slope", expect={"laptop": "corrected"})
    claims, failing = {"printed": printed, "slope": SLOPE}, around(printed, -1.0, 0.01)
    assert unexpected([failing, around(SLOPE, -0.5, 0.01)], claims, "laptop") == {}
    assert unexpected([failing, around(SLOPE, -1.0, 0.01)], claims, "laptop") == {"printed": "corrected"}


# Edges: widths are 0.1, so an end within 0.01 of an edge counts.
WIDE = replace(SLOPE, near_miss=-0.25)


@pytest.mark.parametrize(
    ("claim", "low", "high", "other"),
    [
        # From within towards each edge.
        (WIDE, -0.591, -0.491, "inconclusive"),
        (WIDE, -0.589, -0.489, None),
        (WIDE, -0.509, -0.409, "inconclusive"),
        (WIDE, -0.511, -0.411, None),
        # An interval that straddles an edge, and almost lies within.
        (WIDE, -0.609, -0.509, "reproduced"),
        (WIDE, -0.611, -0.511, None),
        (WIDE, -0.491, -0.391, "reproduced"),
        (WIDE, -0.489, -0.389, None),
        # One that straddles it and almost lies without.
        (WIDE, -0.691, -0.591, "not reproduced"),
        (WIDE, -0.689, -0.589, None),
        (WIDE, -0.409, -0.309, "not reproduced"),
        (WIDE, -0.411, -0.311, None),
        # From without.
        (WIDE, -0.709, -0.609, "inconclusive"),
        (WIDE, -0.711, -0.611, None),
        (WIDE, -0.391, -0.291, "inconclusive"),
        (WIDE, -0.389, -0.289, None),
    ],
)
def test_near_an_edge_of_the_region(claim, low, high, other):
    record = Record("slope", (low + high) / 2, (low, high), seeds=5)
    assert near_edge([record], {"slope": claim}) == ({"slope": other} if other else {})


@pytest.mark.parametrize(
    ("near_miss", "half", "other"),
    [
        # Rejected with little to spare: the half-width is 0.05 and may grow to 0.06.
        (-0.341, 0.05, "inconclusive"),
        (-0.339, 0.05, None),
        # Not rejected, by little: it may shrink to 0.04.
        (-0.359, 0.05, "reproduced"),
        (-0.361, 0.05, None),
        # The same below the region.
        (-0.659, 0.05, "inconclusive"),
        (-0.661, 0.05, None),
        (-0.641, 0.05, "reproduced"),
        (-0.639, 0.05, None),
    ],
)
def test_near_the_edge_of_rejecting_the_near_miss(near_miss, half, other):
    claim = replace(SLOPE, near_miss=near_miss)
    assert near_edge([around(claim, -0.5, half)], {"slope": claim}) == ({"slope": other} if other else {})


@pytest.mark.parametrize(("low", "other"), [(0.0, None), (0.001, "inconclusive")])
def test_an_end_where_the_quantity_ends_is_near_no_edge(low, other):
    claim = Claim("distance", "c", "[P]", "s", (0, 0.15), 0.3, "")
    record = Record("distance", 0.04, (low, 0.09), seeds=3)
    assert near_edge([record], {"distance": claim}) == ({"distance": other} if other else {})


def test_an_exact_number_is_near_no_edge():
    assert near_edge([around(SLOPE, -0.4, 0.0)], {"slope": SLOPE}) == {}


@given(st.floats(-1, 0), st.floats(0.01, 0.3), st.floats(0, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_no_move_of_the_ends_turns_a_claim_that_is_not_listed(low, width, at, first, second):
    value = low + at * width
    record = Record("slope", min(max(value, low), low + width), (low, low + width), seeds=5)
    moved_low, moved_high = low + 0.099 * first * width, low + width + 0.099 * second * width
    if (
        near_edge([record], {"slope": SLOPE})
        or {low, low + width} & set(SLOPE.accept)
        or not moved_low <= record.value <= moved_high
    ):
        return
    moved = Record("slope", record.value, (moved_low, moved_high), seeds=5)
    assert judge(SLOPE, moved) == judge(SLOPE, record)


ENTRY = {"id": "a", "source": "[P]", "statement": "s", "accept": [0, 1], "near_miss": 2.0, "why": "w"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"near_miss": 0.5}, "near_miss outside"),
        ({"near_miss": "1e-3"}, r"write 1\.0e-3"),
        ({"accept": [1, 0]}, "low, high"),
        ({"expect": {"laptop": "fine"}}, "expect, laptop: expected a verdict, one of .*, got 'fine'"),
        ({"corrected_by": "nobody"}, "'nobody'"),
        ({"corrected_by": "a"}, "corrected_by to name another, got 'a'"),
        ({"colour": "red"}, r"got \['colour'\]"),
        ({"chapter": "06-c"}, "'chapter'"),
        ({"accept": None}, r"accept: expected \[low, high\], got None"),
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


# Ends that are binary fractions meet exactly, so that closed and open regions differ.
UNIT = Claim("unit", "c", "[P]", "s", (0.0, 1.0), 2.0, "")


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        # The region is closed: an interval that fills it lies inside.
        (0.5, 0.0, 1.0, "reproduced"),
        (0.25, 0.0, 0.5, "reproduced"),
        (0.75, 0.5, 1.0, "reproduced"),
        # One that shares its edge only does not lie outside.
        (-0.5, -1.0, 0.0, "inconclusive"),
        (1.5, 1.0, 2.0, "inconclusive"),
        (-0.5, -1.0, -(2.0**-40), "not reproduced"),
        (1.5, 1 + 2.0**-40, 2.0, "not reproduced"),
    ],
)
def test_intervals_that_touch_the_edges(value, low, high, verdict):
    assert judge(UNIT, Record("unit", value, (low, high), seeds=3)) == verdict


@pytest.mark.parametrize(
    ("near_miss", "half", "verdict"),
    [
        # Around the near miss the same interval would reach the edge, which belongs to the region: not rejected.
        (1.25, 0.25, "inconclusive"),
        (1.25, 0.25 - 2.0**-40, "reproduced"),
        (-0.25, 0.25, "inconclusive"),
        (-0.25, 0.25 - 2.0**-40, "reproduced"),
    ],
)
def test_a_near_miss_that_touches_the_region_is_not_rejected(near_miss, half, verdict):
    assert judge(replace(UNIT, near_miss=near_miss), around(UNIT, 0.5, half)) == verdict


def test_regions_and_records_may_be_points_and_near_misses_not_on_the_edge():
    point = replace(UNIT, accept=(0.5, 0.5))
    assert judge(point, Record("unit", 0.5, (0.5, 0.5), seeds=1)) == "reproduced"
    for edge in UNIT.accept:
        with pytest.raises(ValueError, match="near_miss outside"):
            replace(UNIT, near_miss=edge)
    for value in (0.25, 0.75):
        assert Record("unit", value, (0.25, 0.75), seeds=3).value == value


def test_a_claim_that_was_to_be_not_run_and_ran_is_unexpected():
    claims = {"slope": replace(SLOPE, expect={"smoke": "not run", "laptop": "reproduced"})}
    record = around(SLOPE, -0.5, 0.01)
    assert unexpected([record], claims, "smoke") == {"slope": "not run"}
    assert unexpected([record], claims, "laptop") == {}
    assert unexpected([], claims, "smoke") == {}


@pytest.mark.parametrize("written", [SLOPE, around(SLOPE, -0.5, 0.01)])
def test_what_was_written_down_before_and_measured_after_cannot_be_changed(written):
    with pytest.raises(FrozenInstanceError):
        written.id = "another"
