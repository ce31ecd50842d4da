"""The Hermite series by itself: coefficients known by heart, and each of its three doubts raised by a function made for it."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax
from snn_ntk.activations import dual, dual_derivatives, series

pytestmark = pytest.mark.usefixtures("x64")


def summed(functions, slopes, pairs, *point):
    return series.series(lambda z: [f(z) for f in functions], slopes, pairs, *map(jnp.asarray, point))


def test_coefficients_of_an_exponential_are_powers():
    """E exp(√q g) h_k(g) = e^{q/2} q^{k/2}/√k!, so the sums are e^{(q1 + q2)/2 + c} and, times a constant, e^{q/2}."""
    c, q1, q2 = np.array([0.3, -0.5, 0.8, 0.0]), np.array([1.3, 0.6, 0.8, 0.4]), np.array([0.7, 0.9, 0.8, 1.0])
    both = [jnp.exp, lambda z: 3.0]
    totals, resolved, converged, norms = summed(both, ((0, 0),), ((0, 0), (1, 0), (0, 1), (1, 1)), c, q1, q2)
    wanted = np.exp((q1 + q2) / 2 + c), 3 * np.exp(q2 / 2), 3 * np.exp(q1 / 2), np.full(4, 9.0)
    np.testing.assert_allclose(totals, wanted, rtol=1e-13)
    assert bool(resolved.all())
    assert bool(converged.all())
    for norm, q in zip(norms, (q1, q2), strict=True):
        np.testing.assert_allclose(norm, [np.exp(q), np.full(4, 3.0)], rtol=1e-13)


def test_ranks_and_correlations():
    """Shapes broadcast from the right; a covariance beyond √(q1 q2) is its bound; a variance of 0 leaves f(0) E g."""
    q1, q2 = np.array([[1.0], [0.0]]), np.array([0.5, 2.0, 8.0])
    totals, _, converged, norms = summed([jnp.exp], (), ((0, 0),), 0.0, q1, q2)
    np.testing.assert_allclose(totals[0], np.exp((q1 + q2) / 2), rtol=1e-13)
    assert norms[0].shape == (1, 2, 1)
    assert norms[1].shape == (1, 1, 3)
    for sign in (-1, 1):
        totals, _, converged, _ = summed([jnp.tanh], ((0, 0),), ((0, 0),), sign * np.array([1.0, 1.3]), 1.0, 1.0)
        assert float(totals[0, 0]) == float(totals[0, 1])
    # A cube is four terms at most, also at full correlation.
    totals, _, converged, _ = summed([lambda z: z**3], (), ((0, 0),), -2.0, 2.0, 2.0)
    assert float(totals[0]) == pytest.approx(-15 * 8)
    assert bool(converged)


@pytest.mark.parametrize("q", [1e-12, 1e-6, 1.0, 1e4])
@pytest.mark.parametrize("constant", [1.0, 1e6])
def test_a_constant_beside_an_odd_function_changes_no_derivative(constant, q):
    """κ of a + tanh is a² + κ of tanh, however small the slope is beside the constant, which hides it in rounding."""
    _, *slopes = dual_derivatives(jnp.tanh, 0.5 * q, q, q)
    value, *same = dual_derivatives(lambda z: constant + jnp.tanh(z), 0.5 * q, q, q)
    assert float(value) == pytest.approx(constant**2 + float(dual(jnp.tanh, 0.5 * q, q, q)), rel=1e-14)
    np.testing.assert_allclose(same, slopes, rtol=1e-9, atol=1e-18)


def test_a_long_series_is_summed_to_its_end():
    """cos(8 z) at variance 1 and correlation 1 has terms beyond the sixtieth: ½(1 + e^{−128})."""
    totals, resolved, converged, _ = summed([lambda z: jnp.cos(8 * z)], (), ((0, 0),), 1.0, 1.0, 1.0)
    assert bool(resolved)
    assert bool(converged)
    assert float(totals[0]) == pytest.approx(0.5, rel=1e-12)
    # tanh at variance 1e6 is a jump but for its width: its series decays like k^{-3/2} and is not summed at ρ = 1.
    totals, resolved, converged, norms = summed([jnp.tanh], (), ((0, 0),), np.array([1e6, 5e5]), 1e6, 1e6)
    assert bool(resolved.all())
    assert converged.tolist() == [False, True]
    assert float(totals[0, 1]) == pytest.approx(2 / math.pi * math.asin(0.5), rel=2e-3)
    assert float(norms[0][0, 0]) == pytest.approx(1, abs=2e-3)


SLOPES = [lambda z: jnp.where(z > 0, 1.0, 0.2), lambda z: 0.0]
DOUBTS = {
    "a kink, whose second derivative is missing": (
        [lambda z: jnp.where(z > 0, z, 0.2 * z), *SLOPES],
        ((0, 1), (1, 2)),
        1.0,
    ),
    "a jump, whose derivative is missing": ([lambda z: jnp.where(z > 0.3, 1.0, 0.0), lambda z: 0.0], ((0, 1),), 1.0),
    "a growth beyond the grid": ([lambda z: jnp.exp(z * z / 4)], (), 1.0),
    "a growth beyond the grid, on its left": ([lambda z: jnp.exp(z * z / 4 - z)], (), 1.0),
    "a growth beyond the grid, on its right": ([lambda z: jnp.exp(z * z / 4 + z)], (), 1.0),
    "waves between the nodes": ([lambda z: jnp.sin(50 * z)], (), 1.0),
    "waves at a large variance": ([lambda z: jnp.sin(z)], (), 2500.0),
    "a slope that is another's": ([jnp.tanh, lambda z: 1.001 / jnp.cosh(z) ** 2], ((0, 1),), 1.0),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_each_doubt(name):
    functions, slopes, q = DOUBTS[name]
    _, resolved, converged, _ = summed(functions, slopes, ((0, 0),), np.array([0.1, 0.0]), np.array([q, 1e-4]), 1e-4)
    assert not bool(resolved[0])
    assert not bool(converged[0])


@pytest.mark.parametrize(
    ("functions", "slopes", "q"),
    [
        ([jnp.tanh, lambda z: 1 / jnp.cosh(z) ** 2], ((0, 1),), 1e8),
        ([jnp.sin, jnp.cos, lambda z: -jnp.sin(z)], ((0, 1), (1, 2)), 30.0),
        ([lambda z: 0.0 * z], (), 1.0),
        ([lambda z: jnp.exp(z * z / 9)], (), 1.0),
    ],
    ids=["tanh", "sin", "zero", "growth"],
)
def test_no_doubt(functions, slopes, q):
    totals, resolved, converged, _ = summed(functions, slopes, ((0, 0),), 0.3 * q, q, q)
    assert bool(resolved)
    assert bool(converged)
    assert bool(jnp.isfinite(totals).all())


def test_single_precision_is_judged_by_its_own_digits():
    assert series.tolerance(jnp.dtype(jnp.float64)) == 1e-10
    assert series.tolerance(jnp.dtype(jnp.float32)) == 3e-6
    point = [jnp.asarray(v, jnp.float32) for v in (0.3, 1.0, 1.0)]
    functions = [jnp.tanh, lambda z: 1 / jnp.cosh(z) ** 2]
    totals, _, converged, _ = series.series(lambda z: [f(z) for f in functions], ((0, 1),), ((0, 0), (1, 1)), *point)
    assert totals.dtype == jnp.float32
    assert bool(converged)
    exact, *_ = summed(functions, ((0, 1),), ((0, 0), (1, 1)), 0.3, 1.0, 1.0)
    np.testing.assert_allclose(totals, exact, rtol=2e-6)


@pytest.mark.parametrize("point", [(0.5, 1e6, 1.0), (0.5, 1.0, 1e6)])
@pytest.mark.parametrize("function", [dual, dual_derivatives])
def test_the_larger_variance_is_named(function, point):
    with pytest.raises(ValueError, match=r"got q up to 1e\+06"):
        function(stax.Exp(), *point)
