"""The only door to neural-tangents: release 0.6.5, on current JAX, without TensorFlow.

neural-tangents 0.6.5 imports its `experimental` subpackage (which needs TensorFlow and tf2jax) and names that JAX has
moved or removed since. Both are supplied here *while it is imported* and taken away again, so that JAX's own modules
are left exactly as they were. `nt` and `stax` are the ordinary modules afterwards, with these changes:
`NtkImplementation.STRUCTURED_DERIVATIVES`, which rewrites jaxprs by rules that newer JAX no longer follows, is refused.
A kernel made from inputs also remembers them, and every layer hands on what a kernel carries (`InputKernel`).
Nonlinearities have the duals of `snn_ntk.activations`. What `guards` adds concerns the functions that a user calls.
"""

import contextlib
import importlib.util
import math
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax._src.core
import jax.core
import jax.extend.core
import jax.interpreters.ad
import numpy as np

from snn_ntk._neural_tangents.guards import guard
from snn_ntk._neural_tangents.input_kernel import make_input_kernel, remembering_inputs
from snn_ntk._neural_tangents.layers import handing_on
from snn_ntk._neural_tangents.nonlinearities import with_own_duals

__all__ = [
    "WORKING_VERSIONS",
    "InputKernel",
    "MaskedArray",
    "covariance",
    "get_diagonal",
    "masked_array",
    "nt",
    "stax",
]

WORKING_VERSIONS: dict[str, tuple[str, ...]] = {"0.6.5": ("0.4.38", "0.7.1", "0.10.1", "0.11.2")}
"""For each release of neural-tangents, the releases of JAX with which its analytic kernels, its empirical kernels and
its predictions were seen to work through this module."""

_ABSENT = object()

_MOVED_CORE_NAMES = (
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Var",
    "Primitive",
    "ClosedJaxpr",
    "jaxpr_as_fun",
    "DropVar",
    "ShapedArray",
    "AbstractValue",
    "Value",
)


