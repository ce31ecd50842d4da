"""The cost of the three tangent kernels: against neural-tangents, against Monte Carlo, and in memory.

Ratios are of times measured in one process, interleaved, so that whatever else the machine does falls on both. Run

    python benchmarks/kernels.py            # 3,000 x 784 inputs, erf
    python benchmarks/kernels.py --memory   # peak memory of the batched form on 10,000 x 784 inputs
    python benchmarks/kernels.py --products --n 500   # error where products are made of several bfloat16 or TF32 ones

What a card can reach. The two products of 20,000 x 784 inputs are 2 x 2 x 20,000^2 x 784 = 1.25e12 operations, and the
elementwise part reads two matrices of 1.6 GB and writes three: 8 GB. An H200 computed the products in 24.9 ms in full
float32 (50 of its 67 Tflop/s; measured), moves 4.8 TB/s, and multiplies TF32 at 495 and bfloat16 at 989 Tflop/s at most
(data sheet). At 60 % of those peaks, with 3 ms for the elementwise part:

    full float32, symmetry                 12.5 + 3 = 15 ms
    three TF32 products for each           12.7 + 3 = 16 ms, with symmetry  9 ms
    three bfloat16 products for each        6.3 + 3 =  9 ms, with symmetry  6 ms
    six bfloat16 products for each         12.7 + 3 = 16 ms, with symmetry  9 ms

Below 12 ms is therefore possible with symmetry, and six bfloat16 or three TF32 products. Of the kernels these err by 2.2e-6
and 1.3e-6, as float32 does by 1.8e-6 (`--products`); three bfloat16 products err by 1.2e-5. None of these times was measured.
At 3,000 inputs the same arithmetic gives 0.2 ms; measured were 2.15 ms, of which 1.13 ms are the products in full float32.
"""

import argparse
import contextlib
import importlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import interleaved, seconds

from snn_ntk._neural_tangents import nt, stax
from snn_ntk.activations.duals import dual_derivatives
from snn_ntk.kernels import tangent_kernels, tangent_kernels_batched
from snn_ntk.paper import Parameters, empirical_tangent_kernels, init_parameters

SIGMA0 = 0.5


