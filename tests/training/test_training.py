"""Gradient descent against closed forms, its checkpoints against a real kill, and the limit against both."""

import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk.training import descent, gradient_descent, gradient_flow, limit_flow, limit_movement, log_spaced_steps

HESSIAN = jnp.array([[2.0, 0.5], [0.5, 1.0]])
START = jnp.array([1.0, -1.0])


def quadratic(w):
    return 0.5 * w @ HESSIAN @ w


def test_log_spaced_steps_are_increasing_and_hold_both_ends():
    for steps, count in [(1, 2), (1, 10), (100, 2), (2**17, 40)]:
        spaced = log_spaced_steps(steps, count)
        assert spaced[0] == 0
        assert spaced[-1] == steps
        assert np.all(np.diff(spaced) > 0)
        assert len(spaced) <= max(count, 2)
    with pytest.raises(ValueError, match="expected steps >= 1, got 0"):
        log_spaced_steps(0, 3)


def test_descent_is_the_power_of_the_iteration_matrix():
    run = gradient_descent(quadratic, START, learning_rate=0.1, steps=50, record=lambda w: w, record_at=[0, 7, 50])
    step = np.eye(2) - 0.1 * np.asarray(HESSIAN, np.float64)
    for t, w in zip(run.steps, run.records, strict=True):
        np.testing.assert_allclose(w, np.linalg.matrix_power(step, t) @ np.asarray(START), rtol=2e-5, atol=1e-7)
    np.testing.assert_array_equal(run.records[-1], run.params)
    assert not run.diverged


def test_the_caller_keeps_his_parameters():
    start = jnp.array([1.0, -1.0])
    gradient_descent(quadratic, start, learning_rate=0.1, steps=3)
    np.testing.assert_array_equal(start, [1.0, -1.0])


def test_batched_runs_equal_single_runs_and_args_travel_with_them():
    starts = jax.random.normal(jax.random.key(0), (3, 2))

    def moved(w, initial):
        return jnp.linalg.norm(w - initial)

    def loss(w, initial):
        return quadratic(w) + 0.1 * moved(w, 0.0 * initial)

    options = {"learning_rate": 0.1, "steps": 20, "record": moved, "record_at": [0, 5, 20]}
    together = gradient_descent(loss, starts, args=starts, batched=True, **options)
    assert together.records.shape == (3, 3)
    for i, w in enumerate(starts):
        alone = gradient_descent(loss, w, args=w, **options)
        np.testing.assert_allclose(together.records[:, i], alone.records, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="common to params and args"):
        gradient_descent(loss, starts, args=starts[:2], batched=True, **options)


def test_noise_is_fresh_at_every_step_and_differs_between_runs():
    def noisy(w, key):
        return w * jax.random.normal(key)

    single = gradient_descent(noisy, jnp.array(0.0), learning_rate=1.0, steps=3, key=jax.random.key(3))
    expected = -sum(jax.random.normal(jax.random.fold_in(jax.random.key(3), t)) for t in range(3))
    np.testing.assert_allclose(single.params, expected, rtol=1e-6)
    many = gradient_descent(noisy, jnp.zeros(4), learning_rate=1.0, steps=3, key=jax.random.key(3), batched=True)
    assert len(np.unique(np.asarray(many.params))) == 4


def test_seeds_lengths_and_learning_rates_share_one_compilation():
    traced = []

    def loss(w):
        traced.append(None)
        return quadratic(w)

    gradient_descent(loss, START, learning_rate=0.1, steps=10, record=lambda w: w)
    before = len(traced)
    gradient_descent(loss, 2 * START, learning_rate=0.2, steps=1000, record=lambda w: w)
    assert len(traced) == before


def test_divergence_is_reported_run_by_run():
    starts = jnp.array([[1.0, 1.0], [0.0, 0.0]])
    run = gradient_descent(quadratic, starts, learning_rate=10.0, steps=100, batched=True)
    np.testing.assert_array_equal(run.diverged, [True, False])
    assert not np.isfinite(run.records[-1, 0])
    assert gradient_descent(quadratic, starts[0], learning_rate=10.0, steps=100).diverged


