"""What a nonlinearity of neural-tangents knows of itself: its function, and its dual by its own kernel_fn."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from snn_ntk._neural_tangents import nt
from snn_ntk.activations.base import Dual

__all__ = []


def phi_of(layer: tuple) -> Callable[[Array], Array]:
    """φ, as the layer's own apply_fn."""
    return lambda z: layer[1]((), z)


def dual_of(layer: tuple) -> Dual:
    """κ by the layer's own kernel_fn: a 1 x 1 kernel for each triple."""

    def single(c: Array, q1: Array, q2: Array) -> Array:
        kernel = nt.Kernel(
            nngp=c[None, None],
            ntk=None,
            cov1=q1[None],
            cov2=q2[None],
            x1_is_x2=jnp.zeros((), bool),
            is_gaussian=True,
            is_reversed=False,
            is_input=False,
            diagonal_batch=True,
            diagonal_spatial=True,
            shape1=(1, 1),
            shape2=(1, 1),
            batch_axis=0,
            channel_axis=1,
        )
        return layer[2](kernel).nngp[0, 0]

    def kappa(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> Array:
        c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
        return jax.vmap(single)(c.ravel(), q1.ravel(), q2.ravel()).reshape(c.shape)

    return kappa
