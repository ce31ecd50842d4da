"""The predictive variance of a network with stochastic layers."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from snn_ntk._neural_tangents import get_diagonal, nt

__all__ = ["predictive_variance"]


def predictive_variance(kernel: Any) -> Float[Array, " n"]:
    """The variance over its noise of the network's output, at infinite width.

    Var_ζ f(x, ζ) = cov1(x) - nngp(x, x)

    Where that is a small difference it is computed by itself through dense layers and nonlinearities, so that it keeps
    its digits however small the noise is; behind other layers (sums, products, normalisation) it is the difference, and
    so of a kernel from `nt.batch`, or of a part of one, which do not carry it: no digit where it is rounding of cov1.
    It is the same whichever inputs share their noise, but with shared noise `nngp` is no covariance of f̂: refused.

    Args:
        kernel: `Kernel` of a network with independent noise, from `kernel_fn(x)` with one set of inputs and get=None.

    Returns:
        A variance for each input and every output, shape (n,).

    Raises:
        TypeError: If `kernel` is not a neural-tangents `Kernel`.
        ValueError: If it is one between two sets of inputs, or not one number for each pair of inputs, or of a network
            with shared noise.

    Example:
        >>> import jax.numpy as jnp
        >>> from snn_ntk import StochasticDense, predictive_variance, stax
        >>> _, _, kernel_fn = stax.serial(StochasticDense(64, sigma0=1.0), stax.Erf(), stax.Dense(1))
        >>> predictive_variance(kernel_fn(2 * jnp.eye(4))).shape
        (4,)

    Source: book, chapter 12 (predictive variance).
    """
    if not isinstance(kernel, nt.Kernel):
        raise TypeError(f"expected a neural_tangents.Kernel, got {type(kernel).__name__}")
    if kernel.cov2 is not None:
        raise ValueError("expected the Kernel of one set of inputs, kernel_fn(x), got one between two sets")
    if kernel.nngp.ndim != 2:
        raise ValueError(f"expected one covariance for each pair of inputs, got nngp of shape {kernel.nngp.shape}")
    if getattr(kernel, "frozen", None) is not None:
        raise ValueError(
            'expected independent noise, got noise="shared": its nngp is the covariance of networks with frozen noise. '
            "The variance at one input does not depend on which inputs share the noise: build the network without it"
        )
    cov1 = get_diagonal(kernel.cov1, kernel.diagonal_batch, True)
    difference = cov1 - jnp.diagonal(kernel.nngp)
    small = getattr(kernel, "excess", None)
    if small is None:
        return difference
    # Where the noise is small the difference is all rounding; layers carry it by itself, to the accuracy of an integral.
    return jnp.where(difference < 0.01 * cov1, small, difference)
