"""How the variance weights are stored: W_σ = g(ρ), where ρ is what is trained.

The function at initialisation is the same for every g; the tangent kernel of ρ is that of W_σ times g'(ρ)².
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from snn_ntk.layers.noise import is_zero

__all__ = []

Form = Literal["sigma", "log_sigma", "softplus"]


class VarianceWeights(NamedTuple):
    """σ = g(ρ), its inverse, and its slope g' as a function of σ."""

    sigma: Callable[[Array], Array]
    rho: Callable[[Any], Any]
    slope: Callable[[Any], Any]


_FORMS = {
    "sigma": VarianceWeights(lambda rho: rho, lambda sigma: sigma, lambda sigma: 1.0),
    "log_sigma": VarianceWeights(jnp.exp, jnp.log, lambda sigma: sigma),
    "softplus": VarianceWeights(
        jax.nn.softplus, lambda sigma: sigma + jnp.log(-jnp.expm1(-sigma)), lambda sigma: -jnp.expm1(-sigma)
    ),
}


def stored_as(form: Form, sigma0: Any) -> VarianceWeights:
    """The form by its name.

    Raises:
        ValueError: If there is none of that name, or no ρ for σ0 = 0.
    """
    if form not in _FORMS:
        raise ValueError(f"expected variance_weights to be one of {sorted(_FORMS)}, got {form!r}")
    if form != "sigma" and is_zero(sigma0):
        raise ValueError(
            f"expected sigma0 > 0 for variance weights that are stored as {form}, got 0: rho would be -inf"
        )
    return _FORMS[form]
