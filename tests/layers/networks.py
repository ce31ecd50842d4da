"""Networks with every noisy layer: for each its noise times a factor, its noiseless twin, and inputs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from snn_ntk import Reparameterize, StochasticConv, StochasticDense, StochasticDropout, stax

FRAMES, IMAGES, VECTORS = (3, 5, 2), (2, 3, 3, 2), (3, 4)


class Case(NamedTuple):
    """`make(width, noise)`: the layers, with σ0 times `noise` and rates and log-variances to match; `noise` None is without."""

    make: Callable[[int, float | None], list]
    shape: tuple[int, ...]

    def network(self, width: int = 1, noise: float | None = 1.0) -> Any:
        return stax.serial(*self.make(width, noise), stax.Dense(1))

    @property
    def inputs(self) -> jax.Array:
        return jax.random.normal(jax.random.key(0), self.shape)


def dropout(noise: float | None, rate: float) -> Any:
    return stax.Identity() if noise is None else StochasticDropout(1 / (1 + noise**2 * (1 / rate - 1)))


def latent(width: int, noise: float | None, log_variance: float, head: Callable = stax.Dense) -> Any:
    """Two heads and a draw, or the mean head alone."""
    if noise is None:
        return head(width, 1.1)
    a = log_variance + 2 * jnp.log(noise)
    heads = stax.parallel(head(width, 1.1), head(width, 1.2, 0.3))
    return stax.serial(stax.FanOut(2), heads, Reparameterize(a))


def conv(
    width: int, noise: float | None, kind: str = "independent", size: int = 2, dims: int = 1, **options: Any
) -> Any:
    shape = (size,) * dims
    if noise is None:
        options.pop("variance_weights", None)
        return stax.Conv(width, shape, W_std=1.3, b_std=0.2, **options)
    return StochasticConv(width, shape, W_std=1.3, b_std=0.2, sigma0=0.8 * noise, noise=kind, **options)


def dense(width: int, noise: float | None, kind: str = "independent") -> Any:
    if noise is None:
        return stax.Dense(width, 1.2, 0.1)
    return StochasticDense(width, 1.2, b_std=0.1, sigma0=0.7 * noise, noise=kind)


CASES = {
    "dropout": Case(
        lambda m, s: [stax.Dense(m), stax.Erf(), dropout(s, 0.6), stax.Dense(m, 1.2, 0.1), stax.Erf()], VECTORS
    ),
    "dropout, pooled": Case(
        lambda m, s: [
            *(stax.Conv(m, (2,)), stax.Relu(), dropout(s, 0.7), stax.Conv(m, (2,)), stax.Erf(), stax.GlobalAvgPool())
        ],
        FRAMES,
    ),
    "latents": Case(
        lambda m, s: [stax.Dense(m), stax.Erf(), latent(m, s, -0.5), stax.Dense(m, 1.2), stax.Erf()], VECTORS
    ),
    "latents of raw inputs": Case(lambda m, s: [latent(m, s, 0.3), stax.Dense(m, 1.2, 0.1), stax.Relu()], VECTORS),
    **{
        f"first convolution, {kind}": Case(
            lambda m, s, kind=kind: [
                conv(m, s, kind),
                stax.Erf(),
                stax.Conv(m, (2,)),
                stax.Erf(),
                stax.GlobalAvgPool(),
            ],
            FRAMES if kind != "shared" else (3, 5, 64),
        )
        for kind in ("independent", "per_position", "shared")
    },
    **{
        f"deep convolution, {kind}": Case(
            lambda m, s, kind=kind: [
                *(stax.Conv(m, (2, 2), padding="SAME"), stax.Erf(), conv(m, s, kind, dims=2, padding="SAME")),
                *(stax.Relu(), stax.AvgPool((2, 2)), stax.Flatten()),
            ],
            IMAGES,
        )
        for kind in ("independent", "per_position", "shared")
    },
    "a dense layer, per_position": Case(
        lambda m, s: [dense(m, s, "per_position"), stax.Erf(), stax.GlobalAvgPool(), stax.Dense(m), stax.Relu()], FRAMES
    ),
    "all of them": Case(
        lambda m, s: [
            *(conv(m, s, "per_position", padding="SAME"), stax.Erf(), dropout(s, 0.8), conv(m, s, padding="CIRCULAR")),
            *(stax.Relu(), latent(m, s, -1.0, lambda m, *std: stax.Conv(m, (1,), None, "VALID", *std)), stax.Flatten()),
            *(dense(m, s), stax.Erf()),
        ],
        FRAMES,
    ),
}
