"""From what the user names, a kernel_fn, an activation or a function of two blocks, to blocks of a kernel in NumPy."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from snn_ntk import _validation as validation
from snn_ntk._precision import in_full_precision, in_precision_of
from snn_ntk.activations.resolution import resolve
from snn_ntk.kernels.batched import tiles
from snn_ntk.kernels.one_hidden_layer import PARTS, resolved_tangent_kernels

__all__ = ["TILE", "Block", "block_function", "blocks_of_rows", "diagonal", "fill", "is_covariance"]

Block = Callable[[Any, Any], np.ndarray]

TILE = 1024
"""Inputs on each side of the blocks that a kernel is asked for."""


def _of_activation(activation: Any, sigma0: Any, get: str) -> Block:
    if get is None or get not in PARTS:
        raise ValueError(f"expected get to be one of {', '.join(filter(None, PARTS))}, got {get!r}")
    sigma0 = validation.non_negative(sigma0, "sigma0")
    resolved = resolve(activation)

    def block(x1, x2):
        x1, x2 = (validation.inputs(x, "X") for x in (x1, x2))
        return np.asarray(resolved_tangent_kernels(x1, x2, sigma0, None, None, activation=resolved, get=get))

    return block


def _fixed_get(kernel: Any) -> Any:
    """The `get` that a `functools.partial` has fixed, or None."""
    return kernel.keywords.get("get") if isinstance(kernel, functools.partial) else None


def _takes_get(kernel: Callable) -> bool:
    if _fixed_get(kernel) is not None:
        return False
    try:
        return "get" in inspect.signature(kernel).parameters
    except (TypeError, ValueError):  # a builtin says nothing of its arguments
        return False


def _equal(x1: np.ndarray, x2: np.ndarray) -> bool:
    """Whether neural-tangents takes two arrays for one and the same."""
    return x1.shape == x2.shape and bool((np.abs(x1 - x2) < 1e-12).all())


def _of_two(block: Block, x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """A block of two arrays that are not equal, for `stax.Dropout` takes the noise in two equal ones for the same."""
    if not _equal(x1, x2):
        return block(x1, x2)
    turned = np.roll(x2, 1, axis=0)
    if not _equal(x1, turned):
        return np.roll(block(x1, turned), -1, axis=1)
    return block(x1, np.concatenate([x2, x2[:1]]))[:, :-1]


def block_function(kernel: Any, activation: Any, sigma0: Any, get: str) -> Block:
    """A function from two blocks of inputs, of one dtype, to their finite kernel, computed in that dtype."""
    if (kernel is None) == (activation is None):
        raise ValueError("expected either kernel or activation, got " + ("neither" if kernel is None else "both"))
    function: Callable[[Any, Any], Any]
    if kernel is None:
        function = _of_activation(activation, sigma0, get)
    elif not callable(kernel):
        raise TypeError(f"expected kernel to be a function of two blocks of inputs or 'precomputed', got {kernel!r}")
    elif _takes_get(kernel):
        function = lambda x1, x2: kernel(jnp.asarray(x1), jnp.asarray(x2), get=get)  # noqa: E731
    else:
        function = kernel

    def block(x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
        with in_precision_of(x1.dtype), in_full_precision():
            result = np.asarray(function(x1, x2))
        if result.shape != (len(x1), len(x2)):
            raise ValueError(f"expected a kernel of shape {(len(x1), len(x2))}, got {result.shape}")
        if not np.isfinite(result).all():
            raise ValueError("expected a finite kernel, got NaN or infinity")
        return result

    return functools.partial(_of_two, block)


def is_covariance(kernel: Any, get: str) -> bool:
    """Whether the kernel is one that a posterior variance can be asked of: not the tangent kernel of a network."""
    fixed = _fixed_get(kernel)
    return (fixed or get) in ("nngp", "d") or (callable(kernel) and fixed is None and not _takes_get(kernel))


def blocks_of_rows(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def fill(out: np.ndarray, block: Block, x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    """Writes the kernel of two sets of inputs to an array, and returns it."""
    for rows in tiles(range(len(x1)), TILE):
        for columns in tiles(range(len(x2)), TILE):
            out[rows, columns] = block(x1[rows], x2[columns])
    return out


def diagonal(block: Block, x: np.ndarray) -> np.ndarray:
    """k(x, x) for each input, in float64: like every entry, of two blocks and not inflated by the noise of one."""
    return np.concatenate([np.diag(block(x[rows], x[rows])) for rows in blocks_of_rows(len(x), 64)]).astype(np.float64)
