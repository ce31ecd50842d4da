"""Grids of factors: places, levels, restriction."""

import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk.datasets.factors import FactorDataset


@pytest.fixture
def grid():
    def render(factors):
        return np.broadcast_to((factors @ [100, 10, 1])[:, None, None, None], (len(factors), 2, 2, 1)).astype(np.uint8)

    levels = tuple(np.arange(size) for size in (2, 3, 4))
    return FactorDataset("toy", "made here", ("a", "b", "c"), (2, 2, 1), render, levels)


def test_the_last_factor_runs_fastest(grid):
    assert len(grid) == 24
    factors = grid.factors(np.arange(24))
    np.testing.assert_array_equal(factors[:5], [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3], [0, 1, 0]])
    np.testing.assert_array_equal(grid.indices(factors), np.arange(24))
    assert grid.pixels(np.array([23]))[0, 0, 0, 0] == 123
    np.testing.assert_allclose(grid.images(np.array([23])), np.full((1, 2, 2, 1), 123 / 255), rtol=1e-6)


def test_a_restricted_grid_shows_the_levels_that_it_keeps(grid):
    small = grid.restrict(c=2, b=[2, 0])
    assert small.factor_sizes == (2, 2, 2)
    np.testing.assert_array_equal(small.pixels(np.arange(4))[:, 0, 0, 0], [20, 22, 0, 2])
    assert small.source == "made here; 2 of 3 levels of b; 2 of 4 levels of c"
    again = small.restrict(c=[1])
    np.testing.assert_array_equal(again.pixels(np.arange(2))[:, 0, 0, 0], [22, 2])


def test_factors_are_drawn_uniformly_and_independently(grid):
    factors = grid.sample_factors(np.random.default_rng(0), 24_000)
    counts = np.bincount(grid.indices(factors), minlength=24)
    assert abs(counts - 1000).max() < 5 * 1000**0.5


def test_numpys_kinds_are_pythons_own(grid):
    for two in (np.int64(2), np.uint8(2), np.array(2), jnp.int32(2)):
        np.testing.assert_array_equal(grid.restrict(c=two).levels[2], grid.restrict(c=2).levels[2])
    for levels in ((0, 2), np.array([0, 2], np.uint8), range(0, 3, 2)):
        assert grid.restrict(b=levels).factor_sizes == grid.restrict(b=[0, 2]).factor_sizes
    for indices in ([0, 5], (0, 5), np.array([0, 5], np.uint8), jnp.array([0, 5])):
        np.testing.assert_array_equal(grid.pixels(indices), grid.pixels(np.array([0, 5])))
    assert grid.indices(grid.factors([7]).tolist()).tolist() == [7]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: g.images(np.array([24])), "indices in 0 … 23"),
        (lambda g: g.images(np.array([-1])), "indices in 0 … 23"),
        (lambda g: g.indices(np.array([[0, 3, 0]])), "levels below"),
        (lambda g: g.indices(np.array([[0, 1]])), "expected 3 factors of toy, as integers"),
        (lambda g: g.restrict(d=1), "got \\['d'\\]"),
        (lambda g: g.restrict(b=4), "1 to 3 different levels of b, got 4"),
        (lambda g: g.restrict(b=0), "1 to 3 different levels of b, got 0"),
        (lambda g: g.restrict(b=[1, 1]), "different levels of b"),
        (lambda g: g.restrict(b=[0.5, 1]), "different levels of b"),
        (lambda g: g.restrict(b=[True, False, True]), "different levels of b"),
        (lambda g: g.restrict(b=2.0), "different levels of b, got 2.0"),
        (lambda g: g.pixels(3), "indices as integers of shape"),
        (lambda g: g.pixels([True, False]), "indices as integers of shape"),
        (lambda g: g.pixels([0.0, 1.0]), "indices as integers of shape"),
        (lambda g: g.indices([[0.0, 1.0, 0.0]]), "as integers"),
    ],
)
def test_what_is_not_in_the_grid_is_refused(grid, call, message):
    with pytest.raises(ValueError, match=message):
        call(grid)
