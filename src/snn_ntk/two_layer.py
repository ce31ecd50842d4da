"""The two-layer ReLU network of the convergence and generalisation theory: three descents, and its bounds."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import minimize

__all__ = [
    "LogisticPath",
    "TwoLayer",
    "descend",
    "generalisation_bound",
    "gradient_step",
    "gram",
    "init",
    "jacobian_change",
    "logistic_path",
    "margin_norm",
    "max_distance",
    "natural_gradient_step",
    "output",
    "pattern_changes",
    "predicted_loss",
    "rademacher_bound",
    "rademacher_linearised",
    "stochastic_step",
]


class TwoLayer(NamedTuple):
    """f(x) = m^{-1/2} Σ_r a_r (w_r·x)₊; ``w`` (m, d) is trained, ``a`` (m,) = ±1 is not."""

    w: Array
    a: Array


def init(key: PRNGKeyArray, width: int, d: int, *, nu: float = 1.0, paired: bool = False, dtype: Any = None) -> TwoLayer:
    """Draw w_r ~ N(0, ν² I), a_r uniform on ±1.

    Args:
        key: random key.
        width: m; even if ``paired``.
        d: input dimension.
        nu: standard deviation ν of the first layer.
        paired: draw m/2 neurons and add a copy of each with the opposite sign: the network then starts at f = 0 for
            every input while its Gram matrix keeps the same law, which is what formulas that put u(0) = 0 ask for.
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


def _pull(net: TwoLayer, x: Array, residual: Array) -> Array:
    """Jᵀ residual, shape (m, d)."""
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
    return net._replace(w=net.w - learning_rate * _pull(net, x, output(net, x) - y))


def stochastic_step(
    net: TwoLayer,
    x: Float[Array, "n d"],
    y: Float[Array, " n"],
    key: PRNGKeyArray,
    *,
    learning_rate: float,
    batch_size: int,
) -> TwoLayer:
    """One step of SGD, W ← W − (η/B) Σ_{s in B} ∇ℓ(f(x_s), y_s), ℓ = ½(f − y)², the batch drawn without replacement.

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

    The Fisher matrix F = JᵀJ is singular as soon as there are more parameters than data; Jᵀ(JJᵀ)⁻¹ is F⁺Jᵀ, the
    minimum-norm step.

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
    solved = jnp.linalg.solve(gram(net, x), output(net, x) - y)
    return net._replace(w=net.w - learning_rate * _pull(net, x, solved))


def pattern_changes(net: TwoLayer, start: TwoLayer, x: Float[Array, "n d"]) -> Float[Array, ""]:
    """Fraction of activations that differ from the start, (1/mn) Σ_{i≤n} Σ_{r≤m} 1{sign w_r(0)·x_i ≠ sign w_r(k)·x_i}.

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


def generalisation_bound(
    kernel: Float[Array, "n n"], y: Float[Array, " n"], *, delta: float | None = None
) -> Float[Array, ""]:
    """Bound on the expected loss of the trained network for any 1-Lipschitz loss with values in [0, 1].

    √(2 yᵀ(H∞)⁻¹y / n) [+ 3 √(log(6/δ) / 2n)].

    Args:
        kernel: H∞ on the training inputs, positive definite; float64 where its smallest eigenvalue is small.
        y: targets.
        delta: probability of failure; with it the confidence term of Theorem 6 is added.

    Returns:
        The bound.

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(generalisation_bound(jnp.eye(2) / 2, jnp.ones(2))), 4)
        2.0

    Source: the lecture's Eq. 4 and Eq. 18; Arora et al. (2019), Theorem 5.1.
    """
    factor = jnp.linalg.cholesky(kernel)
    quadratic = jnp.sum(jax.scipy.linalg.solve_triangular(factor, y, lower=True) ** 2)
    confidence = 0.0 if delta is None else 3 * jnp.sqrt(jnp.log(6 / delta) / (2 * y.size))
    return jnp.sqrt(2 * quadratic / y.size) + confidence


def rademacher_bound(
    per_neuron: float, total: float, width: int, n: int, *, delta: float, nu: float | None = None
) -> tuple[float, float, float]:
    """The three terms of the bound on the Rademacher complexity of networks near their initialisation.

    B/√(2n) (1 + (2 log(2/δ)/m)^{1/4}) + 2A²√m/ν + A √(2 log(2/δ)); the lecture prints it for ν = 1, without the ν.

    Args:
        per_neuron: A, the largest distance of a neuron.
        total: B, the distance of all weights.
        width: m.
        n: sample size.
        delta: probability of failure.
        nu: standard deviation of the initialisation; 1 if left out.

    Returns:
        The three terms; the bound is their sum.

    Example:
        >>> [round(term, 3) for term in rademacher_bound(0.01, 1.0, 10_000, 100, delta=0.1)]
        [0.082, 0.02, 0.024]

    Source: the lecture's last generalisation slide; Arora et al. (2019), Lemma 5.4.
    """
    log_term = 2 * np.log(2 / delta)
    first = total / np.sqrt(2 * n) * (1 + (log_term / width) ** 0.25)
    second = 2 * per_neuron**2 * np.sqrt(width) / (1.0 if nu is None else nu)
    return float(first), float(second), float(per_neuron * np.sqrt(log_term))


