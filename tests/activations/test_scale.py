"""Any variance, any correlation: duals against other methods, and a refusal where they are not resolved."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from snn_ntk import stax, tangent_kernels, tangent_kernels_batched
from snn_ntk.activations import dual, dual_derivatives, resolve

VARIANCES = np.array([1e-8, 1e-4, 0.3, 7.0, 300.0, 1e4, 1e6, 1e8])
CORRELATIONS = (-1.0, -0.999, -0.6, 0.0, 0.5, 0.97, 1 - 1e-6, 1 - 1e-12, 1.0)


def relative_errors(got, want, scales):
    """On the scale of Cauchy and Schwarz, which is what a kernel's eigenvalues see."""
    return [float(np.abs((g - w) / s).max()) for g, w, s in zip(got, want, scales, strict=True)]


# Two methods that share nothing: closed forms, and series and double integrals of the same function.
@pytest.mark.parametrize(
    ("layer", "phi"),
    [
        (stax.Erf(), lambda z: jax.scipy.special.erf(z)),
        (stax.Gelu(), lambda z: jax.nn.gelu(z, approximate=False)),
        (stax.Gaussian(), lambda z: jnp.exp(-z * z)),
        (stax.Gabor(), lambda z: jnp.exp(-z * z) * jnp.sin(z)),
    ],
)
def test_closed_forms_and_quadrature_agree_at_every_scale(layer, phi, x64):
    rho, q = (a.ravel() for a in np.meshgrid(CORRELATIONS, VARIANCES, indexing="ij"))
    scales = dual_derivatives(layer, q, q, q)
    errors = relative_errors(dual_derivatives(phi, rho * q, q, q), dual_derivatives(layer, rho * q, q, q), scales)
    assert max(errors) < 1e-11


def test_different_variances_agree_too(x64):
    rho, q1, q2 = (a.ravel() for a in np.meshgrid(CORRELATIONS, VARIANCES[::3], VARIANCES[::2], indexing="ij"))
    c = rho * np.sqrt(q1) * np.sqrt(q2)
    phi = jax.tree_util.Partial(jax.scipy.special.erf)
    scales = [np.sqrt(a * b) for a, b in zip(*(dual_derivatives(stax.Erf(), q, q, q) for q in (q1, q2)), strict=True)]
    errors = relative_errors(dual_derivatives(phi, c, q1, q2), dual_derivatives(stax.Erf(), c, q1, q2), scales)
    assert max(errors) < 1e-11


def derivative(phi):
    return lambda z: jax.jvp(phi, (z,), (jnp.ones_like(z),))[1]


NAMED = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "swish": jax.nn.swish,
    "mish": jax.nn.mish,
    "gelu": jax.nn.gelu,
}


@pytest.mark.parametrize("name", NAMED)
def test_named_functions_at_equal_and_opposite_inputs(name, x64):
    """There the dual is one integral, taken here by Gauss and Legendre between breakpoints at all scales."""
    phi = NAMED[name]
    slope = derivative(phi)
    x, w = np.polynomial.legendre.leggauss(40)
    for q in (1e-8, 1.0, 1e4, 1e8):
        positive = np.concatenate([[0], np.geomspace(1e-3, 12 * max(math.sqrt(q), 1), 120)])
        edges = np.concatenate([-positive[:0:-1], positive]) * (math.sqrt(q) if q < 1 else 1)
        z = ((edges[1:] - edges[:-1])[:, None] * (x + 1) / 2 + edges[:-1, None]).ravel()
        weights = (
            ((edges[1:] - edges[:-1])[:, None] * w / 2).ravel() * np.exp(-z * z / (2 * q)) / math.sqrt(2 * math.pi * q)
        )
        plus, minus = dual_derivatives(phi, q, q, q), dual_derivatives(phi, -q, q, q)
        for order, f in enumerate((phi, slope, derivative(slope))):
            values, mirrored = np.asarray(f(jnp.asarray(z))), np.asarray(f(jnp.asarray(-z)))
            norm = weights @ values**2
            assert float(plus[order]) == pytest.approx(float(norm), rel=1e-9)
            assert float(minus[order]) == pytest.approx(float(weights @ (values * mirrored)), abs=1e-9 * float(norm))


