"""The tangent kernel of two-layer ReLU networks: closed form, smoothness of the features, spectrum on the sphere."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import gammaln, gammasgn, rgamma, roots_legendre

__all__ = [
    "FeatureDistances",
    "activation_moments",
    "feature_distances",
    "first_layer_gram",
    "kappa",
    "kappa0",
    "kappa1",
    "lipschitz_constant",
    "mercer_eigenvalues",
    "mercer_quadrature",
    "multiplicity",
    "phi0_bound",
    "phi_bound",
    "power_coefficients",
    "relu_ntk",
    "sharp_lipschitz_constant",
    "zonal_polynomials",
]


def kappa0(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Arc-cosine kernel of degree 0, the probability that a random half-space holds neither or both points.

    κ₀(u) = (π − arccos u)/π = 2 E[1{w·x ≥ 0} 1{w·x′ ≥ 0}],  u = cos∠(x, x′).

    Args:
        u: cosines, any shape; values beyond [−1, 1] by rounding are clipped.

    Returns:
        κ₀(u), shape of ``u``.

    Example:
        >>> import jax.numpy as jnp
        >>> float(kappa0(jnp.asarray(0.0)))
        0.5

    Source: the lecture's slide "2-layer ReLU networks"; Cho and Saul (2009).
    """
    return 1 - jnp.arccos(jnp.clip(u, -1, 1)) / jnp.pi


