"""[J]'s experiment on MNIST: a finite network is trained along one principal component of its limit kernel."""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from snn_ntk import datasets
from snn_ntk.ntk.limit import principal_components, recursion
from snn_ntk.ntk.mlp import init_mlp, mlp_output
from snn_ntk.training.descent import gradient_descent

__all__ = ["BIAS", "digit_batches", "run_principal_direction"]

BIAS = 0.1  # [J]'s β, stated
_HIDDEN = 4  # hidden layers: inferred in chapter 2 from the published eigenvalues

_POINTS = 25  # times that are recorded after the start


def digit_batches(count: int, size: int = 512) -> tuple[datasets.Images, list[np.ndarray]]:
    """Images of digits with pixels in [0, 1], and random batches of them.

    Args:
        count: Number of batches; the first ones do not depend on it.
        size: Images in a batch.

    Returns:
        All images, and the places of each batch's among them.

    Example:
        >>> digits, batches = digit_batches(2, 16)
        >>> digits.images[batches[0]].shape
        (16, 784)

    Source: jacot2018ntk, Section 6.3.
    """
    digits = datasets.mnist(unit_norm=False)
    rng = np.random.default_rng(0)
    return digits, [rng.choice(len(digits.images), size, replace=False) for _ in range(count)]


def _output(params, x):
    return mlp_output(params, x, b_std=BIAS)[:, 0]


def _loss(params, problem):
    x, target, _ = problem
    return 0.5 * jnp.mean((_output(params, x) - target) ** 2)


def _split(params, problem):
    x, target, direction = problem
    residual = _output(params, x) - target
    along = jnp.mean(residual * direction)
    return -along, jnp.sqrt(jnp.mean((residual - along * direction) ** 2))


@functools.partial(jax.jit, static_argnums=1)
def _draw(key, sizes):
    return init_mlp(key, sizes)


@functools.lru_cache(maxsize=1)
def _direction(images: int) -> tuple[str, Float[Array, "n d"], Float[Array, " n"], float]:
    """The data's source, a batch, its second principal component and eigenvalue."""
    digits, (batch,) = digit_batches(1, images)
    x = jnp.asarray(digits.images[batch])
    values, functions = principal_components(recursion(x, depth=_HIDDEN + 1, b_std=BIAS)[-1].ntk, 2)
    return digits.source, x, jnp.asarray(functions[:, 1]), float(values[1])


def run_principal_direction(
    *,
    width: int,
    seed: int,
    learning_rate: float,
    time: float,
    images: int = 512,
    checkpoint: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Trains one ReLU network towards f* = f_0 + ½ f^(2), where f^(2) is the limit kernel's second component on a batch.

    In the limit the network goes straight there: f_t − f* = −½ e^(−λ_2 t) f^(2). At finite width f_t − f* = −g_t f^(2) + h_t.

    Args:
        width: Neurons in each of the four hidden layers.
        seed: Of the weights.
        learning_rate: The rate η, of the mean of squares halved.
        time: Length of training, t = η · steps.
        images: Digits in the batch, always the same ones.
        checkpoint: A file that an interrupted run goes on from.

    Returns:
        What JSON can hold, namely the data's `source`; the eigenvalue `lambda2`; and, at 26 times or fewer, `times`,
        `along`, g_t, and `across`, ‖h_t‖ with the norm of the mean over the batch.

    Raises:
        ValueError: If `time` is not a positive multiple of a positive rate.

    Example:
        >>> run = run_principal_direction(width=8, seed=0, learning_rate=10.0, time=20.0, images=16)
        >>> run["times"], round(run["along"][0], 3), round(run["across"][0], 3)
        ([0.0, 10.0, 20.0], 0.5, 0.0)

    Source: jacot2018ntk, Section 6.3, Figure 3.
    """
    steps = round(time / learning_rate) if learning_rate > 0 else 0
    if steps < 1 or not np.isclose(steps * learning_rate, time):
        raise ValueError(
            f"expected a time that is a positive multiple of a positive rate, got {time} for {learning_rate}"
        )
    source, x, direction, lambda2 = _direction(images)
    # Else the first neurons of a wide network would be those of a narrow one.
    net = _draw(jax.random.fold_in(jax.random.key(seed), width), (x.shape[1], *[width] * _HIDDEN, 1))
    target = jax.jit(_output)(net, x) + 0.5 * direction
    record_at = np.unique(np.linspace(0, steps, _POINTS + 1).round().astype(int))
    run = gradient_descent(
        _loss, net, learning_rate=learning_rate, steps=steps, record=_split, record_at=record_at,
        args=(x, target, direction), checkpoint=checkpoint,
    )  # fmt: skip
    along, across = np.asarray(run.records, float)
    return {
        "source": source,
        "lambda2": lambda2,
        "times": (record_at * learning_rate).tolist(),
        "along": along.tolist(),
        "across": across.tolist(),
    }
