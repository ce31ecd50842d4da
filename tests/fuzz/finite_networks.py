"""Random finite networks and the solvers of their kernels: every number is finite, or refused by name."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from snn_ntk import ntk, paper, stax
from snn_ntk.training import limit_flow, limit_movement

# Few shapes: each is compiled anew.
SHAPES = [(6, 3, 16), (4, 5, 8)]
ACTIVATIONS = {
    "erf": stax.Erf(),
    "relu": stax.Relu(),
    "sign": stax.Sign(),
    "gelu": stax.Gelu(),
    "sin": stax.Sin(),
    "exp": stax.Exp(),
    "cube": stax.Monomial(3),
    "tanh": jnp.tanh,
}


def _inputs(rng, n, d):
    """Random rows at a random scale; two may be equal, nearly so, or one 0."""
    x = rng.normal(size=(n, d))
    trouble = rng.integers(5)
    if trouble == 1:
        x[1] = x[0]
    elif trouble == 2:
        x[1] = x[0] * (1 + 1e-9)
    elif trouble == 3:
        x[2] = 0
    elif trouble == 4:
        x[:] = x[0]
    return x * 10.0 ** rng.uniform(-8, 8)


def _networks(rng, name, dtype):
    n, d, width = SHAPES[int(rng.integers(len(SHAPES)))]
    x = jnp.asarray(_inputs(rng, n, d), dtype)
    sigma = 10.0 ** rng.uniform(-9, 2) if rng.random() < 0.8 else 0.0
    size = 10.0 ** rng.uniform(-4, 4)
    parts = (size * rng.normal(size=(width, d)), np.full((width, d), sigma), rng.normal(size=(width, d)))
    params = paper.Parameters(*(jnp.asarray(part, dtype) for part in parts))
    activation = ACTIVATIONS[name]
    yield "expected_output", lambda: paper.expected_output(params, x, activation=activation)
    yield "output_variance", lambda: paper.output_variance(params, x, activation=activation)
    yield "empirical_tangent_kernels", lambda: paper.empirical_tangent_kernels(params, x, activation=activation)


def _solvers(rng):
    n = int(rng.choice([2, 5, 9]))
    x, test = _inputs(rng, n, 4), _inputs(rng, 3, 4)
    kernel, across = x @ x.T, test @ x.T
    y, f0 = rng.normal(size=(2, n, 2)) * 10.0 ** rng.uniform(-8, 8)
    beta, sigma0 = 10.0 ** rng.uniform(-18, 8), 10.0 ** rng.uniform(-4, 2)
    more = {"kernel_test": across, "f0_test": np.zeros((3, 2))}
    times, rate = [0.0, 10.0 ** rng.uniform(-8, 20), np.inf], rng.choice([None, 1e-3, 10.0])
    unit = x / np.where(np.linalg.norm(x, axis=1) > 0, np.linalg.norm(x, axis=1), 1)[:, None]
    yield "limit_flow", lambda: limit_flow(kernel, f0, y, times[: 2 if rate else 3], **more, learning_rate=rate)
    yield "limit_movement", lambda: limit_movement(kernel, kernel, f0, y, times[:2])
    yield "ridge_corrected", lambda: paper.ridge_corrected(kernel, y, f0, beta=beta, **more)
    yield "ridge_as_printed", lambda: paper.ridge_as_printed(kernel, y, beta=beta)
    yield "ridge_exact_kl", lambda: paper.ridge_exact_kl(kernel, y, f0, beta=beta, sigma0=sigma0)
    yield "ridge_error_bound", lambda: paper.ridge_error_bound(kernel, 1.0, ridge=beta, train_error=0.0)
    slopes = rng.normal(size=(n, 3))
    averaged = kernel * (slopes @ slopes.T) / 3
    yield "typical_ridge_error", lambda: paper.typical_ridge_error(averaged, kernel, slopes, y, ridge=beta, width=8)
    yield "whitened_product", lambda: paper.whitened_product(test, x)
    yield "principal_components", lambda: ntk.principal_components(kernel)
    yield "generalisation_bound", lambda: ntk.generalisation_bound(jnp.asarray(kernel), jnp.asarray(y[:, 0]))
    yield "logistic_path", lambda: ntk.logistic_path(unit @ unit.T, np.sign(y[:, 0]), np.array([1.0, 1e-4]))
    yield "feature_map", lambda: ntk.feature_map(jnp.asarray(unit), hidden=1)


def violations(seed: int) -> list[str] | str:
    """What is not finite and not refused; else "held", or how many calls were refused."""
    rng = np.random.default_rng(seed)
    name = list(ACTIVATIONS)[seed % len(ACTIVATIONS)]
    dtype = ["float64", "float32"][(seed + seed // len(ACTIVATIONS)) % 2]
    wrong, refused = [], 0
    with jax.enable_x64(True):
        for call, function in (*_networks(rng, name, dtype), *_solvers(rng)):
            try:
                leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(function())]
            except ValueError as error:
                if not str(error).startswith("expected "):
                    wrong.append(f"{call}: {error}")
                refused += 1
                continue
            except Exception as error:
                wrong.append(f"{call}: {type(error).__name__}: {error}")
                continue
            if call == "ridge_error_bound" and leaves == [np.inf]:
                continue  # as it says where the kernel is singular to rounding
            if not all(np.isfinite(leaf).all() for leaf in leaves):
                wrong.append(f"{call} of {name} in {dtype} is not finite")
    return wrong or (f"refused: {refused}" if refused else "held")