@pytest.mark.parametrize("rho", [0.5, 0.999])
def test_a_double_integral_of_a_pair(rho, x64):
    """κ' of tanh at q = 1e4, by SciPy's adaptive rule."""
    q = 1e4
    gap = q * q * (1 - rho**2)

    def integrand(b, a):
        exponent = -(q * a * a - 2 * rho * q * a * b + q * b * b) / (2 * gap)
        return math.exp(exponent) / (math.cosh(a) * math.cosh(b)) ** 2 / (2 * math.pi * math.sqrt(gap))

    want = integrate.dblquad(integrand, -20, 20, -20, 20, epsabs=0, epsrel=1e-9)[0]
    assert float(dual_derivatives(jnp.tanh, rho * q, q, q)[1]) == pytest.approx(want, rel=1e-8)


def test_single_precision_keeps_its_digits():
    rho, q = (a.ravel() for a in np.meshgrid([-1.0, 0.5, 0.9, 1.0], VARIANCES, indexing="ij"))
    single = [
        np.asarray(k, np.float64) for k in dual_derivatives(jnp.tanh, np.float32(rho * q), np.float32(q), np.float32(q))
    ]
    with jax.enable_x64(True):
        point = [np.asarray(np.float32(v), np.float64) for v in (rho * q, q, q)]
        double, scales = (dual_derivatives(jnp.tanh, c, *point[1:]) for c in (point[0], point[1]))
        errors = relative_errors(single[:2], double[:2], scales[:2])
    assert max(errors) < 2e-5


def leaky(z):
    return jnp.where(z > 0, z, 0.2 * z)


@pytest.mark.parametrize(
    "phi",
    [
        jax.jit(jax.nn.relu),
        jnp.floor,
        *(pytest.param(phi, marks=pytest.mark.heavy) for phi in (leaky, jax.nn.selu, jax.nn.elu, jax.nn.relu6)),
    ],
)
def test_kinks_and_jumps_in_a_function_are_refused(phi, x64):
    x = jax.random.normal(jax.random.key(0), (3, 5))
    for kernels in (tangent_kernels, tangent_kernels_batched):
        with pytest.raises(ValueError, match=r"expected a smooth activation, got .*a kink or a jump.*stax\.LeakyRelu"):
            kernels(x, activation=phi, sigma0=0.5)
    with pytest.raises(ValueError, match="expected a smooth activation"):
        dual_derivatives(phi, 0.5, 1.0, 1.0)
    assert math.isnan(float(jax.jit(lambda c: dual_derivatives(phi, c, 1.0, 1.0)[2])(0.5)))


@pytest.mark.parametrize(
    "phi", [stax.Exp(), lambda z: jnp.exp(z), lambda z: jnp.sin(z * z), lambda z: jnp.tanh(z - 50)]
)
def test_what_is_not_resolved_names_the_variance_and_the_bound(phi, x64):
    with pytest.raises(ValueError, match=r"in float64 up to about [0-9.e+]+, got q up to 1e\+06"):
        dual(phi, 1e5, 1e6, 1e6)
    assert math.isfinite(float(dual(phi, 0.05, 0.1, 0.1)))


def test_known_functions_with_a_parameter():
    assert float(dual(functools.partial(jax.nn.leaky_relu, negative_slope=0.2), 0.3, 1.0, 1.0)) == float(
        dual(stax.LeakyRelu(0.2), 0.3, 1.0, 1.0)
    )
    assert float(dual(functools.partial(jax.nn.gelu, approximate=False), 0.3, 1.0, 1.0)) == float(
        dual(stax.Gelu(), 0.3, 1.0, 1.0)
    )


@pytest.mark.parametrize(("layer", "degree"), [(stax.Relu(), 1), (stax.Sign(), 0), (stax.RectifiedMonomial(2), 2)])
@pytest.mark.parametrize("power", [-33, 8])
def test_kernels_of_homogeneous_activations_scale_exactly(layer, degree, power):
    factor = 2.0 ** (power if degree < 2 else max(power, -28))  # the kernel's own entries stay above float32's least
    x = jax.random.normal(jax.random.key(0), (3, 5))
    one, other = (tangent_kernels(scale * x, activation=layer, sigma0=0.5) for scale in (1.0, factor))
    for part, scaled in zip(one, other, strict=True):
        np.testing.assert_allclose(scaled / factor ** (2 * degree), part, rtol=1e-6)


