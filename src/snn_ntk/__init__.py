"""Exact tangent kernels of stochastic neural networks, inside neural-tangents.

`nt` and `stax` are neural-tangents itself, importable on current JAX without TensorFlow.
"""

from snn_ntk._neural_tangents import nt, stax
from snn_ntk.kernels import TangentKernels, tangent_kernels, tangent_kernels_batched
from snn_ntk.layers import (
    Nonlinearity,
    Reparameterize,
    StochasticConv,
    StochasticDense,
    StochasticDropout,
    predictive_variance,
)

__version__ = "0.1.0"

__all__ = [
    "Nonlinearity",
    "Reparameterize",
    "StochasticConv",
    "StochasticDense",
    "StochasticDropout",
    "TangentKernels",
    "__version__",
    "nt",
    "predictive_variance",
    "stax",
    "tangent_kernels",
    "tangent_kernels_batched",
]
