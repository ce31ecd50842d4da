"""What the regularised network converges to (Theorem 2): as printed, corrected, and for the exact divergence.

Only W_μ is trained, starting at f̂₀; targets Y. Every formula has one shape, kernel ridge regression,

    f̂(x, ∞) = f̂₀(x) + K(x, X) (K(X, X) + ρ I)^{-1} (Y − f̂₀(X)),

and they differ in K, in ρ and in whether f̂₀ is there:

    printed     K = Θ^(μ),                        ρ = β,        f̂₀ dropped
    corrected   K = Θ^(μ) = ⟨x, x'⟩ κ',            ρ = nβ        (penalty: Eq. 12's Frobenius norm)
    exact KL    K = Θ_KL  = ⟨x, (UᵀU)⁺ x'⟩ κ',     ρ = β/σ0²     (penalty: Eq. 4's divergence, W_σ held at σ0)

where the rows of U are the normalised training inputs. All functions take n × n factors: the full kernels are these
times the identity on the outputs, so every output is regressed by itself. Solves are done in float64 on the host.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from scipy.linalg import cho_factor, cho_solve

from snn_ntk.duals import dual_derivatives, resolve
from snn_ntk.dynamics import gradient_descent
from snn_ntk.network import Parameters
from snn_ntk.objectives import mse

__all__ = [
    "Stationary",
    "as_printed",
    "corrected",
    "effective_ridge",
    "error_bound",
    "exact_kl",
    "exact_kl_kernel",
    "kernel_drift",
    "neuron_slopes",
    "path_averaged_kernel",
    "stationary_point",
    "typical_error",
    "whitened_product",
]


def _regress(kernel, kernel_test, ridge, residual):
    """K_test (K + ρ I)^{-1} residual by Cholesky."""
    factor = cho_factor(kernel + ridge * np.eye(len(kernel)))
    return (kernel if kernel_test is None else kernel_test) @ cho_solve(factor, residual)


def _checked(kernel, kernel_test, f0_test, beta, *outputs) -> tuple[Any, ...]:
    kernel, kernel_test, f0_test, *outputs = (
        None if value is None else np.asarray(value, np.float64) for value in (kernel, kernel_test, f0_test, *outputs)
    )
    if kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"expected a square kernel, got shape {kernel.shape}")
    if kernel_test is not None and kernel_test.shape[1] != kernel.shape[0]:
        raise ValueError(f"expected kernel_test of shape (n_test, {kernel.shape[0]}), got {kernel_test.shape}")
    if (kernel_test is None) != (f0_test is None):
        raise ValueError("expected kernel_test and f0_test together, got one of them")
    if beta <= 0:
        raise ValueError(f"expected beta > 0, got {beta}")
    return kernel, kernel_test, f0_test, *outputs


def as_printed(
    kernel: Float[ArrayLike, "n _"],
    y: Float[ArrayLike, "n d_out"],
    *,
    beta: float,
    kernel_test: Float[ArrayLike, "n_test _"] | None = None,
) -> Float[np.ndarray, "n_eval d_out"]:
    """Theorem 2 as the paper prints it, Θ^(μ)(x,X) (Θ^(μ)(X,X) + β I)^{-1} Y (Eq. 13).

    Kept to be compared with; `corrected` is what Eq. 12 converges to.

    Args:
      kernel: Θ^(μ)(X, X), `(n, n)`.
      y: targets, `(n, d_out)`.
      beta: weight β of Eq. 12.
      kernel_test: Θ^(μ)(x, X), `(n_test, n)`; training points if not given.

    Returns:
      Predictions, `(n_test, d_out)` or `(n, d_out)`.

    Raises:
      ValueError: a kernel of the wrong shape, or β ≤ 0.

    Example:
      >>> import jax.numpy as jnp
      >>> as_printed(jnp.eye(2), jnp.eye(2), beta=1.0).round(6).tolist()
      [[0.5, 0.0], [0.0, 0.5]]

    Source: Wang & Huang, Theorem 2.
    """
    k, k_test, _, targets = _checked(kernel, kernel_test, kernel_test, beta, y)
    return _regress(k, k_test, beta, targets)


def corrected(
    kernel: Float[ArrayLike, "n _"],
    y: Float[ArrayLike, "n d_out"],
    f0: Float[ArrayLike, "n d_out"],
    *,
    beta: float,
    kernel_test: Float[ArrayLike, "n_test _"] | None = None,
    f0_test: Float[ArrayLike, "n_test d_out"] | None = None,
) -> Float[np.ndarray, "n_eval d_out"]:
    """The minimiser of Eq. 12 for a wide network, f̂₀(x) + Θ^(μ)(x,X) (Θ^(μ)(X,X) + nβ I)^{-1} (Y − f̂₀(X)).

    Args:
      kernel: Θ^(μ)(X, X), `(n, n)`.
      y: targets, `(n, d_out)`.
      f0: outputs f̂₀(X) of the network at initialisation, `(n, d_out)`.
      beta: weight β of Eq. 12.
      kernel_test: Θ^(μ)(x, X), `(n_test, n)`; training points if not given.
      f0_test: f̂₀(x), `(n_test, d_out)`; with `kernel_test`.

    Returns:
      Predictions, `(n_test, d_out)` or `(n, d_out)`.

    Raises:
      ValueError: a kernel of the wrong shape, only one of `kernel_test` and `f0_test`, or β ≤ 0.

    Example:
      >>> import jax.numpy as jnp
      >>> corrected(jnp.eye(2), jnp.eye(2), jnp.zeros((2, 2)), beta=0.5).round(6).tolist()  # ridge nβ = 1
      [[0.5, 0.0], [0.0, 0.5]]

    Source: chapter "Ridge regression" of the book, in place of Wang & Huang, Theorem 2.
    """
    k, k_test, start_test, targets, start = _checked(kernel, kernel_test, f0_test, beta, y, f0)
    return (start if k_test is None else start_test) + _regress(k, k_test, len(k) * beta, targets - start)


def whitened_product(
    x1: Float[ArrayLike, "n1 _"], x: Float[ArrayLike, "n _"], *, rtol: float | None = None
) -> Float[np.ndarray, "n1 n"]:
    """Products in which the training inputs look isotropic, ⟨x₁, (UᵀU)⁺ x⟩ with u_i = x_i/‖x_i‖.

    For n ≤ d independent unit-norm inputs, `whitened_product(x, x)` is the identity.

    Args:
      x1: inputs to evaluate at, `(n1, d)`. Their part outside the span of `x` does not count.
      x: training inputs, `(n, d)`, none zero.
      rtol: singular values of U at most `rtol` times the largest count as zero; `max(n, d)` times the dtype's
        epsilon if not given. Directions below it would be divided by noise.

    Returns:
      `(n1, n)`.

    Raises:
      ValueError: inputs of different dimension.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
      >>> bool(jnp.allclose(whitened_product(x, x), jnp.eye(2), atol=1e-6))
      True

    Source: chapter "Ridge regression" of the book.
    """
    eps = float(np.finfo(np.asarray(x).dtype).eps)
    x1, x = np.asarray(x1, np.float64), np.asarray(x, np.float64)
    if x1.shape[1] != x.shape[1]:
        raise ValueError(f"expected inputs of dimension {x.shape[1]}, got {x1.shape[1]}")
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    _, values, basis = np.linalg.svd(units, full_matrices=False)
    kept = values > (max(x.shape) * eps if rtol is None else rtol) * values[0]
    basis, values = basis[kept], values[kept]
    return (x1 @ basis.T / values**2) @ (x @ basis.T).T


def exact_kl_kernel(
    x1: Float[ArrayLike, "n1 d"],
    x: Float[ArrayLike, "n d"],
    *,
    activation: Any,
    sigma0: float,
    rtol: float | None = None,
) -> Float[np.ndarray, "n1 n"]:
    """Tangent kernel of W_μ in the geometry of the exact divergence, Θ_KL = ⟨x₁, (UᵀU)⁺ x⟩ κ'(⟨x₁, x⟩).

    Args:
      x1: inputs to evaluate at, `(n1, d)`.
      x: training inputs, `(n, d)`.
      activation: φ, as in `snn_ntk.duals.dual_derivatives`.
      sigma0: the constant σ0 of the variance weights.
      rtol: rank tolerance of `whitened_product`.

    Returns:
      `(n1, n)`. Unlike Θ^(μ) it depends on the whole training set, not on the two inputs alone.

    Example:
      >>> import jax.numpy as jnp
      >>> from snn_ntk import stax
      >>> x = jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
      >>> kernel = exact_kl_kernel(x, x, activation=stax.Erf(), sigma0=0.7)
      >>> bool(abs(kernel[0, 1]) < 1e-6), bool(jnp.allclose(kernel[0, 0], kernel[1, 1]))  # samples decouple
      (True, True)

    Source: chapter "Ridge regression" of the book.
    """
    return whitened_product(x1, x, rtol=rtol) * _slope_moment(x1, x, activation, sigma0)


def _slope_moment(x1, x, activation, sigma0):
    """κ' at the law of the pre-activations, E[φ'(z) φ'(z')] under independent noise."""
    x1, x = jnp.asarray(x1), jnp.asarray(x)
    q1, q = ((1 + sigma0**2) * jnp.sum(points**2, axis=1) for points in (x1, x))
    return np.asarray(dual_derivatives(activation, x1 @ x.T, q1[:, None], q)[1], np.float64)


def exact_kl(
    kernel: Float[ArrayLike, "n _"],
    y: Float[ArrayLike, "n d_out"],
    f0: Float[ArrayLike, "n d_out"],
    *,
    beta: float,
    sigma0: float,
    kernel_test: Float[ArrayLike, "n_test _"] | None = None,
    f0_test: Float[ArrayLike, "n_test d_out"] | None = None,
) -> Float[np.ndarray, "n_eval d_out"]:
    """The minimiser of Eq. 4 for a wide network with W_σ = σ0 held, in which the ridge is β/σ0² whatever n is.

        f̂₀(x) + Θ_KL(x,X) (Θ_KL(X,X) + (β/σ0²) I)^{-1} (Y − f̂₀(X))

    Args:
      kernel: `exact_kl_kernel(x, x, ...)`, `(n, n)`.
      y: targets, `(n, d_out)`.
      f0: outputs f̂₀(X) of the network at initialisation, `(n, d_out)`.
      beta: weight β of Eq. 4.
      sigma0: the constant σ0 of the variance weights, positive.
      kernel_test: `exact_kl_kernel(x_test, x, ...)`, `(n_test, n)`; training points if not given.
      f0_test: f̂₀(x_test), `(n_test, d_out)`; with `kernel_test`.

    Returns:
      Predictions, `(n_test, d_out)` or `(n, d_out)`.

    Raises:
      ValueError: a kernel of the wrong shape, only one of `kernel_test` and `f0_test`, β ≤ 0 or σ0 ≤ 0.

    Example:
      >>> import jax.numpy as jnp
      >>> exact_kl(jnp.eye(2), jnp.eye(2), jnp.zeros((2, 2)), beta=0.25, sigma0=0.5).round(6).tolist()  # ridge β/σ0² = 1
      [[0.5, 0.0], [0.0, 0.5]]

    Source: chapter "Ridge regression" of the book.
    """
    k, k_test, start_test, targets, start = _checked(kernel, kernel_test, f0_test, beta, y, f0)
    if sigma0 <= 0:
        raise ValueError(f"expected sigma0 > 0 (without noise the divergence is infinite), got {sigma0}")
    return (start if k_test is None else start_test) + _regress(k, k_test, beta / sigma0**2, targets - start)


def effective_ridge(
    kernel: Float[ArrayLike, "n n"],
    y: Float[ArrayLike, "n d_out"],
    f0: Float[ArrayLike, "n d_out"],
    f: Float[ArrayLike, "n d_out"],
) -> float:
    """The ridge that a trained network acts as if it had: least-squares ρ in K (Y − f) = ρ (f − f̂₀).

    The equation is the ridge solution f = f̂₀ + K (K + ρ I)^{-1} (Y − f̂₀) with the inverse multiplied out.

    Args:
      kernel: K(X, X), `(n, n)`.
      y: targets, `(n, d_out)`.
      f0: outputs at initialisation, `(n, d_out)`.
      f: outputs after training, `(n, d_out)`.

    Returns:
      ρ; nβ if Eq. 12 was minimised and the network is wide.

    Example:
      >>> import jax.numpy as jnp
      >>> y, f0 = jnp.eye(2), jnp.zeros((2, 2))
      >>> round(effective_ridge(jnp.eye(2), y, f0, corrected(jnp.eye(2), y, f0, beta=0.5)), 6)
      1.0

    Source: chapter "Ridge regression" of the book.
    """
    kernel, y, f0, f = (np.asarray(value, np.float64) for value in (kernel, y, f0, f))
    moved = f - f0
    return float(np.sum(moved * (kernel @ (y - f))) / np.sum(moved**2))


def error_bound(
    kernel: Float[ArrayLike, "n n"],
    residual: float,
    *,
    ridge: float,
    train_error: float,
    kernel_test: Float[ArrayLike, "n_test n"] | None = None,
    test_error: float | None = None,
) -> float:
    """What survives of Theorem 2's error term: a bound on the distance of a finite network from the ridge formula.

    On training points, and on test points,

        ρ ε ‖R₀‖ / ((λ + ρ)(λ + ρ − ε)),      (ε' + ‖K(x,X)(K + ρ I)^{-1}‖ ε) ‖R₀‖ / (λ + ρ − ε),

    λ = λ_min(K(X,X)). It holds at every stationary point, when ε and ε' bound the distance of the network's kernel,
    averaged along the straight line from start to end, from K in spectral norm.

    Args:
      kernel: K(X, X), `(n, n)`: Θ^(μ) or Θ_KL.
      residual: ‖R₀‖_F = ‖Y − f̂₀(X)‖_F.
      ridge: ρ, that is nβ or β/σ0².
      train_error: ε, for K(X, X).
      kernel_test: K(x, X), `(n_test, n)`.
      test_error: ε', for K(x, X).

    Returns:
      The bound in Frobenius norm over the points; infinity if ε ≥ λ + ρ, where it says nothing.

    Raises:
      ValueError: only one of `kernel_test` and `test_error`.

    Example:
      >>> import jax.numpy as jnp
      >>> error_bound(jnp.eye(2), 2.0, ridge=1.0, train_error=0.0)
      0.0

    Source: chapter "Ridge regression" of the book, in place of the error term of Wang & Huang, Theorem 2.
    """
    if (kernel_test is None) != (test_error is None):
        raise ValueError("expected kernel_test and test_error together, got one of them")
    matrix = np.asarray(kernel, np.float64)
    floor = float(np.linalg.eigvalsh(matrix)[0]) + ridge
    if train_error >= floor:
        return float("inf")
    if kernel_test is None or test_error is None:
        return ridge * train_error * residual / (floor * (floor - train_error))
    gain = np.linalg.norm(np.linalg.solve(matrix + ridge * np.eye(len(matrix)), np.asarray(kernel_test).T), 2)
    return float((test_error + gain * train_error) * residual / (floor - train_error))


def path_averaged_kernel(
    initial: Parameters,
    trained: Parameters,
    x1: Float[Array, "n1 d_in"],
    x: Float[Array, "n d_in"],
    *,
    activation: Any,
    whitened: bool = False,
    order: int = 6,
) -> Float[Array, "n1 d_out n d_out"]:
    """The kernel with which a finite network obeys ridge regression exactly, at every stationary point.

        K̃_{(x,k),(x_i,k')} = ⟨x, x_i⟩ (1/m) Σ_r W_d[r,k] W_d[r,k'] p̄_r(x) p*_r(x_i)

    p*_r is φ̂' at the trained weights and p̄_r its average along the straight line from initial to trained W_μ, so that
    f̂* − f̂₀ = J̄ ΔW_μ is an identity and not an expansion. Eq. 12's stationary points satisfy
    f̂*(x) = f̂₀(x) + K̃(x,X) (K̃(X,X) + nβ I)^{-1} (Y − f̂₀(X)); Eq. 4's the same with the whitened product and β/σ0².

    Args:
      initial: the network at time 0.
      trained: the network at the stationary point; only W_μ differs.
      x1: inputs to evaluate at, `(n1, d_in)`.
      x: training inputs, `(n, d_in)`.
      activation: φ.
      whitened: use `whitened_product` in place of ⟨x, x_i⟩.
      order: Gauss–Legendre nodes of the average.

    Returns:
      `(n1, d_out, n, d_out)`, not symmetric.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from snn_ntk import network
      >>> from snn_ntk import stax
      >>> net = network.init(jax.random.key(0), 16, 3, sigma0=0.5)
      >>> path_averaged_kernel(net, net, jnp.eye(3)[:1], jnp.eye(3), activation=stax.Erf()).shape
      (1, 3, 3, 3)

    Source: chapter "Ridge regression" of the book.
    """
    nodes, weights = np.polynomial.legendre.leggauss(order)
    step = trained.mu - initial.mu

    def slope(part, points):
        return neuron_slopes(initial._replace(mu=initial.mu + part * step), points, activation=activation)

    mean = jnp.stack([w / 2 * slope((t + 1) / 2, x1) for t, w in zip(nodes, weights, strict=True)]).sum(axis=0)
    product = jnp.asarray(whitened_product(x1, x)) if whitened else x1 @ x.T
    width, d_out = initial.d.shape
    left = (mean[:, None, :] * initial.d.T).reshape(-1, width)
    right = (slope(1, x)[:, None, :] * initial.d.T).reshape(-1, width)
    return product[:, None, :, None] * (left @ right.T / width).reshape(len(x1), d_out, len(x), d_out)


def kernel_drift(
    width: int,
    *,
    ridge: float,
    residual: float,
    row_norm: float,
    alpha: float,
    Lambda: float,
    lipschitz: float,
    smoothness: float,
    norm: float,
) -> tuple[float, float]:
    """How far training can take the kernel: bounds of max_r ‖Δw_r‖ and of ‖K̃ − Θ^(μ)(0)‖₂ at a stationary point.

        R = L √Λ max_r‖a_r‖ ‖R₀‖ / (ρ √m),    drift = (3/2) ‖Θ^(μ)(0)‖^{1/2} η + η²/2,    η = β_s R α √Λ

    Both vanish as m grows, whatever the initial output is.

    Args:
      width: m.
      ridge: ρ = nβ (Eq. 12) or β/σ0² (exact KL).
      residual: ‖R₀‖_F = ‖Y − f̂₀(X)‖_F; a descent only shrinks it.
      row_norm: largest row norm of W_d.
      alpha: ‖W_d‖₂/√m.
      Lambda: ‖X Xᵀ‖₂; for the exact KL and unit-norm inputs it is 1, and R is measured in whitened coordinates.
      lipschitz: L, sup |φ'|.
      smoothness: β_s, sup |φ''|; the paper's β of Assumption 4.2, not the weight β.
      norm: ‖Θ^(μ)(0)‖₂ of the finite network at initialisation.

    Returns:
      `(R, drift)`.

    Example:
      >>> wide = kernel_drift(10_000, ridge=1.0, residual=2.0, row_norm=3.0, alpha=1.1, Lambda=1.0,
      ...                     lipschitz=1.0, smoothness=1.0, norm=1.0)
      >>> round(wide[0], 6)
      0.06

    Source: chapter "Ridge regression" of the book.
    """
    movement = lipschitz * np.sqrt(Lambda) * row_norm * residual / (ridge * np.sqrt(width))
    eta = smoothness * movement * alpha * np.sqrt(Lambda)
    return float(movement), float(1.5 * np.sqrt(norm) * eta + eta**2 / 2)


def neuron_slopes(params: Parameters, x: Float[Array, "n d_in"], *, activation: Any) -> Float[Array, "n m"]:
    """Each neuron's slope, φ̂'(w_r · x; s_r(x)) = E φ'(z_r), of which Θ^(μ) is the second moment.

    Args:
      params: the network.
      x: inputs, `(n, d_in)`.
      activation: φ.

    Returns:
      `(n, m)`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from snn_ntk import network
      >>> from snn_ntk import stax
      >>> net = network.init(jax.random.key(0), 16, 3, sigma0=0.5)
      >>> neuron_slopes(net, jnp.eye(3), activation=stax.Erf()).shape
      (3, 16)

    Source: Wang & Huang, Lemma 1.
    """
    smoothed = resolve(activation).smoothed
    s, u = jnp.sqrt((x**2) @ (params.sigma**2).T), x @ params.mu.T
    return jax.jvp(lambda value: smoothed(value, s), (u,), (jnp.ones_like(u),))[1]


def typical_error(
    kernel: Float[ArrayLike, "n n"],
    product: Float[ArrayLike, "n n"],
    slopes: Float[ArrayLike, "n m"],
    residual: Float[ArrayLike, "n d_out"],
    *,
    ridge: float,
    width: int,
    kernel_test: Float[ArrayLike, "n_test n"] | None = None,
    product_test: Float[ArrayLike, "n_test n"] | None = None,
    slopes_test: Float[ArrayLike, "n_test m"] | None = None,
) -> float:
    """The distance from the ridge formula to expect of a network of a given width: root mean square, leading order.

    With B_r = G M_r (K + ρ I)^{-1} R₀, M_r(x,x') = ⟨x,x'⟩ p_r(x) p_r(x') and G = ρ (K + ρ I)^{-1} on training points
    (on test points G M_r is M_r(x,X) − K(x,X) (K + ρ I)^{-1} M_r(X,X)),

        E ‖error‖_F² = ((d + 2) E_r ‖B_r‖_F² − ‖E_r B_r‖_F²) / m + O(m^{-3/2}).

    The factor d + 2 is the doing of the k ≠ k' blocks: the relative error is of order √(d/m).

    Args:
      kernel: K(X, X), `(n, n)`: Θ^(μ) or Θ_KL.
      product: the product in it, ⟨x, x'⟩ or `whitened_product(x, x)`, `(n, n)`.
      slopes: `neuron_slopes` at initialisation of a sample of neurons, `(n, m)`.
      residual: R₀ = Y − f̂₀(X), `(n, d_out)`.
      ridge: ρ = nβ or β/σ0².
      width: m of the network that is judged.
      kernel_test: K(x, X), `(n_test, n)`; training points if not given.
      product_test: the product in it, `(n_test, n)`.
      slopes_test: slopes of the same neurons at test points, `(n_test, m)`.

    Returns:
      The root mean square of the Frobenius norm.

    Example:
      >>> import jax.numpy as jnp
      >>> one = typical_error(jnp.eye(2), jnp.eye(2), jnp.ones((2, 4)), jnp.ones((2, 3)), ridge=1.0, width=100)
      >>> four = typical_error(jnp.eye(2), jnp.eye(2), jnp.ones((2, 4)), jnp.ones((2, 3)), ridge=1.0, width=400)
      >>> round(one / four, 6)
      2.0

    Source: chapter "Ridge regression" of the book.
    """
    arrays = (kernel, product, slopes, residual, kernel_test, product_test, slopes_test)
    return _typical_error(ridge, width, *(None if a is None else np.asarray(a, np.float64) for a in arrays))


def _typical_error(ridge, width, kernel, product, slopes, residual, kernel_test, product_test, slopes_test):
    n, outputs = residual.shape
    inverse = np.linalg.inv(kernel + ridge * np.eye(n))
    weights = inverse @ residual
    # ‖B V‖_F depends on V only through V Vᵀ: a square root of it replaces the d outputs by n.
    values, vectors = np.linalg.eigh(weights @ weights.T)
    root = vectors * np.sqrt(np.maximum(values, 0))
    shrink = ridge * inverse if kernel_test is None else -kernel_test @ inverse
    mean = shrink @ kernel @ weights + (0 if kernel_test is None else kernel_test @ weights)
    square = 0.0
    for r, p in enumerate(slopes.T[:, :, None]):
        block = shrink @ (p * (product @ (p * root)))
        if kernel_test is not None:
            block += slopes_test[:, r, None] * (product_test @ (p * root))
        square += float(np.sum(block**2)) / slopes.shape[1]
    return float(np.sqrt(((outputs + 2) * square - np.sum(mean**2)) / width))


class Stationary(NamedTuple):
    """Networks at stationary points of a regularised objective.

    Attributes:
      params: the trained networks; only W_μ differs from the start.
      gradient: final gradient norm of each run over its first one, `(runs,)`.
      steps: gradient steps made.
    """

    params: Parameters
    gradient: np.ndarray
    steps: int


class _Problem(NamedTuple):
    initial: Parameters
    x: Array
    y: Array
    penalty: Array
    basis: Array

    def network(self, step):
        return self.initial._replace(mu=self.initial.mu + step @ self.basis)


@lru_cache(maxsize=32)
def _loss(activation):
    """The regularised loss as a function of (step, problem); cached, so that it is compiled once per shape."""

    def loss(step, problem):
        moved = step @ problem.basis
        fit = mse(problem.network(step), problem.x, problem.y, activation=activation)
        return fit + jnp.sum(moved @ problem.penalty * moved) / 2

    return loss


def stationary_point(
    initial: Parameters,
    x: Float[Array, "runs n d_in"],
    y: Float[Array, "runs n d_out"],
    *,
    activation: Any,
    sigma0: float,
    beta: float | Float[Array, " runs"],
    penalty: str = "frobenius",
    tolerance: float = 1e-5,
    max_steps: int = 5000,
) -> Stationary:
    """Networks trained on W_μ alone until the gradient of Eq. 12 or Eq. 4 has vanished, many at once.

    Gradient descent with step 1/λ_max, λ_max the largest curvature in the limit times (1 + √(d_out/m))², by which
    ‖W_d‖²/m stretches it. The divergence is descended in the coordinates in which the training inputs are isotropic
    (ΔW_μ = V Ĉ^{-1/2}): stationary points are the same ones, and near-collinear inputs, which make plain descent on
    Eq. 4 very slow, cost nothing.

    Args:
      initial: networks at time 0, every array with a leading axis of runs.
      x: training inputs, `(runs, n, d_in)`.
      y: targets, `(runs, n, d_out)`.
      activation: φ; pass the same object again and nothing is recompiled.
      sigma0: the constant σ0 of the variance weights.
      beta: weight β of the penalty, one number or one a run.
      penalty: "frobenius" (Eq. 12) or "kl" (Eq. 4).
      tolerance: stop when every run's gradient norm is below this fraction of its first one.
      max_steps: stop here in any case; `gradient` says how far it came.

    Returns:
      `Stationary`.

    Raises:
      ValueError: an unknown penalty, or β ≤ 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from snn_ntk import network
      >>> from snn_ntk import stax
      >>> keys = jax.random.split(jax.random.key(0), 2)
      >>> net = jax.vmap(lambda key: network.init(key, 64, 3, sigma0=0.5))(keys)
      >>> x = jnp.broadcast_to(jnp.eye(3), (2, 3, 3))
      >>> end = stationary_point(net, x, x, activation=stax.Erf(), sigma0=0.5, beta=0.5)
      >>> bool((end.gradient < 1e-4).all())
      True

    Source: Wang & Huang, Eq. 5, restricted to W_μ as Theorem 2 asks.
    """
    if penalty not in ("frobenius", "kl"):
        raise ValueError(f"expected penalty 'frobenius' or 'kl', got {penalty!r}")
    runs, n, d = x.shape
    stretch = (1 + (y.shape[2] / initial.mu.shape[1]) ** 0.5) ** 2
    beta = jnp.broadcast_to(jnp.asarray(beta, x.dtype), (runs,))
    if not bool((beta > 0).all()):
        raise ValueError(f"expected beta > 0, got {beta}")
    points = np.asarray(x, np.float64)
    moment = [_slope_moment(p, p, activation, sigma0) for p in x]
    bases, forms, curvature = [], [], []
    for p, slope, b in zip(points, moment, np.asarray(beta, np.float64), strict=True):
        if penalty == "frobenius":
            # (β/2) ‖ΔW‖_F²
            bases.append(np.eye(d))
            forms.append(b * np.eye(d))
            curvature.append(stretch * np.linalg.norm(p @ p.T * slope, 2) / n + b)
            continue
        # β KL averaged over the data = (β/2) tr(ΔW Ĉ ΔWᵀ)/σ0², Ĉ the second moment of the normalised inputs.
        units = p / np.linalg.norm(p, axis=1, keepdims=True)
        values, vectors = np.linalg.eigh(units.T @ units / n)
        kept = values > max(n, d) * np.finfo(np.float32).eps * values[-1]
        vectors, values = vectors[:, kept], values[kept]
        bases.append(vectors / np.sqrt(values) @ vectors.T)
        forms.append(b / sigma0**2 * (vectors * values) @ vectors.T)
        product = p @ (vectors / values) @ vectors.T @ p.T
        curvature.append(stretch * np.linalg.norm(product * slope, 2) / n + b / sigma0**2)
    # Runs with different β have different curvature: each gets its own step by rescaling its coordinates.
    scaled = np.stack(bases) / np.sqrt(np.array(curvature))[:, None, None]
    problem = _Problem(initial, x, y, jnp.asarray(np.stack(forms), x.dtype), jnp.asarray(scaled, x.dtype))

    def descend(step, count):
        return gradient_descent(
            _loss(activation),
            step,
            learning_rate=1.0,
            steps=count,
            record_at=np.empty(0, int),
            args=problem,
            batched=True,
            progress=False,
        ).params

    def length(step):
        return np.linalg.norm(np.asarray(step).reshape(runs, -1), axis=1)

    # With a step size of one, the step from here to the next point is the gradient.
    step = descend(jnp.zeros_like(initial.mu), 1)
    first, ratio, steps = length(step), np.ones(runs), 1
    while steps < max_steps and not (ratio < tolerance).all():
        before = descend(step, 9)
        step = descend(before, 1)
        steps += 10
        ratio = length(step - before) / first
    return Stationary(jax.vmap(_Problem.network)(problem, step), ratio, steps)
