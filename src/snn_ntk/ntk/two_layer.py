"""The two-layer ReLU network of the convergence theory: output, gradient, Gram matrix, and how far it has moved."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num, PRNGKeyArray

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision

__all__ = [
    "TwoLayer",
    "init_two_layer",
    "jacobian_change",
    "max_distance",
    "pattern_changes",
    "pull_back",
    "total_distance",
    "two_layer_gram",
    "two_layer_output",
]


class TwoLayer(NamedTuple):
    """The network f(x) = (1/√m) Σ_r a_r (w_r·x)₊, of which the first layer alone is trained.

    Attributes:
        w: First layer, shape (m, d), trained.
        a: Second layer, ±1, shape (m,), fixed.
    """

    w: Array
    a: Array


def init_two_layer(
    key: PRNGKeyArray, width: int, d: int, *, nu: float = 1.0, paired: bool = False, dtype: Any = None
) -> TwoLayer:
    """Draw a network with w_r ~ N(0, ν² I) and a_r uniform on ±1.

    Args:
        key: Random key.
        width: Number m of neurons; even if ``paired``.
        d: Dimension of an input.
        nu: Standard deviation ν of the first layer.
        paired: Draw m/2 neurons and add a copy of each with the opposite sign: the network then starts at f = 0 for
            every input, which formulas that put u(0) = 0 ask for; E[G] is the same.
        dtype: Floating type; JAX's default if left out.

    Returns:
        The network.

    Raises:
        ValueError: If ``paired`` and the width is odd.

    Example:
        >>> import jax
        >>> net = init_two_layer(jax.random.key(0), 8, 3, paired=True)
        >>> float(abs(two_layer_output(net, jax.numpy.ones((1, 3)))[0])) < 1e-6
        True

    Source: lecture, Theorem 3, Assumption 1.
    """
    if paired and width % 2:
        raise ValueError(f"expected an even width for a paired initialisation, got {width}")
    dtype = jnp.zeros(0).dtype if dtype is None else dtype
    key_w, key_a = jax.random.split(key)
    drawn = width // 2 if paired else width
    w = nu * jax.random.normal(key_w, (drawn, d), dtype)
    a = jax.random.rademacher(key_a, (drawn,), dtype)
    return TwoLayer(jnp.concatenate([w, w]), jnp.concatenate([a, -a])) if paired else TwoLayer(w, a)


@full_precision
def two_layer_output(net: TwoLayer, x: Num[Array, "n d"]) -> Float[Array, " n"]:
    """Network function f(x) = (1/√m) Σ_r a_r (w_r·x)₊.

    Args:
        net: The network.
        x: Inputs, shape (n, d).

    Returns:
        Outputs, shape (n,).

    Example:
        >>> import jax.numpy as jnp
        >>> two_layer_output(TwoLayer(jnp.eye(2)[:1], jnp.ones(1)), jnp.asarray([[2.0, 0.0]])).tolist()
        [2.0]

    Source: lecture, slide "Setup"; arora2019fine, Eq. 1.
    """
    return jnp.maximum(x @ net.w.T, 0) @ net.a / jnp.sqrt(net.a.size)


@full_precision
def pull_back(net: TwoLayer, x: Num[Array, "n d"], residual: Num[Array, " n"]) -> Float[Array, "m d"]:
    """Jᵀv, the gradient of ⟨v, f(X)⟩ in the first layer: row r is (1/√m) a_r Σ_i v_i 1{w_r·x_i > 0} x_i.

    Args:
        net: The network.
        x: Inputs, shape (n, d).
        residual: The vector v, shape (n,).

    Returns:
        The gradient, shape (m, d).

    Example:
        >>> import jax.numpy as jnp
        >>> pull_back(TwoLayer(jnp.eye(2)[:1], jnp.ones(1)), jnp.eye(2), jnp.ones(2)).tolist()
        [[1.0, 0.0]]

    Source: du2019gradient, Eq. 4.
    """
    x = validation.floats(x)
    active = (x @ net.w.T > 0).astype(x.dtype) * residual[:, None]
    return net.a[:, None] * (active.T @ x) / jnp.sqrt(net.a.size)


@full_precision
def two_layer_gram(net: TwoLayer, x: Num[Array, "n d"]) -> Float[Array, "n n"]:
    """Gram matrix G = J Jᵀ of the finite network, G_ij = ⟨x_i, x_j⟩ (1/m) Σ_r 1{w_r·x_i > 0, w_r·x_j > 0}.

    Args:
        net: The network.
        x: Inputs, shape (n, d).

    Returns:
        The matrix, shape (n, n); its expectation is :func:`snn_ntk.ntk.first_layer_gram`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> bool(two_layer_gram(init_two_layer(jax.random.key(0), 64, 2), jnp.eye(2))[0, 1] == 0)
        True

    Source: lecture, Condition 1.
    """
    x = validation.floats(x)
    active = (x @ net.w.T > 0).astype(x.dtype)
    return (x @ x.T) * (active @ active.T) / net.a.size


@full_precision
def pattern_changes(net: TwoLayer, start: TwoLayer, x: Num[Array, "n d"]) -> Float[Array, ""]:
    """Fraction of changed activations, (1/mn) Σ_{i≤n} Σ_{r≤m} 1{sign w_r(0)·x_i ≠ sign w_r(k)·x_i}.

    Args:
        net: The network now.
        start: The network at initialisation.
        x: Inputs, shape (n, d).

    Returns:
        A scalar in [0, 1].

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = init_two_layer(jax.random.key(0), 8, 2)
        >>> float(pattern_changes(net, net, jnp.eye(2)))
        0.0

    Source: lecture, Figure 1 (panel b, whose outer sum should run over the n inputs); du2019gradient.
    """
    return jnp.mean((x @ net.w.T > 0) != (x @ start.w.T > 0))


def max_distance(net: TwoLayer, start: TwoLayer) -> Float[Array, ""]:
    """Largest distance a neuron has moved, max_r ‖w_r(k) − w_r(0)‖.

    Args:
        net: The network now.
        start: The network at initialisation.

    Returns:
        The distance, a scalar.

    Example:
        >>> import jax
        >>> net = init_two_layer(jax.random.key(0), 8, 2)
        >>> float(max_distance(net, net))
        0.0

    Source: lecture, Figure 1 (panel c); du2019gradient.
    """
    return jnp.max(jnp.linalg.norm(net.w - start.w, axis=-1))


def total_distance(net: TwoLayer, start: TwoLayer) -> Float[Array, ""]:
    """Distance of all weights from the start, ‖W(k) − W(0)‖_F.

    Args:
        net: The network now.
        start: The network at initialisation.

    Returns:
        The distance, a scalar.

    Example:
        >>> import jax
        >>> net = init_two_layer(jax.random.key(0), 8, 2)
        >>> float(total_distance(net, net))
        0.0

    Source: lecture, slide "Where do these bounds come from?" (the B of F_{A,B}); arora2019fine, Lemma 5.3.
    """
    return jnp.linalg.norm(net.w - start.w)


@full_precision
def jacobian_change(net: TwoLayer, start: TwoLayer, x: Num[Array, "n d"]) -> Float[Array, ""]:
    """The constant C of the stable-Jacobian condition, 3 ‖J(θ) − J(0)‖_2 / √λ_min(G(0)), at one θ.

    Args:
        net: The network now.
        start: The network at initialisation.
        x: Inputs, shape (n, d).

    Returns:
        C, a scalar; the theorem needs C < 1/2 in a whole ball around the start. Infinite where J has changed and G(0) is
        singular to n units in the last place of its largest eigenvalue: no C is enough then.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> net = init_two_layer(jax.random.key(0), 64, 2)
        >>> float(jacobian_change(net, net, jnp.eye(2)))
        0.0

    Source: lecture, Condition 2; zhang2019fast, Condition 2.
    """
    x = validation.floats(x)
    change = (x @ net.w.T > 0).astype(x.dtype) - (x @ start.w.T > 0).astype(x.dtype)
    squared = jnp.linalg.eigvalsh((x @ x.T) * (change @ change.T) / net.a.size)[-1]
    values = jnp.linalg.eigvalsh(two_layer_gram(start, x))
    regular = values[0] > len(values) * jnp.finfo(values.dtype).eps * values[-1]
    ratio = jnp.where(regular, jnp.maximum(squared, 0) / jnp.where(regular, values[0], 1), jnp.inf)
    return jnp.where((change == 0).all(), 0, 3 * jnp.sqrt(ratio))
