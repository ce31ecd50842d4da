"""The dual of an activation, κ(c; q1, q2) = E[φ(a) φ(b)] for (a, b) ~ N(0, [[q1, c], [c, q2]]), and its derivatives.

By Price's theorem ∂κ/∂c = E[φ'(a) φ'(b)] and ∂²κ/∂c² = E[φ''(a) φ''(b)]: the three tangent kernels of a stochastic
network are κ, κ' and κ'' up to inner products of the inputs. This module also smooths an activation by its noise,
E_g φ(u + s g), which is all that the expected output of a stochastic layer needs.

Closed forms are used for neural-tangents' nonlinearities, and a Hermite series with adaptive length for any other
smooth function.
"""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, ndtr
from jaxtyping import Array, ArrayLike, Float

from ._neural_tangents import nt, stax

__all__ = ["Activation", "dual", "dual_derivatives", "resolve"]

_SQRT_2PI = math.sqrt(2 * math.pi)
Scalars = Float[Array, "..."]
Dual = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Activation:
    """An activation φ with what a stochastic network needs to know about it.

    Every function acts entry by entry on arrays that broadcast against each other and is differentiable and jittable.

    Attributes:
        name: How to call it in a figure or an error message.
        phi: φ itself.
        smoothed: `smoothed(u, s)` = φ̂(u; s) = E_{g ~ N(0, 1)} φ(u + s g), for s ≥ 0.
        second_moment: `second_moment(u, s)` = E_{g ~ N(0, 1)} φ(u + s g)².
        dual: `dual(c, q1, q2)` = κ.
        derivatives: `derivatives(c, q1, q2)` = (κ, κ', κ''), derivatives with respect to c.
    """

    name: str
    phi: Callable[[Array], Array] = field(repr=False)
    smoothed: Callable[[Array, Array], Array] = field(repr=False)
    second_moment: Callable[[Array, Array], Array] = field(repr=False)
    dual: Dual = field(repr=False)
    derivatives: Callable[[Array, Array, Array], tuple[Array, Array, Array]] = field(repr=False)


def dual(activation: Any, c: ArrayLike, q1: ArrayLike, q2: ArrayLike) -> Scalars:
    """The dual activation of two jointly Gaussian pre-activations.

    κ(c; q1, q2) = E[φ(a) φ(b)], (a, b) ~ N(0, [[q1, c], [c, q2]])

    Args:
        activation: What `resolve` accepts.
        c: Covariances, any shape.
        q1: Variances of a, broadcast against `c`.
        q2: Variances of b, broadcast against `c`.

    Returns:
        κ, of the broadcast shape.

    Raises:
        TypeError: If `activation` is not an activation.
        ValueError: If `activation` is one without a dual for every variance (`Hermite`).

    Example:
        >>> from snn_ntk import stax
        >>> round(float(dual(stax.Relu(), 1.0, 1.0, 1.0)), 6)
        0.5

    Source: Daniely, Frostig and Singer (2016); Lee et al. (2019) for neural-tangents' closed forms.
    """
    return resolve(activation).dual(*_floats(c, q1, q2))


def dual_derivatives(activation: Any, c: ArrayLike, q1: ArrayLike, q2: ArrayLike) -> tuple[Scalars, Scalars, Scalars]:
    """The dual activation with its first and second derivative in the covariance.

    κ = E[φ(a) φ(b)], κ' = ∂κ/∂c = E[φ'(a) φ'(b)], κ'' = ∂²κ/∂c² = E[φ''(a) φ''(b)]     (Price's theorem)

    κ'' of an activation with a kink (ReLU and its family) is infinite where a = ±b, and so returned.

    Args:
        activation: What `resolve` accepts.
        c: Covariances, any shape.
        q1: Variances of a, broadcast against `c`.
        q2: Variances of b, broadcast against `c`.

    Returns:
        κ, κ' and κ'', each of the broadcast shape.

    Raises:
        TypeError: If `activation` is not an activation.
        ValueError: If `activation` is one without a dual for every variance (`Hermite`).

    Example:
        >>> from snn_ntk import stax
        >>> [round(float(k), 4) for k in dual_derivatives(stax.Sin(), 0.5, 1.0, 1.0)]
        [0.1917, 0.4148, 0.1917]

    Source: Price (1958).
    """
    return resolve(activation).derivatives(*_floats(c, q1, q2))


