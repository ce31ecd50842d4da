"""What cannot be computed is refused by name, with the variance up to which it can."""

from typing import Any

import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array

from snn_ntk.activations.base import Activation

__all__ = []


def is_unresolved(value: Array, *others: Array) -> bool:
    """Whether a dual overflows or is NaN, or something made with its derivatives is NaN. Within a trace nobody knows."""
    if isinstance(value, Tracer):
        return False
    bad = ~jnp.isfinite(value).all()
    for other in others:
        bad |= jnp.isnan(other).any()
    return bool(bad)


def refuse(activation: Activation, *variances: Any) -> None:
    """Raise an error that names the largest variance in use and the largest at which the activation is resolved.

    Args:
        activation: Which.
        variances: In use.

    Raises:
        ValueError: Always.
    """
    q = max(float(jnp.max(jnp.asarray(v))) for v in variances)
    dtype = jnp.result_type(float, *variances)
    if jnp.finfo(dtype).bits < 32:
        raise ValueError(
            f"expected single or double precision for the dual of {activation.name}, got {dtype} at variances up to {q:.4g}"
        )
    sizes = jnp.asarray([10.0 ** (k / 2) for k in range(-16, 19)], dtype)
    # At equal inputs, where it is resolved last.
    value, *others = activation.derivatives(sizes, sizes, sizes)
    resolved = jnp.isfinite(value)
    for other in others:
        resolved &= ~jnp.isnan(other)
    good = sizes[resolved].tolist()
    if not good:
        raise ValueError(
            f"expected a smooth activation, got {activation.name}, whose moments do not converge at any variance: it has "
            "a kink or a jump, or changes too fast. Write a kink as a layer of neural-tangents (stax.LeakyRelu, "
            "stax.ABRelu), or smooth it"
        )
    if max(good) >= q:
        raise ValueError(
            f"expected a dual that is finite at every covariance, got NaN or infinity from that of {activation.name}, in "
            f"{dtype} at variances up to {q:.4g}"
        )
    raise ValueError(
        f"expected variances at which {activation.name} can be integrated, in {dtype} up to about {max(good):.2g}, got "
        f"q up to {q:.4g}: beyond, its moments overflow or it changes faster than is resolved"
    )


def check_smoothing(activation: Activation, u: Any, s: Any, *values: Any) -> None:
    """Raise an error if what was averaged over noise is not finite. Within a trace nobody knows.

    Args:
        activation: φ.
        u: Means of pre-activations.
        s: Their standard deviations.
        values: What was made of E φ(u + s g), and of its derivatives.

    Raises:
        ValueError: If a value is NaN or infinite; names the largest mean and variance.
    """
    if any(isinstance(value, Tracer) for value in (u, s, *values)) or all(jnp.isfinite(v).all() for v in values):
        return
    raise ValueError(
        f"expected pre-activations over whose noise {activation.name} can be averaged, in {jnp.result_type(s)}, got "
        f"means up to {float(jnp.abs(u).max()):.4g} and variances up to {float(jnp.max(s)) ** 2:.4g}: there it "
        "overflows, or changes faster than is resolved"
    )
