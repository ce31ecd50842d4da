"""Synthetic inputs."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray

__all__ = ["sphere"]


def sphere(key: PRNGKeyArray, n: int, d: int, *, dtype: Any = float) -> Float[Array, "n d"]:
    """Independent points, uniform on the unit sphere of ℝᵈ.

    Args:
        key: JAX random key.
        n: Number of points.
        d: Dimension.
        dtype: Of the points, JAX's default float type by default; a key gives other points in single and double
            precision.

    Returns:
        Unit vectors, shape (n, d), of that type.

    Raises:
        ValueError: If `n` or `d` is below 1.

    Example:
        >>> sphere(jax.random.key(0), 4, 3).shape
        (4, 3)
    """
    if n < 1 or d < 1:
        raise ValueError(f"expected n ≥ 1 points in d ≥ 1 dimensions, got n = {n}, d = {d}")
    points = jax.random.normal(key, (n, d), dtype)
    return points / (points**2).sum(axis=1, keepdims=True) ** 0.5
