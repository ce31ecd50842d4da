"""The ordinary (deterministic) deep network at finite width and its tangent kernel, layer by layer.

It is independent of neural-tangents, so that comparing the two means something. The network of depth L (L weight
matrices, L − 1 hidden layers) in the NTK parameterisation, with n_0 inputs:

    f^(1)(x) = (W_std/√n_0) W^(0) x + b_std b^(0),    f^(h+1)(x) = (W_std/√n_h) W^(h) φ(f^(h)(x)) + b_std b^(h)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from snn_ntk._precision import full_precision

__all__ = ["MLP", "init_mlp", "layer_kernels", "mlp_output", "tangent_kernel_row"]


class MLP(NamedTuple):
    """Weights and biases of a fully connected network, all N(0, 1) at initialisation.

    Attributes:
        weights: L matrices W^(h), shape (n_{h+1}, n_h).
        biases: L vectors b^(h), shape (n_{h+1},).
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]


def init_mlp(key: Array, sizes: Sequence[int], *, dtype=None) -> MLP:
    """Draw a network with standard normal parameters, the initialisation of the NTK parameterisation.

    Args:
        key: Random key.
        sizes: Layer sizes (n_0, n_1, …, n_L), at least two positive integers.
        dtype: Floating type; JAX's default if left out.

    Returns:
        The parameters.

    Raises:
        ValueError: If there are fewer than two sizes, or one is not positive.

    Example:
        >>> import jax
        >>> [w.shape for w in init_mlp(jax.random.key(0), (2, 8, 1)).weights]
        [(8, 2), (1, 8)]

    Source: jacot2018ntk, Section 2.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"expected at least two positive layer sizes, got {tuple(sizes)}")
    dtype = jnp.zeros(()).dtype if dtype is None else dtype
    keys = jax.random.split(key, 2 * (len(sizes) - 1))
    pairs = pairwise(sizes)
    weights, biases = [], []
    for (n_in, n_out), key_w, key_b in zip(pairs, keys[::2], keys[1::2], strict=True):
        weights.append(jax.random.normal(key_w, (n_out, n_in), dtype))
        biases.append(jax.random.normal(key_b, (n_out,), dtype))
    return MLP(tuple(weights), tuple(biases))


@full_precision
def _forward(params, x, phi, W_std, b_std):
    """Inputs g^(h) and slopes φ'(f^(h)) of every layer, and the output."""
    inputs, slopes, g = [], [], x
    last = len(params.weights) - 1
    for h, (w, b) in enumerate(zip(params.weights, params.biases, strict=True)):
        inputs.append(g)
        f = W_std / math.sqrt(w.shape[1]) * g @ w.T + b_std * b[None, :]
        if h < last:
            g, slope = jax.jvp(phi, (f,), (jnp.ones_like(f),))
            slopes.append(slope)
    return inputs, slopes, f


def mlp_output(
    params: MLP,
    x: Num[Array, "n d_in"],
    *,
    phi: Callable = jax.nn.relu,
    W_std: float = 1.0,
    b_std: float = 0.0,
) -> Float[Array, "n d_out"]:
    """Output of the network in the NTK parameterisation.

    f^(h+1)(x) = (W_std/√n_h) W^(h) φ(f^(h)(x)) + b_std b^(h).

    Args:
        params: The parameters.
        x: Inputs, shape (n, n_0).
        phi: Activation φ, applied entrywise.
        W_std: Scale of the weights.
        b_std: Scale of the biases (Jacot's β).

    Returns:
        Outputs, shape (n, n_L).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> mlp_output(init_mlp(jax.random.key(0), (2, 8, 1)), jnp.ones((3, 2))).shape
        (3, 1)

    Source: jacot2018ntk, Section 2.
    """
    return _forward(params, x, phi, W_std, b_std)[2]


