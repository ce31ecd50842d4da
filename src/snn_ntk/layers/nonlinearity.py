"""A nonlinearity of neural-tangents from any activation that the library knows the dual of."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from snn_ntk._neural_tangents import nt, stax
from snn_ntk.activations.refusal import is_unresolved, refuse
from snn_ntk.activations.resolution import resolve

__all__ = ["Nonlinearity"]


def Nonlinearity(activation: Any) -> tuple[Callable, Callable, Callable]:
    """A layer of neural-tangents from a smooth function, with the library's own dual, behind noise too.

    Unlike `stax.ElementwiseNumerical` it has no degree to choose. neural-tangents maps a dual over pairs of inputs, as in a
    trace, where `dual_derivatives` has no double integral: a variance that is too large for its series is refused, and the
    message names the largest that is not. Inside of `jax.jit` (so of `nt.batch`), where nobody can raise an error by what
    a number is, the kernel is NaN in every entry that is not resolved, and in no other.

    Args:
        activation: φ, what `resolve` accepts, such as `jnp.tanh`.

    Returns:
        `(init_fn, apply_fn, kernel_fn)`.

    Raises:
        TypeError: If `activation` is not an activation.
        ValueError: If `activation` is one without a dual for every variance, or has a jump: give that as its own layer.
            From `kernel_fn`, if the activation overflows or is not resolved at one of its variances.

    Example:
        >>> import jax.numpy as jnp
        >>> from snn_ntk import Nonlinearity, StochasticDense, stax
        >>> _, _, kernel_fn = stax.serial(StochasticDense(64, sigma0=0.5), Nonlinearity(jnp.tanh), stax.Dense(1))
        >>> kernel_fn(jnp.eye(3)).ntk.shape
        (3, 3)

    Source: book, chapter 5; price1958useful (Price's theorem).
    """
    known = resolve(activation)
    if known.jumps:
        raise ValueError(
            f"expected an activation without a jump, got {known.name}: give it as stax.Sign or stax.RectifiedMonomial(0)"
        )

    def phi(z: Array) -> Array:
        return known.phi(z)

    def slope(c: Array, q1: Array, q2: Array) -> Array:
        return known.derivatives(c, q1, q2)[1]

    init_fn, apply_fn, kernel_fn = stax.Elementwise(phi, lambda c, q1, q2: known.dual(c, q1, q2), slope)
    apply_fn.activation = known  # for `resolve`

    @functools.wraps(kernel_fn)
    def resolved(k: Any, *args: Any, **kwargs: Any) -> Any:
        out = kernel_fn(k, *args, **kwargs)
        if not isinstance(out, nt.Kernel):
            return out
        found = [value for value in (out.nngp, out.ntk, out.cov1, out.cov2) if value is not None]
        if any(map(is_unresolved, found)) and jnp.isfinite(k.nngp).all():
            refuse(known, *(q for q in (k.cov1, k.cov2) if q is not None), correlation=1.0, compiled=True)
        return out

    return init_fn, apply_fn, resolved
