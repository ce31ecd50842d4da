"""The tangent kernel of f̂ and the variance over the noise, of networks of finite width, by their own `apply_fn`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from snn_ntk.kernels import expected_tangent_kernel, noise_moments


class Sampled(NamedTuple):
    """One value a network: kernels (networks, n, n), variances (networks, n)."""

    ntk: np.ndarray
    variance: np.ndarray


def sampled(network: Any, x: Array, *, networks: int, samples: int, frozen: bool = False) -> Sampled:
    """With `frozen` noise one draw for all inputs is a network of its own, whose variance over the noise is not asked for."""
    init_fn, apply_fn, _ = network

    def one(key: Array) -> tuple[Array, Array]:
        start, kernel, variance = jax.random.split(key, 3)
        _, params = init_fn(start, x.shape)
        if frozen:
            jacobian = jax.jacrev(lambda p: apply_fn(p, x, rng=kernel)[:, 0])(params)
            flat = jnp.concatenate([leaf.reshape(len(x), -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
            return flat @ flat.T, jnp.zeros(len(x))
        ntk = expected_tangent_kernel(apply_fn, params, x, None, kernel, samples=samples)
        moments = noise_moments(apply_fn, params, x, variance, samples=2 * samples)
        return sum(jax.tree.leaves(ntk)), moments.variance[:, 0]

    keys = jax.random.split(jax.random.key(11), networks)
    return Sampled(*(np.asarray(v, np.float64) for v in jax.jit(lambda keys: jax.lax.map(one, keys))(keys)))


def worst(values: np.ndarray, want: Array, room: float) -> float:
    """The largest distance of a mean from `want` in standard errors, `room` times the largest of `want` taken off."""
    error = values.std(0, ddof=1) / len(values) ** 0.5
    distance = np.abs(values.mean(0) - np.asarray(want)) - room * float(np.abs(np.asarray(want)).max())
    return float((distance / error).max())
