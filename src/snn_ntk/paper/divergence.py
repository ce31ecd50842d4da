"""How far the latent law and the weights are from their start: the penalties of Eq. 4 and Eq. 12."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.paper.network import Parameters, preactivation_law

__all__ = ["frobenius_penalty", "gaussian_kl", "kl"]


def gaussian_kl(
    mean: Num[Array, "*shape"],
    variance: Num[Array, "*shape"],
    mean0: Num[Array, "*shape"],
    variance0: Num[Array, "*shape"],
) -> Float[Array, "*shape"]:
    """Divergence of two normals on the line, KL(N(a, v) ‖ N(a₀, v₀)) = ½[v/v₀ + (a − a₀)²/v₀ − 1 − log(v/v₀)].

    Args:
        mean: Means a, any shape.
        variance: Variances v > 0, of the same shape.
        mean0: Means a₀, of the same shape.
        variance0: Variances v₀ > 0, of the same shape.

    Returns:
        Entry-wise divergences in nats, of the common shape.

    Example:
        >>> import jax.numpy as jnp
        >>> float(gaussian_kl(jnp.array(1.0), jnp.array(4.0), jnp.array(0.0), jnp.array(4.0)))
        0.125

    Source: wang2024vae, Eq. 4 (which asks for the textbook formula); book, chapter 8.
    """
    mean, variance, mean0, variance0 = map(validation.floats, (mean, variance, mean0, variance0))
    return _divergence(mean - mean0, variance - variance0, variance0)


def _divergence(shift, growth, variance0):
    """½[Δ²/v₀ + r − log(1 + r)], Δ = a − a₀ and r = v/v₀ − 1: what has not moved adds no rounding."""
    r = growth / variance0
    # r − log(1 + r) cancels at small r. With s = r/(2 + r), log(1 + r) = 2 artanh s and r − 2 s = r s.
    small = jnp.abs(r) < 0.25
    near, far = jnp.where(small, r, 0), jnp.where(small, 1, r)
    s = near / (2 + near)
    rest = sum(s ** (2 * k) / (2 * k + 1) for k in range(1, 10))
    return 0.5 * (shift**2 / variance0 + jnp.where(small, s * (near - 2 * rest), far - jnp.log1p(far)))


@full_precision
def kl(params: Parameters, initial: Parameters, x: Num[Array, "n d_in"]) -> Float[Array, " n"]:
    """Divergence of the latent law from the one at initialisation, KL(P(z_i(t)) ‖ P(z_i(0))).

    Exact for means and variances that both moved. With W_σ unmoved at the constant σ0 it is ‖ΔW_μ x‖²/(2σ0²‖x‖²).

    Args:
        params: The network at time t.
        initial: The network at time 0.
        x: Inputs, shape (n, d_in); none of them zero, and no variance zero.

    Returns:
        One divergence in nats an input, shape (n,), summed over the m neurons.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> net = init_parameters(jax.random.key(0), 4, 2, sigma0=0.5)
        >>> moved = net._replace(mu=net.mu + 1.0)
        >>> x = jnp.array([[0.6, 0.8]])
        >>> [round(float(v), 4) for v in kl(moved, net, x)]  # 4 neurons · 1.4² / (2 · 0.5²)
        [15.68]

    Source: wang2024vae, Eq. 4; book, chapter 8.
    """
    x = validation.floats(x)
    # Of the moves of the weights: a difference of two laws would have their rounding.
    shift = x @ (params.mu - initial.mu).T
    growth = (x * x) @ ((params.sigma - initial.sigma) * (params.sigma + initial.sigma)).T
    return jnp.sum(_divergence(shift, growth, preactivation_law(initial, x)[1]), axis=-1)


def frobenius_penalty(params: Parameters, initial: Parameters) -> Float[Array, ""]:
    """Half the squared distance of the mean weights from their start, ½‖W_μ(t) − W_μ(0)‖_F².

    Args:
        params: The network at time t.
        initial: The network at time 0.

    Returns:
        The penalty of Eq. 12 without its weight β, a scalar.

    Example:
        >>> import jax
        >>> from snn_ntk.paper import init_parameters
        >>> net = init_parameters(jax.random.key(0), 4, 2, sigma0=0.5)
        >>> float(frobenius_penalty(net._replace(mu=net.mu + 1.0), net))
        4.0

    Source: wang2024vae, Eq. 12; book, chapter 8.
    """
    return jnp.sum((params.mu - initial.mu) ** 2) / 2
