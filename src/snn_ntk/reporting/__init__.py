"""Records, verdicts and figures: what the notebooks of the book share."""

from snn_ntk.reporting.chapter import Chapter, load_records
from snn_ntk.reporting.claims import (
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
from snn_ntk.reporting.comparison import Comparison, compare, worst_distance, worst_shift, worst_standard_errors
from snn_ntk.reporting.provenance import book_root
from snn_ntk.reporting.results import committed_runs, gather_runs, load_published, load_results, write_results
from snn_ntk.reporting.statistics import Estimate, bootstrap_interval, mean_interval, slope_interval
from snn_ntk.reporting.trend import Trend, monotone_trend

__all__ = [
    "Chapter",
    "Claim",
    "Comparison",
    "Estimate",
    "ExpectationError",
    "Record",
    "Trend",
    "book_root",
    "bootstrap_interval",
    "check_expectations",
    "committed_runs",
    "compare",
    "gather_runs",
    "judge",
    "load_claims",
    "load_published",
    "load_records",
    "load_results",
    "mean_interval",
    "monotone_trend",
    "scorecard",
    "slope_interval",
    "substitutions",
    "summary",
    "verdicts",
    "worst_distance",
    "worst_shift",
    "worst_standard_errors",
    "write_results",
]
