"""The limiting tangent kernels of a stochastic network with one hidden layer, in closed form (Lemma 1).

Let c = ⟨x, x'⟩ and q = (1 + σ0²) ‖x‖², and κ(c; q, q') the dual of the activation. Then

    Θ^(μ) = c κ'(c),     Θ^(σ) = σ0² ⟨x∘x, x'∘x'⟩ κ''(c),     Θ^(d) = κ(c),

each times the identity of the outputs. The covariance c is not inflated by the noise, not even for x' = x, because the
two gradients whose inner product is taken average over independent noise; only the variances q are.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import Activation
from snn_ntk.activations.determinant import power_of_two
from snn_ntk.activations.refusal import is_unresolved, refuse
from snn_ntk.activations.resolution import resolve
from snn_ntk.kernels.parallel_inputs import uncorrelated_inputs

__all__ = ["TangentKernels", "tangent_kernels"]


class TangentKernels(NamedTuple):
    """The parts of a tangent kernel that belong to W_μ, W_σ and W_d.

    Attributes:
        mu: Θ^(μ), of the mean weights (and of the bias, where there is one).
        sigma: Θ^(σ), of the variance weights.
        d: Θ^(d), of the decoder.

    Source: wang2024vae, Definition 1, Eq. 10.
    """

    mu: Float[Array, "..."]
    sigma: Float[Array, "..."]
    d: Float[Array, "..."]

    @property
    def total(self) -> Float[Array, "..."]:
        """Θ = Θ^(μ) + Θ^(σ) + Θ^(d)."""
        return self.mu + self.sigma + self.d


Part = Literal["ntk", "nngp", "mu", "sigma", "d"]

PARTS: dict[str | None, Callable[[TangentKernels], Any]] = {
    None: lambda kernels: kernels,
    "ntk": lambda kernels: kernels.total,
    "nngp": lambda kernels: kernels.d,
    "mu": lambda kernels: kernels.mu,
    "sigma": lambda kernels: kernels.sigma,
    "d": lambda kernels: kernels.d,
}
"""What `get` asks for: all three; the total; the covariance of the outputs at initialisation, which is Θ^(d); one of them."""


@overload
def tangent_kernels(
    x1: Num[ArrayLike, "n1 d"],
    x2: Num[ArrayLike, "n2 d"] | None = None,
    *,
    activation: Any,
    sigma0: Num[ArrayLike, ""],
    W_std: Num[ArrayLike, ""] | None = None,
    b_std: Num[ArrayLike, ""] | None = None,
    get: None = None,
) -> TangentKernels: ...
@overload
def tangent_kernels(
    x1: Num[ArrayLike, "n1 d"],
    x2: Num[ArrayLike, "n2 d"] | None = None,
    *,
    activation: Any,
    sigma0: Num[ArrayLike, ""],
    W_std: Num[ArrayLike, ""] | None = None,
    b_std: Num[ArrayLike, ""] | None = None,
    get: Part,
) -> Float[Array, "n1 n2"]: ...
def tangent_kernels(
    x1: Num[ArrayLike, "n1 d"],
    x2: Num[ArrayLike, "n2 d"] | None = None,
    *,
    activation: Any,
    sigma0: Num[ArrayLike, ""],
    W_std: Num[ArrayLike, ""] | None = None,
    b_std: Num[ArrayLike, ""] | None = None,
    get: str | None = None,
) -> TangentKernels | Float[Array, "n1 n2"]:
    """The limiting tangent kernels of the stochastic network f̂(x) = (1/√m) W_dᵀ E φ(z) with one hidden layer.

    Θ^(μ) = ⟨x, x'⟩ κ', Θ^(σ) = σ0² ⟨x∘x, x'∘x'⟩ κ'', Θ^(d) = κ at c = ⟨x, x'⟩, q = (1 + σ0²) ‖x‖²

    In the NTK parameterisation, z = (W_std/√d) (W_μ + W_σ∘ζ) x + b_std b, every inner product of inputs is multiplied
    by W_std²/d and b_std² is added to c and q; the bias then adds b_std² κ' to Θ^(μ).

    Args:
        x1: Inputs, shape (n1, d).
        x2: Other inputs, shape (n2, d); None stands for `x1`.
        activation: φ: a nonlinearity of neural-tangents (`stax.Erf()`) or a smooth function (`jnp.tanh`).
        sigma0: Initial value σ0 ≥ 0 of the variance weights.
        W_std: Weight scale of the NTK parameterisation; None is the paper's parameterisation, without 1/√d.
        b_std: Bias scale; None is no bias.
        get: None for all three; "ntk" for their sum alone, which spares writing three matrices; "mu", "sigma", "d" for
            one of them; "nngp" is "d", the covariance of outputs at initialisation.

    Returns:
        The n1 × n2 factor of each group's kernel, or the one that `get` names. Over outputs Θ = `kernels.total` ⊗ I.

    Raises:
        TypeError: If the inputs are not real arrays, a scale is not one number, or the activation is unknown.
        ValueError: If the inputs are not of rank 2, empty, not finite or of different dimension, a scale is negative,
            the activation is `stax.Hermite`, or it overflows or is not resolved at one of the variances q; if `get` is
            unknown.

    Example:
        >>> import jax.numpy as jnp
        >>> from snn_ntk import stax
        >>> x = jnp.eye(3)
        >>> kernels = tangent_kernels(x, activation=stax.Erf(), sigma0=0.5)
        >>> kernels.total.shape
        (3, 3)
        >>> [round(float(k[0, 0]), 3) for k in kernels]
        [0.443, 0.054, 0.387]

    Source: wang2024vae, Lemma 1 (its expectations evaluated by Price's theorem and Stein's lemma); book, chapter 5.
    """
    x1, x2 = validation.matching_inputs(x1, x2)
    sigma0 = validation.non_negative(sigma0, "sigma0")
    W_std = validation.optional_non_negative(W_std, "W_std")
    b_std = validation.optional_non_negative(b_std, "b_std")
    return resolved_tangent_kernels(x1, x2, sigma0, W_std, b_std, activation=resolve(activation), get=get)


_MOST_BLOCKS = 8

_SMALLEST_BLOCK = 256


def resolved_tangent_kernels(
    x1: Array, x2: Array | None, sigma0: Any, W_std: Any, b_std: Any, *, activation: Activation, get: str | None
) -> Any:
    """What `get` asks for, with what the compiled program leaves as NaN computed outside of it, or refused."""
    if get not in PARTS:
        raise ValueError(f"expected get to be one of {', '.join(map(str, PARTS))}, got {get!r}")

    def is_missing(kernels: Any) -> bool:
        return any(map(is_unresolved, jax.tree.leaves(kernels)))

    kernels = compiled_tangent_kernels(x1, x2, sigma0, W_std, b_std, activation=activation, get=get)
    if is_missing(kernels):
        x2 = x1 if x2 is None else x2
        kernels = PARTS[get](_rectangle(x1, x2, sigma0, W_std, b_std, activation))
        if is_missing(kernels):
            shift = 0.0 if b_std is None else b_std**2
            scale = 1.0 if W_std is None else W_std**2 / x1.shape[1]
            refuse(activation, *((1 + sigma0**2) * scale * (x**2).sum(axis=1) + shift for x in (x1, x2)))
    return kernels


@functools.partial(jax.jit, static_argnames=("activation", "get"))
def compiled_tangent_kernels(
    x1: Array, x2: Array | None, sigma0: Any, W_std: Any, b_std: Any, *, activation: Activation, get: str | None
) -> Any:
    def asked(left: Array, right: Array) -> Any:
        return PARTS[get](_rectangle(left, right, sigma0, W_std, b_std, activation))

    if x2 is not None:
        dtype = jnp.result_type(x1.dtype, x2.dtype)
        return asked(x1.astype(dtype), x2.astype(dtype))

    # A kernel of one set is symmetric: square blocks on and above the diagonal are nearly half of the work. The last
    # block overlaps its neighbour where the size does not divide, and one loop compiles the block once.
    n, dtype = x1.shape[0], x1.dtype
    blocks = min(n // _SMALLEST_BLOCK, _MOST_BLOCKS)
    if blocks < 2:
        return asked(x1, x1)
    size = -(-n // blocks)
    starts = np.minimum(np.arange(blocks) * size, n - size)
    above = np.array(list(itertools.combinations_with_replacement(starts, 2)))

    def block(whole: Any, corner: Array) -> tuple[Any, None]:
        row, column = corner
        left = jax.lax.dynamic_slice_in_dim(x1, row, size)
        right = jax.lax.dynamic_slice_in_dim(x1, column, size)

        def place(whole: Array, part: Array) -> Array:
            whole = jax.lax.dynamic_update_slice(whole, part.T, (column, row))
            return jax.lax.dynamic_update_slice(whole, part, (row, column))

        return jax.tree.map(place, whole, asked(left, right)), None

    empty = jnp.zeros((n, n), dtype)
    return jax.lax.scan(block, PARTS[get](TangentKernels(empty, empty, empty)), jnp.asarray(above))[0]


@full_precision
def _rectangle(x1: Array, x2: Array, sigma0: Any, W_std: Any, b_std: Any, activation: Activation) -> TangentKernels:
    """The kernels between two sets: two matrix products, the rest entry by entry."""
    dtype = x1.dtype
    sigma0 = jnp.asarray(sigma0, dtype)
    root = jnp.ones((), dtype) if W_std is None else jnp.asarray(W_std, dtype) / x1.shape[1] ** 0.5
    scale = root**2
    bias = jnp.zeros((), dtype) if b_std is None else jnp.asarray(b_std, dtype)
    size1, size2 = jnp.ones(len(x1), dtype), jnp.ones(len(x2), dtype)
    if activation.degree is not None:
        # A factor of an input is one of its output: squares of tiny inputs would underflow, of huge ones overflow.
        size1, size2 = (power_of_two(jnp.abs(x).max(axis=1) + bias) for x in (x1, x2))
        x1, x2 = x1 / size1[:, None], x2 / size2[:, None]
    bias1, bias2 = bias / size1, bias / size2
    squares1, squares2 = x1 * x1, x2 * x2
    c = scale * (x1 @ x2.T) + bias1[:, None] * bias2[None, :]
    weight = (sigma0 * scale) ** 2 * (squares1 @ squares2.T)
    own1, own2 = scale * squares1.sum(axis=1), scale * squares2.sum(axis=1)
    signal1, signal2, noise1, noise2 = own1 + bias1**2, own2 + bias2**2, sigma0**2 * own1, sigma0**2 * own2
    if b_std is not None:
        x1, x2 = (jnp.concatenate([root * x, bias[:, None]], 1) for x, bias in ((x1, bias1), (x2, bias2)))
    rest = uncorrelated_inputs(x1, x2, c, (signal1, signal2), (noise1, noise2))
    q1, q2 = (signal1 + noise1)[:, None], (signal2 + noise2)[None, :]
    value, slope, curvature = activation.derivatives(c, q1, q2, rest)
    if activation.jumps:
        slope = jnp.where(jnp.outer(noise1 > 0, noise2 > 0), slope, 0)
    # κ'' of a kinked activation is infinite at |ρ| = 1, which needs σ0 = 0 or x = 0: as σ0 → 0 the product is of order
    # σ0, so it is 0 there.
    sigma = weight * jnp.where(jnp.isinf(curvature), 0, curvature)
    kernels = TangentKernels(mu=c * slope, sigma=sigma, d=value)
    if not activation.degree:
        return kernels
    factor = (size1[:, None] * size2[None, :]) ** activation.degree
    return TangentKernels(*(factor * kernel for kernel in kernels))