@pytest.mark.parametrize("names", ["ab", "ba"])
@pytest.mark.parametrize("batched", [False, True])
def test_one_leaf_that_diverges_is_enough(names, batched):
    """Leaves come in the order of their names, so each of the two comes last once."""
    wild, calm = names
    # A first entry that is not finite would be seen by the step, which makes the whole run NaN.
    start = {wild: jnp.array([[0.0, 1.0], [0.0, 0.0]]), calm: jnp.array([[1.0, 1.0], [1.0, 1.0]])}
    if not batched:
        start = jax.tree.map(lambda leaf: leaf[0], start)
    run = gradient_descent(
        lambda p: 0.5 * (jnp.sum(p[wild] ** 2) + 0.01 * jnp.sum(p[calm] ** 2)),
        start,
        learning_rate=10.0,
        steps=100,
        batched=batched,
        record=lambda p: p[calm],
    )
    assert np.isfinite(run.records).all()
    np.testing.assert_array_equal(run.diverged, [True, False] if batched else True)


@pytest.mark.parametrize("record_at", [[3, 2], [0, 11], [-1, 2], [0.5]])
def test_bad_record_points_are_refused(record_at):
    with pytest.raises(ValueError, match="expected record_at"):
        gradient_descent(quadratic, START, learning_rate=0.1, steps=10, record_at=record_at)


RUN = """
import sys, time
import jax, jax.numpy as jnp, numpy as np
from snn_ntk.training import gradient_descent
from snn_ntk.training.checkpoint import Checkpoint

path, result, slow = sys.argv[1], sys.argv[2], sys.argv[3] == "slow"
x = jax.random.normal(jax.random.key(0), (16, 8))
w = jax.random.normal(jax.random.key(1), (3, 8, 32))

def loss(w, key):
    z = x @ (w + 0.3 * jax.random.normal(key, w.shape))
    return jnp.mean(jnp.tanh(z) ** 2)

if slow:  # so that the parent can kill this process between two checkpoints
    write = Checkpoint.write
    def slow_write(self, *state):
        write(self, *state)
        print(state[0][0], flush=True)
        time.sleep(0.2)
    Checkpoint.write = slow_write

run = gradient_descent(loss, w, learning_rate=0.5, steps=200, key=jax.random.key(2), batched=True,
                       record_at=[0, 3, 50, 120, 200], checkpoint=path or None, checkpoint_every=7)
np.savez(result, params=run.params, records=run.records)
"""


