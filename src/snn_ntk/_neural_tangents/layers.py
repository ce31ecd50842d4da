"""What every layer of neural-tangents hands on of what an `InputKernel` carries, or that it is refused by name."""

import functools
import importlib
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from snn_ntk._neural_tangents.input_kernel import MARKS, Dropped
from snn_ntk._precision import full_precision

__all__ = []

_FAN_INS = ("FanInConcat", "FanInProd", "FanInSum")


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
