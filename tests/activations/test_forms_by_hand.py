"""Closed forms against sums over a grid of functions written here in NumPy, with their derivatives: nothing is shared."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, ndtr

from snn_ntk import stax
from snn_ntk.activations import resolve
from snn_ntk.activations.kinked_forms import abrelu_form
from snn_ntk.activations.smooth_forms import erf_form, rbf_form, sin_form

pytestmark = pytest.mark.usefixtures("x64")

POINTS = np.array([(0.3, 1.3, 0.7), (-0.5, 0.6, 0.9), (0.8, 0.8, 0.8), (0.0, 0.4, 1.0), (0.02, 0.01, 0.2)]).T
PLACES = np.array([(-1.3, 0.8), (0.0, 0.4), (0.5, 1.2), (0.9, 0.0), (-0.2, 0.0)]).T
G = np.arange(-9, 9.01, 0.06)
WEIGHTS = np.exp(-(G**2) / 2) / np.exp(-(G**2) / 2).sum()


def density(z):
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def polynomial(coefficients):
    p = np.polynomial.Polynomial(coefficients)
    return p, p.deriv(), p.deriv(2)


# A layer, and φ, φ' and φ'' by hand.
SMOOTH = {
    "erf": (
        stax.Erf(2.0, 0.7, 0.3),
        lambda z: 2 * erf(0.7 * z) + 0.3,
        lambda z: 2.8 / math.sqrt(math.pi) * np.exp(-0.49 * z**2),
        lambda z: -2.8 * 0.98 / math.sqrt(math.pi) * z * np.exp(-0.49 * z**2),
    ),
    "gelu": (
        stax.Gelu(),
        lambda z: z * ndtr(z),
        lambda z: ndtr(z) + z * density(z),
        lambda z: (2 - z**2) * density(z),
    ),
    "sin": (
        stax.Sin(1.3, 0.8, 0.2),
        lambda z: 1.3 * np.sin(0.8 * z + 0.2),
        lambda z: 1.04 * np.cos(0.8 * z + 0.2),
        lambda z: -0.832 * np.sin(0.8 * z + 0.2),
    ),
    "rbf": (
        stax.Rbf(0.7),
        lambda z: math.sqrt(2) * np.sin(math.sqrt(1.4) * z + math.pi / 4),
        lambda z: math.sqrt(2.8) * np.cos(math.sqrt(1.4) * z + math.pi / 4),
        lambda z: -1.4 * math.sqrt(2) * np.sin(math.sqrt(1.4) * z + math.pi / 4),
    ),
    "exp": (
        stax.Exp(0.8, 0.3),
        lambda z: 0.8 * np.exp(0.3 * z),
        lambda z: 0.24 * np.exp(0.3 * z),
        lambda z: 0.072 * np.exp(0.3 * z),
    ),
    "gaussian": (
        stax.Gaussian(1.2, -0.4),
        lambda z: 1.2 * np.exp(-0.4 * z**2),
        lambda z: -0.96 * z * np.exp(-0.4 * z**2),
        lambda z: (0.768 * z**2 - 0.96) * np.exp(-0.4 * z**2),
    ),
    "gabor": (
        stax.Gabor(),
        lambda z: np.exp(-(z**2)) * np.sin(z),
        lambda z: np.exp(-(z**2)) * (np.cos(z) - 2 * z * np.sin(z)),
        lambda z: np.exp(-(z**2)) * ((4 * z**2 - 3) * np.sin(z) - 4 * z * np.cos(z)),
    ),
    "cube": (stax.Monomial(3), *polynomial([0, 0, 0, 1.0])),
    "polynomial": (stax.Polynomial([0.1, 0.2, -0.3, 0.4, 0.5]), *polynomial([0.1, 0.2, -0.3, 0.4, 0.5])),
}


def products(f, c, q1, q2, other=None):
    a, b = math.sqrt(q1) * G, c / math.sqrt(q1) * G[:, None] + math.sqrt(max(q2 - c**2 / q1, 0)) * G[None]
    return (f(a) * WEIGHTS) @ (other or f)(b) @ WEIGHTS


@pytest.mark.parametrize("name", SMOOTH)
def test_a_smooth_form_and_its_two_derivatives(name):
    layer, *functions = SMOOTH[name]
    known = resolve(layer)
    found = known.derivatives(*map(jnp.asarray, POINTS))
    for values, f in zip(found, functions, strict=True):
        np.testing.assert_allclose(values, [products(f, *point) for point in POINTS.T], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(known.dual(*map(jnp.asarray, POINTS)), found[0], rtol=1e-13)
    np.testing.assert_allclose(known.phi(jnp.asarray(G[::40])), functions[0](G[::40]), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_smooth_form_averaged_over_noise(name):
    layer, f, *_ = SMOOTH[name]
    known = resolve(layer)
    z = PLACES[0][:, None] + PLACES[1][:, None] * G
    for found, values in ((known.smoothed, f(z)), (known.second_moment, f(z) ** 2)):
        np.testing.assert_allclose(found(*map(jnp.asarray, PLACES)), values @ WEIGHTS, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", ["erf", "gelu", "gaussian", "sin"])
def test_the_slope_of_a_smooth_form_in_a_variance(name):
    """∂κ/∂q1 = E φ''(a) φ(b)/2."""
    layer, f, _, second = SMOOTH[name]
    slope = jax.grad(resolve(layer).dual, 1)(*map(jnp.asarray, POINTS[:, 0]))
    assert float(slope) == pytest.approx(products(second, *POINTS[:, 0], other=f) / 2, rel=1e-9)


def test_a_known_distance_from_1_of_the_correlation_is_used():
    """At q = 1e8, c = q and 1 − ρ² = 1e-12: what c, q1 and q2 tell of it is nothing."""
    q, rest = 1e8, 1e-12
    gap, at = q * q * rest, [jnp.asarray(v) for v in (q, q, q, rest)]
    # Of erf: κ' = (4/π)/√((1 + 2q)² − 4c²), and 4 times the gap is left beside 1 + 4q.
    erf_at = resolve(stax.Erf()).derivatives(*at)
    root = math.sqrt(1 + 4 * q + 4 * gap)
    assert float(erf_at[1]) == pytest.approx(4 / math.pi / root, rel=1e-12)
    assert float(erf_at[2]) == pytest.approx(4 / math.pi * 4 * q / root**3, rel=1e-12)
    # 1 − κ of erf is what its arc leaves of a quarter: (2/π) arctan(root/(2q)).
    assert 1 - float(erf_at[0]) == pytest.approx(2 / math.pi * math.atan(root / (2 * q)), rel=1e-10)
    gaussian = resolve(stax.Gaussian(1.0, -0.5)).dual(*at)
    assert float(gaussian) == pytest.approx(1 / math.sqrt(1 + 2 * q + gap), rel=1e-12)
    gabor = resolve(stax.Gabor()).dual(*at)
    spread = 1 + 4 * q + 4 * gap
    wanted = math.exp((1 + 2 * q) / (2 * spread) - 0.5) * math.sinh(q / spread) / math.sqrt(spread)
    assert float(gabor) == pytest.approx(wanted, rel=1e-12)
    # Of sin, (q1 + q2)/2 − c = √(q1 q2) − c = q rest/2 to leading order.
    sine = resolve(stax.Sin()).dual(*[jnp.asarray(v) for v in (1e10, 1e10, 1e10, 1e-10)])
    assert float(sine) == pytest.approx(math.exp(-0.5) / 2, rel=1e-9)
    gelu = resolve(stax.Gelu()).derivatives(*at)
    determinant = 1 + 2 * q + gap
    assert float(gelu[1]) == pytest.approx(0.25 + math.atan2(q, math.sqrt(determinant)) / (2 * math.pi), rel=1e-4)
    for layer in (stax.Relu(), stax.Abs(), stax.Sign()):
        curvature = float(resolve(layer).derivatives(*at)[1 if "Sign" in layer[1].__name__ else 2])
        height = {"Relu": 1, "ABRelu": 1, "Abs": 4, "Sign": 4}[layer[1].__name__]
        height = 4 if float(resolve(layer).phi(jnp.asarray(-1.0))) else height
        assert curvature == pytest.approx(height / (2 * math.pi * math.sqrt(gap)), rel=1e-12)


def test_forms_with_their_defaults():
    z = jnp.linspace(-2, 2, 5)
    np.testing.assert_allclose(erf_form().phi(z), erf(np.asarray(z)), rtol=1e-14)
    np.testing.assert_allclose(sin_form().phi(z), np.sin(z), rtol=1e-14)
    np.testing.assert_allclose(rbf_form().phi(z), math.sqrt(2) * np.sin(math.sqrt(2) * z + math.pi / 4), rtol=1e-14)
    np.testing.assert_allclose(resolve(stax.Exp()).phi(z), np.exp(z), rtol=1e-14)
    np.testing.assert_allclose(resolve(stax.Gaussian()).phi(z), np.exp(-(np.asarray(z) ** 2)), rtol=1e-14)
    names = {"sin": sin_form(), "1.3 sin(0.8 z + 0.2)": sin_form(1.3, 0.8, 0.2), "sin ": sin_form(1.0, 1.0, 0.0)}
    assert [form.name for form in names.values()] == [name.strip() for name in names]
    assert sin_form(1.0, 1.0, 0.1).name == "1 sin(1 z + 0.1)"
    for a, b, name in ((0.0, 1.0, "ReLU"), (-1.0, 1.0, "abs"), (0.2, 1.0, "ABReLU(0.2, 1.0)")):
        assert abrelu_form(a, b).name == name


def rectified(n, c, q1, q2):
    """E max(a, 0)ⁿ max(b, 0)ⁿ in polar coordinates: an integral over the angles at which both are positive."""
    theta = math.acos(c / math.sqrt(q1 * q2))
    x, w = np.polynomial.legendre.leggauss(40)
    phi = (theta - math.pi / 2) + (math.pi - theta) * (x + 1) / 2
    angles = (w * (np.cos(phi) * np.cos(phi - theta)) ** n).sum() * (math.pi - theta) / 2
    return (q1 * q2) ** (n / 2) * 2**n * math.factorial(n) / (2 * math.pi) * angles


def even_part(n, c, q1, q2):
    """E |a|ⁿ |b|ⁿ from the four quadrants."""
    return 2 * (rectified(n, c, q1, q2) + rectified(n, -c, q1, q2))


def odd_part(n, c, q1, q2):
    return 2 * (rectified(n, c, q1, q2) - rectified(n, -c, q1, q2))


def joint(c, q1, q2):
    return 1 / (2 * math.pi * math.sqrt(q1 * q2 - c**2))


A, B = -0.3, 0.8
KINKED = {
    "relu": (stax.Relu(), (lambda *p: rectified(1, *p), lambda *p: rectified(0, *p), joint)),
    "abs": (stax.Abs(), (lambda *p: even_part(1, *p), lambda *p: odd_part(0, *p), lambda *p: 4 * joint(*p))),
    "abrelu": (
        stax.ABRelu(A, B),
        (
            lambda *p: (A * A + B * B) * rectified(1, *p) - 2 * A * B * rectified(1, -p[0], *p[1:]),
            lambda *p: (A * A + B * B) * rectified(0, *p) + 2 * A * B * rectified(0, -p[0], *p[1:]),
            lambda *p: (B - A) ** 2 * joint(*p),
        ),
    ),
    "sign": (
        stax.Sign(),
        (
            lambda *p: odd_part(0, *p),
            lambda *p: 4 * joint(*p),
            lambda *p: 4 * joint(*p) * p[0] / (p[1] * p[2] - p[0] ** 2),
        ),
    ),
    "step": (
        stax.RectifiedMonomial(0),
        (lambda *p: rectified(0, *p), joint, lambda *p: joint(*p) * p[0] / (p[1] * p[2] - p[0] ** 2)),
    ),
    "square": (
        stax.RectifiedMonomial(2),
        (lambda *p: rectified(2, *p), lambda *p: 4 * rectified(1, *p), lambda *p: 4 * rectified(0, *p)),
    ),
    "cube": (
        stax.RectifiedMonomial(3),
        (lambda *p: rectified(3, *p), lambda *p: 9 * rectified(2, *p), lambda *p: 36 * rectified(1, *p)),
    ),
    "sixth power": (
        stax.RectifiedMonomial(6),
        (lambda *p: rectified(6, *p), lambda *p: 36 * rectified(5, *p), lambda *p: 900 * rectified(4, *p)),
    ),
}
# Also far from 1, where what is computed is a factor of a number near 1, and with variances of different size.
SIZES = np.array(
    [(0.3, 1.3, 0.7), (1.0, 1.3, 1.2), (-0.5, 0.6, 0.9), (2e5, 3e6, 8e4), (-1e-7, 2e-7, 3e-7), (0.4, 1e6, 1e-6)]
).T


@pytest.mark.parametrize("name", KINKED)
def test_a_kinked_form_and_its_two_derivatives(name):
    layer, functions = KINKED[name]
    for values, f in zip(resolve(layer).derivatives(*map(jnp.asarray, SIZES)), functions, strict=True):
        np.testing.assert_allclose(values, [f(*point) for point in SIZES.T], rtol=1e-9)


PHIS = {
    "relu": lambda z: max(z, 0.0),
    "abs": abs,
    "abrelu": lambda z: A * min(z, 0.0) + B * max(z, 0.0),
    "sign": lambda z: math.copysign(1, z),
    "step": lambda z: float(z > 0),
    "square": lambda z: max(z, 0.0) ** 2,
    "cube": lambda z: max(z, 0.0) ** 3,
    "sixth power": lambda z: max(z, 0.0) ** 6,
}
DEGREES = {"sign": 0, "step": 0, "square": 2, "cube": 3, "sixth power": 6}


@pytest.mark.parametrize("name", KINKED)
def test_a_kinked_function_and_its_degree(name):
    known = resolve(KINKED[name][0])
    for z in (-1.5, 0.7):
        assert float(known.phi(jnp.asarray(z))) == pytest.approx(PHIS[name](z), rel=1e-14)
    assert known.degree == DEGREES.get(name, 1)  # φ(t z) = tᵏ φ(z)
    assert known.jumps == (name in ("sign", "step"))


@pytest.mark.parametrize("name", KINKED)
def test_slopes_of_a_kinked_form(name):
    """In the covariance κ', in each variance by Euler's identity: κ is homogeneous of the degree of φ in either one."""
    layer, functions = KINKED[name]
    degree = DEGREES.get(name, 1)
    for point in ((0.4, 1.3, 0.7), (-0.2, 0.5, 2.0)):
        value, slope = functions[0](*point), functions[1](*point)
        wanted = (slope, *((degree * value - point[0] * slope) / (2 * q) for q in point[1:]))
        gradient = jax.grad(resolve(layer).dual, (0, 1, 2))(*map(jnp.asarray, point))
        np.testing.assert_allclose(gradient, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", KINKED)
def test_a_kinked_form_at_a_variance_of_zero(name):
    """A pre-activation that is 0 itself: κ = φ(0) E φ(b), and no derivative is NaN."""
    layer, _ = KINKED[name]
    known = resolve(layer)
    at_zero = {"step": 1.0}.get(name, 0.0)
    for q1, q2 in ((0.0, 0.7), (0.7, 0.0), (0.0, 0.0)):
        mean = 1.0 if q1 == q2 else 0.5
        values = known.derivatives(*map(jnp.asarray, (0.0, q1, q2)))
        assert float(values[0]) == at_zero * mean
        assert not any(math.isnan(float(value)) for value in values)
    assert float(known.phi(jnp.asarray(0.0))) == at_zero


@pytest.mark.parametrize("sign", [1, -1])
def test_equal_and_opposite_pre_activations(sign):
    """κ of |z| is q, κ' ±1, and κ'' infinite; half of that for ReLU at equal, nothing at opposite ones."""
    for q in (0.7, 3e6):
        point = [jnp.asarray(v) for v in (sign * q, q, q)]
        both = resolve(stax.Abs()).derivatives(*point)
        np.testing.assert_allclose([float(v) for v in both[:2]], [q, sign], rtol=1e-14)
        assert float(both[2]) == math.inf
        half = resolve(stax.Relu()).derivatives(*point)
        np.testing.assert_allclose([float(v) for v in half[:2]], [q / 2 * (sign > 0), (sign > 0) / 2], atol=1e-10 * q)
        # Without a kink, with one the other way round, and of a jump.
        assert float(abrelu_form(0.4, 0.4).derivatives(*point)[2]) == 0
        assert float(abrelu_form(0.5, 0.4).derivatives(*point)[2]) == math.inf
        jump = [float(v) for v in resolve(stax.Sign()).derivatives(*point)]
        assert jump == [pytest.approx(sign), math.inf, sign * math.inf]
        # The slopes of √(q1 q2 − c²) on either side are ±∞: 0, that between them.
        np.testing.assert_array_equal(jax.grad(resolve(stax.Sign()).dual, (0, 1, 2))(*point), 0)
        gradient = jax.grad(resolve(stax.Relu()).dual, (0, 1, 2))(*point)
        np.testing.assert_allclose(gradient, [(sign > 0) / 2, 0, 0], atol=1e-7)


