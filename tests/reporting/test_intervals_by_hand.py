"""Every interval once by its own formula: Student's, Fisher's, Clopper and Pearson's, and the pooled ones of curves."""

import numpy as np
import pytest
from scipy import stats

from snn_ntk.reporting import (
    compare,
    contrast_interval,
    grouped_slope_interval,
    mean_interval,
    monotone_trend,
    share_interval,
    slope_interval,
    worst_distance,
    worst_shift,
)

LEVELS = pytest.mark.parametrize("level", [0.95, 0.5])


def student(level, freedom):
    return stats.t.ppf((1 + level) / 2, freedom)


@LEVELS
def test_the_mean_of_three(level):
    found = mean_interval([1.0, 2.0, 6.0], level)
    half = student(level, 2) * np.sqrt((4 + 1 + 9) / 2) / np.sqrt(3)  # squares around the mean 3
    assert found.value == pytest.approx(3)
    assert found.interval == pytest.approx((3 - half, 3 + half))
    assert found.n == 3


def test_levels_are_95_percent_where_none_is_given():
    samples, noise = [1.0, 2.0, 6.0, 3.0, 2.5, 2.0], np.random.default_rng(0).normal(size=6)
    assert mean_interval(samples) == mean_interval(samples, 0.95)
    y = [[1, 0.5], [2, 0.9]]
    assert slope_interval([1, 2], y) == slope_interval([1, 2], y, 0.95)
    assert share_interval([True, False]) == share_interval([True, False], 0.95)
    assert monotone_trend(samples, noise) == monotone_trend(samples, noise, level=0.95, resamples=9999, seed=0)


def test_two_samples_are_enough_for_a_mean_and_a_matrix_is_none():
    assert mean_interval([1.0, 3.0]).interval == pytest.approx((2 - student(0.95, 1), 2 + student(0.95, 1)))
    for samples in ([1.0], [], 1.0, [[1.0, 2.0], [3.0, 4.0]]):
        with pytest.raises(ValueError, match="expected a vector of at least 2 samples"):
            mean_interval(samples)


@LEVELS
def test_slopes_of_exact_powers(level):
    powers = np.array([-1.0, -0.5, -0.6])
    x = np.array([2.0, 8.0])  # two are enough
    found = slope_interval(x, 3 * x ** powers[:, None], level)
    half = student(level, 2) * powers.std(ddof=1) / np.sqrt(3)
    assert found.value == pytest.approx(-0.7)
    assert found.interval == pytest.approx((-0.7 - half, -0.7 + half))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([[1, 2]], [[1, 2], [1, 2]], "expected x of shape"),
        ([1, 2], [1, 2], "expected x of shape"),
        ([0, 1], [[1, 2], [1, 2]], "expected positive finite x"),
        ([1, np.inf], [[1, 2], [1, 2]], "expected positive finite x"),
        ([1, 2], [[1, 0], [1, 2]], "expected positive finite y"),
        ([1, 2], [[1, np.nan], [1, 2]], "expected positive finite y"),
    ],
)
def test_no_slope_of_what_has_no_logarithm(x, y, message):
    with pytest.raises(ValueError, match=message):
        slope_interval(x, y)


@LEVELS
@pytest.mark.parametrize(("hits", "n"), [(0, 72), (3, 40), (40, 40)])
def test_a_share_has_clopper_and_pearsons_interval(level, hits, n):
    """At each end of it as many hits, or as few, as were seen have half of what is left out for their chance."""
    found = share_interval(np.arange(n) < hits, level)
    assert (found.value, found.n) == (hits / n, n)
    low, high = found.interval
    assert low == 0 if hits == 0 else stats.binom.sf(hits - 1, n, low) == pytest.approx((1 - level) / 2)
    assert high == 1 if hits == n else stats.binom.cdf(hits, n, high) == pytest.approx((1 - level) / 2)


def test_cases_are_true_or_false():
    with pytest.raises(TypeError, match="expected truth values, got int64"):
        share_interval([0, 1])
    with pytest.raises(ValueError, match="at least one case"):
        share_interval(np.zeros(0, bool))


@LEVELS
@pytest.mark.parametrize("n", [5, 8])
def test_the_trend_has_fishers_interval(level, n):
    x, y = np.arange(n), np.random.default_rng(n).permutation(n)
    rho = stats.spearmanr(x, y).statistic
    assert abs(rho) < 1 - 6 / (n * (n**2 - 1))
    found = monotone_trend(x, y, level=level)
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    assert found.value == pytest.approx(rho)
    assert found.interval == pytest.approx((np.tanh(np.arctanh(rho) - half), np.tanh(np.arctanh(rho) + half)))
    assert found.n == n


def test_values_all_equal_have_no_order_and_values_one_apart_have():
    for x, y in (([1, 2, 3, 4, 5], [2.0] * 5), ([2] * 5, [1.0, 2, 3, 4, 5])):
        assert monotone_trend(x, y) == (0.0, (-1.0, 1.0), 5, 1.0)
    assert monotone_trend([0, 0.25, 0.5, 0.75, 1], [0, 0.3, 0.5, 0.7, 1]).value == pytest.approx(1)


