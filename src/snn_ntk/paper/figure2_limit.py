"""The tangent kernels of Figure 2's four layers at infinite width."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.refusal import is_unresolved, refuse
from snn_ntk.activations.resolution import resolve

__all__ = ["Figure2Kernels", "figure2_limit_kernels"]


class Figure2Kernels(NamedTuple):
    """The factors of the tangent kernels of the four layers.

    Attributes:
        encoder: Θ^(enc), of W_enc, shape (n, n).
        mu: Θ^(μ), of the latent means W_μ, shape (n, n).
        hidden: Θ^(hid), of W_hid, shape (n, n).
        decoder: Θ^(dec), of W_dec, shape (n, n).

    Source: book, chapter 9.
    """

    encoder: Float[Array, "n n"]
    mu: Float[Array, "n n"]
    hidden: Float[Array, "n n"]
    decoder: Float[Array, "n n"]

    @property
    def total(self) -> Float[Array, "n n"]:
        """The tangent kernel of the whole network."""
        return self.encoder + self.mu + self.hidden + self.decoder


@full_precision
def figure2_limit_kernels(
    x: Num[Array, "n d"], *, activation: Any, sigma0: float = 0.0, samples: int | None = None
) -> Figure2Kernels:
    """The tangent kernels of the four layers of Figure 2's network as m → ∞.

    With c1 = ⟨x, x'⟩, c2 = κ(c1), c3 = κ(c2), c4 = κ(c3), variances q1 = ‖x‖², q2 = (1 + σ0²) κ(q1), q3 = κ(q2),

        Θ^(dec) = c4,  Θ^(hid) = c3 κ'(c3),  Θ^(μ) = c2 κ'(c2) κ'(c3),  Θ^(enc) = c1 κ'(c1) κ'(c2) κ'(c3).

    Two gradients of f̂ carry independent noise, so c2 of an input with itself is not inflated. In an average over S
    frozen samples one pair in S shares its noise, and the diagonals are mixed with those of the shared-noise kernels.

    Args:
        x: Inputs, shape (n, d).
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        sigma0: Noise level σ0 ≥ 0.
        samples: S, if the noise is averaged over that many frozen samples, drawn afresh for every input; None for f̂.

    Returns:
        The four kernels, shape (n, n) each.

    Raises:
        TypeError: If the activation is unknown.
        ValueError: If `samples` is less than 1, or the activation overflows or is not resolved at a variance, which the
            message names. Inside of `jax.jit` that is NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> kernels = figure2_limit_kernels(jnp.eye(2), activation=lambda z: z)
        >>> [float(k[0, 0].round(4)) for k in kernels]
        [1.0, 1.0, 1.0, 1.0]

    Source: book, chapter 9; wang2024vae, Lemma 1 (carried to four layers).
    """
    if samples is not None and samples < 1:
        raise ValueError(f"expected samples >= 1, got {samples}")
    x, activation = validation.floats(x), resolve(activation)

    def layers(c1, q1, q1b, shared):
        # q1b is q1 along the other axis; variances follow the recursion c = q.
        inner, d1 = _pair(activation, c1, q1, q1b)  # inner = ⟨h, h'⟩/m, the factor of ∂z2/∂W_μ
        inflation = 1 + sigma0**2
        q2 = inflation * _pair(activation, q1, q1, q1)[0]
        q2b = q2.reshape(q1b.shape)
        c3, d2 = _pair(activation, inflation * inner if shared else inner, q2, q2b)
        q3 = _pair(activation, q2, q2, q2)[0]
        c4, d3 = _pair(activation, c3, q3, q3.reshape(q1b.shape))
        return Figure2Kernels(c1 * d1 * d2 * d3, inner * d2 * d3, c3 * d3, c4)

    q = jnp.sum(x**2, axis=1, keepdims=True)
    kernels = layers(x @ x.T, q, q.T, shared=False)
    if samples is None:
        return kernels
    shared = layers(q, q, q, shared=True)
    return Figure2Kernels(
        *(k + jnp.diag((s[:, 0] - jnp.diagonal(k)) / samples) for k, s in zip(kernels, shared, strict=True))
    )


def _pair(activation, c, q1, q2):
    value, slope = _derivatives(activation, c, q1, q2)
    if is_unresolved(value, slope):
        refuse(activation, q1, q2)
    return value, slope


@partial(jax.jit, static_argnums=0)
def _derivatives(activation, c, q1, q2):
    # Compiled by itself: one program for all pairs and one for all variances, instead of one for the recursion.
    return activation.derivatives(c, q1, q2)[:2]
