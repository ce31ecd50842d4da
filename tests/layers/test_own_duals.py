"""Nonlinearities of neural-tangents have this library's duals: its own where those are accurate, and better elsewhere."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticDense, nt, stax

elementwise = importlib.import_module("neural_tangents._src.stax.elementwise")

MAKERS = {
    "ABRelu": lambda: stax.ABRelu(-0.3, 0.8, do_stabilize=True),
    "Abs": lambda: stax.Abs(),
    "Cos": lambda: stax.Cos(0.7, 0.9, 0.2),
    "Elementwise": lambda: stax.Elementwise(jnp.sin, lambda c, q1, q2: jnp.exp(-(q1 + q2) / 2) * jnp.sinh(c)),
    "ElementwiseNumerical": lambda: stax.ElementwiseNumerical(jnp.tanh, deg=60),
    "Erf": lambda: stax.Erf(1.2, 0.8, 0.1),
    "Exp": lambda: stax.Exp(0.7, 0.4),
    "ExpNormalized": lambda: stax.ExpNormalized(0.7, -0.4),
    "Gabor": lambda: stax.Gabor(),
    "Gaussian": lambda: stax.Gaussian(0.9, -0.6),
    "Gelu": lambda: stax.Gelu(),
    "LeakyRelu": lambda: stax.LeakyRelu(0.2),
    "Monomial": lambda: stax.Monomial(3),
    "Polynomial": lambda: stax.Polynomial([0.2, -0.3, 0.5]),
    "Rbf": lambda: stax.Rbf(0.7),
    "RectifiedMonomial0": lambda: stax.RectifiedMonomial(0),
    "RectifiedMonomial2": lambda: stax.RectifiedMonomial(2),
    "Relu": lambda: stax.Relu(),
    "Sigmoid_like": lambda: stax.Sigmoid_like(),
    "Sign": lambda: stax.Sign(),
    "Sin": lambda: stax.Sin(0.7, 0.9, 0.2),
}


@pytest.fixture
def formulas(monkeypatch):
    """The formulas that neural-tangents has itself for each layer which is made."""
    found, make = [], elementwise._elementwise
    monkeypatch.setattr(elementwise, "_elementwise", lambda fn, name, own: [found.append(own), make(fn, name, own)][1])
    return found


@pytest.mark.filterwarnings("ignore:Using JAX autodiff")
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    "layout",
    ["two sets", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("inputs", "positions", "all positions"))],
)
def test_they_are_neural_tangents_own_where_those_are_accurate(name, layout, formulas, x64):
    layer = MAKERS[name]()
    (formula,) = formulas
    shape, spatial = ((4, 3), True) if layout in ("inputs", "two sets") else ((3, 2, 3), layout == "positions")
    x1, x2 = jax.random.normal(jax.random.key(0), (2, *shape))
    x2 = x2[:2] if layout == "two sets" else None
    k = stax.Dense(1, 1.1, 0.3)[2](x1, x2, diagonal_spatial=spatial)
    want, got = formula(k), layer[2](k)
    for field in ("nngp", "ntk", "cov1", "cov2"):
        one, other = getattr(want, field), getattr(got, field)
        if (name, layout, field) == ("Sign", "all positions", "cov1"):
            # neural-tangents has 1 for the covariance of every two positions.
            np.testing.assert_allclose(other, jnp.diagonal(got.nngp).transpose(2, 0, 1))
        elif one is None:
            assert other is None
        else:
            # Its rectified monomials are NaN at equal inputs.
            there = jnp.isfinite(one) if name.startswith("Rectified") else jnp.ones_like(one, bool)
            accuracy = 1e-3 if name == "ElementwiseNumerical" else 1e-8
            assert there.any()
            np.testing.assert_allclose(other[there], one[there], rtol=accuracy, atol=1e-9, err_msg=field)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:Using JAX autodiff")
@pytest.mark.parametrize("name", [name for name in MAKERS if not name.startswith("Rectified")])  # its own are NaN
def test_so_are_their_gradients_in_the_inputs(name, formulas, x64):
    layer, dense = MAKERS[name](), stax.Dense(1, 1.1, 0.3)
    x, weights = jax.random.normal(jax.random.key(0), (4, 3)), jax.random.normal(jax.random.key(1), (4, 4))
    for field in ("nngp", "ntk", "cov1"):
        one, other = (
            jax.grad(lambda x, of=of, field=field: (getattr(of(dense[2](x)), field) * weights).sum())(x)
            for of in (formulas[0], layer[2])
        )
        accuracy = 1e-3 if name == "ElementwiseNumerical" else 1e-8
        # Of the kernel of an input with itself, which is 1 for Rbf, no gradient but rounding is left.
        np.testing.assert_allclose(other, one, atol=accuracy * np.abs(one).max() + 1e-14, err_msg=field)


@pytest.mark.parametrize(
    "name",
    [
        *("Erf", "Gaussian", "Polynomial"),
        *(
            pytest.param(name, marks=pytest.mark.heavy)
            for name in ("Gelu", "Rbf", "Gabor", "Sin", "Sigmoid_like", "Relu")
        ),
    ],
)
def test_single_precision_keeps_its_digits(name):
    """Variances of 1e7, where neural-tangents' Erf had an infinite slope and its Gelu and Gaussian were NaN; inputs of 0."""
    scale = 1.0 if name == "Polynomial" else 1e4
    x = jnp.array([[1.0, 2.0], [1.0, 2.0], [-2.0, 1.0], [0.0, 0.0], [1e-3, 1e-3]]) * scale
    kernel_fn = stax.serial(StochasticDense(1, 1.3, sigma0=0.01), MAKERS[name](), stax.Dense(1, 1.0, 0.1))[2]
    single = kernel_fn(x)
    with jax.enable_x64(True):
        double = kernel_fn(np.asarray(x, np.float64))
    for field in ("nngp", "ntk", "cov1"):
        want = np.asarray(getattr(double, field))
        assert getattr(single, field).dtype == jnp.float32
        # A slope at a kink, and what changes over 1 where inputs are 1e4, has half of the digits.
        np.testing.assert_allclose(getattr(single, field), want, atol=3e-3 * np.abs(want).max(), err_msg=field)


