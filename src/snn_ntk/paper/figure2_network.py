"""The network of the paper's Figure 2: encoder, stochastic latent layer, hidden layer and decoder, all of them trained.

    z1 = W_enc x,  z2 = (1/√m) (W_μ + W_σ∘ζ) φ(z1),  z3 = (1/√m) W_hid φ(z2),  f = (1/√m) W_dec φ(z3),

Eq. 2 with a layer before and one behind it. Matrices are stored (inputs, outputs), as a product from the right needs.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import standard_deviation
from snn_ntk.activations.resolution import resolve
from snn_ntk.paper.divergence import gaussian_kl

__all__ = ["Figure2Parameters", "in_basis", "init_figure2", "kl_to_start", "latent_law", "noisy_outputs"]


class Figure2Parameters(NamedTuple):
    """Weights of Figure 2's network, (inputs, outputs) each.

    Attributes:
        encoder: W_enc, shape (d_in, m).
        mu: Means W_μ of the latent layer, shape (m, m).
        hidden: W_hid, shape (m, m).
        decoder: W_dec, shape (m, d_out).
        sigma: Scales W_σ of the latent layer's noise, shape (m, m); None if all are σ0 and stay there.

    Source: wang2024vae, Section 6, Figure 2; book, chapter 9.
    """

    encoder: Float[Array, "*b d_in m"]
    mu: Float[Array, "*b m m"]
    hidden: Float[Array, "*b m m"]
    decoder: Float[Array, "*b m d_out"]
    sigma: Float[Array, "*b m m"] | None = None


def init_figure2(
    key: Array, width: int, d_in: int, d_out: int, *, train_sigma: float | Array | None = None
) -> Figure2Parameters:
    """Standard normal weights, the initialisation of the NTK parameterisation.

    Args:
        key: Random key.
        width: m, of all three hidden layers.
        d_in: Dimension of an input.
        d_out: Dimension of an output.
        train_sigma: σ0, if the scales of the noise are to be trained too.

    Returns:
        Weights, float32 unless double precision is on.

    Raises:
        ValueError: If a size is less than 1.

    Example:
        >>> import jax
        >>> init_figure2(jax.random.key(0), 4, 3, 2).decoder.shape
        (4, 2)

    Source: wang2024vae, Section 6, Figure 2; book, chapter 9.
    """
    if min(width, d_in, d_out) < 1:
        raise ValueError(f"expected sizes of at least 1, got width {width}, d_in {d_in}, d_out {d_out}")
    shapes = ((d_in, width), (width, width), (width, width), (width, d_out))
    keys = jax.random.split(key, 4)
    sigma = None if train_sigma is None else jnp.full((width, width), train_sigma)
    encoder, latent, hidden, decoder = _normal_arrays(keys, shapes)
    return Figure2Parameters(encoder, latent, hidden, decoder, sigma)


def _normal_arrays(keys, shapes):
    # A draw begins with the numbers of a shorter one of the same key, so one draw serves all shapes: each draw of its own
    # costs as much compilation as a training loop.
    sizes = [math.prod(shape) for shape in shapes]
    drawn = jax.vmap(lambda key: jax.random.normal(key, (max(sizes),)))(keys)
    return [row[:size].reshape(shape) for row, size, shape in zip(drawn, sizes, shapes, strict=True)]


def in_basis(x: Num[Array, "n d"]) -> Float[Array, "n r"]:
    """The inputs in an orthonormal basis of their span, so that the first layer has n rows instead of d.

    Every gradient of the encoder is a combination of inputs, so W_enc moves only within their span, and a standard
    normal matrix is one in any orthonormal basis: nothing that is computed from x changes its law, and ‖ΔW_enc‖_F is
    the same number. What is left out of ‖W_enc(0)‖_F is a chi-square number, which `initial_norms` adds again.

    Args:
        x: Inputs, shape (n, d).

    Returns:
        Coordinates with the inner products of `x`, shape (n, min(n, d)); `x` itself if n ≥ d.

    Example:
        >>> import jax.numpy as jnp
        >>> in_basis(jnp.array([[3.0, 4.0, 0.0]])).tolist()
        [[5.0]]

    Source: book, chapter 9.
    """
    x = validation.floats(x)
    if len(x) >= x.shape[1]:
        return x
    triangle = np.linalg.qr(np.asarray(x, np.float64).T)[1]
    signs = np.where(np.diagonal(triangle) < 0, -1, 1)  # a row of a dependent input may begin with 0 and go on
    return jnp.asarray((triangle * signs[:, None]).T, x.dtype)


@full_precision
def latent_law(
    params: Figure2Parameters, x: Num[Array, "n d"], *, activation: Any, sigma0: float | Float[Array, ""]
) -> tuple[Float[Array, "n m"], Float[Array, "n _"]]:
    """Mean and standard deviation of the latent pre-activations, n · m independent normal numbers given the weights.

    Args:
        params: Weights.
        x: Inputs, shape (n, d_in).
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        sigma0: Noise level σ0; without effect if `params.sigma` is trained.

    Returns:
        Mean, shape (n, m), and standard deviation, shape (n, m), or (n, 1) if all scales are equal.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params = init_figure2(jax.random.key(0), 8, 2, 1)
        >>> mean, deviation = latent_law(params, jnp.ones((3, 2)), activation=jnp.tanh, sigma0=0.5)
        >>> mean.shape, deviation.shape
        ((3, 8), (3, 1))

    Source: wang2024vae, Eq. 2 (with the variance that Eq. 3 has), Eq. 3; book, chapter 9.
    """
    m = params.mu.shape[0]
    h = resolve(activation).phi(x @ params.encoder)
    mean = h @ params.mu / np.sqrt(m)
    if params.sigma is None:
        return mean, sigma0 * standard_deviation(jnp.mean(h**2, axis=1, keepdims=True))
    return mean, standard_deviation(h**2 @ params.sigma**2 / m)


@full_precision
def noisy_outputs(
    params: Figure2Parameters,
    x: Num[Array, "n d"],
    noise: Float[Array, "S _ _"] | None,
    *,
    activation: Any,
    sigma0: float | Float[Array, ""] = 0.0,
) -> Float[Array, "n d_out"]:
    """Outputs averaged over S samples of the latent noise: f̂ as S → ∞, one draw of f for S = 1.

    Args:
        params: Weights.
        x: Inputs, shape (n, d_in).
        noise: Standard normal numbers for each sample, input and latent neuron, shape (S, n, m); None for no noise.
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        sigma0: Noise level σ0; without effect if `params.sigma` is trained.

    Returns:
        Outputs, shape (n, d_out).

    Raises:
        ValueError: If the noise does not fit inputs and width.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params = init_figure2(jax.random.key(0), 8, 2, 1)
        >>> noise = jax.random.normal(jax.random.key(1), (5, 3, 8))
        >>> noisy_outputs(params, jnp.ones((3, 2)), noise, activation=jnp.tanh, sigma0=0.5).shape
        (3, 1)

    Source: wang2024vae, Eq. 2, Eq. 3; book, chapter 9.
    """
    phi, m = resolve(activation).phi, params.mu.shape[0]
    mean, deviation = latent_law(params, x, activation=activation, sigma0=sigma0)
    if noise is None:
        h = phi(phi(mean) @ params.hidden / np.sqrt(m))
        return h @ params.decoder / np.sqrt(m)
    if noise.ndim != 3 or noise.shape[1:] != mean.shape:
        raise ValueError(f"expected noise of shape (S, {mean.shape[0]}, {mean.shape[1]}), got {noise.shape}")
    z = mean + deviation * noise
    # One tall product for all samples; the decoder is linear, so it acts on the average.
    h = phi(phi(z).reshape(-1, m) @ params.hidden / np.sqrt(m)).reshape(z.shape)
    return h.mean(axis=0) @ params.decoder / np.sqrt(m)


def kl_to_start(
    law: tuple[Float[Array, "n m"], Float[Array, "n _"]],
    start: tuple[Float[Array, "n m"], Float[Array, "n _"]],
) -> Float[Array, ""]:
    """The mean over inputs of KL(P(z(t)) ‖ P(z(0))), from two results of `latent_law`.

    Args:
        law: Mean and standard deviation now.
        start: Both before training.

    Returns:
        The KL term of Eq. 4 without its weight β, in nats, a scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> one = jnp.ones((2, 3))
        >>> float(kl_to_start((2 * one, one), (one, one)))
        1.5

    Source: wang2024vae, Eq. 4.
    """
    (mean, deviation), (mean0, deviation0) = law, start
    variance, variance0 = (jnp.broadcast_to(d**2, mean.shape) for d in (deviation, deviation0))
    return jnp.sum(gaussian_kl(mean, variance, mean0, variance0)) / len(mean)
