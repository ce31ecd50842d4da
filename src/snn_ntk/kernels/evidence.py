"""The evidence of a kernel: how likely the targets are under the Gaussian process that it is the covariance of."""

import math

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision

__all__ = ["log_marginal_likelihood"]


@full_precision
def log_marginal_likelihood(
    nngp: Num[ArrayLike, "n n"], y: Num[ArrayLike, "n d_out"], ridge: Num[ArrayLike, ""] | Num[ArrayLike, " n"]
) -> Float[Array, ""]:
    """The log marginal likelihood of targets under the Gaussian process with the covariance `nngp`, noise added.

    log p(y) = −½ tr yᵀ(K + R)⁻¹y − ½ d_out log det(K + R) − ½ n d_out log 2π,     K = nngp, R = diag(ridge)

    It is differentiable: build the network inside a function of σ0, W_std, b_std and ridge, and `jax.grad` gives the
    gradient in each of them. With `ridge` a number, K is the covariance of f̂ and the targets have noise of that
    variance. If the targets are single draws of the network, its predictive variance is noise too:
    `ridge + predictive_variance(kernel)`.

    Args:
        nngp: Covariance K between the inputs, shape (n, n).
        y: Targets, shape (n, d_out), each output a draw of its own.
        ridge: Variance of the noise, one number or one for each input, each at least 0.

    Returns:
        The log marginal likelihood, summed over outputs.

    Raises:
        TypeError: If `nngp` is no array.
        ValueError: If shapes do not fit, something is not finite, a variance is negative, K is not symmetric, or K + R is
            not positive definite beyond rounding in its precision (within a trace that is NaN or not seen).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk import StochasticDense, stax
        >>> x, y = jnp.eye(3), jnp.ones((3, 1))
        >>> def evidence(sigma0):
        ...     layers = [StochasticDense(64, sigma0=sigma0), stax.Erf(), stax.Dense(1)]
        ...     return log_marginal_likelihood(stax.serial(*layers)[2](x, None, "nngp"), y, 0.1)
        >>> jax.grad(evidence)(0.5).shape
        ()

    Source: book, chapter 8 (ridge regression, of which this is the evidence).
    """
    if hasattr(nngp, "nngp"):
        raise TypeError("expected nngp as an array, got a Kernel: give its nngp")
    K = validation.inputs(nngp, "nngp")
    y = jnp.asarray(y, K.dtype)
    n, ridges = len(K), jnp.shape(ridge)
    if K.shape != (n, n) or y.ndim != 2 or len(y) != n or ridges not in ((), (n,)):
        raise ValueError(
            f"expected nngp (n, n), y (n, d_out) and ridge () or (n,), got shapes {K.shape}, {y.shape} and {ridges}"
        )
    outputs = y.shape[1]
    ridge = jnp.broadcast_to(jnp.asarray(ridge, K.dtype), (n,))
    if not isinstance(ridge, Tracer) and not bool((ridge >= 0).all()):
        raise ValueError(f"expected ridge >= 0, got {ridge.min()}")
    if not isinstance(y, Tracer):
        validation.finite(y, "y")
    factor = validation.cholesky_factor(K + jnp.diag(ridge), "nngp + ridge")
    white = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
    log_det = 2 * jnp.log(jnp.diagonal(factor)).sum()
    return -0.5 * ((white**2).sum() + outputs * (log_det + n * math.log(2 * math.pi)))
