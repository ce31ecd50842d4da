"""Duals against quadrature on a dense grid, their derivatives against one another, and what they refuse."""

import contextlib
import math

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax
from snn_ntk.activations import dual, dual_derivatives, resolve

SMOOTH_LAYERS = {
    "erf": stax.Erf(2.0, 0.7, 0.3),
    "sigmoid-like": stax.Sigmoid_like(),
    "gelu": stax.Gelu(),
    "sin": stax.Sin(1.3, 0.8, 0.2),
    "cos": stax.Cos(),
    "rbf": stax.Rbf(0.7),
    "exp": stax.Exp(0.8, 0.3),
    "gaussian": stax.Gaussian(1.2, -0.4),
    "gabor": stax.Gabor(),
    "monomial": stax.Monomial(3),
    "polynomial": stax.Polynomial([0.1, 0.2, -0.3, 0.4]),
}
KINKED_LAYERS = {
    "relu": stax.Relu(),
    "leaky": stax.LeakyRelu(0.2),
    "abs": stax.Abs(),
    "abrelu": stax.ABRelu(-0.3, 0.8),
    "rectified square": stax.RectifiedMonomial(2),
}
FUNCTIONS = {"tanh": jnp.tanh, "softplus": jax.nn.softplus, "swish": jax.nn.swish, "arctan": jnp.arctan}


def derivative(phi):
    return lambda z: jax.jvp(phi, (z,), (jnp.ones_like(z),))[1]


def integral(phi, c, q1, q2):
    """E φ(a)φ(b) on a grid of spacing 0.02 (0.05 would do for double precision)."""
    g = np.arange(-9, 9.01, 0.03)
    w = np.exp(-g * g / 2)
    w /= w.sum()
    a = math.sqrt(q1) * g
    b = c / math.sqrt(q1) * g[:, None] + math.sqrt(max(q2 - c * c / q1, 0)) * g[None, :]
    return float(np.asarray(phi(jnp.asarray(a))) * w @ np.asarray(phi(jnp.asarray(b))) @ w)


POINTS = np.array([(0.3, 1.0, 0.7), (-0.8, 1.0, 0.9), (1.0, 1.0, 1.0), (4.0, 4.0, 4.0), (0.0, 2.0, 1.0)]).T


@pytest.mark.parametrize("name", FUNCTIONS)
def test_quadrature_is_accurate(name, x64):
    phi = FUNCTIONS[name]
    slope = derivative(phi)
    for got, function in zip(dual_derivatives(phi, *POINTS), (phi, slope, derivative(slope)), strict=True):
        want = [integral(jax.jit(function), *point) for point in POINTS.T]
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-12)


def test_quadrature_reaches_large_variances(x64):
    slope = derivative(jnp.tanh)
    for got, function in zip(
        dual_derivatives(jnp.tanh, 20.0, 20.0, 20.0), (jnp.tanh, slope, derivative(slope)), strict=True
    ):
        g = np.arange(-9, 9.001, 0.005)
        w = np.exp(-g * g / 2) / np.exp(-g * g / 2).sum()
        want = float((np.asarray(function(jnp.asarray(math.sqrt(20.0) * g))) ** 2 * w).sum())
        assert float(got) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("name", SMOOTH_LAYERS)