@pytest.mark.heavy
def test_a_killed_run_resumes_bit_for_bit(tmp_path):
    script, path = tmp_path / "run.py", tmp_path / "state.npz"
    script.write_text(RUN)
    subprocess.run([sys.executable, script, "", tmp_path / "whole.npz", "fast"], check=True)

    process = subprocess.Popen(
        [sys.executable, script, path, tmp_path / "never.npz", "slow"], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if int(line) >= 70:
            time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert not (tmp_path / "never.npz").exists()
    with np.load(path) as state:
        assert 70 <= int(state["state/0"]) < 200

    subprocess.run([sys.executable, script, path, tmp_path / "resumed.npz", "fast"], check=True)
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "resumed.npz") as resumed:
        for name in ("params", "records"):
            np.testing.assert_array_equal(whole[name], resumed[name])
    assert sorted(p.name for p in tmp_path.glob("*.part")) == []


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    options = {"learning_rate": 0.1, "steps": 20, "checkpoint": path}
    first = gradient_descent(quadratic, START, **options)
    again = gradient_descent(quadratic, START, **options)  # finished: read, not run
    np.testing.assert_array_equal(first.params, again.params)
    np.testing.assert_array_equal(first.records, again.records)
    with pytest.raises(ValueError, match="another initial parameters"):
        gradient_descent(quadratic, 2 * START, **options)
    with pytest.raises(ValueError, match="another learning rate"):
        gradient_descent(quadratic, START, **options | {"learning_rate": 0.2})
    with pytest.raises(ValueError, match="another loss"):
        gradient_descent(lambda w: 2 * quadratic(w), START, **options)
    with pytest.raises(ValueError, match="another loss"):
        gradient_descent(lambda w: 0.5 * w @ (HESSIAN + 1) @ w, START, **options)
    with pytest.raises(ValueError, match="another steps; to extend a finished run"):
        gradient_descent(quadratic, START, **options | {"steps": 40})
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="to be a checkpoint"):
        gradient_descent(quadratic, START, **options)


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_first_step(tmp_path, monkeypatch):
    options = {"learning_rate": 0.1, "steps": 2}
    (tmp_path / "empty.npz").touch()
    (tmp_path / "file").touch()
    monkeypatch.setattr(descent, "_advance", lambda *_: pytest.fail("a step was made"))
    for path, message in [
        ("empty.npz", "empty.npz to be a checkpoint of a training, got an empty file"),
        ("file/state.npz", "a folder for the checkpoint .*state.npz, got none"),
        (".", "to be a file that can be written, got a folder"),
    ]:
        with pytest.raises(ValueError, match=message):
            gradient_descent(quadratic, START, checkpoint=tmp_path / path, **options)
    with pytest.raises(ValueError, match="expected checkpoint_every >= 1, got 0"):
        gradient_descent(quadratic, START, checkpoint=tmp_path / "state.npz", checkpoint_every=0, **options)
    monkeypatch.undo()
    gradient_descent(quadratic, START, checkpoint=tmp_path / "new" / "state.npz", **options)
    assert (tmp_path / "new" / "state.npz").exists()


def test_flow_is_the_matrix_exponential():
    times = [0.0, 0.5, 3.0]
    flow = gradient_flow(quadratic, START, times, record=lambda w: w)
    for t, w in zip(times, flow.records, strict=True):
        np.testing.assert_allclose(w, jax.scipy.linalg.expm(-t * HESSIAN) @ START, atol=2e-5)
    np.testing.assert_allclose(flow.params, flow.records[-1], atol=1e-6)
    with pytest.raises(ValueError, match="increasing times"):
        gradient_flow(quadratic, START, [1.0, 1.0])
    with pytest.raises(Exception, match="maximum number of solver steps"):
        gradient_flow(quadratic, START, [1e4], max_steps=10)


def random_features(n=6, p=9, d=3, seed=0):
    rng = np.random.default_rng(seed)
    features, w, y = rng.normal(size=(n, p)), rng.normal(size=(p, d)), rng.normal(size=(n, d))
    return features, w, y


