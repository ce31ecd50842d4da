"""The limit where it changes its formula or its mind: a step that learns a mode at once, a kernel that is not quite symmetric."""

import numpy as np
import pytest

from snn_ntk.training import limit_flow, limit_movement

F0, Y = np.array([[0.5], [-1.0]]), np.array([[2.0], [3.0]])


def test_a_step_of_one_over_the_eigenvalue_learns_its_mode_at_once():
    # Two points, eigenvalues 2 and 1, η = 1: (1 − ηλ/n)^t is 0^t and 2^{−t}.
    steps = np.array([0, 1, 2, 5])
    flow = limit_flow(np.diag([2.0, 1.0]), F0, Y, steps, learning_rate=1.0)
    left = np.stack([np.where(steps == 0, 1.0, 0.0), 0.5**steps], axis=1)
    np.testing.assert_allclose(flow.train[:, :, 0], Y[:, 0] + left * (F0 - Y)[:, 0], rtol=1e-12)
    moved = limit_movement(np.eye(2), np.diag([2.0, 1.0]), F0, Y, steps, learning_rate=1.0)
    np.testing.assert_allclose(moved, np.linalg.norm((1 - left) / [2, 1] * (Y - F0)[:, 0], axis=1), rtol=1e-12)


def test_a_kernel_is_symmetric_to_a_thousandth_and_its_symmetric_part_counts():
    skew = np.array([[0.0, 1.0], [-1.0, 0.0]])
    whole = limit_flow(np.diag([2.0, 1.0]), F0, Y, [1.0])
    near = limit_flow(np.diag([2.0, 1.0]) + 9e-4 * skew, F0, Y, [1.0])  # the entries differ by 1.8e-3 beside 2
    np.testing.assert_allclose(near.train, whole.train, rtol=1e-12)
    with pytest.raises(ValueError, match="expected a symmetric kernel"):
        limit_flow(np.diag([2.0, 1.0]) + 1.1e-3 * skew, F0, Y, [1.0])


def test_an_eigenvalue_below_zero_by_a_thousandth_of_the_largest_is_rounding():
    flow = limit_flow(np.diag([1.0, -9e-4]), F0, Y, [1.0])
    np.testing.assert_allclose(flow.train[0, :, 0], [2 - 1.5 * np.exp(-0.5), -1.0], rtol=1e-12)  # that mode stays
    with pytest.raises(ValueError, match="without negative eigenvalues"):
        limit_flow(np.diag([1.0, -1.1e-3]), F0, Y, [1.0])


@pytest.mark.parametrize("rate", [None, 0.1])
def test_nothing_is_learned_without_a_kernel(rate):
    still = limit_flow(np.zeros((2, 2)), np.zeros((2, 1)), np.ones((2, 1)), [0.0, 1.0, np.inf], learning_rate=rate)
    assert not still.train.any()
    with pytest.raises(ValueError, match="expected finite times for a kernel that is 0"):
        limit_movement(np.eye(2), np.zeros((2, 2)), np.zeros((2, 1)), np.ones((2, 1)), [np.inf], learning_rate=rate)


@pytest.mark.parametrize("rate", [0.0, -0.1, float("nan")])
def test_a_learning_rate_is_positive(rate):
    with pytest.raises(ValueError, match="expected a learning rate > 0"):
        limit_flow(np.eye(2), np.zeros((2, 1)), np.ones((2, 1)), [1.0], learning_rate=rate)


def test_a_descent_at_the_edge_goes_back_and_forth_and_has_no_end():
    # Eigenvalue 1 of two points: at η = 4 the error changes its sign at every step, at 3.9 it dies out.
    f0, y = np.zeros((2, 1)), np.ones((2, 1))
    found = limit_flow(np.eye(2), f0, y, [0, 1, 2, 7], learning_rate=4.0).train[:, 0, 0]
    np.testing.assert_allclose(found, [0, 2, 0, 2])
    np.testing.assert_allclose(limit_flow(np.eye(2), f0, y, [np.inf], learning_rate=3.9).train[0], y)
    for call in (limit_flow, lambda *given, **options: limit_movement(np.eye(2), *given, **options)):
        with pytest.raises(ValueError, match=r"learning rate below 4, .*have no limit"):
            call(np.eye(2), f0, y, [1, np.inf], learning_rate=4.0)


@pytest.mark.parametrize("rate", [0.5, 2.5])
def test_numbers_of_steps_are_whole(rate):
    with pytest.raises(ValueError, match="whole numbers of steps"):
        limit_flow(np.diag([1.0, 0.001]), F0, Y, [0.5], learning_rate=rate)
    assert np.isfinite(limit_flow(np.diag([1.0, 0.001]), F0, Y, [0.5]).train).all()
