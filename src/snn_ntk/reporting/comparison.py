"""How far measured curves are from published ones, when a curve stands for a few runs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from snn_ntk.reporting.estimates import Estimate

__all__ = ["Comparison", "compare", "log_distance", "worst_distance", "worst_end", "worst_shift"]

_PUBLISHED = 5  # runs behind a published mean curve; their spread is not published and taken to be ours


class Comparison(NamedTuple):
    """How far curves of several runs are from a published mean curve.

    Attributes:
        distance: Mean over the common points of |mean of the runs / published − 1|.
        end: (mean of the runs / published − 1) at the last common point.
        shifts: For each run, the mean over the common points of log(run / published).
        ends: For each run, log(run / published) at the last common point.
    """

    distance: float
    end: float
    shifts: np.ndarray
    ends: np.ndarray


def compare(at: Any, runs: Any, published_at: Any, published: Any) -> Comparison:
    """Compares runs with a published curve at the points that both have.

    Args:
        at: The runs' abscissae, (r,).
        runs: Their values, positive, (seeds, r).
        published_at: The curve's abscissae, (p,).
        published: Its values, (p,).

    Returns:
        The comparison.

    Raises:
        ValueError: If there is no common point or a value is not positive.

    Example:
        >>> round(compare([1, 2], [[1.1, 1.0], [1.3, 1.0]], [1], [1.0]).distance, 3)
        0.2
    """
    common, mine, theirs = np.intersect1d(at, published_at, return_indices=True)
    ours, curve = np.asarray(runs, np.float64)[:, mine], np.asarray(published, np.float64)[theirs]
    if not common.size or not (ours > 0).all() or not (curve > 0).all():
        raise ValueError(f"expected positive curves with a common point, got {common.size} common points")
    ratio, logs = ours.mean(axis=0) / curve, np.log(ours / curve)
    return Comparison(float(np.abs(ratio - 1).mean()), float(ratio[-1] - 1), logs.mean(axis=1), logs[:, -1])


def _estimate(value: float, spread: float, freedom: int, runs: int, of: int) -> Estimate:
    """A distance with the 95 % interval that the scatter of our runs and of the `of` published ones gives it."""
    half = float(stats.t.ppf(0.975, freedom)) * spread * (1 / runs + 1 / of) ** 0.5
    return Estimate(value, (max(0.0, value - half), value + half), runs)


def log_distance(published: float, runs: Any, of: int = _PUBLISHED) -> Estimate:
    """|mean over runs of log(run / published)|, with an interval for the scatter of ours and of the published ones.

    Args:
        published: A mean of published runs, positive.
        runs: Ours of the same quantity, at least two, positive.
        of: How many runs the published mean is of; their spread is taken to be ours.

    Returns:
        The distance and its 95 % interval, by Student's t.

    Raises:
        ValueError: If a value is not positive, or there are fewer than two runs.

    Example:
        >>> found = log_distance(1.0, [1.9, 2.0, 2.1])
        >>> [round(number, 2) for number in (found.value, *found.interval)]
        [0.69, 0.54, 0.85]
    """
    ours = np.asarray(runs, np.float64)
    if ours.ndim != 1 or ours.size < 2 or not (ours > 0).all() or not published > 0:
        raise ValueError(f"expected positive values of at least two runs, got {ours.tolist()} and {published}")
    logs = np.log(ours / published)
    return _estimate(abs(float(logs.mean())), float(logs.std(ddof=1)), logs.size - 1, logs.size, of)


def _pooled(samples: list[np.ndarray]) -> tuple[float, int, int]:
    """Standard deviation within groups, its degrees of freedom and the size of a group."""
    groups = np.stack(samples)
    freedom = groups.shape[0] * (groups.shape[1] - 1)
    if freedom < 1:
        raise ValueError(f"expected at least two runs of a configuration, got {groups.shape[1]}")
    squares = ((groups - groups.mean(axis=1, keepdims=True)) ** 2).sum()
    return float(np.sqrt(squares / freedom)), freedom, groups.shape[1]


def worst_distance(comparisons: list[Comparison]) -> Estimate:
    """The largest distance of the configurations, with an interval for the scatter of the runs, ours and published.

    Three runs say little about the spread of one configuration: it is estimated from all configurations together, on
    the logarithmic scale, where they are alike. Scatter along a curve counts as distance, in the value too.

    Args:
        comparisons: One a configuration, with equally many runs.

    Returns:
        The distance and its 95 % interval.
    """
    value = max(c.distance for c in comparisons)
    return _estimate(value, *_pooled([c.shifts for c in comparisons]), _PUBLISHED)


def worst_shift(comparisons: list[Comparison]) -> Estimate:
    """As `worst_distance`, for |mean over points and runs of log(run / published)|: scatter along a curve averages out."""
    value = max(abs(float(c.shifts.mean())) for c in comparisons)
    return _estimate(value, *_pooled([c.shifts for c in comparisons]), _PUBLISHED)


def worst_end(comparisons: list[Comparison]) -> Estimate:
    """As `worst_shift`, for |mean over runs of log(run / published)| at the end, where runs scatter most."""
    value = max(abs(float(c.ends.mean())) for c in comparisons)
    return _estimate(value, *_pooled([c.ends for c in comparisons]), _PUBLISHED)
