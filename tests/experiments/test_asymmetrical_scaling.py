"""The node-scaling experiments: their data, training, and what is measured afterwards."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import node_scaling
from snn_ntk.experiments.asymmetrical_scaling import (
    CONFIGURATIONS,
    __main__,
    curves,
    draw_run,
    pruned,
    scaling_data,
    simulated_data,
    train_scaled,
    transferred,
)
from snn_ntk.node_scaling import ScaledNetwork
from snn_ntk.reporting import load_results


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


@pytest.fixture
def study(tmp_path, monkeypatch, capsys):
    """Calls the command in a checkout of its own, with one configuration and two steps."""
    (tmp_path / "book" / "claims").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(__main__, "STEPS", {"simulated": 2})
    monkeypatch.setattr(__main__, "CONFIGURATIONS", CONFIGURATIONS[:1])

    def call(what, *more, seeds):
        chosen = [what, "simulated", "--folder", str(tmp_path / "runs"), "--seeds", *map(str, seeds), *more]
        monkeypatch.setattr(sys, "argv", ["study", *chosen])
        __main__._main()
        return load_results("13-asymmetrical-scaling", root=tmp_path)

    yield call
    capsys.readouterr()


def test_the_command_runs_resumes_and_collects(study, tmp_path):
    study("run", "--part", "0", "--parts", "2", seeds=[0, 1])
    # The seed that was not run is not there.
    assert study("collect", seeds=[0, 1])["series"]["simulated"]["seeds"] == [0]
    study("run", "--part", "1", "--parts", "2", seeds=[0, 1])
    found = study("collect", "--time", "a second", seeds=[0, 1])
    curve = found["series"]["simulated"]["configurations"]["gamma=1.0"]
    assert np.shape(curve["train"]) == (2, len(curve["steps"]))
    assert [b["runs"] for b in found["provenance"]["batches"]] == [{"simulated": {"gamma=1.0": [s]}} for s in (0, 1)]
    assert found["provenance"]["batches"][1]["time"] == "a second"


def test_collecting_adds_seeds_to_the_committed_ones(study, tmp_path):
    study("run", seeds=[0, 1, 2])
    at_once = study("collect", seeds=[0, 1, 2])["series"]["simulated"]
    for path in (tmp_path / "results").rglob("*.json"):
        path.unlink()
    study("collect", seeds=[0, 2])
    path = tmp_path / "results" / "13-asymmetrical-scaling" / "series.json"
    series = json.loads(path.read_text())
    series["simulated"]["configurations"]["gamma=1.0"]["train"][1][0] = 7.0
    series["controls"] = {"simulated": {"gamma=1.0": {"seeds": [2, 9], "train": [3.0, 4.0]}}}
    path.write_text(json.dumps(series))
    found = study("collect", seeds=[1, 2])["series"]
    # Seed 2, there already, is not collected again; seed 1 goes between the two.
    curves_of = {key: c["configurations"]["gamma=1.0"] for key, c in (("one", at_once), ("two", found["simulated"]))}
    assert found["simulated"]["seeds"] == [0, 1, 2]
    assert curves_of["two"]["train"][2][0] == 7.0
    assert curves_of["two"]["train"][:2] == curves_of["one"]["train"][:2]
    assert curves_of["two"]["prune_test"] == curves_of["one"]["prune_test"]
    control = found["controls"]["simulated"]["gamma=1.0"]
    assert control["seeds"] == [0, 1, 2, 9]
    assert control["train"][2:] == [3.0, 4.0]
    nodes = found["nodes"]["simulated"]["gamma=1.0"]
    assert (nodes["seeds"], nodes["steps"]) == ([0, 1, 2], [2])
    furthest = np.array(nodes["moved"])[:, :, -1]
    assert furthest.shape == (3, __main__.FOLLOWED)
    assert (np.diff(furthest) <= 0).all()
    np.testing.assert_allclose(furthest[:2, 0], np.array(curves_of["two"]["wdiff"])[:2, -1], rtol=1e-5)


def test_seeds_of_other_lengths_are_not_added(study, monkeypatch):
    study("run", seeds=[0])
    before = study("collect", seeds=[0])
    monkeypatch.setattr(__main__, "STEPS", {"simulated": 3})
    study("run", seeds=[1])
    with pytest.raises(ValueError, match=r"expected seeds \[1\] of simulated to have the steps of the committed"):
        study("collect", seeds=[1])
    monkeypatch.setattr(__main__, "STEPS", {"simulated": 2})
    assert study("collect", seeds=[0]) == before
