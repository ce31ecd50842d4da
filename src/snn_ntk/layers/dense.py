"""A stochastic dense layer for neural-tangents, at any depth.

In a `Kernel` let `nngp` be the covariance of two inputs under independent noise and `cov1`, `cov2` the total variance
of one input. A layer z = (W_std/√N) (W_μ + W_σ∘ζ) x + b_std b then sends

    cov → W_std² (1 + σ0²) cov + b_std²,     nngp → W_std² nngp + b_std²,     ntk → nngp + W_std² ntk,

and neural-tangents' nonlinearities do the rest, since none of them takes the diagonal of `nngp` for the variance. The
variance weights W_σ matter for the tangent kernel only where the layer reads raw inputs; fed by a wide layer their
share is of order 1/width.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Num

from snn_ntk import _validation as validation
from snn_ntk._neural_tangents import stax
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import standard_deviation
from snn_ntk.layers.noise import (
    Noise,
    carrying_noise,
    excess_before,
    is_zero,
    one_draw,
    refuse_dropout,
    require_rng,
    squared_inputs,
    validate_options,
)
from snn_ntk.layers.variance_weights import Form, VarianceWeights, stored_as

__all__ = ["StochasticDense"]


def StochasticDense(
    out_dim: int,
    W_std: Num[ArrayLike, ""] = 1.0,
    *,
    sigma0: Num[ArrayLike, ""],
    b_std: Num[ArrayLike, ""] | None = None,
    noise: Noise = "independent",
    parameterization: Literal["ntk", "standard"] = "ntk",
    variance_weights: Form = "sigma",
) -> tuple[Callable, Callable, Callable]:
    """A dense layer whose weights carry Gaussian noise, W_μ + W_σ∘ζ, with the layer contract of neural-tangents.

    z = (W_std/√N) (W_μ + W_σ∘ζ) x + b_std b,     W_μ, b ~ N(0, I), W_σ = σ0, ζ ~ N(0, I)

    With independent noise (each input its own ζ) the kernels are those of the expected network f̂ = E_ζ f: `nngp` is
    the covariance of f̂ and `ntk` its tangent kernel, with Θ^(σ) where the layer reads raw inputs.
    With shared noise (one ζ for all inputs) they are those of the network with that noise frozen; where such a layer
    reads raw inputs, its `ntk` holds to leading order in 1/N, as the noise of a weight is also in its pre-activation.

    `apply_fn` draws from `rng`, so it returns a sample of f. Where a draw is used once it is made for each neuron, with
    the variance Σ_k W_σ[k]² x_k² that ζ would give. The positions of inputs of shape (n, ..., d) share one ζ, unless
    `noise` is "per_position". Flipout has the kernels of independent noise, which ask for one input's noise at a time.

    Args:
        out_dim: Number of outputs.
        W_std: Scale of the weights.
        sigma0: Initial value σ0 ≥ 0 of the variance weights, relative to W_μ.
        b_std: Scale of the bias; None is no bias.
        noise: "independent" for every input, "per_position" for every position of it, or "shared" by all inputs.
        parameterization: "ntk" or "standard", as in `stax.Dense`: "standard" puts W_std/√N into the weights.
        variance_weights: What is trained: "sigma" is W_σ, "log_sigma" its logarithm, "softplus" ρ with W_σ = log(1 + e^ρ).
            Only Θ^(σ) depends on it, by the squared slope at initialisation.

    Returns:
        `(init_fn, apply_fn, kernel_fn)`, with parameters `(W_mu, W_sigma, b)`, or log W_σ or ρ in the place of W_σ.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a scale is negative or an option is unknown; from `apply_fn`, if `rng` is missing; from
            `kernel_fn`, if it needs raw inputs and is given a `Kernel` that does not remember them.

    Example:
        >>> import jax.numpy as jnp
        >>> from snn_ntk import StochasticDense, predictive_variance, stax
        >>> _, _, kernel_fn = stax.serial(StochasticDense(512, sigma0=0.5), stax.Erf(), stax.Dense(1))
        >>> kernel = kernel_fn(jnp.eye(4))
        >>> kernel.ntk.shape, predictive_variance(kernel).shape
        ((4, 4), (4,))

    Source: wang2024vae, Eq. 3, Lemma 1; jacot2018ntk, Theorem 1 (whose recursion carries it on); book, chapter 12.
    """
    out_dim = validation.positive_integer(out_dim, "out_dim")
    W_std = validation.non_negative(W_std, "W_std")
    sigma0 = validation.non_negative(sigma0, "sigma0")
    b_std = validation.optional_non_negative(b_std, "b_std")
    validate_options(noise, parameterization)
    stored, ntk_scaling = stored_as(variance_weights, sigma0), parameterization == "ntk"
    return _dense(out_dim, W_std, sigma0, b_std, noise=noise, ntk_scaling=ntk_scaling, stored=stored)


@stax.layer
@stax.supports_masking(remask_kernel=True)
def _dense(
    out_dim: int, W_std: Any, sigma0: Any, b_std: Any, *, noise: Noise, ntk_scaling: bool, stored: VarianceWeights
) -> tuple[Callable, Callable, Callable, Callable]:
    def init_fn(rng: Any, input_shape: tuple) -> tuple[tuple, tuple]:  # behind a convolution, of NumPy's integers
        width = input_shape[-1]
        key_W, key_b = jax.random.split(rng)
        size = 1.0 if ntk_scaling else W_std / width**0.5
        W_mu = size * jax.random.normal(key_W, (width, out_dim))
        W_sigma = jnp.full((width, out_dim), stored.rho(sigma0 * size), W_mu.dtype)
        b = None
        if b_std is not None:
            b = jax.random.normal(key_b, (1,) * (len(input_shape) - 1) + (out_dim,)) * (1.0 if ntk_scaling else b_std)
        return (*input_shape[:-1], out_dim), (W_mu, W_sigma, b)

    @full_precision
    def apply_fn(params: tuple, inputs: ArrayLike, *, rng: Any = None, **kwargs: Any) -> Array:
        require_rng(rng)
        W_mu, rho, b = params
        W_sigma = stored.sigma(rho)
        # Integers as the floats that they are: uint8 would square them modulo 256.
        inputs = validation.floats(inputs)
        if noise == "shared":
            outputs = inputs @ (W_mu + W_sigma * jax.random.normal(rng, W_mu.shape, W_mu.dtype))
        elif inputs.ndim > 2 and noise == "independent":
            # The positions of an input share its weights, hence its noise, which has to be drawn weight by weight.
            zeta = jax.random.normal(rng, (len(inputs), *W_mu.shape), W_mu.dtype)
            outputs = inputs @ W_mu + jnp.einsum("n...k,nkr->n...r", inputs, W_sigma[None] * zeta)
        else:
            scale = standard_deviation(inputs**2 @ W_sigma**2)
            outputs = inputs @ W_mu + scale * jax.random.normal(rng, scale.shape, scale.dtype)
        if ntk_scaling:
            outputs = W_std / inputs.shape[-1] ** 0.5 * outputs
        if b is None:
            return outputs
        return outputs + (b_std * b if ntk_scaling else b)

    @stax.requires(batch_axis=0, channel_axis=-1, diagonal_spatial=stax.Diagonal())
    def kernel_fn(k: Any, **kwargs: Any) -> Any:
        if not is_zero(sigma0):
            refuse_dropout(k)
        shift = 0.0 if b_std is None else b_std**2
        noisy, between = W_std**2 * (1 + sigma0**2), W_std**2
        if noise == "shared":
            between = noisy

        def total(cov: Array | None) -> Array | None:
            if cov is None:
                return None
            if noise == "shared":
                return noisy * cov + shift
            return jnp.where(one_draw(cov, k, positions=noise == "per_position"), noisy, between) * cov + shift

        ntk, spread = k.ntk, None
        if ntk is not None:
            # With frozen noise W_σ has a gradient like that of W_μ; with averaged noise it has one through κ'' alone.
            slope = stored.slope(sigma0 if ntk_scaling else sigma0 * W_std / k.shape1[-1] ** 0.5)
            groups = 1 + slope**2 if noise == "shared" else 1.0
            if ntk_scaling:
                own = groups * W_std**2 * k.nngp + shift
            else:
                own = groups * k.shape1[-1] * k.nngp + (0.0 if b_std is None else 1.0)
            reads_inputs = ntk.ndim == 0
            ntk = own + between * ntk
            if reads_inputs and noise != "shared" and not is_zero(sigma0):
                weight = W_std**4 / k.shape1[-1] if ntk_scaling else W_std**2
                spread = weight * (sigma0 * slope) ** 2 * squared_inputs(k)
        out = k.replace(
            cov1=total(k.cov1),
            cov2=total(k.cov2),
            nngp=between * k.nngp + shift,
            ntk=ntk,
            is_gaussian=True,
            is_input=False,
        )
        before, excess = excess_before(k), None
        if before is not None and noise != "shared":
            excess = W_std**2 * (sigma0**2 * k.cov1 + before)
        elif before is not None and not is_zero(before):
            excess = noisy * before
        return carrying_noise(out, k, noise, sigma0 * W_std, spread=spread, excess=excess)

    def mask_fn(mask: Array, input_shape: tuple) -> Array:
        return jnp.all(mask, axis=-1, keepdims=True)

    return init_fn, apply_fn, kernel_fn, mask_fn
