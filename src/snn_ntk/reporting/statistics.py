"""Intervals for measured numbers: every number a chapter records is an estimate over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

__all__ = ["Estimate", "bootstrap_interval", "mean_interval", "slope_interval"]


class Estimate(NamedTuple):
    """A measured number, its confidence interval and the number of independent samples behind it."""

    value: float
    interval: tuple[float, float]
    n: int


def _samples(samples: object, minimum: int) -> np.ndarray:
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim != 1 or array.size < minimum:
        raise ValueError(f"expected a vector of at least {minimum} samples, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected finite samples, got {np.count_nonzero(~np.isfinite(array))} not finite")
    return array


def mean_interval(samples: object, level: float = 0.95) -> Estimate:
    """The mean of independent samples with Student's t interval.

    Args:
        samples: vector of at least two independent measurements, usually one a seed.
        level: coverage of the interval.

    Raises:
        ValueError: if there are fewer than two samples, or one is not finite.

    >>> mean_interval([1.0, 2.0, 3.0]).value
    2.0
    """
    array = _samples(samples, 2)
    half = stats.t.ppf(0.5 + level / 2, array.size - 1) * array.std(ddof=1) / np.sqrt(array.size)
    mean = array.mean()
    return Estimate(float(mean), (float(mean - half), float(mean + half)), array.size)


def slope_interval(x: object, y: object, level: float = 0.95) -> Estimate:
    """The slope of log y against log x: one least-squares fit a seed, then the mean over seeds.

    Args:
        x: positive abscissae, shape (k,), k ≥ 2 distinct values; state them wherever the slope is quoted.
        y: positive ordinates, shape (seeds, k).
        level: coverage of the interval.

    Raises:
        ValueError: if shapes do not match, a value is not positive and finite, or there are fewer than two seeds.

    >>> slope_interval([1, 10, 100], [[1, 0.1, 0.01], [2, 0.2, 0.02]]).value
    -1.0
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or len(set(x)) < 2 or y.shape[1:] != x.shape:
        raise ValueError(f"expected x of shape (k,), k ≥ 2, and y of shape (seeds, k), got {x.shape} and {y.shape}")
    for name, values in (("x", x), ("y", y)):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(f"expected positive finite {name} for a log–log slope, got {values.tolist()}")
    slopes = np.polyfit(np.log(x), np.log(y).T, 1)[0]
    estimate = mean_interval(slopes, level)
    return Estimate(round(estimate.value, 12), estimate.interval, estimate.n)


def bootstrap_interval(
    samples: object, statistic: Callable[..., float], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Any statistic of independent samples with its bias-corrected bootstrap interval (scipy's BCa).

    Args:
        samples: vector of at least five independent measurements.
        statistic: function of an array and `axis`, such as `numpy.median`.
        level: coverage of the interval.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.

    Raises:
        ValueError: if there are fewer than five samples, or one is not finite.

    >>> estimate = bootstrap_interval([1.0, 2.0, 3.0, 4.0, 5.0], np.mean)
    >>> estimate.interval[0] < estimate.value < estimate.interval[1]
    True
    """
    array = _samples(samples, 5)
    value = float(statistic(array, axis=0))
    if np.ptp(array) == 0:
        return Estimate(value, (value, value), array.size)
    interval = stats.bootstrap(
        (array,), statistic, confidence_level=level, n_resamples=resamples, rng=np.random.default_rng(seed)
    ).confidence_interval
    return Estimate(value, (float(interval.low), float(interval.high)), array.size)
