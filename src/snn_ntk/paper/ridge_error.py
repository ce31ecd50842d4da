"""How far a finite network is from the ridge formula of Theorem 2: bounds, and the distance to expect."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.activations.base import derivative_of
from snn_ntk.activations.resolution import resolve
from snn_ntk.paper.exact_divergence_kernel import whitened_product
from snn_ntk.paper.network import Parameters, pre_activations
from snn_ntk.paper.ridge import check_square, solved

__all__ = ["kernel_drift", "neuron_slopes", "path_averaged_kernel", "ridge_error_bound", "typical_ridge_error"]


def ridge_error_bound(
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

        ρ ε ‖R₀‖/((λ + ρ)(λ + ρ − ε)),      (ε' + ‖K(x, X) (K + ρ I)⁻¹‖ ε) ‖R₀‖/(λ + ρ − ε),

    λ = λ_min(K(X, X)). It holds at every stationary point, when ε and ε' bound the distance of the network's kernel,
    averaged along the straight line from start to end, from K in spectral norm.

    Args:
        kernel: K(X, X), Θ^(μ) or Θ_KL, shape (n, n).
        residual: ‖R₀‖_F = ‖Y − f̂₀(X)‖_F.
        ridge: ρ, that is nβ or β/σ0².
        train_error: ε, for K(X, X).
        kernel_test: K(x, X), shape (n_test, n).
        test_error: ε', for K(x, X).

    Returns:
        The bound in Frobenius norm over the points; infinity if ε ≥ λ + ρ, where it says nothing.

    Raises:
        ValueError: If only one of `kernel_test` and `test_error` is given, or shapes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> ridge_error_bound(jnp.eye(2), 2.0, ridge=1.0, train_error=0.0)
        0.0

    Source: wang2024vae, Theorem 2 (its error term, corrected), Eq. 13; book, chapter 8.
    """
    if (kernel_test is None) != (test_error is None):
        raise ValueError("expected kernel_test and test_error together, got one of them")
    matrix = validation.finite(kernel, "kernel")
    check_square(matrix)
    if kernel_test is not None and np.shape(kernel_test)[1:] != matrix.shape[:1]:
        raise ValueError(f"expected kernel_test of shape (n_test, {len(matrix)}), got {np.shape(kernel_test)}")
    floor = float(np.linalg.eigvalsh(matrix)[0]) + ridge
    if train_error >= floor:
        return float("inf")
    if kernel_test is None or test_error is None:
        return ridge * train_error * residual / (floor * (floor - train_error))
    gain = np.linalg.norm(np.linalg.solve(matrix + ridge * np.eye(len(matrix)), np.asarray(kernel_test).T), 2)
    return float((test_error + gain * train_error) * residual / (floor - train_error))


