"""Random configurations of every activation in closed form: finite or refused, symmetric, positive, and against quadrature."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from snn_ntk import stax, tangent_kernels
from snn_ntk._gaussian import graded_nodes
from snn_ntk.activations import dual_derivatives, resolve

LAYERS = {
    "ABRelu": lambda t: stax.ABRelu(t - 1, t),
    "Abs": lambda t: stax.Abs(),
    "Cos": lambda t: stax.Cos(t, 1.1 * t, t),
    "Erf": lambda t: stax.Erf(t, 1.1 * t, t - 1),
    "Exp": lambda t: stax.Exp(t, t / 2),
    "Gabor": lambda t: stax.Gabor(),
    "Gaussian": lambda t: stax.Gaussian(t, -t),
    "Gelu": lambda t: stax.Gelu(),
    "LeakyRelu": lambda t: stax.LeakyRelu(t / 4),
    "Monomial": lambda t: stax.Monomial(3),
    "Polynomial": lambda t: stax.Polynomial([t, -1.0, t / 2]),
    "Rbf": lambda t: stax.Rbf(t),
    "RectifiedMonomial2": lambda t: stax.RectifiedMonomial(2),
    "RectifiedMonomial3": lambda t: stax.RectifiedMonomial(3),
    "Relu": lambda t: stax.Relu(),
    "Sign": lambda t: stax.Sign(),
    "Sin": lambda t: stax.Sin(t, 1.1 * t, t - 1),
    "Step": lambda t: stax.RectifiedMonomial(0),
}
NAMES = list(LAYERS)
KINKED = {"ABRelu", "Abs", "LeakyRelu", "RectifiedMonomial2", "RectifiedMonomial3", "Relu"}
JUMPS = {"Sign", "Step"}
FAST = {"Cos", "Exp", "Rbf", "Sin"}
"""Those that no nodes resolve at a large variance; their closed forms are exponentials."""
DRAWS = 12
UNITS = 200
"""What is let pass, in units in the last place of the largest eigenvalue, or of the largest entry."""


def configuration(rng, dtype):
    """Seven inputs, two equal, two parallel, two nearly so and one 0, at a random scale, and the network's numbers."""
    x = rng.normal(size=(7, 3))
    sigma0 = float(rng.choice([0.0, 10.0 ** rng.uniform(-9, 1)], p=[0.2, 0.8]))
    x[1], x[2], x[3] = x[0], rng.choice([-1.0, 3.7, -0.1]) * x[0], 0
    x[4] = x[0] + 10.0 ** rng.uniform(-12, -1) * rng.normal(size=3)
    x = (x * 10.0 ** rng.uniform(-8, 8)).astype(dtype)
    b_std = float(rng.choice([0.0, 0.3, float(np.abs(x).max())]))
    W_std = float(rng.choice([0.0, 10.0 ** rng.uniform(-1, 1)], p=[0.1, 0.9]))
    return x, {"sigma0": sigma0, "W_std": W_std, "b_std": b_std}


