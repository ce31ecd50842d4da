"""The node-scaling experiments: their data, training, and what is measured afterwards."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import scaling, scaling_study
from snn_ntk.reporting import load_results
from snn_ntk.scaling import ScaledNetwork
from snn_ntk.scaling_study import CONFIGURATIONS, curves, draw, problem, pruned, simulated, train, transferred


@pytest.fixture(scope="module")
def trained():
    run = draw(problem("airfoil", n=40), CONFIGURATIONS[2], seed=0, m=20)
    return run, train(run, steps=30, every=10, progress=False)


def test_simulated_data_are_as_described():
    data = simulated(3, n=500, d=20)
    np.testing.assert_allclose(jnp.linalg.norm(data.x, axis=1), 1, atol=1e-5)
    noise = data.y - jnp.mean(5 * jnp.sin(jnp.pi * data.x), axis=1)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.15)
    assert not np.allclose(data.x, simulated(4, n=500, d=20).x)
    assert data.x_kernel.shape == (500, 20)


def test_data_of_the_other_experiments():
    concrete = problem("concrete")
    assert (concrete.x.shape, concrete.x_kernel.shape, concrete.x_transfer.shape) == ((412, 8), (50, 8), (412, 8))
    digits = problem("mnist", n=30, side=7)
    assert (digits.x.shape, digits.y.shape) == ((30, 49), (30, 10))
    assert float(digits.y.sum()) == 30
    assert 0 <= float(digits.x.min()) <= float(digits.x.max()) <= 1
    with pytest.raises(ValueError, match="expected one of"):
        problem("boston")


def test_names_are_those_of_the_published_curves():
    assert [c.name for c in CONFIGURATIONS] == [
        "gamma=1.0",
        "alpha=0.7,gamma=0.5",
        "alpha=0.5,gamma=0.2",
        "alpha=0.4,gamma=0.0",
    ]


def test_configurations_of_a_seed_begin_alike():
    data = problem("airfoil", n=10)
    one, other = (draw(data, c, seed=1, m=30) for c in (CONFIGURATIONS[0], CONFIGURATIONS[3]))
    np.testing.assert_array_equal(one.start, other.start)
    assert float(other.scalings[0]) == 0  # counted from 0: the first node has no Zipf mass
    assert float(draw(data, CONFIGURATIONS[3], seed=1, m=30, first=1).scalings[0]) > 0.5


def test_training_is_plain_gradient_descent_of_the_risk(trained):
    run, trajectory = trained
    weights = run.start.T
    for _ in range(30):
        weights = weights - jax.grad(
            lambda w: scaling.risk(ScaledNetwork(w, run.signs, run.scalings), run.data.x, run.data.y)
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
    before = scaling.tangent_gram(ScaledNetwork(run.start.T, run.signs, run.scalings), run.data.x_kernel)
    change = scaling.tangent_gram(net, run.data.x_kernel) - before
    assert found.ntkdiff[-1] == pytest.approx(np.linalg.norm(change, 2) ** 0.5, rel=1e-3)
    assert found.train[-1] == pytest.approx(float(scaling.risk(net, run.data.x, run.data.y)), rel=1e-5)


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


def test_the_command_runs_resumes_and_collects(tmp_path, monkeypatch, capsys):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "claims.yml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scaling_study, "STEPS", {"simulated": 2})
    monkeypatch.setattr(scaling_study, "CONFIGURATIONS", CONFIGURATIONS[:1])
    folder = str(tmp_path / "runs")

    def call(what, *more):
        monkeypatch.setattr(sys, "argv", ["study", what, "simulated", "--folder", folder, "--seeds", "2", *more])
        scaling_study._main()

    call("run", "--part", "0", "--parts", "2")
    call("collect")
    # The seed that was not run is not there.
    assert load_results("13-asymmetrical-scaling", root=tmp_path)["series"]["simulated"]["seeds"] == [0]
    call("run", "--part", "1", "--parts", "2")
    call("collect", "--time", "a second")
    found = load_results("13-asymmetrical-scaling", root=tmp_path)
    curve = found["series"]["simulated"]["configurations"]["gamma=1.0"]
    assert np.shape(curve["train"]) == (2, len(curve["steps"]))
    assert found["provenance"]["time"] == "a second"
    capsys.readouterr()
