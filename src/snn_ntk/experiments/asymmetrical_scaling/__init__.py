"""The experiments on asymmetrical node scaling: data, training, and what is measured after it.

| question | file |
|---|---|
| the data sets | `data` |
| training and its curves, by the protocol of the published runs | `runs` |
| pruning, and transfer of features | `features` |
| one run of all this, as a job of a sweep makes it; many as arrays | `full_run` |
"""

from snn_ntk.experiments.asymmetrical_scaling.data import ScalingData, scaling_data, simulated_data
from snn_ntk.experiments.asymmetrical_scaling.features import pruned, transferred
from snn_ntk.experiments.asymmetrical_scaling.full_run import (
    followed_nodes,
    run_asymmetrical_scaling,
    stack_runs,
    training_ends,
)
from snn_ntk.experiments.asymmetrical_scaling.runs import (
    CONFIGURATIONS,
    Configuration,
    Curves,
    curves,
    draw_run,
    train_scaled,
    training_risk,
)

__all__ = [
    "CONFIGURATIONS",
    "Configuration",
    "Curves",
    "ScalingData",
    "curves",
    "draw_run",
    "followed_nodes",
    "pruned",
    "run_asymmetrical_scaling",
    "scaling_data",
    "simulated_data",
    "stack_runs",
    "train_scaled",
    "training_ends",
    "training_risk",
    "transferred",
]
