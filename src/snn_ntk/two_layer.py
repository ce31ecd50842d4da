"""The two-layer ReLU network of the convergence theory: gradient, stochastic and natural descent, and what they move."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

__all__ = [
    "TwoLayer",
    "descend",
    "gradient_step",
    "gram",
    "init",
    "jacobian_change",
    "max_distance",
    "natural_gradient_step",
    "online_logistic",
    "output",
    "pattern_changes",
    "predicted_loss",
    "pull_back",
    "stochastic_step",
    "total_distance",
]


class TwoLayer(NamedTuple):
    """f(x) = m^{-1/2} Σ_r a_r (w_r·x)₊; ``w`` (m, d) is trained, ``a`` (m,) = ±1 is not."""

    w: Array
    a: Array


def init(
    key: PRNGKeyArray, width: int, d: int, *, nu: float = 1.0, paired: bool = False, dtype: Any = None
) -> TwoLayer:
    """Draw w_r ~ N(0, ν² I), a_r uniform on ±1.

    Args:
        key: random key.
        width: m; even if ``paired``.
        d: input dimension.
        nu: standard deviation ν of the first layer.
        paired: draw m/2 neurons and add a copy of each with the opposite sign: the network then starts at
            f = 0 for every input, which formulas that put u(0) = 0 ask for; E[G] is the same.
        dtype: floating type; JAX's default if left out.

    Returns:
        The network.

    Raises:
        ValueError: if ``paired`` and the width is odd.

    Example:
        >>> import jax
        >>> net = init(jax.random.key(0), 8, 3, paired=True)
        >>> float(abs(output(net, jax.numpy.ones((1, 3)))[0])) < 1e-6
        True

    Source: the lecture's Theorem 3 (natural gradient), Assumption 1.
    """
    if paired and width % 2:
        raise ValueError(f"expected an even width for a paired initialisation, got {width}")
    dtype = jnp.zeros(0).dtype if dtype is None else dtype
    key_w, key_a = jax.random.split(key)
    drawn = width // 2 if paired else width
    w = nu * jax.random.normal(key_w, (drawn, d), dtype)
    a = jax.random.rademacher(key_a, (drawn,), dtype)
    return TwoLayer(jnp.concatenate([w, w]), jnp.concatenate([a, -a])) if paired else TwoLayer(w, a)


def output(net: TwoLayer, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Network function f(x) = m^{-1/2} Σ_r a_r (w_r·x)₊.

    Args:
        net: the network.
        x: inputs, one a row.

    Returns:
        Outputs, shape (n,).

    Example:
        >>> import jax.numpy as jnp
        >>> output(TwoLayer(jnp.eye(2)[:1], jnp.ones(1)), jnp.asarray([[2.0, 0.0]])).tolist()
        [2.0]

    Source: the lecture's generalisation setup; Arora et al. (2019), Eq. 1.
    """
    return jnp.maximum(x @ net.w.T, 0) @ net.a / jnp.sqrt(net.a.size)


def pull_back(net: TwoLayer, x: Float[Array, "n d"], residual: Float[Array, " n"]) -> Float[Array, "m d"]:
    """Jᵀv, the gradient of ⟨v, f(X)⟩ in the first layer: row r is m^{-1/2} a_r Σ_i v_i 1{w_r·x_i > 0} x_i.

    Args:
        net: the network.
        x: inputs, one a row.
        residual: v.

    Returns:
        The gradient, shape (m, d).

    Example:
        >>> import jax.numpy as jnp
        >>> pull_back(TwoLayer(jnp.eye(2)[:1], jnp.ones(1)), jnp.eye(2), jnp.ones(2)).tolist()
        [[1.0, 0.0]]

    Source: Du et al. (2019), Eq. 4.
    """
    active = (x @ net.w.T > 0) * residual[:, None]
    return net.a[:, None] * (active.T @ x) / jnp.sqrt(net.a.size)


def gram(net: TwoLayer, x: Float[Array, "n d"]) -> Float[Array, "n n"]:
    """Gram matrix G = J Jᵀ of the finite network, G_ij = ⟨x_i, x_j⟩ (1/m) Σ_r 1{w_r·x_i > 0, w_r·x_j > 0}.

    Args:
        net: the network.
        x: inputs, one a row.

    Returns:
        The matrix; its expectation is :func:`snn_ntk.arc_cosine.first_layer_gram`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> bool(gram(init(jax.random.key(0), 64, 2), jnp.eye(2))[0, 1] == 0)
        True

    Source: the lecture's natural-gradient slides, Condition 1.
    """
    active = (x @ net.w.T > 0).astype(x.dtype)
    return (x @ x.T) * (active @ active.T) / net.a.size


