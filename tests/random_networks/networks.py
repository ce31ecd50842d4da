"""Random networks with noise: what is drawn, written down as plain words, and built from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from snn_ntk import stax
from snn_ntk.activations import dual
from snn_ntk.layers import Reparameterize, StochasticConv, StochasticDense, StochasticDropout


def _erf_dual(c, q1, q2):
    return dual(jax.scipy.special.erf, c, q1, q2)


SMOOTH = {
    "Cos": lambda: stax.Cos(0.7, 0.9, 0.2),
    "Elementwise": lambda: stax.Elementwise(jax.scipy.special.erf, _erf_dual),
    "ElementwiseNumerical": lambda: stax.ElementwiseNumerical(jax.scipy.special.erf, deg=40),
    "Erf": lambda: stax.Erf(1.2, 0.8, 0.1),
    "ExpNormalized": lambda: stax.ExpNormalized(),
    "Gabor": lambda: stax.Gabor(),
    "Gaussian": lambda: stax.Gaussian(0.9, -0.6),
    "Gelu": lambda: stax.Gelu(),
    "Rbf": lambda: stax.Rbf(0.7),
    "Sigmoid_like": lambda: stax.Sigmoid_like(),
    "Sin": lambda: stax.Sin(0.7, 0.9, 0.2),
}
# Their slopes are 0 far from 0.
SATURATING = "Elementwise", "ElementwiseNumerical", "Erf", "Gabor", "Gaussian", "Sigmoid_like"
KINKED = {
    "ABRelu": lambda: stax.ABRelu(-0.3, 0.8),
    "Abs": lambda: stax.Abs(),
    "LeakyRelu": lambda: stax.LeakyRelu(0.2),
    "Relu": lambda: stax.Relu(),
}
JUMPS = {"Sign": lambda: stax.Sign(), "RectifiedMonomial0": lambda: stax.RectifiedMonomial(0)}
GROWING = {
    "Exp": lambda: stax.Exp(0.7, 0.4),
    "Monomial": lambda: stax.Monomial(3),
    "Polynomial": lambda: stax.Polynomial([0.2, -0.3, 0.5]),
    "RectifiedMonomial": lambda: stax.RectifiedMonomial(2),
}
NONLINEARITIES = SMOOTH | KINKED | JUMPS | GROWING
MIXING = {
    "AvgPool": lambda: stax.AvgPool((2,)),
    "SumPool": lambda: stax.SumPool((2,)),
    "ImageResize": lambda: stax.ImageResize((-1, 2, -1), "linear"),
    "Index": lambda: stax.Index(stax.Slice[:, 1:]),
    "Aggregate": lambda: stax.Aggregate(aggregate_axis=1),
    "Conv": lambda: stax.Conv(WIDTH, (2,), padding="SAME"),
    "ConvLocal": lambda: stax.ConvLocal(WIDTH, (2,), padding="SAME"),
    "ConvTranspose": lambda: stax.ConvTranspose(WIDTH, (2,), padding="SAME"),
}
READOUTS = {
    "Flatten": lambda: stax.Flatten(),
    "GlobalAvgPool": lambda: stax.GlobalAvgPool(),
    "GlobalSumPool": lambda: stax.GlobalSumPool(),
}
NOISY = {
    "StochasticConv": lambda noise: _noisy_conv(noise, "independent"),
    "StochasticConvPerPosition": lambda noise: _noisy_conv(noise, "per_position"),
    "StochasticDropout": lambda noise: (
        stax.Identity() if noise is None else StochasticDropout(1 / (1 + 0.7 * noise**2))
    ),
    "Reparameterize": lambda noise: _latents(noise),
}
REFUSED = {
    "Dropout": lambda: stax.Dropout(0.5),
    "GlobalSelfAttention": lambda: stax.GlobalSelfAttention(WIDTH, 4, 4, 2),
    "Hermite": lambda: stax.Hermite(2),
}


def _noisy_conv(noise, kind):
    if noise is None:
        return stax.Conv(WIDTH, (2,), padding="SAME")
    return StochasticConv(WIDTH, (2,), padding="SAME", sigma0=0.6 * noise, noise=kind)


def _latents(noise):
    """A log-variance that is bounded, whatever the inputs."""
    if noise is None:
        return stax.Dense(WIDTH)
    spread = stax.serial(stax.Dense(WIDTH), stax.Erf(), stax.Dense(WIDTH, 0.6))
    heads = stax.serial(stax.FanOut(2), stax.parallel(stax.Dense(WIDTH), spread))
    return stax.serial(heads, Reparameterize(-0.5 + 2 * jnp.log(noise)))


WIDTH = 256
POSITIONS = 4
SHARED_ROWS = [2, 0]


class RandomNetwork(NamedTuple):
    """A network as nested words, with its inputs."""

    seed: int
    words: list
    x1: np.ndarray
    x2: np.ndarray
    scale: float
    patterns: np.ndarray | None

    @property
    def flat_words(self) -> list[str]:
        return list(_flatten(self.words))

    def __str__(self) -> str:
        shape = f"{self.x1.dtype}{list(self.x1.shape)} · {self.scale:.1e}"
        return f"seed {self.seed}, {shape}: {self.words}"


def _flatten(words):
    for word in words:
        if isinstance(word, list):
            yield from _flatten(word)
        elif isinstance(word, str):
            yield word


def draw(seed: int) -> RandomNetwork:
    """One network in eight has a layer that is to be refused; one in four has positions."""
    rng, own = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    positions = POSITIONS if rng.random() < 0.4 else 0
    depth = int(rng.integers(1, 5))
    noisy = rng.integers(depth)
    growing = rng.random() < 0.2
    words: list = []
    grown = aggregated = False
    for level in range(depth):
        here = level == noisy
        if own.random() < 0.05:
            words.append("Reparameterize")
        words.append(_linear(rng, noisy=here or rng.random() < 0.3))
        if rng.random() < 0.15:
            words[-1] = ["sum", [words[-1]], [_linear(rng, noisy=rng.random() < 0.5)]]
        if rng.random() < 0.2:
            words.append(str(rng.choice(["LayerNorm", "DotGeneral", "Identity"])))
        may_grow = growing and not grown
        grown = grown or may_grow
        name = str(rng.choice(sorted(GROWING if may_grow else SMOOTH | KINKED | (JUMPS if rng.random() < 0.2 else {}))))
        how = rng.random()
        if how < 0.08:
            other = [_linear(rng, noisy=rng.random() < 0.5), "Erf"]
            words.append([str(rng.choice(["prod", "concat"])), [_linear(rng, noisy=True), name], other])
        else:
            words.append(name)
        if how > 0.9 and name in KINKED:
            words.append(["repeat", _linear(rng, noisy=False), name])
        if own.random() < 0.05:
            words.append("StochasticDropout")
        if positions > 2 and rng.random() < 0.5:
            mix = str(rng.choice(sorted(MIXING)))
            if mix == "Conv":
                mix = str(own.choice(["Conv", "StochasticConv", "StochasticConvPerPosition"]))
            if mix != "Aggregate" or (not aggregated and positions == POSITIONS):
                words.append(mix)
                aggregated |= mix == "Aggregate"
                positions -= {"AvgPool": 1, "SumPool": 1, "Index": 1, "ImageResize": positions - 2}.get(mix, 0)
    if positions:
        words.append(str(rng.choice(sorted(READOUTS))))
    words.append(_linear(rng, noisy=rng.random() < 0.2))
    if rng.random() < 0.04:
        refused = sorted(REFUSED) if positions else ["Dropout", "Hermite"]
        words.insert(int(rng.integers(1, len(words))), str(rng.choice(refused)))

    scale = float(10 ** rng.uniform(-4, 4)) if not growing else float(10 ** rng.uniform(-4, 0))
    return _with_inputs(rng, seed, words, scale, POSITIONS if positions else 0, aggregated)


def _with_inputs(rng, seed, words, scale, positions, aggregated) -> RandomNetwork:
    """Two sets of four inputs; the second begins with two of the first, in another order."""
    d = int(rng.choice([1, 3]))
    shape = (positions, d) if positions else (d,)
    x1, x2 = rng.normal(size=(2, 4, *shape)) * scale
    trouble = rng.random()
    if trouble < 0.1:
        x1[1] = x1[0]
    elif trouble < 0.2:
        x1[1] = -x1[0]
    elif trouble < 0.3:
        x1[2] = 0
    x2[:2] = x1[SHARED_ROWS]
    dtype = str(rng.choice(["float64", "float32", "int32"], p=[0.6, 0.3, 0.1]))
    if dtype == "int32":
        x1, x2 = np.round(x1), np.round(x2)
    patterns = None
    if aggregated:
        patterns = rng.normal(size=(2, 4, positions, positions))
        patterns[1, :2] = patterns[0, SHARED_ROWS]
        patterns = patterns.astype("float32" if dtype == "float32" else "float64")
    return RandomNetwork(seed, words, x1.astype(dtype), x2.astype(dtype), scale, patterns)


def is_sampled(network: RandomNetwork) -> bool:
    """Whether finite networks are like it: no heavy tails, no nonlinearity that is no function of one number."""
    return not set(network.flat_words) & {*GROWING, *REFUSED, "ExpNormalized"}


def _linear(rng, *, noisy: bool) -> list:
    W_std = round(float(rng.uniform(0.5, 2)), 2)
    b_std = round(float(rng.uniform(0.05, 1)), 2) if rng.random() < 0.5 else None
    parameterization = "standard" if rng.random() < 0.2 else "ntk"
    if not noisy:
        return ["Dense", W_std, b_std, parameterization]
    sigma0 = float(f"{10 ** rng.uniform(-2, 0.3):.2g}")
    return [
        "StochasticDense",
        W_std,
        b_std,
        parameterization,
        sigma0,
        "shared" if rng.random() < 0.2 else "independent",
    ]


def build(words: list, noise: float | None = 1.0, out: int = 1) -> Any:
    """The network of `words` with every σ0 times `noise`; None is neural-tangents' own dense layer in its place."""
    layers = []
    for index, word in enumerate(words):
        width = out if index == len(words) - 1 and out else WIDTH
        layers.append(_layer(word, noise, width))
    return stax.serial(*layers)


def _layer(word, noise, width) -> Any:
    if isinstance(word, str):
        if word == "LayerNorm":
            return stax.LayerNorm()
        if word == "DotGeneral":
            return stax.DotGeneral(rhs=0.7)
        if word == "Identity":
            return stax.Identity()
        if word in NOISY:
            return NOISY[word](noise)
        return (NONLINEARITIES | MIXING | READOUTS | REFUSED)[word]()
    kind, *rest = word
    if kind in ("Dense", "StochasticDense"):
        W_std, b_std, parameterization, *own = rest
        if kind == "Dense" or noise is None:
            return stax.Dense(width, W_std, b_std, parameterization=parameterization)
        return StochasticDense(
            width, W_std, b_std=b_std, parameterization=parameterization, sigma0=own[0] * noise, noise=own[1]
        )
    if kind == "repeat":
        return stax.repeat(build(rest, noise, 0), 2)
    fan_in = {"sum": stax.FanInSum, "prod": stax.FanInProd, "concat": lambda: stax.FanInConcat(-1)}[kind]
    branches = [build(part if isinstance(part[0], list) else [part], noise, 0) for part in rest]
    return stax.serial(stax.FanOut(len(branches)), stax.parallel(*branches), fan_in())