@full_precision
def _inputs_and_errors(params, x, phi, W_std, b_std):
    inputs, slopes, _ = _forward(params, x, phi, W_std, b_std)
    # b^(L) = 1 for a scalar output; then b^(h) = φ'(f^(h)) ∘ (W_std/√n_h) W^(h)ᵀ b^(h+1).
    errors = [jnp.ones((x.shape[0], 1), x.dtype)]
    for w, slope in zip(params.weights[:0:-1], reversed(slopes), strict=True):
        errors.append(slope * (W_std / math.sqrt(w.shape[1]) * errors[-1] @ w))
    return inputs, errors[::-1]


@full_precision
def layer_kernels(
    params: MLP,
    x1: Num[Array, "n1 d_in"],
    x2: Num[Array, "n2 d_in"] | None = None,
    *,
    phi: Callable = jax.nn.relu,
    W_std: float = 1.0,
    b_std: float = 0.0,
) -> Float[Array, "L n1 n2"]:
    """Each layer's share of the finite network's tangent kernel, by one forward and one backward pass.

    ⟨∂f(x)/∂θ^(h), ∂f(x')/∂θ^(h)⟩ = (W_std² ⟨g^(h)(x), g^(h)(x')⟩/n_h + b_std²) ⟨b^(h+1)(x), b^(h+1)(x')⟩, b^(h) the
    derivative of the output in f^(h). No Jacobian is formed: memory is O(n · width), not O(n · width²).

    Args:
        params: A network with one output.
        x1: Inputs, shape (n1, n_0).
        x2: Further inputs, shape (n2, n_0); `x1` again if left out.
        phi: Activation φ, applied entrywise.
        W_std: Scale of the weights.
        b_std: Scale of the biases.

    Returns:
        Shares, shape (L, n1, n2); the sum over the first axis is the tangent kernel.

    Raises:
        ValueError: If the network has more than one output.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> layer_kernels(init_mlp(jax.random.key(0), (2, 8, 8, 1)), jnp.ones((3, 2))).shape
        (3, 3, 3)

    Source: lecture, slide "Neural Tangent Kernel"; arora2019exact, Section 3; jacot2018ntk, Appendix A.1.
    """
    if params.weights[-1].shape[0] != 1:
        raise ValueError(f"expected a network with one output, got {params.weights[-1].shape[0]}")
    g1, e1 = _inputs_and_errors(params, x1, phi, W_std, b_std)
    g2, e2 = (g1, e1) if x2 is None else _inputs_and_errors(params, x2, phi, W_std, b_std)
    return jnp.stack(
        [(W_std**2 / a.shape[1] * a @ b.T + b_std**2) * (u @ v.T) for a, b, u, v in zip(g1, g2, e1, e2, strict=True)]
    )


def tangent_kernel_row(
    function: Callable[[object, Array], Array],
    params: object,
    x0: Num[Array, " d_in"],
    x: Num[Array, "n d_in"],
) -> Float[Array, " n"]:
    """One row Θ(x0, x) of a tangent kernel: the derivative of f(x) along the gradient of f(x0).

    Θ(x0, x) = ⟨∇_θ f(x0), ∇_θ f(x)⟩ = d/dε f(θ + ε ∇_θ f(x0), x) at ε = 0: one backward and one forward pass, whatever
    the number of points.

    Args:
        function: Any differentiable function of (params, x) that returns outputs of shape (n, 1).
        params: A pytree of parameters.
        x0: One input, shape (n_0,).
        x: Inputs, shape (n, n_0).

    Returns:
        The row, shape (n,).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = init_mlp(jax.random.key(0), (2, 8, 1))
        >>> x = jnp.eye(2)
        >>> bool(jnp.allclose(tangent_kernel_row(mlp_output, net, x[0], x), layer_kernels(net, x).sum(0)[0], atol=1e-5))
        True

    Source: book, chapter 1.
    """
    direction = jax.grad(lambda p: function(p, x0[None])[0, 0])(params)
    return jax.jvp(lambda p: function(p, x)[:, 0], (params,), (direction,))[1]
