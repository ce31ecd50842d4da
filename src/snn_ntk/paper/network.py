"""The stochastic network of the paper at finite width: its parameters, and its output sampled or averaged over noise.

    f(x, ζ) = (1/√m) W_dᵀ φ(z),     z_r = Σ_k (W_μ[r, k] + W_σ[r, k] ζ[r, k]) x_k,     ζ ~ N(0, I)     (Eq. 2, 3)

Given x, z_r ~ N(u_r, s_r²) with u_r = Σ_k W_μ[r, k] x_k and s_r² = Σ_k W_σ[r, k]² x_k². So the expectation of f over
its noise needs only the activation smoothed by Gaussian noise, and no Monte Carlo.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Num, PRNGKeyArray

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import Activation, derivative_of, standard_deviation
from snn_ntk.activations.refusal import check_smoothing
from snn_ntk.activations.resolution import resolve

__all__ = ["Parameters", "expected_output", "init_parameters", "output_variance", "preactivation_law", "sampled_output"]


class Parameters(NamedTuple):
    """The trained parameters of the stochastic network.

    Attributes:
        mu: Mean weights W_μ, shape (m, d_in).
        sigma: Variance weights W_σ, shape (m, d_in).
        d: Weights W_d of the decoder, shape (m, d_out).

    Source: wang2024vae, Eq. 2, Eq. 3.
    """

    mu: Float[Array, "*batch m d_in"]
    sigma: Float[Array, "*batch m d_in"]
    d: Float[Array, "*batch m d_out"]


def init_parameters(
    key: PRNGKeyArray,
    width: int,
    d_in: int,
    d_out: int | None = None,
    *,
    sigma0: Num[ArrayLike, ""],
    dtype: Any = None,
) -> Parameters:
    """Parameters of the stochastic network at initialisation.

    W_μ ~ N(0, 1), W_σ = σ0, W_d ~ N(0, 1)

    Args:
        key: Random key.
        width: Number m of hidden neurons.
        d_in: Dimension of an input.
        d_out: Dimension of an output; None stands for `d_in`, as in the paper.
        sigma0: Initial value σ0 ≥ 0 of the variance weights.
        dtype: Floating-point type; None is JAX's default.

    Returns:
        `Parameters` of shapes (m, d_in), (m, d_in), (m, d_out).

    Raises:
        TypeError: If a size is not an integer or σ0 is not one number.
        ValueError: If a size is not positive or σ0 is negative.

    Example:
        >>> import jax
        >>> init_parameters(jax.random.key(0), 64, 3, sigma0=0.5).d.shape
        (64, 3)

    Source: wang2024vae, Section 3, Lemma 1; book, chapter 4.
    """
    width, d_in = validation.positive_integer(width, "width"), validation.positive_integer(d_in, "d_in")
    d_out = d_in if d_out is None else validation.positive_integer(d_out, "d_out")
    sigma0 = validation.non_negative(sigma0, "sigma0")
    dtype = jnp.result_type(float) if dtype is None else dtype
    key_mu, key_d = jax.random.split(key)
    return Parameters(
        mu=jax.random.normal(key_mu, (width, d_in), dtype),
        sigma=jnp.full((width, d_in), sigma0, dtype),
        d=jax.random.normal(key_d, (width, d_out), dtype),
    )


@full_precision
def preactivation_law(
    params: Parameters, x: Num[ArrayLike, "n d_in"]
) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """Mean and variance of the latent pre-activations z, W_μ x and (W_σ∘W_σ)(x∘x).

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).

    Returns:
        Means and variances, shape (n, m) each. The neurons are independent.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> net = init_parameters(jax.random.key(0), 4, 2, sigma0=0.5)
        >>> mean, variance = preactivation_law(net, jnp.array([[0.6, 0.8]]))
        >>> bool(jnp.allclose(variance, 0.25))  # σ0² ‖x‖²
        True

    Source: wang2024vae, Eq. 2 (which prints the variance W_σ x, which can be negative), Eq. 3; book, chapter 4.
    """
    x = validation.floats(x)
    return x @ params.mu.T, (x * x) @ (params.sigma**2).T


def pre_activations(params: Parameters, x: Array) -> tuple[Array, Array]:
    """Mean u and standard deviation s of every pre-activation, each (n, m)."""
    mean, variance = preactivation_law(params, x)
    return mean, standard_deviation(variance)


def checked(params: Parameters, x: Any, name: str = "x") -> Array:
    """Inputs (n, d_in) that fit the parameters."""
    x = validation.inputs(x, name)
    if x.shape[1] != params.mu.shape[-1]:
        raise ValueError(f"expected {name} with {params.mu.shape[-1]} features like W_mu, got {x.shape[1]}")
    return x


@full_precision
def sampled_output(
    params: Parameters, x: Num[ArrayLike, "n d_in"], key: PRNGKeyArray, *, activation: Any
) -> Float[Array, "n d_out"]:
    """One sample of the network's output, with fresh noise for every input.

    f(x, ζ) = (1/√m) W_dᵀ φ(z),     z_r = u_r + s_r g_r,     g ~ N(0, I)

    Drawing g for each neuron in place of ζ for each weight leaves the distribution of f(x, ζ) as it is.

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        key: Random key.
        activation: φ, what `snn_ntk.activations.resolve` accepts.

    Returns:
        Outputs, shape (n, d_out).

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> params = init_parameters(jax.random.key(0), 64, 3, sigma0=0.5)
        >>> sampled_output(params, jnp.eye(3), jax.random.key(1), activation=jnp.tanh).shape
        (3, 3)

    Source: wang2024vae, Eq. 2, Eq. 3; book, chapter 4.
    """
    x = checked(params, x)
    u, s = pre_activations(params, x)
    z = u + s * jax.random.normal(key, u.shape, u.dtype)
    return resolve(activation).phi(z) @ params.d / jnp.sqrt(u.shape[1])


@full_precision
def expected_output(params: Parameters, x: Num[ArrayLike, "n d_in"], *, activation: Any) -> Float[Array, "n d_out"]:
    """The network's output averaged over its noise, exactly.

    f̂(x) = E_ζ f(x, ζ) = (1/√m) Σ_r W_d[r] φ̂(u_r; s_r)

    Closed form for erf, ReLU, GELU, sin, exp, Gaussians and polynomials; quadrature for other functions.

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        activation: φ, what `snn_ntk.activations.resolve` accepts.

    Returns:
        Expected outputs, shape (n, d_out).

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite, or φ overflows or is not resolved under the noise:
            the message names mean and variance. Inside of `jax.jit` that is NaN or an infinity.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> params = init_parameters(jax.random.key(0), 64, 3, sigma0=0.5)
        >>> expected_output(params, jnp.eye(3), activation=jnp.tanh).shape
        (3, 3)

    Source: wang2024vae, Section 3, Eq. 4 (its f̂); book, chapter 4.
    """
    x = checked(params, x)
    u, s = pre_activations(params, x)
    activation = resolve(activation)
    features = activation.smoothed(u, s)
    check_smoothing(activation, u, s, features)
    return features @ params.d / jnp.sqrt(u.shape[1])


@full_precision
def output_variance(params: Parameters, x: Num[ArrayLike, "n d_in"], *, activation: Any) -> Float[Array, "n d_out"]:
    """The variance of the network's output over its noise, also where that is small.

    Var_ζ f_k(x, ζ) = (1/m) Σ_r W_d[r, k]² (E φ(z_r)² - φ̂(u_r; s_r)²)

    It is what E_ζ ‖f - y‖² = ‖f̂ - y‖² + Σ_k Var_ζ f_k adds to the loss of the expected output.

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        activation: φ, what `snn_ntk.activations.resolve` accepts.

    Returns:
        Variances, shape (n, d_out).

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite, or φ overflows or is not resolved under the noise:
            the message names mean and variance. Inside of `jax.jit` that is NaN or an infinity.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> params = init_parameters(jax.random.key(0), 64, 3, sigma0=0.0)
        >>> float(output_variance(params, jnp.eye(3), activation=jnp.sin).max()) < 1e-6
        True

    Source: book, chapter 4, chapter 12.
    """
    x = checked(params, x)
    u, s = pre_activations(params, x)
    activation = resolve(activation)
    square, mean = activation.second_moment(u, s), activation.smoothed(u, s)
    check_smoothing(activation, u, s, square, mean)
    return _variance(activation, u, s, square, mean) @ params.d**2 / u.shape[1]


def _variance(activation: Activation, u: Array, s: Array, square: Array, mean: Array) -> Array:
    """E φ(z)² − φ̂² of every neuron; where the noise is small and that cancels, Σ_k s²ᵏ φ̂⁽ᵏ⁾(u)²/k!, of which two terms do.

    The series stands only where it is the difference to rounding, so also where φ has a kink that no derivative sees.
    """
    # Rounding may leave a tiny negative difference where the noise is 0.
    difference = jnp.maximum(square - mean**2, 0)
    if activation.jumps:
        return difference
    slope = derivative_of(lambda u: activation.smoothed(u, s))
    first, second = (s * slope(u)) ** 2, (s**2 * derivative_of(slope)(u)) ** 2 / 2
    eps = jnp.finfo(u.dtype).eps
    # The third term is about second²/first, and must be below the rounding of the difference.
    converged = second <= jnp.maximum(jnp.sqrt(eps * square) * jnp.sqrt(first), eps * square)
    agrees = jnp.abs(first + second - difference) <= 64 * eps * square
    return jnp.where(converged & agrees, first + second, difference)