def test_closed_forms_are_the_integrals(name, x64):
    activation = resolve(SMOOTH_LAYERS[name])
    slope = derivative(activation.phi)
    points = np.array([(0.3, 1.0, 0.7), (-0.5, 0.6, 0.9), (0.8, 0.8, 0.8)]).T
    got = jax.jit(activation.derivatives)(*map(jnp.asarray, points))
    for values, function in zip(got, (activation.phi, slope, derivative(slope)), strict=True):
        want = [integral(jax.jit(function), *point) for point in points.T]
        np.testing.assert_allclose(values, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", KINKED_LAYERS)
def test_kinked_closed_forms_are_the_integrals(name, x64):
    activation = resolve(KINKED_LAYERS[name])
    value = dual(KINKED_LAYERS[name], 0.3, 1.0, 0.7)
    # A trapezoidal rule of spacing h errs by O(h²) at a kink.
    assert float(value) == pytest.approx(integral(activation.phi, 0.3, 1.0, 0.7), rel=1e-3)


@pytest.mark.parametrize("name", SMOOTH_LAYERS | KINKED_LAYERS)
def test_layer_and_activation_are_the_same_function(name, x64):
    layer = (SMOOTH_LAYERS | KINKED_LAYERS)[name]
    z = jnp.linspace(-3, 3, 13)
    np.testing.assert_allclose(resolve(layer).phi(z), layer[1]((), z), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", SMOOTH_LAYERS | KINKED_LAYERS)
def test_layer_and_activation_have_the_same_dual(name, x64):
    layer = (SMOOTH_LAYERS | KINKED_LAYERS)[name]
    x = jax.random.normal(jax.random.PRNGKey(3), (4, 3))
    k = jax.jit(stax.serial(stax.Dense(1), layer)[2])(x)
    pre = stax.Dense(1)[2](x)
    derivatives = jax.jit(lambda *q: dual_derivatives(layer, *q))
    value, slope, _ = derivatives(pre.nngp, pre.cov1[:, None], pre.cov1[None, :])
    off = ~np.eye(4, dtype=bool)  # neural-tangents' rectified monomials are not defined at equal inputs
    np.testing.assert_allclose(np.asarray(value)[off], np.asarray(k.nngp)[off], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.asarray(slope * pre.ntk)[off], np.asarray(k.ntk)[off], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", [stax.Erf(), stax.Sin(), stax.Relu(), jnp.tanh, jax.nn.softplus])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 1, 2)])
def test_covariances_and_variances_of_different_ranks_broadcast(activation, shape, x64):
    c = jnp.linspace(0.1, 0.6, math.prod(shape)).reshape(shape)
    q2 = jnp.linspace(0.7, 1.1, shape[-1])
    found = dual_derivatives(activation, c, 1.0, q2)
    for index in np.ndindex(*shape):
        alone = dual_derivatives(activation, c[index], 1.0, q2[index[-1]])
        for values, value in zip(found, alone, strict=True):
            assert values.shape == shape
            assert float(values[index]) == pytest.approx(float(value), rel=1e-12)


@pytest.mark.parametrize("activation", [*SMOOTH_LAYERS.values(), *KINKED_LAYERS.values(), stax.Sign(), jnp.tanh])
def test_price_theorem_links_the_three(activation, x64):
    h = 1e-4
    kappas = jax.jit(lambda c: dual_derivatives(activation, c, 1.0, 0.7))(jnp.array([0.3 - h, 0.3, 0.3 + h]))
    for order in (0, 1):
        # The next derivative is of order 10 at most here, so the difference quotient errs by about 1e-7.
        lower, _, upper = kappas[order]
        assert float(upper - lower) / (2 * h) == pytest.approx(float(kappas[order + 1][1]), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    "activation", [stax.Erf(), stax.Relu(), stax.Gelu(), stax.Sin(), stax.Polynomial([1, 2, 3]), jnp.tanh]
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_gradients_are_finite_at_equal_inputs(activation, precision):
    with jax.enable_x64(True) if precision == "float64" else contextlib.nullcontext():
        c, q = jnp.array([1.0, 0.0, 2.0], precision), jnp.array([1.0, 0.0, 2.5], precision)
        gradient = jax.jit(jax.grad(lambda *p: dual(activation, *p).sum(), (0, 1, 2)))(c, q, q)
        assert dual(activation, c, q, q).dtype == precision
        assert all(bool(jnp.isfinite(g).all()) and g.dtype == precision for g in gradient)


def test_curvature_of_a_kink_is_infinite_at_equal_inputs():
    assert math.isinf(float(dual_derivatives(stax.Relu(), 1.0, 1.0, 1.0)[2]))
    assert math.isfinite(float(dual_derivatives(stax.Relu(), 1.0, 1.1, 1.1)[2]))


def test_gradients_of_the_quadrature_are_differences(x64):
    def value(q):
        return dual(jnp.tanh, 0.4, q, 0.8)

    assert float(jax.grad(value)(1.0)) == pytest.approx(float((value(1 + 1e-5) - value(1 - 1e-5)) / 2e-5), rel=1e-7)
    assert float(jax.grad(jax.grad(value))(1.0)) == pytest.approx(
        float((jax.grad(value)(1 + 1e-5) - jax.grad(value)(1 - 1e-5)) / 2e-5), rel=1e-6
    )


def test_single_precision_agrees_with_double():
    c, q = jnp.linspace(-1, 1, 9), jnp.ones(9)
    single = dual_derivatives(jnp.tanh, c, q, q)
    assert all(k.dtype == jnp.float32 for k in single)
    with jax.enable_x64(True):
        double = dual_derivatives(jnp.tanh, *(jnp.asarray(np.asarray(a), jnp.float64) for a in (c, q, q)))
        double = [np.asarray(k) for k in double]
    for s, d in zip(single, double, strict=True):
        np.testing.assert_allclose(s, d, rtol=2e-5, atol=2e-6)


def test_jit_and_vmap_change_nothing(x64):
    c, q1, q2 = jnp.linspace(-0.5, 0.5, 6), jnp.linspace(0.6, 1.5, 6), jnp.linspace(1.5, 0.6, 6)
    for activation in (stax.Erf(), jnp.tanh):
        plain = dual(activation, c, q1, q2)
        np.testing.assert_allclose(jax.jit(lambda *a, f=activation: dual(f, *a))(c, q1, q2), plain, rtol=1e-12)
        np.testing.assert_allclose(jax.vmap(lambda *a, f=activation: dual(f, *a))(c, q1, q2), plain, rtol=1e-12)


@pytest.mark.parametrize("activation", [*SMOOTH_LAYERS.values(), stax.Relu(), stax.LeakyRelu(0.2), jnp.tanh])
def test_smoothing_is_the_expectation(activation, x64):
    known = resolve(activation)
    g = np.arange(-9, 9.0001, 0.002)
    w = np.exp(-g * g / 2) / np.exp(-g * g / 2).sum()
    u, scale = (a.ravel() for a in jnp.meshgrid(jnp.array([-1.3, 0.0, 0.4]), jnp.array([0.0, 0.3, 1.1])))
    z = np.asarray(jax.jit(known.phi)(u[:, None] + scale[:, None] * g))
    np.testing.assert_allclose(jax.jit(known.smoothed)(u, scale), z @ w, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(jax.jit(known.second_moment)(u, scale), z**2 @ w, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("activation", [*SMOOTH_LAYERS.values(), *KINKED_LAYERS.values(), jnp.tanh])
def test_smoothing_has_finite_gradients_without_noise(activation, x64):
    smoothed = resolve(activation).smoothed
    gradients = jax.jit(jax.grad(lambda u, s: smoothed(u, s).sum(), (0, 1)))(jnp.array([-0.7, 0.0, 0.7]), jnp.zeros(3))
    assert all(bool(jnp.isfinite(g).all()) for g in gradients)


def test_the_same_function_as_a_layer_and_as_a_callable():
    for function, layer in [(jax.scipy.special.erf, stax.Erf()), (jax.nn.relu, stax.Relu()), (jnp.sin, stax.Sin())]:
        assert float(dual(function, 0.3, 1.0, 1.0)) == float(dual(layer, 0.3, 1.0, 1.0))


def test_hermite_is_refused():
    with pytest.raises(ValueError, match="unit variance"):
        resolve(stax.Hermite(2))


@pytest.mark.parametrize(
    "activation", ["erf", None, 3.0, stax.Dense(3), stax.serial(stax.Dense(1), stax.Erf()), (1, 2, 3)]
)
def test_unknown_activations_are_refused(activation):
    with pytest.raises(TypeError, match=r"expected a nonlinearity.*got"):
        resolve(activation)


def test_what_a_newcomer_writes_gets_advice():
    with pytest.raises(TypeError, match=r"such as jnp\.tanh, got NumPy's"):
        resolve(np.tanh)
    with pytest.raises(TypeError, match=r"expected a layer, stax\.Relu\(…\), got the function that makes it"):
        resolve(stax.Relu)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (jax.nn.softmax, "acts entry by entry, got softmax, whose entries depend on each other"),
        (lambda z: 1.0, r"makes float32 of shape \(\) of inputs of shape \(2, 2\)"),
        (lambda z: (z > 0).astype(int), r"makes int32 of shape \(2, 2\)"),
        (lambda z: 1j * z, "makes complex64"),
        (lambda z: None, "makes NoneType of shape None"),
    ],
)
def test_what_is_no_function_of_each_entry_is_refused(function, message):
    """Softmax was integrated as the function 1."""
    with pytest.raises(TypeError, match=message):
        dual(function, 0.5, 1.0, 1.0)
    with pytest.raises(TypeError, match=message):
        stax.ElementwiseNumerical(function, 10)


class Steep(eqx.Module):
    """A function with a parameter, which has no hash."""

    slope: jax.Array

    def __call__(self, z):
        return jnp.tanh(self.slope * z)


def test_an_object_without_a_hash_is_a_function_too(x64):
    def value(slope):
        return dual(Steep(slope), 0.5, 1.0, 1.2)

    def plain(slope):
        return dual(lambda z: jnp.tanh(slope * z), 0.5, 1.0, 1.2)

    slope = jnp.asarray(1.3)
    np.testing.assert_allclose(value(slope), plain(slope), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(value)(slope), jax.grad(plain)(slope), rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_named_where_it_does_not_suffice(dtype):
    with pytest.raises(
        ValueError, match=f"expected single or double precision for the dual of tanh, got {dtype.__name__}"
    ):
        dual(jnp.tanh, *(dtype(v) for v in (0.5, 1.0, 1.0)))


def test_many_covariances_of_one_large_variance(x64):
    """Next to |ρ| = 1 each takes a double integral."""
    c = jnp.array([1e8, 9e7, 2e6])
    each = [dual_derivatives(jnp.tanh, v, 1e8, 1e8) for v in c]
    for many, single in zip(dual_derivatives(jnp.tanh, c, 1e8, 1e8), zip(*each, strict=True), strict=True):
        np.testing.assert_allclose(many, jnp.stack(single), rtol=1e-12)


def test_numerical_layer_is_integrated_anew(x64):
    layer = stax.ElementwiseNumerical(jnp.tanh, 10)
    assert float(dual(layer, 1.0, 1.0, 1.0)) == pytest.approx(float(dual(jnp.tanh, 1.0, 1.0, 1.0)), rel=1e-12)


@hypothesis.settings(max_examples=15)
@hypothesis.given(rho=st.floats(-1, 1), q1=st.floats(0.1, 5), q2=st.floats(0.1, 5))
def test_duals_obey_cauchy_schwarz(rho, q1, q2):
    with jax.enable_x64(True):
        c = rho * math.sqrt(q1 * q2)
        for activation in (stax.Erf(), stax.Relu(), jnp.tanh):
            value = float(dual(activation, c, q1, q2))
            bound = math.sqrt(float(dual(activation, q1, q1, q1)) * float(dual(activation, q2, q2, q2)))
            assert abs(value) <= bound * (1 + 1e-9)
