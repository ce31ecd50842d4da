"""Networks whose hidden nodes have scales of their own, and whose features therefore move.

    f(x) = Σ_j √λ_j u_j σ(w_j·x/√d),     w_j trained,  u_j = ±1 and λ_j fixed,     λ_j = γ/m + (1 − γ) λ̃_j

With γ = 1 this is the NTK scaling. With γ < 1 a few nodes keep a finite share of the output however wide the network is:
its tangent kernel stays random, its weights move, and most of its nodes can be removed.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Num, PRNGKeyArray
from scipy.special import zeta

from . import _validation as validation
from ._neural_tangents import stax
from .duals import dual, dual_derivatives, resolve

__all__ = [
    "ScaledNetwork",
    "gram_variance",
    "init",
    "limiting_gram",
    "mean_gram",
    "node_movement",
    "node_scalings",
    "output",
    "pruned_outputs",
    "pruned_risk",
    "pruning_order",
    "risk",
    "tangent_gram",
    "transfer_features",
    "zipf_second_moment",
]

RELU = stax.Relu()


class ScaledNetwork(NamedTuple):
    """The network and what it is made of.

    Attributes:
        weights: w, shape (m, d): the only parameters that are trained.
        signs: u = ±1, shape (m,), or (m, K) with K outputs.
        scalings: λ, shape (m,).
    """

    weights: Float[Array, "*batch m d"]
    signs: Float[Array, "*batch m"] | Float[Array, "*batch m outputs"]
    scalings: Float[Array, "*batch m"]


def _share(gamma: Any) -> float:
    gamma = float(validation.non_negative(gamma, "gamma"))
    if gamma > 1:
        raise ValueError(f"expected gamma between 0 and 1, got {gamma}")
    return gamma


def _zipf(j: np.ndarray, alpha: Any) -> np.ndarray:
    """Masses j^{-1/α}/ζ(1/α) of a Zipf law, 0 at j = 0."""
    if alpha is None or not 0 < float(alpha) < 1:
        raise ValueError(f"expected alpha between 0 and 1 for the Zipf part, got {alpha}")
    exponent = 1 / float(alpha)
    return np.where(j > 0, np.maximum(j, 1.0) ** -exponent, 0.0) / zeta(exponent)


def node_scalings(
    m: int, *, gamma: float, alpha: float | None = None, first: int = 1, normalised: bool = True
) -> Float[np.ndarray, " m"]:
    """The scales of m nodes: a constant part, a Zipf part, or a mixture of both.

    λ_j = γ/m + (1 − γ) λ̃_j / Σ_k λ̃_k,     λ̃_j = j^{−1/α}/ζ(1/α)     (Eq. 1 and 4 of the source)

    Args:
        m: number of nodes.
        gamma: share γ of the constant part, between 0 and 1.
        alpha: 0 < α < 1: a smaller one is more asymmetric. Not needed for γ = 1.
        first: number of the first node, 1 in the paper. The published runs count from 0, where the Zipf law has no
            mass: their first node has scale γ/m, the second the largest scale, and the mass of number m is missing.
        normalised: divide the Zipf masses by their sum over the m nodes, so that Σ λ_j = 1. The published runs do not:
            a sum of 1 − (1 − γ) P(more than m) remains, which matters for α near 1 (0.97 at α = 0.7, γ = 0, m = 2000).

    Returns:
        λ, shape (m,), float64, in the order of the nodes' numbers.

    Raises:
        ValueError: if γ is not in [0, 1], α not in (0, 1), `m` below 1 or `first` neither 0 nor 1.

    Example:
        >>> node_scalings(4, gamma=0.5, alpha=0.5).round(3).tolist()
        [0.476, 0.213, 0.164, 0.147]
        >>> node_scalings(4, gamma=1.0).tolist()
        [0.25, 0.25, 0.25, 0.25]

    Source: Equations 1 and 4 of the asymmetrical-scaling paper.
    """
    m, gamma = validation.positive_integer(m, "m"), _share(gamma)
    if first not in (0, 1):
        raise ValueError(f"expected first to be 0 or 1, got {first}")
    constant = np.full(m, gamma / m)
    if gamma == 1:
        return constant
    masses = _zipf(np.arange(first, first + m), alpha)
    if normalised:
        if not masses.sum():
            raise ValueError("expected a node with Zipf mass, got m = 1 counted from 0")
        masses = masses / masses.sum()
    return constant + (1 - gamma) * masses


def zipf_second_moment(alpha: float) -> float:
    """Σ_j λ̃_j² of a Zipf law: how far from the kernel regime its network is.

    Σ_j λ̃_j² = ζ(2/α) / ζ(1/α)²

    Args:
        alpha: 0 < α < 1.

    Returns:
        The sum, between 0 (α → 1) and 1 (α → 0).

    Raises:
        ValueError: if α is not in (0, 1).

    Example:
        >>> round(zipf_second_moment(0.5), 4)
        0.4

    Source: Section 3.2 and Figure 5 of the asymmetrical-scaling paper.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"expected alpha between 0 and 1, got {alpha}")
    return float(zeta(2 / alpha) / zeta(1 / alpha) ** 2)


