"""What noise does to the degrees of a kernel: Hermite weights of an activation and the factors that noise puts on them.

With a_k(q) = E[φ(√q u) h_k(u)], u ~ N(0, 1) and h_k the orthonormal Hermite polynomials, the dual activation of two
pre-activations of variance q and correlation ρ is Σ_k a_k(q)² ρ^k. On unit inputs with cosine t the stochastic network
has q = 1 + σ0² and ρ = t/(1 + σ0²), the noiseless network of the same pre-activation variance has q = 1 + σ0² and
ρ = t, and the network without noise has q = 1 and ρ = t. Everything here is computed on the host in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float

from snn_ntk._gaussian import half_line_rule

__all__ = ["degree_weights", "noise_factors", "sampled_degree_weights"]


def _hermite(points: np.ndarray, degrees: int) -> np.ndarray:
    """Orthonormal Hermite polynomials h_0, …, h_degrees at `points`, (degrees + 1, …)."""
    values = [np.ones_like(points), points]
    for k in range(1, degrees):
        values.append((points * values[k] - math.sqrt(k) * values[k - 1]) / math.sqrt(k + 1))
    return np.stack(values[: degrees + 1])


def _degrees(degrees: int) -> int:
    if degrees < 0:
        raise ValueError(f"expected degrees ≥ 0, got {degrees}")
    return degrees


_RULES = ((200, 12.0), (240, 14.0))
"""Points on each half line and its end: what the second changes, the first has not resolved."""


def _coefficients(
    phi: Callable[[np.ndarray], np.ndarray], variance: float, degrees: int, rule: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """E φ h_k and E |φ h_k| for k = 0, …, degrees by a rule; the second is the scale of its errors."""
    nodes, weights = rule
    values = np.asarray(phi(math.sqrt(variance) * nodes), dtype=np.float64)
    terms = _hermite(nodes, degrees) * (weights * values)
    return terms.sum(axis=1), np.abs(terms).sum(axis=1)


def degree_weights(
    phi: Callable[[np.ndarray], np.ndarray], *, variance: float = 1.0, degrees: int = 8
) -> Float[np.ndarray, " k"]:
    """Hermite weights of an activation, a_k(q)² for k = 0, …, `degrees`.

    a_k(q) = E[φ(√q u) h_k(u)], so that E[φ(a) φ(b)] = Σ_k a_k(q)² ρ^k for two normals of variance q and correlation ρ.

    Args:
        phi: φ, acting entry by entry on NumPy arrays, smooth except possibly at 0, growing slower than exp(u²/2).
        variance: Variance q > 0.
        degrees: The largest degree.

    Returns:
        Weights, shape (degrees + 1,), float64.

    Raises:
        ValueError: If `variance` is not positive and finite, `degrees` is negative, or two rules of quadrature differ by
            more than 1e-7 E|φ h_k|: φ then grows or changes too fast for them.

    Example:
        >>> degree_weights(lambda z: z**2, degrees=3).round(12).tolist()  # z² = 1 + √2 h_2
        [1.0, 0.0, 2.0, 0.0]

    Source: book, chapter 12 (the Hermite expansion); daniely2016toward (Mehler's formula).
    """
    if not 0 < variance < math.inf:
        raise ValueError(f"expected a finite variance > 0, got {variance}")
    degrees = _degrees(degrees)
    (found, size), (other, _) = (_coefficients(phi, variance, degrees, half_line_rule(*rule)) for rule in _RULES)
    error = np.abs(found - other)
    if not (error <= 1e-7 * size).all():
        raise ValueError(
            f"expected phi that quadrature resolves at variance {variance:.4g} up to degree {degrees}, got rules that "
            f"differ by {error.max():.2g}: it grows or changes too fast"
        )
    return found**2


def noise_factors(
    phi: Callable[[np.ndarray], np.ndarray],
    *,
    sigma0: float,
    degrees: int = 8,
    against: Literal["same variance", "no noise"] = "same variance",
) -> Float[np.ndarray, " k"]:
    """Factor by which noise multiplies each degree of the kernel on unit inputs.

    Against the noiseless network of the same pre-activation variance q = 1 + σ0² it is q⁻ᵏ, whatever φ; against the
    network without noise it is q⁻ᵏ a_k(q)²/a_k(1)², which depends on φ.

    Args:
        phi: φ, as in `degree_weights`.
        sigma0: Noise level σ0 ≥ 0.
        degrees: The largest degree.
        against: The network to compare with.

    Returns:
        Factors, shape (degrees + 1,), float64; nan where the activation has no such degree.

    Raises:
        ValueError: If σ0 or `degrees` is negative, the comparison is unknown, or as `degree_weights`.

    Example:
        >>> noise_factors(lambda z: np.maximum(z, 0), sigma0=1.0, degrees=2, against="no noise").round(9).tolist()
        [2.0, 1.0, 0.5]

    Source: book, chapter 12 (a low-pass filter at equal variance, and what it is against no noise).
    """
    if sigma0 < 0:
        raise ValueError(f"expected sigma0 ≥ 0, got {sigma0}")
    if against not in ("same variance", "no noise"):
        raise ValueError(f"expected against to be 'same variance' or 'no noise', got {against!r}")
    q = 1 + sigma0**2
    noisy = degree_weights(phi, variance=q, degrees=degrees)
    base = noisy if against == "same variance" else degree_weights(phi, degrees=degrees)
    present = base > 1e-20 * base.max()
    factors = np.full(degrees + 1, np.nan)
    factors[present] = (noisy[present] / base[present]) * q ** -np.arange(degrees + 1.0)[present]
    return factors


def sampled_degree_weights(
    rng: np.random.Generator,
    phi: Callable[[np.ndarray], np.ndarray],
    *,
    width: int,
    sigma0: float = 0.0,
    mean_std: float = 1.0,
    degrees: int = 8,
) -> Float[np.ndarray, " k"]:
    """Degree weights of a finite layer, measured: ((1/m) Σ_r φ(z_r) h_k(w_r · x/s))² with z_r sampled with its noise.

    On a unit input the mean pre-activation w_r · x is N(0, s²) and the noise adds N(0, σ0²), independently for each
    of the m neurons.

    Args:
        rng: Generator of the layer.
        phi: φ, acting entry by entry on NumPy arrays.
        width: Number m of neurons.
        sigma0: Noise level σ0 of the sampled layer; 0 for a noiseless one.
        mean_std: Standard deviation s of the mean weights.
        degrees: The largest degree.

    Returns:
        Estimates, shape (degrees + 1,), float64; each has standard error O(1/√m).

    Raises:
        ValueError: If `degrees` is negative.

    Example:
        >>> w = sampled_degree_weights(np.random.default_rng(0), np.sin, width=100_000, degrees=1)
        >>> bool(abs(w[1] - np.exp(-1)) < 0.02)
        True

    Source: book, chapter 12.
    """
    mean = rng.standard_normal(width)
    sampled = mean_std * mean + (sigma0 * rng.standard_normal(width) if sigma0 else 0.0)
    values = np.asarray(phi(sampled), dtype=np.float64)
    return (_hermite(mean, _degrees(degrees)) @ values / width) ** 2
