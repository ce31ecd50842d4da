"""E[f(a) g(b)] of smooth functions by Hermite series, whose length follows from functions, variances and correlation.

What the quadrature of the coefficients or the length of the series cannot resolve is found by three tests:

- every second node of the grid must give the same coefficients and norms,
- a derivative must have the coefficients that Stein's identity gives it, E[f'(√q g) h_k(g)] = √((k+1)/q) E[f(√q g)
  h_{k+1}(g)]: where f has a kink or a jump, automatic differentiation leaves out a part of f',
- what is missing of the norms, E f² - Σ A_k², bounds the rest of the series by Cauchy and Schwarz.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from snn_ntk._gaussian import graded_nodes

__all__ = []

_BLOCK = 8

_MOST_TERMS = 2048

Pairs = tuple[tuple[int, int], ...]


def tolerance(dtype: jnp.dtype) -> float:
    """The error that is accepted, relative to the norms of both functions."""
    return 1e-10 if jnp.finfo(dtype).bits == 64 else 3e-6


@functools.lru_cache(maxsize=1)
def _grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, weight · √density, and √density times the first Hermite polynomials, normalised."""
    nodes, weights = graded_nodes(13.0, 1 / 16, 0.07, 1e-4)
    damping = np.exp(-(nodes**2) / 4)
    polynomials = [damping, nodes * damping]
    for k in range(1, _BLOCK):
        polynomials.append((nodes * polynomials[k] - k**0.5 * polynomials[k - 1]) / (k + 1) ** 0.5)
    return nodes, weights * damping / np.sqrt(2 * np.pi), np.stack(polynomials)


def _product(values: Array, polynomials: Array) -> Array:
    # Full precision also on accelerators whose default matrix product rounds to fewer bits.
    return jnp.matmul(values, polynomials.T, precision="highest")


