"""1 - ρ² of the pre-activations of two inputs to its last digits, also where the inputs are next to parallel.

c = ⟨x, x'⟩, q and q' are rounded sums, so q q' - c² is off by a rounding of q q'. Where inputs are next to parallel and
the noise is small, or an activation's variance large, that is more than the kernel can bear. With unit vectors u and u',
their angle θ and the shares f and f' of the noise in the variances nothing cancels in

    1 - ρ² = (1 - f)(1 - f') sin² θ + f + f' - f f',     sin² θ = d² (1 - d²/4),     d = ‖u ∓ u'‖.

A rounding of u is one of the input: what comes out is, to rounding of the result, the kernel of inputs that are moved by
a unit in the last place, and as positive as every kernel.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from snn_ntk.activations.determinant import power_of_two

__all__ = []

_NEAR = 1 / 16
"""Below it 1 - ρ² has lost four bits as a difference, and κ'' of a Gaussian, of which it is the power -5/2, as many and more."""

_PAIRS_AT_ONCE = 1024


def uncorrelated_inputs(
    x1: Array, x2: Array, c: Array, signals: tuple[Array, Array], noises: tuple[Array, Array]
) -> Array:
    """1 - ρ², to be taken for a constant: its derivatives are not those of a formula.

    Args:
        x1: Inputs, and what the bias adds to them, shape (n1, d).
        x2: Others, shape (n2, d).
        c: Their products ⟨x, x'⟩ to rounding, shape (n1, n2).
        signals: ⟨x, x⟩ of each of the first, shape (n1,), and of each of the others, shape (n2,).
        noises: What noise adds to these variances, likewise.

    Returns:
        1 - ρ², shape (n1, n2); 1 where a variance is 0.
    """
    x1, x2, c, *variances = map(jax.lax.stop_gradient, (x1, x2, c, *signals, *noises))
    signal1, signal2, noise1, noise2 = variances
    share1, share2 = noise1 / _or_one(signal1 + noise1), noise2 / _or_one(signal2 + noise2)
    shares = share1[:, None] + share2[None, :] - share1[:, None] * share2[None, :]
    rest = (1 - share1)[:, None] * (1 - share2)[None, :]
    cosine = c / _or_one(jnp.sqrt(signal1))[:, None] / _or_one(jnp.sqrt(signal2))[None, :]
    square = jnp.clip((1 - cosine) * (1 + cosine), 0, 1)
    near = rest * square + shares < _NEAR
    square = jax.lax.cond(near.any(), _by_differences, lambda square, *_: square, square, x1, x2, c, near)
    return rest * square + shares


def _or_one(x: Array) -> Array:
    return jnp.where(x > 0, x, 1)


def _unit_rows(x: Array) -> Array:
    x = x / power_of_two(jnp.abs(x).max(axis=1, keepdims=True))
    x = x / _or_one(jnp.sqrt((x * x).sum(axis=1, keepdims=True)))
    # Clipping changes nothing but that the quotient is rounded. Without it the compiler fuses division and difference
    # into one rounding, on one side of a pair only: the kernel would not even be symmetric.
    return jnp.clip(x, -1.5, 1.5)


def _by_differences(square: Array, x1: Array, x2: Array, c: Array, near: Array) -> Array:
    """sin² θ by the distance of unit vectors where inputs are near to parallel, a number of such pairs at a time."""
    units = _unit_rows(jnp.concatenate([x1, x2]))
    rows, columns = jnp.nonzero(near, size=near.size)
    count, step = near.sum(), min(_PAIRS_AT_ONCE, near.size)

    def some(state: tuple[Array, Array]) -> tuple[Array, Array]:
        start, square = state
        # The last ones begin earlier, so that there are always as many.
        i, j = (jax.lax.dynamic_slice_in_dim(places, start, step) for places in (rows, columns))
        difference = units[i] - jnp.where(c[i, j] < 0, -1, 1)[:, None] * units[len(x1) + j]
        distance = (difference * difference).sum(axis=1)
        return start + step, square.at[i, j].set(distance * (1 - distance / 4))

    return jax.lax.while_loop(lambda state: state[0] < count, some, (jnp.zeros((), count.dtype), square))[1]