def half_normal(u, s, power):
    """E max(u + s g, 0)^power for powers 0, 1 and 2."""
    if s == 0:
        return float(u >= 0) if power == 0 else max(u, 0.0) ** power
    z = u / s
    moments = (ndtr(z), u * ndtr(z) + s * density(z), (u * u + s * s) * ndtr(z) + u * s * density(z))
    return float(moments[power])


@pytest.mark.parametrize("place", [*PLACES.T, (0.0, 0.0), (3.0, 1e-3), (-3.0, 1e-3)], ids=str)
def test_kinked_forms_averaged_over_noise(place):
    u, s = map(float, place)
    positive, negative = ([half_normal(v, s, power) for power in range(3)] for v in (u, -u))
    at = jnp.asarray(u), jnp.asarray(s)
    for a, b in ((0.0, 1.0), (-1.0, 1.0), (0.2, 1.0), (A, B)):
        form = abrelu_form(a, b)
        assert float(form.smoothed(*at)) == pytest.approx(b * positive[1] - a * negative[1], rel=1e-12, abs=1e-15)
        second = b * b * positive[2] + a * a * negative[2]
        assert float(form.second_moment(*at)) == pytest.approx(second, rel=1e-9, abs=1e-14)
    sign, step = resolve(stax.Sign()), resolve(stax.RectifiedMonomial(0))
    mean = 0.0 if u == s == 0 else 2 * positive[0] - 1
    assert float(sign.smoothed(*at)) == pytest.approx(mean, rel=1e-12, abs=1e-15)
    assert float(sign.second_moment(*at)) == (0.0 if u == s == 0 else 1.0)
    assert float(step.smoothed(*at)) == pytest.approx(positive[0], rel=1e-12, abs=1e-15)
    assert float(step.second_moment(*at)) == pytest.approx(positive[0], rel=1e-12, abs=1e-15)
    slope = jax.grad(abrelu_form(0.0, 1.0).smoothed, (0, 1))(*at)
    z = u / s if s else math.copysign(40, u) if u else 0.0
    np.testing.assert_allclose(slope, [ndtr(z), density(z)], rtol=1e-9, atol=1e-15)