def init(
    key: PRNGKeyArray,
    scalings: Num[ArrayLike, " m"],
    d: int,
    *,
    outputs: int | None = None,
    variance: float = 1.0,
    dtype: Any = None,
) -> ScaledNetwork:
    """A network at initialisation, w_j ~ N(0, variance · I), u_j = ±1 with equal probability.

    Args:
        key: random key.
        scalings: λ, shape (m,).
        d: dimension of an input.
        outputs: number K of outputs; None is one output, without an axis of its own.
        variance: of the weights: 1 in the paper, 2 in the published runs. A ReLU network is homogeneous, so this
            multiplies its output by the square root.
        dtype: floating type; JAX's default if left out.

    Returns:
        The network.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if a size is below 1, or a scale or the variance is negative.

    Example:
        >>> import jax
        >>> init(jax.random.key(0), node_scalings(8, gamma=1.0), 3).weights.shape
        (8, 3)

    Source: Equations 3 and 8 of the asymmetrical-scaling paper.
    """
    scalings, d = np.asarray(scalings), validation.positive_integer(d, "d")
    if scalings.ndim != 1 or not scalings.size or not (scalings >= 0).all():
        raise ValueError(f"expected non-negative scalings of shape (m,), got {scalings.shape}")
    variance = validation.non_negative(variance, "variance")
    shape = (scalings.size,) if outputs is None else (scalings.size, validation.positive_integer(outputs, "outputs"))
    dtype = jnp.result_type(float) if dtype is None else dtype
    key_weights, key_signs = jax.random.split(key)
    return ScaledNetwork(
        weights=jnp.sqrt(jnp.asarray(variance, dtype)) * jax.random.normal(key_weights, (scalings.size, d), dtype),
        signs=jax.random.rademacher(key_signs, shape, dtype),
        scalings=jnp.asarray(scalings, dtype),
    )


def _pre_activations(weights: Array, x: Array) -> Array:
    """w_j·x_i/√d, shape (n, m)."""
    return jnp.matmul(x / np.sqrt(x.shape[-1]), weights.T, precision="highest")


def _amplitudes(network: ScaledNetwork) -> Array:
    """√λ_j u_j, with the shape of the signs."""
    roots = jnp.sqrt(network.scalings)
    return network.signs * (roots if network.signs.ndim == 1 else roots[:, None])


def output(network: ScaledNetwork, x: Num[Array, "n d"], *, activation: Any = RELU) -> Float[Array, "n ..."]:
    """The network's function f(x) = Σ_j √λ_j u_j σ(w_j·x/√d).

    Args:
        network: the network.
        x: inputs, shape (n, d).
        activation: σ: a nonlinearity of neural-tangents or a smooth function.

    Returns:
        Outputs, shape (n,), or (n, K).

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.full(2, 0.5))
        >>> output(net, jnp.array([[2.0, -2.0]])).round(3).tolist()
        [1.0]

    Source: Equation 2 of the asymmetrical-scaling paper.
    """
    return resolve(activation).phi(_pre_activations(network.weights, x)) @ _amplitudes(network)