@full_precision
def path_averaged_kernel(
    initial: Parameters,
    trained: Parameters,
    x1: Num[Array, "n1 d_in"],
    x: Num[Array, "n d_in"],
    *,
    activation: Any,
    whitened: bool = False,
    order: int = 6,
) -> Float[Array, "n1 d_out n d_out"]:
    """The kernel with which a finite network obeys ridge regression exactly, at every stationary point.

        K̃_{(x,k),(x_i,k')} = ⟨x, x_i⟩ (1/m) Σ_r W_d[r,k] W_d[r,k'] p̄_r(x) p_r(x_i)

    p_r is φ̂' at the trained weights and p̄_r its average along the straight line from initial to trained W_μ, so that
    f̂(x, ∞) − f̂₀(x) = J̄ ΔW_μ is an identity and not an expansion. Stationary points of Eq. 12 satisfy
    f̂(x, ∞) = f̂₀(x) + K̃(x, X) (K̃(X, X) + nβ I)⁻¹ (Y − f̂₀(X)); of Eq. 4 with the whitened product and β/σ0².

    Args:
        initial: The network at time 0.
        trained: The network at the stationary point; only W_μ differs.
        x1: Inputs to evaluate at, shape (n1, d_in).
        x: Training inputs, shape (n, d_in).
        activation: φ, what `snn_ntk.activations.resolve` accepts.
        whitened: Whether `whitened_product` takes the place of ⟨x, x_i⟩.
        order: Gauss–Legendre nodes of the average.

    Returns:
        Kernel, shape (n1, d_out, n, d_out), not symmetric.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> from snn_ntk import stax
        >>> net = init_parameters(jax.random.key(0), 16, 3, sigma0=0.5)
        >>> path_averaged_kernel(net, net, jnp.eye(3)[:1], jnp.eye(3), activation=stax.Erf()).shape
        (1, 3, 3, 3)

    Source: book, chapter 8.
    """
    x1, x = validation.floats(x1), validation.floats(x)
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

        R = L √Λ max_r ‖a_r‖ ‖R₀‖/(ρ √m),    drift = (3/2) √‖Θ^(μ)(0)‖ η + η²/2,    η = β_s R α √Λ

    Both vanish as m grows, whatever the initial output is.

    Args:
        width: Width m.
        ridge: ρ = nβ (Eq. 12) or β/σ0² (exact KL).
        residual: ‖R₀‖_F = ‖Y − f̂₀(X)‖_F; a descent only shrinks it.
        row_norm: Largest row norm of W_d.
        alpha: α = ‖W_d‖₂/√m.
        Lambda: Λ = ‖X Xᵀ‖₂; for the exact KL and unit-norm inputs it is 1, and R is measured in whitened coordinates.
        lipschitz: L = sup |φ'|.
        smoothness: β_s = sup |φ''|; the paper's β of Assumption 4.2, not the weight β.
        norm: ‖Θ^(μ)(0)‖₂ of the finite network at initialisation.

    Returns:
        R and the drift.

    Example:
        >>> wide = kernel_drift(10_000, ridge=1.0, residual=2.0, row_norm=3.0, alpha=1.1, Lambda=1.0,
        ...                     lipschitz=1.0, smoothness=1.0, norm=1.0)
        >>> round(wide[0], 6)
        0.06

    Source: book, chapter 8.
    """
    movement = lipschitz * np.sqrt(Lambda) * row_norm * residual / (ridge * np.sqrt(width))
    eta = smoothness * movement * alpha * np.sqrt(Lambda)
    return float(movement), float(1.5 * np.sqrt(norm) * eta + eta**2 / 2)


def neuron_slopes(params: Parameters, x: Float[Array, "n d_in"], *, activation: Any) -> Float[Array, "n m"]:
    """Each neuron's slope, φ̂'(w_r · x; s_r(x)) = E φ'(z_r), of which Θ^(μ) is the second moment.

    Args:
        params: Parameters.
        x: Inputs, shape (n, d_in).
        activation: φ, what `snn_ntk.activations.resolve` accepts.

    Returns:
        Slopes, shape (n, m).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from snn_ntk.paper import init_parameters
        >>> from snn_ntk import stax
        >>> net = init_parameters(jax.random.key(0), 16, 3, sigma0=0.5)
        >>> neuron_slopes(net, jnp.eye(3), activation=stax.Erf()).shape
        (3, 16)

    Source: wang2024vae, Lemma 1; book, chapter 8.
    """
    smoothed = resolve(activation).smoothed
    u, s = pre_activations(params, x)
    return derivative_of(lambda value: smoothed(value, s))(u)


def typical_ridge_error(
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

    With B_r = G M_r (K + ρ I)⁻¹ R₀, M_r(x, x') = ⟨x, x'⟩ p_r(x) p_r(x') and G = ρ (K + ρ I)⁻¹ on training points
    (on test points G M_r is M_r(x, X) − K(x, X) (K + ρ I)⁻¹ M_r(X, X)),

        E ‖error‖_F² = ((d + 2) E_r ‖B_r‖_F² − ‖E_r B_r‖_F²)/m + O(1/(m√m)).

    The factor d + 2 is the doing of the k ≠ k' blocks: the relative error is of order √(d/m).

    Args:
        kernel: K(X, X), Θ^(μ) or Θ_KL, shape (n, n).
        product: The product in it, ⟨x, x'⟩ or `whitened_product(x, x)`, shape (n, n).
        slopes: `neuron_slopes` at initialisation of a sample of neurons, shape (n, m).
        residual: R₀ = Y − f̂₀(X), shape (n, d_out).
        ridge: ρ = nβ or β/σ0².
        width: Width m of the network that is judged.
        kernel_test: K(x, X), shape (n_test, n); None for the training points.
        product_test: The product in it, shape (n_test, n).
        slopes_test: Slopes of the same neurons at test points, shape (n_test, m).

    Returns:
        The root mean square of the Frobenius norm.

    Raises:
        ValueError: If shapes do not fit, or only some of the three arrays of test points are given.

    Example:
        >>> import jax.numpy as jnp
        >>> one = typical_ridge_error(jnp.eye(2), jnp.eye(2), jnp.ones((2, 4)), jnp.ones((2, 3)), ridge=1.0, width=100)
        >>> four = typical_ridge_error(jnp.eye(2), jnp.eye(2), jnp.ones((2, 4)), jnp.ones((2, 3)), ridge=1.0, width=400)
        >>> round(one / four, 6)
        2.0

    Source: book, chapter 8.
    """
    given = {"kernel": kernel, "product": product, "slopes": slopes, "residual": residual}
    kernel, product, slopes, residual = (validation.finite(value, name) for name, value in given.items())
    check_square(kernel)
    n = len(kernel)
    if product.shape != (n, n) or any(a.ndim != 2 or len(a) != n for a in (slopes, residual)):
        raise ValueError(
            f"expected product ({n}, {n}), slopes ({n}, m) and residual ({n}, d_out), "
            f"got {product.shape}, {slopes.shape} and {residual.shape}"
        )
    test, outputs = None, residual.shape[1]
    if any(a is not None for a in (kernel_test, product_test, slopes_test)):
        shapes = [() if a is None else np.shape(a) for a in (kernel_test, product_test, slopes_test)]
        k = shapes[0][:1]
        if shapes != [(*k, n), (*k, n), (*k, slopes.shape[1])]:
            raise ValueError(
                f"expected kernel_test and product_test (n_test, {n}) and slopes_test (n_test, {slopes.shape[1]}), "
                f"got {', '.join(map(str, shapes))}"
            )
        test = [np.asarray(a, np.float64) for a in (kernel_test, product_test, slopes_test)]
    inverse = solved(kernel, ridge, np.eye(n))
    weights = inverse @ residual
    # ‖B V‖_F depends on V only through V Vᵀ: a square root of it replaces the d outputs by n.
    values, vectors = np.linalg.eigh(weights @ weights.T)
    root = vectors * np.sqrt(np.maximum(values, 0))
    shrink = ridge * inverse if test is None else -test[0] @ inverse
    mean = shrink @ kernel @ weights + (0 if test is None else test[0] @ weights)
    square = 0.0
    for r, p in enumerate(slopes.T[:, :, None]):
        block = shrink @ (p * (product @ (p * root)))
        if test is not None:
            block += test[2][:, r, None] * (test[1] @ (p * root))
        square += float(np.sum(block**2)) / slopes.shape[1]
    # 0 where the neurons are all alike, to rounding.
    return float(np.sqrt(max((outputs + 2) * square - np.sum(mean**2), 0) / width))
