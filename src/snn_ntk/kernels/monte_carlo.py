"""Monte Carlo over the noise of a finite stochastic network of any depth, in neural-tangents' `apply_fn` contract.

One hidden layer needs none of this: `snn_ntk.paper` is exact. With noise below a nonlinearity and another layer, the
expected output f̂ = E_ζ f has no closed form at finite width, and its tangent kernel is a product of two expectations:

    Θ(x, x') = ⟨E_ζ ∇f(x, ζ), E_ζ' ∇f(x', ζ')⟩

Two independent batches of noise estimate it without bias. One batch used twice would add the variance of its own mean
to the diagonal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Num, PRNGKeyArray, PyTree

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision

__all__ = ["NoiseMoments", "expected_tangent_kernel", "noise_moments"]


class NoiseMoments(NamedTuple):
    """Mean and unbiased variance of a network's outputs over its noise.

    Attributes:
        mean: Estimate of f̂, shape (n, d_out).
        variance: Estimate of Var_ζ f, shape (n, d_out).

    Source: book, chapter 12.
    """

    mean: Float[Array, "n d_out"]
    variance: Float[Array, "n d_out"]


def _check(samples: int, least: int) -> None:
    if validation.positive_integer(samples, "samples") < least:
        raise ValueError(f"expected samples >= {least}, got {samples}")


@full_precision
def noise_moments(
    apply_fn: Callable[..., Array],
    params: PyTree,
    x: Num[ArrayLike, "n ..."],
    key: PRNGKeyArray,
    *,
    samples: int,
) -> NoiseMoments:
    """Mean and variance of a network's outputs over its noise, from independent draws.

    f̂(x) = E_ζ f(x, ζ) and Var_ζ f(x, ζ)

    Args:
        apply_fn: `apply_fn(params, x, rng=key)`, which draws fresh noise for each row of `x`.
        params: Parameters of one network.
        x: Inputs, shape (n, d_in).
        key: Random key of the noise.
        samples: Number of draws, at least 2.

    Returns:
        `NoiseMoments`; the variance divides by `samples` − 1 and is unbiased.

    Raises:
        ValueError: If `samples` is less than 2.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> noisy = lambda p, x, rng: p * x + jax.random.normal(rng, x.shape)
        >>> moments = noise_moments(noisy, 2.0, jnp.ones((1, 1)), jax.random.key(0), samples=10_000)
        >>> [round(float(m[0, 0]), 1) for m in moments]
        [2.0, 1.0]

    Source: book, chapter 12 (predictive variance).
    """
    _check(samples, 2)
    x = validation.floats(x)
    draws = jax.lax.map(lambda k: apply_fn(params, x, rng=k), jax.random.split(key, samples))
    return NoiseMoments(draws.mean(0), draws.var(0, ddof=1))


def mean_jacobian(apply_fn: Callable[..., Array], params: PyTree, x: Array, keys: Array, samples: int) -> PyTree:
    """Gradients of the mean output over `samples` draws from each input's key: leaves (n, d_out, ...)."""

    # One input at a time: differentiating the whole batch would pass each output's gradient through every row.
    def of_one(row: Array, key: PRNGKeyArray) -> PyTree:
        def mean_output(p: PyTree) -> Array:
            keys = jax.random.split(key, samples)
            return jax.vmap(lambda k: apply_fn(p, row[None], rng=k)[0].ravel())(keys).mean(0)

        return jax.jacrev(mean_output)(params)

    return jax.vmap(of_one)(x, keys)


def contract(left: Array, right: Array) -> Array:
    """Inner products of gradients (n, d_out, ...), averaged over outputs."""
    axes = tuple(range(1, left.ndim))
    return jnp.tensordot(left, right, axes=(axes, axes)) / left.shape[1]


@full_precision
def expected_tangent_kernel(
    apply_fn: Callable[..., Array],
    params: PyTree,
    x1: Num[ArrayLike, "n1 ..."],
    x2: Num[ArrayLike, "n2 ..."] | None,
    key: PRNGKeyArray,
    *,
    samples: int,
) -> PyTree:
    """Tangent kernel of the expected output, one summand for each parameter array, averaged over outputs.

    Θ_p(x, x') = (1/d_out) Σ_k ⟨∇_p f̂_k(x), ∇_p f̂_k(x')⟩

    Args:
        apply_fn: `apply_fn(params, x, rng=key)`, which draws fresh noise for each row of `x`.
        params: Parameters of one network.
        x1: Inputs, shape (n1, ...).
        x2: Other inputs, shape (n2, ...); None stands for `x1`, still under independent noise.
        key: Random key of the noise.
        samples: Number of draws in each of the two batches.

    Returns:
        A pytree like `params` whose leaves are unbiased estimates, shape (n1, n2), symmetric if `x2` is None. Their sum
        is the tangent kernel of f̂.

    Raises:
        ValueError: If `samples` is less than 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> noisy = lambda p, x, rng: x @ (p + jax.random.normal(rng, p.shape))
        >>> x = jnp.array([[1.0, 2.0]])
        >>> expected_tangent_kernel(noisy, jnp.ones((2, 1)), x, None, jax.random.key(0), samples=1).tolist()
        [[5.0]]

    Source: wang2024vae, Definition 1; book, chapter 12 (a pair of independent noises).
    """
    _check(samples, 1)
    first, second = jax.random.split(key)

    def jacobian(x: Array, key: PRNGKeyArray) -> PyTree:
        return mean_jacobian(apply_fn, params, x, jax.random.split(key, len(x)), samples)

    left, right = jacobian(validation.floats(x1), first), jacobian(validation.floats(x1 if x2 is None else x2), second)
    kernel = jax.tree.map(contract, left, right)
    return jax.tree.map(lambda k: (k + k.T) / 2, kernel) if x2 is None else kernel
