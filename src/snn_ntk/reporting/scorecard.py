"""What people read of claims and records: the scorecard, the summary, and the numbers and verdicts that prose quotes."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from snn_ntk.reporting.claims import VERDICTS, Claim, Record, measured, near_edge, too_wide, unexpected, verdicts
from snn_ntk.reporting.numbers import show_estimate, show_interval, show_number, show_percent, show_region

__all__ = [
    "report",
    "scorecard",
    "scorecard_rows",
    "source_of",
    "substitutions",
    "summary",
    "totals",
    "verdict_texts",
    "why_open",
]

SOURCES = {
    "P": "Wang & Huang, the paper",
    "J": "Jacot, Gabriel & Hongler",
    "S": "the lecture",
    "A": "asymmetrical node scaling",
    "B": "this book",
}
SHOWN = {"corrected": "fails as printed; a correction holds"}  # what people read for a verdict's name


def source_of(claim: Claim) -> str:
    """The letter of the source that a claim is first of all about.

    >>> source_of(Claim("a", "c", "[A] Theorem 4.1, as [J] has it", "t", (0, 1), 2, ""))
    'A'
    """
    return re.findall(r"\[([A-Z])\]", claim.source)[0]


def verdict_texts(records: Iterable[Record], claims: Mapping[str, Claim], profile: str) -> dict[str, str]:
    """The verdict of every claim as it is shown, with the committed one beside it where that is another."""
    records = list(records)
    committed = unexpected(records, claims, profile)
    shown = {name: SHOWN.get(verdict, verdict) for name, verdict in verdicts(claims, records).items()}
    return shown | {
        name: f"expected {SHOWN.get(verdict, verdict)}, here {shown[name]}" for name, verdict in committed.items()
    }


def why_open(claim: Claim, record: Record | None) -> str:
    """What is said behind the verdict of a claim whose interval lies inside its region and is open all the same."""
    return f", too wide to rule out {show_number(claim.near_miss)}" if too_wide(claim, record) else ""


def summary(records: Iterable[Record], claims: Mapping[str, Claim], profile: str) -> str:
    """One line: how many claims came out which way, and how many otherwise than committed."""
    records = list(records)
    outcome = list(verdicts(claims, records).values())
    words = {"corrected": "failing as printed with a correction that holds"}
    counts = [f"{outcome.count(verdict)} {words.get(verdict, verdict)}" for verdict in VERDICTS if verdict in outcome]
    committed = unexpected(records, claims, profile)
    otherwise = f"; {len(committed)} otherwise than committed" if committed else ""
    return f"{len(outcome)} claims: {', '.join(counts)}{otherwise}"


def report(records: Iterable[Record], claims: Mapping[str, Claim], profile: str) -> dict[str, Any]:
    """What the build says of the claims at its end.

    Returns:
        A mapping with the summary under "claims", rows of claims that came out otherwise than committed under
        "unexpected", and rows of claims that more seeds might turn under "near_edge". Each row is a mapping of texts.
    """
    by_id = measured(records)
    outcome, committed = verdicts(claims, by_id.values()), unexpected(by_id.values(), claims, profile)

    def row(name: str, **texts: str) -> dict[str, str]:
        return {
            "claim": name,
            **texts,
            "measured": show_estimate(by_id[name].value, by_id[name].interval, claims[name].accept),
            "accepted": show_region(claims[name].accept),
        }

    return {
        "claims": summary(by_id.values(), claims, profile),
        "unexpected": [row(name, expected=verdict, here=outcome[name]) for name, verdict in committed.items()],
        "near_edge": [
            row(name, verdict=outcome[name], nearly=other) for name, other in near_edge(by_id.values(), claims).items()
        ],
    }


def _detail(value: Any) -> str:
    return show_number(value) if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


def substitutions(records: Iterable[Record], claims: Mapping[str, Claim], profile: str) -> dict[str, dict[str, Any]]:
    """What prose may quote of each claim: formatted `value`, `percent`, `interval`, `accept`, `verdict`, `seeds`, and `detail`.

    `rounded` is the value in three digits, whatever its interval warrants. Every claim is present; one without a record
    reads "not run".
    """
    by_id = measured(records)
    texts = {}
    for name, verdict in verdict_texts(by_id.values(), claims, profile).items():
        record, accept = by_id.get(name), claims[name].accept
        missing = "*not run*"
        texts[name] = {
            "value": show_number(record.value, record.interval, accept) if record else missing,
            "rounded": show_number(record.value, region=accept) if record else missing,
            "percent": show_percent(record.value, record.interval, accept) if record else missing,
            "interval": show_interval(record.interval, accept) if record else missing,
            "accept": show_region(accept),
            "verdict": verdict,
            "seeds": str(record.seeds if record else 0),
            "detail": {key: _detail(value) for key, value in (record.detail if record else {}).items()},
        }
    return texts


def _marked(said: Mapping[str, Any]) -> list[str]:
    """The top of the scorecard: a box with what came out otherwise, and folded away what nearly did."""

    def listed(rows: Sequence[Mapping[str, str]], between: str) -> list[str]:
        numbers = "measured {measured}, accepted {accepted}"
        return [f"- `{row['claim']}`: {between.format(**row)}; {numbers.format(**row)}" for row in rows]

    lines, otherwise, close = [], said["unexpected"], said["near_edge"]
    if otherwise:
        lines += ["", f":::{{admonition}} Claims that came out otherwise than committed ({len(otherwise)})"]
        lines += [":class: warning", ""]
        lines += ["These verdicts are not the ones committed for this profile. A processor that rounds differently can"]
        lines += ["let a training end elsewhere, and an interval near an edge then changes sides.", ""]
        lines += [*listed(otherwise, "expected **{expected}**, here **{here}**"), ":::"]
    if close:
        lines += ["", f":::{{dropdown}} Claims so near an edge that more seeds might turn them ({len(close)})", ""]
        lines += ["Moving the ends of these intervals by a tenth of their width gives another verdict.", ""]
        lines += [*listed(close, "**{verdict}**, nearly {nearly}"), ":::"]
    return lines


def _to_claims(source: str, count: int, verdict: str) -> str:
    """A number of claims as a link to the scorecard that shows these alone (`scorecard.js` reads the address)."""
    address = f"scorecard.html?{urlencode({'source': source, 'verdict': verdict})}"
    label = f"{count} claims of [{source}] {SHOWN.get(verdict, verdict)}".strip()
    return f'<a href="{html.escape(address)}" aria-label="{label}">{count}</a>' if count else "–"


def totals(records: Iterable[Record], claims: Mapping[str, Claim]) -> str:
    """A table (MyST Markdown): how the claims of each source came out, those of this book itself apart, each number a link to its claims."""
    outcome = verdicts(claims, records)
    rows: list[tuple[str, ...]] = [("claims of", *(SHOWN.get(verdict, verdict) for verdict in VERDICTS), "all")]
    for letter, name in SOURCES.items():
        mine = [outcome[claim.id] for claim in claims.values() if source_of(claim) == letter]
        counts = [(mine.count(verdict), verdict) for verdict in VERDICTS] + [(len(mine), "")]
        rows.append((f"[{letter}] {name}", *(_to_claims(letter, *each) for each in counts)))
    return "\n".join(_list_table("scorecard-sources", rows))


def _list_table(name: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in MyST, its first row the header."""
    cells = [("* - " if index == 0 else "  - ") + cell for row in rows for index, cell in enumerate(row)]
    return [":::{list-table}", ":header-rows: 1", f":class: {name}", "", *cells, ":::"]


