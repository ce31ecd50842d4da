"""Any smooth function as an activation: E[φ^(p)(a) φ^(r)(b)] by series or double integral, and its derivatives.

Derivatives in c, q1 and q2 are expectations again (Price), finite also at |ρ| = 1 and q = 0, and so are those in a
parameter that φ closes over: they are taken before the quadrature.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from snn_ntk.activations.base import Activation, as_floats, make_activation
from snn_ntk.activations.determinant import uncorrelated
from snn_ntk.activations.double_integral import double_integrals
from snn_ntk.activations.series import Pairs, series

__all__ = []

Function = Callable[..., Array]

Factor = tuple[int, int]
"""Which of several functions, and the order of its derivative."""

_MOST_PARAMETERS = 16

Products = tuple[tuple[Factor, Factor], ...]


def _taylor(f: Callable[[Array], Array], order: int) -> Callable[[Array], tuple[Array, ...]]:
    """f, f', … up to the order, in one pass."""
    if order == 0:
        return lambda z: (f(z),)
    lower = _taylor(f, order - 1)

    def values(z: Array) -> tuple[Array, ...]:
        primals, tangents = jax.jvp(lower, (z,), (jnp.ones_like(z),))
        return (*primals, tangents[-1])

    return values


def _values(functions: tuple[Function, ...], products: Products, theta: tuple) -> tuple[Callable, Pairs, Pairs]:
    """All derivatives that the products need as one function, the place of each factor in it, and which is whose slope."""
    orders = [max((p for pair in products for i, p in pair if i == f), default=0) for f in range(len(functions))]
    starts = [sum(order + 1 for order in orders[:f]) for f in range(len(functions))]

    def values(z: Array) -> list[Array]:
        out: list[Array] = []
        for function, order in zip(functions, orders, strict=True):
            out += _taylor(lambda z, function=function: function(z, *theta), order)(z)
        return out

    pairs = tuple((starts[i] + p, starts[j] + r) for (i, p), (j, r) in products)
    slopes = tuple((s + p, s + p + 1) for s, order in zip(starts, orders, strict=True) for p in range(order))
    return values, pairs, slopes


@functools.partial(jax.jit, static_argnums=(0, 1))
def _by_series(functions: tuple[Function, ...], products: Products, c: Array, q1: Array, q2: Array, theta: tuple):
    values, pairs, slopes = _values(functions, products, theta)
    return series(values, slopes, pairs, c, q1, q2)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _by_double_integral(
    functions: tuple[Function, ...], products: Products, point: tuple, norms: tuple, theta: tuple
) -> Array:
    values, pairs, _ = _values(functions, products, theta)
    c, q, rest = point
    return double_integrals(values, pairs, c, q, rest, norms)


def _evaluated(functions: tuple[Function, ...], products: Products, point: tuple, theta: tuple) -> tuple[Array, ...]:
    """E[f^(p)(a) g^(r)(b)] for each product; NaN where it is not resolved.

    The double integral is compiled only where it is needed, so not inside of a trace, which knows no values.
    """
    c, q1, q2, rest = point
    # Rows of nodes meet columns of variances, which a user's `jax_numpy_rank_promotion="raise"` is not about.
    with jax.numpy_rank_promotion("allow"):
        totals, resolved, converged, norms = _by_series(functions, products, c, q1, q2, theta)
    totals = [jnp.where(converged, total, jnp.nan) for total in totals]
    if isinstance(converged, Tracer):
        return tuple(totals)
    missing = np.asarray(resolved & ~converged)
    if not (at := np.flatnonzero(missing)).size:
        return tuple(totals)
    shape = missing.shape
    rest = uncorrelated(c, q1, q2) if rest is None else rest
    c, q1, q2, rest = (jnp.broadcast_to(v, shape).ravel()[at] for v in (c, q1, q2, rest))
    sizes = tuple(jnp.broadcast_to(v, (len(v), *shape)).reshape(len(v), -1)[:, at] for v in norms)
    with jax.numpy_rank_promotion("allow"):
        found = _by_double_integral(functions, products, (c, jnp.stack([q1, q2], 1), rest), sizes, theta)
    return tuple(total.ravel().at[at].set(v).reshape(shape) for total, v in zip(totals, found, strict=True))


