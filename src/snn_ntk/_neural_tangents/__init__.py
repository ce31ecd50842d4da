"""neural-tangents on current JAX: `compatibility` is the only door to it, `input_kernel` what we add to its kernels."""

from snn_ntk._neural_tangents.compatibility import WORKING_VERSIONS, InputKernel, nt, stax

__all__ = ["WORKING_VERSIONS", "InputKernel", "nt", "stax"]
