"""Bounds on the test error of two-layer ReLU networks, and on their Rademacher complexity."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.ntk.two_layer import TwoLayer, pull_back, two_layer_output

__all__ = ["generalisation_bound", "rademacher_ascent", "rademacher_bound", "rademacher_linearised"]


def generalisation_bound(
    kernel: Num[Array, "n n"], y: Num[Array, " n"], *, delta: float | None = None
) -> Float[Array, ""]:
    """Bound on the expected loss of the trained network for any 1-Lipschitz loss with values in [0, 1].

    √(2 yᵀ(H∞)⁻¹y / n), to which Theorem 6 adds 3 √(log(6/δ) / 2n).

    Args:
        kernel: Gram matrix H∞ on the training inputs, shape (n, n), positive definite; float64 where its smallest
            eigenvalue is small.
        y: Targets, shape (n,).
        delta: Probability of failure; with it the confidence term of Theorem 6 is added.

    Returns:
        The bound, a scalar.

    Raises:
        ValueError: If the kernel is not finite, not symmetric or not positive definite beyond rounding (inside of `jax.jit`
            that is NaN or not seen), or `y` is not of shape (n,).

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(generalisation_bound(jnp.eye(2) / 2, jnp.ones(2))), 4)
        2.0

    Source: lecture, Theorem 3.3, Eq. 4, Theorem 6, Eq. 18; arora2019fine, Theorem 5.1.
    """
    kernel, y = validation.floats(kernel), validation.floats(validation.of_shape(y, kernel.shape[:1], "y"))
    factor = validation.cholesky_factor(kernel, "kernel")
    quadratic = jnp.sum(jax.scipy.linalg.solve_triangular(factor, y, lower=True) ** 2)
    confidence = 0.0 if delta is None else 3 * jnp.sqrt(jnp.log(6 / delta) / (2 * y.size))
    return jnp.sqrt(2 * quadratic / y.size) + confidence


def rademacher_bound(
    per_neuron: float, total: float, width: int, n: int, *, delta: float, nu: float | None = None
) -> tuple[float, float, float]:
    """The three terms of the bound on the Rademacher complexity of networks near their initialisation.

    B/√(2n) (1 + (2 log(2/δ)/m)^(1/4)) + 2A²√m/ν + A √(2 log(2/δ)).

    Args:
        per_neuron: Radius A, the largest distance of a neuron.
        total: Radius B, the distance of all weights.
        width: Number m of neurons.
        n: Number of samples.
        delta: Probability of failure.
        nu: Standard deviation of the initialisation; 1 if left out.

    Returns:
        The three terms; the bound is their sum.

    Example:
        >>> [round(term, 3) for term in rademacher_bound(0.01, 1.0, 10_000, 100, delta=0.1)]
        [0.082, 0.02, 0.024]

    Source: lecture, slide "Where do these bounds come from?" (which leaves ν out); arora2019fine, Lemma 5.4.
    """
    log_term = 2 * np.log(2 / delta)
    first = total / np.sqrt(2 * n) * (1 + (log_term / width) ** 0.25)
    second = 2 * per_neuron**2 * np.sqrt(width) / (1.0 if nu is None else nu)
    return float(first), float(second), float(per_neuron * np.sqrt(log_term))


@full_precision
def rademacher_linearised(kernel: Num[Array, "n n"], total: float, signs: Num[Array, "s n"]) -> Float[Array, " s"]:
    """Complexity of the linearised class {f_0 + ⟨∇f, Δ⟩ : ‖Δ‖ ≤ B} for given signs, (B/n) √(εᵀGε).

    Args:
        kernel: Gram matrix on the sample, shape (n, n).
        total: Radius B.
        signs: Draws of ε, entries ±1, one draw a row, shape (s, n).

    Returns:
        The supremum for each draw, shape (s,); its mean is the empirical Rademacher complexity, at most B √(tr G)/n.

    Example:
        >>> import jax.numpy as jnp
        >>> rademacher_linearised(jnp.eye(4), 2.0, jnp.ones((1, 4))).tolist()
        [1.0]

    Source: book, chapter 3.
    """
    quadratic = jnp.einsum("si,ij,sj->s", signs, validation.floats(kernel), signs)
    return total / signs.shape[1] * jnp.sqrt(jnp.maximum(quadratic, 0))


def rademacher_ascent(
    start: TwoLayer,
    x: Num[Array, "n d"],
    signs: Num[Array, " n"],
    per_neuron: float | Array,
    total: float | Array,
    *,
    steps: int = 40,
) -> Float[Array, ""]:
    """Lower bound on sup (1/n) Σ ε_i f(x_i) over F_{A,B}, by projected gradient ascent on the network itself.

    Args:
        start: The network at initialisation, the centre of the class.
        x: The sample, shape (n, d).
        signs: One draw of ε, entries ±1, shape (n,).
        per_neuron: Radius A.
        total: Radius B.
        steps: Number of ascent steps, each of length B/4 before projection.

    Returns:
        The largest value met; its mean over ε bounds the Rademacher complexity from below.

    Raises:
        TypeError: If a radius is not one number.
        ValueError: If a radius is negative or not finite, or `signs` is not of shape (n,).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.ntk import init_two_layer
        >>> net = init_two_layer(jax.random.key(0), 64, 2, paired=True)
        >>> bool(rademacher_ascent(net, jnp.eye(2), jnp.ones(2), 1.0, 1.0) > 0)
        True

    Source: lecture, slide "Where do these bounds come from?" (the class F_{A,B}).
    """
    signs = validation.of_shape(signs, x.shape[:1], "signs")
    per_neuron = validation.non_negative(per_neuron, "per_neuron")
    total = validation.non_negative(total, "total")

    def correlation(net):
        return jnp.mean(signs * two_layer_output(net, x))

    def body(move, _):
        ascent = pull_back(start._replace(w=start.w + move), x, signs)
        # Without a slope, or with B = 0, nothing moves.
        move = move + total / 4 * ascent / jnp.maximum(jnp.linalg.norm(ascent), 1e-30)
        lengths = jnp.linalg.norm(move, axis=-1, keepdims=True)
        move = move * jnp.minimum(1, per_neuron / jnp.maximum(lengths, 1e-30))
        # Shrinking keeps every neuron within A.
        move = move * jnp.minimum(1, total / jnp.maximum(jnp.linalg.norm(move), 1e-30))
        return move, correlation(start._replace(w=start.w + move))

    return jnp.max(jax.lax.scan(body, jnp.zeros_like(start.w), length=steps)[1])
