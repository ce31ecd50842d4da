"""How much noise gives a wanted predictive variance."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Num

from snn_ntk import _validation as validation
from snn_ntk.layers.variance import predictive_variance

__all__ = ["NoiseLevel", "sigma0_for"]


class NoiseLevel(NamedTuple):
    """The noise that gives a wanted predictive variance.

    Attributes:
        sigma0: The smallest σ0 that does.
        others: Larger ones that do too, in order: the variance need not grow with the noise.

    Source: book, chapter 12.
    """

    sigma0: float
    others: tuple[float, ...]


def sigma0_for(
    make: Callable[[Any], Any],
    x: Num[ArrayLike, "n ..."],
    variance: float,
    *,
    between: tuple[float, float] = (1e-3, 1e2),
) -> NoiseLevel:
    """The smallest σ0 for which a network's predictive variance, averaged over inputs, is what is wanted.

    (1/n) Σ_i [cov1(x_i) − nngp(x_i, x_i)] = variance

    The variance is 0 without noise and bounded where the activations are: then a large one is never reached. It need not
    be monotone (behind exp(−z²) it falls again), so that several σ0 may do.

    Args:
        make: `make(sigma0)` is the network, or its `kernel_fn`, with its noise of that size; it may use it in several
            layers and is traced.
        x: Inputs, shape (n, ...).
        variance: The wanted variance of one output over its noise.
        between: The smallest and the largest σ0 that are looked at.

    Returns:
        `NoiseLevel`.

    Raises:
        TypeError: If `variance` is not one number.
        ValueError: If no σ0 between the two does, with the variances that there are; or if the network is not resolved at
            one of them, as its kernel says.

    Example:
        >>> import jax.numpy as jnp
        >>> from snn_ntk import StochasticDense, stax
        >>> def make(sigma0):
        ...     return stax.serial(StochasticDense(64, sigma0=sigma0), stax.Relu(), stax.Dense(1))
        >>> level = sigma0_for(make, jnp.eye(4), 0.01)
        >>> round(level.sigma0, 3), level.others
        (0.296, ())

    Source: book, chapter 12 (predictive variance).
    """
    from scipy.optimize import brentq, minimize_scalar  # beside JAX, which needs it; not loaded with the package

    if not 0 < between[0] < between[1] < math.inf:
        raise ValueError(f"expected between to be two increasing sigma0 > 0, got {between}")
    variance = float(validation.non_negative(variance, "variance"))

    def mean_variance(t: Any) -> Any:
        network = make(jnp.exp(t))
        kernel_fn = network[2] if isinstance(network, tuple) else network
        return predictive_variance(kernel_fn(jnp.asarray(x))).mean()

    compiled = jax.jit(mean_variance)

    def gap(t: float) -> float:
        found = float(compiled(float(t)))
        # Some integrals are not compiled; by itself the network gives the number, or an error that names it.
        return (float(mean_variance(float(t))) if math.isnan(found) else found) - variance

    # Dense enough for the variances of networks, which change on a scale of a factor in σ0; a peak or a valley between
    # the points that reaches the wanted value is looked for.
    points = [(t, gap(t)) for t in np.linspace(math.log(between[0]), math.log(between[1]), 61).tolist()]
    peaks = []
    for (start, before), (_, here), (end, after) in zip(points, points[1:], points[2:], strict=False):
        sign = 1 if here < 0 else -1
        if sign * here > sign * before and sign * here >= sign * after:
            peak: Any = minimize_scalar(lambda t, sign=sign: -sign * gap(t), bounds=(start, end), method="bounded")
            peaks.append((float(peak.x), gap(float(peak.x))))
    points = sorted(points + peaks)
    found = []
    for (start, before), (end, after) in itertools.pairwise(points):
        if before == 0:
            found.append(start)
        elif before * after < 0:
            found.append(brentq(gap, start, end, xtol=1e-9))
    if not found:
        least, most = (variance + extreme(value for _, value in points) for extreme in (min, max))
        raise ValueError(
            f"expected a variance between {least:.4g} and {most:.4g}, which is what sigma0 between {between[0]:g} and "
            f"{between[1]:g} gives this network, got {variance:g}"
        )
    smallest, *others = (math.exp(t) for t in found)
    return NoiseLevel(smallest, tuple(others))