def test_large_inputs_do_not_overflow():
    x = 1e6 * jax.random.normal(jax.random.key(0), (3, 5))
    gelu, relu = (tangent_kernels(x, activation=layer, sigma0=0.5).total for layer in (stax.Gelu(), stax.Relu()))
    np.testing.assert_allclose(gelu, relu, rtol=1e-5)


@pytest.mark.parametrize("degree", [None, 0, 1, 2, 3])
def test_equal_opposite_and_zero_rows_without_noise(degree, x64):
    layer = stax.Sign() if degree is None else stax.RectifiedMonomial(degree)
    x = jax.random.normal(jax.random.key(0), (3, 5))
    x = jnp.concatenate([x, x[:1], -x[:1], 3 * x[1:2], 0 * x[:1]])
    whole = tangent_kernels(x, activation=layer, sigma0=0.0)
    block = tangent_kernels(x, x[3:], activation=layer, sigma0=0.0)
    for kernel, part in zip(whole, block, strict=True):
        assert bool(jnp.isfinite(kernel).all())
        size = max(float(jnp.abs(kernel).max()), 1e-300)
        np.testing.assert_allclose(kernel / size, kernel.T / size, atol=1e-15)
        np.testing.assert_allclose(kernel[:, 3:] / size, part / size, atol=1e-15)
        np.testing.assert_allclose(kernel[0] / size, kernel[3] / size, atol=1e-15)


def test_rectified_monomials_against_quadrature(x64):
    """The inner integral of a rectified power is one over a half line; SciPy takes both."""
    q1, c, q2 = 1.0, 0.4, 0.7
    gap = q1 * q2 - c * c
    for degree in (2, 3):

        def integrand(b, a, n=degree):
            return (a * b) ** n * math.exp(-(q2 * a * a - 2 * c * a * b + q1 * b * b) / (2 * gap))

        want = integrate.dblquad(integrand, 0, 10, 0, 10, epsrel=1e-9)[0] / (2 * math.pi * math.sqrt(gap))
        assert float(dual(stax.RectifiedMonomial(degree), c, q1, q2)) == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize(
    "make",
    [
        lambda t: stax.Rbf(t),
        pytest.param(lambda t: stax.LeakyRelu(t), marks=pytest.mark.heavy),
        pytest.param(lambda t: lambda z: jnp.tanh(t * z), marks=pytest.mark.heavy),
        lambda t: lambda z, w=None: jnp.where(z > 3, t, t) * jax.nn.sigmoid(z + t),
    ],
)
def test_gradients_in_a_parameter_of_the_activation(make, x64):
    x = jax.random.normal(jax.random.key(0), (3, 5)) / 2

    def total(t):
        return tangent_kernels(x, activation=make(t), sigma0=0.5).total.sum()

    want = (total(0.7 + 1e-5) - total(0.7 - 1e-5)) / 2e-5
    assert float(jax.grad(total)(0.7)) == pytest.approx(float(want), rel=1e-7)
    assert float(jax.jit(jax.grad(total))(0.7)) == pytest.approx(float(want), rel=1e-7)


