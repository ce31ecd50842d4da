"""Gradient, stochastic, natural and online descent of the two-layer network, and the loss that the limit predicts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Num, PRNGKeyArray

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.ntk.two_layer import TwoLayer, pull_back, two_layer_gram, two_layer_output

__all__ = ["descend", "gradient_step", "natural_gradient_step", "online_logistic", "predicted_loss", "stochastic_step"]


def gradient_step(net: TwoLayer, x: Num[Array, "n d"], y: Num[Array, " n"], *, learning_rate: float) -> TwoLayer:
    """One step of gradient descent on Φ(W) = ½ Σ_i (y_i − f(x_i))²: W ← W − η Jᵀ(u − y).

    Args:
        net: The network.
        x: Inputs, shape (n, d).
        y: Targets, shape (n,).
        learning_rate: Step size η.

    Returns:
        The network after the step.

    Raises:
        ValueError: If `y` is not of shape (n,).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.ntk import init_two_layer
        >>> net, x, y = init_two_layer(jax.random.key(0), 64, 2), jnp.eye(2), jnp.ones(2)
        >>> new = gradient_step(net, x, y, learning_rate=0.5)
        >>> bool(jnp.sum((two_layer_output(new, x) - y) ** 2) < jnp.sum((two_layer_output(net, x) - y) ** 2))
        True

    Source: lecture, slide "Setup"; du2019gradient.
    """
    y = validation.of_shape(y, x.shape[:1], "y")
    return net._replace(w=net.w - learning_rate * pull_back(net, x, two_layer_output(net, x) - y))


def stochastic_step(
    net: TwoLayer,
    x: Num[Array, "n d"],
    y: Num[Array, " n"],
    key: PRNGKeyArray,
    *,
    learning_rate: float,
    batch_size: int,
) -> TwoLayer:
    """One step of SGD, W ← W − (η/B) Σ_{s in batch} ∇ℓ(f(x_s), y_s), ℓ = ½(f − y)², drawn without replacement.

    Args:
        net: The network.
        x: Inputs, shape (n, d).
        y: Targets, shape (n,).
        key: Random key of this step's batch.
        learning_rate: Step size η.
        batch_size: Batch size B, at most n.

    Returns:
        The network after the step.

    Raises:
        ValueError: If the batch is larger than the data set, or `y` is not of shape (n,).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.ntk import init_two_layer
        >>> net, x, y = init_two_layer(jax.random.key(0), 64, 2), jnp.eye(2), jnp.ones(2)
        >>> full = stochastic_step(net, x, y, jax.random.key(1), learning_rate=1.0, batch_size=2)
        >>> bool(jnp.allclose(full.w, gradient_step(net, x, y, learning_rate=0.5).w, atol=1e-6))
        True

    Source: lecture, slide "Stochastic Gradient Descent"; zou2019improved.
    """
    if batch_size > x.shape[0]:
        raise ValueError(f"expected a batch of at most n={x.shape[0]}, got {batch_size}")
    y = validation.of_shape(y, x.shape[:1], "y")
    rows = jax.random.choice(key, x.shape[0], (batch_size,), replace=False)
    return gradient_step(net, x[rows], y[rows], learning_rate=learning_rate / batch_size)


@full_precision
def natural_gradient_step(
    net: TwoLayer, x: Num[Array, "n d"], y: Num[Array, " n"], *, learning_rate: float
) -> TwoLayer:
    """One step of natural gradient descent for the squared loss, W ← W − η Jᵀ (J Jᵀ)⁺ (u − y).

    The Fisher matrix F = JᵀJ is singular as soon as there are more parameters than data; Jᵀ(JJᵀ)⁺ is F⁺Jᵀ, the
    minimum-norm step. Where the Gram matrix JJᵀ is singular too (an input twice, one that no neuron answers to), its
    eigenvalues below n units in the last place of the largest are 0: the step is towards the least squares.

    Args:
        net: The network.
        x: Inputs, shape (n, d).
        y: Targets, shape (n,).
        learning_rate: Step size η; the theory asks for η ≤ (1 − 2C)/(1 + C)² < 1.

    Returns:
        The network after the step.

    Raises:
        ValueError: If `y` is not of shape (n,).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.ntk import init_two_layer
        >>> net, x, y = init_two_layer(jax.random.key(0), 64, 2), jnp.eye(2), jnp.ones(2)
        >>> new = natural_gradient_step(net, x, y, learning_rate=0.5)
        >>> r0, r1 = two_layer_output(net, x) - y, two_layer_output(new, x) - y
        >>> bool(jnp.all(r1**2 < 0.5 * r0**2 + 1e-3))
        True

    Source: lecture, slide "Natural Gradient Descent", Theorem 1; zhang2019fast.
    """
    y = validation.of_shape(y, x.shape[:1], "y")
    gram = two_layer_gram(net, x)
    inverse = jnp.linalg.pinv(gram, rtol=len(gram) * jnp.finfo(gram.dtype).eps, hermitian=True)
    solved = inverse @ (two_layer_output(net, x) - y)
    return net._replace(w=net.w - learning_rate * pull_back(net, x, solved))


def online_logistic(
    net: TwoLayer, x: Num[Array, "n d"], y: Num[Array, " n"], *, learning_rate: float
) -> tuple[TwoLayer, Array]:
    """One pass of SGD on ℓ(y f(x)) = log(1 + exp(−y f(x))), each sample predicted before it is learnt from.

    The mistakes' mean is an unbiased estimate of the expected 0-1 error of a uniformly drawn iterate, which
    is what the bound speaks of. In the lecture's scaling, f_W = √m W2 σ(W1 x), its step is 1/m of the one here.

    Args:
        net: The start, W^(1).
        x: Fresh samples, one a step, shape (n, d).
        y: Labels ±1, shape (n,).
        learning_rate: Step size η.

    Returns:
        The last network and, for each sample, whether the network before it was wrong, booleans of shape (n,).

    Raises:
        ValueError: If `y` is not of shape (n,), or a label is not ±1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.ntk import init_two_layer
        >>> net = init_two_layer(jax.random.key(0), 64, 2)
        >>> x = jnp.tile(jnp.asarray([[1.0, 0.0]]), (50, 1))
        >>> bool(online_logistic(net, x, jnp.ones(50), learning_rate=1.0)[1][-1])
        False

    Source: lecture, Algorithm 1; cao2019generalization, Algorithm 1.
    """

    def body(net, sample):
        x, y = sample[0][None], sample[1]
        margin = y * two_layer_output(net, x)[0]
        slope = -y * jax.nn.sigmoid(-margin)
        return net._replace(w=net.w - learning_rate * pull_back(net, x, slope[None])), margin <= 0

    y = validation.of_shape(y, x.shape[:1], "y")
    if not isinstance(y, Tracer) and not (jnp.abs(jnp.asarray(y)) == 1).all():
        raise ValueError("expected labels -1 and 1, got others")
    return jax.lax.scan(body, net, (validation.floats(x), validation.floats(y)))


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
        step: Function of the network and this step's key that returns the network after the step.
        net: The start.
        key: Random key, split over the steps.
        steps: Number of steps.
        measure: Function of the network that returns a pytree of arrays.

    Returns:
        The last network and the measurements, stacked along a leading axis of length ``steps + 1``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.ntk import init_two_layer
        >>> net, x, y = init_two_layer(jax.random.key(0), 64, 2), jnp.eye(2), jnp.ones(2)
        >>> step = lambda net, _: gradient_step(net, x, y, learning_rate=0.5)
        >>> descend(step, net, jax.random.key(1), steps=3, measure=lambda net: two_layer_output(net, x))[1].shape
        (4, 2)
    """

    def body(net, key):
        net = step(net, key)
        return net, measure(net)

    first = measure(net)
    net, rest = jax.lax.scan(body, net, jax.random.split(key, steps))
    return net, jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), first, rest)


