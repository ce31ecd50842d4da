"""The first seeds of every activation in closed form and of finite networks; `make slow` goes on for an hour."""

import pytest
from fuzz import closed_forms, finite_networks


@pytest.mark.parametrize("seed", range(len(closed_forms.NAMES)))
def test_a_closed_form(seed):
    result = closed_forms.violations(seed)
    assert isinstance(result, str), f"{closed_forms.NAMES[seed]}: {result}"


@pytest.mark.parametrize("seed", range(len(finite_networks.ACTIVATIONS)))
def test_a_finite_network(seed):
    result = finite_networks.violations(seed)
    assert isinstance(result, str), result