def violations(seed: int) -> list[str] | str:
    """What the kernels of one activation do not fulfil; "held" where all of it holds, or how many draws are refused."""
    rng = np.random.default_rng(seed)
    name = NAMES[seed % len(NAMES)]
    dtype = ["float64", "float32"][(seed + seed // len(NAMES)) % 2]
    wrong, refused = [], 0
    with jax.enable_x64(dtype == "float64"):
        layer = LAYERS[name](round(float(rng.uniform(0.3, 1.5)), 2))
        for draw in range(DRAWS):
            x, network = configuration(rng, dtype)
            found = _kernels(name, layer, x, network, rng)
            if found is None:
                refused += 1
            else:
                wrong += [f"draw {draw}, {network}, |x| {np.abs(x).max():.1e}: {what}" for what in found]
        if dtype == "float64":
            wrong += _against_quadrature(name, layer, rng)
    return wrong or (f"refused: {refused} of {DRAWS}" if refused else "held")


def _kernels(name, layer, x, network, rng) -> list[str] | None:
    order = rng.permutation(len(x))
    try:
        whole, part = (tangent_kernels(x, other, activation=layer, **network) for other in (x, x[order]))
    except ValueError as error:
        if "expected variances at which" not in str(error):
            raise
        return None
    eps = float(np.finfo(x.dtype).eps)
    squares = (x.astype(float) ** 2).sum(1).max() * network["W_std"] ** 2 / x.shape[1]
    q = (1 + network["sigma0"] ** 2) * squares + network["b_std"] ** 2
    # exp multiplies what rounds in its exponent.
    allowed = UNITS * eps * (1 + q if name == "Exp" else 1)
    wrong = []
    for group, kernel, block in zip(whole._fields, whole, part, strict=True):
        kernel, block = np.asarray(kernel, float), np.asarray(block, float)
        if not np.isfinite(kernel).all():
            wrong.append(f"{group} is not finite")
            continue
        size = float(np.abs(kernel).max())
        if size * eps < np.finfo(x.dtype).tiny:
            continue  # next to the smallest number of this precision, which has no digits left
        if np.abs(kernel - kernel.T).max() > allowed * size:
            wrong.append(f"{group} is not symmetric: {np.abs(kernel - kernel.T).max() / size:.1e}")
        if np.abs(block - kernel[:, order]).max() > allowed * size:
            wrong.append(f"{group} of a block: {np.abs(block - kernel[:, order]).max() / size:.1e}")
        values = np.linalg.eigvalsh((kernel + kernel.T) / 2 / (size or 1))
        if values[0] < -allowed * values[-1]:
            wrong.append(f"{group} has the eigenvalue {values[0] / values[-1]:.1e}")
    return wrong


def double_integral(f, c, q1, q2, rest) -> float:
    """E f(a) f(b): an outer integral over what a and b share, of inner ones around where each of them is 0."""
    x, outer = graded_nodes(13.0, 0.4, 0.12, 1e-5)
    y, inner = graded_nodes(22.0, 0.4, 0.12, 1e-5)
    rho = min(abs(c) / math.sqrt(q1) / math.sqrt(q2), 1.0)
    shared, own = math.sqrt(rho), math.sqrt(rest / (1 + rho))
    centre = np.clip(-x * (shared / own if own else 0), -9, 9)[:, None]
    inner = inner * np.exp(-((centre + y) ** 2) / 2)
    z = shared * x[:, None] + own * (centre + y)
    means = [(f(root * z) * inner).sum(1) for root in (math.sqrt(q1), math.copysign(math.sqrt(q2), c))]
    return float((outer * np.exp(-(x**2) / 2) * means[0] * means[1]).sum()) / (2 * math.pi) ** 1.5


def _against_quadrature(name, layer, rng) -> list[str]:
    """κ, and κ' and κ'' of what is smooth, at random correlations and variances from 1e-8 to 1e8."""
    known = resolve(layer)
    functions = [known.phi]
    if name not in KINKED | JUMPS:
        for _ in range(2):
            functions.append(lambda z, f=functions[-1]: jax.jvp(f, (z,), (jnp.ones_like(z),))[1])
    wrong = []
    for _ in range(3):
        q1, q2 = 10.0 ** rng.uniform(-8, 1 if name in FAST else 8, 2)
        rest = 10.0 ** rng.uniform(-12, 0)
        c = rng.choice([-1, 1]) * math.sqrt(1 - rest) * math.sqrt(q1) * math.sqrt(q2)
        rest = 1 - c / q1 * c / q2 if rest > 0.1 else rest
        got = known.derivatives(*(jnp.asarray(value) for value in (c, q1, q2, rest)))
        scales = zip(*(dual_derivatives(layer, q, q, q) for q in (q1, q2)), strict=True)
        for order, (f, value, (one, two)) in enumerate(zip(functions, got, scales, strict=False)):
            want = double_integral(lambda z, f=f: np.asarray(f(jnp.asarray(z))), c, q1, q2, rest)
            error = abs(float(value) - want) / max(math.sqrt(float(one)) * math.sqrt(float(two)), 1e-300)
            if not error <= 1e-8:
                wrong.append(f"derivative {order} at c={c:.6g}, q={q1:.3g}, {q2:.3g}, 1-ρ²={rest:.2g}: {error:.1e} off")
    return wrong
