"""Intervals: coverage, exact cases, refusals; the monotone trend: known orders, and what too few runs say."""

import numpy as np
import pytest
from scipy import stats

from snn_ntk.reporting import (
    contrast_interval,
    exactly,
    grouped_slope_interval,
    mean_interval,
    monotone_trend,
    slope_interval,
)

M = np.repeat([10, 20, 50, 100, 200], 5)


def coverage(interval_of, draw, truth, runs=400):
    rng = np.random.default_rng(0)
    hits = sum(low <= truth <= high for low, high in (interval_of(draw(rng)).interval for _ in range(runs)))
    return hits / runs


def test_mean_interval_covers_as_often_as_it_says():
    measured = coverage(mean_interval, lambda rng: rng.normal(3.0, 1.0, 5), 3.0)
    assert 0.95 - 3 * 0.011 < measured < 0.95 + 3 * 0.011


def test_slope_of_a_noisy_power_law():
    x = np.array([64, 128, 256, 512, 1024])
    noise = np.random.default_rng(1).normal(0, 0.05, (8, 5))
    estimate = slope_interval(x, 3 * x**-0.5 * np.exp(noise))
    assert estimate.interval[0] < -0.5 < estimate.interval[1]
    assert 0.005 < estimate.interval[1] - estimate.interval[0] < 0.1
    assert estimate.n == 8


def test_a_slope_between_two_groups_is_welchs_difference_of_means():
    rng = np.random.default_rng(0)
    few, many = rng.normal(1, 0.3, 4), rng.normal(2, 0.1, 9)
    estimate = grouped_slope_interval([1, np.e], [np.exp(few), np.exp(many)])
    welch = stats.ttest_ind(many, few, equal_var=False).confidence_interval()
    assert estimate.value == pytest.approx(many.mean() - few.mean())
    assert estimate.interval == pytest.approx(tuple(welch))
    assert estimate.n == 4


def test_a_contrast_of_unequal_groups_covers_as_often_as_it_says():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    weights = np.linalg.pinv(np.vander(x, 2, increasing=True))[0]

    def groups(rng):
        return [rng.normal(5 - at, 0.1 * at, size) for at, size in zip(x, (9, 7, 4, 3), strict=True)]

    assert 0.9 < coverage(lambda drawn: contrast_interval(weights, drawn), groups, 5.0) < 0.99


def test_with_as_many_seeds_everywhere_both_slopes_are_one():
    x = np.array([64, 128, 256, 512, 1024])
    y = 3 * x**-0.5 * np.exp(np.random.default_rng(1).normal(0, 0.05, (8, 5)))
    assert grouped_slope_interval(x, [*y.T]).value == pytest.approx(slope_interval(x, y).value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: contrast_interval([1.0], [[1, 2], [1, 2]]), "a weight for each of 2 groups"),
        (lambda: contrast_interval([1.0, 1.0], [[1, 2], [1, np.nan]]), "finite samples"),
        (lambda: grouped_slope_interval([1, 2], [[1, 2]]), "k groups"),
        (lambda: grouped_slope_interval([1, 1], [[1, 2], [1, 2]]), "k ≥ 2"),
        (lambda: grouped_slope_interval([1, 2], [[1, 2], [1]]), "at least 2"),
        (lambda: grouped_slope_interval([1, 2], [[1, 2], [1, -1]]), "positive finite y"),
        (lambda: grouped_slope_interval([0, 2], [[1, 2], [1, 1]]), "positive finite x"),
        (lambda: mean_interval([1.0]), "at least 2"),
        (lambda: mean_interval([1.0, np.nan]), "finite"),
        (lambda: slope_interval([1, 2], [[1, 2, 3]]), "seeds, k"),
        (lambda: slope_interval([1, 2], [[1, -2], [1, 1]]), "positive"),
        (lambda: slope_interval([1, 1], [[1, 2], [1, 1]]), "k ≥ 2"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_exact_number_is_its_own_interval():
    assert exactly(np.float32(0.5), 3) == (0.5, (0.5, 0.5), 3)
    assert exactly(2).n == 1


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
