"""The spectrum of dot-product kernels on the sphere: multiplicities, eigenvalues in closed form and by quadrature."""

from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, gammasgn, roots_legendre

__all__ = ["mercer_eigenvalues", "mercer_quadrature", "multiplicity", "power_coefficients", "zonal_polynomials"]


def multiplicity(degrees: np.ndarray, p: int) -> np.ndarray:
    """Dimension N(p, k) of the spherical harmonics of degree k on Sᵖ⁻¹.

    N(p, k) = (2k + p − 2)/k · C(k + p − 3, p − 2), N(p, 0) = 1.

    Args:
        degrees: Integers k ≥ 0, any shape.
        p: Dimension of the ambient space, at least 2.

    Returns:
        N(p, k), shape of ``degrees``, float64.

    Raises:
        ValueError: If p is below 2.

    Example:
        >>> multiplicity(np.arange(4), 3).round().tolist()
        [1.0, 3.0, 5.0, 7.0]

    Source: lecture, Proposition 5.
    """
    if p < 2:
        raise ValueError(f"expected a dimension p of at least 2, got {p}")
    k = np.asarray(degrees, dtype=np.float64)
    if p == 2:
        return np.where(k == 0, 1.0, 2.0)
    return (2 * k + p - 2) * np.exp(gammaln(k + p - 2) - gammaln(k + 1) - gammaln(p - 1))


def power_coefficients(alpha: float, degrees: np.ndarray, p: int) -> np.ndarray:
    """Funk–Hecke eigenvalues of the one-sided power t ↦ (t)₊^α on Sᵖ⁻¹.

    λ_k(α) = Γ(p/2) Γ(α + 1) / (2^(α+1) Γ((α − k)/2 + 1) Γ((α + k + p)/2)), so that
    (⟨x, y⟩)₊^α = Σ_k λ_k Σ_j Y_{kj}(x) Y_{kj}(y). The poles of Γ make every other degree vanish for integer α.

    Args:
        alpha: Exponent, at least 0 (0: the step function; 1: the ReLU).
        degrees: Integers k ≥ 0, any shape.
        p: Dimension of the ambient space, at least 2.

    Returns:
        λ_k(α), signed, shape of ``degrees``, float64.

    Raises:
        ValueError: If α is negative or p below 2.

    Example:
        >>> power_coefficients(0.0, np.arange(4), 3).round(4).tolist()
        [0.5, 0.25, 0.0, -0.0625]

    Source: book, chapter 3 (Rodrigues' formula); bach2017breaking, Appendix D (integer α).
    """
    if alpha < 0 or p < 2:
        raise ValueError(f"expected alpha >= 0 and p >= 2, got alpha={alpha}, p={p}")
    k = np.asarray(degrees, dtype=np.float64)
    low = (alpha - k) / 2 + 1
    pole = (low <= 0) & (np.abs(low - np.round(low)) < 1e-9)
    # 1/Γ(low) overflows from low ≈ −170 on: work with logarithms, sign apart
    safe = np.where(pole, 1.0, low)
    log = gammaln(p / 2) + gammaln(alpha + 1) - (alpha + 1) * np.log(2) - gammaln(safe) - gammaln((alpha + k + p) / 2)
    return np.where(pole, 0.0, gammasgn(safe) * np.exp(log))


