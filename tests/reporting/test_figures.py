"""Bands over runs, and what plotted data become."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from snn_ntk.reporting import plot_runs
from snn_ntk.reporting.figures import _plain

RUNS = np.random.default_rng(0).normal(size=(5, 3))


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


@pytest.mark.parametrize("between", [(0, 1), (0.1, 0.9)])
def test_a_band_of_the_lines_colour_lies_around_the_mean(axes, between):
    line = plot_runs(axes, [1, 2, 3], RUNS, "o--", between=between, color="C3", label="five runs")
    np.testing.assert_allclose(line.get_ydata(), RUNS.mean(0))
    assert (line.get_marker(), line.get_linestyle(), line.get_label()) == ("o", "--", "five runs")
    (shade,) = axes.collections
    assert tuple(shade.get_facecolor()[0][:3]) == pytest.approx(to_rgb("C3"))
    edges = shade.get_paths()[0].vertices
    for x, low, high in zip([1, 2, 3], *np.quantile(RUNS, between, axis=0), strict=True):
        at = edges[edges[:, 0] == x, 1]
        assert (at.min(), at.max()) == pytest.approx((low, high))


def test_the_band_of_all_runs_ends_at_the_least_and_the_largest(axes):
    plot_runs(axes, [1, 2, 3], RUNS)
    at = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (at.min(), at.max()) == (RUNS.min(), RUNS.max())


def test_curves_of_different_lengths_become_plain_lists():
    data = {"a": [np.arange(2), np.arange(3.0)], "b": {1: (True, None, "x")}, "c": np.float32(0.5)}
    assert _plain(data) == {"a": [[0, 1], [0.0, 1.0, 2.0]], "b": {"1": [True, None, "x"]}, "c": 0.5}
