"""Dropout whose masks belong to each input.

A mask keeps each unit with probability p and multiplies what it keeps by 1/p. Fed by a wide layer and feeding a dense
or convolutional one, its pre-activations are Gaussian, and in the kernels it only inflates the variances:

    cov1 → cov1/p at equal positions,     nngp → nngp,     ntk → ntk,

because the masks of different units, positions and inputs are independent. On raw inputs, of which there are finitely
many, the pre-activation is a mixture of Gaussians of different scales, and there is no such limit.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Num

from snn_ntk import _validation as validation
from snn_ntk._neural_tangents import stax
from snn_ntk.layers.noise import carrying_noise, excess_before, one_draw, refuse_dropout, require_rng

__all__ = ["StochasticDropout"]


def StochasticDropout(
    rate: Num[ArrayLike, ""], mode: Literal["train", "test"] = "train"
) -> tuple[Callable, Callable, Callable]:
    """Dropout with a mask for every input, whose kernels are those of the network averaged over its masks.

    z_r = x_r B_r / p,     B_r ~ Bernoulli(p), independent over units r, positions and inputs

    `nngp` and `ntk` are those of the network without it and with its variances, `cov1`, inflated by 1/p; a kernel's
    block is the kernel of the block, as it is not for `stax.Dropout`, which takes inputs for the same where the arrays
    are. What it puts out is a mixture of Gaussians: a dense or convolutional layer has to follow.

    Args:
        rate: Probability p of *keeping* a unit, as in `stax.Dropout`.
        mode: "train" draws masks; "test" does nothing, in `apply_fn` and in the kernels.

    Returns:
        `(init_fn, apply_fn, kernel_fn)`, without parameters.

    Raises:
        TypeError: If `rate` is not one number.
        ValueError: If `rate` is not in (0, 1] or `mode` is unknown; from `apply_fn`, if `rng` is missing; from
            `kernel_fn`, on raw inputs.

    Example:
        >>> import jax.numpy as jnp
        >>> from snn_ntk import StochasticDropout, predictive_variance, stax
        >>> layers = [stax.Dense(512), stax.Relu(), StochasticDropout(0.8), stax.Dense(1)]
        >>> kernel = stax.serial(*layers)[2](jnp.eye(2))
        >>> predictive_variance(kernel).tolist() == [0.0625, 0.0625]
        True

    Source: book, chapter 12.
    """
    rate = validation.non_negative(rate, "rate")
    if not isinstance(rate, Tracer) and not 0 < float(rate) <= 1:  # type: ignore[arg-type]
        raise ValueError(f"expected rate in (0, 1], the probability of keeping a unit, got {rate}")
    if mode not in ("train", "test"):
        raise ValueError(f'expected mode to be "train" or "test", got {mode!r}')
    return stax.Identity() if mode == "test" else _dropout(rate)


@stax.layer
@stax.supports_masking(remask_kernel=False)
def _dropout(rate: Any) -> tuple[Callable, Callable, Callable]:
    def init_fn(rng: Any, input_shape: tuple) -> tuple[tuple, tuple]:
        return input_shape, ()

    def apply_fn(params: tuple, inputs: Array, *, rng: Any = None, **kwargs: Any) -> Array:
        require_rng(rng)
        kept = jax.random.bernoulli(rng, rate, inputs.shape)
        return jnp.where(kept, inputs / rate, jnp.zeros((), inputs.dtype))

    def kernel_fn(k: Any, **kwargs: Any) -> Any:
        if getattr(k, "raw", None) is not None or (k.ntk is not None and k.ntk.ndim == 0):
            raise ValueError(
                "expected a wide layer before StochasticDropout, got raw inputs: of finitely many units the layer behind "
                "is a mixture of Gaussians of different scales, which has no kernel of this form"
            )
        refuse_dropout(k)

        def inflated(cov: Array | None) -> Array | None:
            return None if cov is None else cov * jnp.where(one_draw(cov, k, positions=True), 1 / rate, 1.0)

        excess = excess_before(k)
        if excess is not None:
            excess = excess + (1 / rate - 1) * k.cov1
        out = k.replace(cov1=inflated(k.cov1), cov2=inflated(k.cov2), nngp=k.nngp, is_gaussian=False)
        return carrying_noise(out, k, "independent", 1 / rate - 1, excess=excess)

    return init_fn, apply_fn, kernel_fn