def _floats(*values: ArrayLike) -> list[Array]:
    arrays = [jnp.asarray(value) for value in values]
    dtype = jnp.result_type(float, *[a for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)])
    floating = [a.dtype for a in arrays if jnp.issubdtype(a.dtype, jnp.floating) and not a.weak_type]
    dtype = jnp.result_type(*floating) if floating else dtype
    return [a.astype(dtype) for a in arrays]


# --- what is shared by the closed forms -----------------------------------------------------------------------------


def _by_autodiff(kappa: Dual) -> Callable[[Array, Array, Array], tuple[Array, Array, Array]]:
    """κ, κ' and κ'' of a κ that is smooth wherever it is evaluated, by forward differentiation in c."""

    def derivatives(c: Array, q1: Array, q2: Array) -> tuple[Array, Array, Array]:
        c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
        one = jnp.ones_like(c)

        def first(c: Array) -> tuple[Array, Array]:
            return jax.jvp(lambda c: kappa(c, q1, q2), (c,), (one,))

        (value, slope), (_, curvature) = jax.jvp(first, (c,), (one,))
        return value, slope, curvature

    return derivatives


def _grid(half_width: float, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the trapezoidal rule for E_g: for a function analytic in a strip its error falls
    exponentially in 1/spacing, faster than that of a Gauss-Hermite rule with as many nodes when the strip is narrow."""
    nodes = np.arange(-round(half_width / spacing), round(half_width / spacing) + 1) * spacing
    weights = np.exp(-(nodes**2) / 2)
    return nodes, weights / weights.sum()


@functools.lru_cache(maxsize=1)
def _noise_grid() -> tuple[np.ndarray, np.ndarray]:
    return _grid(7.0, 0.2)


def _derivative(phi: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda u: jax.jvp(phi, (u,), (jnp.ones_like(u),))[1]


def _expectation(phi: Callable[[Array], Array], power: int = 0) -> Callable[[Array, Array], Array]:
    """(u, s) -> E[gᵏ φ(u + s g)] with k = `power`, by quadrature.

    Its own derivatives are again of this form, so they are taken before the quadrature and no intermediate array of
    the size of the grid is kept for a backward pass.
    """

    @jax.custom_jvp
    def expectation(u: Array, s: Array) -> Array:
        u, s = jnp.broadcast_arrays(u, s)
        nodes, weights = _noise_grid()
        g, w = jnp.asarray(nodes, u.dtype), jnp.asarray(weights * nodes**power, u.dtype)
        return jnp.sum(phi(u[..., None] + s[..., None] * g) * w, axis=-1)

    @expectation.defjvp
    def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        u, s = primals
        du, ds = tangents
        slope = _derivative(phi)
        tangent = _expectation(slope, power)(u, s) * du + _expectation(slope, power + 1)(u, s) * ds
        return expectation(u, s), tangent

    return expectation


def _activation(
    name: str,
    phi: Callable,
    dual: Dual,
    *,
    smoothed: Callable | None = None,
    second_moment: Callable | None = None,
    derivatives: Callable | None = None,
) -> Activation:
    """An activation from what is known in closed form, quadrature for the rest."""
    return Activation(
        name=name,
        phi=phi,
        smoothed=smoothed or _expectation(phi),
        second_moment=second_moment or _expectation(lambda z: phi(z) ** 2),
        dual=dual,
        derivatives=derivatives or _by_autodiff(dual),
    )


# --- closed forms ---------------------------------------------------------------------------------------------------


def _erf(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Activation:
    """φ(z) = a erf(b z) + c."""
    shift = c

    def derivatives(c: Array, q1: Array, q2: Array) -> tuple[Array, Array, Array]:
        c, q1, q2 = b * b * c, b * b * q1, b * b * q2
        # (1 + 2 q1)(1 + 2 q2) - 4 c², written so that large, nearly equal products cancel first.
        gap = 1 + 2 * (q1 + q2) + 4 * (q1 * q2 - c * c)
        root = jnp.sqrt(gap)
        value = a * a * (2 / math.pi) * jnp.arctan2(2 * c, root) + shift * shift
        slope = (a * b) ** 2 * (4 / math.pi) / root
        return value, slope, 4 * b * b * c * slope / gap

    def smoothed(u: Array, s: Array) -> Array:
        return a * erf(b * u / jnp.sqrt(1 + 2 * (b * s) ** 2)) + shift

    return _activation(
        "erf",
        lambda z: a * erf(b * z) + shift,
        lambda c, q1, q2: derivatives(c, q1, q2)[0],
        smoothed=smoothed,
        derivatives=derivatives,
    )


@jax.custom_jvp
def _root_gap(c: Array, q1: Array, q2: Array) -> Array:
    """√(q1 q2 - c²), with derivative 0 where it vanishes: the one-sided slopes there are ±infinite."""
    return jnp.sqrt(jnp.maximum(q1 * q2 - c * c, 0))


@_root_gap.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (c, q1, q2), (dc, dq1, dq2) = primals, tangents
    root = _root_gap(c, q1, q2)
    inverse = jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), 0)
    return root, inverse * (q2 * dq1 / 2 + q1 * dq2 / 2 - c * dc)


def _angle(c: Array, root: Array) -> Array:
    """arcsin of the correlation, 0 where a variance is 0."""
    degenerate = (c == 0) & (root == 0)
    return jnp.where(degenerate, 0, jnp.arctan2(c, jnp.where(degenerate, 1, root)))


@jax.custom_jvp
def _dual_abs(c: Array, q1: Array, q2: Array) -> Array:
    """E|a||b|."""
    root = _root_gap(c, q1, q2)
    return (2 / math.pi) * (root + c * _angle(c, root))


@_dual_abs.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (c, q1, q2), (dc, dq1, dq2) = primals, tangents
    root = _root_gap(c, q1, q2)

    def share(q: Array) -> Array:
        return jnp.where(q > 0, root / jnp.where(q > 0, q, 1), 0) / math.pi

    return _dual_abs(c, q1, q2), _dual_sign(c, q1, q2) * dc + share(q1) * dq1 + share(q2) * dq2


def _dual_sign(c: Array, q1: Array, q2: Array) -> Array:
    """E sign(a) sign(b)."""
    return (2 / math.pi) * _angle(c, _root_gap(c, q1, q2))


def _reciprocal(root: Array) -> Array:
    """1/root, infinite at 0 but with a finite derivative there."""
    return jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), jnp.inf)


def _ratio(u: Array, s: Array) -> Array:
    """u/s, capped where the Gaussian tail beyond it is 0 in every precision (so also at s = 0)."""
    inside = 40 * s > jnp.abs(u)
    return jnp.where(inside, u / jnp.where(inside, s, 1), 40 * jnp.sign(u))


def _normal_density(z: Array) -> Array:
    return jnp.exp(-z * z / 2) / _SQRT_2PI


@jax.custom_jvp
def _smoothed_relu(u: Array, s: Array) -> Array:
    z = _ratio(u, s)
    return u * ndtr(z) + s * _normal_density(z)


@_smoothed_relu.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (u, s), (du, ds) = primals, tangents
    z = _ratio(u, s)
    return _smoothed_relu(u, s), ndtr(z) * du + _normal_density(z) * ds


def _abrelu(a: float, b: float, do_stabilize: bool = False) -> Activation:
    """φ(z) = a min(z, 0) + b max(z, 0) = (a + b)/2 z + (b - a)/2 |z|."""
    linear, kink = ((a + b) / 2) ** 2, ((b - a) / 2) ** 2

    def kappa(c: Array, q1: Array, q2: Array) -> Array:
        return linear * c + kink * _dual_abs(c, q1, q2)

    def derivatives(c: Array, q1: Array, q2: Array) -> tuple[Array, Array, Array]:
        curvature = kink * (2 / math.pi) * _reciprocal(_root_gap(c, q1, q2)) if kink else jnp.zeros_like(c * q1 * q2)
        return kappa(c, q1, q2), linear + kink * _dual_sign(c, q1, q2), curvature

    def second_moment(u: Array, s: Array) -> Array:
        z = _ratio(u, s)
        total = u * u + s * s
        positive = total * ndtr(z) + u * s * _normal_density(z)
        return b * b * positive + a * a * (total - positive)

    return _activation(
        {(0.0, 1.0): "ReLU", (-1.0, 1.0): "abs"}.get((float(a), float(b)), f"ABReLU({a}, {b})"),
        lambda z: a * jnp.minimum(z, 0) + b * jnp.maximum(z, 0),
        kappa,
        smoothed=lambda u, s: b * _smoothed_relu(u, s) - a * _smoothed_relu(-u, s),
        second_moment=second_moment,
        derivatives=derivatives,
    )


def _sign() -> Activation:
    """φ(z) = sign(z): its expectation over noise is differentiable although it is not."""

    def derivatives(c: Array, q1: Array, q2: Array) -> tuple[Array, Array, Array]:
        inverse = _reciprocal(_root_gap(c, q1, q2))
        slope = (2 / math.pi) * inverse
        return _dual_sign(c, q1, q2), slope, jnp.where(c == 0, 0, c) * slope * inverse**2

    return _activation(
        "sign",
        jnp.sign,
        _dual_sign,
        smoothed=lambda u, s: erf(_ratio(u, s) / math.sqrt(2)),
        second_moment=lambda u, s: jnp.where((u == 0) & (s == 0), 0, jnp.ones_like(u * s)),
        derivatives=derivatives,
    )


def _gelu(approximate: bool = False) -> Activation:
    """φ(z) = z Φ(z). (`approximate` only changes neural-tangents' finite networks; the exact form is used here.)"""

    def kappa(c: Array, q1: Array, q2: Array) -> Array:
        both = (1 + q1) * (1 + q2)
        gap = 1 + q1 + q2 + (q1 * q2 - c * c)
        root = jnp.sqrt(gap)
        rational = (c * c + q1 * q2 * gap) / (both * root)
        return c / 4 + (rational + c * jnp.arctan2(c, root)) / (2 * math.pi)

    def smoothed(u: Array, s: Array) -> Array:
        root = jnp.sqrt(1 + s * s)
        return u * ndtr(u / root) + s * s / root * _normal_density(u / root)

    return _activation("GELU", lambda z: z * ndtr(z), kappa, smoothed=smoothed)


def _sin(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Activation:
    """φ(z) = a sin(b z + c)."""
    phase, doubled = c, math.cos(2 * c)

    def derivatives(c: Array, q1: Array, q2: Array) -> tuple[Array, Array, Array]:
        mean = (q1 + q2) / 2
        same = a * a / 2 * jnp.exp(b * b * (c - mean))
        opposite = a * a / 2 * doubled * jnp.exp(-b * b * (c + mean))
        return same - opposite, b**2 * (same + opposite), b**4 * (same - opposite)

    def damped(u: Array, s: Array) -> Array:
        return a * jnp.exp(-((b * s) ** 2) / 2) * jnp.sin(b * u + phase)

    def second_moment(u: Array, s: Array) -> Array:
        return a * a / 2 * (1 - jnp.exp(-2 * (b * s) ** 2) * jnp.cos(2 * (b * u + phase)))

    return _activation(
        "sin" if (a, b, c) == (1, 1, 0) else f"{a:g} sin({b:g} z + {c:g})",
        lambda z: a * jnp.sin(b * z + phase),
        lambda c, q1, q2: derivatives(c, q1, q2)[0],
        smoothed=damped,
        second_moment=second_moment,
        derivatives=derivatives,
    )


def _rbf(gamma: float = 1.0) -> Activation:
    return _sin(math.sqrt(2), math.sqrt(2 * gamma), math.pi / 4)


def _exp(a: float = 1.0, b: float = 1.0) -> Activation:
    """φ(z) = a exp(b z)."""

    def kappa(c: Array, q1: Array, q2: Array) -> Array:
        return a * a * jnp.exp(b * b * ((q1 + q2) / 2 + c))

    return _activation(
        "exp",
        lambda z: a * jnp.exp(b * z),
        kappa,
        smoothed=lambda u, s: a * jnp.exp(b * u + (b * s) ** 2 / 2),
        second_moment=lambda u, s: a * a * jnp.exp(2 * b * u + 2 * (b * s) ** 2),
    )


def _gaussian(a: float = 1.0, b: float = -1.0) -> Activation:
    """φ(z) = a exp(b z²)."""

    def kappa(c: Array, q1: Array, q2: Array) -> Array:
        return a * a / jnp.sqrt(1 - 2 * b * (q1 + q2) + 4 * b * b * (q1 * q2 - c * c))

    def smoothed(u: Array, s: Array, a: float = a, b: float = b) -> Array:
        spread = 1 - 2 * b * s * s
        return a * jnp.exp(b * u * u / spread) / jnp.sqrt(spread)

    return _activation(
        "Gaussian",
        lambda z: a * jnp.exp(b * z * z),
        kappa,
        smoothed=smoothed,
        second_moment=lambda u, s: smoothed(u, s, a * a, 2 * b),
    )


def _polynomial(coef: Sequence[float] | np.ndarray) -> Activation:
    """φ(z) = Σ_k coef[k] zᵏ."""
    coef = [float(value) for value in coef] or [0.0]
    degree = len(coef) - 1

    def gaussian_derivatives(q: Array) -> list[Array]:
        """E φ^(k)(√q g) for each k: finite sums, polynomials in q."""
        return [
            sum(
                coef[k + 2 * j] * math.factorial(k + 2 * j) / (2**j * math.factorial(j)) * q**j
                for j in range((degree - k) // 2 + 1)
            )
            + jnp.zeros_like(q)
            for k in range(degree + 1)
        ]

    def kappa(c: Array, q1: Array, q2: Array) -> Array:
        value = jnp.zeros_like(c * q1 * q2)
        left, right = gaussian_derivatives(q1), gaussian_derivatives(q2)
        for k in reversed(range(degree + 1)):
            value = value * c + left[k] * right[k] / math.factorial(k)
        return value

    def smoothed_by(coef: Sequence[float]) -> Callable[[Array, Array], Array]:
        degree = len(coef) - 1

        def smoothed(u: Array, s: Array) -> Array:
            value = jnp.zeros_like(u * s)
            for k in reversed(range(degree + 1)):
                value = value * u + sum(
                    coef[k + 2 * j] * math.comb(k + 2 * j, k) * math.prod(range(2 * j - 1, 0, -2)) * s ** (2 * j)
                    for j in range((degree - k) // 2 + 1)
                )
            return value

        return smoothed

    def phi(z: Array) -> Array:
        return functools.reduce(lambda value, coefficient: value * z + coefficient, coef[::-1], jnp.zeros_like(z))

    return _activation(
        f"polynomial of degree {degree}",
        phi,
        kappa,
        smoothed=smoothed_by(coef),
        second_moment=smoothed_by(np.convolve(coef, coef).tolist()),
    )


def _monomial(degree: int) -> Activation:
    return _polynomial([0.0] * degree + [1.0])


def _gabor() -> Activation:
    """φ(z) = exp(-z²) sin(z), the imaginary part of exp(-z² + i z)."""

    def smoothed(u: Array, s: Array) -> Array:
        spread = 1 + 2 * s * s
        return jnp.exp(-(u * u + s * s / 2) / spread) * jnp.sin(u / spread) / jnp.sqrt(spread)

    phi = _phi_of(stax.Gabor())
    return _activation("Gabor", phi, _dual_of(stax.Gabor()), smoothed=smoothed)


# --- neural-tangents' own duals, and quadrature ---------------------------------------------------------------------


def _phi_of(layer: tuple) -> Callable[[Array], Array]:
    return lambda z: layer[1]((), z)


def _dual_of(layer: tuple) -> Dual:
    """κ by the layer's own kernel_fn: a 1 x 1 kernel for each triple."""

    def single(c: Array, q1: Array, q2: Array) -> Array:
        kernel = nt.Kernel(
            nngp=c[None, None],
            ntk=None,
            cov1=q1[None],
            cov2=q2[None],
            x1_is_x2=jnp.zeros((), bool),
            is_gaussian=True,
            is_reversed=False,
            is_input=False,
            diagonal_batch=True,
            diagonal_spatial=True,
            shape1=(1, 1),
            shape2=(1, 1),
            batch_axis=0,
            channel_axis=1,
        )
        return layer[2](kernel).nngp[0, 0]

    def kappa(c: Array, q1: Array, q2: Array) -> Array:
        c, q1, q2 = jnp.broadcast_arrays(c, q1, q2)
        return jax.vmap(single)(c.ravel(), q1.ravel(), q2.ravel()).reshape(c.shape)

    return kappa


_BLOCK = 16
_MOST_TERMS = 2048


@functools.lru_cache(maxsize=1)
def _series_grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes, √(weight · density) and √(density) to sum a function against normalised Hermite polynomials."""
    nodes, weights = _grid(13.0, 1 / 16)
    damping = np.exp(-(nodes**2) / 4)
    return nodes, weights / damping, damping


def _series(left: Callable, right: Callable, c: Array, q1: Array, q2: Array) -> Array:
    """E[left(a) right(b)] = Σ_k A_k(q1) B_k(q2) ρᵏ with A_k(q) = E[left(√q g) h_k(g)]  (Mehler's formula).

    The terms are summed in blocks until a block no longer counts, so the length follows from the activation, the
    variances and the largest correlation: a block or two for a noisy network at unit variance.
    """
    nodes, weights, damping = (jnp.asarray(part, c.dtype) for part in _series_grid())
    product = q1 * q2
    rho = jnp.where(product > 0, c / jnp.sqrt(jnp.where(product > 0, product, 1)), 0)
    rho = jnp.clip(rho, -1, 1)
    values1 = left(jnp.sqrt(q1)[..., None] * nodes) * weights
    values2 = right(jnp.sqrt(q2)[..., None] * nodes) * weights
    shape = jnp.broadcast_shapes(c.shape, q1.shape, q2.shape)
    tolerance = 0.03 * jnp.finfo(c.dtype).eps
    step = rho**_BLOCK

    def next_polynomial(state: tuple, _: None) -> tuple:
        k, previous, current = state
        following = (nodes * current - jnp.sqrt(k) * previous) / jnp.sqrt(k + 1)
        return (k + 1, current, following), current

    def block(state: tuple) -> tuple:
        polynomials, power, total, _ = state
        polynomials, h = jax.lax.scan(next_polynomial, polynomials, None, _BLOCK)
        # Full precision also on accelerators whose default matrix product rounds to fewer bits.
        series1, series2 = (jnp.matmul(values, h.T, precision="highest") for values in (values1, values2))
        part = jnp.zeros(shape, c.dtype)
        for i in reversed(range(_BLOCK)):
            part = part * rho + series1[..., i] * series2[..., i]
        part = part * power
        return polynomials, power * step, total + part, jnp.max(jnp.abs(part))

    def unfinished(state: tuple) -> Array:
        (k, *_), _, total, last = state
        return (k < _MOST_TERMS) & (last > tolerance * jnp.max(jnp.abs(total)))

    start = (
        (jnp.zeros((), c.dtype), jnp.zeros_like(damping), damping),
        jnp.ones(shape, c.dtype),
        jnp.zeros(shape, c.dtype),
        jnp.asarray(jnp.inf, c.dtype),
    )
    return jax.lax.while_loop(unfinished, block, start)[-2]


def _smooth(phi: Callable[[Array], Array], name: str) -> Activation:
    """An activation known only as a smooth function."""

    @functools.cache
    def derivative(order: int) -> Callable[[Array], Array]:
        return phi if order == 0 else _derivative(derivative(order - 1))

    @functools.cache
    def moment(p: int, r: int) -> Dual:
        """E[φ^(p)(a) φ^(r)(b)]; its derivatives are moments again (Price), finite also at |ρ| = 1 and q = 0."""

        # Compiled once for each shape: a loop run eagerly would be compiled anew at every call.
        series = jax.jit(lambda c, q1, q2: _series(derivative(p), derivative(r), c, q1, q2))

        @jax.custom_jvp
        def value(c: Array, q1: Array, q2: Array) -> Array:
            return series(*_floats(c, q1, q2))

        @value.defjvp
        def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
            dc, dq1, dq2 = tangents
            tangent = (
                moment(p + 1, r + 1)(*primals) * dc
                + moment(p + 2, r)(*primals) * (dq1 / 2)
                + moment(p, r + 2)(*primals) * (dq2 / 2)
            )
            return value(*primals), tangent

        return value

    return _activation(
        name,
        phi,
        moment(0, 0),
        derivatives=lambda c, q1, q2: (
            moment(0, 0)(c, q1, q2),
            moment(1, 1)(c, q1, q2),
            moment(2, 2)(c, q1, q2),
        ),
    )


# --- from what the user names to an Activation ----------------------------------------------------------------------

_BY_LAYER: dict[str, Callable[..., Activation]] = {
    "ABRelu": _abrelu,
    "Erf": _erf,
    "Exp": _exp,
    "Gabor": _gabor,
    "Gaussian": _gaussian,
    "Gelu": _gelu,
    "Monomial": _monomial,
    "Polynomial": _polynomial,
    "Rbf": _rbf,
    "Sign": _sign,
    "Sin": _sin,
}
_BY_FUNCTION: tuple[tuple[Callable, Activation], ...] = (
    (erf, _erf()),
    (jax.nn.relu, _abrelu(0, 1)),
    (jax.nn.leaky_relu, _abrelu(0.01, 1)),
    (jnp.abs, _abrelu(-1, 1)),
    (jnp.sign, _sign()),
    (jnp.sin, _sin()),
    (jnp.cos, _sin(1.0, 1.0, math.pi / 2)),
    (jnp.exp, _exp()),
)


def _free_variables(function: Callable) -> dict[str, Any]:
    cells = function.__closure__ or ()
    return dict(zip(function.__code__.co_freevars, (cell.cell_contents for cell in cells), strict=True))


def _arguments(layer: tuple, names: Sequence[str]) -> dict[str, Any]:
    """The arguments that made a layer of neural-tangents, from the closure of its function.

    The layer keeps nothing else of them; neural-tangents' release is pinned, and a test compares every layer's own
    function with the activation made from what is read here.
    """
    if not names:
        return {}
    fn = _free_variables(_free_variables(layer[1])["apply_fn"])["fn"]
    found = _free_variables(fn)
    return {name: found[name] for name in names if name in found}


def resolve(activation: Any) -> Activation:
    """The `Activation` that a neural-tangents nonlinearity or a function of one number stands for.

    Closed forms are used for erf, ReLU and its relatives, sign, GELU, sin, cos, exp, Gaussian, Gabor, Rbf and
    polynomials, given as layers (`stax.Erf()`) or as functions (`jax.scipy.special.erf`). Any other function is
    integrated by quadrature and must be smooth: give a kink as one of neural-tangents' layers instead.

    Args:
        activation: An `Activation`, a nonlinearity layer of neural-tangents, or a function from arrays to arrays that
            acts entry by entry, such as `jnp.tanh`.

    Returns:
        The activation.

    Raises:
        TypeError: If `activation` is none of these.
        ValueError: If it is `stax.Hermite`, whose dual assumes unit variance whatever the variance is.

    Example:
        >>> import jax.numpy as jnp
        >>> resolve(jnp.tanh).name
        'tanh'
    """
    if isinstance(activation, Activation):
        return activation
    try:
        return _resolve(activation)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _resolve.__wrapped__(activation)


@functools.lru_cache(maxsize=128)
def _resolve(activation: Any) -> Activation:
    if isinstance(activation, tuple) and len(activation) == 3 and all(callable(part) for part in activation):
        return _from_layer(activation)
    if callable(activation) and not isinstance(activation, type):
        for function, known in _BY_FUNCTION:
            if activation is function:
                return known
        phi: Callable[..., Any] = activation
        return _smooth(phi, getattr(activation, "__name__", type(activation).__name__))
    raise TypeError(
        "expected a nonlinearity of neural-tangents such as stax.Erf(), or a function such as jnp.tanh, "
        f"got {activation!r}"
    )


def _from_layer(layer: tuple) -> Activation:
    name = getattr(layer[1], "__name__", "?")
    if name == "Hermite":
        raise ValueError(
            "expected an activation with a dual at every variance, got stax.Hermite, which neural-tangents evaluates as "
            "if its input had unit variance: write the same function as stax.Polynomial"
        )
    if name in _BY_LAYER:
        make = _BY_LAYER[name]
        names = [n for n in inspect.signature(make).parameters if n not in ("approximate", "do_stabilize")]
        return make(**_arguments(layer, names))
    if name in ("Elementwise", "ExpNormalized", "RectifiedMonomial"):
        return _activation(name, _phi_of(layer), _dual_of(layer))
    if name == "ElementwiseNumerical":
        return _smooth(_phi_of(layer), name)
    raise TypeError(f"expected a nonlinearity of neural-tangents such as stax.Erf(), got the layer {name}")