def _resolved(values: Array, q: Array, slopes: Pairs) -> tuple[Array, Array]:
    """E f² of each function and variance, and for each variance whether the quadrature resolves all of them."""
    nodes, weights, polynomials = (jnp.asarray(part, values.dtype) for part in _grid())
    eps = jnp.finfo(values.dtype).eps
    # In single precision the derivatives of a function have errors of their own where they nearly vanish.
    limit = 1e-10 if jnp.finfo(values.dtype).bits == 64 else 2e-4
    density = weights * polynomials[0]
    squares = values**2 * density
    norms = squares.sum(-1)
    coefficients = _product(values * weights, polynomials)
    first = (len(nodes) // 2) % 2
    half = 2 * _product((values * weights)[..., first::2], polynomials[:, first::2])
    size = jnp.sqrt(norms)[..., None]
    good = (jnp.abs(coefficients - half) <= limit * size).all(-1)
    # By half of the outermost term too, so what lies beyond the grid is seen.
    good &= jnp.abs(2 * squares[..., first::2].sum(-1) - norms) <= limit * norms
    good = good.all(0)
    orders = jnp.sqrt(jnp.arange(1.0, _BLOCK + 1, dtype=values.dtype))
    root = jnp.sqrt(q)[:, None]
    for f, slope in slopes:
        gap = jnp.abs(root * coefficients[slope][:, :-1] - orders * coefficients[f][:, 1:])
        good &= (gap <= 10 * limit * root * size[slope] + 100 * eps * orders * size[f]).all(-1)
    return norms, good


def norms(functions: Callable[[Array], Sequence[Array]], slopes: Pairs, q: Array) -> tuple[Array, Array]:
    """E f² of each function at variances q, shape (k,), and for each variance whether quadrature resolves all of them."""
    # Rows of nodes meet columns of variances, which a user's `jax_numpy_rank_promotion="raise"` is not about.
    with jax.numpy_rank_promotion("allow"):
        z = jnp.sqrt(q)[:, None] * jnp.asarray(_grid()[0], q.dtype)
        return _resolved(jnp.stack([jnp.asarray(f, q.dtype) * jnp.ones_like(z) for f in functions(z)]), q, slopes)


def series(
    functions: Callable[[Array], Sequence[Array]], slopes: Pairs, pairs: Pairs, c: Array, q1: Array, q2: Array
) -> tuple[Array, Array, Array, tuple[Array, Array]]:
    """E[f_i(a) f_j(b)] = Σ_k A_ik(q1) A_jk(q2) ρᵏ with A_ik(q) = E[f_i(√q g) h_k(g)]  (Mehler's formula), for each pair.

    The terms are summed in blocks until the rest no longer counts: a block or two for a noisy network at unit variance.

    Returns:
        The sums; where the quadrature is resolved; where the series has converged as well; √E f² at q1 and q2.
    """
    nodes, weights, polynomials = (jnp.asarray(part, c.dtype) for part in _grid())
    # Of one rank: the axis of the pairs comes before all others.
    rank = max(c.ndim, q1.ndim, q2.ndim)
    c, q1, q2 = (jnp.expand_dims(v, tuple(range(rank - v.ndim))) for v in (c, q1, q2))
    product = jnp.sqrt(q1) * jnp.sqrt(q2)
    rho = jnp.clip(jnp.where(product > 0, c / jnp.where(product > 0, product, 1), 0), -1, 1)
    shape = rho.shape
    q = jnp.concatenate([q1.ravel(), q2.ravel()])
    z = jnp.sqrt(q)[:, None] * nodes
    values = jnp.stack([jnp.asarray(f, c.dtype) * jnp.ones_like(z) for f in functions(z)])
    norms, good = _resolved(values, q, slopes)
    values = values * weights

    def split(array: Array) -> tuple[Array, Array]:
        """(..., variances) to the shapes of q1 and of q2."""
        one, two = array[..., : q1.size], array[..., q1.size :]
        return one.reshape(*array.shape[:-1], *q1.shape), two.reshape(*array.shape[:-1], *q2.shape)

    good1, good2 = split(good)
    left, right = (np.array(side) for side in zip(*pairs, strict=True))

    def next_polynomial(state: tuple, _: None) -> tuple:
        k, previous, current = state
        following = (nodes * current - jnp.sqrt(k) * previous) / jnp.sqrt(k + 1)
        return (k + 1, current, following), current

    def block(state: tuple) -> tuple:
        recursion, power, totals, missing, _ = state
        recursion, h = jax.lax.scan(next_polynomial, recursion, None, _BLOCK)
        terms = _product(values, h)
        missing = missing - (terms**2).sum(-1)
        series1, series2 = split(jnp.moveaxis(terms, -1, 0))
        series1, series2 = series1[:, left], series2[:, right]
        parts = jnp.zeros_like(totals)
        for k in reversed(range(_BLOCK)):
            parts = parts * rho + series1[k] * series2[k]
        totals = totals + parts * power
        power = power * rho**_BLOCK
        share1, share2 = split(jnp.where(norms > 0, jnp.maximum(missing, 0) / jnp.where(norms > 0, norms, 1), 0).max(0))
        rest = jnp.where(good1 & good2, jnp.abs(power) * jnp.sqrt(share1) * jnp.sqrt(share2), 0)
        return recursion, power, totals, missing, rest

    def unfinished(state: tuple) -> Array:
        (k, *_), *_, rest = state
        return (k < _MOST_TERMS) & (rest.max() > 32 * jnp.finfo(c.dtype).eps)

    start = (
        (jnp.zeros((), c.dtype), jnp.zeros_like(nodes), polynomials[0]),
        jnp.ones(shape, c.dtype),
        jnp.zeros((len(pairs), *shape), c.dtype),
        norms,
        jnp.full(shape, jnp.inf, c.dtype),
    )
    *_, totals, _, rest = jax.lax.while_loop(unfinished, block, start)
    resolved = good1 & good2
    return totals, resolved, resolved & (rest <= tolerance(c.dtype)), split(jnp.sqrt(norms))