@pytest.mark.parametrize("learning_rate", [None, 0.3])
def test_the_limit_is_exact_for_a_linear_model(learning_rate):
    # For f = Φ W the tangent kernel is constant, so the formulas of the limit hold with no limit taken.
    features, w, y = random_features()
    test_features = np.random.default_rng(1).normal(size=(4, features.shape[1]))
    n = len(features)

    def loss(w):
        return jnp.sum((features @ w - y) ** 2) / (2 * n)

    times = np.array([0, 1, 5, 40])
    if learning_rate is None:
        weights = gradient_flow(loss, jnp.asarray(w, jnp.float32), [1e-6, 1, 5, 40], record=lambda w: w).records
    else:
        options = {"learning_rate": learning_rate, "steps": 40, "record_at": times, "record": lambda w: w}
        weights = gradient_descent(loss, jnp.asarray(w, jnp.float32), **options).records
    flow = limit_flow(
        features @ features.T, features @ w, y, times,
        kernel_test=test_features @ features.T, f0_test=test_features @ w, learning_rate=learning_rate,
    )  # fmt: skip
    np.testing.assert_allclose(features @ np.asarray(weights), flow.train, atol=1e-3)
    np.testing.assert_allclose(test_features @ np.asarray(weights), flow.test, atol=1e-3)
    half = features.copy()
    half[:, 4:] = 0  # the first four rows of W as one layer
    kernel = features @ features.T
    moved = limit_movement(half @ half.T, kernel, features @ w, y, times, learning_rate=learning_rate)
    np.testing.assert_allclose(np.linalg.norm((np.asarray(weights) - w)[:, :4], axis=(1, 2)), moved, atol=1e-3)


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("rate", [0.2, 30.0])  # at the second every mode with an eigenvalue oscillates
def test_the_limit_of_descent_is_its_iteration(rank, rate):
    rng = np.random.default_rng(rank)
    n, steps = 3, 5
    factor, f, y = rng.normal(size=(n, rank)), rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
    if rank:
        factor = np.linalg.qr(factor)[0]  # eigenvalues 1 and 0
    kernel, layer = factor @ factor.T, rng.normal(size=(n, n))
    # Test points see what training points do; without a kernel there anything, since nothing is known of them.
    across, layer = (factor[:2] @ factor.T if rank else rng.normal(size=(2, n))), layer @ layer.T
    test, weights = rng.normal(size=(2, 2)), np.zeros((n, 2))
    start, start_test = f, test
    for _ in range(steps):
        step = rate / n * (y - f)
        f, test, weights = f + kernel @ step, test + across @ step, weights + step
    flow = limit_flow(kernel, start, y, [steps], kernel_test=across, f0_test=start_test, learning_rate=rate)
    np.testing.assert_allclose(flow.train[0], f, rtol=1e-9)
    np.testing.assert_allclose(flow.test[0], test, rtol=1e-9)
    # A layer's weights move within what the kernel sees: Θ^(s) ≤ Θ, so modes without an eigenvalue have no part.
    inside = factor @ factor.T @ layer @ factor @ factor.T if rank else layer
    moved = limit_movement(inside, kernel, start, y, [steps], learning_rate=rate)
    assert moved[0] == pytest.approx(np.sqrt(np.einsum("id,ij,jd->", weights, inside, weights)), rel=1e-9)


@pytest.mark.parametrize("time", [1e-13, 1e-12, 1e-11, 1e-3])
def test_the_limit_starts_with_the_slope_of_its_loss(time):
    # f'(0) = −(Θ/n)(f − y), and a layer moves at √(rᵀ Θ^(s) r)/n; what follows is smaller by λ t/n.
    rng = np.random.default_rng(0)
    factor, residual = rng.normal(size=(4, 6)), rng.normal(size=(4, 2))
    kernel, layer = factor @ factor.T, factor[:, :2] @ factor[:, :2].T
    zero = np.zeros((4, 2))
    across = rng.normal(size=(2, 6)) @ factor.T
    for options, times, share in (({}, [time], time / 4), ({"learning_rate": 0.01}, [1], 0.01 / 4)):
        flow = limit_flow(kernel, zero, residual, times, kernel_test=across, f0_test=zero[:2], **options)
        np.testing.assert_allclose(flow.test[0], share * across @ residual, rtol=0.02)
        moved = limit_movement(layer, kernel, zero, residual, times, **options)
        straight = share * np.sqrt(np.einsum("id,ij,jd->", residual, layer, residual))
        assert moved[0] == pytest.approx(straight, rel=0.02)


def test_without_a_kernel_weights_move_along_a_line():
    layer, residual, nothing = np.diag([1.0, 4.0, 9.0]), np.array([[1.0], [1.0], [2.0]]), np.zeros((3, 3))
    speed = np.sqrt(1 + 4 + 36) / 3
    moved = limit_movement(layer, nothing, np.zeros((3, 1)), residual, [0.0, 2.0])
    np.testing.assert_allclose(moved, [0, 2 * speed])
    moved = limit_movement(layer, nothing, np.zeros((3, 1)), residual, [0, 2], learning_rate=0.5)
    np.testing.assert_allclose(moved, [0, speed])


