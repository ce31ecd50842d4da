"""What a notebook talks to: `Chapter` collects its figures and the records of its claims."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from snn_ntk._files import write_bytes
from snn_ntk.reporting.claims import Record, load_claims
from snn_ntk.reporting.documents import PROFILES, read_records
from snn_ntk.reporting.estimates import Estimate
from snn_ntk.reporting.figures import controls, figure_html, save_figure, save_frames, use_style
from snn_ntk.reporting.numbers import show_interval, show_number, show_region
from snn_ntk.reporting.provenance import book_root, provenance
from snn_ntk.reporting.scorecard import verdict_texts, why_open

__all__ = ["Chapter", "load_records"]


class Chapter:
    """One execution of one chapter.

    Output goes to the folder named by `SNN_NTK_OUTPUT`, which the build sets, else to
    `_build/interactive/<chapter>` of the checkout. Claims are read from `book/claims` there.

    Args:
        name: The notebook's stem, such as "05-stochastic-ntk".
        profile: "smoke", "laptop" or "gpu".

    Raises:
        ValueError: If there is no such chapter or profile.
    """

    def __init__(self, name: str, profile: str) -> None:
        if profile not in PROFILES:
            raise ValueError(f"expected a profile, one of {PROFILES}, got {profile!r}")
        root = book_root()
        self.name, self.profile = name, profile
        self._all_claims = load_claims(root / "book" / "claims")
        self.claims = {claim.id: claim for claim in self._all_claims.values() if claim.chapter == name}
        if not self.claims:
            chapters = sorted({claim.chapter for claim in self._all_claims.values()})
            raise ValueError(f"expected a chapter of book/claims, one of {chapters}, got {name!r}")
        built = os.environ.get("SNN_NTK_OUTPUT")
        self.folder = Path(built) if built else root / "_build" / "interactive" / name
        self._links = bool(built)
        self._stamp = provenance(root, name, profile)
        self._records: dict[str, Record] = {}
        use_style()

    def record(
        self,
        id: str,
        value: float | Estimate,
        *,
        interval: tuple[float, float] | None = None,
        seeds: int | None = None,
        note: str = "",
        **detail: Any,
    ) -> None:
        """Records the measurement of one claim; the verdict follows from `book/claims`.

        Args:
            id: The claim.
            value: The measured number, or an `Estimate` that brings interval and sample size along.
            interval: Its 95 % interval; `exactly` makes the estimate of a number that has no sampling error.
            seeds: Number of independent runs behind it; 0 says "not run".
            note: A few words for the scorecard, such as a fit's range.
            detail: Further numbers that prose or tables quote.

        Raises:
            ValueError: If the claim is not this chapter's or already recorded, a number is not finite, the interval
                does not contain the value, or the number of seeds is negative.
        """
        if id not in self.claims:
            raise ValueError(f"expected a claim of {self.name}, one of {sorted(self.claims)}, got {id!r}")
        if id in self._records:
            raise ValueError(f"expected one record a claim, got a second of {id!r}")
        if isinstance(value, Estimate):
            value, interval, seeds = value.value, interval or value.interval, value.n if seeds is None else seeds
        if interval is None or seeds is None:
            raise ValueError(f"record {id}: expected an interval and a number of seeds, got {interval} and {seeds}")
        if seeds < 0:
            raise ValueError(f"record {id}: expected a number of seeds >= 0, got {seeds}")
        bounds = (float(interval[0]), float(interval[1]))
        numbers = {key: item if isinstance(item, str | int | bool) else float(item) for key, item in detail.items()}
        self._records[id] = Record(id, float(value), bounds, int(seeds), note, numbers, self._stamp)

    def figure(
        self, figure: Figure, name: str, *, caption: str, alt: str, data: Mapping[str, object], title: str = ""
    ) -> None:
        """Stamps, saves (SVG, light and dark, PNG, plotted data as JSON) and displays a figure.

        Args:
            figure: A matplotlib figure; it gets the book's width and is closed.
            name: File name without ending.
            caption: A sentence that can be read without the text around it.
            alt: What a reader who cannot see the figure needs to know.
            data: The plotted numbers by name.
            title: The message, in a few words that stand above the figure.
        """
        svg = save_figure(figure, self.folder / "figures", name, title, data, self._stamp)
        self._show(svg, name, caption, alt)

    def moving_figure(
        self,
        draw: Callable[..., Figure],
        name: str,
        choices: Mapping[str, Sequence[object]],
        *,
        still: Sequence[object],
        caption: str,
        alt: str,
        data: Mapping[str, object],
        title: str,
    ) -> None:
        """Saves and displays a figure that moves: a slider for each choice, and a still for paper and where no script runs.

        Args:
            draw: From one value of each choice to a matplotlib figure; axes should not depend on them.
            name: File name without ending.
            choices: Values by the name that stands beside their slider; all their combinations are drawn.
            still: The values of the still.
            caption: As in `figure`.
            alt: As in `figure`, of the still.
            data: As in `figure`.
            title: As in `figure`.
        """
        folder, values = self.folder / "figures", list(choices.values())
        figure = draw(*still)
        svg = save_figure(figure, folder, name, title, data, self._stamp)
        if self._links:
            save_frames(draw, values, figure, folder, name, title=title, stamp=self._stamp)
        self._show(svg, name, caption, alt, controls(choices, still, f"../figures/{self.name}/{name}"))

    def _show(self, svg: bytes, name: str, caption: str, alt: str, sliders: str = "") -> None:
        """Displays a figure; what lies beside the book's pages is there in a build only."""
        source = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
        address = f"../figures/{self.name}/{name}"
        more = {}
        if self._links:
            kinds = {kind: f"{address}.{kind.lower()}" for kind in ("SVG", "PNG", "JSON")}
            links = " · ".join(f'<a href="{html.escape(url)}" download>{kind}</a>' for kind, url in kinds.items())
            more = {"dark": f"{address}.dark.svg", "controls": sliders, "links": links}
        display(HTML(figure_html(source, caption=html.escape(caption), alt=html.escape(alt), **more)))

    def close(self) -> None:
        """Writes the records at once and shows the verdicts, with the committed one where that is another.

        Raises:
            ValueError: If a claim of this chapter was not recorded.
        """
        missing = sorted(set(self.claims) - set(self._records))
        if missing:
            raise ValueError(f"expected a record of every claim of {self.name}, got none of {missing}")
        records = list(self._records.values())
        made = [dataclasses.asdict(record) for record in records]
        write_bytes(self.folder / "claims.json", json.dumps(made, indent=1).encode())
        write_bytes(self.folder / "provenance.json", json.dumps(self._stamp, indent=1).encode())
        outcome = verdict_texts(records, self._all_claims, self.profile)
        rows = []
        for r in records:
            claim = self.claims[r.id]
            value = show_number(r.value, r.interval, claim.accept) if r.seeds else "–"
            interval = show_interval(r.interval, claim.accept) if r.seeds else "–"
            verdict = f"**{outcome[r.id]}**{why_open(claim, r)}"
            rows.append(f"| `{r.id}` | {value} | {interval} | {show_region(claim.accept)} | {r.seeds} | {verdict} |")
        head = "| Claim | Measured | 95 % interval | Accepted | Runs | Verdict |\n|---|---|---|---|---|---|\n"
        display(Markdown(head + "\n".join(rows)))


def load_records(path: str | Path) -> list[Record]:
    """Reads a `claims.json` that `Chapter.close` wrote.

    Raises:
        ValueError: If it is damaged.
    """
    entries = read_records(Path(path))
    try:
        return [Record(**{**entry, "interval": tuple(entry["interval"])}) for entry in entries]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
