"""A nonlinearity of neural-tangents from any activation that the library knows the dual of."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from snn_ntk._neural_tangents import stax
from snn_ntk.activations.resolution import resolve

__all__ = ["Nonlinearity"]


def Nonlinearity(activation: Any) -> tuple[Callable, Callable, Callable]:
    """A layer of neural-tangents from a smooth function, with the library's own dual, behind noise too.

    As exact as `dual_derivatives`, and refused where that is not resolved. Inside of `jax.jit` (so of `nt.batch`), where
    there is no double integral and nobody can raise an error by what a number is, the kernel is NaN in every entry that is
    not resolved, and in no other.

    Args:
        activation: φ, what `resolve` accepts, such as `jnp.tanh`.

    Returns:
        `(init_fn, apply_fn, kernel_fn)`.

    Raises:
        TypeError: If `activation` is not an activation.
        ValueError: If `activation` is one without a dual for every variance, or has a jump: give that as its own layer.
            From `kernel_fn`, if the activation overflows or is not resolved at one of its variances, which the message
            names.

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

    def kappa(c: Array, q1: Array, q2: Array) -> Array:
        return known.dual(c, q1, q2)

    def slope(c: Array, q1: Array, q2: Array) -> Array:
        return known.derivatives(c, q1, q2)[1]

    kappa.activation = known  # for the layer, which then evaluates all entries at once
    return stax.Elementwise(phi, kappa, slope)
