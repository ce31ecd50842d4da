"""Exact tangent kernels of stochastic neural networks, inside neural-tangents.

`nt` and `stax` are neural-tangents itself, importable on current JAX without TensorFlow.
"""

from snn_ntk._neural_tangents import nt, stax
from snn_ntk.kernels import (
    FiniteKernels,
    TangentKernels,
    finite_tangent_kernels,
    log_marginal_likelihood,
    tangent_kernels,
    tangent_kernels_batched,
)
from snn_ntk.layers import (
    NoiseLevel,
    Nonlinearity,
    Reparameterize,
    StochasticConv,
    StochasticDense,
    StochasticDropout,
    predictive_variance,
    sigma0_for,
)

__version__ = "0.1.0"

__all__ = [
    "FiniteKernels",
    "NoiseLevel",
    "Nonlinearity",
    "Reparameterize",
    "StochasticConv",
    "StochasticDense",
    "StochasticDropout",
    "TangentKernels",
    "__version__",
    "finite_tangent_kernels",
    "log_marginal_likelihood",
    "nt",
    "predictive_variance",
    "sigma0_for",
    "stax",
    "tangent_kernels",
    "tangent_kernels_batched",
]
