"""Claims of the sources and the one rule that judges them.

A claim names an acceptance region before anything is run. A record carries a measured value with its interval.
The verdict compares the two and nothing else:

- the interval lies inside the region → *reproduced*;
- it lies outside → *not reproduced*, or *corrected* when the claim named in `corrected_by`, the corrected statement
  about the same quantity on the same data, is reproduced;
- it straddles an edge, or is so wide that the claim's `near_miss` would not have been rejected
  → *inconclusive at this profile*;
- there is no record, or one of no run (`seeds` 0) → *not run*.

A verdict that is not the one committed for the profile is `unexpected`; one that a slightly longer or shorter interval
would change is `near_edge`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snn_ntk.reporting.documents import VERDICTS, check_region, read_claims

__all__ = [
    "VERDICTS",
    "Claim",
    "Record",
    "judge",
    "load_claims",
    "measured",
    "near_edge",
    "too_wide",
    "unexpected",
    "verdicts",
]


@dataclass(frozen=True)
class Claim:
    """One checkable statement of a source.

    `accept` is the closed region of values that count as agreement (±inf: unbounded), and `near_miss` a
    plausible wrong value outside it that the experiment must be able to reject.
    """

    id: str
    chapter: str
    source: str
    statement: str
    accept: tuple[float, float]
    near_miss: float
    why: str
    published: float | str | None = None
    corrected_by: str | None = None
    expect: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_region(self.accept, self.near_miss, f"claim {self.id}")


@dataclass(frozen=True)
class Record:
    """What one run measured for one claim; with `seeds` 0 nothing was run, and its numbers mean nothing."""

    id: str
    value: float
    interval: tuple[float, float]
    seeds: int
    note: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lo, hi = self.interval
        if not all(map(math.isfinite, (self.value, lo, hi))) or not lo <= self.value <= hi:
            raise ValueError(
                f"record {self.id}: expected finite numbers with low ≤ value ≤ high, got {self.value} in [{lo}, {hi}]"
            )


def load_claims(folder: str | Path) -> dict[str, Claim]:
    """Reads and checks `book/claims`, one file a chapter.

    Returns:
        Claims by id, in the order of the chapters and of their files.

    Raises:
        ValueError: On a file that is not YAML, a duplicate id, an unknown or missing key, a value of another kind, a
            region without a near miss outside it, or a `corrected_by` that names no other claim.
    """
    entries = read_claims(Path(folder))
    return {entry["id"]: Claim(chapter=chapter, **entry) for chapter, entry in entries}


def measured(records: Iterable[Record]) -> dict[str, Record]:
    """Records by claim, without those behind which no run stands.

    >>> list(measured([Record("a", 0.0, (-1, 1), seeds=0), Record("b", 0.0, (-1, 1), seeds=2)]))
    ['b']
    """
    return {record.id: record for record in records if record.seeds}


def judge(claim: Claim, record: Record | None) -> str:
    """The verdict that one record gives, before corrections are considered.

    >>> claim = Claim("a", "c", "[P]", "slope −1/2", (-0.6, -0.4), -0.35, "")
    >>> judge(claim, Record("a", -0.5, (-0.52, -0.48), seeds=8))
    'reproduced'
    >>> judge(claim, Record("a", -0.35, (-0.37, -0.33), seeds=8))
    'not reproduced'
    >>> judge(claim, Record("a", -0.5, (-0.58, -0.42), seeds=2))
    'inconclusive'
    """
    return _judge(claim, record.value, *record.interval) if record and record.seeds else "not run"


def _judge(claim: Claim, value: float, low: float, high: float) -> str:
    accept_low, accept_high = claim.accept
    if high < accept_low or low > accept_high:
        return "not reproduced"
    shift = claim.near_miss - value
    can_reject = high + shift < accept_low or low + shift > accept_high
    inside = accept_low <= low and high <= accept_high
    return "reproduced" if inside and can_reject else "inconclusive"


def too_wide(claim: Claim, record: Record | None) -> bool:
    """Whether the near miss alone leaves a claim open: the interval lies inside the region and would not have ruled it out.

    >>> claim = Claim("a", "c", "[P]", "slope −1/2", (-0.6, -0.4), -0.35, "")
    >>> too_wide(claim, Record("a", -0.5, (-0.58, -0.42), seeds=2)), too_wide(claim, Record("a", -0.5, (-0.7, -0.3), seeds=2))
    (True, False)
    """
    if record is None or judge(claim, record) != "inconclusive":
        return False
    return claim.accept[0] <= record.interval[0] and record.interval[1] <= claim.accept[1]


def verdicts(claims: Mapping[str, Claim], records: Iterable[Record]) -> dict[str, str]:
    """The verdict of every claim, corrections included.

    Raises:
        ValueError: On a record whose claim does not exist, or two records of one claim.
    """
    by_id: dict[str, Record] = {}
    for record in records:
        if record.id not in claims:
            raise ValueError(f"expected a claim of book/claims, got a record of {record.id!r}")
        if record.id in by_id:
            raise ValueError(f"expected one record a claim, got two of {record.id!r}")
        by_id[record.id] = record
    first = {name: judge(claim, by_id.get(name)) for name, claim in claims.items()}
    return {
        name: "corrected"
        if first[name] == "not reproduced" and first.get(claim.corrected_by or "") == "reproduced"
        else first[name]
        for name, claim in claims.items()
    }


def unexpected(records: Iterable[Record], claims: Mapping[str, Claim], profile: str) -> dict[str, str]:
    """The committed verdicts that did not come out, by claim.

    Claims that were not run, and those without an expectation for the profile, are not compared.

    >>> claim = Claim("a", "c", "[P]", "slope −1/2", (-0.6, -0.4), -0.35, "", expect={"smoke": "reproduced"})
    >>> unexpected([Record("a", -0.5, (-0.58, -0.42), seeds=2)], {"a": claim}, "smoke")
    {'a': 'reproduced'}
    """
    outcome = verdicts(claims, records)
    return {
        name: claim.expect[profile]
        for name, claim in claims.items()
        if outcome[name] not in ("not run", claim.expect.get(profile, outcome[name]))
    }


def near_edge(records: Iterable[Record], claims: Mapping[str, Claim], *, share: float = 0.1) -> dict[str, str]:
    """The claims whose verdict a little luck decided: they deserve more seeds.

    A verdict depends on both ends of the interval and, by the near miss, on their distances from the value. So a claim
    is near an edge if moving each end by at most `share` of the interval's width, the value held, gives another
    verdict; of all such moves it is enough to try the longest interval and the shortest, since no move takes an end
    farther towards an edge. A number without sampling error is never listed: more seeds would not move it. Nor is an end
    moved out that lies on the region's edge exactly, where the quantity itself ends (a distance at 0, a share at 1).

    Args:
        records: What was measured.
        claims: All claims.
        share: Of the interval's width.

    Returns:
        By claim, the verdict (before corrections) on the other side of the edge.

    >>> claim = Claim("a", "c", "[P]", "slope −1/2", (-0.6, -0.4), -0.25, "")
    >>> near_edge([Record("a", -0.5, (-0.595, -0.405), seeds=2)], {"a": claim})
    {'a': 'inconclusive'}
    """
    found = {}
    for record in measured(records).values():
        claim, (low, high) = claims[record.id], record.interval
        move = share * (high - low)
        longest = low - move * (low != claim.accept[0]), high + move * (high != claim.accept[1])
        for ends in (longest, (low + move, high - move)):
            other = _judge(claim, record.value, *ends)
            if other != judge(claim, record):
                found[record.id] = other
    return found
