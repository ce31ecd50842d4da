"""The contrasting theory: Caron et al., networks whose hidden nodes have scales of their own and learn features.

| question | file |
|---|---|
| the scales of nodes | `scalings` |
| the network and its risk | `network` |
| its tangent kernel: finite, mean, random limit | `kernels` |
| pruning and transfer of features | `pruning` |
| Theorems 4.1 and 4.2 and what they stand on | `convergence`, `movement` |
| Theorems 5.1 and 5.2 | `first_step` |
| noise and node scaling in one network | `stochastic` |
"""

from snn_ntk.node_scaling.convergence import Convergence, theorem41, theorem41_width, theorem42, theorem42_width
from snn_ntk.node_scaling.first_step import theorem51_mean, theorem51_size, theorem52
from snn_ntk.node_scaling.kernels import gram_variance, limiting_gram, mean_gram, tangent_gram
from snn_ntk.node_scaling.movement import lemma_d1, proposition_c1_width, residual_bound
from snn_ntk.node_scaling.network import ScaledNetwork, init_scaled, node_movement, risk, scaled_output
from snn_ntk.node_scaling.pruning import pruned_outputs, pruned_risk, pruning_order, transfer_features
from snn_ntk.node_scaling.scalings import node_scalings, zipf_second_moment
from snn_ntk.node_scaling.stochastic import (
    limiting_kernels,
    node_variance,
    rescaled,
    scaled_expected_output,
    scaled_tangent_kernels,
)

__all__ = [
    "Convergence",
    "ScaledNetwork",
    "gram_variance",
    "init_scaled",
    "lemma_d1",
    "limiting_gram",
    "limiting_kernels",
    "mean_gram",
    "node_movement",
    "node_scalings",
    "node_variance",
    "proposition_c1_width",
    "pruned_outputs",
    "pruned_risk",
    "pruning_order",
    "rescaled",
    "residual_bound",
    "risk",
    "scaled_expected_output",
    "scaled_output",
    "scaled_tangent_kernels",
    "tangent_gram",
    "theorem41",
    "theorem41_width",
    "theorem42",
    "theorem42_width",
    "theorem51_mean",
    "theorem51_size",
    "theorem52",
    "transfer_features",
    "zipf_second_moment",
]