@pytest.mark.parametrize(
    "layer", [stax.Sin(), stax.Rbf(0.5), stax.Polynomial([1.0, 2.0, 3.0]), stax.Relu(), stax.Sign()]
)
def test_weights_of_scale_0(layer, x64):
    kernels = tangent_kernels(jnp.eye(3), activation=layer, sigma0=0.5, W_std=0.0)
    constant = float(layer[1]((), jnp.zeros(()))) ** 2
    for kernel, want in zip(kernels, (0, 0, constant), strict=True):
        np.testing.assert_allclose(kernel, want, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("q", [1e-12, 1e-8, 1e-4, 1.0, 10.0])
@pytest.mark.parametrize("rho", [-1.0, -0.3, 0.0, 1e-5, 0.3, 1.0])
def test_sine_and_cosine_keep_their_digits_at_small_variances(rho, q, dtype):
    """E sin sin = E cos' cos' = e^{−q} sinh c and E cos cos = E sin' sin' = e^{−q} cosh c, in Python's arithmetic."""
    q, c = dtype(q), dtype(dtype(rho) * dtype(q))
    sinh, cosh = (math.exp(-float(q)) * f(float(c)) for f in (math.sinh, math.cosh))
    rtol = 30 * np.finfo(dtype).eps * max(1.0, float(q))
    with jax.enable_x64(dtype == np.float64):
        np.testing.assert_allclose(dual_derivatives(stax.Sin(), c, q, q), [sinh, cosh, sinh], rtol=rtol, atol=1e-30)
        np.testing.assert_allclose(dual_derivatives(stax.Cos(), c, q, q), [cosh, sinh, cosh], rtol=rtol, atol=1e-30)


def test_a_sine_of_small_noise_varies_by_it():
    """E sin²(s g) = (1 − e^{−2 s²})/2, of which a difference in single precision leaves nothing."""
    found = resolve(stax.Sin()).second_moment(jnp.float32(0), jnp.float32(1e-4))
    assert float(found) == pytest.approx(1e-8, rel=1e-6, abs=0)


def test_orthogonal_inputs_have_a_sines_slope():
    assert float(jax.grad(lambda c: dual(stax.Sin(), c, 1.0, 1.0))(0.0)) == pytest.approx(math.exp(-1))


def test_a_gaussian_that_grows_is_refused_where_its_mean_is_infinite():
    """E exp(b a² + b d²) exists where I − 2b Σ is positive definite: at b = 1 for variances below 1/2."""
    value = dual(stax.Gaussian(1.0, 1.0), 0.0, 0.2, 0.2)
    assert float(value) == pytest.approx(1 / (1 - 0.4))
    for point in ((0.0, 1.0, 1.0), (0.0, 0.5, 0.1), (0.39, 0.4, 0.4)):
        with pytest.raises(ValueError, match="expected"):
            dual_derivatives(stax.Gaussian(1.0, 1.0), *point)
    with pytest.raises(ValueError, match="expected"):
        tangent_kernels(jnp.eye(3), activation=stax.Gaussian(1.0, 1.0), sigma0=1.0)


@pytest.mark.parametrize("q", [1e2, 1e4, 1e7, 1e10])
@pytest.mark.parametrize("rho", [0.3, 0.8, 0.999])
def test_gabor_keeps_its_digits_in_single_precision(rho, q):
    single = dual_derivatives(stax.Gabor(), *np.array([rho * q, q, q], np.float32))
    with jax.enable_x64(True):
        double = dual_derivatives(stax.Gabor(), *np.array([rho * q, q, q], np.float32).astype(float))
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-36)  # below which single precision has no digits


@pytest.mark.parametrize("point", [(0.1, -0.2, 1.0), (2.0, 1.0, 1.0), (-1.2, 1.0, 1.0), (0.1, 0.0, 1.0)])
def test_covariances_that_no_two_numbers_have_are_refused(point):
    for function in (dual, dual_derivatives):
        with pytest.raises(ValueError, match=r"expected variances >= 0 and covariances"):
            function(stax.Erf(), *point)


def test_a_width_of_a_radial_kernel_is_positive():
    with pytest.raises(ValueError, match="expected gamma > 0, got -1"):
        stax.Rbf(-1.0)


def test_a_kernel_that_overflows_on_the_way_is_refused():
    """Θ^(σ) of GELU at inputs of 1e10 is 1.8e19, of which single precision has the number and not what it is made of."""
    x = 1e10 * jnp.array([[1.0, 2.0, -1.0], [0.5, -1.0, 2.0]])
    with pytest.raises(ValueError, match="expected variances at which GELU can be integrated, in float32"):
        tangent_kernels(x, activation=stax.Gelu(), sigma0=0.5)
    with jax.enable_x64(True):
        assert np.isfinite(tangent_kernels(np.asarray(x, float), activation=stax.Gelu(), sigma0=0.5).sigma).all()