def test_the_limit_survives_a_singular_kernel_and_an_unstable_step():
    f0, y = np.zeros((2, 1)), np.ones((2, 1))
    flow = limit_flow(np.zeros((2, 2)), f0, y, [0.0, 10.0], kernel_test=np.ones((1, 2)), f0_test=np.zeros((1, 1)))
    np.testing.assert_allclose(flow.train, 0)
    np.testing.assert_allclose(flow.test[:, 0, 0], [0.0, 10.0])  # 2 points · t/n
    unstable = limit_flow(np.diag([0.0, 5.0]), f0, y, [0, 1, 2], learning_rate=1.0)
    np.testing.assert_allclose(unstable.train[:, 1, 0], [0.0, 2.5, -1.25])
    with pytest.raises(ValueError, match="together"):
        limit_flow(np.eye(2), f0, y, [0.0], kernel_test=np.eye(2))
    with pytest.raises(ValueError, match="expected a kernel"):
        limit_flow(np.eye(3), f0, y, [0.0])


@pytest.mark.parametrize("learning_rate", [None, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inputs_that_are_there_twice_do_not_blow_up(dtype, learning_rate):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 20)) / 20**0.5
    once, test, y = features @ features.T, rng.normal(size=(3, 20)) @ features.T, rng.normal(size=(12, 2))
    twice = np.concatenate([np.arange(12), np.arange(5)])
    noise = 1 + rng.uniform(-0.5, 0.5, (17, 17)) * np.finfo(dtype).eps
    kernel = (once[np.ix_(twice, twice)] * np.sqrt(noise * noise.T)).astype(dtype)
    assert np.linalg.eigvalsh(kernel.astype(float))[0] < 0  # rounding alone would make this mode grow
    targets = y[twice] + np.concatenate([rng.normal(size=(12, 2)), np.zeros((5, 2))])  # twins disagree
    f0, options = np.zeros((17, 2)), {"learning_rate": learning_rate}
    options |= {"kernel_test": test[:, twice].astype(dtype), "f0_test": np.zeros((3, 2))}
    found = limit_flow(kernel, f0, targets, [1e10, np.inf], **options)
    # Twins end at the mean of their targets, and the rest as kernel regression on these.
    mean = np.array([targets[twice == i].mean(axis=0) for i in range(12)])
    tolerance = 1e4 * np.finfo(dtype).eps
    for train, outside in zip(*found, strict=True):
        np.testing.assert_allclose(train, mean[twice], atol=tolerance)
        np.testing.assert_allclose(outside, test @ np.linalg.solve(once, mean), atol=tolerance)
    moved = limit_movement(kernel, kernel, f0, targets, [1e10, np.inf], learning_rate=learning_rate)
    norm = np.sqrt(np.sum(mean * np.linalg.solve(once, mean)))
    np.testing.assert_allclose(moved, norm, rtol=tolerance)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel_test": np.ones((4, 3)), "f0_test": np.zeros((4, 1))}, r"expected kernel_test \(k, 2\)"),
        ({"kernel_test": np.ones((4, 2)), "f0_test": np.zeros((1, 1))}, r"expected kernel_test \(k, 2\)"),
        ({"kernel_test": np.ones((4, 2)), "f0_test": np.zeros(4)}, r"expected kernel_test \(k, 2\)"),
        ({"y": np.ones(2), "f0": np.zeros(2)}, "expected a kernel"),
        ({"kernel": np.ones(2)}, "expected a kernel"),
        ({"kernel": np.array([[1.0, 0.5], [0.0, 1.0]])}, "expected a symmetric kernel"),
        ({"kernel": np.diag([1.0, -1.0])}, "without negative eigenvalues"),
        ({"kernel": np.diag([1.0, np.nan])}, "finite kernel"),
        ({"times": [-1.0]}, "each at least 0"),
        ({"times": [np.nan]}, "each at least 0"),
    ],
)
def test_what_has_no_limit_flow_is_refused(change, message):
    arguments = {"kernel": np.eye(2), "f0": np.zeros((2, 1)), "y": np.ones((2, 1)), "times": [1.0]}
    with pytest.raises(ValueError, match=message):
        limit_flow(**arguments | change)


