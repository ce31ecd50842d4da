"""Image data whose images are the points of a grid of known factors."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

__all__ = ["FactorDataset"]


def checked_indices(indices: Any, count: int, name: str) -> Int[np.ndarray, " n"]:
    """Places of images as an array of integers, each at least 0 and below `count`."""
    indices = np.asarray(indices)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        raise ValueError(f"expected indices as integers of shape (n,), got {indices.dtype} of shape {indices.shape}")
    if indices.size and not (0 <= indices.min() and indices.max() < count):
        raise ValueError(f"expected indices in 0 … {count - 1} of {name}, got {indices.min()} … {indices.max()}")
    return indices.astype(int)


@dataclasses.dataclass(frozen=True, eq=False)
class FactorDataset:
    """A grid of images: one image for each combination of factors, made or looked up when it is asked for.

    An image is named by its place in the grid, its index 0 ≤ i < `len(data)`, in which the last factor runs fastest,
    or by its factors: one level 0 ≤ f_k < `factor_sizes[k]` for each factor. `data.factors` and `data.indices` lead
    from one to the other.

    Attributes:
        name: What figures and records call the data; a stand-in says that it is one.
        source: Where the images come from, in words.
        factor_names: Name of each factor.
        factor_sizes: Number of levels of each factor.
        shape: Height, width and channels of an image.
        render: The images of factors, (n, k) integers to (n, h, w, c) bytes; the levels are those of the whole grid.
        levels: For each factor, the levels of the whole grid that this one keeps.

    Example:
        >>> data = FactorDataset("a", "nowhere", ("x", "y"), (1, 1, 1), lambda f: f, (np.arange(2), np.arange(3)))
        >>> len(data), data.factors(np.array([0, 4])).tolist(), data.restrict(y=[0, 2]).factor_sizes
        (6, [[0, 0], [1, 1]], (2, 2))
    """

    name: str
    source: str
    factor_names: tuple[str, ...]
    shape: tuple[int, int, int]
    render: Callable[[np.ndarray], np.ndarray] = dataclasses.field(repr=False)
    levels: tuple[np.ndarray, ...] = dataclasses.field(repr=False)

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Number of levels of each factor."""
        return tuple(len(kept) for kept in self.levels)

    def __len__(self) -> int:
        return math.prod(self.factor_sizes)

    def factors(self, indices: Any) -> Int[np.ndarray, "n k"]:
        """The factors of images.

        Args:
            indices: Their places in the grid, shape (n,).

        Returns:
            Levels of this grid, shape (n, number of factors).

        Raises:
            ValueError: If an index is not in the grid.
        """
        indices = checked_indices(indices, len(self), self.name)
        return np.stack(np.unravel_index(indices, self.factor_sizes), axis=1)

    def indices(self, factors: Any) -> Int[np.ndarray, " n"]:
        """The places in the grid of the images with these factors.

        Args:
            factors: Levels of this grid, shape (n, number of factors).

        Returns:
            Indices, shape (n,).

        Raises:
            ValueError: If there is not one level for each factor, or a level is not in the grid.
        """
        factors = np.asarray(factors)
        if factors.ndim != 2 or factors.shape[1] != len(self.levels) or factors.dtype.kind not in "iu":
            raise ValueError(
                f"expected {len(self.levels)} factors of {self.name}, as integers of shape (n, {len(self.levels)}), "
                f"got {factors.dtype} of shape {factors.shape}"
            )
        if ((factors < 0) | (factors >= np.array(self.factor_sizes))).any():
            raise ValueError(f"expected levels below {self.factor_sizes}, got up to {tuple(factors.max(axis=0))}")
        return np.asarray(np.ravel_multi_index(tuple(factors.T), self.factor_sizes))

    def pixels(self, indices: Any) -> UInt8[np.ndarray, "n h w c"]:
        """Images in bytes: 0 is black, 255 is white.

        Args:
            indices: Their places in the grid, shape (n,).

        Returns:
            Bytes of shape (n, height, width, channels), uint8.

        Raises:
            ValueError: If an index is not in the grid.
        """
        chosen = self.factors(indices)
        return self.render(np.stack([kept[chosen[:, k]] for k, kept in enumerate(self.levels)], axis=1))

    def images(self, indices: Any) -> Float[np.ndarray, "n h w c"]:
        """Images as numbers.

        Args:
            indices: Their places in the grid, shape (n,).

        Returns:
            Values in [0, 1] of shape (n, height, width, channels), float32.

        Raises:
            ValueError: If an index is not in the grid.
        """
        return self.pixels(indices).astype(np.float32) / 255

    def sample_factors(self, rng: np.random.Generator, n: int) -> Int[np.ndarray, "n k"]:
        """Draws of the factors, each factor uniform and independent of the others.

        Args:
            rng: Random numbers.
            n: Number of draws.

        Returns:
            Levels of this grid, shape (n, number of factors).
        """
        return rng.integers(0, self.factor_sizes, size=(n, len(self.levels)))

    def restrict(self, **keep: Any) -> FactorDataset:
        """The sub-grid with fewer levels of the named factors.

        Args:
            keep: For a factor, which of its levels to keep; or how many, c of s levels then being ⌊i s / c⌋, which
                are evenly spaced, start at the first, and leave out the last.

        Returns:
            The smaller grid; its source says which factors have fewer levels.

        Raises:
            ValueError: If a factor or a level is not there, or a level is named twice.
        """
        unknown = sorted(set(keep) - set(self.factor_names))
        if unknown:
            raise ValueError(f"expected factors among {self.factor_names}, got {unknown}")
        levels = list(self.levels)
        for k, factor in enumerate(self.factor_names):
            size = len(levels[k])
            wanted = np.asarray(keep.get(factor, size))
            # Neither fractions nor a mask, which NumPy would take for the levels 0 and 1.
            places = wanted.astype(int) if wanted.dtype.kind in "iu" and wanted.ndim < 2 else np.empty(0, int)
            if places.ndim == 0:
                places = np.arange(int(places)) * size // max(int(places), 1)
            if not (0 < len(places) == len(set(places)) and 0 <= min(places) and max(places) < size):
                raise ValueError(f"expected 1 to {size} different levels of {factor}, got {keep[factor]}")
            levels[k] = levels[k][places]
        fewer = [
            f"{len(new)} of {len(old)} levels of {factor}"
            for factor, old, new in zip(self.factor_names, self.levels, levels, strict=True)
            if len(new) < len(old)
        ]
        source = "; ".join([self.source, *fewer])
        return dataclasses.replace(self, source=source, levels=tuple(levels))