def mercer_eigenvalues(degrees: np.ndarray, p: int, *, layers: str = "both") -> np.ndarray:
    """Eigenvalues μ_k of the two-layer ReLU kernels on Sᵖ⁻¹ (uniform probability measure), in closed form.

    μ_k(κ0) = 2 λ_k(0)², μ_k(κ1) = 2p λ_k(1)² with λ_k of :func:`power_coefficients`, and, because multiplication by u
    shifts the degree by one, μ_k(uκ0) = (k μ_{k−1}(κ0) + (k + p − 2) μ_{k+1}(κ0)) / (2k + p − 2).

    Args:
        degrees: Integers k ≥ 0, any shape.
        p: Dimension of the ambient space, at least 3.
        layers: "both" for u κ0 + κ1, "first" for u κ0, "last" for κ1.

    Returns:
        μ_k, shape of ``degrees``, float64.

    Raises:
        ValueError: If ``layers`` is another word or p below 3.

    Example:
        >>> mercer_eigenvalues(np.arange(4), 3).round(4).tolist()
        [0.5, 0.3333, 0.0781, 0.0]

    Source: lecture, Proposition 5; bietti2019inductive, Proposition 5; book, chapter 3 (the closed form).
    """
    if layers not in ("both", "first", "last"):
        raise ValueError(f'expected layers "both", "first" or "last", got {layers!r}')
    if p < 3:
        raise ValueError(f"expected a dimension p of at least 3, got {p}")
    k = np.asarray(degrees, dtype=np.float64)
    below = 2 * power_coefficients(0.0, np.maximum(k - 1, 0), p) ** 2
    above = 2 * power_coefficients(0.0, k + 1, p) ** 2
    first = (k * below + (k + p - 2) * above) / (2 * k + p - 2)
    last = 2 * p * power_coefficients(1.0, k, p) ** 2
    return {"both": first + last, "first": first, "last": last}[layers]


def zonal_polynomials(t: np.ndarray, max_degree: int, p: int) -> np.ndarray:
    """Legendre polynomials P_0 … P_K of dimension p (multiples of Gegenbauer's, P_k(1) = 1) by their recurrence.

    (k + p − 2) P_{k+1}(t) = (2k + p − 2) t P_k(t) − k P_{k−1}(t).

    Args:
        t: Points in [−1, 1], shape (s,).
        max_degree: Largest degree K.
        p: Dimension of the ambient space, at least 3.

    Returns:
        Values, shape (K + 1, s), float64.

    Example:
        >>> zonal_polynomials(np.asarray([0.5]), 2, 3)[:, 0].tolist()
        [1.0, 0.5, -0.125]

    Source: lecture, Eq. 10 (the addition theorem behind it).
    """
    t = np.asarray(t, dtype=np.float64)
    values = np.empty((max_degree + 1, t.size))
    values[0] = 1.0
    if max_degree:
        values[1] = t
    for k in range(1, max_degree):
        values[k + 1] = ((2 * k + p - 2) * t * values[k] - k * values[k - 1]) / (k + p - 2)
    return values


def mercer_quadrature(
    kernel: Callable[[np.ndarray], np.ndarray], max_degree: int, p: int, *, nodes: int = 2000
) -> np.ndarray:
    """Eigenvalues μ_k of any dot-product kernel on Sᵖ⁻¹ by a numerical Gegenbauer expansion.

    μ_k = c_p ∫_0^π kernel(cos θ) P_k(cos θ) sinᵖ⁻²θ dθ, c_p = Γ(p/2)/(√π Γ((p−1)/2)), Gauss–Legendre in θ: the
    arc-cosine kernels have square-root singularities in u = cos θ but are analytic in θ.

    Args:
        kernel: Function of an array of cosines.
        max_degree: Largest degree K.
        p: Dimension of the ambient space, at least 3.
        nodes: Number of quadrature nodes, well above K.

    Returns:
        μ_0 … μ_K, shape (K + 1,), float64, absolute error near rounding.

    Example:
        >>> np.abs(mercer_quadrature(lambda u: u, 2, 3)).round(4).tolist()
        [0.0, 0.3333, 0.0]

    Source: lecture, Proposition 5 (the Funk–Hecke formula behind it).
    """
    x, weights = roots_legendre(nodes)
    theta, weights = (x + 1) * np.pi / 2, weights * np.pi / 2
    measure = np.exp(gammaln(p / 2) - gammaln((p - 1) / 2)) / np.sqrt(np.pi) * weights * np.sin(theta) ** (p - 2)
    t = np.cos(theta)
    return zonal_polynomials(t, max_degree, p) @ (measure * np.asarray(kernel(t), dtype=np.float64))
