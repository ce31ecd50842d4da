"""The duals of rectified monomials φ_n(z) = z^n for z ≥ 0 and 0 below, in closed form for every n.

    κ_n(c; q1, q2) = s^n J_n(x) / 2π,   x = c/s,   s = √(q1 q2),   J_n(x) = (π − θ) P_n(x) + sin θ Q_n(x),   cos θ = x

with P_0 = 1, Q_0 = 0. By Price's theorem ∂κ_n/∂c = n² κ_{n−1}, which gives the polynomials one after the other.
neural-tangents takes the derivatives of (π − θ)/sin θ instead, which are 0/0 at equal inputs.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from numpy.polynomial import Polynomial

__all__ = []


@functools.cache
def _polynomials(degree: int) -> tuple[Polynomial, Polynomial]:
    """P_n and Q_n: P_n' = n² P_{n−1} with P_n(1) = (2n − 1)!!, and (1 − x²) (n² Q_{n−1} − Q_n') + x Q_n = P_n."""
    if degree == 0:
        return Polynomial([1.0]), Polynomial([0.0])
    P, Q = _polynomials(degree - 1)
    P_n = degree**2 * P.integ()
    # A parity that P_n has makes its constant 0 for odd n; for even n it follows from the value at 1.
    P_n = P_n + (math.prod(range(1, 2 * degree, 2)) - P_n(1.0))
    # The coefficients of Q_n from the highest down: x^(k+1) has (k + 1) q_k − (k + 2) q_(k+2) on the left.
    square = Polynomial([1.0, 0.0, -1.0])
    right = (P_n - degree**2 * square * Q).coef.tolist() + [0.0] * (degree + 2)
    q = [0.0] * (degree + 3)
    for k in range(degree - 1, -1, -1):
        q[k] = (right[k + 1] + (k + 2) * q[k + 2]) / (k + 1)
    return P_n, Polynomial(q[: max(degree, 1)])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def rectified_monomial_dual(degree: int, c: Any, s: Any) -> Any:
    """κ_n at the covariance c and the geometric mean s of the variances; ∂κ_n/∂c is n² κ_{n−1}."""
    x = _cosine(c, s)
    # sin θ from (1 − x)(1 + x), so that θ keeps its digits near 0 and π.
    sine = jnp.sqrt((1 - x) * (1 + x))
    P, Q = _polynomials(degree)
    return s**degree / (2 * jnp.pi) * ((jnp.pi - jnp.arctan2(sine, x)) * _at(P, x) + sine * _at(Q, x))


@rectified_monomial_dual.defjvp
def _jvp(degree: int, primals: Any, tangents: Any) -> Any:
    (c, s), (c_dot, s_dot) = primals, tangents
    value = rectified_monomial_dual(degree, c, s)
    if degree == 0:
        sine = jnp.sqrt(jnp.maximum(s**2 - c**2, 0))
        # Infinite at |x| = 1, where what it multiplies goes to 0 faster as the noise does: 0, as for neural-tangents' Relu.
        slope = jnp.where(sine > 0, 1 / (2 * jnp.pi * jnp.where(sine > 0, sine, 1)), 0)
    else:
        slope = degree**2 * rectified_monomial_dual(degree - 1, c, s)
    # κ_n is homogeneous of degree n in (c, s).
    positive = s > 0
    along = jnp.where(positive, (degree * value - _cosine(c, s) * s * slope) / jnp.where(positive, s, 1), 0)
    return value, slope * c_dot + along * s_dot


def _cosine(c: Any, s: Any) -> Any:
    positive = s > 0
    return jnp.where(positive, jnp.clip(c / jnp.where(positive, s, 1), -1, 1), 0)


def _at(polynomial: Polynomial, x: Any) -> Any:
    value = 0.0
    for coefficient in polynomial.coef[::-1].tolist():
        value = value * x + coefficient
    return value


def _geometric_mean(q1: Any, q2: Any) -> Any:
    """√(q1 q2), exactly q for equal variances, and without the product, which can leave the range of floats."""
    large = jnp.maximum(q1, q2)
    return large * jnp.sqrt(jnp.minimum(q1, q2) / jnp.where(large > 0, large, 1))


def rectified_monomial_kernel(degree: int, outer: Callable) -> Callable:
    """`kernel_fn` of `stax.RectifiedMonomial(degree)` for kernels of every layout, which `outer` knows."""

    def kernel_fn(k: Any) -> Any:
        s11, s12, s22 = outer(k.cov1, k.cov2, k.diagonal_batch, k.diagonal_spatial, _geometric_mean)
        ntk = k.ntk
        if ntk is not None:
            ntk = ntk * (degree**2 * rectified_monomial_dual(degree - 1, k.nngp, s12) if degree else 0)
        return k.replace(
            nngp=rectified_monomial_dual(degree, k.nngp, s12),
            ntk=ntk,
            cov1=rectified_monomial_dual(degree, k.cov1, s11),
            cov2=None if k.cov2 is None else rectified_monomial_dual(degree, k.cov2, s22),
        )

    return kernel_fn
