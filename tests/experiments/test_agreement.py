"""What two devices are compared by: the CPU agrees with itself, and a difference is seen at its size."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import pytest

from snn_ntk.experiments.agreement import device_agreement, quantities


def test_a_difference_is_measured_against_the_largest_number():
    cpu = jax.devices("cpu")[0]
    calls = itertools.count()
    # The reference is computed first; each later call is one thousandth more.
    found = device_agreement("x", lambda: (jnp.ones(2), jnp.array([4.0, 1.0]) * (1 + 1e-3 * next(calls))), cpu)
    assert found == {
        "full precision": pytest.approx(1e-3, rel=1e-3),
        "default of the device": pytest.approx(2e-3, rel=1e-3),
    }
    with pytest.raises(ValueError, match="finite values of y"):
        device_agreement("y", lambda: jnp.array([jnp.nan]), cpu)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["empirical kernels", "Figure 2's gradient"])
def test_the_cpu_agrees_with_itself(name):
    found = device_agreement(name, quantities(4, 8)[name], jax.devices("cpu")[0])
    assert found == {"full precision": 0.0, "default of the device": 0.0}
