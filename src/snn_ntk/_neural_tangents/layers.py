"""What every layer of neural-tangents hands on of what an `InputKernel` carries, or that it is refused by name."""

import functools
import importlib
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from snn_ntk._neural_tangents.input_kernel import MARKS, Dropped
from snn_ntk._neural_tangents.rectified_monomials import rectified_monomial_kernel
from snn_ntk._precision import full_precision

__all__ = []

_FAN_INS = ("FanInConcat", "FanInProd", "FanInSum")

_JUMPS = {"Sign": 2, "0-rectified-monomial": 1}
"""The nonlinearities whose κ' neural-tangents takes for 0, and the height of their jump at 0."""


def handing_on(make: Callable, kernel_class: Any, base: type) -> Callable:
    """`_preprocess_kernel_fn`, through which every layer is made, minding what kernels carry."""
    get_req = importlib.import_module("neural_tangents._src.stax.requirements").get_req

    def preprocess(init_fn: Callable, apply_fn: Callable, kernel_fn: Callable) -> Callable:
        @functools.wraps(kernel_fn)
        def minding(k: Any, **kwargs: Any) -> Any:
            kernels = jax.tree.leaves(k, is_leaf=lambda node: isinstance(node, base))
            carriers = [one for one in kernels if isinstance(one, kernel_class)]
            out = carrying_on(k, carriers, **kwargs)
            given = [(mark, getattr(one, mark)) for one in carriers for mark in MARKS]
            marks = {mark: value for mark, value in given if value is not None}
            if made.__name__ == "Dropout" and get_req(kernel_fn, {}).get("use_dropout"):
                marks["dropout"] = jnp.zeros(())
            if not marks or not isinstance(out, base):
                return out
            return out.replace(**marks) if isinstance(out, kernel_class) else kernel_class.around(out, **marks)

        def carrying_on(k: Any, carriers: list, **kwargs: Any) -> Any:
            spreading = any(one.spread is not None for one in carriers)
            noisy = any(one.noise1 is not None for one in carriers)
            # `layer` names what it has made only now.
            name = made.__name__
            raw = name in _FAN_INS and any(one.raw is not None for one in carriers)
            if not spreading and not noisy and not raw:
                return kernel_fn(k, **kwargs)
            if noisy and name == "Hermite":
                raise ValueError(
                    "expected an activation with a dual at every variance behind noise, got stax.Hermite, which "
                    "neural-tangents evaluates as if its input had unit variance: write it as stax.Polynomial"
                )
            if noisy and get_req(kernel_fn, {}).get("use_dropout") and name == "Dropout":
                raise ValueError(
                    "expected a layer whose noise belongs to each input behind a stochastic layer, got stax.Dropout, "
                    "which takes inputs for the same, with the same noise, where the arrays are equal"
                )
            if noisy and name == "GlobalSelfAttention":
                raise ValueError(
                    "expected a layer whose kernel is derived behind a stochastic layer, got stax.GlobalSelfAttention, "
                    "which multiplies noisy values by weights that the same noise moves"
                )
            unknown = ValueError(
                "expected a nonlinearity, or a layer with new weights, a sum, a scalar factor or a normalisation "
                f"before it, behind a stochastic layer that reads raw inputs, got {name}: what it does to the tangent "
                "kernel of the variance weights is not derived. Ask for get='nngp', or put a dense layer in between"
            )
            try:
                if name in _FAN_INS:
                    out = _joined(lambda ks: kernel_fn(ks, **kwargs), k, kernel_class)
                elif name == "LayerNorm":
                    out = k.passing(lambda one: kernel_fn(one, **kwargs), 2)
                else:
                    out = kernel_fn(k, **kwargs)
            except Dropped:
                raise unknown from None
            if not isinstance(out, base):
                return out
            if not isinstance(out, kernel_class):
                # A layer from outside, which builds its own kernel.
                if spreading:
                    raise unknown
                out = kernel_class.around(out, **_noise_of_any(carriers))
            if out.noise1 is not None and len(out.noise1) != len(out.cov1):
                raise unknown
            excess = getattr(k, "excess", None)
            if name == "Dense" and excess is not None:  # affine in the variances
                _, excess = jax.jvp(lambda cov1: kernel_fn(k.plain(cov1=cov1), **kwargs).cov1, (k.cov1,), (excess,))
                out = out.replace(excess=excess)
            return out

        made = full_precision(make(init_fn, apply_fn, minding))
        return made

    return preprocess


def _noise_of_any(kernels: list) -> dict[str, Any]:
    """The noise of what is computed from several kernels of the same inputs."""
    both = {name: [getattr(k, name) for k in kernels] for name in ("noise1", "noise2")}
    given = {name: [value for value in values if value is not None] for name, values in both.items()}
    return {name: functools.reduce(operator.or_, values) if values else None for name, values in given.items()}


def _joined(join: Callable, kernels: Any, kernel_class: Any) -> Any:
    """A sum, product or concatenation of branches with weights of their own."""
    carriers = [k for k in kernels if isinstance(k, kernel_class)]
    plain = [k.plain() if isinstance(k, kernel_class) else k for k in kernels]
    out = join(plain)
    spread = None
    # Where the result is not Gaussian (a product, channels side by side), only new weights can follow, and the mean of
    # a product of independent factors knows nothing of their variances.
    if out.is_gaussian and any(k.spread is not None for k in carriers):
        spreads = [getattr(k, "spread", None) for k in kernels]
        shares = [
            k.replace(ntk=jnp.zeros_like(k.nngp) if spread is None else spread)
            for k, spread in zip(plain, spreads, strict=True)
        ]
        spread = join(shares).ntk
    raw = next((k.raw for k in carriers if k.raw is not None), None)
    return kernel_class.around(out, spread=spread, raw=raw, **_noise_of_any(carriers))


