"""The two-layer network: gradients against automatic differentiation, and what the theorems say about its descents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk.ntk import (
    descend,
    first_layer_gram,
    gradient_step,
    init_two_layer,
    jacobian_change,
    max_distance,
    natural_gradient_step,
    online_logistic,
    pattern_changes,
    predicted_loss,
    pull_back,
    stochastic_step,
    total_distance,
    two_layer_gram,
    two_layer_output,
)

pytestmark = pytest.mark.usefixtures("x64")

N = D = 12


def problem(seed):
    key_x, key_y = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(key_x, (N, D))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True), jax.random.normal(key_y, (N,))


def test_pull_back_and_gram_are_the_jacobian():
    x, _ = problem(0)
    net = init_two_layer(jax.random.key(1), 30, D)
    jacobian = jax.jacobian(lambda w: two_layer_output(net._replace(w=w), x))(net.w)
    v = jnp.arange(1.0, N + 1)
    np.testing.assert_allclose(pull_back(net, x, v), jnp.einsum("i,ird->rd", v, jacobian), atol=1e-12)
    flat = jacobian.reshape(N, -1)
    np.testing.assert_allclose(two_layer_gram(net, x), flat @ flat.T, atol=1e-12)


@pytest.mark.parametrize("paired", [False, True])
def test_gram_tends_to_the_limit(paired):
    x, _ = problem(0)
    limit = first_layer_gram(x)
    errors = [
        np.mean(
            [
                jnp.linalg.norm(two_layer_gram(init_two_layer(jax.random.key(s), m, D, paired=paired), x) - limit)
                for s in range(4)
            ]
        )
        for m in (400, 6400)
    ]
    assert 3 < errors[0] / errors[1] < 5.3  # m^{-1/2}: a factor 4


def test_paired_start_is_zero_and_needs_an_even_width():
    x, _ = problem(0)
    assert float(jnp.abs(two_layer_output(init_two_layer(jax.random.key(0), 10, D, paired=True), x)).max()) < 1e-14
    with pytest.raises(ValueError, match="even width"):
        init_two_layer(jax.random.key(0), 11, D, paired=True)


def test_gradient_descent_follows_the_prediction():
    x, y = problem(0)
    start = init_two_layer(jax.random.key(1), 20_000, D, paired=True)
    _, loss = descend(
        lambda net, _: gradient_step(net, x, y, learning_rate=0.5),
        start,
        jax.random.key(2),
        steps=20,
        measure=lambda net: jnp.sum((two_layer_output(net, x) - y) ** 2) / 2,
    )
    kernel = first_layer_gram(x)
    right = predicted_loss(kernel, y, 20, learning_rate=0.5)
    wrong = predicted_loss(2 * kernel, y, 20, learning_rate=0.5)
    assert float(jnp.abs(jnp.sqrt(loss) - jnp.sqrt(right)).max() / jnp.sqrt(loss[0])) < 0.02
    assert float(jnp.abs(jnp.sqrt(loss) - jnp.sqrt(wrong)).max() / jnp.sqrt(loss[0])) > 0.1


def test_natural_gradient_keeps_its_bound_at_its_rate():
    x, y = problem(0)
    eta = 0.4
    start = init_two_layer(jax.random.key(1), 4000, D)
    last, residual = descend(
        lambda net, _: natural_gradient_step(net, x, y, learning_rate=eta),
        start,
        jax.random.key(2),
        steps=20,
        measure=lambda net: jnp.sum((two_layer_output(net, x) - y) ** 2),
    )
    k = jnp.arange(21)
    assert bool(jnp.all(residual <= residual[0] * (1 - eta) ** k * (1 + 1e-12)))
    rate = np.polyfit(k[3:], np.log(residual[3:]), 1)[0] / np.log(1 - eta)
    assert 1.95 < rate < 2.05
    assert 0 < float(jacobian_change(last, start, x)) < 3


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_natural_step_with_an_input_twice_is_towards_its_mean_target(dtype):
    """Least squares of (f − y1)² + (f − y2)² is that of one input with (y1 + y2)/2; a zero row moves nothing."""
    x, y = problem(0)
    start = init_two_layer(jax.random.key(1), 4000, D, dtype=dtype)
    x, y = x.astype(dtype), y.astype(dtype)
    twice, targets = jnp.concatenate([x, x[:1], 0 * x[:1]]), jnp.concatenate([y, y[:1] + 2, y[:1]])
    step = natural_gradient_step(start, twice, targets, learning_rate=0.5).w - start.w
    wanted = natural_gradient_step(start, x, y.at[0].add(1), learning_rate=0.5).w - start.w
    assert step.dtype == dtype
    error = float(jnp.linalg.norm(step - wanted) / jnp.linalg.norm(wanted))
    assert error < 200 * float(jnp.finfo(dtype).eps)
    # Without more, and with a start that no neuron answers to, there is nothing to do.
    silent = start._replace(a=0 * start.a)
    np.testing.assert_array_equal(natural_gradient_step(silent, 0 * x, y, learning_rate=0.5).w, silent.w)


def test_a_jacobian_change_of_a_singular_gram_matrix_is_infinite():
    x, _ = problem(0)
    start = init_two_layer(jax.random.key(1), 400, D)
    flipped = start._replace(w=start.w.at[0].multiply(-1))
    for more in (x[:1], 3 * x[:1], 0 * x[:1]):
        inputs = jnp.concatenate([x, more])
        assert float(jacobian_change(flipped, start, inputs)) == np.inf
        assert float(jacobian_change(start, start, inputs)) == 0
    # What answered to w does not answer to −w and the reverse: the rows of ΔJ are ±x_i/√m.
    lowest = float(jnp.linalg.eigvalsh(two_layer_gram(start, x))[0])
    wanted = 3 * float(jnp.linalg.norm(x, 2)) / 400**0.5 / lowest**0.5
    assert float(jacobian_change(flipped, start, x)) == pytest.approx(wanted, rel=1e-10)


def test_stochastic_step_averages_to_the_gradient():
    x, y = problem(0)
    start = init_two_layer(jax.random.key(1), 50, D)
    keys = jax.random.split(jax.random.key(2), 4000)
    step = jax.vmap(lambda key: stochastic_step(start, x, y, key, learning_rate=0.3, batch_size=4).w - start.w)
    moves = step(keys)
    mean, error = moves.mean(0), moves.std(0) / len(keys) ** 0.5
    full = gradient_step(start, x, y, learning_rate=0.3 / N).w - start.w
    assert float(jnp.abs((mean - full) / (error + 1e-12)).max()) < 5
    with pytest.raises(ValueError, match="batch"):
        stochastic_step(start, x, y, keys[0], learning_rate=0.3, batch_size=N + 1)


@pytest.mark.parametrize("extra", [-1, 3])
def test_stochastic_step_has_a_target_for_each_input(extra, unchecked):
    x, _ = problem(0)
    start = init_two_layer(jax.random.key(1), 50, D)
    with pytest.raises(ValueError, match="expected y of shape"):
        stochastic_step(start, x, jnp.ones(N + extra), jax.random.key(2), learning_rate=0.3, batch_size=2)


@pytest.mark.parametrize("labels", [[0, 1], [1.0, 0.5], [1.0, np.nan]])
def test_online_labels_have_two_signs(labels):
    net = init_two_layer(jax.random.key(0), 8, 2)
    with pytest.raises(ValueError, match="expected labels -1 and 1"):
        online_logistic(net, jnp.eye(2), jnp.array(labels), learning_rate=0.5)


def test_measures_of_motion():
    x, _ = problem(0)
    start = init_two_layer(jax.random.key(1), 4, D)
    flipped = start._replace(w=start.w.at[0].multiply(-1))
    assert float(pattern_changes(flipped, start, x)) == pytest.approx(0.25)
    moved = start._replace(w=start.w.at[2, 0].add(3.0).at[1, 1].add(4.0))
    assert float(max_distance(moved, start)) == pytest.approx(4.0)
    assert float(total_distance(moved, start)) == pytest.approx(5.0)


def test_pattern_changes_obey_their_lemma():
    """Expected fraction ≤ √(2/π) A when every neuron moves by at most A (ν = 1)."""
    x, _ = problem(0)
    start = init_two_layer(jax.random.key(1), 5000, D)
    direction = jax.random.normal(jax.random.key(2), start.w.shape)
    a = 0.2
    moved = start._replace(w=start.w + a * direction / jnp.linalg.norm(direction, axis=1, keepdims=True))
    assert float(pattern_changes(moved, start, x)) < (2 / np.pi) ** 0.5 * a


def test_smallest_eigenvalue_theorem():
    x, _ = problem(0)

    def eigenvalue(x):
        return float(jnp.linalg.eigvalsh(first_layer_gram(x))[0])

    assert 0 < eigenvalue(x) <= 0.5
    theta = 0.01
    near = jnp.concatenate([x, (jnp.cos(theta) * x[:1] + jnp.sin(theta) * unit_orthogonal(x[0], x[1])[None])])
    assert 0 < eigenvalue(near) <= theta / (2 * np.pi) + theta**2 / 4
    low = problem(1)[0][:, :3]
    low = low / jnp.linalg.norm(low, axis=1, keepdims=True)
    assert eigenvalue(jnp.concatenate([low, -low])) < 1e-12  # 12 antipodal pairs in dimension 3
    assert eigenvalue(low) > 1e-6


def unit_orthogonal(a, b):
    rest = b - (a @ b) * a
    return rest / jnp.linalg.norm(rest)


def test_online_logistic_learns_and_counts_before_learning():
    x = jnp.tile(jnp.eye(D)[:2], (60, 1))
    y = jnp.tile(jnp.asarray([1.0, -1.0]), 60)
    start = init_two_layer(jax.random.key(0), 200, D, paired=True)
    net, wrong = online_logistic(start, x, y, learning_rate=1.0)
    silent = start._replace(a=jnp.zeros_like(start.a))  # pairs cancel to rounding only
    assert bool(online_logistic(silent, x, y, learning_rate=1.0)[1].all())  # an output of zero is no correct guess
    assert not bool(wrong[-20:].any())
    assert bool(jnp.all(jnp.sign(two_layer_output(net, x[:2])) == y[:2]))


def test_targets_of_another_shape_are_not_broadcast(unchecked):
    x, y = problem(0)
    net = init_two_layer(jax.random.key(1), N, D)  # as many neurons as inputs: (N, N) differences would fit
    calls = [
        lambda y: gradient_step(net, x, y, learning_rate=0.1),
        lambda y: stochastic_step(net, x, y, jax.random.key(0), learning_rate=0.1, batch_size=3),
        lambda y: natural_gradient_step(net, x, y, learning_rate=0.1),
        lambda y: online_logistic(net, x, jnp.sign(y), learning_rate=0.1),
    ]
    for call in calls:
        call(y)
        with pytest.raises(ValueError, match="expected y of shape"):
            call(y[:, None])
