"""Claims of the sources, the one rule that judges them, and the scorecard made from the records.

A claim names an acceptance region before anything is run. A record carries a measured value with its interval.
The verdict compares the two and nothing else:

- the interval lies inside the region → *reproduced*;
- it lies outside → *not reproduced*, or *corrected* when the claim named in `corrected_by` is reproduced;
- it straddles an edge, or is so wide that the claim's `near_miss` would not have been rejected
  → *inconclusive at this profile*;
- there is no record → *not run*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = [
    "VERDICTS",
    "Claim",
    "ExpectationError",
    "Record",
    "check_expectations",
    "judge",
    "load_claims",
    "scorecard",
    "substitutions",
    "summary",
    "verdicts",
]

VERDICTS = ("reproduced", "corrected", "not reproduced", "inconclusive", "not run")
PROFILES = ("smoke", "laptop", "gpu")
SOURCES = {
    "P": "Wang & Huang, the paper",
    "J": "Jacot, Gabriel & Hongler",
    "S": "the lecture",
    "A": "asymmetrical node scaling",
    "B": "this book",
}


class ExpectationError(RuntimeError):
    """A claim was not recorded, or its verdict differs from the one committed for the profile."""


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
        lo, hi = self.accept
        if not lo <= hi:
            raise ValueError(f"claim {self.id}: expected accept: [low, high], got {list(self.accept)}")
        if lo <= self.near_miss <= hi or not math.isfinite(self.near_miss):
            raise ValueError(f"claim {self.id}: expected a near_miss outside {list(self.accept)}, got {self.near_miss}")
        for profile, verdict in self.expect.items():
            if profile not in PROFILES or verdict not in VERDICTS:
                raise ValueError(f"claim {self.id}: expected expect: {{profile: verdict}}, got {profile}: {verdict}")


@dataclass(frozen=True)
class Record:
    """What one run measured for one claim."""

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


def _number(claim: str, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = " (YAML reads 1e-3 as text; write 1.0e-3)" if isinstance(value, str) else ""
        raise ValueError(f"claim {claim}: expected a number for {name}, got {value!r}{hint}")
    return float(value)


def load_claims(folder: str | Path) -> dict[str, Claim]:
    """Reads and checks `book/claims`, one file a chapter.

    Returns:
        Claims by id, in the order of the chapters and of their files.

    Raises:
        ValueError: on a duplicate id, an unknown or missing key, a region without a near miss outside it,
            or a `corrected_by` that names no claim.
    """
    claims: dict[str, Claim] = {}
    listed = [
        (path.stem, entry)
        for path in sorted(Path(folder).glob("*.yml"))
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")) or []
    ]
    for chapter, entry in listed:
        name = str(entry.get("id", "without id"))
        if name in claims:
            raise ValueError(f"claim {name}: expected unique ids, got it twice")
        try:
            low, high = entry["accept"]
            accept = (
                -math.inf if low is None else _number(name, "accept", low),
                math.inf if high is None else _number(name, "accept", high),
            )
            near_miss = _number(name, "near_miss", entry["near_miss"])
            claims[name] = Claim(chapter=chapter, **{**entry, "accept": accept, "near_miss": near_miss})
        except (TypeError, KeyError) as error:
            raise ValueError(f"claim {name}: expected the keys of {Claim.__name__}, got {error}") from error
    for claim in claims.values():
        if claim.corrected_by and claim.corrected_by not in claims:
            raise ValueError(f"claim {claim.id}: expected corrected_by to name a claim, got {claim.corrected_by!r}")
    return claims


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
    if record is None:
        return "not run"
    (low, high), (accept_low, accept_high) = record.interval, claim.accept
    if high < accept_low or low > accept_high:
        return "not reproduced"
    shift = claim.near_miss - record.value
    can_reject = high + shift < accept_low or low + shift > accept_high
    inside = accept_low <= low and high <= accept_high
    return "reproduced" if inside and can_reject else "inconclusive"


def verdicts(claims: Mapping[str, Claim], records: Iterable[Record]) -> dict[str, str]:
    """The verdict of every claim, corrections included.

    Raises:
        ValueError: on a record whose claim does not exist, or two records of one claim.
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


def check_expectations(
    records: Iterable[Record], claims: Mapping[str, Claim], profile: str, chapters: Iterable[str]
) -> None:
    """Fails if a claim of the executed chapters is missing, or its verdict is not the committed one.

    An honest "not reproduced" that is expected passes. A claim without an expectation for the profile is not compared.

    Raises:
        ExpectationError: naming every such claim.
    """
    chapters, wrong = set(chapters), []
    for name, verdict in verdicts(claims, records).items():
        claim = claims[name]
        expected = claim.expect.get(profile)
        if claim.chapter not in chapters:
            continue
        if verdict == "not run":
            wrong.append(f"{name}: chapter {claim.chapter} recorded nothing")
        elif expected is not None and verdict != expected:
            wrong.append(f"{name}: expected {expected!r} at {profile}, got {verdict!r}")
    if wrong:
        raise ExpectationError("claims that came out otherwise than committed:\n  " + "\n  ".join(wrong))


