"""The cost of each noisy layer's kernel against that of its noiseless layer.

Ratios are of times measured in one process, interleaved, so that whatever else the machine does falls on both. What is
computed is `nngp`, `ntk` and `cov1`, compiled. Behind another layer noise should cost nothing (at most 1.2 times); on raw
inputs Θ^(σ) needs a second product and κ'' (at most twice). Run

    python benchmarks/layers.py                      # all
    python benchmarks/layers.py --only dense --n 2000
"""

import argparse
import json
from typing import Any, NamedTuple

import jax
import numpy as np
from timing import interleaved

from snn_ntk import Reparameterize, StochasticConv, StochasticDense, StochasticDropout, nt, stax

BEHIND, RAW = 1.2, 2.0


class Case(NamedTuple):
    """Layers before, the noisy one and its noiseless twin, layers behind, the shape of an input, and the ratio allowed."""

    before: list
    noisy: Any
    noiseless: Any
    behind: list
    shape: tuple[int, ...]
    most: float


def cases() -> dict[str, Case]:
    vector, image = (784,), (32, 32, 3)
    end = [stax.Relu(), stax.Dense(1)]
    pooled = [
        stax.Relu(),
        stax.AvgPool((2, 2), (2, 2)),
        stax.Conv(1, (3, 3)),
        stax.Relu(),
        stax.GlobalAvgPool(),
        stax.Dense(1),
    ]
    wide = [stax.Dense(1), stax.Relu()]
    first = [stax.Conv(1, (3, 3), padding="SAME"), stax.Relu()]
    heads = stax.serial(stax.FanOut(2), stax.parallel(stax.Dense(1), stax.Dense(1)))

    def conv(noise: Any) -> Any:
        return StochasticConv(1, (3, 3), padding="SAME", sigma0=0.5, noise=noise)

    plain = stax.Conv(1, (3, 3), padding="SAME")
    return {
        "dense, raw inputs": Case([], StochasticDense(1, sigma0=0.5), stax.Dense(1), end, vector, RAW),
        "dense, behind a layer": Case(wide, StochasticDense(1, sigma0=0.5), stax.Dense(1), end, vector, BEHIND),
        "dropout": Case(wide, StochasticDropout(0.8), stax.Identity(), [stax.Dense(1), *end], vector, BEHIND),
        "latents": Case(
            wide, stax.serial(heads, Reparameterize()), stax.Dense(1), [stax.Dense(1), *end], vector, BEHIND
        ),
        "convolution, raw inputs": Case([], conv("independent"), plain, pooled, image, RAW),
        "convolution, raw inputs, per position": Case([], conv("per_position"), plain, pooled, image, RAW),
        "convolution, behind a layer": Case(first, conv("independent"), plain, pooled, image, BEHIND),
        "dropout of images": Case(first, StochasticDropout(0.8), stax.Identity(), [plain, *pooled], image, BEHIND),
    }


def compare(case: Case, n: int, repeats: int) -> dict[str, Any]:
    x = jax.random.normal(jax.random.key(0), (n, *case.shape)) / np.prod(case.shape) ** 0.5
    calls = {}
    for name, layer in (("noiseless", case.noiseless), ("noisy", case.noisy)):
        kernel_fn = stax.serial(*case.before, layer, *case.behind)[2]
        compiled = jax.jit(lambda x, kernel_fn=kernel_fn: kernel_fn(x, None, ("nngp", "ntk", "cov1")))
        calls[name] = lambda compiled=compiled: compiled(x)
    times = interleaved(calls, repeats)
    ratios = np.array(times["noisy"]) / np.array(times["noiseless"])
    return {
        "n": n,
        "noiseless_seconds": float(np.median(times["noiseless"])),
        "noisy_seconds": float(np.median(times["noisy"])),
        "ratio": float(np.median(ratios)),
        "ratio_low": float(np.quantile(ratios, 0.25)),
        "ratio_high": float(np.quantile(ratios, 0.75)),
        "most": case.most,
        "within": bool(np.median(ratios) <= case.most),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose names contain this")
    parser.add_argument("--n", type=int, help="inputs: by default 1,500 vectors, 4 images")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    report: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "neural_tangents": nt.__version__,
    }
    for name, case in cases().items():
        if options.only in name:
            n = options.n or (1500 if len(case.shape) == 1 else 4)
            report[name] = compare(case, n, options.repeats)
            print(json.dumps({name: report[name]}), flush=True)


if __name__ == "__main__":
    main()
