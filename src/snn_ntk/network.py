"""The stochastic network of the paper at finite width, and its empirical tangent kernels.

    f(x, ζ) = m^{-1/2} W_dᵀ φ(z),     z_r = Σ_k (W_μ[r, k] + W_σ[r, k] ζ[r, k]) x_k,     ζ ~ N(0, I)     (Eq. 2-3)

Given x, z_r ~ N(u_r, s_r²) with u_r = Σ_k W_μ[r, k] x_k and s_r² = Σ_k W_σ[r, k]² x_k². So the expectation of f over its
noise needs only the activation smoothed by Gaussian noise, and no Monte Carlo.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Num, PRNGKeyArray

from . import _validation as validation
from .duals import Activation, resolve
from .kernels import TangentKernels

__all__ = [
    "Parameters",
    "empirical_tangent_kernels",
    "expected_output",
    "init",
    "output_variance",
    "sampled_output",
]


class Parameters(NamedTuple):
    """The trained parameters of the stochastic network.

    Attributes:
        mu: W_μ, shape (m, d_in).
        sigma: W_σ, shape (m, d_in).
        d: W_d, shape (m, d_out).
    """

    mu: Float[Array, "*batch m d_in"]
    sigma: Float[Array, "*batch m d_in"]
    d: Float[Array, "*batch m d_out"]


def init(
    key: PRNGKeyArray,
    width: int,
    d_in: int,
    d_out: int | None = None,
    *,
    sigma0: Num[ArrayLike, ""],
    dtype: Any = None,
) -> Parameters:
    """Parameters at initialisation.

    W_μ ~ N(0, 1), W_σ = σ0, W_d ~ N(0, 1)     (Section 3 of the paper)

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
        >>> init(jax.random.key(0), 64, 3, sigma0=0.5).d.shape
        (64, 3)
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


def _pre_activations(params: Parameters, x: Array) -> tuple[Array, Array]:
    """Mean u and standard deviation s of every pre-activation, each (n, m)."""
    variance = (x * x) @ (params.sigma**2).T
    # The square root's slope at 0 is infinite, and s is 0 exactly when W_σ = 0 or x = 0: the slope of f̂ in W_σ is 0 there.
    positive = variance > 0
    s = jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1)), 0)
    return x @ params.mu.T, s


def _checked(params: Parameters, x: Any, name: str = "x") -> Array:
    x = validation.inputs(x, name)
    if x.shape[1] != params.mu.shape[-1]:
        raise ValueError(f"expected {name} with {params.mu.shape[-1]} features like W_mu, got {x.shape[1]}")
    return x


def sampled_output(
    params: Parameters, x: Num[ArrayLike, "n d_in"], key: PRNGKeyArray, *, activation: Any
) -> Float[Array, "n d_out"]:
    """One sample of the network's output, with fresh noise for every input.

    f(x, ζ) = m^{-1/2} W_dᵀ φ(z),     z_r = u_r + s_r g_r,     g ~ N(0, I)     (Eq. 3, its noise integrated to one g a neuron)

    Drawing g for each neuron in place of ζ for each weight leaves the distribution of f(x, ζ) as it is.

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        key: Random key.
        activation: φ, what `duals.resolve` accepts.

    Returns:
        Outputs, shape (n, d_out).

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> params = init(jax.random.key(0), 64, 3, sigma0=0.5)
        >>> sampled_output(params, jnp.eye(3), jax.random.key(1), activation=jnp.tanh).shape
        (3, 3)

    Source: Eq. 2-3 of the paper.
    """
    x = _checked(params, x)
    u, s = _pre_activations(params, x)
    z = u + s * jax.random.normal(key, u.shape, u.dtype)
    return resolve(activation).phi(z) @ params.d / jnp.sqrt(u.shape[1])


def expected_output(params: Parameters, x: Num[ArrayLike, "n d_in"], *, activation: Any) -> Float[Array, "n d_out"]:
    """The network's output averaged over its noise, exactly.

    f̂(x) = E_ζ f(x, ζ) = m^{-1/2} Σ_r W_d[r] φ̂(u_r; s_r)

    Closed form for erf, ReLU, GELU, sin, exp, Gaussians and polynomials; quadrature for other functions.

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        activation: φ, what `duals.resolve` accepts.

    Returns:
        Expected outputs, shape (n, d_out).

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> params = init(jax.random.key(0), 64, 3, sigma0=0.5)
        >>> expected_output(params, jnp.eye(3), activation=jnp.tanh).shape
        (3, 3)

    Source: Section 3 of the paper, f̂ below Eq. 3.
    """
    x = _checked(params, x)
    u, s = _pre_activations(params, x)
    return resolve(activation).smoothed(u, s) @ params.d / jnp.sqrt(u.shape[1])


def output_variance(params: Parameters, x: Num[ArrayLike, "n d_in"], *, activation: Any) -> Float[Array, "n d_out"]:
    """The variance of the network's output over its noise, exactly.

    Var_ζ f_k(x, ζ) = m^{-1} Σ_r W_d[r, k]² (E φ(z_r)² - φ̂(u_r; s_r)²)

    It is what E_ζ ‖f - y‖² = ‖f̂ - y‖² + Σ_k Var_ζ f_k adds to the loss of the expected output.

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        activation: φ, what `duals.resolve` accepts.

    Returns:
        Variances, shape (n, d_out).

    Raises:
        TypeError: If `x` is not a real array or the activation is unknown.
        ValueError: If `x` is of the wrong shape, empty or not finite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> params = init(jax.random.key(0), 64, 3, sigma0=0.0)
        >>> float(output_variance(params, jnp.eye(3), activation=jnp.sin).max()) < 1e-6
        True
    """
    x = _checked(params, x)
    u, s = _pre_activations(params, x)
    activation = resolve(activation)
    # Rounding may leave a tiny negative difference where the noise is 0.
    variance = jnp.maximum(activation.second_moment(u, s) - activation.smoothed(u, s) ** 2, 0)
    return variance @ params.d**2 / u.shape[1]