def gradient_step(net: TwoLayer, x: Float[Array, "n d"], y: Float[Array, " n"], *, learning_rate: float) -> TwoLayer:
    """One step of gradient descent on Φ(W) = ½ Σ_i (y_i − f(x_i))²: W ← W − η Jᵀ(u − y).

    Args:
        net: the network.
        x: inputs.
        y: targets.
        learning_rate: η.

    Returns:
        The network after the step.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net, x, y = init(jax.random.key(0), 64, 2), jnp.eye(2), jnp.ones(2)
        >>> new = gradient_step(net, x, y, learning_rate=0.5)
        >>> bool(jnp.sum((output(new, x) - y) ** 2) < jnp.sum((output(net, x) - y) ** 2))
        True

    Source: the lecture's slide "Setup"; Du et al. (2019).
    """
    return net._replace(w=net.w - learning_rate * pull_back(net, x, output(net, x) - y))


def stochastic_step(
    net: TwoLayer,
    x: Float[Array, "n d"],
    y: Float[Array, " n"],
    key: PRNGKeyArray,
    *,
    learning_rate: float,
    batch_size: int,
) -> TwoLayer:
    """One step of SGD, W ← W − (η/B) Σ_{s in batch} ∇ℓ(f(x_s), y_s), ℓ = ½(f − y)², drawn without replacement.

    Args:
        net: the network.
        x: inputs.
        y: targets.
        key: random key of this step's batch.
        learning_rate: η.
        batch_size: B, at most n.

    Returns:
        The network after the step.

    Raises:
        ValueError: if the batch is larger than the data set.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net, x, y = init(jax.random.key(0), 64, 2), jnp.eye(2), jnp.ones(2)
        >>> full = stochastic_step(net, x, y, jax.random.key(1), learning_rate=1.0, batch_size=2)
        >>> bool(jnp.allclose(full.w, gradient_step(net, x, y, learning_rate=0.5).w, atol=1e-6))
        True

    Source: the lecture's slide "Stochastic Gradient Descent"; Zou and Gu (2019).
    """
    if batch_size > x.shape[0]:
        raise ValueError(f"expected a batch of at most n={x.shape[0]}, got {batch_size}")
    rows = jax.random.choice(key, x.shape[0], (batch_size,), replace=False)
    return gradient_step(net, x[rows], y[rows], learning_rate=learning_rate / batch_size)


def natural_gradient_step(
    net: TwoLayer, x: Float[Array, "n d"], y: Float[Array, " n"], *, learning_rate: float
) -> TwoLayer:
    """One step of natural gradient descent for the squared loss, W ← W − η Jᵀ (J Jᵀ)⁻¹ (u − y).

    The Fisher matrix F = JᵀJ is singular as soon as there are more parameters than data; Jᵀ(JJᵀ)⁻¹ is
    F⁺Jᵀ, the minimum-norm step.

    Args:
        net: the network.
        x: inputs, no two parallel.
        y: targets.
        learning_rate: η; the theory asks for η ≤ (1 − 2C)/(1 + C)² < 1.

    Returns:
        The network after the step.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net, x, y = init(jax.random.key(0), 64, 2), jnp.eye(2), jnp.ones(2)
        >>> new = natural_gradient_step(net, x, y, learning_rate=0.5)
        >>> r0, r1 = output(net, x) - y, output(new, x) - y
        >>> bool(jnp.all(r1**2 < 0.5 * r0**2 + 1e-3))
        True

    Source: the lecture's slide "Natural Gradient Descent"; Zhang, Martens and Grosse (2019).
    """
    factor = jax.scipy.linalg.cho_factor(gram(net, x))
    solved = jax.scipy.linalg.cho_solve(factor, output(net, x) - y)
    return net._replace(w=net.w - learning_rate * pull_back(net, x, solved))


def online_logistic(
    net: TwoLayer, x: Float[Array, "n d"], y: Float[Array, " n"], *, learning_rate: float
) -> tuple[TwoLayer, Array]:
    """One pass of SGD on ℓ(y f(x)) = log(1 + e^{−y f(x)}), each sample predicted before it is learnt from.

    The mistakes' mean is an unbiased estimate of the expected 0-1 error of a uniformly drawn iterate, which
    is what the bound speaks of. In the lecture's scaling, f_W = √m W₂ σ(W₁x), its step κR/(m√n) is κR/√n here.

    Args:
        net: the start, W⁽¹⁾.
        x: fresh samples, one a step.
        y: labels ±1.
        learning_rate: η.

    Returns:
        The last network and, for each sample, whether the network before it was wrong, shape (n,).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = init(jax.random.key(0), 64, 2)
        >>> x = jnp.tile(jnp.asarray([[1.0, 0.0]]), (50, 1))
        >>> bool(online_logistic(net, x, jnp.ones(50), learning_rate=1.0)[1][-1])
        False

    Source: the lecture's "Algorithm (SGD)"; Cao and Gu (2019), Algorithm 1.
    """

    def body(net, sample):
        x, y = sample[0][None], sample[1]
        margin = y * output(net, x)[0]
        slope = -y * jax.nn.sigmoid(-margin)
        return net._replace(w=net.w - learning_rate * pull_back(net, x, slope[None])), margin <= 0

    return jax.lax.scan(body, net, (x, y))


