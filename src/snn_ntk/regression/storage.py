"""The rows of a kernel in float32, computed once, in memory or in a file that is filled on after an interruption."""

from __future__ import annotations

import itertools
import mmap
import shutil
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from snn_ntk._files import digest, write_arrays
from snn_ntk.kernels.batched import tiles
from snn_ntk.regression.blocks import TILE, Block

__all__ = ["store_rows"]


def _in_memory(shape: tuple[int, int]) -> np.ndarray:
    """An array that begins where a page begins: JAX reads it where it is."""
    return np.frombuffer(mmap.mmap(-1, 4 * shape[0] * shape[1]), np.float32).reshape(shape)


class _KernelFile:
    """The rows of one process in a file, and beside it how many of them are there."""

    def __init__(self, folder: Path, x: np.ndarray, rows: range) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"kernel-{rows.start}.float32"
        self.mark = self.path.with_suffix(".npz")
        self.identity = np.array(digest(x, [rows.start, rows.stop]))
        shape = len(rows), len(x)
        self.done = self._done() if self.path.exists() and self.mark.exists() else 0
        needed = 4 * shape[0] * shape[1]
        if not self.done and needed > (free := shutil.disk_usage(folder).free):
            raise ValueError(f"expected {needed / 1e9:.1f} GB free in {folder} for the kernel, got {free / 1e9:.1f}")
        self.array = np.memmap(self.path, np.float32, "r+" if self.done else "w+", shape=shape)

    def _done(self) -> int:
        with np.load(self.mark, allow_pickle=False) as content:
            if content["identity"] != self.identity:
                raise ValueError(
                    f"expected {self.path} to hold the kernel of these inputs, got one of others: "
                    "give another folder, or remove the file"
                )
            return int(content["done"])

    def check(self, first: np.ndarray, columns: slice) -> None:
        """Raises an error unless what is there begins like the kernel that would be computed now."""
        there, size = self.array[: len(first), columns], np.abs(first).max()
        # Another device, or another number of threads, rounds differently.
        if not np.allclose(there, first, rtol=0, atol=16 * np.finfo(np.float32).eps * size):
            raise ValueError(
                f"expected {self.path} to hold this kernel, got another of the same inputs: "
                "give another folder, or remove the file"
            )

    def completed(self, rows: int) -> None:
        self.array.flush()
        write_arrays(self.mark, {"identity": self.identity, "done": np.array(rows)})


def store_rows(block: Block, x: np.ndarray, rows: range, folder: Path | None, verbose: bool) -> np.ndarray:
    """K(x[rows], x), shape (rows, n), float32.

    Args:
        block: Kernel of two blocks of inputs.
        x: All inputs.
        rows: Which rows to compute.
        folder: Where to keep the kernel, which is then mapped into memory; what is there already is not computed again.
        verbose: Whether to show a bar with the time that remains.

    Returns:
        An array, or the file mapped into memory.

    Raises:
        ValueError: If the folder holds another kernel, or has no room for this one.
    """
    file = None if folder is None else _KernelFile(folder, x, rows)
    array = _in_memory((len(rows), len(x))) if file is None else file.array
    own = tiles(rows, TILE)
    if file is not None and file.done:
        file.check(block(x[own[0]], x[own[0]]), own[0])
    done = rows.start + (0 if file is None else file.done)
    others = tiles(range(rows.start), TILE) + tiles(range(rows.stop, len(x)), TILE)
    left = [(i, tile) for i, tile in enumerate(own) if tile.stop > done]
    devices = itertools.cycle(jax.local_devices())
    total = sum(len(own) - i + len(others) for i, _ in left)
    with tqdm(total=total, desc="kernel", unit="block", delay=5, disable=not verbose) as bar:
        for i, tile in left:
            here = slice(tile.start - rows.start, tile.stop - rows.start)
            for columns in own[i:] + others:
                with jax.default_device(next(devices)):
                    part = block(x[tile], x[columns])
                array[here, columns] = part
                if columns.start >= rows.start and columns.stop <= rows.stop:
                    # The kernel is symmetric: what this process keeps of it is computed once.
                    array[columns.start - rows.start : columns.stop - rows.start, tile] = part.T
                bar.update()
            if file is not None:
                file.completed(here.stop)
    return array
