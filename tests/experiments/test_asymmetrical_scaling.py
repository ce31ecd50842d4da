"""The node-scaling experiments: their data, training, and what is measured afterwards."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import node_scaling
from snn_ntk.experiments.asymmetrical_scaling import (
    CONFIGURATIONS,
    curves,
    draw_run,
    followed_nodes,
    pruned,
    run_asymmetrical_scaling,
    scaling_data,
    simulated_data,
    stack_runs,
    train_scaled,
    training_ends,
    transferred,
)
from snn_ntk.node_scaling import ScaledNetwork
from snn_ntk.reporting import committed_runs


@pytest.fixture(scope="module")
def trained():
    run = draw_run(scaling_data("airfoil", n=40), CONFIGURATIONS[2], seed=0, m=20)
    return run, train_scaled(run, steps=30, every=10, progress=False)


def test_simulated_data_are_as_described():
    data = simulated_data(3, n=500, d=20)
    np.testing.assert_allclose(jnp.linalg.norm(data.x, axis=1), 1, atol=1e-5)
    noise = data.y - jnp.mean(5 * jnp.sin(jnp.pi * data.x), axis=1)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.15)
    assert not np.allclose(data.x, simulated_data(4, n=500, d=20).x)
    assert data.x_kernel.shape == (500, 20)


def test_data_of_the_other_experiments():
    concrete = scaling_data("concrete")
    assert (concrete.x.shape, concrete.x_kernel.shape, concrete.x_transfer.shape) == ((412, 8), (50, 8), (412, 8))
    digits = scaling_data("mnist", n=30, side=7)
    assert (digits.x.shape, digits.y.shape) == ((30, 49), (30, 10))
    assert float(digits.y.sum()) == 30
    assert 0 <= float(digits.x.min()) <= float(digits.x.max()) <= 1
    with pytest.raises(ValueError, match="expected one of"):
        scaling_data("boston")


@pytest.mark.parametrize("name", ["simulated", "airfoil"])
def test_the_first_points_of_every_part_are_kept(name, unchecked):
    whole, few = scaling_data(name, seed=3), scaling_data(name, seed=3, n=10)
    for all_of_them, kept in zip(whole, few, strict=True):
        assert kept.shape[0] == min(10, all_of_them.shape[0])
        np.testing.assert_array_equal(kept, all_of_them[:10])
    for n, error in ((0, ValueError), (-5, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match="expected n"):
            scaling_data(name, n=n)


@pytest.mark.parametrize("name", ["simulated", "airfoil", "mnist"])
def test_data_are_the_same_and_float32_in_double_precision(name):
    single = scaling_data(name, seed=3, n=20)
    with jax.enable_x64(True):
        double = scaling_data(name, seed=3, n=20)
    for one, other in zip(single, double, strict=True):
        assert one.dtype == other.dtype == jnp.float32
        np.testing.assert_array_equal(one, other)


def test_names_are_those_of_the_published_curves():
    assert [c.name for c in CONFIGURATIONS] == [
        "gamma=1.0",
        "alpha=0.7,gamma=0.5",
        "alpha=0.5,gamma=0.2",
        "alpha=0.4,gamma=0.0",
    ]


def test_configurations_of_a_seed_begin_alike():
    data = scaling_data("airfoil", n=10)
    one, other = (draw_run(data, c, seed=1, m=30) for c in (CONFIGURATIONS[0], CONFIGURATIONS[3]))
    np.testing.assert_array_equal(one.start, other.start)
    keyed = draw_run(data, CONFIGURATIONS[0], seed=jax.random.key(1), m=30)
    np.testing.assert_array_equal(one.start, keyed.start)
    assert float(other.scalings[0]) == 0  # counted from 0: the first node has no Zipf mass
    assert float(draw_run(data, CONFIGURATIONS[3], seed=1, m=30, first=1).scalings[0]) > 0.5


def test_training_is_plain_gradient_descent_of_the_risk(trained):
    run, trajectory = trained
    weights = run.start.T
    for _ in range(30):
        weights = weights - jax.grad(
            lambda w: node_scaling.risk(ScaledNetwork(w, run.signs, run.scalings), run.data.x, run.data.y)
        )(weights)
    np.testing.assert_allclose(trajectory.params.T, weights, atol=1e-4)
    assert trajectory.steps.tolist() == [0, 10, 20, 30]


def test_the_followed_node_is_the_one_that_moved_most_at_the_end(trained):
    run, trajectory = trained
    found = curves(trajectory)
    moved = np.linalg.norm(trajectory.params - run.start, axis=0)
    assert found.wdiff[-1] == pytest.approx(moved.max(), rel=1e-5)
    assert found.wdiff[0] == 0
    net = ScaledNetwork(trajectory.params.T, run.signs, run.scalings)
    before = node_scaling.tangent_gram(ScaledNetwork(run.start.T, run.signs, run.scalings), run.data.x_kernel)
    change = node_scaling.tangent_gram(net, run.data.x_kernel) - before
    assert found.ntkdiff[-1] == pytest.approx(np.linalg.norm(change, 2) ** 0.5, rel=1e-3)
    assert found.train[-1] == pytest.approx(float(node_scaling.risk(net, run.data.x, run.data.y)), rel=1e-5)


def test_pruning_ends_at_the_risk_of_nothing(trained):
    run, trajectory = trained
    risks = pruned(trajectory.params, run, [0, 20])
    for found, part, y in zip(risks, ("train", "test"), (run.data.y, run.data.y_test), strict=True):
        assert found[0] == pytest.approx(getattr(curves(trajectory), part)[-1], rel=1e-4)
        assert found[1] == pytest.approx(float(jnp.mean(y**2)), rel=1e-5)


def test_transfer_learns_from_the_features(trained):
    run, trajectory = trained
    before = transferred(trajectory.params, run, [2, 10], seed=0, steps=1)
    after = transferred(trajectory.params, run, [2, 10], seed=0, steps=200)
    assert (after[0] < before[0]).all()
    assert np.isfinite(after).all()


def gathered(*entries):
    """Runs as a sweep gives them, of every configuration: (seed, what was measured)."""
    return [
        {"parameters": {"data": "simulated", "configuration": c.name, "seed": seed}, "result": result}
        for c in CONFIGURATIONS
        for seed, result in entries
    ]


def full(value, steps=(0, 2)):
    return {"steps": list(steps), "train": [9.0, value], "removed": [100], "prune_test": [value]}


@functools.cache
def run(**changes):
    settings = dict(data="simulated", configuration="gamma=1.0", seed=0, steps=2) | changes
    return json.loads(json.dumps(run_asymmetrical_scaling(**settings)))


def test_a_full_run_reports_what_the_chapter_needs():
    found = run()
    assert found["steps"] == [0, 2]
    assert len(found["prune_train"]) == len(found["removed"]) == 20
    assert found["prune_test"][-1] == pytest.approx(float(jnp.mean(simulated_data(0).y_test ** 2)), rel=1e-5)
    assert "transfer_test" not in found  # simulated data have no third part
    moved = np.array(found["followed"]["moved"])
    assert (moved.shape, found["followed"]["steps"]) == ((10, 1), [2])
    assert (np.diff(moved[:, -1]) <= 0).all()
    assert moved[0, -1] == pytest.approx(found["wdiff"][-1], rel=1e-5)
    with pytest.raises(ValueError, match="expected a configuration, one of"):
        run(configuration="gamma=0.7")


def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path):
    settings = dict(data="simulated", configuration="gamma=1.0", seed=0)
    file = tmp_path / "run.npz"
    run_asymmetrical_scaling(**settings, steps=2, checkpoint=file)
    before = file.read_bytes()
    assert run_asymmetrical_scaling(**settings, steps=2, checkpoint=file) == run()
    assert file.read_bytes() == before  # read, not made again


def test_seeds_are_stacked_in_order_however_they_were_added():
    committed = gathered((2, full(0.2)), (0, full(0.1)))
    assert stack_runs(committed)["simulated"]["seeds"] == [0, 2]
    more = [*gathered((1, full(0.3)), (0, full(7.0))), *committed]  # made now: of two with one seed it comes first
    more += gathered((8, {"steps": [2], "train": [0.8]}))  # only the end of the risk was kept
    more += gathered((9, full(0.9)))[:3]  # one configuration is missing
    found = stack_runs(more)
    assert list(found) == ["simulated"]
    assert found["simulated"]["seeds"] == [0, 1, 2]
    curve = found["simulated"]["configurations"]["gamma=1.0"]
    assert curve["steps"].tolist() == [0, 2]
    assert curve["train"].tolist() == [[9.0, 7.0], [9.0, 0.3], [9.0, 0.2]]
    assert curve["prune_test"].tolist() == [[7.0], [0.3], [0.2]]
    assert training_ends(more, "simulated", "gamma=1.0").tolist() == [7.0, 0.3, 0.2, 0.8, 0.9]


def test_runs_of_other_lengths_are_not_stacked():
    runs = gathered((0, full(0.1)), (1, full(0.2, steps=(0, 3))))
    with pytest.raises(ValueError, match="same steps, got 2 up to 2 and 2 up to 3"):
        stack_runs(runs)
    nodes = [{"followed": {"steps": [k], "moved": [[0.5]] * 10}} for k in (1, 2)]
    with pytest.raises(ValueError, match="same steps, got 1 up to 1 and 1 up to 2"):
        followed_nodes(gathered(*enumerate(nodes)), "simulated", "gamma=1.0")


def test_the_committed_runs_are_full_runs():
    runs = list(committed_runs("13-asymmetrical-scaling").values())
    found = stack_runs(runs)
    seeds = {data: len(of_data["seeds"]) for data, of_data in found.items()}
    assert seeds == {"simulated": 5, "concrete": 5, "airfoil": 5, "energy": 3}
    transfer = found["airfoil"]["configurations"]["gamma=1.0"]["transfer_test"]
    assert transfer.shape == (5, 5)
    assert len(training_ends(runs, "simulated", "alpha=0.5,gamma=0.2")) == 9
    at, moved = followed_nodes(runs, "airfoil", "gamma=1.0")
    assert (at[-1], moved.shape) == (100_000, (5, 10, 7))