_SUPERSCRIPT = re.compile(r"\^(?:\{([^{}]+)\}|(\([^()]+\))|([-−]?\w+(?:/\d+)?))")
_SUBSCRIPT = re.compile(
    r"(?<![A-Za-z0-9_])([A-Za-zΑ-Ωα-ω]|max)_([A-Za-z]+|[α-ω∞\d]|\{[^{}]+\})|(‖)_(\w)|([λσθΘ])(\d)(?!\d)"
)


def typeset(text: str) -> str:
    """Indices and exponents of a claim's plain text as HTML; what stands between backticks is left.

    >>> typeset("λ_min(Θ(0)) ≥ 3λ0/4 falls as m^(-1/2) or m^{-1}; Σ^(h), ‖Θ_∞‖_F, `a_b^2`")
    'λ<sub>min</sub>(Θ(0)) ≥ 3λ<sub>0</sub>/4 falls as m<sup>−1/2</sup> or m<sup>−1</sup>; Σ<sup>(h)</sup>, ‖Θ<sub>∞</sub>‖<sub>F</sub>, `a_b^2`'
    """

    def raised(found: re.Match[str]) -> str:
        inside = next(filter(None, found.groups()))
        inside = inside.strip("()") if inside.startswith(("(-", "(−")) else inside  # f^(2) is no square
        return f"<sup>{inside.replace('-', '−')}</sup>"

    def lowered(found: re.Match[str]) -> str:
        base, index = filter(None, found.groups())
        return f"{base}<sub>{index.strip('{}')}</sub>"

    pieces = text.split("`")
    pieces[::2] = [_SUBSCRIPT.sub(lowered, _SUPERSCRIPT.sub(raised, piece)) for piece in pieces[::2]]
    return "`".join(pieces)