def risk(
    network: ScaledNetwork, x: Num[Array, "n d"], y: Num[Array, "n ..."], *, activation: Any = RELU
) -> Float[Array, ""]:
    """Mean of the squared errors, (1/n) Σ_i ‖f(x_i) − y_i‖²/K: what the published runs train and show.

    The paper's objective is L = ½ Σ_i (f(x_i) − y_i)² (its Eq. 5) = n/2 times this.

    Args:
        network: the network.
        x: inputs, shape (n, d).
        y: targets, of the output's shape.
        activation: as in `output`.

    Returns:
        The risk.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.full(2, 0.5))
        >>> float(risk(net, jnp.zeros((3, 2)), jnp.full(3, 2.0)))
        4.0

    Source: Section 6 of the asymmetrical-scaling paper.
    """
    return jnp.mean((output(network, x, activation=activation) - y) ** 2)


def _slopes(activation: Any, h: Array) -> Array:
    """σ'(h)."""
    return jax.jvp(resolve(activation).phi, (h,), (jnp.ones_like(h),))[1]


def tangent_gram(
    network: ScaledNetwork,
    x1: Num[Array, "n1 d"],
    x2: Num[Array, "n2 d"] | None = None,
    *,
    activation: Any = RELU,
) -> Float[Array, "n1 n2"]:
    """The network's tangent Gram matrix.

    Θ = Σ_j λ_j M_j,     M_j = (1/d) D_j X X'ᵀ D'_j,     D_j = diag σ'(X w_j/√d)     (Eq. 6 and 7 of the source)

    Args:
        network: the network.
        x1: inputs, shape (n1, d).
        x2: other inputs; `x1` again if left out.
        activation: as in `output`.

    Returns:
        Θ, shape (n1, n2). With several outputs this is the block of any one output with itself: u² = 1.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.array([0.75, 0.25]))
        >>> tangent_gram(net, jnp.array([[1.0, 1.0], [1.0, -1.0]])).tolist()
        [[1.0, 0.0], [0.0, 0.75]]

    Source: Equations 6 and 7 of the asymmetrical-scaling paper.
    """
    left = _slopes(activation, _pre_activations(network.weights, x1))
    right = left if x2 is None else _slopes(activation, _pre_activations(network.weights, x2))
    x2 = x1 if x2 is None else x2
    inner = jnp.matmul(x1, x2.T, precision="highest") / x1.shape[1]
    return inner * jnp.matmul(left * network.scalings, right.T, precision="highest")


def _covariances(x1: Array, x2: Array, variance: Any) -> tuple[Array, Array, Array]:
    scale = variance / x1.shape[1]
    c = scale * jnp.matmul(x1, x2.T, precision="highest")
    return c, scale * (x1**2).sum(1)[:, None], scale * (x2**2).sum(1)[None, :]


def mean_gram(
    x1: Num[Array, "n1 d"], x2: Num[Array, "n2 d"] | None = None, *, activation: Any = RELU, variance: float = 1.0
) -> Float[Array, "n1 n2"]:
    """The mean Θ̄ = E M_1 of the tangent Gram matrix at initialisation: the same for every γ, λ and m.

    Θ̄(x, x') = (⟨x, x'⟩/d) E[σ'(w·x/√d) σ'(w·x'/√d)]     (Eq. 9 of the source);

    its smallest eigenvalue is the κ_n of the theorems. For the ReLU the expectation is (π − angle)/2π.

    Args:
        x1: inputs, shape (n1, d).
        x2: other inputs; `x1` again if left out.
        activation: σ.
        variance: of the weights.

    Returns:
        Θ̄, shape (n1, n2), assuming Σ λ_j = 1.

    Example:
        >>> import jax.numpy as jnp
        >>> mean_gram(jnp.eye(2)).tolist()
        [[0.25, 0.0], [0.0, 0.25]]

    Source: Equation 9 of the asymmetrical-scaling paper.
    """
    x2 = x1 if x2 is None else x2
    c, q1, q2 = _covariances(x1, x2, variance)
    return c / variance * dual_derivatives(activation, c, q1, q2)[1]