def pattern_changes(net: TwoLayer, start: TwoLayer, x: Float[Array, "n d"]) -> Float[Array, ""]:
    """Fraction of changed activations, (1/mn) Σ_{i≤n} Σ_{r≤m} 1{sign w_r(0)·x_i ≠ sign w_r(k)·x_i}.

    Args:
        net: the network now.
        start: the network at initialisation.
        x: inputs.

    Returns:
        A number in [0, 1].

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = init(jax.random.key(0), 8, 2)
        >>> float(pattern_changes(net, net, jnp.eye(2)))
        0.0

    Source: the lecture's Figure 1 (b), whose outer sum should run over the n inputs; Du et al. (2019).
    """
    return jnp.mean((x @ net.w.T > 0) != (x @ start.w.T > 0))


def max_distance(net: TwoLayer, start: TwoLayer) -> Float[Array, ""]:
    """Largest distance a neuron has moved, max_r ‖w_r(k) − w_r(0)‖.

    Args:
        net: the network now.
        start: the network at initialisation.

    Returns:
        The distance.

    Example:
        >>> import jax
        >>> net = init(jax.random.key(0), 8, 2)
        >>> float(max_distance(net, net))
        0.0

    Source: the lecture's Figure 1 (c); Du et al. (2019).
    """
    return jnp.max(jnp.linalg.norm(net.w - start.w, axis=-1))


def total_distance(net: TwoLayer, start: TwoLayer) -> Float[Array, ""]:
    """Distance of all weights from the start, ‖W(k) − W(0)‖_F.

    Args:
        net: the network now.
        start: the network at initialisation.

    Returns:
        The distance.

    Example:
        >>> import jax
        >>> net = init(jax.random.key(0), 8, 2)
        >>> float(total_distance(net, net))
        0.0

    Source: the B of the lecture's class F_{A,B}; Arora et al. (2019), Lemma 5.3.
    """
    return jnp.linalg.norm(net.w - start.w)


def jacobian_change(net: TwoLayer, start: TwoLayer, x: Float[Array, "n d"]) -> Float[Array, ""]:
    """The constant C of the stable-Jacobian condition, 3 ‖J(θ) − J(0)‖₂ / √λ_min(G(0)), at one θ.

    Args:
        net: the network now.
        start: the network at initialisation.
        x: inputs.

    Returns:
        C; the theorem needs C < 1/2 in a whole ball around the start.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = init(jax.random.key(0), 64, 2)
        >>> float(jacobian_change(net, net, jnp.eye(2)))
        0.0

    Source: the lecture's Condition 2; Zhang, Martens and Grosse (2019), Condition 2.
    """
    change = (x @ net.w.T > 0).astype(x.dtype) - (x @ start.w.T > 0).astype(x.dtype)
    squared = jnp.linalg.eigvalsh((x @ x.T) * (change @ change.T) / net.a.size)[-1]
    return 3 * jnp.sqrt(jnp.maximum(squared, 0) / jnp.linalg.eigvalsh(gram(start, x))[0])


def descend(
    step: Callable[[TwoLayer, PRNGKeyArray], TwoLayer],
    net: TwoLayer,
    key: PRNGKeyArray,
    *,
    steps: int,
    measure: Callable[[TwoLayer], Any],
) -> tuple[TwoLayer, Any]:
    """Apply a step again and again in one compiled scan, measuring before the first and after every step.

    Args:
        step: function of the network and this step's key.
        net: the start.
        key: random key, split over the steps.
        steps: how many.
        measure: function of the network; a pytree of arrays.

    Returns:
        The last network and the measurements, stacked along a leading axis of length ``steps + 1``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net, x, y = init(jax.random.key(0), 64, 2), jnp.eye(2), jnp.ones(2)
        >>> step = lambda net, _: gradient_step(net, x, y, learning_rate=0.5)
        >>> descend(step, net, jax.random.key(1), steps=3, measure=lambda net: output(net, x))[1].shape
        (4, 2)
    """

    def body(net, key):
        net = step(net, key)
        return net, measure(net)

    first = measure(net)
    net, rest = jax.lax.scan(body, net, jax.random.split(key, steps))
    return net, jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), first, rest)


def predicted_loss(
    kernel: Float[Array, "n n"], residual: Float[Array, " n"], steps: int, *, learning_rate: float
) -> Float[Array, " steps_plus_one"]:
    """Loss of gradient descent in the limit of infinite width, ½‖(I − ηH∞)^k (y − u(0))‖², k = 0 … steps.

    Args:
        kernel: H∞ on the training inputs.
        residual: y − u(0); the lecture has u(0) = 0.
        steps: last k.
        learning_rate: η.

    Returns:
        The loss for every k.

    Example:
        >>> import jax.numpy as jnp
        >>> predicted_loss(jnp.eye(1), jnp.ones(1), 2, learning_rate=0.5).tolist()
        [0.5, 0.125, 0.03125]

    Source: the lecture's Theorem 3.2 (generalisation); Arora et al. (2019), Theorem 4.1.
    """
    eigenvalues, vectors = jnp.linalg.eigh(kernel)
    powers = (1 - learning_rate * eigenvalues)[None, :] ** (2 * jnp.arange(steps + 1))[:, None]
    return powers @ (vectors.T @ residual) ** 2 / 2
