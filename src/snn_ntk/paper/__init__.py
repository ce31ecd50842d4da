"""The paper's own mathematics: its network, objectives, lemmas and theorems, every constant computed.

| in the paper | function | file | in the book |
|---|---|---|---|
| the network (Eq. 2, 3) | `init_parameters`, `sampled_output`, `expected_output` | `network` | chapter 4 |
| Eq. 1, 4, 7, 12 | `sampled_mse`, `kl_objective`, `mse`, `frobenius_objective` | `objectives` | chapters 4, 8 |
| their penalties (Eq. 4, 12) | `kl`, `frobenius_penalty` | `divergence` | chapter 8 |
| Definition 1 at finite width | `empirical_tangent_kernels` | `empirical_kernels` | chapter 5 |
| Lemma 1 (limiting kernels) | `snn_ntk.kernels.tangent_kernels` | | chapter 5 |
| Assumption 4.2, what the bounds are made of | `setting`, `setting_of` | `settings` | chapter 6 |
| Lemma 2 (kernel at the start) | `lemma2`, `lemma2_entrywise`, `lemma2_lambda_min` | `concentration` | chapter 6 |
| Lemma 3 (kernel on the way) | `lemma3`, `lemma3_radius` | `movement` | chapter 6 |
| Lemmas 3 and 5 along a training | `kernel_path` | `kernel_path` | chapter 7 |
| Lemma 4 (rows on the way) | `lemma4`, `lemma4_path` | `movement` | chapter 7 |
| Lemma 5, Theorem 1 (linear convergence) | `theorem1`, `theorem1_holds`, `theorem1_width` | `convergence` | chapter 7 |
| Theorem 2 (ridge regression) | `ridge_as_printed`, `ridge_corrected` | `ridge` | chapter 8 |
| the same for Eq. 4 | `ridge_exact_kl`, `exact_kl_kernel` | `ridge`, `exact_divergence_kernel` | chapter 8 |
| its error; stationary points | `ridge_error_bound`; `stationary_point` | `ridge_error`; `stationary` | chapter 8 |
| Figure 2 (the network) | `init_figure2`, `noisy_outputs` | `figure2_network` | chapter 9 |
| Figure 2 (what is trained) | `draw_figure2_problem`, `figure2_objective` | `figure2_problem` | chapter 9 |
| Figure 2 (infinite width) | `figure2_limit_kernels` | `figure2_limit` | chapter 9 |
| which degrees of a kernel noise damps | `degree_weights`, `noise_factors` | `noise_spectrum` | chapter 12 |
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
from snn_ntk.paper.kernel_path import KernelPath, kernel_path
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
from snn_ntk.paper.settings import DegenerateKernelError, Setting, setting, setting_of
from snn_ntk.paper.stationary import Stationary, stationary_point

__all__ = [
    "DegenerateKernelError",
    "Figure2Kernels",
    "Figure2Parameters",
    "Figure2Problem",
    "KernelPath",
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
    "kernel_path",
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
