"""Where a training stops to record and to keep its progress, and that neither these stops nor a restart change a bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk.training import descent, gradient_descent, gradient_flow, log_spaced_steps

START = jnp.array([1.0, -1.0])


def noisy(w, key):
    return 0.5 * jnp.sum(w**2) + w @ jax.random.normal(key, (2,))


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [
        (20, 7, [(7, 2), (14, 3), (20, 4)]),
        (20, 100, [(20, 4)]),
        (32, None, [(2, 1), (4, 2), (6, 2), (8, 2), (10, 2), *((k, 3) for k in range(12, 32, 2)), (32, 4)]),
        (33, None, [(3, 2), (6, 2), (9, 2), *((k, 3) for k in range(12, 33, 3)), (33, 4)]),  # a sixteenth, rounded up
    ],
)
def test_progress_is_kept_every_so_many_steps_and_at_the_end(tmp_path, monkeypatch, steps, every, expected):
    kept, write = [], descent.Checkpoint.write

    def counted(self, state, records):
        kept.append((int(state[0]), len(records)))
        write(self, state, records)

    monkeypatch.setattr(descent.Checkpoint, "write", counted)
    options = {"learning_rate": 0.1, "steps": steps, "record_at": [0, 3, 12, steps], "key": jax.random.key(0)}
    gradient_descent(noisy, START, checkpoint=tmp_path / "state.npz", checkpoint_every=every, **options)
    assert kept == expected


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 6])
def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path, monkeypatch, stop):
    options = {"learning_rate": 0.1, "steps": 20, "record": lambda w: w, "record_at": [0, 3, 7, 20]}
    options |= {"key": jax.random.key(1), "progress": False}
    whole = gradient_descent(noisy, START, **options)
    parts, advance = [], descent._advance

    def interrupted(constant, params):
        parts.append((int(constant[4]), int(constant[5])))
        if len(parts) == stop:
            raise KeyboardInterrupt
        return advance(constant, params)

    monkeypatch.setattr(descent, "_advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gradient_descent(noisy, START, checkpoint=tmp_path / "state.npz", checkpoint_every=5, **options)
    all_parts = [(0, 3), (3, 2), (5, 2), (7, 3), (10, 5), (15, 5)]  # from and how many
    assert parts == all_parts[:stop]
    parts.clear()
    stop = 0
    resumed = gradient_descent(noisy, START, checkpoint=tmp_path / "state.npz", checkpoint_every=5, **options)
    assert sum(count for _, count in parts) == 20 - parts[0][0]
    assert parts[0][0] % 5 == 0
    for ours, theirs in ((resumed.params, whole.params), (resumed.records, whole.records)):
        np.testing.assert_array_equal(ours, theirs)


def test_a_bar_changes_nothing():
    options = {"learning_rate": 0.1, "steps": 250, "record": lambda w: w, "record_at": [0, 101, 250]}
    shown, silent = (
        gradient_descent(noisy, START, key=jax.random.key(2), progress=p, **options) for p in (True, False)
    )
    np.testing.assert_array_equal(shown.records, silent.records)


def test_steps_that_are_spread_evenly_in_the_logarithm():
    assert log_spaced_steps(1000, 5).tolist() == [0, 1, 10, 100, 1000]
    assert log_spaced_steps(1, 3).tolist() == [0, 1]
    assert log_spaced_steps(7, 2).tolist() == [0, 7]
    assert len(log_spaced_steps(10**9)) == 32
    for count in (1, 0):
        with pytest.raises(ValueError, match="expected count >= 2"):
            log_spaced_steps(5, count)


def test_runs_side_by_side_have_one_leading_axis():
    start = jnp.ones((3, 2))
    with pytest.raises(ValueError, match="expected one leading axis"):
        gradient_descent(lambda w, a: jnp.sum(w), start, args=jnp.ones((2,)), batched=True, learning_rate=0.1, steps=1)
    with pytest.raises(ValueError, match="expected one leading axis"):
        gradient_descent(lambda w: w, jnp.array(1.0), batched=True, learning_rate=0.1, steps=1)


@pytest.mark.parametrize(
    "times", [[-1.0, 1.0], [], [[1.0, 2.0]], [2.0, 1.0], [1.0, 2.0, 2.0], 3.0, [0.0, np.nan], [0.0, np.inf]]
)
def test_times_of_a_flow_increase_from_0(times):
    with pytest.raises(ValueError, match="expected finite increasing times"):
        gradient_flow(lambda w: 0.5 * w @ w, START, times)


@pytest.mark.parametrize("times", [[0.0], [2.0]])
def test_a_flow_may_be_asked_for_one_time_and_keeps_its_loss(times):
    flow = gradient_flow(lambda w: 0.5 * w @ w, START, times)
    np.testing.assert_allclose(flow.params, START * np.exp(-times[0]), rtol=1e-4)
    np.testing.assert_allclose(flow.records, [np.exp(-2 * times[0])], rtol=1e-4)


def test_a_flow_is_as_exact_as_it_is_asked_to_be():
    # Twenty time constants: an error of each step that is not controlled would be seen.
    with jax.enable_x64(True):
        start = jnp.array([1.0, 1.0])
        for tolerance in (1e-4, 1e-8):
            options = {"rtol": tolerance, "atol": tolerance * 1e-3, "record": lambda w: w}
            flow = gradient_flow(lambda w: 0.5 * (w[0] ** 2 + 9 * w[1] ** 2), start, [0.5, 1.0, 2.0], **options)
            expected = np.exp(-np.outer([0.5, 1.0, 2.0], [1.0, 9.0]))
            assert np.abs(np.asarray(flow.records) - expected).max() < 20 * tolerance
            np.testing.assert_allclose(flow.params, expected[-1], rtol=0, atol=20 * tolerance)


@pytest.mark.parametrize(("steps", "error"), [(-3, ValueError), (2.5, TypeError), (None, TypeError), (True, TypeError)])
def test_a_number_of_steps_is_a_whole_one(steps, error, unchecked):
    with pytest.raises(error, match="expected steps"):
        gradient_descent(lambda w: w**2, jnp.array(1.0), learning_rate=0.1, steps=steps, record_at=np.zeros(0, int))
