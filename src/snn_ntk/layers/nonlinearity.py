"""A nonlinearity of neural-tangents from any activation that the library knows the dual of."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from snn_ntk._neural_tangents import stax
from snn_ntk.activations.resolution import resolve

__all__ = ["Nonlinearity"]


def Nonlinearity(activation: Any) -> tuple[Callable, Callable, Callable]:
    """A layer of neural-tangents from a smooth function, with the library's own dual, behind noise too.

    Unlike `stax.ElementwiseNumerical` it is accurate at any variance of `dual_derivatives`, without a degree to choose.
    neural-tangents maps a dual over pairs of inputs, as in a trace: a variance at which it is not resolved gives NaN.

    Args:
        activation: φ, what `resolve` accepts, such as `jnp.tanh`.

    Returns:
        `(init_fn, apply_fn, kernel_fn)`.

    Raises:
        TypeError: If `activation` is not an activation.
        ValueError: If `activation` is one without a dual for every variance, or has a jump: give that as its own layer.

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

    layer = stax.Elementwise(phi, known.dual, slope)
    layer[1].activation = known  # for `resolve`
    return layer
