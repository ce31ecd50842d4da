"""Products of floats in full precision, also where a device's own default has fewer bits (TF32 on a GPU).

Whoever wants fewer bits says so, and is followed: `jax.default_matmul_precision("tensorfloat32")` around a call, the
option `jax_default_matmul_precision`, or the variable JAX_DEFAULT_MATMUL_PRECISION.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.experimental
import numpy as np

__all__ = ["full_precision", "in_full_precision", "in_precision_of"]

_F = TypeVar("_F", bound=Callable)


def in_full_precision() -> contextlib.AbstractContextManager:
    """A context in which products of floats keep all their bits, unless the user has chosen a precision."""
    if jax.config.jax_default_matmul_precision is not None:  # type: ignore[attr-defined]
        return contextlib.nullcontext()
    return jax.default_matmul_precision("highest")


def full_precision(function: _F) -> _F:
    """`function`, with its products in full precision. Outside `jax.jit`: the precision is part of what jit compiles."""

    @functools.wraps(function)
    def precise(*args, **kwargs):
        with in_full_precision():
            return function(*args, **kwargs)

    return precise  # type: ignore[return-value]


def in_precision_of(dtype: Any) -> contextlib.AbstractContextManager:
    """A context in which JAX keeps all bits of a dtype: double precision for float64, the user's setting otherwise."""
    if dtype != np.float64:
        return contextlib.nullcontext()
    # JAX 0.4.38, the oldest supported, has it in jax.experimental only.
    home = jax if hasattr(jax, "enable_x64") else jax.experimental
    return home.enable_x64(True)  # type: ignore[attr-defined]
