"""Tangent kernels of stochastic networks.

| question | file |
|---|---|
| one hidden layer, infinitely wide, in closed form | `one_hidden_layer` |
| the same for many inputs, in blocks | `batched` |
| their correlations where they are next to parallel | `parallel_inputs` |
| any finite network in expectation over its noise | `monte_carlo` |

Networks of any depth: compose `snn_ntk.layers` with neural-tangents' own layers.
"""

from snn_ntk.kernels.batched import tangent_kernels_batched
from snn_ntk.kernels.monte_carlo import NoiseMoments, expected_tangent_kernel, noise_moments
from snn_ntk.kernels.one_hidden_layer import TangentKernels, tangent_kernels

__all__ = [
    "NoiseMoments",
    "TangentKernels",
    "expected_tangent_kernel",
    "noise_moments",
    "tangent_kernels",
    "tangent_kernels_batched",
]