@pytest.mark.parametrize("sigma0", [1e-3, 1e-5, 1e-12])
def test_noise_below_rounding_at_a_kink(sigma0):
    """In single precision κ'' is infinite at equal inputs, where its factor goes to 0 faster."""
    x = jnp.array([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0]])
    got = stax.serial(StochasticDense(1, sigma0=sigma0), stax.Relu(), stax.Dense(1))[2](x).ntk
    want = stax.serial(stax.Dense(1), stax.Relu(), stax.Dense(1))[2](x).ntk
    np.testing.assert_allclose(got, want, atol=3 * sigma0 * float(want.max()) + 1e-3)


def test_a_dual_that_is_not_finite_is_refused_by_name(x64):
    x = jnp.array([[1.0, 2.0], [300.0, 400.0]])
    for layer, text in (
        (stax.Exp(), "expected variances at which exp can be integrated, in float64 up to about 3.2e+02, got q up to"),
        (
            stax.Elementwise(jnp.sin, lambda c, q1, q2: c / (q1 - q1), lambda c, q1, q2: c),
            "expected a smooth activation, got sin",
        ),
        (stax.ElementwiseNumerical(jax.nn.relu, deg=25), "moments do not converge at any variance: it has a kink"),
    ):
        with pytest.raises(ValueError, match=text.replace("+", r"\+")):
            stax.serial(stax.Dense(1), layer, stax.Dense(1))[2](x)


@pytest.mark.parametrize(
    ("layer", "bound"),
    [(stax.Exp(1, 6e4), "1e-08"), (stax.Monomial(3), "1e\\+09")],
)
def test_a_bound_is_looked_for_over_seventeen_orders(layer, bound):
    x = jnp.array([[1.0, 2.0], [1e8, 1e8]])
    with pytest.raises(ValueError, match=f"in float32 up to about {bound}, got q up to 1e"):
        stax.serial(stax.Dense(1), layer, stax.Dense(1))[2](x)


def test_a_slope_that_is_not_resolved_has_a_bound_too(x64):
    """The curvature of erf, integrated, is resolved up to a smaller variance than erf itself."""
    layer = stax.ElementwiseNumerical(jax.scipy.special.erf, 9)
    x = jnp.array([[2.5e4, 3.25e4], [2.5e4, 3.25e4]])
    with pytest.raises(
        ValueError, match=r"erf can be integrated, in float64 up to about 3.2e\+08, got q up to 8.406e\+08"
    ):
        stax.serial(stax.Dense(1), layer, stax.Dense(1))[2](x)


def test_blocks_of_batched_kernels_are_not_refused_in_a_trace():
    x = jnp.array([[1.0, 2.0], [300.0, 400.0]])
    kernel_fn = nt.batch(stax.serial(stax.Dense(1), stax.Exp(), stax.Dense(1))[2], 1)
    assert not np.isfinite(np.asarray(kernel_fn(x, None, "nngp"))[1, 1])
