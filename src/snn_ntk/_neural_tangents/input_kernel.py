"""A `Kernel` that remembers the inputs it was made from, for layers whose noise depends on them."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import jax

__all__ = []


def make_input_kernel(base: type) -> type:
    """The class of kernels of raw inputs: `Kernel`, plus what a stochastic layer must know of the inputs.

    The tangent kernel of variance weights needs ⟨x∘x, x'∘x'⟩, which no `Kernel` holds, and multiplies it by κ'' of the
    nonlinearity that follows. So `inputs1`, `inputs2` keep the arrays that a kernel was made from, and `spread` carries
    a covariance-like factor to that nonlinearity. A layer that computes a new `nngp` by itself gives a plain `Kernel`.
    """
    dataclass = importlib.import_module("neural_tangents._src.utils.dataclasses").dataclass
    plain_fields = [field.name for field in dataclasses.fields(base)]

    own: dict[str, Any] = {"inputs1": None, "inputs2": None, "spread": None}
    # Not a class statement: type checkers that rewrite those would replace the constructor that `dataclass` makes.
    kernel_class = dataclass(type("InputKernel", (base,), own | {"__annotations__": dict.fromkeys(own, Any)}))
    replace_all = kernel_class.replace

    def asdict(self: Any) -> dict[str, Any]:
        return {name: getattr(self, name) for name in plain_fields}

    def replace(self: Any, **changes: Any) -> Any:
        if "nngp" in changes and "spread" not in changes:
            return base(**(asdict(self) | changes))
        return replace_all(self, **changes)

    def part(self: Any, rows: Any, columns: Any) -> Any:
        plain = base(**asdict(self)).slice(rows, columns)
        second = self.inputs1 if self.inputs2 is None else self.inputs2
        return kernel_class(
            **{name: getattr(plain, name) for name in plain_fields},
            inputs1=None if self.inputs1 is None else self.inputs1[rows],
            inputs2=None if second is None else second[columns],
            spread=None if self.spread is None else self.spread[rows, columns],
        )

    kernel_class.asdict, kernel_class.replace, kernel_class.slice = asdict, replace, part
    return kernel_class


def remembering_inputs(make: Callable, kernel_class: type) -> Callable:
    """`_inputs_to_kernel` whose result remembers inputs of shape (n, d)."""

    def inputs_to_kernel(x1: Any, x2: Any, **requirements: Any) -> Any:
        kernel = make(x1, x2, **requirements)
        if kernel.ntk is None or x1.ndim != 2 or requirements.get("mask_constant") is not None:
            return kernel
        return kernel_class(**kernel.asdict(), inputs1=x1, inputs2=x2)

    return inputs_to_kernel


def adding_curvature(make: Callable, kernel_class: type) -> Callable:
    """`_elementwise` whose kernels add `spread` · κ'' to the tangent kernel, κ'' being a jvp of the layer's own κ'."""

    def elementwise(fn: Any, name: str, kernel_fn: Callable | None) -> Any:
        if kernel_fn is None:
            return make(fn, name, None)

        def with_curvature(k: Any) -> Any:
            if not isinstance(k, kernel_class):
                return kernel_fn(k)
            plain = k.replace(nngp=k.nngp)
            out = kernel_fn(plain)
            if k.spread is None or k.ntk is None:
                return out
            one = jax.numpy.ones_like(k.nngp)

            def slope(nngp: Any) -> Any:
                return kernel_fn(plain.replace(nngp=nngp, ntk=one)).ntk

            _, curvature = jax.jvp(slope, (k.nngp,), (one,))
            # Without noise the curvature of a kinked nonlinearity may be infinite at equal inputs; the product is 0.
            added = k.spread * jax.numpy.where(k.spread == 0, 0, curvature)
            return out.replace(ntk=out.ntk + added)

        return make(fn, name, with_curvature)

    return elementwise
