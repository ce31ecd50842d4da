"""Tangent kernels of a network that one already has: a function of its parameters, its inputs and a key.

The kernel of the expected network f̂ = E_ζ f is a product of two expectations, which two independent batches of noise
estimate without bias; that of a sampled network is larger on the diagonal, where one noise meets itself. Both are
repeated with fresh noise, which gives their standard errors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Num, PRNGKeyArray, PyTree

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.kernels.monte_carlo import contract, mean_jacobian

__all__ = ["FiniteKernels", "finite_tangent_kernels"]


class FiniteKernels(NamedTuple):
    """Tangent kernels of one finite network, averaged over its outputs, with their standard errors over the noise.

    Attributes:
        expected: ⟨E ∇f(x, ζ), E ∇f(x', ζ')⟩, of the expected network, shape (n1, n2).
        expected_error: Its standard error.
        sampled: E ⟨∇f(x, ζ_x), ∇f(x', ζ_x')⟩, of a network with one draw for each input.
        sampled_error: Its standard error.

    Source: wang2024vae, Definition 1; book, chapter 12.
    """

    expected: Float[np.ndarray, "n1 n2"]
    expected_error: Float[np.ndarray, "n1 n2"]
    sampled: Float[np.ndarray, "n1 n2"]
    sampled_error: Float[np.ndarray, "n1 n2"]


@full_precision
def finite_tangent_kernels(
    apply_fn: Callable[..., Array],
    params: PyTree,
    x1: Num[ArrayLike, "n1 ..."],
    x2: Num[ArrayLike, "n2 ..."] | None,
    key: PRNGKeyArray,
    *,
    samples: int = 16,
    repeats: int = 8,
    batch_size: int = 32,
) -> FiniteKernels:
    """Expected and sampled tangent kernels of a finite network with noise, in bounded memory.

    Θ(x, x') = (1/d_out) Σ_k ⟨E_ζ ∇f_k(x, ζ), E_ζ' ∇f_k(x', ζ')⟩

    Never more than the gradients of four times `batch_size` inputs are held, d_out times the parameters each; whatever is
    outside a pair of blocks is computed again, about n1/(2 `batch_size`) times for each input.

    Args:
        apply_fn: `apply_fn(params, x, rng=key)`, outputs of shape (1, ...) for one input of shape (1, ...).
        params: Any pytree of floating arrays: what is trained.
        x1: Inputs, shape (n1, ...).
        x2: Other inputs, shape (n2, ...); None stands for `x1`.
        key: Random key of the noise.
        samples: Draws in each of the two batches of noise of one repeat.
        repeats: Independent repeats, at least 2, over which means and standard errors are taken.
        batch_size: Inputs of a block.

    Returns:
        `FiniteKernels` of NumPy arrays, shape (n1, n2), symmetric if `x2` is None.

    Raises:
        TypeError: If a count is not an integer.
        ValueError: If `samples` or `batch_size` is less than 1, or `repeats` less than 2.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> def noisy(p, x, rng):
        ...     return jnp.tanh(x + jax.random.normal(rng, x.shape)) @ p
        >>> x = jnp.array([[0.2, 0.0], [0.5, -0.4]])
        >>> kernels = finite_tangent_kernels(noisy, jnp.ones((2, 1)), x, None, jax.random.key(0), repeats=64)
        >>> bool((jnp.diagonal(kernels.sampled) > jnp.diagonal(kernels.expected)).all())
        True

    Source: wang2024vae, Definition 1; book, chapter 12 (a pair of independent noises).
    """
    samples = validation.positive_integer(samples, "samples")
    batch_size = validation.positive_integer(batch_size, "batch_size")
    if validation.positive_integer(repeats, "repeats") < 2:
        raise ValueError(f"expected repeats >= 2, which the standard errors are taken over, got {repeats}")
    rows = np.asarray(x1)
    columns = rows if x2 is None else np.asarray(x2)
    keys = jax.random.split(key, 4)
    if x2 is None:
        keys = keys.at[3].set(keys[2])  # where an input meets itself it does so under one noise

    found = np.empty((4, len(rows), len(columns)))
    for start in range(0, len(rows), batch_size):
        i = np.arange(start, min(start + batch_size, len(rows)))
        for other in range(start if x2 is None else 0, len(columns), batch_size):
            j = np.arange(other, min(other + batch_size, len(columns)))
            pair = (validation.floats(rows[i]), jnp.asarray(i)), (validation.floats(columns[j]), jnp.asarray(j))
            values = _block(params, *pair, keys, apply_fn=apply_fn, samples=samples, repeats=repeats)
            for place, value in zip((0, 2), values, strict=True):
                value = np.asarray(value, np.float64)
                if x2 is None and start == other:
                    value = (value + value.swapaxes(1, 2)) / 2
                part = value.mean(0), value.std(0, ddof=1) / repeats**0.5
                found[place : place + 2, start : start + len(i), other : other + len(j)] = part
                if x2 is None:
                    found[place : place + 2, other : other + len(j), start : start + len(i)] = np.swapaxes(part, 1, 2)
    return FiniteKernels(*found)


@functools.partial(jax.jit, static_argnames=("apply_fn", "samples", "repeats"))
def _block(
    params: PyTree,
    one: tuple[Array, Array],
    two: tuple[Array, Array],
    keys: Array,
    *,
    apply_fn: Callable[..., Array],
    samples: int,
    repeats: int,
) -> tuple[Array, Array]:
    """Both kernels between two blocks, inputs and their numbers, one a repeat: shape (repeats, b1, b2)."""

    def gradients(block: tuple[Array, Array], key: Array, repeat: Array, samples: int) -> PyTree:
        x, numbers = block
        keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.fold_in(key, repeat), number))(numbers)
        return mean_jacobian(apply_fn, params, x, keys, samples)

    def of_repeat(repeat: Array) -> tuple[Array, Array]:
        expected, sampled = (
            sum(jax.tree.leaves(jax.tree.map(contract, gradients(one, i, repeat, n), gradients(two, j, repeat, n))))
            for i, j, n in ((keys[0], keys[1], samples), (keys[2], keys[3], 1))
        )
        return expected, sampled  # type: ignore[return-value]

    return jax.lax.map(of_repeat, jnp.arange(repeats))
