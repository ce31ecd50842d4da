"""Intervals: coverage, exact cases, refusals."""

import numpy as np
import pytest

from snn_ntk.reporting import bootstrap_interval, mean_interval, slope_interval


def coverage(interval_of, draw, truth, runs=400):
    rng = np.random.default_rng(0)
    hits = sum(low <= truth <= high for low, high in (interval_of(draw(rng)).interval for _ in range(runs)))
    return hits / runs


def test_mean_interval_covers_as_often_as_it_says():
    measured = coverage(mean_interval, lambda rng: rng.normal(3.0, 1.0, 5), 3.0)
    assert 0.95 - 3 * 0.011 < measured < 0.95 + 3 * 0.011


def test_bootstrap_interval_of_a_median():
    measured = coverage(
        lambda s: bootstrap_interval(s, np.median, resamples=300), lambda rng: rng.normal(0, 1, 40), 0.0, 150
    )
    assert 0.87 < measured < 1.0


def test_bootstrap_of_equal_samples_is_a_point():
    assert bootstrap_interval([2.0] * 6, np.median) == (2.0, (2.0, 2.0), 6)


def test_slope_of_a_noisy_power_law():
    x = np.array([64, 128, 256, 512, 1024])
    noise = np.random.default_rng(1).normal(0, 0.05, (8, 5))
    estimate = slope_interval(x, 3 * x**-0.5 * np.exp(noise))
    assert estimate.interval[0] < -0.5 < estimate.interval[1]
    assert 0.005 < estimate.interval[1] - estimate.interval[0] < 0.1
    assert estimate.n == 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([1.0]), "at least 2"),
        (lambda: mean_interval([1.0, np.nan]), "finite"),
        (lambda: slope_interval([1, 2], [[1, 2, 3]]), "seeds, k"),
        (lambda: slope_interval([1, 2], [[1, -2], [1, 1]]), "positive"),
        (lambda: slope_interval([1, 1], [[1, 2], [1, 1]]), "k ≥ 2"),
        (lambda: bootstrap_interval([1.0, 2.0], np.mean), "at least 5"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
