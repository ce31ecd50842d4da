"""From a nonlinearity of neural-tangents to its `Activation`, by the arguments that made it."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from snn_ntk.activations.base import Activation, Dual, make_activation
from snn_ntk.activations.expectations import smooth_form
from snn_ntk.activations.kinked_forms import abrelu_form, sign_form
from snn_ntk.activations.rectified_forms import rectified_form
from snn_ntk.activations.smooth_forms import (
    erf_form,
    exp_form,
    exp_normalized_form,
    gabor_form,
    gaussian_form,
    gelu_form,
    monomial_form,
    polynomial_form,
    rbf_form,
    sin_form,
)

__all__ = []


def _given_form(fn: Callable | None, nngp_fn: Callable, d_nngp_fn: Callable) -> Activation:
    """`stax.Elementwise`: the dual of one covariance and two variances that a user gives, and its derivative."""
    if isinstance(known := getattr(nngp_fn, "activation", None), Activation):
        return known

    def entrywise(function: Callable) -> Dual:
        return lambda c, q1, q2, rest=None: jnp.vectorize(function)(c, q1, q2)

    def derivatives(c: Array, q1: Array, q2: Array, rest: Array | None = None) -> tuple[Array, Array, Array]:
        c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
        slope, curvature = jax.jvp(lambda c: entrywise(d_nngp_fn)(c, q1, q2), (c,), (jnp.ones_like(c),))
        return entrywise(nngp_fn)(c, q1, q2), slope, curvature

    name = getattr(fn or nngp_fn, "__name__", "Elementwise")
    return make_activation(name, fn or _no_function(name), entrywise(nngp_fn), derivatives=derivatives)


def _no_function(name: str) -> Callable[[Array], Array]:
    def phi(z: Array) -> Array:
        raise NotImplementedError(f"expected an activation that is a function, got {name}, which has a kernel only")

    return phi


def _numerical_form(fn: Callable) -> Activation:
    return smooth_form(fn, getattr(fn, "__name__", "ElementwiseNumerical"))


def _exp_normalized_form(gamma: float | Array, shift: float | Array) -> Activation:
    return exp_normalized_form(gamma, shift, _no_function("ExpNormalized"))


_FORMS: dict[str, Callable[..., Activation]] = {
    "ABRelu": abrelu_form,
    "Elementwise": _given_form,
    "ElementwiseNumerical": _numerical_form,
    "Erf": erf_form,
    "Exp": exp_form,
    "ExpNormalized": _exp_normalized_form,
    "Gabor": gabor_form,
    "Gaussian": gaussian_form,
    "Gelu": gelu_form,
    "Monomial": monomial_form,
    "Polynomial": polynomial_form,
    "Rbf": rbf_form,
    "RectifiedMonomial": rectified_form,
    "Sign": sign_form,
    "Sin": sin_form,
}


def free_variables(function: Callable) -> dict[str, Any]:
    """What a function sees of its surroundings, by name."""
    if not (cells := getattr(function, "__closure__", None)):
        return {}
    return dict(zip(function.__code__.co_freevars, (cell.cell_contents for cell in cells), strict=True))


@functools.lru_cache(maxsize=256)
def _form(make: Callable[..., Activation], arguments: tuple[tuple[str, type, Any], ...]) -> Activation:
    """Made once for all layers with these arguments: called outside of a trace, its dual is one compiled program."""
    known = make(**{name: value for name, _, value in arguments})
    if make in (_given_form, _numerical_form):
        return known  # which is compiled by parts, or takes a double integral only where it is needed
    return dataclasses.replace(known, dual=jax.jit(known.dual), derivatives=jax.jit(known.derivatives))


def form_of(fn: Callable | None, kernel_fn: Callable) -> Activation | None:
    """The activation of a nonlinearity from its own two functions; None where it has no dual at every variance.

    neural-tangents keeps the arguments that made a layer nowhere but in the closure of its `kernel_fn`. Its release is
    pinned, and a test compares every layer's function with the activation made here.
    """
    make = _FORMS.get(kernel_fn.__qualname__.partition(".")[0])
    if make is None:
        return None
    found = {**free_variables(kernel_fn), "fn": fn}
    arguments = {name: found[name] for name in inspect.signature(make).parameters if name in found}
    if isinstance(coef := arguments.get("coef"), np.ndarray):
        arguments["coef"] = tuple(coef.tolist())
    try:
        return _form(make, tuple((name, type(value), value) for name, value in arguments.items()))
    except TypeError:  # an array or a traced value, which has no hash
        return make(**arguments)