def _show(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else ("∞" if value > 0 else "−∞")


def _region(region: tuple[float, float]) -> str:
    low, high = region
    if low == high:
        return _show(low)
    if math.isinf(low):
        return f"≤ {_show(high)}"
    if math.isinf(high):
        return f"≥ {_show(low)}"
    return f"[{_show(low)}, {_show(high)}]"


def _measured(record: Record) -> str:
    """Value and interval; a number without sampling error has no interval to show."""
    value, (low, high) = _show(record.value), record.interval
    return value if low == high else f"{value}, {_region(record.interval)}"


def summary(records: Iterable[Record], claims: Mapping[str, Claim]) -> str:
    """One line: how many claims came out which way."""
    outcome = list(verdicts(claims, records).values())
    counts = [f"{outcome.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in outcome]
    return f"{len(outcome)} claims: " + ", ".join(counts)


def substitutions(records: Iterable[Record], claims: Mapping[str, Claim]) -> dict[str, dict[str, Any]]:
    """What prose may quote of each claim: formatted `value`, `interval`, `accept`, `verdict`, `seeds`, and `detail`.

    Every claim is present; one without a record reads "not run".
    """
    by_id = {record.id: record for record in records}
    texts = {}
    for name, verdict in verdicts(claims, by_id.values()).items():
        record = by_id.get(name)
        missing = "*not run*"
        texts[name] = {
            "value": _show(record.value) if record else missing,
            "interval": f"[{_show(record.interval[0])}, {_show(record.interval[1])}]" if record else missing,
            "accept": _region(claims[name].accept),
            "verdict": verdict,
            "seeds": str(record.seeds) if record else missing,
            "detail": {
                key: _show(value) if isinstance(value, float) else str(value)
                for key, value in (record.detail if record else {}).items()
            },
        }
    return texts


def scorecard(records: Iterable[Record], claims: Mapping[str, Claim], profile: str) -> str:
    """The scorecard page (MyST Markdown): a table of every claim for each chapter, made from records alone."""
    by_id = {record.id: record for record in records}
    outcome = verdicts(claims, by_id.values())
    lines = [
        "(sec:scorecard)=",
        "# Scorecard",
        "",
        f"Profile **{profile}**: {summary(by_id.values(), claims)}.",
        "",
        "A verdict compares the measured 95 % interval with a region fixed beforehand; {doc}`intro` has the rule.",
        "Sources: " + "; ".join(f"[{key}] {name}" for key, name in SOURCES.items()) + ".",
    ]
    chapters = sorted({claim.chapter for claim in claims.values()})
    by_chapter = {name: [claim for claim in claims.values() if claim.chapter == name] for name in chapters}
    lines += ["", "| chapter | " + " | ".join(VERDICTS) + " |", "|---" * (1 + len(VERDICTS)) + "|"]
    for chapter, mine in by_chapter.items():
        counts = [sum(outcome[claim.id] == verdict for claim in mine) for verdict in VERDICTS]
        lines.append(f"| [{chapter}](scorecard-{chapter}) | " + " | ".join(str(n or "–") for n in counts) + " |")
    for chapter, mine in by_chapter.items():
        ran = any(claim.id in by_id for claim in mine)
        title = f"{{doc}}`../notebooks/{chapter}`" if ran else f"{chapter} (not run)"
        lines += [
            "",
            f"(scorecard-{chapter})=",
            f"## {chapter}",
            "",
            f"Executed in {title}." if ran else "Not run at this profile.",
            "",
        ]
        lines += [":::{list-table}", ":header-rows: 1", ":class: scorecard", ""]
        header = ("Claim", "Verdict", "Measured, 95 % interval", "Accepted", "Published", "Runs")
        rows: list[tuple[str, ...]] = [header]
        for claim in mine:
            record = by_id.get(claim.id)
            measured = _measured(record) if record else "–"
            note = f" *{record.note}*" if record and record.note else ""
            correction = f" → `{claim.corrected_by}`" if outcome[claim.id] == "corrected" else ""
            published = "–" if claim.published is None else str(claim.published)
            verdict = outcome[claim.id]
            rows.append(
                (
                    f"`{claim.id}` {claim.source}: {' '.join(claim.statement.split())}{note}",
                    f"**{verdict}**{correction}",
                    measured,
                    _region(claim.accept),
                    published,
                    str(record.seeds) if record else "–",
                )
            )
        for row in rows:
            lines += [("* - " if index == 0 else "  - ") + cell for index, cell in enumerate(row)]
        lines += [":::"]
    return "\n".join(lines) + "\n"
