"""From what the user names, a layer of neural-tangents or a function of one number, to an `Activation`."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

from snn_ntk.activations.base import Activation
from snn_ntk.activations.expectations import smooth_form
from snn_ntk.activations.kinked_forms import abrelu_form, sign_form
from snn_ntk.activations.layer_forms import free_variables
from snn_ntk.activations.smooth_forms import erf_form, exp_form, gelu_form, sin_form

__all__ = ["resolve"]

_BY_FUNCTION: tuple[tuple[Callable, Activation], ...] = (
    (erf, erf_form()),
    (jax.nn.relu, abrelu_form(0, 1)),
    (jax.nn.leaky_relu, abrelu_form(0.01, 1)),
    (jnp.abs, abrelu_form(-1, 1)),
    (jnp.sign, sign_form()),
    (jnp.sin, sin_form()),
    (jnp.cos, sin_form(1.0, 1.0, math.pi / 2)),
    (jnp.exp, exp_form()),
)


def resolve(activation: Any) -> Activation:
    """The `Activation` that a neural-tangents nonlinearity or a function of one number stands for.

    Closed forms are used for erf, ReLU and its relatives, sign, GELU, sin, cos, exp, Gaussian, Gabor, Rbf and
    polynomials, given as layers (`stax.Erf()`) or as functions (`jax.scipy.special.erf`). Any other function is
    integrated by quadrature and must be smooth: a kink or a jump is refused where it is used, give it as a layer (in
    single precision one below a thousandth of the function is not seen). A parameter that the function closes over may
    be differentiated in. It is read once, as by `jax.jit`: what it closes over must not change later.

    Args:
        activation: An `Activation`, a nonlinearity layer of neural-tangents, or a function from arrays to arrays that
            acts entry by entry, such as `jnp.tanh`.

    Returns:
        The activation.

    Raises:
        TypeError: If `activation` is none of these, or does not make one real number of each entry.
        ValueError: If it is `stax.Hermite`, whose dual assumes unit variance whatever the variance is.

    Example:
        >>> import jax.numpy as jnp
        >>> resolve(jnp.tanh).name
        'tanh'
    """
    if isinstance(activation, Activation):
        return activation
    try:
        return _resolve(activation)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
    if not callable(activation):
        return _resolve.__wrapped__(activation)

    # An object whose parameters are arrays, say: programs are kept by the function that they are made of.
    def phi(z: Any) -> Any:
        return activation(z)

    phi.__name__ = type(activation).__name__
    return _resolve.__wrapped__(phi)


def _kept_partial(activation: functools.partial) -> Activation | None:
    """A known function with its parameter set."""
    given = activation.keywords
    if activation.func is jax.nn.leaky_relu and set(given) == {"negative_slope"} and not activation.args:
        return abrelu_form(given["negative_slope"], 1)
    if activation.func is jax.nn.gelu and given == {"approximate": False} and not activation.args:
        return gelu_form()
    return None


@functools.lru_cache(maxsize=128)
def _resolve(activation: Any) -> Activation:
    if isinstance(activation, tuple) and len(activation) == 3 and all(callable(part) for part in activation):
        return _from_layer(activation)
    if isinstance(activation, np.ufunc):
        raise TypeError(f"expected a function of JAX, such as jnp.{activation.__name__}, got NumPy's {activation!r}")
    if str(getattr(activation, "__module__", "")).startswith("neural_tangents"):
        raise TypeError(
            f"expected a layer, stax.{getattr(activation, '__name__', '?')}(…), got the function that makes it"
        )
    if callable(activation) and not isinstance(activation, type):
        for function, known in _BY_FUNCTION:
            if activation is function:
                return known
        if isinstance(activation, functools.partial) and (known := _kept_partial(activation)):
            return known
        phi: Callable[..., Any] = activation
        return smooth_form(phi, getattr(activation, "__name__", type(activation).__name__))
    raise TypeError(
        "expected a nonlinearity of neural-tangents such as stax.Erf(), or a function such as jnp.tanh, "
        f"got {activation!r}"
    )


def _from_layer(layer: tuple) -> Activation:
    name = getattr(layer[1], "__name__", "?")
    # The layer's own function, before masks were added to it.
    own = free_variables(layer[1]).get("apply_fn", layer[1])
    if isinstance(known := getattr(own, "activation", None), Activation):
        return known
    if name == "Hermite":
        raise ValueError(
            "expected an activation with a dual at every variance, got stax.Hermite, which neural-tangents evaluates "
            "as if its input had unit variance: write the same function as stax.Polynomial"
        )
    raise TypeError(f"expected a nonlinearity of neural-tangents such as stax.Erf(), got the layer {name}")
