"""The paper's own mathematics: Wang and Huang, its network, objectives, lemmas and theorems, with every constant computed.

| question | file |
|---|---|
| the network and its outputs; its kernels at finite width | `network`, `empirical_kernels` |
| the objectives; the divergences in them | `objectives`, `divergence` |
| what the bounds are made of | `setting` |
| Lemma 2 (kernel at the start) | `concentration` |
| Lemmas 3 and 4 (kernel and rows on the way) | `movement` |
| Lemma 5, Theorem 1 (linear convergence) | `convergence` |
| Theorem 2 (ridge regression), its error, networks that reach it | `ridge`, `exact_divergence_kernel`, `ridge_error`, `stationary` |
| which degrees of a kernel noise damps | `noise_spectrum` |
| Figure 2: network, what is trained, infinite width | `figure2_network`, `figure2_problem`, `figure2_limit` |
"""

from snn_ntk.paper.concentration import (
    lemma2,
    lemma2_entrywise,
    lemma2_entrywise_width,
    lemma2_lambda_min,
    lemma2_lambda_min_width,
    lemma2_width,
)
from snn_ntk.paper.convergence import (
    lemma5_operator_norm,
    lemma5_residual,
    lemma5_row_norm,
    theorem1,
    theorem1_holds,
    theorem1_width,
)
from snn_ntk.paper.divergence import frobenius_penalty, gaussian_kl, kl
from snn_ntk.paper.empirical_kernels import empirical_tangent_kernels
from snn_ntk.paper.exact_divergence_kernel import exact_kl_kernel, whitened_product
from snn_ntk.paper.figure2_limit import Figure2Kernels, figure2_limit_kernels
from snn_ntk.paper.figure2_network import (
    Figure2Parameters,
    in_basis,
    init_figure2,
    kl_to_start,
    latent_law,
    noisy_outputs,
)
from snn_ntk.paper.figure2_problem import (
    Figure2Problem,
    draw_figure2_problem,
    figure2_objective,
    initial_norms,
    layer_movement,
)
from snn_ntk.paper.movement import Lemma3, Movement, lemma3, lemma3_radius, lemma4, lemma4_path
from snn_ntk.paper.network import (
    Parameters,
    expected_output,
    init_parameters,
    output_variance,
    preactivation_law,
    sampled_output,
)
from snn_ntk.paper.noise_spectrum import degree_weights, noise_factors, sampled_degree_weights
from snn_ntk.paper.objectives import expected_sampled_mse, frobenius_objective, kl_objective, mse, sampled_mse
from snn_ntk.paper.ridge import effective_ridge, ridge_as_printed, ridge_corrected, ridge_exact_kl
from snn_ntk.paper.ridge_error import (
    kernel_drift,
    neuron_slopes,
    path_averaged_kernel,
    ridge_error_bound,
    typical_ridge_error,
)
from snn_ntk.paper.setting import DegenerateKernelError, Setting, setting, setting_of
from snn_ntk.paper.stationary import Stationary, stationary_point

__all__ = [
    "DegenerateKernelError",
    "Figure2Kernels",
    "Figure2Parameters",
    "Figure2Problem",
    "Lemma3",
    "Movement",
    "Parameters",
    "Setting",
    "Stationary",
    "degree_weights",
    "draw_figure2_problem",
    "effective_ridge",
    "empirical_tangent_kernels",
    "exact_kl_kernel",
    "expected_output",
    "expected_sampled_mse",
    "figure2_limit_kernels",
    "figure2_objective",
    "frobenius_objective",
    "frobenius_penalty",
    "gaussian_kl",
    "in_basis",
    "init_figure2",
    "init_parameters",
    "initial_norms",
    "kernel_drift",
    "kl",
    "kl_objective",
    "kl_to_start",
    "latent_law",
    "layer_movement",
    "lemma2",
    "lemma2_entrywise",
    "lemma2_entrywise_width",
    "lemma2_lambda_min",
    "lemma2_lambda_min_width",
    "lemma2_width",
    "lemma3",
    "lemma3_radius",
    "lemma4",
    "lemma4_path",
    "lemma5_operator_norm",
    "lemma5_residual",
    "lemma5_row_norm",
    "mse",
    "neuron_slopes",
    "noise_factors",
    "noisy_outputs",
    "output_variance",
    "path_averaged_kernel",
    "preactivation_law",
    "ridge_as_printed",
    "ridge_corrected",
    "ridge_error_bound",
    "ridge_exact_kl",
    "sampled_degree_weights",
    "sampled_mse",
    "sampled_output",
    "setting",
    "setting_of",
    "stationary_point",
    "theorem1",
    "theorem1_holds",
    "theorem1_width",
    "typical_ridge_error",
    "whitened_product",
]
