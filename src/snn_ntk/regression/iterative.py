"""(K + ρ I)⁻¹ for several ridges by conjugate gradients on a kernel stored in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from snn_ntk._files import digest
from snn_ntk.regression.blocks import Block
from snn_ntk.regression.preconditioner import pivoted_cholesky
from snn_ntk.regression.sharding import ShardedKernel, agreed, default_mesh, owned_rows
from snn_ntk.regression.storage import store_rows
from snn_ntk.regression.streamed import conjugate_gradients

__all__ = ["StreamedSystem"]


class StreamedSystem:
    """The kernel, built or read from `folder`, its preconditioner, and solves with them.

    Args:
        x: Inputs, or the kernel itself if `block` is None.
        block: Kernel of two blocks of inputs.
        ridges: ρ > 0, shape (ridges,).
        rank: Columns of the preconditioner; None is 4 √n.
        folder: Where the kernel and checkpoints are kept, or None.
        mesh: Devices; None is one.
        tol: Relative residual.
        max_iter: Most passes.
        verbose: Whether to show progress.

    Raises:
        ValueError: If a ridge is 0, or the folder holds another kernel.
    """

    def __init__(
        self,
        x: np.ndarray,
        block: Block | None,
        ridges: np.ndarray,
        *,
        rank: int | None,
        folder: Path | None,
        mesh: Mesh | None,
        tol: float,
        max_iter: int,
        verbose: bool,
    ) -> None:
        if ridges.min() <= 0:
            raise ValueError(f"expected ridge > 0 for conjugate gradients, got {ridges.min():g}")
        mesh = default_mesh() if mesh is None else mesh
        rows = owned_rows(mesh, len(x))
        if block is None:
            stored = np.asarray(x[rows.start : rows.stop], np.float32)
        else:
            stored = store_rows(block, x, rows, folder, verbose)
        self.kernel = ShardedKernel(stored, rows, mesh)
        self.ridges, self.folder = ridges, folder
        # A kernel is known by its inputs and its first row; a process may have no row where there are few.
        row = np.asarray(stored[0] if len(stored) else np.zeros(len(x)), np.float32)
        self.identity = "" if folder is None else digest(x, agreed(row))
        self.options = {"tol": tol, "max_iter": max_iter, "verbose": verbose}
        rank = int(4 * len(x) ** 0.5) if rank is None else rank
        self.preconditioner = pivoted_cholesky(self.kernel, min(rank, len(x)), float(ridges.min()))

    def certified(self, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Solutions and residuals, shape (ridges, n, k), and the number of passes; resumed where there is a folder."""
        if self.folder is None:
            return self._solve(right, None)
        return self._solve(right, self.folder / f"solve-{digest(self.identity, right, self.ridges)[:16]}.npz")

    def explained(self, right: np.ndarray) -> np.ndarray:
        """bᵀ (K + ρ I)⁻¹ b of every column b, shape (ridges, k), from below and within ‖r‖²/ρ."""
        solution, residual, _ = self._solve(right, None)
        return np.einsum("ijk,ijk->ik", right + residual, solution)

    def _solve(self, right: np.ndarray, checkpoint: Path | None) -> tuple[np.ndarray, np.ndarray, int]:
        count, (n, k) = len(self.ridges), right.shape
        found = conjugate_gradients(
            self.kernel,
            np.tile(right, count),
            np.repeat(self.ridges, k),
            self.preconditioner,
            checkpoint=checkpoint,
            **self.options,
        )
        x, residual = (each.reshape(n, count, k).swapaxes(0, 1) for each in (found.x, found.residual))
        return x, residual, found.steps
