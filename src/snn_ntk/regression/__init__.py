"""Kernel ridge regression with any of the kernels here, at any number of inputs (extra `regression`).

| question | file |
|---|---|
| the scikit-learn estimator | `estimator` |
| from a kernel_fn, an activation or a function to blocks of a kernel | `blocks` |
| a kernel that fits in memory as float64: Cholesky, or eigenvalues for several ridges | `dense` |
| a larger one: conjugate gradients, with a certified error | `iterative`, `streamed` |
| what makes them converge: a pivoted partial Cholesky factor | `preconditioner` |
| the kernel in float32, built once, in memory or in a file | `storage` |
| its product with vectors, over the devices of a mesh | `sharding` |
"""

from snn_ntk.regression.estimator import KernelRidge

__all__ = ["KernelRidge"]