def rademacher_linearised(
    kernel: Float[Array, "n n"], total: float, signs: Float[Array, "s n"]
) -> Float[Array, " s"]:
    """Complexity of the linearised class {f₀ + ⟨∇f, Δ⟩ : ‖Δ‖ ≤ B} for given signs, (B/n) √(εᵀGε).

    Args:
        kernel: Gram matrix on the sample.
        total: B.
        signs: draws of ε, ±1, one a row.

    Returns:
        The supremum for each draw; its mean is the empirical Rademacher complexity, at most B √(tr G)/n.

    Example:
        >>> import jax.numpy as jnp
        >>> rademacher_linearised(jnp.eye(4), 2.0, jnp.ones((1, 4))).tolist()
        [1.0]

    Source: derived in the book's chapter 03.
    """
    quadratic = jnp.einsum("si,ij,sj->s", signs, kernel, signs)
    return total / signs.shape[1] * jnp.sqrt(jnp.maximum(quadratic, 0))


class LogisticPath(NamedTuple):
    """Minimisers of the logistic loss over balls of a kernel's function space, one a penalty."""

    radius: np.ndarray
    loss: np.ndarray
    dual: np.ndarray


def logistic_path(kernel: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> LogisticPath:
    """Best logistic loss (1/n) Σ log(1 + exp(−y_i f(x_i))) in the ball ‖f‖ ≤ R, for a range of R.

    Each minimiser over a ball is the minimiser of loss + λ‖f‖²/2 for one λ; f = Σ_j α_j k(·, x_j), solved by Newton's
    method from the strongest penalty down.

    Args:
        kernel: positive definite matrix (n, n), float64.
        y: labels ±1.
        penalties: λ > 0, in any order; returned in decreasing order, so increasing R.

    Returns:
        Radius R = ‖f‖, loss at the minimiser, and coefficients α (one row a penalty).

    Raises:
        ValueError: for labels other than ±1 or a penalty that is not positive.

    Example:
        >>> path = logistic_path(np.eye(4), np.array([1, -1, 1, -1.0]), np.array([1.0, 0.1]))
        >>> bool(path.loss[1] < path.loss[0] < np.log(2))
        True

    Source: the first term of the lecture's NTRF bound; Cao and Gu (2019), Theorem 3.3.
    """
    kernel, y, n = np.asarray(kernel, dtype=np.float64), np.asarray(y, dtype=np.float64), len(y)
    if not np.all(np.abs(y) == 1):
        raise ValueError("expected labels -1 and 1, got others")
    penalties = np.sort(np.asarray(penalties, dtype=np.float64))[::-1]
    if penalties[-1] <= 0:
        raise ValueError(f"expected positive penalties, got {penalties[-1]}")
    eigenvalues, vectors = np.linalg.eigh(kernel)
    features = vectors * np.sqrt(np.maximum(eigenvalues, 0))  # f = features @ v with ‖f‖ = ‖v‖
    v, rows = np.zeros(n), []

    def objective(v, penalty):
        margins = y * (features @ v)
        slope = -y / (1 + np.exp(np.clip(margins, -500, 500)))
        value = np.mean(np.logaddexp(0, -margins)) + penalty * v @ v / 2
        return value, features.T @ slope / n + penalty * v

    def curvature(v, direction, penalty):
        margins = y * (features @ v)
        weight = 1 / (2 + np.exp(np.clip(margins, -500, 500)) + np.exp(-np.clip(margins, -500, 500)))
        return features.T @ (weight * (features @ direction)) / n + penalty * direction

    for penalty in penalties:
        v = minimize(
            objective, v, args=(penalty,), jac=True, method="Newton-CG",
            hessp=lambda v, direction, penalty: curvature(v, direction, penalty), options={"xtol": 1e-8},
        ).x
        margins = y * (features @ v)
        dual = y / (1 + np.exp(margins)) / (n * penalty)  # stationarity: α_i = −ℓ′_i/(nλ)
        rows.append((np.linalg.norm(v), np.mean(np.logaddexp(0, -margins)), dual))
    radius, loss, dual = (np.asarray(column) for column in zip(*rows, strict=True))
    return LogisticPath(radius, loss, dual)


def margin_norm(kernel: np.ndarray, y: np.ndarray) -> float:
    """The infimum inf{√(ỹᵀK⁻¹ỹ) : ỹ_i y_i ≥ 1}, the norm of the hard-margin kernel support vector machine.

    Solved in the dual, max_{α ≥ 0} Σα − ½ (α∘y)ᵀK(α∘y), whose value is half the squared norm.

    Args:
        kernel: positive definite matrix (n, n), float64.
        y: labels ±1.

    Returns:
        The norm; at most √(yᵀK⁻¹y).

    Example:
        >>> round(margin_norm(np.eye(4), np.array([1, -1, 1, -1.0])), 4)
        2.0

    Source: the lecture's Corollary 3.10; Cao and Gu (2019), Corollary 3.10.
    """
    q = np.asarray(kernel, dtype=np.float64) * np.outer(y, y)

    def negative_dual(alpha):
        product = q @ alpha
        return alpha @ product / 2 - alpha.sum(), product - 1

    start = np.full(len(y), 1 / max(q.sum(axis=1).max(), 1e-12))
    result = minimize(
        negative_dual, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(y),
        options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 30},
    )
    return float(np.sqrt(max(-2 * result.fun, 0.0)))