def inputs(n: int, d: int) -> jax.Array:
    x = jax.random.normal(jax.random.PRNGKey(0), (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@contextlib.contextmanager
def formulas_of_neural_tangents() -> Iterator[None]:
    """Nonlinearities made inside the block have neural-tangents' own duals."""
    elementwise: Any = importlib.import_module("neural_tangents._src.stax.elementwise")
    make = elementwise._elementwise
    elementwise._elementwise = make.__wrapped__
    try:
        yield
    finally:
        elementwise._elementwise = make


def deterministic_ntk(nonlinearity: tuple) -> Callable[[jax.Array], jax.Array]:
    kernel_fn = stax.serial(stax.Dense(1), nonlinearity, stax.Dense(1))[2]
    return jax.jit(lambda x: kernel_fn(x, None, "ntk"))


def against_neural_tangents(x: jax.Array, repeats: int) -> dict[str, float]:
    """All three kernels against the deterministic `ntk` of the same one-hidden-layer network, both compiled.

    neural-tangents with its own dual, that is: `own_dual` is what ours, in its place, costs such a
    network. `total` is the sum of the three alone.
    """
    with formulas_of_neural_tangents():
        ntk = deterministic_ntk(stax.Erf())
    own = deterministic_ntk(stax.Erf())
    three = jax.jit(partial(tangent_kernels, activation=stax.Erf(), sigma0=SIGMA0))
    total = jax.jit(partial(tangent_kernels, activation=stax.Erf(), sigma0=SIGMA0, get="ntk"))
    programs = {"ntk": ntk, "three": three, "total": total, "own": own}
    times = interleaved({name: partial(program, x) for name, program in programs.items()}, repeats)
    ratios = np.array(times["three"]) / np.array(times["ntk"])
    return {
        "total": float(np.median(np.array(times["total"]) / np.array(times["ntk"]))),
        "own_dual": float(np.median(np.array(times["own"]) / np.array(times["ntk"]))),
        "neural_tangents_seconds": float(np.median(times["ntk"])),
        "tangent_kernels_seconds": float(np.median(times["three"])),
        "ratio_median": float(np.median(ratios)),
        "ratio_low": float(np.quantile(ratios, 0.25)),
        "ratio_high": float(np.quantile(ratios, 0.75)),
        "ratio_of_best": float(min(times["three"]) / min(times["ntk"])),
    }


def against_monte_carlo(x: jax.Array, closed_seconds: float, rows: int = 64, width: int = 512) -> dict[str, float]:
    """Monte Carlo over neurons at 1 % relative error, extrapolated from a sample of its cost and of its error.

    An average over M neurons errs like M^{-1/2} and costs M times one neuron and n² times one pair, so one run at
    `width` neurons gives both laws. The error is that of all entries of the total kernel, relative to its Frobenius
    norm. The noise of every neuron is already integrated out, which favours Monte Carlo. Two costs are reported: of all
    three groups by Definition 1, whose variance weights are contracted neuron by neuron, and of Θ^(μ) and Θ^(d) alone,
    which are plain matrix products and the least that any such estimate can cost.
    """
    small = x[:rows]
    exact = tangent_kernels(small, activation=stax.Erf(), sigma0=SIGMA0).total

    def network(key: jax.Array) -> Parameters:
        return init_parameters(key, width, x.shape[1], 1, sigma0=SIGMA0)

    @jax.jit
    def three_groups(key: jax.Array) -> jax.Array:
        return empirical_tangent_kernels(network(key), small, activation=stax.Erf()).total

    @jax.jit
    def two_groups(key: jax.Array, x: jax.Array) -> jax.Array:
        kernels = empirical_tangent_kernels(network(key), x, activation=stax.Erf())
        return kernels.mu + kernels.d  # the unused group is never computed

    keys = jax.random.split(jax.random.PRNGKey(1), 8)
    samples = [np.asarray(three_groups(key)) for key in keys]
    error = float(np.mean([np.linalg.norm(s - exact) for s in samples]) / np.linalg.norm(exact))
    neurons = width * (error / 0.01) ** 2
    all_groups = min(seconds(lambda key=key: three_groups(key)) for key in keys)
    jax.block_until_ready(two_groups(keys[0], x))
    products = min(seconds(lambda key=key: two_groups(key, x)) for key in keys)
    total = all_groups * (neurons / width) * (x.shape[0] / rows) ** 2
    least = products * (neurons / width)
    return {
        "monte_carlo_error": error,
        "neurons_for_one_percent": neurons,
        "monte_carlo_seconds": total,
        "speed_up": total / closed_seconds,
        "monte_carlo_seconds_without_sigma": least,
        "speed_up_without_sigma": least / closed_seconds,
    }


def rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """float32 with so many bits of the significand (8 are bfloat16's, 11 TF32's), rounded to nearest even."""
    drop = 24 - bits
    whole = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    half = (np.uint64(1) << np.uint64(drop - 1)) - np.uint64(1) + ((whole >> np.uint64(drop)) & np.uint64(1))
    kept = ((whole + half) >> np.uint64(drop)) << np.uint64(drop)
    return kept.astype(np.uint32).view(np.float32)


def emulated_product(x: np.ndarray, bits: int, terms: int) -> np.ndarray:
    """x xᵀ from products of its leading parts, summed in float32, the smallest first."""
    parts, left = [], x.astype(np.float32)
    for _ in range(3):
        parts.append(rounded(left, bits))
        left = left - parts[-1]
    pairs = sorted(((i, j) for i in range(3) for j in range(3)), key=sum)[:terms]
    return sum((parts[i] @ parts[j].T for i, j in reversed(pairs)), np.zeros((len(x), len(x)), np.float32))


def products(x: np.ndarray) -> dict[str, float]:
    """Largest error of the three kernels, relative to the largest entry, against float64; everything else in float32."""
    activation, q = stax.Erf(), np.float32(1 + SIGMA0**2)
    with jax.enable_x64(True):
        exact = [np.asarray(k) for k in tangent_kernels(x.astype(np.float64), activation=activation, sigma0=SIGMA0)]
    kinds = {"float32": (24, 1), "TF32": (11, 1), "3 TF32": (11, 3), "bfloat16": (8, 1)}
    kinds |= {f"{terms} bfloat16": (8, terms) for terms in (3, 6, 9)}
    errors = {}
    for name, (bits, terms) in kinds.items():
        c, squares = (
            v @ v.T if bits == 24 else emulated_product(v, bits, terms)
            for v in (x.astype(np.float32), x.astype(np.float32) ** 2)
        )
        value, slope, curvature = dual_derivatives(activation, jnp.asarray(c), q, q)
        found = (c * slope, np.float32(SIGMA0**2) * squares * curvature, value)
        errors[name] = max(float(np.abs(f - k).max() / np.abs(k).max()) for f, k in zip(found, exact, strict=True))
    return errors


def memory(n: int, d: int) -> dict[str, float]:
    """Peak resident memory of the process that computes all kernels of n inputs, in gigabytes."""
    x = np.asarray(inputs(n, d))
    start = time.perf_counter()
    kernels = tangent_kernels_batched(x, activation=stax.Erf(), sigma0=SIGMA0)
    elapsed = time.perf_counter() - start
    # Linux counts in kibibytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {
        "seconds": elapsed,
        "peak_gigabytes": peak / 1e9,
        "result_gigabytes": sum(k.nbytes for k in kernels) / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--d", type=int, default=784)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--memory", action="store_true", help="measure memory of the batched form on 10,000 inputs")
    parser.add_argument("--products", action="store_true", help="errors of emulated products")
    options = parser.parse_args()
    report: dict[str, object] = {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "neural_tangents": nt.__version__,
    }
    if options.memory:
        report |= memory(10_000, options.d)
    elif options.products:
        x = np.asarray(inputs(options.n, options.d))
        report |= {"normal inputs": products(x), "inputs in [0, 1]": products(np.abs(x))}
    else:
        x = inputs(options.n, options.d)
        report |= against_neural_tangents(x, options.repeats)
        report |= against_monte_carlo(x, float(report["tangent_kernels_seconds"]))  # type: ignore[arg-type]
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
