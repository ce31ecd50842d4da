"""The objectives of the paper: reconstruction (Eq. 7), KL (Eq. 4), Frobenius (Eq. 12), and what noise adds to them.

Each objective is a function of the trained parameters. The pre-activations of input x are independent normals,

    z_r ~ N(Σ_k W_μ[r,k] x_k,  Σ_k W_σ[r,k]² x_k²),

so the divergence of Eq. 4 is a sum over neurons of divergences between two normals on the line. `mse` sees the network
only through its expected output f̂; `expected_sampled_mse` is the loss that a sampled network has on average, which is
larger by the variance of the output.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk.paper.divergence import frobenius_penalty, kl
from snn_ntk.paper.network import Parameters, expected_output, output_variance, sampled_output

__all__ = ["expected_sampled_mse", "frobenius_objective", "kl_objective", "mse", "sampled_mse"]


def _half_mean_square(output: Float[Array, "n d_out"], y: Num[Array, "n d_out"]) -> Float[Array, ""]:
    return jnp.sum((output - validation.of_shape(y, output.shape, "y")) ** 2) / (2 * output.shape[0])


def mse(params: Parameters, x: Num[Array, "n d_in"], y: Num[Array, "n d_out"], *, activation: Any) -> Float[Array, ""]:
    """Reconstruction loss of the expected output, L = 1/(2n) Σ_i ‖f̂(x_i) − y_i‖².

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        y: Targets, shape (n, d_out); the paper's are the inputs themselves.
        activation: φ, what `snn_ntk.activations.resolve` accepts.

    Returns:
        A scalar of the parameters' dtype.

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite, or `y` is not of shape (n, d_out).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk import stax
        >>> from snn_ntk.paper import expected_output, init_parameters
        >>> net = init_parameters(jax.random.key(0), 64, 3, sigma0=0.5)
        >>> x = jnp.eye(3)
        >>> float(mse(net, x, expected_output(net, x, activation=stax.Erf()), activation=stax.Erf()))
        0.0

    Source: wang2024vae, Eq. 7; book, chapter 4.
    """
    return _half_mean_square(expected_output(params, x, activation=activation), y)


def sampled_mse(
    params: Parameters, x: Num[Array, "n d_in"], y: Num[Array, "n d_out"], key: Array, *, activation: Any
) -> Float[Array, ""]:
    """Reconstruction loss of one noise draw, 1/(2n) Σ_i ‖f(x_i, ζ) − y_i‖²: the term that a VAE descends.

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        y: Targets, shape (n, d_out).
        key: Random key of the noise.
        activation: φ, what `snn_ntk.activations.resolve` accepts.

    Returns:
        A scalar, an unbiased estimate of `expected_sampled_mse`.

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite, or `y` is not of shape (n, d_out).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> from snn_ntk import stax
        >>> net = init_parameters(jax.random.key(0), 64, 3, sigma0=0.0)
        >>> x = jnp.eye(3)
        >>> one = sampled_mse(net, x, x, jax.random.key(1), activation=stax.Erf())
        >>> bool(jnp.allclose(one, mse(net, x, x, activation=stax.Erf())))  # no noise, no difference
        True

    Source: wang2024vae, Eq. 1 (its reconstruction term, with a Gaussian likelihood).
    """
    return _half_mean_square(sampled_output(params, x, key, activation=activation), y)


def expected_sampled_mse(
    params: Parameters, x: Num[Array, "n d_in"], y: Num[Array, "n d_out"], *, activation: Any
) -> Float[Array, ""]:
    """Average over the noise of `sampled_mse`: the loss of Eq. 7 plus 1/(2n) Σ_i Σ_k Var_ζ f_k(x_i).

    E‖f − y‖² = ‖f̂ − y‖² + Σ_k Var f_k holds for every random f. Eq. 7 leaves the second term out.

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        y: Targets, shape (n, d_out).
        activation: φ, what `snn_ntk.activations.resolve` accepts.

    Returns:
        A scalar, exact (no sampling).

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite, or `y` is not of shape (n, d_out).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> from snn_ntk import stax
        >>> net = init_parameters(jax.random.key(0), 64, 3, sigma0=0.7)
        >>> x = jnp.eye(3)
        >>> gap = expected_sampled_mse(net, x, x, activation=stax.Erf()) - mse(net, x, x, activation=stax.Erf())
        >>> bool(gap > 0.1)
        True

    Source: wang2024vae, Eq. 1 (by the bias–variance identity); book, chapter 4, chapter 14.
    """
    variance = jnp.sum(output_variance(params, x, activation=activation)) / (2 * x.shape[0])
    return mse(params, x, y, activation=activation) + variance


def kl_objective(
    params: Parameters,
    initial: Parameters,
    x: Num[Array, "n d_in"],
    y: Num[Array, "n d_out"],
    *,
    activation: Any,
    beta: float | Float[Array, ""],
) -> Float[Array, ""]:
    """The objective with its exact divergence, (1/n) Σ_i [½‖f̂(x_i) − y_i‖² + β KL(P(z_i(t)) ‖ P(z_i(0)))].

    Args:
        params: The network at time t.
        initial: The network at time 0, the anchor of the divergence.
        x: Inputs, shape (n, d_in).
        y: Targets, shape (n, d_out).
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        beta: Weight β of the divergence.

    Returns:
        A scalar. ℓ is half the squared error, so that β = 0 gives Eq. 7.

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite, or `y` is not of shape (n, d_out).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> from snn_ntk import stax
        >>> net = init_parameters(jax.random.key(0), 4, 2, sigma0=0.5)
        >>> x = jnp.eye(2)
        >>> at_start = kl_objective(net, net, x, x, activation=stax.Erf(), beta=0.3)
        >>> bool(jnp.allclose(at_start, mse(net, x, x, activation=stax.Erf())))
        True

    Source: wang2024vae, Eq. 4; book, chapter 4, chapter 8.
    """
    return mse(params, x, y, activation=activation) + beta * jnp.mean(kl(params, initial, x))


def frobenius_objective(
    params: Parameters,
    initial: Parameters,
    x: Num[Array, "n d_in"],
    y: Num[Array, "n d_out"],
    *,
    activation: Any,
    beta: float | Float[Array, ""],
) -> Float[Array, ""]:
    """The objective of Theorem 2, 1/(2n) ‖f̂(X) − Y‖_F² + (β/2) ‖W_μ(t) − W_μ(0)‖_F².

    Args:
        params: The network at time t.
        initial: The network at time 0.
        x: Inputs, shape (n, d_in).
        y: Targets, shape (n, d_out).
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        beta: Weight β of the penalty.

    Returns:
        A scalar.

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite, or `y` is not of shape (n, d_out).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> from snn_ntk import stax
        >>> net = init_parameters(jax.random.key(0), 4, 2, sigma0=0.5)
        >>> x = jnp.eye(2)
        >>> at_start = frobenius_objective(net, net, x, x, activation=stax.Erf(), beta=0.3)
        >>> bool(jnp.allclose(at_start, mse(net, x, x, activation=stax.Erf())))
        True

    Source: wang2024vae, Eq. 12; book, chapter 8.
    """
    return mse(params, x, y, activation=activation) + beta * frobenius_penalty(params, initial)
