"""The data of the node-scaling experiments: simulated, regression sets, MNIST."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from snn_ntk import _validation as validation
from snn_ntk import datasets

__all__ = ["ScalingData", "scaling_data", "simulated_data"]

KERNEL_POINTS = 50  # of the regression sets; simulated data have 100, all of them followed


class ScalingData(NamedTuple):
    """Data of one run: training and test part, and a third part on which features are tried.

    Attributes:
        x: Training inputs, shape (n, d).
        y: Training targets, shape (n,) or (n, K).
        x_test: Test inputs, shape (t, d).
        y_test: Test targets.
        x_transfer: Inputs for transfer, shape (v, d); no rows where there are none.
        y_transfer: Their targets.
        x_kernel: The training inputs on which the tangent kernel is followed, shape (k, d).
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    x_transfer: Array
    y_transfer: Array
    x_kernel: Array


def simulated_data(seed: int, *, n: int = 100, d: int = 50) -> ScalingData:
    """Simulated data: inputs uniform on the unit sphere, y = mean_k 5 sin(π x_k) + 0.1 ε, ε ~ N(0, 1).

    Args:
        seed: Of the data; the published set is not available, so that the spread between runs has to hold that between
            data sets too.
        n: Training points, and as many for testing.
        d: Dimension.

    Returns:
        The data, float32.

    Example:
        >>> simulated_data(0).x.shape
        (100, 50)

    Source: caron2023overparameterised, Section 6.1.
    """
    key_x, key_noise = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
    x = datasets.sphere(key_x, 2 * n, d, dtype=jnp.float32)
    y = jnp.mean(5 * jnp.sin(jnp.pi * x), axis=1) + 0.1 * jax.random.normal(key_noise, (2 * n,), jnp.float32)
    return ScalingData(x[:n], y[:n], x[n:], y[n:], x[:0], y[:0], x[:n])


def scaling_data(name: str, seed: int = 0, *, n: int | None = None, side: int = 28) -> ScalingData:
    """The data of an experiment.

    Args:
        name: Either "simulated", a data set of `datasets.uci`, or "mnist": pixels in [0, 1] and one-hot targets.
        seed: Of simulated data; the regression sets have the published split for every seed.
        n: Keep only the first so many points of every part.
        side: Of MNIST's images, averaged over blocks down to side × side pixels.

    Returns:
        The data, float32. MNIST has no third part.

    Raises:
        TypeError: If `n` is not an integer.
        ValueError: If there are no data of that name, or `n` is below 1.
        FileNotFoundError: If the data set is not on disk.

    Example:
        >>> scaling_data("airfoil").x.shape
        (601, 5)

    Source: caron2023overparameterised, Section 6.1, Section 6.2, Section 6.3.
    """
    n = None if n is None else validation.positive_integer(n, "n")
    if name == "simulated":
        return ScalingData(*(part[:n] for part in simulated_data(seed)))
    if name == "mnist":
        digits = [datasets.mnist(n, split=part, unit_norm=False, side=side) for part in ("train", "test")]
        x, x_test = (jnp.asarray(part.images) for part in digits)
        y, y_test = (jax.nn.one_hot(part.labels, 10, dtype=jnp.float32) for part in digits)
        return ScalingData(x, y, x_test, y_test, x[:0], y[:0], x[:KERNEL_POINTS])
    parts = datasets.split(datasets.uci(name))
    names = ("x_train", "y_train", "x_test", "y_test", "x_validation", "y_validation")
    kept = [jnp.asarray(getattr(parts, part)[:n], jnp.float32) for part in names]
    return ScalingData(*kept, x_kernel=kept[0][:KERNEL_POINTS])
