"""The same kernels a block at a time, kept in host memory."""

from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike, Num

from snn_ntk import _validation as validation
from snn_ntk.activations.resolution import resolve
from snn_ntk.kernels.one_hidden_layer import resolved_tangent_kernels

__all__ = ["tangent_kernels_batched", "tiles"]


def tiles(within: range, size: int) -> list[slice]:
    """Slices of one and the same size that cover a range, for which a kernel is compiled once: the last may overlap."""
    if len(within) <= size:
        return [slice(within.start, within.stop)] if len(within) else []
    return [slice(min(start, within.stop - size), min(start + size, within.stop)) for start in within[::size]]


def tangent_kernels_batched(
    x1: Num[ArrayLike, "n1 d"],
    x2: Num[ArrayLike, "n2 d"] | None = None,
    *,
    activation: Any,
    sigma0: Num[ArrayLike, ""],
    W_std: Num[ArrayLike, ""] | None = None,
    b_std: Num[ArrayLike, ""] | None = None,
    batch_size: int = 512,
    get: str | None = None,
) -> Any:
    """The kernels of `tangent_kernels`, computed a square block at a time and kept in host memory.

    Of one set of inputs each pair is looked at once. Only the n1 × n2 results and one block of intermediate values
    are ever held: 10,000 inputs of dimension 784 in float32 need 1.2 GB for three results and well under 1 GB beside them.

    Args:
        x1: Inputs, shape (n1, d).
        x2: Other inputs, shape (n2, d); None stands for `x1`.
        activation: As in `tangent_kernels`.
        sigma0: As in `tangent_kernels`.
        W_std: As in `tangent_kernels`.
        b_std: As in `tangent_kernels`.
        batch_size: Rows and columns of a block.
        get: As in `tangent_kernels`.

    Returns:
        `TangentKernels` of NumPy arrays, shape (n1, n2) each, or the one array that `get` names.

    Raises:
        TypeError: If `batch_size` is not an integer, or as in `tangent_kernels`.
        ValueError: If `batch_size` < 1, or as in `tangent_kernels`.

    Example:
        >>> import numpy as np
        >>> from snn_ntk import stax
        >>> x = np.eye(5, dtype=np.float32)
        >>> tangent_kernels_batched(x, activation=stax.Erf(), sigma0=0.5, batch_size=2).d.shape
        (5, 5)

    Source: wang2024vae, Lemma 1; book, chapter 5.
    """
    x1, x2 = validation.matching_inputs(x1, x2)
    sigma0 = validation.non_negative(sigma0, "sigma0")
    W_std = validation.optional_non_negative(W_std, "W_std")
    b_std = validation.optional_non_negative(b_std, "b_std")
    batch_size = validation.positive_integer(batch_size, "batch_size")
    activation = resolve(activation)
    symmetric, x2 = x2 is None, x1 if x2 is None else x2
    out = None
    for rows in tiles(range(x1.shape[0]), batch_size):
        for columns in tiles(range(rows.start if symmetric else 0, x2.shape[0]), batch_size):
            block = resolved_tangent_kernels(
                x1[rows], x2[columns], sigma0, W_std, b_std, activation=activation, get=get
            )
            if out is None:
                out = jax.tree.map(lambda part: np.empty((x1.shape[0], x2.shape[0]), part.dtype), block)
            for whole, part in zip(*map(jax.tree.leaves, (out, block)), strict=True):
                part = np.asarray(part)
                whole[rows, columns] = part
                if symmetric:
                    whole[columns, rows] = part.T
    return out
