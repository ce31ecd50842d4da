"""The monotone trend: known orders, coverage of the interval, and what too few runs say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from snn_ntk.reporting.trend import monotone_trend

M = np.repeat([10, 20, 50, 100, 200], 5)


def test_perfect_orders_and_none():
    up = monotone_trend([1, 2, 3, 4, 5, 6], [2, 3, 5, 7, 11, 13])
    assert up.value == pytest.approx(1)
    assert 0.5 < up.interval[0] < 0.9 < up.interval[1] <= 1
    assert up.p == pytest.approx(2 / 720)
    down = monotone_trend([1, 2, 3, 4, 5, 6], [13, 11, 7, 5, 3, 2])
    assert down.interval == pytest.approx((-up.interval[1], -up.interval[0]))
    assert monotone_trend(M, np.ones(25)) == (0.0, (-1.0, 1.0), 25, 1.0)
    assert monotone_trend([10, 20, 50], [0.1, 0.2, 0.3]).interval == (-1.0, 1.0)
    with pytest.raises(ValueError, match="expected two finite vectors"):
        monotone_trend([1, 2], [1, np.nan])


def test_ties_are_scipys():
    y = np.random.default_rng(0).normal(size=25) + np.log(M)
    assert monotone_trend(M, y).value == pytest.approx(stats.spearmanr(M, y).statistic)


def test_the_interval_covers_no_trend_as_often_as_it_says_and_sees_a_clear_one():
    rng = np.random.default_rng(1)
    flat = [monotone_trend(M, rng.normal(size=25), resamples=99).interval for _ in range(300)]
    covered = np.mean([low <= 0 <= high for low, high in flat])
    assert 0.91 < covered < 0.99
    clear = [monotone_trend(M, np.log(M) + 0.3 * rng.normal(size=25), resamples=99).interval[0] for _ in range(20)]
    assert np.mean(np.array(clear) > 0.3) == 1