def kappa1(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Arc-cosine kernel of degree 1, the kernel of the trained output layer.

    κ₁(u) = (u (π − arccos u) + √(1 − u²))/π = 2 E[(w·x)₊ (w·x′)₊] for unit x, x′.

    Args:
        u: cosines, any shape; values beyond [−1, 1] by rounding are clipped.

    Returns:
        κ₁(u), shape of ``u``.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(kappa1(jnp.asarray(0.0))), 4)
        0.3183

    Source: the lecture's slide "2-layer ReLU networks"; Cho and Saul (2009).
    """
    u = jnp.clip(u, -1, 1)
    return u * kappa0(u) + jnp.sqrt(1 - u**2) / jnp.pi


def kappa(u: Float[Array, "..."]) -> Float[Array, "..."]:
    """Both layers' kernel on the sphere, κ(u) = u κ₀(u) + κ₁(u).

    Args:
        u: cosines, any shape.

    Returns:
        κ(u), shape of ``u``.

    Example:
        >>> import jax.numpy as jnp
        >>> float(kappa(jnp.asarray(1.0)))
        2.0

    Source: the lecture's slide "2-layer ReLU networks"; Bietti and Mairal (2019), Section 2.2.
    """
    return u * kappa0(u) + kappa1(u)


def _cosines(x1: Array, x2: Array) -> tuple[Array, Array]:
    """Products of norms and cosines of all pairs of rows."""
    if x1.shape[-1] != x2.shape[-1]:
        raise ValueError(f"expected inputs of equal dimension, got {x1.shape} and {x2.shape}")
    norms = jnp.linalg.norm(x1, axis=-1)[:, None] * jnp.linalg.norm(x2, axis=-1)[None, :]
    return norms, x1 @ x2.T / jnp.where(norms == 0, 1, norms)


def relu_ntk(x1: Float[Array, "n1 d"], x2: Float[Array, "n2 d"] | None = None) -> Float[Array, "n1 n2"]:
    """Tangent kernel of f(x) = √(2/m) Σⱼ vⱼ (wⱼ·x)₊ with both layers trained, in the limit of infinite width.

    K(x, x′) = ‖x‖ ‖x′‖ κ(⟨x, x′⟩ / ‖x‖‖x′‖).

    Args:
        x1: inputs, one a row.
        x2: further inputs; ``x1`` again if left out.

    Returns:
        The matrix of K.

    Raises:
        ValueError: if the dimensions differ.

    Example:
        >>> import jax.numpy as jnp
        >>> relu_ntk(jnp.eye(2))[0].round(2).tolist() == [2.0, jnp.float32(0.32)]
        True

    Source: the lecture's slide "2-layer ReLU networks".
    """
    norms, u = _cosines(x1, x1 if x2 is None else x2)
    return norms * kappa(u)


def first_layer_gram(x1: Float[Array, "n1 d"], x2: Float[Array, "n2 d"] | None = None) -> Float[Array, "n1 n2"]:
    """Gram matrix H∞ of f(x) = m^{-1/2} Σ a_r (w_r·x)₊, a_r = ±1, with the first layer alone trained.

    H∞(x, x′) = E[⟨x, x′⟩ 1{w·x ≥ 0, w·x′ ≥ 0}] = ⟨x, x′⟩ (π − arccos cos∠(x, x′)) / 2π.

    Args:
        x1: inputs, one a row.
        x2: further inputs; ``x1`` again if left out.

    Returns:
        The matrix of H∞; its diagonal is ‖x‖²/2, so no unit-norm data set has a smallest eigenvalue above 1/2.

    Raises:
        ValueError: if the dimensions differ.

    Example:
        >>> import jax.numpy as jnp
        >>> first_layer_gram(jnp.eye(2)).tolist()
        [[0.5, 0.0], [0.0, 0.5]]

    Source: the lecture's slides on natural gradient and generalisation; Arora et al. (2019), Eq. 6.
    """
    norms, u = _cosines(x1, x1 if x2 is None else x2)
    return norms * u * kappa0(u) / 2


class FeatureDistances(NamedTuple):
    """Distances of two inputs after each feature map; every field has the shape of the batch of pairs."""

    inputs: Array
    phi0: Array
    phi1: Array
    phi: Array


def feature_distances(x: Float[Array, "*b d"], y: Float[Array, "*b d"]) -> FeatureDistances:
    """Distances ‖x − y‖, ‖φ₀(x) − φ₀(y)‖, ‖φ₁(x) − φ₁(y)‖ and ‖Φ(x) − Φ(y)‖, Φ = (φ₀ ⊗ x, φ₁), exactly.

    With θ the angle: ‖φ₀(x) − φ₀(y)‖² = 2θ/π and ‖Φ(x) − Φ(y)‖² = ‖x − y‖² + 2⟨x, y⟩θ/π + ‖φ₁(x) − φ₁(y)‖².
    Written through the angle, not through 1 − κ(u), so that nothing cancels for close points.

    Args:
        x: first inputs, non-zero.
        y: second inputs, non-zero.

    Returns:
        The four distances.

    Example:
        >>> import jax.numpy as jnp
        >>> d = feature_distances(jnp.asarray([1.0, 0.0]), jnp.asarray([0.0, 1.0]))
        >>> round(float(d.phi0), 4)
        1.0

    Source: the lecture's slides "Feature Maps" and "Smoothness"; Bietti and Mairal (2019), Section 3.1.
    """
    nx, ny = jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1)
    ex, ey = x / nx[..., None], y / ny[..., None]
    # Kahan's formula: accurate for angles near 0 and near π alike
    theta = 2 * jnp.arctan2(jnp.linalg.norm(ex - ey, axis=-1), jnp.linalg.norm(ex + ey, axis=-1))
    inputs = jnp.linalg.norm(x - y, axis=-1)
    one_minus_kappa1 = 2 * jnp.sin(theta / 2) ** 2 - (jnp.sin(theta) - theta * jnp.cos(theta)) / jnp.pi
    phi1_squared = (nx - ny) ** 2 + 2 * nx * ny * one_minus_kappa1
    phi_squared = inputs**2 + 2 * jnp.sum(x * y, axis=-1) * theta / jnp.pi + phi1_squared
    return FeatureDistances(inputs, jnp.sqrt(2 * theta / jnp.pi), jnp.sqrt(phi1_squared), jnp.sqrt(phi_squared))


def phi0_bound(x: Float[Array, "*b d"], y: Float[Array, "*b d"], *, as_printed: bool = False) -> Float[Array, "*b"]:
    """Proposition 4.2's bound on ‖φ₀(x) − φ₀(y)‖ for inputs of any norm.

    Corrected: √(‖x − y‖ / min(‖x‖, ‖y‖)). As the slide prints it: √(1 / min(‖x‖, ‖y‖)) ‖x − y‖.

    Args:
        x: first inputs, non-zero.
        y: second inputs, non-zero.
        as_printed: the slide's formula, which fails, in place of the corrected one.

    Returns:
        The bound, pair by pair.

    Example:
        >>> import jax.numpy as jnp
        >>> float(phi0_bound(jnp.asarray([1.0, 0.0]), jnp.asarray([1.0, 0.01])))  # doctest: +ELLIPSIS
        0.1...

    Source: the lecture's Proposition 4; Bietti and Mairal (2019), Proposition 4.
    """
    distance = jnp.linalg.norm(x - y, axis=-1)
    smaller = jnp.minimum(jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1))
    return distance / jnp.sqrt(smaller) if as_printed else jnp.sqrt(distance / smaller)


def phi_bound(x: Float[Array, "*b d"], y: Float[Array, "*b d"], *, as_printed: bool = False) -> Float[Array, "*b"]:
    """Proposition 4.3's bound on ‖Φ(x) − Φ(y)‖ for inputs of any norm.

    Corrected: √(min(‖x‖, ‖y‖) ‖x − y‖) + 2‖x − y‖. As the slide prints it: √min(‖x‖, ‖y‖) ‖x − y‖ + 2‖x − y‖.

    Args:
        x: first inputs, non-zero.
        y: second inputs, non-zero.
        as_printed: the slide's formula, which fails, in place of the corrected one.

    Returns:
        The bound, pair by pair.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(phi_bound(jnp.asarray([1.0, 0.0]), jnp.asarray([0.0, 1.0]))), 3)
        4.018

    Source: the lecture's Proposition 4; Bietti and Mairal (2019), Proposition 4.
    """
    distance = jnp.linalg.norm(x - y, axis=-1)
    smaller = jnp.minimum(jnp.linalg.norm(x, axis=-1), jnp.linalg.norm(y, axis=-1))
    first = jnp.sqrt(smaller) * distance if as_printed else jnp.sqrt(smaller * distance)
    return first + 2 * distance


def activation_moments(activation: Callable[[Array], Array], *, nodes: int = 100) -> tuple[float, float, float]:
    """The moments γ_j = E[(σ⁽ʲ⁾(u))²], u ~ N(0, 1), j = 0, 1, 2, by Gauss–Hermite quadrature.

    Args:
        activation: a smooth scalar function that JAX can differentiate.
        nodes: number of quadrature nodes.

    Returns:
        γ₀, γ₁, γ₂.

    Example:
        >>> import jax.numpy as jnp
        >>> [round(g, 3) for g in activation_moments(lambda u: jnp.exp(u - 1))]
        [1.0, 1.0, 1.0]

    Source: the lecture's Proposition 9; Bietti and Mairal (2019), Proposition 9.
    """
    u, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    derivatives = [activation, jax.grad(activation), jax.grad(jax.grad(activation))]
    values = [np.asarray(jax.vmap(f)(jnp.asarray(u)), dtype=np.float64) for f in derivatives]
    gamma0, gamma1, gamma2 = (float(weights @ v**2) for v in values)
    return gamma0, gamma1, gamma2


def lipschitz_constant(gamma0: float, gamma1: float, gamma2: float) -> float:
    """Proposition 9's Lipschitz constant of the feature map of K_σ on the sphere.

    √((γ₀ + γ₁) max(1, (2γ₁ + γ₂)/(γ₀ + γ₁))).

    Args:
        gamma0: E[σ²], positive.
        gamma1: E[σ′²].
        gamma2: E[σ″²].

    Returns:
        The constant.

    Example:
        >>> round(lipschitz_constant(1.0, 1.0, 1.0) ** 2, 6)
        3.0

    Source: the lecture's Proposition 9; Bietti and Mairal (2019), Proposition 9.
    """
    total = gamma0 + gamma1
    return float(np.sqrt(total * max(1.0, (2 * gamma1 + gamma2) / total)))


def sharp_lipschitz_constant(gamma1: float, gamma2: float) -> float:
    """The smallest Lipschitz constant of the feature map of K_σ on the sphere, √(2γ₁ + γ₂).

    ‖Φ(x) − Φ(y)‖²/‖x − y‖² = (k(1) − k(u))/(1 − u) for a dot-product kernel k with Taylor coefficients ≥ 0; it is largest
    as u → 1, where it tends to k′(1) = 2γ₁ + γ₂. The maximum with 1 in Proposition 9 is not needed.

    Args:
        gamma1: E[σ′²].
        gamma2: E[σ″²].

    Returns:
        The constant.

    Example:
        >>> round(sharp_lipschitz_constant(1.0, 1.0) ** 2, 6)
        3.0

    Source: derived in the book's chapter 03.
    """
    return float(np.sqrt(2 * gamma1 + gamma2))


def multiplicity(degrees: np.ndarray, p: int) -> np.ndarray:
    """Dimension N(p, k) of the spherical harmonics of degree k on S^{p−1}.

    N(p, k) = (2k + p − 2)/k · C(k + p − 3, p − 2), N(p, 0) = 1.

    Args:
        degrees: integers k ≥ 0, any shape.
        p: dimension of the ambient space, at least 2.

    Returns:
        N(p, k) as floats.

    Example:
        >>> multiplicity(np.arange(4), 3).round().tolist()
        [1.0, 3.0, 5.0, 7.0]

    Source: the lecture's Proposition 5.
    """
    if p < 2:
        raise ValueError(f"expected a dimension p of at least 2, got {p}")
    k = np.asarray(degrees, dtype=np.float64)
    if p == 2:
        return np.where(k == 0, 1.0, 2.0)
    return (2 * k + p - 2) * np.exp(gammaln(k + p - 2) - gammaln(k + 1) - gammaln(p - 1))


def power_coefficients(alpha: float, degrees: np.ndarray, p: int) -> np.ndarray:
    """Funk–Hecke eigenvalues of the one-sided power t ↦ (t)₊^α on S^{p−1}.

    λ_k(α) = Γ(p/2) Γ(α + 1) / (2^{α+1} Γ((α − k)/2 + 1) Γ((α + k + p)/2)), so that
    (⟨x, y⟩)₊^α = Σ_k λ_k Σ_j Y_{kj}(x) Y_{kj}(y). The poles of Γ make every other degree vanish for integer α.

    Args:
        alpha: exponent, at least 0 (0: the step function; 1: the ReLU).
        degrees: integers k ≥ 0, any shape.
        p: dimension of the ambient space, at least 2.

    Returns:
        λ_k(α), signed.

    Example:
        >>> power_coefficients(0.0, np.arange(4), 3).round(4).tolist()
        [0.5, 0.25, 0.0, -0.0625]

    Source: Rodrigues' formula, derived in the book's chapter 03; integer α in Bach (2017), Appendix D.
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
    """Eigenvalues μ_k of the two-layer ReLU kernels on S^{p−1} (uniform probability measure), in closed form.

    μ_k(κ₀) = 2 λ_k(0)², μ_k(κ₁) = 2p λ_k(1)² with λ_k of :func:`power_coefficients`, and, because multiplication by u
    shifts the degree by one, μ_k(uκ₀) = (k μ_{k−1}(κ₀) + (k + p − 2) μ_{k+1}(κ₀)) / (2k + p − 2).

    Args:
        degrees: integers k ≥ 0, any shape.
        p: dimension of the ambient space, at least 3.
        layers: "both" for κ, "first" for u κ₀, "last" for κ₁.

    Returns:
        μ_k, in float64.

    Raises:
        ValueError: for another value of ``layers`` or p below 3.

    Example:
        >>> mercer_eigenvalues(np.arange(4), 3).round(4).tolist()
        [0.5, 0.3333, 0.0781, 0.0]

    Source: the lecture's Proposition 5; Bietti and Mairal (2019), Proposition 5.
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
        t: points in [−1, 1], shape (s,).
        max_degree: K.
        p: dimension of the ambient space, at least 3.

    Returns:
        Values, shape (K + 1, s), float64.

    Example:
        >>> zonal_polynomials(np.asarray([0.5]), 2, 3)[:, 0].tolist()
        [1.0, 0.5, -0.125]

    Source: the addition theorem behind the lecture's Eq. 10.
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
    """Eigenvalues μ_k of any dot-product kernel on S^{p−1} by a numerical Gegenbauer expansion.

    μ_k = c_p ∫₀^π kernel(cos θ) P_k(cos θ) sin^{p−2}θ dθ, c_p = Γ(p/2)/(√π Γ((p−1)/2)), Gauss–Legendre in θ: the
    arc-cosine kernels have square-root singularities in u = cos θ but are analytic in θ.

    Args:
        kernel: function of the cosine, vectorised.
        max_degree: K.
        p: dimension of the ambient space, at least 3.
        nodes: quadrature nodes; well above K.

    Returns:
        μ_0 … μ_K, absolute error near rounding.

    Example:
        >>> np.abs(mercer_quadrature(lambda u: u, 2, 3)).round(4).tolist()
        [0.0, 0.3333, 0.0]

    Source: the Funk–Hecke formula, behind the lecture's Proposition 5.
    """
    x, weights = roots_legendre(nodes)
    theta, weights = (x + 1) * np.pi / 2, weights * np.pi / 2
    measure = np.exp(gammaln(p / 2)) * rgamma((p - 1) / 2) / np.sqrt(np.pi) * weights * np.sin(theta) ** (p - 2)
    t = np.cos(theta)
    return zonal_polynomials(t, max_degree, p) @ (measure * np.asarray(kernel(t), dtype=np.float64))