def test_a_perfect_order_is_held_half_a_swap_away():
    # A swap of neighbours costs Σ d² = 2, so 12/(n (n² − 1)) of ρ = 1 − 6 Σ d²/(n (n² − 1)); half of it is held back.
    n = 7
    swapped = stats.spearmanr(np.arange(n), [1, 0, *range(2, n)]).statistic
    held = (1 + swapped) / 2
    half = stats.norm.ppf(0.975) * np.sqrt((1 + held**2 / 2) / (n - 3))
    found = monotone_trend(np.arange(n), np.arange(n) ** 3)
    assert found.value == pytest.approx(1)
    assert found.interval == pytest.approx((np.tanh(np.arctanh(held) - half), 1))


def test_the_p_value_counts_permutations():
    assert monotone_trend([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)  # this order and the opposite one
    assert monotone_trend([1, 2, 3, 4], [1, 2, 3, 4]).interval == (-1, 1)
    assert monotone_trend([1, 2], [3, 4]).p == 1
    assert monotone_trend([1], [2]) == (0, (-1, 1), 1, 1)
    assert monotone_trend([1, 1, 1], [1, 2, 3]) == (0, (-1, 1), 3, 1)
    for x, y in (([1, 2, 3], [1, 2]), ([[1, 2]], [[1, 2]]), ([1, np.inf], [1, 2])):
        with pytest.raises(ValueError, match="expected two finite vectors of one length"):
            monotone_trend(x, y)


def curves():
    """Two configurations of three runs at two points, both above the published curve."""
    logs = np.array([[[0.1, 0.3], [0.2, 0.4], [0.6, 0.5]], [[0.4, 0.6], [0.5, 0.7], [0.3, 0.8]]])
    return logs, [compare([1, 2], np.exp(runs), [1, 2], [1.0, 1.0]) for runs in logs]


def test_curves_by_hand():
    logs, found = curves()
    means = logs.mean(axis=2)  # of each run along its curve
    # Within the two configurations: 2 (3 − 1) degrees of freedom.
    spread = np.sqrt(((means - means.mean(axis=1, keepdims=True)) ** 2).sum() / 4)
    # Three runs of ours and the published five.
    half = student(0.95, 4) * spread * np.sqrt(1 / 3 + 1 / 5)
    distance = max(np.mean(np.exp(runs).mean(axis=0) - 1) for runs in logs)
    shift = max(means.mean(axis=1))
    assert worst_distance(found).value == pytest.approx(distance)
    assert worst_distance(found).interval == pytest.approx((distance - half, distance + half))
    assert worst_shift(found).value == pytest.approx(shift)
    assert worst_shift(found).interval == pytest.approx((max(0, shift - half), shift + half))
    assert worst_shift(found).n == 3


def test_a_distance_is_not_below_zero_and_one_run_has_no_spread():
    near = [compare([1], np.exp([[0.1], [-0.1]]), [1], [1.0])]
    for worst in (worst_distance, worst_shift):
        assert worst(near).interval[0] == 0  # two runs are enough
        with pytest.raises(ValueError, match="expected at least two runs of a configuration, got 1"):
            worst([compare([1], [[1.1]], [1], [1.0])])


@pytest.mark.parametrize(("runs", "published"), [([[0.0], [1.0]], [1.0]), ([[1.0], [1.0]], [0.0])])
def test_curves_that_reach_zero_are_refused(runs, published):
    with pytest.raises(ValueError, match="expected positive curves"):
        compare([1], runs, [1], published)


def test_a_level_lies_between_0_and_1():
    calls = [
        lambda level: mean_interval([1.0, 2.0], level),
        lambda level: slope_interval([1, 2], [[1.0, 2.0], [1.0, 3.0]], level),
        lambda level: contrast_interval([1.0], [[1.0, 2.0]], level),
        lambda level: share_interval([True, False], level),
        lambda level: share_interval([True, True], level),
        lambda level: monotone_trend([1, 2, 3, 4, 5], [1, 2, 3, 5, 4], level=level),
        # Where the interval is a point, or everything, without it.
        lambda level: mean_interval([1.0, 1.0], level),
        lambda level: slope_interval([1, 2], [[1.0, 2.0], [1.0, 2.0]], level),
        lambda level: grouped_slope_interval([1, 2], [[1.0, 1.0], [2.0, 2.0]], level),
        lambda level: contrast_interval([1.0], [[1.0, 1.0]], level),
        lambda level: monotone_trend([1, 2, 3, 4, 5], [1.0] * 5, level=level),
        lambda level: monotone_trend([1, 2, 3], [1, 2, 3], level=level),
    ]
    for call in calls:
        for level in (95, 0, 1, -0.5, float("nan")):
            with pytest.raises(ValueError, match="expected a level between 0 and 1"):
                call(level)


def test_small_contrasts_keep_their_digits():
    found, same = contrast_interval([1], [[2e-13, 4e-13, 3e-13]]), mean_interval([2e-13, 4e-13, 3e-13])
    assert found.value == pytest.approx(3e-13, rel=1e-12, abs=0)
    assert found.interval == pytest.approx(same.interval, rel=1e-9, abs=0)
