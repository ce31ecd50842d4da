"""What the notebooks of the book talk to: records, verdicts, figures. No mathematics is imported here, by a test.

- `chapter`: `Chapter`, one execution of a notebook: takes its figures and its records, closes with their verdicts.
- `claims`: what a claim and a record are, the one rule that judges them, which verdicts are unexpected or near an edge.
- `scorecard`: what people read of them: the scorecard, the summary, what prose quotes, what the build says at its end.
- `numbers`: numbers as people read them, with the digits that their intervals warrant.
- `estimates`: from samples to a number with its interval: means, shares, slopes, trends; `exactly` where there is no sampling.
- `comparison`: how far measured curves are from published ones.
- `figures`: the style of figures, ticks, bands over runs, lines of a slope, and how a figure is saved with its data.
- `results`: small committed results, full-length runs of ours and numbers that others published.
- `sweeps`: many runs of one notebook, each a job of the build; the names of the profiles.
- `provenance`: where a number came from, and where the checkout is.
- `dependencies`: which files a notebook depends on.
- `documents`: reading YAML and JSON, with one error for each fault.
"""

from snn_ntk.reporting.chapter import Chapter, load_records
from snn_ntk.reporting.claims import Claim, Record, judge, load_claims, near_edge, unexpected, verdicts
from snn_ntk.reporting.comparison import Comparison, compare, log_distance, worst_distance, worst_end, worst_shift
from snn_ntk.reporting.estimates import (
    Estimate,
    Trend,
    contrast_interval,
    exactly,
    grouped_slope_interval,
    mean_interval,
    monotone_trend,
    share_interval,
    slope_interval,
)
from snn_ntk.reporting.figures import plain_ticks, plot_runs, plot_slope
from snn_ntk.reporting.provenance import book_root
from snn_ntk.reporting.results import (
    committed_runs,
    gather_runs,
    how_made,
    load_published,
    load_results,
    write_results,
)
from snn_ntk.reporting.scorecard import report, scorecard, scorecard_rows, source_of, substitutions, summary, totals
from snn_ntk.reporting.sweeps import fresh

__all__ = [
    "Chapter",
    "Claim",
    "Comparison",
    "Estimate",
    "Record",
    "Trend",
    "book_root",
    "committed_runs",
    "compare",
    "contrast_interval",
    "exactly",
    "fresh",
    "gather_runs",
    "grouped_slope_interval",
    "how_made",
    "judge",
    "load_claims",
    "load_published",
    "load_records",
    "load_results",
    "log_distance",
    "mean_interval",
    "monotone_trend",
    "near_edge",
    "plain_ticks",
    "plot_runs",
    "plot_slope",
    "report",
    "scorecard",
    "scorecard_rows",
    "share_interval",
    "slope_interval",
    "source_of",
    "substitutions",
    "summary",
    "totals",
    "unexpected",
    "verdicts",
    "worst_distance",
    "worst_end",
    "worst_shift",
    "write_results",
]
