"""What neural-tangents' functions do more when they are called through our door.

Products of floats are in full precision; a layer that was not called is named; `nt.batch` keeps what a kernel carries
or says that it cannot.
"""

import functools
import importlib
import types
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
from jax.core import Tracer

from snn_ntk._neural_tangents.input_kernel import MARKS
from snn_ntk._precision import full_precision, in_full_precision

__all__ = []


def guard(nt: types.ModuleType, stax: Any, kernel_class: Any) -> None:
    """Wraps the functions of neural-tangents and of its `stax` in place."""
    linear = importlib.import_module("neural_tangents._src.stax.linear")
    # The kernel_fn of every layer has its precision from where layers are made.
    _wrap(stax, {name for name in vars(linear) if name[0].isupper() and name in vars(stax)}, _precise_layer)
    _wrap(stax, ("serial", "parallel", "repeat"), _checking_layers)
    _wrap(stax, ("Hermite", "Monomial", "RectifiedMonomial"), _checking_degree)
    _wrap(stax, ("ElementwiseNumerical",), _without_warnings)
    nt.batch = _carrying(nt.batch, kernel_class)  # type: ignore[attr-defined]
    for module in (nt, nt.predict):
        _wrap(module, list(vars(module)), _precise)


def _wrap(module: Any, names: Iterable[str], wrapper: Callable) -> None:
    for name in names:
        if isinstance(value := getattr(module, name), types.FunctionType):
            setattr(module, name, wrapper(value))


def _precise(function: Callable) -> Callable:
    """`function` in full precision, and what it returns too where that is a function."""

    @functools.wraps(function)
    def precise(*args: Any, **kwargs: Any) -> Any:
        with in_full_precision():
            result = function(*args, **kwargs)
        return full_precision(result) if callable(result) else result

    return precise


def _precise_layer(make: Callable) -> Callable:
    """A layer with products in its apply_fn."""

    @functools.wraps(make)
    def precise(*args: Any, **kwargs: Any) -> Any:
        init_fn, apply_fn, kernel_fn = make(*args, **kwargs)
        return init_fn, full_precision(apply_fn), kernel_fn

    return precise


def _checking_layers(combine: Callable) -> Callable:
    """A combinator that names the function which makes a layer, where that is given in the layer's place."""

    @functools.wraps(combine)
    def checking(*args: Any, **kwargs: Any) -> Any:
        for layer in args:
            if isinstance(layer, types.FunctionType):
                name = layer.__name__
                raise TypeError(f"expected a layer, {name}(…), got the function {name} that makes it")
        return combine(*args, **kwargs)

    return checking


def _checking_degree(make: Callable) -> Callable:
    """A layer whose degree says which formula is used, and is no number to trace or to differentiate in."""

    @functools.wraps(make)
    def checking(degree: Any) -> Any:
        if isinstance(degree, Tracer):
            raise TypeError(f"expected a Python integer as the degree of stax.{make.__name__}, got a traced value")
        return make(degree)

    return checking


def _without_warnings(make: Callable) -> Callable:
    """`ElementwiseNumerical`, which warns of the error of a rule of `deg` nodes that is not used here."""

    @functools.wraps(make)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(*args, **kwargs)

    return quiet


def _carrying(batch: Callable, kernel_class: Any) -> Callable:
    """`nt.batch`, which puts plain kernels together from the blocks."""

    @functools.wraps(batch)
    def batching(kernel_fn: Callable, *args: Any, **kwargs: Any) -> Callable:
        noisy, marks = [], {}  # found while the blocks are traced, which happens once

        @functools.wraps(kernel_fn)
        def block(*args: Any, **kwargs: Any) -> Any:
            out = kernel_fn(*args, **kwargs)
            if isinstance(out, kernel_class) and out.spread is not None:
                raise ValueError(
                    "expected a network with a nonlinearity behind each stochastic layer that reads raw inputs, or "
                    "get='nngp', got a part of one: the blocks of nt.batch do not carry what its tangent kernel needs"
                )
            if isinstance(out, kernel_class):
                noisy.extend([True] * (out.noise1 is not None))
                marks.update({mark: jnp.zeros(()) for mark in MARKS if getattr(out, mark) is not None})
            return out

        batched = batch(block, *args, **kwargs)

        @functools.wraps(batched)
        def whole(*args: Any, **kwargs: Any) -> Any:
            out = batched(*args, **kwargs)
            if not isinstance(out, kernel_class.__bases__):
                return out
            # Which inputs no noise reaches, those that are 0, is not known any more: a jump there is infinite.
            n1, n2 = out.nngp.shape[:2]
            noise1 = jnp.ones(n1, bool) if noisy else None
            noise2 = jnp.ones(n2, bool) if noisy and out.cov2 is not None else None
            return kernel_class.around(out, noise1=noise1, noise2=noise2, **marks)

        return whole

    return batching
