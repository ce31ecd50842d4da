"""The first seeds of every activation in closed form and of finite networks; `make slow` goes on for an hour."""

import pytest
from fuzz import closed_forms, finite_networks


def seeds(count):
    """Every third in `make test`, the others in `make heavy`."""
    return [pytest.param(seed, marks=pytest.mark.heavy if seed % 3 else ()) for seed in range(count)]


@pytest.mark.parametrize("seed", seeds(len(closed_forms.NAMES)))
def test_a_closed_form(seed):
    result = closed_forms.violations(seed)
    assert isinstance(result, str), f"{closed_forms.NAMES[seed]}: {result}"


@pytest.mark.parametrize("seed", seeds(len(finite_networks.ACTIVATIONS)))
def test_a_finite_network(seed):
    result = finite_networks.violations(seed)
    assert isinstance(result, str), result
