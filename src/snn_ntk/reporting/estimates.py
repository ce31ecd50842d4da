"""Measured numbers with their intervals: means, shares, slopes and trends over seeds, and numbers without sampling error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, SupportsFloat

import numpy as np
from scipy import stats

__all__ = [
    "Estimate",
    "Trend",
    "contrast_interval",
    "exactly",
    "grouped_slope_interval",
    "mean_interval",
    "monotone_trend",
    "share_interval",
    "slope_interval",
]


class Estimate(NamedTuple):
    """A measured number, its confidence interval and the number of independent samples behind it."""

    value: float
    interval: tuple[float, float]
    n: int


class Trend(NamedTuple):
    """A rank correlation, its confidence interval, the number of runs and the p-value of no trend at all."""

    value: float
    interval: tuple[float, float]
    n: int
    p: float


def exactly(value: SupportsFloat, n: int = 1) -> Estimate:
    """A number without sampling error: a worst case, a count, or what arithmetic alone decides.

    Args:
        value: The number.
        n: How many runs or cases it summarises.

    >>> exactly(2.5, 10)
    Estimate(value=2.5, interval=(2.5, 2.5), n=10)
    """
    number = float(value)
    return Estimate(number, (number, number), n)


def _samples(samples: object, minimum: int) -> np.ndarray:
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim != 1 or array.size < minimum:
        raise ValueError(f"expected a vector of at least {minimum} samples, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite samples, got {np.count_nonzero(~np.isfinite(array))} not finite")
    return array


def _check_logarithms(x: np.ndarray, y: np.ndarray) -> None:
    for name, values in (("x", x), ("y", y)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(f"expected positive finite {name} for a log–log slope, got {values.tolist()}")


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, such as 0.95, got {level}")
    return level


def _quantile(level: float, freedom: float) -> float:
    """Student's, of a two-sided interval."""
    return float(stats.t.ppf(0.5 + _checked(level) / 2, freedom))


def mean_interval(samples: object, level: float = 0.95) -> Estimate:
    """The mean of independent samples with Student's t interval.

    Args:
        samples: Vector of at least two independent measurements, usually one a seed.
        level: Coverage of the interval.

    Raises:
        ValueError: If there are fewer than two samples, one is not finite, or the level is not between 0 and 1.

    >>> mean_interval([1.0, 2.0, 3.0]).value
    2.0
    """
    array = _samples(samples, 2)
    half = _quantile(level, array.size - 1) * array.std(ddof=1) / np.sqrt(array.size)
    mean = array.mean()
    return Estimate(float(mean), (float(mean - half), float(mean + half)), array.size)


def _without_rounding(slope: Estimate) -> Estimate:
    """The slope of an exact power as it is."""
    value = round(slope.value, 12)
    low, high = (end + value - slope.value for end in slope.interval)
    return Estimate(value, (low, high), slope.n)


def slope_interval(x: object, y: object, level: float = 0.95) -> Estimate:
    """The slope of log y against log x: one least-squares fit a seed, then the mean over seeds.

    Args:
        x: Positive abscissae, shape (k,), k ≥ 2 distinct values; state them wherever the slope is quoted.
        y: Positive ordinates, shape (seeds, k).
        level: Coverage of the interval.

    Raises:
        ValueError: If shapes do not match, a value is not positive and finite, there are fewer than two seeds, or the
            level is not between 0 and 1.

    >>> slope_interval([1, 10, 100], [[1, 0.1, 0.01], [2, 0.2, 0.02]]).value
    -1.0
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or len(set(x)) < 2 or y.shape[1:] != x.shape:
        raise ValueError(f"expected x of shape (k,), k ≥ 2, and y of shape (seeds, k), got {x.shape} and {y.shape}")
    _check_logarithms(x, y)
    slopes = np.polyfit(np.log(x), np.log(y).T, 1)[0]
    return _without_rounding(mean_interval(slopes, level))


def grouped_slope_interval(x: object, groups: Sequence[object], level: float = 0.95) -> Estimate:
    """The slope of log y against log x where each x has independent seeds of its own, as many as there are.

    The least-squares line through the means of log y; its error is that of the means, by Welch's interval. With as many
    seeds everywhere the slope is that of `slope_interval`.

    Args:
        x: Positive abscissae, shape (k,), k ≥ 2 distinct values; state them wherever the slope is quoted.
        groups: For each of them a vector of at least two positive ordinates.
        level: Coverage of the interval.

    Returns:
        The slope, with the smallest number of seeds that an abscissa has.

    Raises:
        ValueError: If their numbers differ, an abscissa is not positive and finite or has fewer than two seeds, an
            ordinate is not positive and finite, or the level is not between 0 and 1.

    >>> grouped_slope_interval([1, 10], [[1.0, 1.0, 1.0], [0.1, 0.1]])
    Estimate(value=-1.0, interval=(-1.0, -1.0), n=2)
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or len(set(x)) < 2 or len(groups) != x.size:
        raise ValueError(f"expected x of shape (k,), k ≥ 2, and k groups, got {x.shape} and {len(groups)} groups")
    of_x = [_samples(group, 2) for group in groups]
    _check_logarithms(x, np.concatenate(of_x))
    centred = np.log(x) - np.log(x).mean()
    weights = centred / (centred @ centred)
    return _without_rounding(contrast_interval(weights, [np.log(values) for values in of_x], level))


