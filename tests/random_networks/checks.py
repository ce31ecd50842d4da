"""What the kernel of every random network has to fulfil, by itself and beside networks of finite width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from random_networks.networks import GROWING, JUMPS, SATURATING, SHARED_ROWS, SMOOTH, WIDTH, RandomNetwork, build

FIELDS = ("nngp", "ntk", "cov1")
REFUSALS = {
    "is required before the activation function": "a nonlinearity without new weights before it",
    "can be integrated, in float": "a function at a variance beyond what is resolved",
    "got stax.Dropout": "Dropout",
    "got stax.GlobalSelfAttention": "GlobalSelfAttention",
    "got stax.Hermite": "Hermite",
    "without a jump behind noise": "a jump behind noise on positions",
    "before it, behind a stochastic layer": "positions mixed between noise and nonlinearity",
    "LayerNorm only implemented for Gaussian inputs": "LayerNorm without new weights before it",
}


def tolerance(network: RandomNetwork) -> float:
    """Half of the digits, as at a kink; a smooth nonlinearity at variance q loses a factor q more."""
    eps = np.finfo(np.float32 if network.x1.dtype == "float32" else np.float64).eps
    smooth = set(network.flat_words) & set(SMOOTH | GROWING)
    q = 4 * float(np.abs(network.x1.astype(float)).max()) ** 2 if smooth else 1.0
    return 30 * float(eps * max(q, 1.0)) ** 0.5


def kernels(network: RandomNetwork, noise: float | None, *, both: bool = False) -> dict[str, np.ndarray]:
    more = {}
    if network.patterns is not None:
        more["pattern"] = network.patterns[0], network.patterns[1 if both else 0]
    x2 = network.x2 if both else None
    k = build(network.words, noise)[2](network.x1, x2, **more)
    found = {name: np.asarray(getattr(k, name), np.float64) for name in FIELDS}
    if found["cov1"].ndim == 2:  # behind a pool neural-tangents keeps the covariances of all inputs
        found["cov1"] = np.diag(found["cov1"])
    excess = getattr(k, "excess", None)
    if excess is not None:
        found["excess"] = np.asarray(excess, np.float64)
    return found


def _differ(name: str, got: np.ndarray, want: np.ndarray, allowed: float, size: float) -> list[str]:
    error = float(np.abs(got - want).max())
    return [f"{name}: {error / size:.1e} > {allowed:.1e}"] if not error <= allowed * size else []


def violations(network: RandomNetwork) -> list[str]:
    """What a kernel of the network does not fulfil; empty where all holds.

    Raises:
        ValueError: If the network is refused.
    """
    allowed = tolerance(network)
    one, two = kernels(network, 1.0), kernels(network, 1.0, both=True)
    wrong = [f"{name} is not finite" for k in (one, two) for name, value in k.items() if not np.isfinite(value).all()]
    if wrong:
        return wrong
    words = network.flat_words
    size = {name: float(np.abs(value).max()) or 1.0 for name, value in one.items()}
    for name in ("nngp", "ntk"):
        k = one[name]
        wrong += _differ(f"symmetry of {name}", k, k.T, allowed, size[name])
        if (
            "Dropout" not in words
        ):  # behind frozen noise; it tells a set with itself from two sets, as in neural-tangents
            wrong += _differ(f"block of {name}", two[name][:, :2], k[:, SHARED_ROWS], allowed, size[name])
        lowest = float(np.linalg.eigvalsh((k + k.T) / 2).min())
        if lowest < -allowed * size[name]:
            wrong.append(f"{name} has the eigenvalue {lowest / size[name]:.1e}")
    if (one["cov1"] < np.diag(one["nngp"]) - allowed * size["cov1"]).any():
        wrong.append("cov1 < nngp")

    if "excess" in one:
        difference = one["cov1"] - np.diag(one["nngp"])
        wrong += _differ("excess", one["excess"], difference, allowed, size["cov1"])

    noiseless = kernels(network, None)
    # A jump's kernels grow like 1/σ0. Frozen noise has weights of its own, whose gradient stays at σ0 = 0.
    names = ("nngp", "cov1") if "shared" in words else FIELDS
    # Latents have noise of their own size, whatever that of the inputs.
    steps = [0.0] if set(words) & set(JUMPS) else [0.0, 1e-7 * min(network.scale, 1 / network.scale)]
    for step in steps:
        nearly = kernels(network, step)
        for name in names:
            limit = noiseless[name]
            largest = float(np.abs(limit).max()) or 1.0
            wrong += _differ(f"{name} at σ0 x {step:.0e}", nearly[name], limit, allowed + 1e-5, largest)
    return wrong


SAMPLES = 64, 2048
"""Where the first flag something, the second decide: a saturated network's gradients have tails that few draws miss."""