def gram_variance(x: Num[Array, "n d"], *, activation: Any = RELU, variance: float = 1.0) -> Float[Array, "n n"]:
    """The variances of the entries of M_1, the contribution of one node to the tangent Gram matrix.

    Var (M_1)_{ii'} = (⟨x_i, x_i'⟩/d)² (E[σ'(h)² σ'(h')²] − E[σ'(h) σ'(h')]²)

    For the ReLU, whose slope is 0 or 1, the bracket is p − p² with p = (π − angle)/2π.

    Args:
        x: inputs, shape (n, d).
        activation: σ: `stax.Relu()` or a smooth function.
        variance: of the weights.

    Returns:
        The variances, shape (n, n). At finite width Θ has these times Σ_j λ_j²; in the limit of infinite width, times
        (1 − γ)² Σ_j λ̃_j².

    Example:
        >>> import jax.numpy as jnp
        >>> gram_variance(jnp.eye(2))[0].tolist()
        [0.0625, 0.0]

    Source: Equation 12 of the asymmetrical-scaling paper.
    """
    c, q1, q2 = _covariances(x, x, variance)
    mean = dual_derivatives(activation, c, q1, q2)[1]
    # A slope that is 0 or 1 equals its square.
    second = mean if _is_relu(activation) else dual(_squared_slope(activation), c, q1, q2)
    return (c / variance) ** 2 * (second - mean**2)


def _is_relu(activation: Any) -> bool:
    return resolve(activation).name == resolve(RELU).name


@functools.cache
def _squared_slope(activation: Any) -> Any:
    return lambda h: _slopes(activation, h) ** 2


def limiting_gram(
    key: PRNGKeyArray,
    x: Num[Array, "n d"],
    *,
    gamma: float,
    alpha: float | None = None,
    nodes: int = 4096,
    activation: Any = RELU,
    variance: float = 1.0,
) -> Float[Array, "n n"]:
    """One sample of the infinitely wide network's tangent Gram matrix, which is random for γ < 1.

    Θ_∞ = γ Θ̄ + (1 − γ) Σ_j λ̃_j M_j     (Proposition 3.3)

    Args:
        key: random key.
        x: inputs, shape (n, d).
        gamma: γ.
        alpha: α of the Zipf law; not needed for γ = 1.
        nodes: the first so many terms of the sum are sampled; the rest is replaced by its mean, which leaves E Θ_∞
            exact and takes away (1 − γ)² Σ_{j > nodes} λ̃_j² of the variance's factor.
        activation: σ.
        variance: of the weights.

    Returns:
        Θ_∞, shape (n, n).

    Raises:
        ValueError: as `node_scalings`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> limiting_gram(jax.random.key(0), jnp.eye(2), gamma=1.0).tolist()
        [[0.25, 0.0], [0.0, 0.25]]

    Source: Proposition 3.3 of the asymmetrical-scaling paper.
    """
    gamma = _share(gamma)
    mean = mean_gram(x, activation=activation, variance=variance)
    if gamma == 1:
        return mean
    masses = _zipf(np.arange(1, nodes + 1), alpha)
    drawn = init(key, masses, x.shape[1], variance=variance, dtype=x.dtype)
    rest = gamma + (1 - gamma) * (1 - float(masses.sum()))
    return rest * mean + (1 - gamma) * tangent_gram(drawn, x, activation=activation)


def node_movement(weights: Float[Array, "*batch m d"], start: Float[Array, "*batch m d"]) -> Float[Array, "*batch m"]:
    """How far each node's weights are from where they began, ‖w_j(t) − w_j(0)‖.

    Args:
        weights: w(t), shape (…, m, d).
        start: w(0), the same shape.

    Returns:
        The distances, shape (…, m).

    Example:
        >>> import jax.numpy as jnp
        >>> node_movement(jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2))).tolist()
        [5.0]

    Source: Theorem 4.1 of the asymmetrical-scaling paper.
    """
    return jnp.sqrt(jnp.sum((weights - start) ** 2, axis=-1))


def pruning_order(network: ScaledNetwork) -> Int[np.ndarray, " m"]:
    """The order in which nodes are removed: by increasing λ_j ‖u_j‖².

    With γ = 1 all nodes tie, and the criterion says nothing. Ties are broken by the nodes' numbers, which is as good as
    a random order: the nodes are exchangeable at initialisation.

    Args:
        network: the network; its weights play no role.

    Returns:
        Node numbers, the first to be removed first.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(3), jnp.ones(3), jnp.array([0.5, 0.2, 0.3]))
        >>> pruning_order(net).tolist()
        [1, 2, 0]

    Source: Section 6 of the asymmetrical-scaling paper.
    """
    signs = np.asarray(network.signs, np.float64)
    squares = signs**2 if signs.ndim == 1 else (signs**2).sum(1)
    # Rounding must not order what ties: ±1 squares are exact.
    return np.argsort(np.asarray(network.scalings, np.float64) * squares, kind="stable")