@full_precision
def predicted_loss(
    kernel: Num[Array, "n n"], residual: Num[Array, " n"], steps: int, *, learning_rate: float
) -> Float[Array, " steps_plus_one"]:
    """Loss of gradient descent in the limit of infinite width, ½‖(I − ηH∞)^k (y − u(0))‖², k = 0 … steps.

    Args:
        kernel: Gram matrix H∞ on the training inputs, shape (n, n).
        residual: What is to be learnt, y − u(0), shape (n,); the lecture has u(0) = 0.
        steps: The last k.
        learning_rate: Step size η.

    Returns:
        The loss for every k, shape (steps + 1,).

    Example:
        >>> import jax.numpy as jnp
        >>> predicted_loss(jnp.eye(1), jnp.ones(1), 2, learning_rate=0.5).tolist()
        [0.5, 0.125, 0.03125]

    Source: lecture, Theorem 3.2 (the one on generalisation); arora2019fine, Theorem 4.1.
    """
    eigenvalues, vectors = jnp.linalg.eigh(validation.floats(kernel))
    exponents = 2 * jnp.arange(steps + 1, dtype=eigenvalues.dtype)
    powers = (1 - learning_rate * eigenvalues)[None, :] ** exponents[:, None]
    return powers @ (vectors.T @ residual) ** 2 / 2
