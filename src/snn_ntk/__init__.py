"""Exact tangent kernels of stochastic neural networks, inside neural-tangents.

`nt` and `stax` are neural-tangents itself, importable on current JAX without TensorFlow.
"""

from snn_ntk._neural_tangents import nt, stax
from snn_ntk.kernels import TangentKernels, tangent_kernels, tangent_kernels_batched
from snn_ntk.layers import StochasticDense, predictive_variance

__all__ = [
    "StochasticDense",
    "TangentKernels",
    "nt",
    "predictive_variance",
    "stax",
    "tangent_kernels",
    "tangent_kernels_batched",
]