def pruned_outputs(
    network: ScaledNetwork,
    x: Num[Array, "n d"],
    removed: Int[ArrayLike, " k"] | Sequence[int],
    *,
    activation: Any = RELU,
) -> Float[np.ndarray, "k n ..."]:
    """The function of the network without its least important nodes.

    Args:
        network: the network.
        x: inputs, shape (n, d).
        removed: how many nodes are removed, each between 0 and m; in `pruning_order`.
        activation: as in `output`.

    Returns:
        Outputs, shape (k, n) or (k, n, K).

    Raises:
        ValueError: if a count is not between 0 and m.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.array([0.64, 0.36]))
        >>> pruned_outputs(net, jnp.full((1, 2), 2**0.5), [0, 1, 2]).round(2).tolist()
        [[1.4], [0.8], [0.0]]

    Source: Section 6 of the asymmetrical-scaling paper.
    """
    removed, m = np.asarray(removed), network.scalings.shape[0]
    if removed.size and (removed.min() < 0 or removed.max() > m):
        raise ValueError(f"expected between 0 and {m} removed nodes, got {removed.min()} to {removed.max()}")
    features = np.asarray(resolve(activation).phi(_pre_activations(network.weights, x)), np.float64)
    amplitudes = np.asarray(_amplitudes(network), np.float64)
    order = pruning_order(network)
    outputs = [features[:, order[k:]] @ amplitudes[order[k:]] for k in removed]
    return np.stack(outputs)


def pruned_risk(
    network: ScaledNetwork,
    x: Num[Array, "n d"],
    y: Num[ArrayLike, "n ..."],
    removed: Int[ArrayLike, " k"] | Sequence[int],
    *,
    activation: Any = RELU,
) -> Float[np.ndarray, " k"]:
    """The risk that remains when the least important nodes are removed, without training again.

    Args:
        network: the network.
        x: inputs, shape (n, d).
        y: targets, of the output's shape.
        removed: how many nodes are removed; with all m removed the risk is the mean of y².
        activation: as in `output`.

    Returns:
        Risks, shape (k,).

    Raises:
        ValueError: as `pruned_outputs`.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.full(2, 0.5))
        >>> pruned_risk(net, jnp.ones((1, 2)), jnp.full(1, 2.0), [2]).tolist()
        [4.0]

    Source: Section 6 of the asymmetrical-scaling paper.
    """
    errors = pruned_outputs(network, x, removed, activation=activation) - np.asarray(y, np.float64)
    return (errors**2).mean(axis=tuple(range(1, errors.ndim)))


def transfer_features(
    network: ScaledNetwork, x: Num[Array, "n d"], k: int, *, scaled: bool = True, activation: Any = RELU
) -> Float[Array, "n k"]:
    """What the k nodes of largest scale make of the inputs, to be handed to another network.

    z_j(x) = √λ_j σ(w_j·x/√d) for the k largest λ_j. Ties, as between all nodes at γ = 1, go to the smaller number.

    Args:
        network: the network.
        x: inputs, shape (n, d).
        k: number of features, at most m.
        scaled: with the factor √λ_j, as the published runs have it.
        activation: as in `output`.

    Returns:
        Features, shape (n, k), the largest scale first.

    Raises:
        ValueError: if `k` is not between 1 and m.

    Example:
        >>> import jax.numpy as jnp
        >>> net = ScaledNetwork(jnp.eye(2), jnp.ones(2), jnp.array([0.36, 0.64]))
        >>> round(float(transfer_features(net, jnp.array([[0.0, 2**0.5]]), 1)[0, 0]), 3)
        0.8

    Source: Section 6 of the asymmetrical-scaling paper.
    """
    m = network.scalings.shape[0]
    if not 1 <= k <= m:
        raise ValueError(f"expected k between 1 and {m} features, got {k}")
    best = np.argsort(-np.asarray(network.scalings, np.float64), kind="stable")[:k]
    features = resolve(activation).phi(_pre_activations(network.weights[best], x))
    return features * jnp.sqrt(network.scalings[best]) if scaled else features
