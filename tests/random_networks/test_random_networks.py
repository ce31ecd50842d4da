"""Random networks: the first 12, the next 28 with `make heavy`; `make slow` has more, and compares finite ones."""

import pytest
from random_networks.checks import is_refusal, outcome, violations
from random_networks.networks import draw


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(seed, marks=pytest.mark.heavy) for seed in range(12, 40))])
def test_the_kernel_of_a_random_network(seed):
    result = outcome(violations, draw(seed))
    assert result == "held" or is_refusal(result), f"{draw(seed)}: {result}"
