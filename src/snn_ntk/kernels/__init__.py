"""Tangent kernels of stochastic networks.

| question | file |
|---|---|
| one hidden layer, infinitely wide, in closed form | `one_hidden_layer` |
| the same for many inputs, in blocks | `batched` |
| their correlations where they are next to parallel | `parallel_inputs` |
| any finite network in expectation over its noise | `monte_carlo` |
| the same for a network that one has, in bounded memory, with standard errors | `finite` |
| the evidence of a kernel: choosing hyper-parameters without training | `evidence` |

Networks of any depth: compose `snn_ntk.layers` with neural-tangents' own layers.
"""

from snn_ntk.kernels.batched import tangent_kernels_batched
from snn_ntk.kernels.evidence import log_marginal_likelihood
from snn_ntk.kernels.finite import FiniteKernels, finite_tangent_kernels
from snn_ntk.kernels.monte_carlo import NoiseMoments, expected_tangent_kernel, noise_moments
from snn_ntk.kernels.one_hidden_layer import TangentKernels, tangent_kernels

__all__ = [
    "FiniteKernels",
    "NoiseMoments",
    "TangentKernels",
    "expected_tangent_kernel",
    "finite_tangent_kernels",
    "log_marginal_likelihood",
    "noise_moments",
    "tangent_kernels",
    "tangent_kernels_batched",
]
