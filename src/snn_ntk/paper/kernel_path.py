"""The tangent kernel on the way: how far it is from where it started, and what is left of its smallest eigenvalue."""

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.resolution import resolve
from snn_ntk.paper.empirical_kernels import empirical_tangent_kernels
from snn_ntk.paper.network import Parameters

__all__ = ["KernelPath", "kernel_path"]


class KernelPath(NamedTuple):
    """The tangent kernel of one network along its training.

    Attributes:
        spectral: ‖Θ(t) − Θ*‖₂, the norm of Lemma 3, shape (times,).
        frobenius: ‖Θ(t) − Θ*‖_F, by which the paper's proof bounds it, shape (times,).
        smallest: λ_min(Θ(t)), shape (times,).

    Source: wang2024vae, Lemma 3, Lemma 5; book, chapter 7.
    """

    spectral: Float[np.ndarray, " times"]
    frobenius: Float[np.ndarray, " times"]
    smallest: Float[np.ndarray, " times"]


@full_precision
@partial(jax.jit, static_argnames="activation")
def _kernels(trajectory: Parameters, x: Array, activation: Any) -> Array:
    """Θ(t) at every time, shape (times, nd, nd)."""

    def one(params: Parameters) -> Array:
        total = empirical_tangent_kernels(params, x, activation=activation, outputs="all").total
        return total.reshape(x.shape[0] * params.d.shape[1], -1)

    return jax.lax.map(one, trajectory)


def kernel_path(
    trajectory: Parameters,
    x: Num[Array, "n d_in"],
    *,
    activation: Any,
    reference: Num[Array | np.ndarray, "nd nd"] | None = None,
) -> KernelPath:
    """The tangent kernel Θ(t) of f̂ at every recorded time of a training, beside a fixed kernel Θ*.

    ‖Θ(t) − Θ*‖₂,    ‖Θ(t) − Θ*‖_F,    λ_min(Θ(t))

    Θ is Definition 1's nd × nd matrix, every pair of outputs in it, in expectation over the noise.

    Args:
        trajectory: Parameters with a leading axis of times: `snn_ntk.training.gradient_flow` with
            `record=lambda params: params`. In float64, or λ_min is known to 1e-7 of the largest eigenvalue only.
        x: Inputs, shape (n, d_in).
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        reference: Θ*, shape (n d_out, n d_out), in the order of Definition 1, such as
            `np.kron(tangent_kernels(x, …).total, np.eye(d_out))`; None is the kernel at the first time.

    Returns:
        `KernelPath`, float64.

    Raises:
        ValueError: If `reference` is of another shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> net = init_parameters(jax.random.key(0), 64, 3, sigma0=0.5)
        >>> still = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), net)
        >>> path = kernel_path(still, jnp.eye(3), activation=jnp.tanh)
        >>> path.spectral.tolist(), path.smallest.shape
        ([0.0, 0.0], (2,))

    Source: wang2024vae, Definition 1, Lemma 3, Lemma 5, Eq. 8, Eq. 9, Eq. 16; book, chapter 7.
    """
    theta = np.asarray(_kernels(trajectory, x, resolve(activation)), np.float64)
    reference = theta[0] if reference is None else validation.of_shape(reference, theta.shape[1:], "reference")
    change = theta - np.asarray(reference, np.float64)
    return KernelPath(
        spectral=np.abs(np.linalg.eigvalsh(change)[:, [0, -1]]).max(axis=1),
        frobenius=np.linalg.norm(change, axis=(1, 2)),
        smallest=np.linalg.eigvalsh(theta)[:, 0],
    )
