"""What all noisy layers share: which entries of a covariance have one draw, and what their kernels carry on."""

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array

from snn_ntk._neural_tangents import InputKernel, covariance, get_diagonal

__all__ = []

Noise = Literal["independent", "per_position", "shared"]


def is_zero(sigma0: Any) -> bool:
    """Whether there is no noise, as far as is known before it is traced."""
    return isinstance(sigma0, int | float) and sigma0 == 0


def one_draw(cov: Array, k: Any, *, positions: bool) -> Array:
    """Where a `cov1` is of an input with itself, and of a position with itself where `positions` have their own noise."""
    shape = [1] * cov.ndim
    same = jnp.ones(shape, bool)
    pairs = [] if k.diagonal_batch else [0]
    if positions and not k.diagonal_spatial:
        pairs += range(1 if k.diagonal_batch else 2, cov.ndim, 2)
    for axis in pairs:
        n = cov.shape[axis]
        same = same & jnp.eye(n, dtype=bool).reshape([*shape[:axis], n, n, *shape[axis + 2 :]])
    return same


def require_rng(rng: Any) -> None:
    if rng is None:
        raise ValueError("expected apply_fn(params, x, rng=key) for a stochastic layer, got no rng")


def refuse_dropout(k: Any) -> None:
    """`stax.Dropout` before noise that belongs to each input."""
    if getattr(k, "dropout", None) is not None:
        raise ValueError(
            "expected layers whose noise belongs to each input before a stochastic layer, got stax.Dropout, which "
            "takes inputs for the same, with the same noise, where the arrays are equal: write it as StochasticDropout"
        )


def reached(k: Any, which: int, strength: Any) -> Array | None:
    """For each input whether noise reaches it: of this layer, where it has any size, or of one before."""
    variance = get_diagonal(getattr(k, f"cov{which}"), k.diagonal_batch, k.diagonal_spatial)
    if variance is None:
        return None
    before = getattr(k, f"noise{which}", None)
    here = (variance.reshape(len(variance), -1) > 0).any(axis=1) & strength
    return here if before is None else here | before


def excess_before(k: Any) -> Any:
    """cov1 − diag(nngp) before a layer: 0 where there is no noise, None where it is not known by itself."""
    if k.nngp.ndim != 2 or k.cov1.ndim != 1 or k.cov2 is not None or k.mask1 is not None:
        return None
    excess = getattr(k, "excess", None)
    if excess is None and getattr(k, "noise1", None) is None:
        return 0.0
    return excess


def carrying_noise(out: Any, k: Any, noise: Noise, strength: Any, *, excess: Any, spread: Array | None = None) -> Any:
    """The kernel `out` behind a layer with noise of a size in `strength`, with what it is to carry."""
    if is_zero(strength):
        return out.replace(excess=excess) if isinstance(out, InputKernel) else out
    if noise == "shared":
        return carrying(out, frozen=jnp.zeros(()), excess=excess)
    return carrying(out, **{f"noise{i}": reached(k, i, strength > 0) for i in (1, 2)}, spread=spread, excess=excess)


def carrying(out: Any, **carried: Any) -> Any:
    """`out` with what it is to carry."""
    return out.replace(**carried) if isinstance(out, InputKernel) else InputKernel.around(out, **carried)


def squared_inputs(k: Any) -> Array:
    """Mean products of squared inputs, (1/N) ⟨x∘x, x'∘x'⟩, in the layout of `nngp`."""
    if not isinstance(k, InputKernel) or k.inputs1 is None:
        raise ValueError(
            "expected inputs of shape (n, ..., d), or a Kernel made from such inputs, for a stochastic layer that "
            "reads them directly, got a Kernel without them: its tangent kernel needs the products of squared inputs. "
            "Reshape the inputs before the network (instead of stax.Flatten inside it), or ask for get='nngp'"
        )
    x1 = jnp.asarray(k.inputs1, k.nngp.dtype) ** 2
    x2 = None if k.inputs2 is None else jnp.asarray(k.inputs2, k.nngp.dtype) ** 2
    return covariance(x1, x2, k.diagonal_spatial, 0, x1.ndim - 1)


def validate_options(noise: str, parameterization: str) -> None:
    """The options that layers with noisy weights have."""
    if noise not in ("independent", "per_position", "shared"):
        raise ValueError(f'expected noise to be "independent", "per_position" or "shared", got {noise!r}')
    if parameterization not in ("ntk", "standard"):
        raise ValueError(f'expected parameterization to be "ntk" or "standard", got {parameterization!r}')