def _row(claim: Claim, record: Record | None, outcome: str, shown: str) -> tuple[str, ...]:
    """A claim as a row of the scorecard; `scorecard.js` reads its verdict and source off the classes and brackets."""
    note = f" *{typeset(record.note)}*" if record and record.note else ""
    why = " ".join(f"Why this region: {claim.why} It must be able to reject {show_number(claim.near_miss)}.".split())
    other = claim.corrected_by
    correction = f' by <a href="#claim-{other}"><code>{other}</code></a>' if outcome == "corrected" else ""
    return (
        f'<a id="claim-{claim.id}" href="#claim-{claim.id}"><code>{claim.id}</code></a> '
        f"{typeset(claim.source)}: {typeset(' '.join(claim.statement.split()))}{note} [{typeset(why)}]{{.why}}",
        f"[{shown}]{{.verdict .{outcome.replace(' ', '-')}}}{correction}{why_open(claim, record)}",
        f'<data value="{record.value!r}">{show_estimate(record.value, record.interval, claim.accept)}</data>'
        if record
        else "–",
        show_region(claim.accept),
        show_number(claim.published) if isinstance(claim.published, int | float) else claim.published or "–",
        str(record.seeds) if record else "–",
    )


def scorecard(
    records: Iterable[Record], claims: Mapping[str, Claim], profile: str, titles: Mapping[str, str] | None = None
) -> str:
    """The scorecard page (MyST Markdown): a table of every claim for each chapter, made from records alone.

    Args:
        records: What was measured.
        claims: All claims.
        profile: Of this book.
        titles: What a chapter's table is headed by; a chapter without one is named by its file.
    """
    by_id = measured(records)
    outcome, shown = verdicts(claims, by_id.values()), verdict_texts(by_id.values(), claims, profile)
    lines = [
        "(sec:scorecard)=",
        "# Scorecard",
        "",
        f"Profile **{profile}**: {summary(by_id.values(), claims, profile)}.",
        "",
        "A verdict compares the measured 95 % interval with a region fixed beforehand; {doc}`the introduction <intro>` has the rule.",
        "A value without an interval has no sampling error: it is the worst of several runs, or computed. Where a note says",
        "*range*, the interval runs from the smallest run to the largest.",
        "",
        'All of it as a file: <a href="../scorecard.json" download>JSON</a>, <a href="../scorecard.csv" download>CSV</a>.',
    ]
    lines += ["", totals(by_id.values(), claims)]
    lines += _marked(report(by_id.values(), claims, profile))
    lines += ["", ":::{div} scorecard-filter", ":::"]
    for chapter in sorted({claim.chapter for claim in claims.values()}):
        mine = [claim for claim in claims.values() if claim.chapter == chapter]
        ran = any(claim.id in by_id for claim in mine)
        lines += [
            "",
            f"(scorecard-{chapter})=",
            f"## {(titles or {}).get(chapter, chapter)}",
            "",
            f"Executed in {{doc}}`../notebooks/{chapter}`." if ran else "Not run at this profile.",
            "",
        ]
        rows: list[tuple[str, ...]] = [("Claim", "Verdict", "Measured, 95 % interval", "Accepted", "Published", "Runs")]
        rows += [_row(claim, by_id.get(claim.id), outcome[claim.id], shown[claim.id]) for claim in mine]
        lines += _list_table("scorecard", rows)
    return "\n".join(lines) + "\n"


def scorecard_rows(records: Iterable[Record], claims: Mapping[str, Claim], profile: str) -> list[dict[str, Any]]:
    """The scorecard as data: one mapping a claim, numbers unrounded, None where nothing was measured or published.

    An end of a region that is open is None too: JSON has no infinity.
    """
    by_id = measured(records)
    outcome, committed = verdicts(claims, by_id.values()), unexpected(by_id.values(), claims, profile)
    rows = []
    for claim in claims.values():
        record = by_id.get(claim.id)
        low, high = (end if math.isfinite(end) else None for end in claim.accept)
        rows.append(
            {
                "claim": claim.id,
                "chapter": claim.chapter,
                "source": claim.source,
                "statement": " ".join(claim.statement.split()),
                "profile": profile,
                "verdict": outcome[claim.id],
                "expected": committed.get(claim.id, claim.expect.get(profile)),
                "corrected_by": claim.corrected_by,
                "value": record.value if record else None,
                "low": record.interval[0] if record else None,
                "high": record.interval[1] if record else None,
                "runs": record.seeds if record else None,
                "note": record.note if record else None,
                "accept_low": low,
                "accept_high": high,
                "near_miss": claim.near_miss,
                "why": " ".join(claim.why.split()),
                "published": claim.published,
            }
        )
    return rows
