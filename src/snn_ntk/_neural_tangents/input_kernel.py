"""A `Kernel` that remembers what a stochastic layer must know, and what every layer does to it.

The tangent kernel of variance weights needs ⟨x∘x, x'∘x'⟩, which no `Kernel` holds, and multiplies it by κ'' of the
nonlinearity that follows. Layers in between change that factor, and some of them build a new `Kernel` by themselves.
So every layer is made to hand on what its input carries, or is refused by name: nothing is left out silently.
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

__all__ = []

MARKS = ("dropout", "frozen")
"""What a kernel carries, once it does, to the end of the network."""


class Dropped(Exception):
    """A layer computes covariances in a way that says nothing about the factor of κ''."""


def make_input_kernel(base: type) -> type:
    """The class of kernels of raw inputs, and behind noise: `Kernel`, plus some things.

    `inputs1`, `inputs2` are the arrays that a kernel was made from, until a layer changes them. `spread`, laid out like
    `nngp`, is the factor of κ'' of the nonlinearity to come. `noise1`, `noise2` say for each input whether independent
    noise reaches it, None if it reaches none of them. `excess` is cov1 − diag(nngp), computed by itself because the
    difference is lost to rounding where the noise is small; None where a layer does not say what it makes of it.
    `raw` is there until new weights are drawn, `dropout` where `stax.Dropout` stands before, `frozen` where noise that
    all inputs share does.
    """
    dataclass = importlib.import_module("neural_tangents._src.utils.dataclasses").dataclass
    canonicalize_idx = importlib.import_module("neural_tangents._src.utils.utils").canonicalize_idx
    plain_fields = [field.name for field in dataclasses.fields(base)]

    names = ("inputs1", "inputs2", "spread", "noise1", "noise2", "excess", "raw", *MARKS)
    own: dict[str, Any] = dict.fromkeys(names)
    # Not a class statement: type checkers that rewrite those would replace the constructor that `dataclass` makes.
    # A pickle looks it up where it is exported.
    attributes = own | {"__annotations__": dict.fromkeys(own, Any), "__module__": "snn_ntk._neural_tangents"}
    kernel_class: Any = dataclass(type("InputKernel", (base,), attributes))
    replace_all = kernel_class.replace

    def asdict(self: Any) -> dict[str, Any]:
        return {name: getattr(self, name) for name in plain_fields}

    def plain(self: Any, **changes: Any) -> Any:
        return base(**(asdict(self) | changes))

    def around(kernel: Any, **carried: Any) -> Any:
        """`kernel` with what it is to carry."""
        if all(value is None for value in carried.values()):
            return kernel
        return kernel_class(**{name: getattr(kernel, name) for name in plain_fields}, **carried)

    def kept(self: Any) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("noise1", "noise2", "raw", *MARKS)}

    def replace(self: Any, **changes: Any) -> Any:
        if "nngp" not in changes or "spread" in changes:
            return replace_all(self, **changes)
        # A layer that says whether its outputs are Gaussian either draws new weights, or comes before one that does
        # and no nonlinearity in between. New wide weights end the term: their share is of order 1/width.
        if self.spread is not None and "is_gaussian" not in changes:
            raise Dropped
        return around(plain(self, **changes), **kept(self) | {"raw": None if changes.get("is_gaussian") else self.raw})

    def passing(self: Any, operation: Callable, times: int, **inputs: Any) -> Any:
        """`operation`, from plain kernel to plain kernel, on a kernel that carries something.

        It treats `spread` as it treats `ntk`: once where it only moves entries, twice where it multiplies by a a',
        for then κ'' has the factor a² a'².
        """
        spread = self.spread
        for _ in range(times if spread is not None else 0):
            spread = operation(plain(self, ntk=spread)).ntk
        return around(operation(plain(self)), spread=spread, **(kept(self) | inputs))

    def second(one: Any, two: Any) -> Any:
        return one if two is None else two

    def part(self: Any, rows: Any, columns: Any) -> Any:
        both = {"inputs": (self.inputs1, self.inputs2), "noise": (self.noise1, self.noise2)}
        carried = {}
        for name, (one, two) in both.items():
            carried[f"{name}1"] = None if one is None else one[rows]
            carried[f"{name}2"] = None if one is None else second(one, two)[columns]
        return passing(self, lambda k: k.slice(rows, columns), 1, **carried)

    def moved(name: str) -> Callable:
        def move(self: Any, *args: Any) -> Any:
            # Without a mask or positions there is nothing to move, and no layer is left without one of these.
            still = self.nngp.ndim == 2 and all(argument is None for argument in args)
            excess = self.excess if still else None
            return passing(self, lambda k: getattr(base, name)(k, *args), 1, excess=excess)

        return move

    def index(self: Any, idx: Any) -> Any:
        batch = canonicalize_idx(idx, len(self.shape1))[self.batch_axis]
        rows = batch if isinstance(batch, slice) else np.asarray(batch)
        noise = {f"noise{i}": None if one is None else one[rows] for i, one in ((1, self.noise1), (2, self.noise2))}
        return passing(self, lambda k: k[idx], 1, **noise)

    def scaled(self: Any, operation: Callable, factor: Any) -> Any:
        both = ((1, self.inputs1), (2, self.inputs2))
        return passing(self, operation, 2, **{f"inputs{i}": None if x is None else factor * x for i, x in both})

    def multiply(self: Any, factor: Any) -> Any:
        return scaled(self, lambda k: k * factor, factor)

    def dot_general(self: Any, other1: Any, other2: Any, *args: Any, **kwargs: Any) -> Any:
        if other1 is None and other2 is None:
            return self
        if other1 is other2 and getattr(other1, "ndim", None) == 0:
            return scaled(self, lambda k: k.dot_general(other1, other2, *args, **kwargs), other1)
        if self.spread is not None:
            raise Dropped
        return passing(self, lambda k: k.dot_general(other1, other2, *args, **kwargs), 1)

    kernel_class.asdict, kernel_class.replace, kernel_class.plain = asdict, replace, plain
    kernel_class.passing, kernel_class.around = passing, staticmethod(around)
    kernel_class.slice, kernel_class.__getitem__ = part, index
    kernel_class.reverse, kernel_class.transpose, kernel_class.mask = map(moved, ("reverse", "transpose", "mask"))
    kernel_class.__mul__ = kernel_class.__rmul__ = multiply
    # A constant is a bias that all inputs share: it has no variance weights.
    kernel_class.__add__ = kernel_class.__sub__ = moved("__add__")
    kernel_class.dot_general = dot_general
    return kernel_class


def remembering_inputs(make: Callable, kernel_class: Any) -> Callable:
    """`_inputs_to_kernel` whose result remembers inputs of shape (n, ..., d), with 0 where they are masked."""
    masked = importlib.import_module("neural_tangents._src.stax.requirements")._get_masked_array

    def inputs_to_kernel(x1: Any, x2: Any, **requirements: Any) -> Any:
        for x in (x1, x2):
            if x is not None and not x.size:
                raise ValueError(f"expected at least one input of at least one number, got inputs of shape {x.shape}")
        kernel = make(x1, x2, **requirements)
        last = requirements["channel_axis"] in (-1, x1.ndim - 1)
        raw = jnp.zeros(())
        if kernel.ntk is None or not last or kernel.batch_axis != 0:
            return kernel_class.around(kernel, raw=raw)
        inputs1, inputs2 = (masked(x, requirements["mask_constant"]).masked_value for x in (x1, x2))
        return kernel_class.around(kernel, inputs1=inputs1, inputs2=inputs2, raw=raw)

    return inputs_to_kernel