def adding_curvature(make: Callable, kernel_class: Any) -> Callable:
    """`_elementwise` whose kernels add `spread` · κ'' to the tangent kernel, κ'' being a jvp of the layer's own κ'."""

    products = importlib.import_module("neural_tangents._src.stax.requirements").get_diagonal_outer_prods

    def elementwise(fn: Any, name: str, kernel_fn: Callable | None) -> Any:
        if kernel_fn is None:
            return make(fn, name, None)
        if name.endswith("rectified-monomial"):
            # neural-tangents' own is NaN where inputs are equal to rounding.
            kernel_fn = rectified_monomial_kernel(int(name.split("-")[0]), products)

        def with_curvature(k: Any) -> Any:
            if not isinstance(k, kernel_class):
                return kernel_fn(k)
            plain = k.plain()
            out = kernel_fn(plain)
            if name in _JUMPS and k.noise1 is not None and k.ntk is not None:
                out = out.replace(ntk=_behind_a_jump(k, _JUMPS[name], products))
            elif k.spread is not None:
                one = jnp.ones_like(k.nngp)

                def slope(nngp: Any) -> Any:
                    return kernel_fn(plain.replace(nngp=nngp, ntk=one)).ntk

                _, curvature = jax.jvp(slope, (k.nngp,), (one,))
                # Without noise the curvature of a kinked nonlinearity may be infinite at equal inputs; the product is 0.
                out = out.replace(ntk=out.ntk + k.spread * jnp.where(k.spread == 0, 0, curvature))
            excess = None if k.excess is None else _excess_behind(kernel_fn, name, plain, k.excess, out.cov1)
            return kernel_class.around(out, noise1=k.noise1, noise2=k.noise2, excess=excess)

        return make(fn, name, with_curvature)

    return elementwise


def _excess_behind(kernel_fn: Callable, name: str, plain: Any, excess: Any, cov1: Any) -> Any:
    """κ(q, q) − κ(q − e, q) of a nonlinearity, e the `excess` and κ(q, q) = `cov1`: the difference where it keeps its digits.

    Elsewhere, so if e is small, it is the integral of κ' over the covariance c = q − e τ², τ from 0 to 1. In τ the
    integrand is smooth also for a kink, whose κ' has a square root at c = q, and for a jump, which has a pole. Two rules
    must agree.
    """

    def entry(c: Any, q: Any) -> tuple[Any, Any]:
        one = jnp.ones((1, 1), q.dtype)
        out = kernel_fn(plain.replace(nngp=c[None, None], cov1=q[None], cov2=None, ntk=one))
        return out.nngp[0, 0], out.ntk[0, 0]

    q, e = plain.cov1[None], excess[None]
    rules = [np.polynomial.legendre.leggauss(count) for count in (8, 6)]
    # The nodes of both rules and the end point are one batch: a dual is compiled once for them.
    tau = jnp.asarray(np.concatenate([*((nodes + 1) / 2 for nodes, _ in rules), [1.0]]), excess.dtype)[:, None]
    if name in _JUMPS:
        # 2 e τ κ' with κ' = h²/(2π √((q − c)(q + c))).
        slopes = _JUMPS[name] ** 2 / (2 * jnp.pi)
        integrand = slopes * 2 * jnp.sqrt(jnp.where(e > 0, e / (2 * q - e * tau**2), 0))
        (end,) = jax.vmap(jax.vmap(entry))(q - e, q)[0]
    else:
        values, slopes = jax.vmap(jax.vmap(entry), (0, None))(q - e * tau**2, q[0])
        integrand, end = 2 * e * tau * slopes, values[-1]
    fine, coarse = (
        jnp.tensordot(jnp.asarray(weights / 2, excess.dtype), integrand[part], 1)
        for part, (_, weights) in zip((slice(8), slice(8, 14)), rules, strict=True)
    )
    difference = cov1 - end
    agree = jnp.abs(fine - coarse) <= 1e-4 * jnp.abs(fine)
    return jnp.where(agree & (difference < 0.01 * cov1), fine, difference)


def _behind_a_jump(k: Any, height: int, products: Callable) -> Any:
    """The tangent kernel behind a jump at 0: φ' = h δ, so κ' = h²/(2π √(q1 q2 - c²)) and κ'' = κ' c/(q1 q2 - c²).

    Only noise makes such an f̂ differentiable: an input without any has the gradient 0 almost everywhere.
    """
    if k.nngp.ndim != 2:
        raise ValueError(
            "expected a nonlinearity without a jump behind noise on inputs with positions, got stax.Sign or "
            "stax.RectifiedMonomial(0): its tangent kernel depends on which positions the noise reaches"
        )
    _, variances, _ = products(k.cov1, k.cov2, k.diagonal_batch, k.diagonal_spatial, operator.mul)
    noisy = jnp.outer(k.noise1, k.noise1 if k.noise2 is None else k.noise2)
    gap = jnp.where(noisy, jnp.maximum(variances - k.nngp**2, 0), 1)
    slope = height**2 / (2 * jnp.pi * jnp.sqrt(gap))
    total = k.ntk * slope if k.spread is None else (k.ntk + k.spread * k.nngp / gap) * slope
    return jnp.where(noisy, total, 0)
