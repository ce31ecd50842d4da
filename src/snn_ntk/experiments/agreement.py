"""How far two devices are apart on the same numbers: kernels, empirical kernels, a gradient and a training.

Each quantity is computed twice on the device, with full products and with the device's default, which on a card keeps
fewer bits of a factor (TF32), and once on the CPU with full products, which is what it is measured against.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from snn_ntk import datasets
from snn_ntk._neural_tangents import nt, stax
from snn_ntk.experiments.weight_movement import weight_movement_runs
from snn_ntk.kernels.batched import tangent_kernels_batched
from snn_ntk.kernels.monte_carlo import expected_tangent_kernel
from snn_ntk.kernels.one_hidden_layer import tangent_kernels
from snn_ntk.layers.dense import StochasticDense
from snn_ntk.node_scaling.kernels import mean_gram, tangent_gram
from snn_ntk.node_scaling.network import init_scaled
from snn_ntk.node_scaling.scalings import node_scalings
from snn_ntk.ntk.mlp import init_mlp, layer_kernels
from snn_ntk.paper.empirical_kernels import empirical_tangent_kernels
from snn_ntk.paper.figure2_limit import figure2_limit_kernels
from snn_ntk.paper.figure2_problem import draw_figure2_problem, figure2_objective
from snn_ntk.paper.network import expected_output, init_parameters
from snn_ntk.training.descent import gradient_descent

__all__ = ["PRODUCTS", "device_agreement", "quantities"]

# A name of the stamp's `products` for each setting of JAX's default_matmul_precision.
PRODUCTS = {"full precision": "highest", "default of the device": "default"}
SIGMA0 = 0.5


def _figure2(x: Array, width: int) -> Any:
    key = jax.random.key(1)
    return draw_figure2_problem(key, x, x[:, :10], width=width, activation=jnp.tanh, sigma0=SIGMA0, samples=2)


_objective = functools.partial(figure2_objective, activation=jnp.tanh)


def quantities(n: int = 128, width: int = 512) -> dict[str, Callable[[], Any]]:
    """What is compared, by name: functions without arguments that return arrays.

    Args:
        n: Number of MNIST images that are the inputs.
        width: Of the finite networks.

    Returns:
        The functions; each draws and computes on JAX's default device.

    Example:
        >>> sorted(quantities(4, 8))[0]
        'Figure 2 as ten classes, 256 steps'

    Source: book, chapter 14.
    """
    x = np.asarray(datasets.mnist(n).images, np.float32)
    here = lambda: jnp.asarray(x)  # noqa: E731
    parameters = lambda: init_parameters(jax.random.key(0), width, x.shape[1], 4, sigma0=SIGMA0)  # noqa: E731
    noisy = stax.serial(StochasticDense(width, sigma0=SIGMA0), stax.Erf(), stax.Dense(1))
    plain = stax.serial(stax.Dense(width), stax.Erf(), stax.Dense(1))
    lambdas = node_scalings(width, gamma=0.5, alpha=0.7)
    kernels = {
        f"kernels, {name}": functools.partial(lambda phi: tangent_kernels(here(), activation=phi, sigma0=SIGMA0), phi)
        for name, phi in {"erf": stax.Erf(), "relu": jax.nn.relu, "tanh": jnp.tanh}.items()
    }
    return kernels | {
        "kernels in blocks, erf": lambda: tangent_kernels_batched(here(), activation=stax.Erf(), sigma0=SIGMA0),
        "stochastic layer, ntk": lambda: noisy[2](here(), None, "ntk"),
        "neural-tangents, ntk": lambda: plain[2](here(), None, "ntk"),
        "neural-tangents, empirical ntk": lambda: nt.empirical_ntk_fn(plain[1])(
            here(), None, plain[0](jax.random.PRNGKey(0), x.shape)[1]
        ),
        "Figure 2's limit kernels": lambda: figure2_limit_kernels(
            here(), activation=jnp.tanh, sigma0=SIGMA0, samples=2
        ),
        "empirical kernels": lambda: empirical_tangent_kernels(parameters(), here(), activation=jnp.tanh),
        "Monte Carlo kernel": lambda: expected_tangent_kernel(
            noisy[1], noisy[0](jax.random.PRNGKey(0), x.shape)[1], here()[:16], None, jax.random.key(2), samples=2
        ),
        "layer kernels": lambda: layer_kernels(init_mlp(jax.random.key(0), (x.shape[1], width, width, 1)), here()),
        "scaled nodes' mean kernel": lambda: mean_gram(here()),
        "scaled nodes' kernel": lambda: tangent_gram(init_scaled(jax.random.key(0), lambdas, x.shape[1]), here()),
        "expected output": lambda: expected_output(parameters(), here(), activation=jnp.tanh),
        "Figure 2's gradient": lambda: jax.jit(jax.grad(_objective))(
            (problem := _figure2(here(), width)).start, problem
        ),
        "Figure 2, 256 steps": lambda: jax.tree.map(
            jnp.subtract,
            gradient_descent(
                _objective, (problem := _figure2(here(), width)).start, learning_rate=1.0, steps=256, args=problem
            ).params,
            problem.start,
        ),
        "Figure 2 as ten classes, 256 steps": lambda: np.array(
            weight_movement_runs(outputs=10, targets="classes", width=width, seeds=[0], steps=256, n=n)[0]["moved"]
        ),
    }


def _values(compute: Callable[[], Any], device: Any, precision: str) -> list[np.ndarray]:
    with jax.default_device(device), jax.default_matmul_precision(precision):
        return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(compute())]


def device_agreement(name: str, compute: Callable[[], Any], device: Any, reference: Any = None) -> dict[str, float]:
    """How far one quantity is off on a device, with full products and with the device's own.

    Args:
        name: Of the quantity, for an error.
        compute: One of `quantities`.
        device: A JAX device.
        reference: The device that is right; the first CPU if left out.

    Returns:
        For each of `PRODUCTS` max |a − b| / max |b| of the worst of the arrays that are returned.

    Raises:
        ValueError: If a value is not finite.

    Example:
        >>> cpu = jax.devices("cpu")[0]
        >>> device_agreement("ones", lambda: jnp.ones((2, 2)) @ jnp.ones((2, 2)), cpu)
        {'full precision': 0.0, 'default of the device': 0.0}

    Source: book, chapter 14.
    """
    right = _values(compute, reference or jax.devices("cpu")[0], "highest")
    found: dict[str, Any] = {}
    for products, precision in PRODUCTS.items():
        got = _values(compute, device, precision)
        if not all(np.isfinite(a).all() for a in (*got, *right)):
            raise ValueError(f"expected finite values of {name}, got others with {products}")
        found[products] = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(got, right, strict=True))
    return found
