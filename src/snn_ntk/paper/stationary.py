"""Networks trained on W_μ alone until the gradient of a regularised objective has vanished."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.paper.exact_divergence_kernel import _slope_moment
from snn_ntk.paper.network import Parameters
from snn_ntk.paper.objectives import mse
from snn_ntk.training.descent import gradient_descent

__all__ = ["Stationary", "stationary_point"]


class Stationary(NamedTuple):
    """Networks at stationary points of a regularised objective.

    Attributes:
        params: The trained networks; only W_μ differs from the start.
        gradient: Final gradient norm of each run over its first one, shape (runs,).
        steps: Gradient steps made.
    """

    params: Parameters
    gradient: np.ndarray
    steps: int


class _Problem(NamedTuple):
    """What the runs of one call have in common: networks, data and the quadratic penalty in each run's coordinates."""

    initial: Parameters
    x: Array
    y: Array
    penalty: Array
    basis: Array

    @full_precision
    def network(self, step):
        return self.initial._replace(mu=self.initial.mu + step @ self.basis)


@lru_cache(maxsize=32)
def _loss(activation):
    """The regularised loss as a function of (step, problem); cached, so that it is compiled once per shape."""

    def loss(step, problem):
        moved = step @ problem.basis
        fit = mse(problem.network(step), problem.x, problem.y, activation=activation)
        return fit + jnp.sum(moved @ problem.penalty * moved) / 2

    return loss


def stationary_point(
    initial: Parameters,
    x: Num[Array, "runs n d_in"],
    y: Num[Array, "runs n d_out"],
    *,
    activation: Any,
    sigma0: float,
    beta: float | Float[Array, " runs"],
    penalty: str = "frobenius",
    tolerance: float = 1e-5,
    max_steps: int = 5000,
) -> Stationary:
    """Networks trained on W_μ alone until the gradient of Eq. 12 or Eq. 4 has vanished, many at once.

    Gradient descent with step 1/λ_max, λ_max the largest curvature in the limit times (1 + √(d_out/m))², by which
    ‖W_d‖²/m stretches it. The divergence is descended in the coordinates in which the training inputs are isotropic
    (ΔW_μ = V Ĉ^(−1/2)): stationary points are the same ones, and near-collinear inputs, which make plain descent on
    Eq. 4 very slow, cost nothing.

    Args:
        initial: Networks at time 0, every array with a leading axis of runs.
        x: Training inputs, shape (runs, n, d_in).
        y: Targets, shape (runs, n, d_out).
        activation: φ; pass the same object again and nothing is recompiled.
        sigma0: The constant σ0 of the variance weights.
        beta: Weight β of the penalty, one number or one a run.
        penalty: "frobenius" (Eq. 12) or "kl" (Eq. 4).
        tolerance: Training stops when every run's gradient norm is below this fraction of its first one.
        max_steps: Training stops here in any case; `gradient` says how far it came.

    Returns:
        `Stationary`.

    Raises:
        ValueError: If the penalty is unknown, β ≤ 0, or `y` is not of shape (runs, n, d_out).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> from snn_ntk import stax
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> net = jax.vmap(lambda key: init_parameters(key, 64, 3, sigma0=0.5))(keys)
        >>> x = jnp.broadcast_to(jnp.eye(3), (2, 3, 3))
        >>> end = stationary_point(net, x, x, activation=stax.Erf(), sigma0=0.5, beta=0.5)
        >>> bool((end.gradient < 1e-4).all())
        True

    Source: wang2024vae, Eq. 5 (restricted to W_μ, as Theorem 2 asks), Theorem 2; book, chapter 8.
    """
    if penalty not in ("frobenius", "kl"):
        raise ValueError(f"expected penalty 'frobenius' or 'kl', got {penalty!r}")
    x, (runs, n, d) = validation.floats(x), x.shape
    y = validation.of_shape(y, (runs, n, initial.d.shape[-1]), "y")
    stretch = (1 + (y.shape[2] / initial.mu.shape[1]) ** 0.5) ** 2
    beta = jnp.broadcast_to(jnp.asarray(beta, x.dtype), (runs,))
    if not bool((beta > 0).all()):
        raise ValueError(f"expected beta > 0, got {beta}")
    points = np.asarray(x, np.float64)
    moment = [_slope_moment(p, p, activation, sigma0) for p in x]
    bases, forms, curvature = [], [], []
    for p, slope, b in zip(points, moment, np.asarray(beta, np.float64), strict=True):
        if penalty == "frobenius":
            # (β/2) ‖ΔW‖_F²
            bases.append(np.eye(d))
            forms.append(b * np.eye(d))
            curvature.append(stretch * np.linalg.norm(p @ p.T * slope, 2) / n + b)
            continue
        # β KL averaged over the data = (β/2) tr(ΔW Ĉ ΔWᵀ)/σ0², Ĉ the second moment of the normalised inputs.
        units = p / np.linalg.norm(p, axis=1, keepdims=True)
        values, vectors = np.linalg.eigh(units.T @ units / n)
        kept = values > max(n, d) * np.finfo(np.float32).eps * values[-1]
        vectors, values = vectors[:, kept], values[kept]
        bases.append(vectors / np.sqrt(values) @ vectors.T)
        forms.append(b / sigma0**2 * (vectors * values) @ vectors.T)
        product = p @ (vectors / values) @ vectors.T @ p.T
        curvature.append(stretch * np.linalg.norm(product * slope, 2) / n + b / sigma0**2)
    # Runs with different β have different curvature: each gets its own step by rescaling its coordinates.
    scaled = np.stack(bases) / np.sqrt(np.array(curvature))[:, None, None]
    problem = _Problem(initial, x, y, jnp.asarray(np.stack(forms), x.dtype), jnp.asarray(scaled, x.dtype))

    def descend(step, count):
        return gradient_descent(
            _loss(activation),
            step,
            learning_rate=1.0,
            steps=count,
            record_at=np.empty(0, int),
            args=problem,
            batched=True,
            progress=False,
        ).params

    def length(step):
        return np.linalg.norm(np.asarray(step).reshape(runs, -1), axis=1)

    # With a step size of one, the step from here to the next point is the gradient.
    step = descend(jnp.zeros_like(initial.mu), 1)
    first, ratio, steps = length(step), np.ones(runs), 1
    while steps < max_steps and not (ratio < tolerance).all():
        count = min(10, max_steps - steps)
        before = descend(step, count - 1)
        step = descend(before, 1)
        steps += count
        ratio = length(step - before) / first
    return Stationary(jax.vmap(_Problem.network)(problem, step), ratio, steps)
