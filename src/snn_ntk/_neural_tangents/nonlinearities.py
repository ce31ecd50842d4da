"""What every nonlinearity of neural-tangents does to a kernel: the duals of `snn_ntk.activations`, with Θ^(σ)."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from snn_ntk.activations.base import Activation
from snn_ntk.activations.layer_forms import form_of
from snn_ntk.activations.refusal import is_unresolved, refuse

__all__ = []


def with_own_duals(make: Callable, kernel_class: Any) -> Callable:
    """`_elementwise`, through which every nonlinearity is made, with the dual of its activation.

    neural-tangents' own formulas subtract large numbers, divide by 0 at inputs of 0, and know no κ''. `stax.Hermite`,
    which has no dual at every variance, keeps its own.
    """
    products = importlib.import_module("neural_tangents._src.stax.requirements").get_diagonal_outer_prods

    @functools.wraps(make)  # a benchmark takes neural-tangents' own from it
    def elementwise(fn: Any, name: str, kernel_fn: Callable | None) -> Any:
        known = None if kernel_fn is None else form_of(fn, kernel_fn)
        if known is None:
            return make(fn, name, kernel_fn)
        init_fn, apply_fn, own = make(fn, name, lambda k: _behind(known, k, kernel_class, products))
        apply_fn.activation = known  # for `resolve`
        return init_fn, apply_fn, own

    return elementwise


def _behind(known: Activation, k: Any, kernel_class: Any, products: Callable) -> Any:
    """The kernel of φ(z) from that of z: κ, Θ κ' and, where it carries the factor of Θ^(σ), that times κ''."""

    def variances(which: Callable) -> Any:
        """Of one of both inputs, laid out as cov1, nngp and cov2 are."""
        return products(k.cov1, k.cov2, k.diagonal_batch, k.diagonal_spatial, which)

    one, two = variances(lambda first, _: first), variances(lambda _, second: second)
    cov1 = known.dual(k.cov1, one[0], two[0])
    cov2 = None if k.cov2 is None else known.dual(k.cov2, one[2], two[2])
    if k.ntk is None:
        nngp, ntk = known.dual(k.nngp, one[1], two[1]), None
    else:
        nngp, *slopes = known.derivatives(k.nngp, one[1], two[1])
        ntk = _tangent_kernel(known, k, *slopes)
    others = [value for value in (cov1, cov2, ntk) if value is not None]
    if is_unresolved(nngp, *others) and jnp.isfinite(k.nngp).all():
        refuse(known, *(q for q in (k.cov1, k.cov2) if q is not None))
    out = k.plain() if isinstance(k, kernel_class) else k
    out = out.replace(nngp=nngp, ntk=ntk, cov1=cov1, cov2=cov2)
    if not isinstance(k, kernel_class):
        return out
    excess = None if k.excess is None else _excess_behind(known, k.cov1, k.excess, cov1)
    return kernel_class.around(out, noise1=k.noise1, noise2=k.noise2, excess=excess)


def _tangent_kernel(known: Activation, k: Any, slope: Any, curvature: Any) -> Any:
    spread, noise1, noise2 = (getattr(k, name, None) for name in ("spread", "noise1", "noise2"))
    if known.jumps:
        # Only noise makes such an f̂ differentiable: an input without any has the gradient 0 almost everywhere.
        if noise1 is None:
            return jnp.zeros_like(k.ntk)
        if k.nngp.ndim != 2:
            raise ValueError(
                "expected a nonlinearity without a jump behind noise on inputs with positions, got stax.Sign or "
                "stax.RectifiedMonomial(0): its tangent kernel depends on which positions the noise reaches"
            )
        noisy = jnp.outer(noise1, noise1 if noise2 is None else noise2)
        slope, curvature = jnp.where(noisy, slope, 0), jnp.where(noisy, curvature, 0)
    if spread is None:
        return k.ntk * slope
    if known.degree == 1:
        # Infinite at a kink where no noise is told from none. What it multiplies, the noise's variance, goes to 0 faster:
        # what is left out is below the square root of rounding, which is all that a slope at a kink has.
        curvature = jnp.where(jnp.isfinite(curvature), curvature, 0)
    return k.ntk * slope + spread * jnp.where(spread == 0, 0, curvature)


def _excess_behind(known: Activation, q: Any, excess: Any, cov1: Any) -> Any:
    """κ(q, q) − κ(q − e, q), e the `excess` and κ(q, q) = `cov1`: the difference where it keeps its digits.

    Elsewhere, so if e is small, it is the integral of κ' over the covariance c = q − e τ², τ from 0 to 1. In τ the
    integrand is smooth also for a kink, whose κ' has a square root at c = q, and for a jump, which has a pole. Two rules
    must agree.
    """
    rules = [np.polynomial.legendre.leggauss(count) for count in (8, 6)]
    # The nodes of both rules and the end point are one batch: a dual is compiled once for them.
    tau = np.concatenate([*((nodes + 1) / 2 for nodes, _ in rules), [1.0]])
    tau = jnp.asarray(tau, excess.dtype).reshape(-1, *[1] * q.ndim)
    q, excess = q[None], excess[None]
    share = jnp.where(q > 0, excess / jnp.where(q > 0, q, 1), 0) * tau**2
    # Of 1 − c²/q² the digits are kept.
    values, slopes, _ = known.derivatives(q * (1 - share), q, q, share * (2 - share))
    integrand = 2 * excess * tau * jnp.where(share > 0, slopes, 0)
    fine, coarse = (
        jnp.tensordot(jnp.asarray(weights / 2, excess.dtype), integrand[part], 1)
        for part, (_, weights) in zip((slice(8), slice(8, 14)), rules, strict=True)
    )
    difference = cov1 - values[-1]
    agree = jnp.abs(fine - coarse) <= 1e-4 * jnp.abs(fine)
    return jnp.where(agree & (difference < 0.01 * cov1), fine, difference)
