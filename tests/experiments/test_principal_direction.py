"""Training along one principal component of the limit kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk.experiments.principal_direction import BIAS, digit_batches, run_principal_direction
from snn_ntk.ntk import init_mlp, layer_kernels, principal_components, recursion


def test_the_first_batches_do_not_depend_on_how_many_are_drawn():
    digits, (first, _) = digit_batches(2, 20)
    _, (alone,) = digit_batches(1, 20)
    np.testing.assert_array_equal(first, alone)
    assert len(set(first)) == 20
    assert digits.images.max() == 1


def test_the_first_step_is_that_of_the_networks_own_kernel():
    """One step of rate η takes (η/n²) fᵀ Θ f of what is left along f, Θ the tangent kernel of the network as drawn."""
    width, seed, rate, n = 64, 3, 1e-2, 16
    run = run_principal_direction(width=width, seed=seed, learning_rate=rate, time=rate, images=n)
    digits, (batch,) = digit_batches(1, n)
    x = jnp.asarray(digits.images[batch])
    values, functions = principal_components(recursion(x, depth=5, b_std=BIAS)[-1].ntk, 2)
    f = functions[:, 1]
    net = init_mlp(jax.random.fold_in(jax.random.key(seed), width), (784, *[width] * 4, 1))
    kernel = np.asarray(layer_kernels(net, x, b_std=BIAS).sum(0))
    assert run["lambda2"] == pytest.approx(values[1])
    lost = (run["along"][0] - run["along"][1]) / run["along"][0]
    assert lost == pytest.approx(rate * f @ kernel @ f / n**2, rel=0.02)
    pushed = kernel @ f / n - f * (f @ kernel @ f) / n**2
    assert run["across"][1] == pytest.approx(0.5 * rate * np.sqrt(np.mean(pushed**2)), rel=0.02)


@pytest.mark.heavy
def test_a_wider_network_stays_nearer_to_the_limit():
    off = {}
    for width in (16, 512):
        runs = [
            run_principal_direction(width=width, seed=s, learning_rate=2.0, time=100.0, images=32) for s in range(3)
        ]
        limit = 0.5 * np.exp(-runs[0]["lambda2"] * np.array(runs[0]["times"]))
        off[width] = (
            np.mean([np.abs(np.array(run["along"]) - limit).max() for run in runs]),
            np.mean([max(run["across"]) for run in runs]),
        )
    assert off[512][0] < 0.5 * off[16][0]
    assert off[512][1] < 0.5 * off[16][1]


def test_an_interrupted_run_goes_on(tmp_path):
    settings = {"width": 8, "seed": 1, "learning_rate": 5.0, "time": 100.0, "images": 8}
    whole = run_principal_direction(**settings)
    assert run_principal_direction(**settings, checkpoint=tmp_path / "progress.npz") == whole
    assert (tmp_path / "progress.npz").is_file()
    assert run_principal_direction(**settings, checkpoint=tmp_path / "progress.npz") == whole


@pytest.mark.parametrize(("rate", "time"), [(3.0, 10.0), (0.0, 1.0), (-1.0, 1.0), (2.0, 0.0)])
def test_a_time_that_no_number_of_steps_takes_is_refused(rate, time):
    with pytest.raises(ValueError, match="positive multiple"):
        run_principal_direction(width=4, seed=0, learning_rate=rate, time=time, images=4)