def _along(function: Function, leaf: int, entry: tuple[int, ...]) -> Function:
    """The derivative of a function in one entry of its parameters."""

    def slope(z: Array, *theta: Array) -> Array:
        tangents = [jnp.zeros_like(value) for value in theta]
        tangents[leaf] = tangents[leaf].at[entry].set(1)
        return jax.jvp(lambda *theta: function(z, *theta), theta, tuple(tangents))[1]

    return slope


def _expectations(functions: tuple[Function, ...], products: Products, point: tuple, theta: tuple) -> tuple[Array, ...]:
    @jax.custom_jvp
    def value(point: tuple, theta: tuple) -> tuple[Array, ...]:
        return _evaluated(functions, products, point, theta)

    @value.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
        (dc, dq1, dq2, _), dtheta = tangents
        entries = [(leaf, entry) for leaf, value in enumerate(dtheta) for entry in np.ndindex(value.shape)]
        if len(entries) > _MOST_PARAMETERS:
            raise ValueError(
                f"expected an activation with at most {_MOST_PARAMETERS} parameters to differentiate in, got {len(entries)}"
            )
        families = functions + tuple(_along(f, *place) for place in entries for f in functions)
        more: dict[tuple[Factor, Factor], None] = dict.fromkeys(products)
        sums = []
        for (i, p), (j, r) in products:
            terms = [(((i, p + 1), (j, r + 1)), dc), (((i, p + 2), (j, r)), dq1 / 2), (((i, p), (j, r + 2)), dq2 / 2)]
            for e, (leaf, entry) in enumerate(entries, 1):
                shift = e * len(functions)
                terms += [
                    (((i + shift, p), (j, r)), dtheta[leaf][entry]),
                    (((i, p), (j + shift, r)), dtheta[leaf][entry]),
                ]
            sums.append(terms)
            more |= dict.fromkeys(pair for pair, _ in terms)
        found = dict(zip(more, _expectations(families, tuple(more), *primals), strict=True))
        tangent = tuple(sum(found[pair] * factor for pair, factor in terms) for terms in sums)
        return tuple(found[pair] for pair in products), tangent

    return value(point, theta)


def _check_entries(phi: Function, name: str) -> None:
    """Raises an error unless a function makes one real number of each entry, whatever stands beside it.

    What it closes over may be traced; then only the shape is known.
    """
    z = jnp.asarray([[0.4, -1.3], [2.1, 0.7]])
    found = jax.eval_shape(phi, z)
    shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", type(found).__name__)
    if shape != z.shape or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"expected a function that makes a real number of each entry, got {name}, which makes {dtype} of shape "
            f"{shape} of inputs of shape {z.shape}"
        )
    # The first entry, beside two sets of others.
    one, two = jax.jit(lambda z: (phi(z)[0, 0], phi(z.at[1].add(1).at[0, 1].add(2))[0, 0]))(z)
    if not isinstance(one, Tracer) and not np.allclose(one, two, rtol=1e-3, equal_nan=True):
        raise TypeError(f"expected a function that acts entry by entry, got {name}, whose entries depend on each other")


def smooth_form(phi: Callable[[Array], Array], name: str) -> Activation:
    """An activation known only as a smooth function."""
    _check_entries(phi, name)

    def expectations(
        orders: tuple[int, ...], c: Array, q1: Array, q2: Array, rest: Array | None = None
    ) -> tuple[Array, ...]:
        c, q1, q2 = as_floats(c, q1, q2)
        products = tuple(((0, p), (0, p)) for p in orders)
        # Parameters of φ with respect to which someone differentiates become arguments.
        single, theta = jax.closure_convert(phi, jnp.zeros((), c.dtype))
        if not theta:
            return _expectations((phi,), products, (c, q1, q2, rest), ())

        def function(z: Array, *theta: Array) -> Array:
            return jax.vmap(lambda entry: single(entry, *theta))(z.ravel()).reshape(z.shape)

        return _expectations((function,), products, (c, q1, q2, rest), tuple(theta))

    return make_activation(
        name,
        phi,
        lambda *point: expectations((0,), *point)[0],
        derivatives=lambda *point: expectations((0, 1, 2), *point),
    )