def empirical_tangent_kernels(
    params: Parameters,
    x1: Num[ArrayLike, "n1 d_in"],
    x2: Num[ArrayLike, "n2 d_in"] | None = None,
    *,
    activation: Any,
    outputs: Literal["mean", "all"] = "mean",
) -> TangentKernels:
    """The tangent kernels of f̂ at these parameters, group by group.

    Θ^(s)_{ik,jk'} = ⟨∇_{W_s} f̂_k(x_i), ∇_{W_s} f̂_{k'}(x_j)⟩, s ∈ {μ, σ, d}     (Definition 1)

    The inner products are contracted in closed form over weights, neuron by neuron, instead of through Jacobians:
    with D[r] the r-th row of W_d, Θ^(d) = δ_{kk'} Σ_r φ̂ φ̂'/m, Θ^(μ) = ⟨x, x'⟩ Σ_r D[r,k] D[r,k'] ∂_u φ̂ ∂_u φ̂'/m and
    Θ^(σ) = Σ_r D[r,k] D[r,k'] (∂_s φ̂/s) (∂_s φ̂'/s') Σ_l W_σ[r,l]² x_l² x'_l²/m.

    Args:
        params: Parameters, at initialisation or after training.
        x1: Inputs, shape (n1, d_in).
        x2: Other inputs, shape (n2, d_in); None stands for `x1`.
        activation: φ, what `duals.resolve` accepts.
        outputs: "mean" averages over k = k'; "all" keeps every pair of outputs.

    Returns:
        Kernels of shape (n1, n2) for "mean" and (n1, d_out, n2, d_out) for "all".

    Raises:
        TypeError: If the inputs are not real arrays or the activation is unknown.
        ValueError: If the inputs are of the wrong shape, empty or not finite, or `outputs` is neither value.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> params = init(jax.random.key(0), 64, 3, sigma0=0.5)
        >>> empirical_tangent_kernels(params, jnp.eye(3), activation=jnp.tanh, outputs="all").mu.shape
        (3, 3, 3, 3)

    Source: Definition 1 of the paper.
    """
    if outputs not in ("mean", "all"):
        raise ValueError(f'expected outputs to be "mean" or "all", got {outputs!r}')
    x1 = _checked(params, x1, "x1")
    x2 = x1 if x2 is None else _checked(params, x2, "x2")
    activation = resolve(activation)
    left, right = _gradients(params, x1, activation), _gradients(params, x2, activation)
    m, d_out = params.d.shape
    products = x1 @ x2.T

    d = left[0] @ right[0].T / m
    if outputs == "mean":
        weights = jnp.mean(params.d**2, axis=1)
        mu = products * ((left[1] * weights) @ right[1].T) / m
    else:
        d = d[:, None, :, None] * jnp.eye(d_out, dtype=d.dtype)[None, :, None, :]
        mu = jnp.einsum("ij,ir,jr,rk,rl->ikjl", products, left[1], right[1], params.d, params.d, optimize=True) / m

    sigma = _sigma_kernel(params, x1, x2, left[2], right[2], outputs) / m
    return TangentKernels(mu=mu, sigma=sigma, d=d)


def _gradients(params: Parameters, x: Array, activation: Activation) -> tuple[Array, Array, Array]:
    """φ̂, ∂_u φ̂ and (∂_s φ̂)/s at every input and neuron."""
    u, s = _pre_activations(params, x)
    one, zero = jnp.ones_like(u), jnp.zeros_like(u)
    value, slope = jax.jvp(activation.smoothed, (u, s), (one, zero))
    _, spread = jax.jvp(activation.smoothed, (u, s), (zero, one))
    # Where s = 0 all W_σ x vanish, and with them whatever this multiplies.
    return value, slope, jnp.where(s > 0, spread / jnp.where(s > 0, s, 1), 0)


_NEURONS_AT_ONCE = 256


def _sigma_kernel(
    params: Parameters, x1: Array, x2: Array, left: Array, right: Array, outputs: str
) -> Float[Array, "..."]:
    """Σ_r D[r,k] D[r,k'] left[i,r] right[j,r] Σ_l W_σ[r,l]² x_l² x'_l², a block of neurons at a time to bound memory."""
    m, d_out = params.d.shape
    block = min(_NEURONS_AT_ONCE, m)
    padding = -m % block

    def blocks(rows: Array) -> Array:
        rows = jnp.pad(rows, ((0, padding), (0, 0)))
        return rows.reshape(-1, block, rows.shape[1])

    n1, n2 = x1.shape[0], x2.shape[0]
    squares = ((x1**2)[:, None, :] * (x2**2)[None, :, :]).reshape(n1 * n2, -1)

    def add(total: Array, part: tuple) -> tuple[Array, None]:
        left, right, weights, decoders = part
        inner = (squares @ weights.T).reshape(n1, n2, block)
        terms = left.T[:, None, :] * right.T[None, :, :] * inner
        if outputs == "mean":
            return total + terms @ jnp.mean(decoders**2, axis=1), None
        return total + jnp.einsum("ijr,rk,rl->ikjl", terms, decoders, decoders, optimize=True), None

    shape = (n1, n2) if outputs == "mean" else (n1, d_out, n2, d_out)
    parts = (blocks(left.T), blocks(right.T), blocks(params.sigma**2), blocks(params.d))
    return jax.lax.scan(add, jnp.zeros(shape, squares.dtype), parts)[0]
