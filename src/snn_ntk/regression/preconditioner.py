"""A partial Cholesky factor with random pivots, K ≈ W Wᵀ, and the inverse of W Wᵀ + (ρ + μ) I as a preconditioner.

What the factor lacks, K − W Wᵀ, has eigenvalues that may all be far above the ridge; μ is their mean, and stands for them.

A pivot is drawn with probability proportional to what the factor still lacks on the diagonal, a block of pivots at a
time, so that the kernel is read in blocks of rows. (matfree's factor takes the single largest entry each time, and
evaluates the kernel entry by entry inside one JAX program: it cannot read a kernel that is stored.)

Source: chen2022randomly, taken in blocks (its abstract was read, not its text).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snn_ntk.regression.blocks import blocks_of_rows
from snn_ntk.regression.sharding import ShardedKernel

__all__ = ["Preconditioner", "pivoted_cholesky"]

_PIVOTS = 64


class Preconditioner(NamedTuple):
    """W Wᵀ + (ρ + μ) I, where the columns of W are orthogonal.

    Attributes:
        factor: W, shape (n, rank), float64.
        values: Squared norms of its columns, from small to large: estimates from below of eigenvalues of the kernel.
        rest: μ, the mean eigenvalue of what the factor lacks.
    """

    factor: np.ndarray
    values: np.ndarray
    rest: float

    def solve(self, right: np.ndarray, ridges: np.ndarray) -> np.ndarray:
        """(W Wᵀ + (ρ_j + μ) I)⁻¹ of every column j, each with its own ridge."""
        shift = ridges + self.rest
        inner = (self.factor.T @ right) / (self.values[:, None] + shift)
        return (right - self.factor @ inner) / shift


def pivoted_cholesky(kernel: ShardedKernel, rank: int, ridge: float) -> Preconditioner:
    """A factor of at most `rank` columns, fewer if what it lacks is less than the ridge anyway."""
    rng = np.random.default_rng(0)  # pivots decide how long the solve takes, not what comes out
    lacking = kernel.diagonal().astype(np.float64)
    # A kernel in float32 has no digits below this.
    floor = 4 * np.finfo(np.float32).eps * lacking.max(initial=0)
    factor, known = np.zeros((kernel.n, rank)), 0
    while known < rank:
        lacking[lacking < floor] = 0
        if lacking.sum() <= ridge:
            break
        size = min(_PIVOTS, rank - known, np.count_nonzero(lacking))
        pivots = np.sort(rng.choice(kernel.n, size, replace=False, p=lacking / lacking.sum()))
        columns = kernel.rows(pivots).T - factor[:, :known] @ factor[pivots, :known].T
        values, vectors = np.linalg.eigh(columns[pivots])
        kept = values > np.maximum(floor, 1e-6 * values[-1])
        if not kept.any():
            break
        columns = columns @ (vectors[:, kept] / np.sqrt(values[kept]))
        lacking -= np.einsum("ij,ij->i", columns, columns)
        lacking[pivots] = 0
        before, known = known, known + columns.shape[1]
        factor[:, before:known] = columns
    factor = factor[:, :known]
    values, vectors = np.linalg.eigh(factor.T @ factor)
    for rows in blocks_of_rows(kernel.n, 1024):  # in place: the factor may be as large as a block of the kernel
        factor[rows] = factor[rows] @ vectors
    return Preconditioner(factor, np.maximum(values, 0), float(np.maximum(lacking, 0).mean()))
