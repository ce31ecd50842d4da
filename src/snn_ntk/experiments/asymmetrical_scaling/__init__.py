"""The experiments on asymmetrical node scaling: data, training, and what is measured after it.

| question | file |
|---|---|
| the data sets | `data` |
| training and its curves, by the protocol of the published runs | `runs` |
| pruning, and transfer of features | `features` |
"""

from snn_ntk.experiments.asymmetrical_scaling.data import ScalingData, scaling_data, simulated_data
from snn_ntk.experiments.asymmetrical_scaling.features import pruned, transferred
from snn_ntk.experiments.asymmetrical_scaling.runs import (
    CONFIGURATIONS,
    STEPS,
    Configuration,
    Curves,
    curves,
    draw_run,
    train_scaled,
    training_risk,
)

__all__ = [
    "CONFIGURATIONS",
    "STEPS",
    "Configuration",
    "Curves",
    "ScalingData",
    "curves",
    "draw_run",
    "pruned",
    "scaling_data",
    "simulated_data",
    "train_scaled",
    "training_risk",
    "transferred",
]
