"""neural-tangents on current JAX: `compatibility` is the only door to it.

`input_kernel` is what we add to its kernels, `layers` what every layer does to that.
"""

from snn_ntk._neural_tangents.compatibility import (
    WORKING_VERSIONS,
    InputKernel,
    MaskedArray,
    covariance,
    get_diagonal,
    masked_array,
    nt,
    stax,
)

__all__ = [
    "WORKING_VERSIONS",
    "InputKernel",
    "MaskedArray",
    "covariance",
    "get_diagonal",
    "masked_array",
    "nt",
    "stax",
]
