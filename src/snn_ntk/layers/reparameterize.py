"""The layer of a variational autoencoder: a mean and a log-variance for every latent, and a draw.

Two heads on one trunk, μ and h, give z = μ + exp((h + a)/2) ε. In the limit of many latents

    nngp → K_μ,     cov1 → cov1_μ + exp(a + cov1_h/2) at equal positions,     ntk → Θ_μ,

since the log-variance h of a latent is N(0, cov1_h) over the weights, and the gradient of f̂ in the log-variance head,
and through it in the trunk, is of order 1/width. A finite number of latents has no such form.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Num

from snn_ntk import _validation as validation
from snn_ntk._neural_tangents import get_diagonal, nt, stax
from snn_ntk.layers.noise import carrying, excess_before, one_draw, refuse_dropout, require_rng

__all__ = ["Reparameterize"]


def Reparameterize(log_variance: Num[ArrayLike, ""] = 0.0) -> tuple[Callable, Callable, Callable]:
    """A draw of latents from the mean and the log-variance that two heads give, as in a variational autoencoder.

    z = μ + exp((h + a)/2) ε,     ε ~ N(0, I), independent over latents, positions and inputs

    It is fed by `stax.FanOut(2)` and `stax.parallel(mean head, log-variance head)`, each ending in a dense or
    convolutional layer. The kernels are those of the network averaged over ε, in the limit of *many* latents: the tangent
    kernel passes through the mean head alone. With few latents they are an approximation, as they are for a narrow
    layer: the log-variance head's share, which is then there, is of order 1/latents. What it puts out is a mixture of
    Gaussians: a dense or convolutional layer has to follow.

    Args:
        log_variance: The constant a, the log-variance where the head is 0; −inf is no noise.

    Returns:
        `(init_fn, apply_fn, kernel_fn)`, without parameters, of a pair of inputs.

    Raises:
        TypeError: If `log_variance` is not one number.
        ValueError: If it is NaN or +inf; from `apply_fn`, if `rng` is missing; from `kernel_fn`, if there are not two
            heads of the same shape, or if one does not end in new weights.

    Example:
        >>> import jax.numpy as jnp
        >>> from snn_ntk import Reparameterize, predictive_variance, stax
        >>> heads = stax.serial(stax.FanOut(2), stax.parallel(stax.Dense(64), stax.Dense(64)))
        >>> layers = [stax.Dense(512), stax.Erf(), heads, Reparameterize(-1.0), stax.Dense(512), stax.Erf(), stax.Dense(1)]
        >>> kernel = stax.serial(*layers)[2](jnp.eye(4))
        >>> kernel.ntk.shape, predictive_variance(kernel).shape
        ((4, 4), (4,))

    Source: wang2024vae, Eq. 1; book, chapter 12.
    """
    log_variance = validation.below_infinity(log_variance, "log_variance")
    return _reparameterize(log_variance)


def _two_heads(heads: Any, kind: type) -> None:
    branches = isinstance(heads, Sequence) and all(isinstance(head, kind) for head in heads)
    if not branches or len(heads) != 2:
        count = f"{len(heads)} branches" if branches else "one input"
        raise ValueError(
            "expected a mean and a log-variance, from stax.FanOut(2) and stax.parallel(mean head, log-variance head), "
            f"before Reparameterize, got {count}"
        )


@stax.layer
@stax.supports_masking(remask_kernel=True)
def _reparameterize(log_variance: Any) -> tuple[Callable, Callable, Callable, Callable]:
    def init_fn(rng: Any, input_shape: Any) -> tuple[tuple, tuple]:
        _two_heads(input_shape, tuple)
        if input_shape[0] != input_shape[1]:
            raise ValueError(f"expected heads of the same shape before Reparameterize, got {tuple(input_shape)}")
        return input_shape[0], ()

    def apply_fn(params: tuple, inputs: Any, *, rng: Any = None, **kwargs: Any) -> Array:
        require_rng(rng)
        mean, h = inputs
        return mean + jnp.exp((h + log_variance) / 2) * jax.random.normal(rng, mean.shape, mean.dtype)

    def kernel_fn(ks: Any, **kwargs: Any) -> Any:
        _two_heads(ks, nt.Kernel)
        k, h = ks
        if not (k.is_gaussian and h.is_gaussian):
            raise ValueError(
                "expected heads that end in a dense or convolutional layer before Reparameterize, got one whose outputs "
                "are not Gaussian at initialisation: the mean of exp(h) over the weights is known for a Gaussian h"
            )
        refuse_dropout(k)
        refuse_dropout(h)
        if h.is_reversed != k.is_reversed:
            h = h.reverse()

        def noisy(cov: Array | None, cov_h: Array | None) -> Array | None:
            if cov is None or cov_h is None:
                return None
            return cov + jnp.where(one_draw(cov, k, positions=True), jnp.exp(log_variance + cov_h / 2), 0.0)

        noise = {}
        for i, mine, other in ((1, k.cov1, h.cov1), (2, k.cov2, h.cov2)):
            if mine is None:
                continue
            drawn = jnp.exp(log_variance + get_diagonal(other, h.diagonal_batch, h.diagonal_spatial) / 2)
            here = (drawn.reshape(len(drawn), -1) > 0).any(axis=1)
            before = getattr(k, f"noise{i}", None)
            noise[f"noise{i}"] = here if before is None else here | before
        excess = excess_before(k)
        if excess is not None:
            excess = excess + jnp.exp(log_variance + h.cov1 / 2)
        out = k.replace(cov1=noisy(k.cov1, h.cov1), cov2=noisy(k.cov2, h.cov2), nngp=k.nngp, is_gaussian=False)
        return carrying(out, **noise, excess=excess)

    def mask_fn(masks: Any, input_shape: Any) -> Array | None:
        given = [mask for mask in masks if mask is not None]
        return functools.reduce(operator.or_, given) if given else None

    return init_fn, apply_fn, kernel_fn, mask_fn