def _supplied_names() -> list[tuple[types.ModuleType, str, Any]]:
    """Module attributes that neural-tangents imports and this JAX does not have."""

    def unavailable(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("expected code that does not transpose jaxprs by hand, got backward_pass")

    homes = (jax.extend.core, jax._src.core)
    wanted: list[tuple[types.ModuleType, str, Any]] = [
        (jax.core, name, next(getattr(home, name) for home in homes if hasattr(home, name)))
        for name in _MOVED_CORE_NAMES
    ]
    ad = jax.interpreters.ad
    # The primitive only keys two rules of STRUCTURED_DERIVATIVES, which is refused below: any fresh one will do.
    wanted.append((ad, "zeros_like_p", jax.extend.core.Primitive("zeros_like")))
    wanted.append((ad, "backward_pass", unavailable))
    return [(module, name, value) for module, name, value in wanted if not hasattr(module, name)]


def _supplied_modules() -> dict[str, types.ModuleType]:
    """Entries of `sys.modules` that stand in for modules which are absent here."""
    experimental = types.ModuleType("neural_tangents.experimental")
    experimental.__doc__ = "Left empty by snn_ntk: the original needs TensorFlow."
    modules = {experimental.__name__: experimental}
    try:
        # The functions left before the module did.
        from jax.util import safe_map  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        util = types.ModuleType("jax.util")
        source = importlib.import_module("jax._src.util")
        util.safe_map, util.safe_zip = source.safe_map, source.safe_zip  # type: ignore[attr-defined]
        modules[util.__name__] = util
    return modules


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """Make neural-tangents importable inside the block, and leave JAX as it was after it."""
    with warnings.catch_warnings():
        # Deprecations of the names above on the older JAX that still has them concern neural-tangents, not the user.
        warnings.simplefilter("ignore", DeprecationWarning)
        names, modules = _supplied_names(), _supplied_modules()
        before = {name: sys.modules.get(name, _ABSENT) for name in modules}
        for module, name, value in names:
            setattr(module, name, value)
        sys.modules.update(modules)
        try:
            yield
        finally:
            for module, name, _ in names:
                delattr(module, name)
            for name, module in before.items():
                if module is _ABSENT:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module  # type: ignore[assignment]


def _refused(**kwargs: Any) -> Callable:
    """STRUCTURED_DERIVATIVES, which does not work here."""
    raise NotImplementedError(
        "expected NtkImplementation.JACOBIAN_CONTRACTION, NTK_VECTOR_PRODUCTS or AUTO, got STRUCTURED_DERIVATIVES: "
        "neural-tangents 0.6.5 implements it by rewriting jaxprs of a JAX older than this package supports"
    )


def _cheaper_of(implementations: dict[Any, Callable]) -> Callable:
    """AUTO without STRUCTURED_DERIVATIVES: compile each implementation and keep the one with fewer flops."""

    def auto(**kwargs: Any) -> Callable:
        candidates = [make(**kwargs) for make in implementations.values()]
        chosen: dict[Any, Callable] = {}

        def flops(fn: Callable, *args: Any, **apply_fn_kwargs: Any) -> float:
            analysis = jax.jit(fn).lower(*args, **apply_fn_kwargs).cost_analysis()
            analysis = analysis[0] if isinstance(analysis, list) else analysis
            return (analysis or {}).get("flops", float("inf"))

        def ntk_fn(x1: Any, x2: Any, params: Any, **apply_fn_kwargs: Any) -> Any:
            leaves, structure = jax.tree_util.tree_flatten((x1, x2, params, apply_fn_kwargs))
            key = (structure, tuple(jax.numpy.shape(leaf) for leaf in leaves))
            if key not in chosen:
                cost = [flops(fn, x1, x2, params, **apply_fn_kwargs) for fn in candidates]
                chosen[key] = candidates[cost.index(min(cost))]
            return chosen[key](x1, x2, params, **apply_fn_kwargs)

        return ntk_fn

    return auto


def _sizes_of_abstract_arrays(empirical: types.ModuleType) -> None:
    """NTK_VECTOR_PRODUCTS asks `jnp.size` of abstract arrays, which JAX has deprecated: answer from their shapes."""

    class Numpy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(jax.numpy, name)

    numpy = Numpy("jax.numpy")
    numpy.size = lambda a: math.prod(jax.numpy.shape(a))  # type: ignore[attr-defined]
    empirical.jnp = numpy  # type: ignore[attr-defined]


def _traced_coefficients(elementwise: types.ModuleType) -> None:
    """`stax.Polynomial` makes NumPy's arrays of its coefficients, which a traced one cannot be: JAX's then."""

    class Numpy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    def array(values: Any) -> Any:
        traced = any(isinstance(value, jax.core.Tracer) for value in values)
        return (jax.numpy if traced else np).array(values)

    numpy = Numpy("numpy")
    numpy.array = array  # type: ignore[attr-defined]
    elementwise.np = numpy  # type: ignore[attr-defined]


def _load() -> tuple[types.ModuleType, types.ModuleType, Any]:
    """neural-tangents, its `stax`, and the class of kernels that remember their inputs."""
    if importlib.util.find_spec("neural_tangents") is None:
        # Not a dependency of the wheel, since installing it with its own dependencies installs TensorFlow.
        raise ImportError(
            "expected neural-tangents beside snn-ntk, got none: pip install --no-deps neural-tangents==0.6.5"
        )
    with _importable():
        nt = importlib.import_module("neural_tangents")
        stax = importlib.import_module("neural_tangents.stax")
        empirical = importlib.import_module("neural_tangents._src.empirical")
    _sizes_of_abstract_arrays(empirical)
    table = empirical._implementation_to_ntk_fn
    which = nt.NtkImplementation
    table[which.STRUCTURED_DERIVATIVES] = _refused
    table[which.AUTO] = _cheaper_of(
        {key: table[key] for key in (which.JACOBIAN_CONTRACTION, which.NTK_VECTOR_PRODUCTS)}
    )
    kernel_class = make_input_kernel(nt.Kernel)
    requirements: Any = importlib.import_module("neural_tangents._src.stax.requirements")
    requirements._inputs_to_kernel = remembering_inputs(requirements._inputs_to_kernel, kernel_class)
    requirements._preprocess_kernel_fn = handing_on(requirements._preprocess_kernel_fn, kernel_class, nt.Kernel)
    elementwise: Any = importlib.import_module("neural_tangents._src.stax.elementwise")
    _traced_coefficients(elementwise)
    elementwise._elementwise = with_own_duals(elementwise._elementwise, kernel_class)
    guard(nt, stax, kernel_class)
    return nt, stax, kernel_class


nt, stax, InputKernel = _load()

_requirements: Any = importlib.import_module("neural_tangents._src.stax.requirements")

get_diagonal: Callable = _requirements.get_diagonal
"""The variances in a `cov1`, whatever its layout."""

covariance: Callable = _requirements._cov
"""Mean products of two sets of inputs over their last axis, in the layout of `nngp`."""

MaskedArray: Any = _requirements.MaskedArray
"""Values and which of them are masked, as an `apply_fn` takes and returns them."""

masked_array: Callable = _requirements._get_masked_array
"""Inputs, with 0 for what equals a constant, and where that is."""
