"""The stochastic network with a scale for each node: noise and feature learning in one model.

    f(x, ζ) = Σ_j √λ_j W_d[j]ᵀ φ(z_j),     z_j = Σ_k (W_μ[j, k] + W_σ[j, k] ζ[j, k]) x_k,     Σ_j λ_j = 1

With λ_j = 1/m it is the network of `snn_ntk.paper`, whose tangent kernels become deterministic; with
λ_j = γ/m + (1 − γ) λ̃_j they tend to γ K + (1 − γ) Σ_j λ̃_j M_j, group by group, M_j the contribution of one node:
random for γ < 1.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Num, PRNGKeyArray

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import derivative_of
from snn_ntk.activations.duals import dual, dual_derivatives
from snn_ntk.activations.expectations import smooth_form
from snn_ntk.activations.resolution import resolve
from snn_ntk.kernels.one_hidden_layer import TangentKernels, tangent_kernels
from snn_ntk.node_scaling.scalings import checked_share, zipf_masses
from snn_ntk.paper.empirical_kernels import empirical_tangent_kernels
from snn_ntk.paper.network import Parameters, expected_output, init_parameters

__all__ = ["limiting_kernels", "node_variance", "rescaled", "scaled_expected_output", "scaled_tangent_kernels"]


def rescaled(params: Parameters, scalings: Float[Array | np.ndarray, " m"]) -> Parameters:
    """The equally scaled network with the same output: W_d[j] becomes √(m λ_j) W_d[j].

    Whatever is a function of outputs alone (`paper.sampled_output`, `paper.output_variance`) can be asked of it.

    Args:
        params: Parameters of width m.
        scalings: Scales λ, shape (m,).

    Returns:
        Parameters of the same shapes.

    Raises:
        ValueError: If there are not as many scalings as nodes.

    Example:
        >>> import jax
        >>> params = init_parameters(jax.random.key(0), 4, 3, sigma0=0.5)
        >>> bool((rescaled(params, jax.numpy.full(4, 0.25)).d == params.d).all())
        True

    Source: book, chapter 13.
    """
    m = params.d.shape[-2]
    scalings = validation.of_shape(scalings, (m,), "scalings")
    return params._replace(d=params.d * jnp.sqrt(m * jnp.asarray(scalings, params.d.dtype))[:, None])


def scaled_expected_output(
    params: Parameters, scalings: Float[Array | np.ndarray, " m"], x: Num[Array, "n d_in"], *, activation: Any
) -> Float[Array, "n d_out"]:
    """The output averaged over the noise, exactly: f̂(x) = Σ_j √λ_j W_d[j] φ̂(u_j; s_j).

    Args:
        params: Parameters of width m.
        scalings: Scales λ, shape (m,).
        x: Inputs, shape (n, d_in).
        activation: φ, whatever `activations.resolve` accepts.

    Returns:
        Expected outputs, shape (n, d_out).

    Raises:
        ValueError: If there are not as many scalings as nodes, or `x` has a wrong shape.

    Example:
        >>> import jax
        >>> from snn_ntk.node_scaling import node_scalings
        >>> params = init_parameters(jax.random.key(0), 4, 3, 1, sigma0=0.5)
        >>> scalings = node_scalings(4, gamma=0.2, alpha=0.5)
        >>> scaled_expected_output(params, scalings, jnp.eye(3), activation=jnp.tanh).shape
        (3, 1)

    Source: book, chapter 13.
    """
    return expected_output(rescaled(params, scalings), x, activation=activation)


@full_precision
def scaled_tangent_kernels(
    params: Parameters, scalings: Float[Array | np.ndarray, " m"], x: Num[Array, "n d_in"], *, activation: Any
) -> TangentKernels:
    """The tangent kernels of f̂ for the three groups, averaged over outputs (the mean of the k = k' blocks).

    Θ^(s) = Σ_j λ_j M_j^(s) with M^(d) = φ̂ φ̂', M^(μ) = ⟨x, x'⟩ ā ∂_u φ̂ ∂_u φ̂',
    M^(σ) = ā (∂_s φ̂/s)(∂_s φ̂'/s') Σ_l W_σ[l]² x_l² x'_l², ā the mean square of the node's decoder weights.

    Args:
        params: Parameters of width m, at initialisation or after training.
        scalings: Scales λ, shape (m,).
        x: Inputs, shape (n, d_in).
        activation: φ, whatever `activations.resolve` accepts.

    Returns:
        Three kernels of shape (n, n).

    Raises:
        ValueError: If there are not as many scalings as nodes, or `x` has a wrong shape.

    Example:
        >>> import jax
        >>> from snn_ntk.node_scaling import node_scalings
        >>> params = init_parameters(jax.random.key(0), 4, 3, 1, sigma0=0.5)
        >>> scalings = node_scalings(4, gamma=0.2, alpha=0.5)
        >>> scaled_tangent_kernels(params, scalings, jnp.eye(3), activation=jnp.tanh).mu.shape
        (3, 3)

    Source: wang2024vae, Definition 1 (with a scale for each node); book, chapter 13.
    """
    kernels = empirical_tangent_kernels(rescaled(params, scalings), x, activation=activation)
    # The decoder's gradient is √λ_j φ̂_j: in it the scale cannot be moved into the decoder.
    x = validation.floats(x)
    variance = (x * x) @ (params.sigma**2).T
    features = resolve(activation).smoothed(x @ params.mu.T, jnp.sqrt(variance))
    weights = jnp.asarray(scalings, features.dtype)
    return kernels._replace(d=(features * weights) @ features.T)


def limiting_kernels(
    key: PRNGKeyArray,
    x: Num[Array, "n d_in"],
    *,
    gamma: float,
    alpha: float | None = None,
    activation: Any,
    sigma0: float,
    outputs: int = 1,
    nodes: int = 1024,
) -> TangentKernels:
    """One sample of the infinitely wide network's tangent kernels, which are random for γ < 1.

    Θ_∞^(s) = γ K^(s) + (1 − γ) Σ_j λ̃_j M_j^(s), K^(s) = E M_1^(s) the kernels of `kernels.tangent_kernels`.

    Args:
        key: Random key.
        x: Inputs, shape (n, d_in).
        gamma: Share γ of the constant part, between 0 and 1.
        alpha: Exponent α of the Zipf law λ̃, between 0 and 1; not needed for γ = 1.
        activation: φ, whatever `activations.resolve` accepts.
        sigma0: Initial noise σ0.
        outputs: Number of outputs that the kernels are averaged over.
        nodes: Number of terms that are drawn; the rest is replaced by its mean, which leaves E Θ_∞ exact and takes away
            (1 − γ)² Σ_{j > nodes} λ̃_j² of the variance's factor.

    Returns:
        Three kernels of shape (n, n).

    Raises:
        ValueError: If γ or α is not between 0 and 1, σ0 is negative, `nodes` is below 1, or `x` has a wrong shape.

    Example:
        >>> import jax
        >>> from snn_ntk import stax
        >>> limit = limiting_kernels(jax.random.key(0), jnp.eye(3), gamma=1.0, activation=stax.Erf(), sigma0=0.5)
        >>> bool(jnp.allclose(limit.d, tangent_kernels(jnp.eye(3), activation=stax.Erf(), sigma0=0.5).d))
        True

    Source: book, chapter 13; caron2023overparameterised, Proposition 3.3 (without noise); wang2024vae, Lemma 1
        (at γ = 1).
    """
    gamma = checked_share(gamma)
    mean = tangent_kernels(x, activation=activation, sigma0=sigma0)
    if gamma == 1:
        return mean
    masses = zipf_masses(np.arange(1, validation.positive_integer(nodes, "nodes") + 1), alpha)
    params = init_parameters(key, nodes, x.shape[1], outputs, sigma0=sigma0, dtype=mean.mu.dtype)
    drawn = scaled_tangent_kernels(params, masses, x, activation=activation)
    rest = gamma + (1 - gamma) * (1 - float(masses.sum()))
    return TangentKernels(*(rest * k + (1 - gamma) * r for k, r in zip(mean, drawn, strict=True)))


@full_precision
def node_variance(
    x: Num[Array, "n d_in"], *, activation: Any, sigma0: Num[ArrayLike, ""], outputs: int = 1
) -> TangentKernels:
    """The variances of the entries of M_1^(s), one node's contribution to the three kernels at initialisation.

    Var M^(d) = E[φ̂² φ̂'²] − K_d²; Var M^(s) = c_s² {(1 + 2/D) E[g² g'²] − E[g g']²} for s = μ (c = ⟨x, x'⟩,
    g = ∂_u φ̂) and s = σ (c = σ0² ⟨x∘x, x'∘x'⟩, g = ∂_s φ̂/s), D outputs. E‖Θ^(s) − K^(s)‖_F² is their sum times
    Σ_j λ_j².

    Args:
        x: Inputs of unit norm, shape (n, d_in): then the blurred activation is one function for all inputs.
        activation: φ, whatever `activations.resolve` accepts; smooth.
        sigma0: Initial noise σ0.
        outputs: Number D of outputs.

    Returns:
        Variances, three arrays of shape (n, n).

    Raises:
        ValueError: If the rows of `x` are not of unit norm, σ0 is negative, or φ̂ has a kink or a jump (φ without noise)
            or changes faster than is resolved. Inside of `jax.jit` the last is NaN.

    Example:
        >>> from snn_ntk import stax
        >>> quiet, noisy = (node_variance(jnp.eye(2), activation=stax.Erf(), sigma0=s).d[0, 0] for s in (0.0, 2.0))
        >>> bool(noisy < quiet)
        True

    Source: book, chapter 13; caron2023overparameterised, Eq. 12 (without noise).
    """
    x = validation.floats(validation.unit_rows(x))
    sigma0, resolved = validation.non_negative(sigma0, "sigma0"), resolve(activation)

    def value(u: Array) -> Array:
        return resolved.smoothed(u, jnp.full_like(u, sigma0))

    slope = derivative_of(value)
    spread = derivative_of(slope)  # ∂_s φ̂ = s ∂_u² φ̂: the heat equation, and finite at s = 0.
    inner = jnp.clip(x @ x.T, -1, 1)
    one = jnp.ones((), inner.dtype)

    def smooth(g: Any) -> Any:
        return smooth_form(g, f"{resolved.name}, blurred")

    def variance(g: Any, mean: Array, scale: Array, decoder: float) -> Array:
        square = dual(smooth(lambda u: g(u) ** 2), inner, one, one)
        return scale**2 * (decoder * square - mean**2)

    means = dual_derivatives(smooth(value), inner, one, one)  # E g g' of all three
    squares = jnp.square(sigma0) * (x**2) @ (x**2).T
    decoder = 1 + 2 / outputs  # E ā² of the decoder weights' mean square ā
    return TangentKernels(
        mu=variance(slope, means[1], inner, decoder),
        sigma=variance(spread, means[2], squares, decoder),
        d=variance(value, means[0], jnp.ones_like(inner), 1.0),
    )