def contrast_interval(weights: object, groups: Sequence[object], level: float = 0.95) -> Estimate:
    """A weighted sum of the means of independent groups, such as a coefficient of a least-squares fit to them.

    The groups may differ in size and in spread: Welch's interval, with the degrees of freedom of Satterthwaite.

    Args:
        weights: Shape (k,).
        groups: k vectors of at least two independent samples each.
        level: Coverage of the interval.

    Returns:
        The sum, with the smallest number of samples that a group has.

    Raises:
        ValueError: If there are not k groups, a group has fewer than two samples, one is not finite, or the level is not
            between 0 and 1.

    >>> contrast_interval([-1, 1], [[1.0, 1.0, 1.0], [3.0, 3.0]])
    Estimate(value=2.0, interval=(2.0, 2.0), n=2)
    """
    weights, of_group = np.asarray(weights, dtype=np.float64), [_samples(group, 2) for group in groups]
    if weights.shape != (len(groups),):
        raise ValueError(f"expected a weight for each of {len(groups)} groups, got shape {weights.shape}")
    sizes = np.array([samples.size for samples in of_group])
    value = float(weights @ [samples.mean() for samples in of_group])
    parts = weights**2 * [samples.var(ddof=1) for samples in of_group] / sizes
    # Where nothing scatters any quantile does.
    freedom = parts.sum() ** 2 / (parts**2 / (sizes - 1)).sum() if parts.any() else 1.0
    half = float(_quantile(level, freedom) * np.sqrt(parts.sum()))
    return Estimate(value, (value - half, value + half), int(sizes.min()))


def share_interval(hits: object, level: float = 0.95) -> Estimate:
    """The share of independent cases in which something holds, with Clopper and Pearson's interval.

    It needs no law of what was measured: a few dozen cases, none of them a hit, say that at most a few per cent are. Of
    cases with different chances of a hit it is the mean chance that is bounded, from above where none is a hit.

    Args:
        hits: Vector of truth values, one a case.
        level: Coverage of the interval.

    Raises:
        ValueError: If there is no case, or the level is not between 0 and 1.
        TypeError: If a case is neither true nor false.

    >>> none = share_interval([False] * 72)
    >>> none.value, round(none.interval[1], 3)
    (0.0, 0.05)
    """
    array = np.asarray(hits)
    if array.dtype != bool:
        raise TypeError(f"expected truth values, got {array.dtype}")
    if array.ndim != 1 or not array.size:
        raise ValueError(f"expected a vector of at least one case, got shape {array.shape}")
    found = stats.binomtest(int(array.sum()), array.size).proportion_ci(_checked(level), "exact")
    return Estimate(float(array.mean()), (float(found.low), float(found.high)), array.size)


def monotone_trend(x: object, y: object, *, level: float = 0.95, resamples: int = 9999, seed: int = 0) -> Trend:
    r"""Spearman's rank correlation ρ of y with x over independent runs, ties sharing their ranks.

    The interval is Fisher's: atanh ρ ± z √((1 + ρ²/2)/(n − 3)), with ρ held half a swap of neighbouring ranks away from
    ±1, where the formula has no width. With fewer than five runs, or one value of x or y alone, it is [−1, 1]: nothing
    is known. The test permutes y over the runs (all permutations where there are fewer than `resamples`), two-sided.

    Args:
        x: (n,) what was chosen, such as the size of a latent space; values repeat over seeds.
        y: (n,) what was measured.
        level: Coverage of the interval.
        resamples: Permutations to draw where there are too many.
        seed: Of that draw.

    Raises:
        ValueError: If shapes differ, a value is not finite, or the level is not between 0 and 1.

    Example:
        >>> trend = monotone_trend([10, 10, 50, 50, 200, 200], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        >>> round(trend.value, 2), [round(end, 2) for end in trend.interval], round(trend.p, 3)
        (0.96, [0.49, 1.0], 0.022)

    Source: bonett2000sample.
    """
    level = _checked(level)
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