@pytest.mark.parametrize("steps", [1e12, np.inf])
def test_a_descent_that_leaves_the_range_of_floats_names_the_rate_that_would_not(steps):
    kernel, y = np.diag([1.0, 4.0]), np.ones((2, 1))
    with pytest.raises(ValueError, match=r"learning rate below 1, or fewer steps, got 3 and .*overflow"):
        limit_flow(kernel, 0 * y, y, [0.0, steps], learning_rate=3.0)
    with pytest.raises(ValueError, match="learning rate below 1"):
        limit_movement(kernel, kernel, 0 * y, y, [steps], learning_rate=3.0)
    # Each mode of error e is multiplied by (1 − 3 λ/2)^t.
    found = limit_flow(kernel, 0 * y, y, [3.0], learning_rate=3.0).train[0, :, 0]
    np.testing.assert_allclose(found, [1 - (-0.5) ** 3, 1 - (-5.0) ** 3])


def test_progress_is_silent_under_ci(monkeypatch, capsys):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(descent, "tqdm", lambda **options: pytest.fail("bar") if not options["disable"] else _Bar())
    gradient_descent(quadratic, START, learning_rate=0.1, steps=5)
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.fail.Exception):
        gradient_descent(quadratic, START, learning_rate=0.1, steps=5)


class _Bar:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def update(self, _):
        return None


def shifted(y):
    """A loss in which jit hides the array that it is made of."""
    return jax.jit(lambda w: jnp.sum((w - jnp.asarray(y)) ** 2) / 2)


def with_slope(c):
    @jax.custom_jvp
    def loss(w):
        return jnp.sum(w**2)

    loss.defjvp(lambda primals, tangents: (loss(*primals), c * jnp.sum(tangents[0])))
    return loss


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ({"loss": shifted([1.0, 2.0])}, {"loss": shifted([-5.0, 7.0])}, "loss"),
        ({"loss": lambda w: shifted([1.0, 2.0])(w) + 1}, {"loss": lambda w: shifted([1.0, 3.0])(w) + 1}, "loss"),
        ({"loss": with_slope(1.0)}, {"loss": with_slope(2.0)}, "loss"),
        ({"record": lambda w: w}, {"record": lambda w: 100 * w}, "record"),
        ({"record": lambda w: w}, {}, "record"),
    ],
)
def test_a_checkpoint_knows_what_a_function_holds(tmp_path, first, second, what):
    common = {"learning_rate": 0.1, "steps": 4, "checkpoint": tmp_path / "run.npz"}

    def run(loss=None, **more):
        return gradient_descent(loss or shifted([1.0, 2.0]), jnp.zeros(2), **common, **more)

    run(**first)
    run(**first)
    with pytest.raises(ValueError, match=f"another {what}"):
        run(**second)


def test_a_checkpoint_knows_nothing_of_python_behind_a_program(tmp_path):
    def record(w):
        return jax.pure_callback(lambda v: v, w, w)

    with pytest.raises(ValueError, match="without calls to Python, got pure_callback"):
        gradient_descent(
            lambda w: w @ w, jnp.zeros(2), record=record, learning_rate=0.1, steps=4, checkpoint=tmp_path / "run.npz"
        )


def test_one_learning_rate_serves_all_runs(unchecked):
    with pytest.raises(ValueError, match=r"expected one learning_rate for all runs, got shape \(2,\)"):
        gradient_descent(lambda w: w @ w, jnp.zeros((2, 2)), learning_rate=jnp.ones(2), steps=1, batched=True)
