"""A stochastic convolution for neural-tangents, at any depth.

The filter of z = (W_std/√N) Σ_taps (W_μ + W_σ∘ζ) x + b_std b, N taps and channels, is noisy. Who shares a draw decides
what happens to the covariances of two positions p, p' of one input:

    noise            cov1 × (1 + σ0²)        nngp           κ'' term on raw inputs
    independent      all pairs (p, p')       unchanged      yes
    per_position     p = p' only             unchanged      the same
    shared           all pairs               × (1 + σ0²)    none: W_σ adds like W_μ

before the bias, where `unchanged` is the convolution without noise. The noiseless part is `stax.Conv` itself.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Num

from snn_ntk import _validation as validation
from snn_ntk._neural_tangents import MaskedArray, masked_array, stax
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import standard_deviation
from snn_ntk.layers.noise import (
    Noise,
    carrying_noise,
    is_zero,
    one_draw,
    refuse_dropout,
    require_rng,
    squared_inputs,
    validate_options,
)
from snn_ntk.layers.variance_weights import Form, VarianceWeights, stored_as

__all__ = ["StochasticConv"]


def StochasticConv(
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: Literal["VALID", "SAME", "CIRCULAR"] = "VALID",
    W_std: Num[ArrayLike, ""] = 1.0,
    b_std: Num[ArrayLike, ""] | None = None,
    *,
    sigma0: Num[ArrayLike, ""],
    noise: Noise = "independent",
    parameterization: Literal["ntk", "standard"] = "ntk",
    variance_weights: Form = "sigma",
) -> tuple[Callable, Callable, Callable]:
    """A convolution whose filters carry Gaussian noise, W_μ + W_σ∘ζ, with the layer contract of neural-tangents.

    z_p = (W_std/√N) Σ_t (W_μ + W_σ∘ζ)_t x_{p+t} + b_std b,     W_μ, b ~ N(0, I), W_σ = σ0, ζ ~ N(0, I)

    With "independent" noise an input has one draw of the filter for all its positions, with "per_position" noise (local
    reparameterisation) one for each position, which is another network once positions are pooled; the kernels are those
    of f̂ = E_ζ f. With "shared" noise all inputs have one draw, and the kernels are those of the network with that noise
    frozen. `apply_fn` draws what the kernel says. As for `StochasticDense`, the variance weights' own share of the
    tangent kernel is there where the layer reads raw inputs of shape (n, ..., channels).

    Args:
        out_chan: Number of output channels.
        filter_shape: Size of the filter in each of one or two spatial dimensions.
        strides: Step in each spatial dimension; None is 1.
        padding: "VALID", "SAME" or "CIRCULAR", as in `stax.Conv`.
        W_std: Scale of the weights.
        b_std: Scale of the bias; None is no bias.
        sigma0: Initial value σ0 ≥ 0 of the variance weights, relative to W_μ.
        noise: "independent" for every input, "per_position" for every position of it, or "shared" by all inputs.
        parameterization: "ntk" or "standard", as in `stax.Conv`.
        variance_weights: "sigma", "log_sigma" or "softplus", as in `StochasticDense`.

    Returns:
        `(init_fn, apply_fn, kernel_fn)`, with parameters `(W_mu, W_sigma, b)`, or what W_σ is stored as in its place.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a scale is negative, an option is unknown, or there are not one or two spatial dimensions; from
            `apply_fn`, if `rng` is missing; from `kernel_fn`, as for `StochasticDense`.

    Example:
        >>> import jax.numpy as jnp
        >>> from snn_ntk import StochasticConv, predictive_variance, stax
        >>> layers = [StochasticConv(64, (3, 3), sigma0=0.5), stax.Relu(), stax.GlobalAvgPool(), stax.Dense(1)]
        >>> kernel = stax.serial(*layers)[2](jnp.ones((2, 6, 6, 3)))
        >>> kernel.ntk.shape, predictive_variance(kernel).shape
        ((2, 2), (2,))

    Source: book, chapter 12 (the rule of a dense layer with positions); wang2024vae, Eq. 3.
    """
    out_chan = validation.positive_integer(out_chan, "out_chan")
    filter_shape = tuple(validation.positive_integer(size, "filter_shape") for size in filter_shape)
    strides = tuple(validation.positive_integer(size, "strides") for size in strides or (1,) * len(filter_shape))
    if len(filter_shape) not in (1, 2) or len(strides) != len(filter_shape):
        raise ValueError(
            "expected filter_shape, and strides, of one or two spatial dimensions, got "
            f"filter_shape={filter_shape}, strides={strides}"
        )
    if padding not in ("VALID", "SAME", "CIRCULAR"):
        raise ValueError(f'expected padding to be "VALID", "SAME" or "CIRCULAR", got {padding!r}')
    W_std = validation.non_negative(W_std, "W_std")
    sigma0 = validation.non_negative(sigma0, "sigma0")
    b_std = validation.optional_non_negative(b_std, "b_std")
    validate_options(noise, parameterization)

    def convolution(W_std: Any, b_std: Any) -> tuple[Callable, Callable, Callable]:
        return stax.Conv(
            out_chan, filter_shape, strides, padding, W_std=W_std, b_std=b_std, parameterization=parameterization
        )

    def patches(x: Array) -> Array:
        """What the filter sees at each position, channels first and then taps, shape (n, ..., N)."""
        border: str = padding
        if padding == "CIRCULAR":
            pads = jax.lax.padtype_to_pads(x.shape[1:-1], filter_shape, strides, "SAME")
            x, border = jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="wrap"), "VALID"
        spatial = "HW"[: len(filter_shape)]
        numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
        return jax.lax.conv_general_dilated_patches(x, filter_shape, strides, border, dimension_numbers=numbers)

    stored, ntk_scaling = stored_as(variance_weights, sigma0), parameterization == "ntk"
    return _conv(convolution, patches, W_std, sigma0, b_std, noise=noise, ntk_scaling=ntk_scaling, stored=stored)


@stax.layer
def _conv(
    convolution: Callable,
    patches: Callable,
    W_std: Any,
    sigma0: Any,
    b_std: Any,
    *,
    noise: Noise,
    ntk_scaling: bool,
    stored: VarianceWeights,
) -> tuple[Callable, Callable, Callable]:
    _, bare_apply, bare_kernel = convolution(W_std, None)

    def fan_in(W: Array) -> int:
        return W.size // W.shape[-1]

    def init_fn(rng: Any, input_shape: tuple) -> tuple[tuple, tuple]:
        shape, (W_mu, b) = convolution(W_std, b_std)[0](rng, input_shape)
        size = 1.0 if ntk_scaling else W_std / fan_in(W_mu) ** 0.5
        return shape, (W_mu, jnp.full(W_mu.shape, stored.rho(sigma0 * size), W_mu.dtype), b)

    @full_precision
    def apply_fn(params: tuple, inputs: Any, *, rng: Any = None, **kwargs: Any) -> Any:
        require_rng(rng)
        W_mu, rho, b = params
        W_sigma = stored.sigma(rho)
        inputs = masked_array(inputs, kwargs.pop("mask_constant", None))
        # Integers as the floats that they are: uint8 would square them modulo 256.
        x = validation.floats(inputs.masked_value)

        def with_filter(W: Array, x: Array) -> Array:
            return bare_apply((W, None), x)

        norm = W_std / fan_in(W_mu) ** 0.5 if ntk_scaling else 1.0
        if noise == "shared":
            outputs = with_filter(W_mu + W_sigma * jax.random.normal(rng, W_mu.shape, W_mu.dtype), x)
        elif noise == "independent":
            # A filter for each input is a product with its patches; convolutions in groups are slow.
            sigma = jnp.moveaxis(W_sigma, -2, 0).reshape(-1, W_mu.shape[-1])
            zeta = jax.random.normal(rng, (len(x), *sigma.shape), sigma.dtype)
            drawn = jnp.einsum("n...k,nkr->n...r", patches(x), sigma[None] * zeta)
            outputs = with_filter(W_mu, x) + norm * drawn
        else:
            scale = standard_deviation(norm * with_filter(W_sigma**2, x**2))
            outputs = with_filter(W_mu, x) + scale * jax.random.normal(rng, scale.shape, scale.dtype)
        if b is not None:
            outputs = outputs + (b_std * b if ntk_scaling else b)
        if inputs.mask is None:
            return outputs
        mask = bare_apply((W_mu, None), MaskedArray(x, inputs.mask)).mask
        return MaskedArray(outputs, mask)

    @stax.requires(batch_axis=0, channel_axis=-1, diagonal_spatial=stax.Diagonal())
    def kernel_fn(k: Any, **kwargs: Any) -> Any:
        if not is_zero(sigma0):
            refuse_dropout(k)
        plain = k.plain() if hasattr(k, "plain") else k
        out = bare_kernel(plain, **kwargs)
        shift = 0.0 if b_std is None else b_std**2
        noisy = 1 + sigma0**2
        shared = noise == "shared"

        def total(cov: Array | None) -> Array | None:
            if cov is None:
                return None
            same = jnp.bool_(True) if shared else one_draw(cov, k, positions=noise == "per_position")
            return jnp.where(same, noisy, 1.0) * cov + shift

        ntk, spread = out.ntk, None
        if ntk is not None:
            size = jax.eval_shape(patches, jax.ShapeDtypeStruct(k.shape1, ntk.dtype)).shape[-1]
            slope = stored.slope(sigma0 if ntk_scaling else sigma0 * W_std / size**0.5)
            if shared:
                # With frozen noise W_σ has a gradient like that of W_μ; with averaged noise it has one through κ'' alone.
                own = bare_kernel(plain.replace(ntk=jnp.zeros((), ntk.dtype)), **kwargs).ntk
                ntk = noisy * ntk + (slope**2 - sigma0**2) * own
            elif k.ntk.ndim == 0 and not is_zero(sigma0):
                products = bare_kernel(plain.replace(nngp=squared_inputs(k), ntk=None), **kwargs).nngp
                spread = (sigma0 * slope) ** 2 * (W_std**2 / size if ntk_scaling else 1.0) * products
            ntk = ntk if b_std is None else ntk + (shift if ntk_scaling else 1.0)
        fields = {name: getattr(out, name) for name in ("is_reversed", "shape1", "shape2", "mask1", "mask2")}
        out = k.replace(
            cov1=total(out.cov1),
            cov2=total(out.cov2),
            nngp=(noisy if shared else 1.0) * out.nngp + shift,
            ntk=ntk,
            is_gaussian=True,
            is_input=False,
            **fields,
        )
        out = carrying_noise(out, k, noise, sigma0 * W_std, spread=spread, excess=None)
        return out.mask(out.mask1, out.mask2)

    return init_fn, apply_fn, kernel_fn
