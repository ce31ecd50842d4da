"""Is there a monotone trend? Rank correlation with an interval, and a permutation test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

__all__ = ["Trend", "monotone_trend"]


class Trend(NamedTuple):
    """A rank correlation, its confidence interval, the number of runs and the p-value of no trend at all."""

    value: float
    interval: tuple[float, float]
    n: int
    p: float


def monotone_trend(x: object, y: object, *, level: float = 0.95, resamples: int = 9999, seed: int = 0) -> Trend:
    r"""Spearman's rank correlation ρ of y with x over independent runs, ties sharing their ranks.

    The interval is Fisher's: atanh ρ ± z √((1 + ρ²/2)/(n − 3)), with ρ held half a swap of neighbouring ranks away from
    ±1, where the formula has no width. With fewer than five runs, or one value of x or y alone, it is [−1, 1]: nothing
    is known. The test permutes y over the runs (all permutations where there are fewer than `resamples`), two-sided.

    Args:
        x: (n,) what was chosen, such as the size of a latent space; values repeat over seeds.
        y: (n,) what was measured.
        level: coverage of the interval.
        resamples: permutations to draw where there are too many.
        seed: of that draw.

    Raises:
        ValueError: if shapes differ or a value is not finite.

    Example:
        >>> trend = monotone_trend([10, 10, 50, 50, 200, 200], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        >>> round(trend.value, 2), [round(end, 2) for end in trend.interval], round(trend.p, 3)
        (0.96, [0.49, 1.0], 0.022)

    Source: D. G. Bonett, T. A. Wright, Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations, 2000.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"expected two finite vectors of one length, got shapes {x.shape} and {y.shape}")
    n = len(x)
    if n < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Trend(0.0, (-1.0, 1.0), n, 1.0)
    a, b = (np.asarray(stats.zscore(stats.rankdata(values))) for values in (x, y))
    value = float(np.clip(a @ b / n, -1, 1))

    def correlation(sample, axis=-1):
        return (a * sample).mean(axis=axis)

    test = stats.permutation_test(
        (b,),
        correlation,
        permutation_type="pairings",
        n_resamples=resamples,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    if n < 5:
        return Trend(value, (-1.0, 1.0), n, float(test.pvalue))
    bound = 1 - 6 / (n * (n**2 - 1))
    held = np.clip(value, -bound, bound)
    half = stats.norm.ppf(0.5 + level / 2) * np.sqrt((1 + held**2 / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(held) - half), np.tanh(np.arctanh(held) + half)
    return Trend(value, (float(min(low, value)), float(max(high, value))), n, float(test.pvalue))
