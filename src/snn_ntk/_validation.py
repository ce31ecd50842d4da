"""Checks at the boundary of the package: each says what was expected and what was given.

Shapes and types are static and always checked. Values can only be checked when they are there, so under `jax.jit`,
`jax.grad` and `jax.vmap` they are not.
"""

import math
import operator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

__all__ = [
    "below_infinity",
    "cholesky_factor",
    "finite",
    "floats",
    "generator",
    "image_bytes",
    "image_shape",
    "inputs",
    "matching_inputs",
    "non_negative",
    "of_shape",
    "optional_non_negative",
    "positive_integer",
    "unit_rows",
]


def _is_concrete(value: Any) -> bool:
    """Whether the value is there, and not only its shape and type."""
    return not isinstance(value, Tracer)


def inputs(x: Any, name: str = "x") -> Array:
    """`x` as a non-empty, finite, real array of shape (n, d)."""
    try:
        x = jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise TypeError(f"expected {name} to be a real array of shape (n, d), got {type(x).__name__}") from error
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)):
        raise TypeError(f"expected {name} to be a real array, got dtype {x.dtype}")
    if x.ndim != 2:
        raise ValueError(f"expected {name} of rank 2, shape (n, d), got rank {x.ndim}, shape {x.shape}")
    if x.size == 0:
        raise ValueError(f"expected {name} with at least one row and one column, got shape {x.shape}")
    x = x.astype(jnp.result_type(x.dtype, jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else float)
    # numpy: inside a trace even jnp functions of a constant are traced.
    if _is_concrete(x) and not np.isfinite(np.asarray(x)).all():
        raise ValueError(f"expected finite values in {name}, got NaN or infinity")
    return x


def matching_inputs(x1: Any, x2: Any | None) -> tuple[Array, Array | None]:
    """Two sets of inputs with the same number of features, or one set and None."""
    x1 = inputs(x1, "x1")
    if x2 is None:
        return x1, None
    x2 = inputs(x2, "x2")
    if x1.shape[1] != x2.shape[1]:
        raise ValueError(f"expected x2 with {x1.shape[1]} features like x1, got {x2.shape[1]}")
    return x1, x2


def floats(x: Any) -> Array:
    """Integers as the floats that they are: products and squares of uint8 are taken modulo 256."""
    return jnp.asarray(x, jnp.result_type(x, float))


def of_shape(value: Any, shape: tuple[int, ...], name: str) -> Any:
    """An array of this very shape: another one would be broadcast, and give a number."""
    if np.shape(value) != shape:
        raise ValueError(f"expected {name} of shape {shape}, got {np.shape(value)}")
    return value


def finite(value: Any, name: str) -> np.ndarray:
    """Numbers as a float64 array on the host, none NaN or infinite: LAPACK would say that it did not converge."""
    value = np.asarray(value, np.float64)
    if not np.isfinite(value).all():
        raise ValueError(f"expected finite values in {name}, got NaN or infinity")
    return value


def cholesky_factor(matrix: Array, name: str) -> Array:
    """The lower Cholesky factor of a symmetric matrix of floats whose pivots are above what its rounding can make of 0.

    What is not symmetric would be taken for its symmetric part, and a pivot that should be 0 for any number.
    """
    factor = jnp.linalg.cholesky(matrix)
    if not (_is_concrete(matrix) and _is_concrete(factor)):
        return factor
    values = finite(matrix, name)
    if not np.allclose(values, values.T, rtol=0, atol=1e-5 * np.abs(values).max()):
        raise ValueError(f"expected {name} to be symmetric, got a matrix that is not")
    rounding = len(values) * float(jnp.finfo(factor.dtype).eps) * np.diagonal(values).max()
    # No pivot is below the smallest eigenvalue; NaN where there is none.
    if not np.diagonal(np.asarray(factor, np.float64)).min() ** 2 > rounding:
        raise ValueError(
            f"expected {name} to be positive definite in {factor.dtype}, got the eigenvalue "
            f"{np.linalg.eigvalsh(values)[0]:.2g}, not above rounding, {rounding:.2g}: leave out inputs that are there "
            "twice, or compute it in float64"
        )
    return factor


def non_negative(value: Any, name: str) -> Any:
    """A finite scalar ≥ 0 (of a traced one the shape is known alone)."""
    if isinstance(value, (bool, str)) or jnp.ndim(value) != 0:
        raise TypeError(f"expected {name} to be one number, got {value!r}")
    if not _is_concrete(value):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"expected {name} to be one number, got {value!r}") from error
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"expected a finite {name} >= 0, got {number}")
    return value


def below_infinity(value: Any, name: str) -> Any:
    """A scalar that is finite or −inf (of a traced one the shape is known alone)."""
    if isinstance(value, (bool, str)) or jnp.ndim(value) != 0:
        raise TypeError(f"expected {name} to be one number, got {value!r}")
    if not _is_concrete(value):
        return value
    if not float(value) < math.inf:
        raise ValueError(f"expected {name} to be finite or -inf, got {value}")
    return value


def optional_non_negative(value: Any, name: str) -> Any:
    """A finite scalar ≥ 0, or None."""
    return None if value is None else non_negative(value, name)


def positive_integer(value: Any, name: str) -> int:
    """An integer ≥ 1."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"expected {name} to be an integer, got {value!r}")
    if number < 1:
        raise ValueError(f"expected {name} >= 1, got {number}")
    return number


def generator(rng: Any) -> np.random.Generator:
    """A source of random numbers of NumPy."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"expected rng to be a numpy.random.Generator, such as numpy.random.default_rng(0), got {rng!r}"
        )
    return rng


def image_shape(shape: Any) -> tuple[int, int, int]:
    """The shape (height, width, channels) of an image, three integers ≥ 1, as a tuple of Python's own."""
    try:
        sizes = tuple(positive_integer(size, "size") for size in shape)
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) != 3:
        raise ValueError(f"expected the shape (height, width, channels) of an image, got {shape!r}")
    return sizes


def image_bytes(images: Any, shape: tuple[int, int, int]) -> Any:
    """Images of shape (n, height, width, channels), at least one, as bytes; other kinds would be scaled wrongly."""
    images = images if hasattr(images, "dtype") else np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != shape or not images.size:
        expected = f"(n, {', '.join(map(str, shape))})"
        raise ValueError(
            f"expected uint8 images of shape {expected}, 255 being white, got {images.dtype} of shape {images.shape}"
        )
    return images


def unit_rows(x: Any, name: str = "x") -> Any:
    """Inputs (n, d) whose rows have norm 1, to 1e-4."""
    norms = np.linalg.norm(np.asarray(x, np.float64), axis=1)
    if not np.allclose(norms, 1, atol=1e-4):
        raise ValueError(
            f"expected rows of unit norm in {name}, got norms between {norms.min():.4g} and {norms.max():.4g}"
        )
    return x
