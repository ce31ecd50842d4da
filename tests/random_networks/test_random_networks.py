"""The first 40 random networks; `make slow` has more of them, and compares networks of finite width."""

import pytest
from random_networks.checks import is_refusal, outcome, violations
from random_networks.networks import draw


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(40))
def test_the_kernel_of_a_random_network(seed):
    result = outcome(violations, draw(seed))
    assert result == "held" or is_refusal(result), f"{draw(seed)}: {result}"
