"""Derivatives of duals in covariance and variances, from Euler's identity, from Price's theorem, and at the edge."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax
from snn_ntk.activations import dual, dual_derivatives

C, Q1, Q2 = 0.4, 1.3, 0.7

# φ(s z) = s^k φ(z) for s > 0, with its k.
HOMOGENEOUS = {
    "sign": (stax.Sign(), 0),
    "relu": (stax.Relu(), 1),
    "leaky": (stax.LeakyRelu(0.2), 1),
    "abs": (stax.Abs(), 1),
    "abrelu": (stax.ABRelu(-0.3, 0.8), 1),
    "rectified square": (stax.RectifiedMonomial(2), 2),
    "cube": (stax.Monomial(3), 3),
}
SMOOTH = {
    "erf": stax.Erf(1.2, 0.8, 0.1),
    "gelu": stax.Gelu(),
    "sin": stax.Sin(1.1, 0.9, 0.3),
    "exp": stax.Exp(0.7, 0.4),
    "gaussian": stax.Gaussian(1.1, -0.6),
    "gabor": stax.Gabor(),
    "polynomial": stax.Polynomial([0.1, 0.5, -0.3, 0.2]),
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
}


def slopes(activation, order):
    """A derivative of κ in c, and its own in c, q1 and q2."""

    @jax.jit
    def both(c, q1, q2):
        def value(*point):
            return dual_derivatives(activation, *point)[order]

        return value(c, q1, q2), jax.grad(value, (0, 1, 2))(c, q1, q2)

    value, gradient = both(C, Q1, Q2)
    return float(value), [float(each) for each in gradient]


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_euler(name, order, x64):
    """a → s a takes κ to sᵏ κ and κ' to s^(k−1) κ', whatever b is: c ∂/∂c + 2 q1 ∂/∂q1 multiplies by the degree."""
    activation, degree = HOMOGENEOUS[name]
    value, (dc, dq1, dq2) = slopes(activation, order)
    assert value != 0
    for q, dq in ((Q1, dq1), (Q2, dq2)):
        assert C * dc + 2 * q * dq == pytest.approx((degree - order) * value, rel=1e-9, abs=1e-12)


def test_kinks_by_hand(x64):
    # ∂κ/∂q1 = E φ''(a) φ(b)/2, and φ'' of |z| is 2δ: the density of a at 0 times E|b| there, of variance q2 − c²/q1.
    _, (_, dq1, dq2) = slopes(stax.Abs(), 0)
    for dq, q, other in ((dq1, Q1, Q2), (dq2, Q2, Q1)):
        density, mean = 1 / math.sqrt(2 * math.pi * q), math.sqrt(2 / math.pi * (other - C**2 / q))
        assert dq == pytest.approx(density * mean)
    # φ' of the sign is 2δ: κ' is 4 times the joint density at 0.
    value, (dc, dq1, dq2) = slopes(stax.Sign(), 1)
    gap = Q1 * Q2 - C**2
    assert value == pytest.approx(4 / (2 * math.pi * math.sqrt(gap)))
    assert (dc, dq1, dq2) == pytest.approx(tuple(value / gap * each for each in (C, -Q2 / 2, -Q1 / 2)))


def nth_derivative(phi, order):
    for _ in range(order):
        phi = (lambda f: lambda z: jax.jvp(f, (z,), (jnp.ones_like(z),))[1])(phi)
    return phi


def integral(left, right):
    """E left(a) right(b), on a grid: the trapezoidal rule of a smooth function that falls off is exact to rounding."""
    g = np.arange(-10, 10.01, 0.05)
    w = np.exp(-(g**2) / 2)
    w /= w.sum()
    a, b = math.sqrt(Q1) * g, C / math.sqrt(Q1) * g[:, None] + math.sqrt(Q2 - C**2 / Q1) * g[None]
    return float((np.asarray(left(jnp.asarray(a))) * w) @ np.asarray(right(jnp.asarray(b))) @ w)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_heat_equation(name, order, x64):
    """∂/∂c differentiates both functions once, ∂/∂q1 the first one twice and halves it, ∂/∂q2 the second."""
    from snn_ntk.activations import resolve

    phi = resolve(SMOOTH[name]).phi
    value, gradient = slopes(SMOOTH[name], order)
    functions = [jax.jit(nth_derivative(phi, order + more)) for more in range(3)]
    assert value == pytest.approx(integral(functions[0], functions[0]), rel=1e-7, abs=1e-10)
    expected = (
        integral(functions[1], functions[1]),
        integral(functions[2], functions[0]) / 2,
        integral(functions[0], functions[2]) / 2,
    )
    assert gradient == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("function", [jnp.tanh, lambda z: jnp.tanh(4 * z)], ids=["tanh", "steep"])
@pytest.mark.parametrize("beyond", [1 + 1e-6, 1.001, 1.05])
def test_a_covariance_that_rounding_took_too_far_keeps_the_cauchy_schwarz_inequality(function, sign, beyond, x64):
    """|E φ(a) φ(b)|² ≤ E φ(a)² E φ(b)², for each derivative; a series would grow without bound beyond ρ = 1."""
    c = sign * beyond * math.sqrt(Q1 * Q2)
    found = dual_derivatives(function, c, Q1, Q2)
    squares = [[float(each) for each in dual_derivatives(function, q, q, q)] for q in (Q1, Q2)]
    for value, first, second in zip(found, *squares, strict=True):
        assert abs(float(value)) <= math.sqrt(first * second) * (1 + 1e-9)
    slope = jax.grad(lambda c: dual(function, c, Q1, Q2))(c)
    assert float(slope) == pytest.approx(float(found[1]))


@pytest.mark.parametrize("name", [*SMOOTH, "relu", "leaky", "abs"])
def test_rounding_at_equal_inputs_is_no_more_than_rounding(name):
    activation = SMOOTH.get(name) or HOMOGENEOUS[name][0]
    q = jnp.float32(0.7)
    at, above = (dual_derivatives(activation, c, q, q) for c in (q, jnp.nextafter(q, jnp.float32(2))))
    for value, moved in zip(at[:2], above[:2], strict=True):
        assert float(moved) == pytest.approx(float(value), rel=2e-3)
