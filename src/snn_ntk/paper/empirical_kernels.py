"""The tangent kernels of the paper's network at finite width, group by group and without Monte Carlo."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Num

from snn_ntk._precision import full_precision
from snn_ntk.activations.base import Activation
from snn_ntk.activations.refusal import check_smoothing
from snn_ntk.activations.resolution import resolve
from snn_ntk.kernels.one_hidden_layer import TangentKernels
from snn_ntk.paper.network import Parameters, checked, pre_activations

__all__ = ["empirical_tangent_kernels"]


@full_precision
def empirical_tangent_kernels(
    params: Parameters,
    x1: Num[ArrayLike, "n1 d_in"],
    x2: Num[ArrayLike, "n2 d_in"] | None = None,
    *,
    activation: Any,
    outputs: Literal["mean", "all"] = "mean",
) -> TangentKernels:
    """The tangent kernels of f̂ at these parameters, group by group.

    Θ^(s)_{ik,jk'} = ⟨∇_{W_s} f̂_k(x_i), ∇_{W_s} f̂_{k'}(x_j)⟩, s ∈ {μ, σ, d}

    The inner products are contracted in closed form over weights, neuron by neuron, instead of through Jacobians:
    with D[r] the r-th row of W_d, Θ^(d) = δ_{kk'} Σ_r φ̂ φ̂'/m, Θ^(μ) = ⟨x, x'⟩ Σ_r D[r,k] D[r,k'] ∂_u φ̂ ∂_u φ̂'/m and
    Θ^(σ) = Σ_r D[r,k] D[r,k'] (∂_s φ̂/s) (∂_s φ̂'/s') Σ_l W_σ[r,l]² x_l² x'_l²/m.

    Args:
        params: Parameters, at initialisation or after training.
        x1: Inputs, shape (n1, d_in).
        x2: Other inputs, shape (n2, d_in); None stands for `x1`.
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        outputs: "mean" averages over k = k'; "all" keeps every pair of outputs.

    Returns:
        Kernels of shape (n1, n2) for "mean" and (n1, d_out, n2, d_out) for "all".

    Raises:
        TypeError: If the inputs are not real arrays or the activation is unknown.
        ValueError: If the inputs are of the wrong shape, empty or not finite, `outputs` is neither value, or φ overflows or
            is not resolved under the noise. Inside of `jax.jit` that is NaN or an infinity.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> params = init_parameters(jax.random.key(0), 64, 3, sigma0=0.5)
        >>> empirical_tangent_kernels(params, jnp.eye(3), activation=jnp.tanh, outputs="all").mu.shape
        (3, 3, 3, 3)

    Source: wang2024vae, Definition 1, Eq. 6; book, chapter 5.
    """
    if outputs not in ("mean", "all"):
        raise ValueError(f'expected outputs to be "mean" or "all", got {outputs!r}')
    x1 = checked(params, x1, "x1")
    x2 = x1 if x2 is None else checked(params, x2, "x2")
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
    u, s = pre_activations(params, x)
    one, zero = jnp.ones_like(u), jnp.zeros_like(u)
    value, slope = jax.jvp(activation.smoothed, (u, s), (one, zero))
    _, spread = jax.jvp(activation.smoothed, (u, s), (zero, one))
    check_smoothing(activation, u, s, value, slope, spread)
    # Where s = 0 all W_σ x vanish, and with them whatever this multiplies.
    return value, slope, jnp.where(s > 0, spread / jnp.where(s > 0, s, 1), 0)


_NEURONS_AT_ONCE = 256


@full_precision
def _sigma_kernel(
    params: Parameters, x1: Array, x2: Array, left: Array, right: Array, outputs: str
) -> Float[Array, "..."]:
    """Σ_r D[r,k] D[r,k'] left[i,r] right[j,r] Σ_l W_σ[r,l]² x_l² x'_l², block by block of neurons to bound memory."""
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