SATURATED = 30.0
"""Inputs so large that a slope of erf is 0 but at one neuron in 30, and at both of two inputs at one in 900. What has a mean
that so few neurons carry takes more draws than there are: the products of outputs alone are looked at."""

OUTPUTS = 8


def sampled_violations(network: RandomNetwork) -> list[str]:
    """Where networks of width 256 and one draw of noise each do not have the mean that the kernel says.

    Different inputs have different noise, so the products of their outputs, and of their gradients, are unbiased for
    `nngp` and `ntk` off the diagonal, whatever the noise; so is the square of one output for `cov1`. The second input
    is made equal to the first, which puts the diagonal there too. Five standard errors, and room for the bias of a
    finite width, of the order of depth/width.

    Raises:
        ValueError: If the network is refused.
    """
    x = network.x1.copy()
    x[1] = x[0]
    more = {}
    if network.patterns is not None:
        pattern = network.patterns[0].copy()
        pattern[1] = pattern[0]
        more["pattern"] = pattern
    init_fn, apply_fn, kernel_fn = build(network.words, out=OUTPUTS)
    both = {name: (value, value) for name, value in more.items()}
    limit = kernel_fn(x, None, **both)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, noise = jax.random.split(key)
        _, params = init_fn(start, x.shape)

        def outputs(params):
            y = apply_fn(params, x, rng=noise, **more)
            return y[:, 0], y

        jacobian, y = jax.jacrev(outputs, has_aux=True)(params)
        flat = jnp.concatenate([leaf.reshape(len(x), -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
        return y @ y.T / OUTPUTS, flat @ flat.T

    products = jax.jit(lambda keys: jax.lax.map(one, keys))
    wrong: list[str] = []
    for samples in SAMPLES:
        keys = jax.random.split(jax.random.key(network.seed + samples), samples)
        wrong = _distances(network, products(keys), limit)
        if not wrong:
            break
    return wrong


def _distances(network: RandomNetwork, products: tuple[jax.Array, jax.Array], limit: Any) -> list[str]:
    """Where the means of samples are farther from the limit than five standard errors and the bias of a finite width."""
    words = network.flat_words
    off = ~np.eye(len(network.x1), dtype=bool)
    depth = sum(word in ("Dense", "StochasticDense") for word in words)
    cov1 = np.asarray(limit.cov1)
    pairs = [
        ("nngp", products[0][:, off], np.asarray(limit.nngp)[off]),
        ("cov1", jnp.diagonal(products[0], axis1=1, axis2=2), np.diag(cov1) if cov1.ndim == 2 else cov1),
    ]
    saturated = network.scale > SATURATED and set(words) & set(SATURATING)
    # Autodiff knows no jump. Frozen noise at the inputs holds to leading order in their number.
    if not set(words) & set(JUMPS) and "shared" not in words and not saturated:
        pairs.append(("ntk", products[1][:, off], np.asarray(limit.ntk)[off]))
    wrong = []
    for name, values, want in pairs:
        values = np.asarray(values, np.float64)
        error = values.std(0, ddof=1) / len(values) ** 0.5
        room = 6 * depth / WIDTH * float(np.abs(want).max()) + 1e-9
        distance = np.abs(values.mean(0) - want)
        if not (distance <= 5 * error + room).all():
            worst = int(np.argmax(distance - 5 * error - room))
            wrong.append(f"{name}: {values.mean(0)[worst]:.4g} ± {error[worst]:.2g}, expected {want[worst]:.4g}")
    return wrong


def outcome(check: Callable[[RandomNetwork], list[str]], network: RandomNetwork) -> str | list[str]:
    """ "held", what is refused, or the list of violations; any other error is one."""
    with jax.enable_x64(network.x1.dtype != "float32"):
        try:
            return check(network) or "held"
        except (ValueError, NotImplementedError) as error:
            reasons = [reason for words, reason in REFUSALS.items() if words in str(error)]
            return f"refused: {reasons[0]}" if reasons else [f"{type(error).__name__}: {error}"]
        except Exception as error:
            return [f"{type(error).__name__}: {error}"]


def is_refusal(result: str | list[str]) -> bool:
    return isinstance(result, str) and result != "held"
