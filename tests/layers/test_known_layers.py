"""Every layer of neural-tangents behind noise is in one of two lists, and each entry is tried."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import layers as own
from snn_ntk import stax, tangent_kernels
from snn_ntk.layers import Nonlinearity, StochasticDense
from snn_ntk.layers.known import OWN, REFUSED, SUPPORTED

NO_LAYERS = {"layer", "requires", "supports_masking", "unmask_fn"}

NONLINEARITIES = {
    "ABRelu": stax.ABRelu(-0.3, 0.8),
    "Abs": stax.Abs(),
    "Cos": stax.Cos(0.7, 0.9, 0.2),
    "Erf": stax.Erf(1.2, 0.8, 0.1),
    "Exp": stax.Exp(0.7, 0.4),
    "Gabor": stax.Gabor(),
    "Gaussian": stax.Gaussian(0.9, -0.6),
    "Gelu": stax.Gelu(),
    "LeakyRelu": stax.LeakyRelu(0.2),
    "Monomial": stax.Monomial(3),
    "Polynomial": stax.Polynomial([0.2, -0.3, 0.5]),
    "Rbf": stax.Rbf(0.7),
    "RectifiedMonomial": stax.RectifiedMonomial(2),
    "Relu": stax.Relu(),
    "Sigmoid_like": stax.Sigmoid_like(),
    "Sign": stax.Sign(),
    "Sin": stax.Sin(0.7, 0.9, 0.2),
}
MIXING = {
    "AvgPool": stax.AvgPool((2,)),
    "SumPool": stax.SumPool((2,)),
    "GlobalAvgPool": stax.GlobalAvgPool(),
    "GlobalSumPool": stax.GlobalSumPool(),
    "ImageResize": stax.ImageResize((-1, 2, -1), "linear"),
    "Index": stax.Index(stax.Slice[:, ::2]),
    "DotGeneral": stax.DotGeneral(rhs=jnp.array([1.0, 2, -1]), dimension_numbers=(((1,), (0,)), ((), ()))),
}


def noisy(sigma0=0.8):
    return StochasticDense(1, 1.3, sigma0=sigma0)


def test_every_layer_is_in_one_of_the_lists():
    functions = {name for name, _ in inspect.getmembers(stax, inspect.isfunction) if not name.startswith("_")}
    assert functions - NO_LAYERS == set(SUPPORTED) | set(REFUSED)
    assert not set(SUPPORTED) & set(REFUSED)
    assert set(OWN) == {name for name in own.__all__ if name[0].isupper() and inspect.isfunction(getattr(own, name))}


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_nonlinearities_are_lemma_1(name, x64):
    x = jax.random.normal(jax.random.key(0), (3, 4))
    got = stax.serial(noisy(), NONLINEARITIES[name], stax.Dense(1))[2](x, None, "ntk")
    want = tangent_kernels(x, activation=NONLINEARITIES[name], sigma0=0.8, W_std=1.3)
    np.testing.assert_allclose(got, want.total, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:Using JAX autodiff")
def test_nonlinearities_that_the_user_gives(x64):
    x = jax.random.normal(jax.random.key(0), (3, 4))
    erf = jax.scipy.special.erf
    want = stax.serial(noisy(), stax.Erf(), stax.Dense(1))[2](x).ntk

    def dual(c, q1, q2):
        return 2 / jnp.pi * jnp.arcsin(2 * c / jnp.sqrt((1 + 2 * q1) * (1 + 2 * q2)))

    for layer, accuracy in ((stax.Elementwise(erf, dual), 1e-10), (stax.ElementwiseNumerical(erf, deg=5), 1e-8)):
        got = stax.serial(noisy(), layer, stax.Dense(1))[2](x).ntk
        np.testing.assert_allclose(got, want, rtol=accuracy)
    normalised = [
        stax.serial(first, stax.ExpNormalized(), stax.Dense(1))[2](x) for first in (noisy(0), stax.Dense(1, 1.3))
    ]
    np.testing.assert_allclose(normalised[0].ntk, normalised[1].ntk, rtol=1e-12)


@pytest.mark.parametrize(
    "phi",
    [
        jnp.tanh,
        *(pytest.param(phi, marks=pytest.mark.heavy) for phi in (jax.nn.softplus, jax.nn.swish, jax.nn.sigmoid)),
    ],
)
def test_nonlinearities_from_smooth_functions(phi, x64):
    x = jax.random.normal(jax.random.key(0), (3, 4))
    layer = Nonlinearity(phi)
    got = stax.serial(noisy(), layer, stax.Dense(1))[2](x, None, "ntk")
    want = tangent_kernels(x, activation=phi, sigma0=0.8, W_std=1.3)
    np.testing.assert_allclose(got, want.total, rtol=1e-9)
    np.testing.assert_array_equal(tangent_kernels(x, activation=layer, sigma0=0.8, W_std=1.3).total, want.total)
    np.testing.assert_array_equal(layer[1]((), x), phi(x))


def test_a_variance_that_is_not_resolved_is_named_with_the_bound_and_nan_in_a_trace(x64):
    x = jnp.array([[0.5, 0.3], [3e6, -1e6]])
    kernel_fn = stax.serial(noisy(), Nonlinearity(jnp.tanh), stax.Dense(1))[2]
    q = 1.3**2 * 1.64 * (3e6**2 + 1e6**2) / 2
    with pytest.raises(
        ValueError, match=r"tanh can be integrated, in float64 up to about [0-9.e+]+, got q up to"
    ) as caught:
        kernel_fn(x, None, "nngp")
    bound = re.search(r"about (\S+),", str(caught.value))
    largest = re.search(r"q up to (\S+):", str(caught.value))
    assert bound is not None
    assert largest is not None
    assert float(largest[1]) == pytest.approx(q, rel=1e-3)
    assert 1e8 < float(bound[1]) < q
    # In a trace nobody can raise by a number: NaN where it is not resolved, and there only.
    x = jnp.array([[0.5, 0.3], [3e4, -1e4]])
    traced = jax.jit(lambda x: kernel_fn(x, None, ("nngp", "cov1")))(x)
    assert jnp.isfinite(traced.cov1).tolist() == [True, False]
    outside = kernel_fn(x, None, ("nngp", "cov1"))
    assert float(outside.cov1[1]) == pytest.approx(1, abs=1e-4)
    for kernel in (traced, outside):
        # With noise between them two large pre-activations are those of a sign, of correlation 1/(1 + σ0²).
        assert float(kernel.nngp[1, 1]) == pytest.approx(2 / np.pi * np.arcsin(1 / 1.64), rel=1e-4)


def test_a_layer_with_a_jump_is_its_own():
    with pytest.raises(ValueError, match="expected an activation without a jump, got sign"):
        Nonlinearity(jnp.sign)


@pytest.mark.parametrize("name", MIXING)
def test_mixing_positions_is_a_matrix(name, x64):
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    before = stax.serial(noisy(), stax.Erf())[2](x, diagonal_spatial=False)
    after = MIXING[name][2](before)
    matrix = MIXING[name][1]((), jnp.eye(3)[None])[0].reshape(-1, 3)
    for got, given in ((after.nngp, before.nngp), (after.ntk, before.ntk), (after.cov1, before.cov1)):
        want = jnp.einsum("ap,...pq,bq->...ab", matrix, given, matrix)
        np.testing.assert_allclose(got, want.reshape(got.shape), rtol=1e-10)


def test_aggregation_is_a_matrix(x64):
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    pattern = jax.random.normal(jax.random.key(1), (2, 3, 3))
    layer = stax.Aggregate(aggregate_axis=1)
    before = stax.serial(noisy(), stax.Erf())[2](x, diagonal_spatial=False)
    after = layer[2](before, pattern=(pattern, pattern))
    want = jnp.einsum("ipa,ijpq,jqb->ijab", pattern, before.ntk, pattern)
    np.testing.assert_allclose(after.ntk, want, rtol=1e-10)
    with pytest.raises(ValueError, match="got Aggregate"):
        layer[2](noisy()[2](x), pattern=(pattern, pattern))


@pytest.mark.parametrize(
    "layer", [stax.Dense(1), stax.Conv(1, (2,)), stax.ConvLocal(1, (2,)), stax.ConvTranspose(1, (2,))]
)
def test_new_weights_end_the_term(layer, x64):
    pre = stax.serial(noisy(), layer)[2](jax.random.normal(jax.random.key(0), (2, 3, 4)), diagonal_spatial=False)
    slope = stax.Erf()[2](pre.replace(ntk=jnp.ones_like(pre.nngp))).ntk
    np.testing.assert_allclose(stax.Erf()[2](pre).ntk, pre.ntk * slope, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Inputs to this layer", "ignore:Linear scaling attention")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_so(name):
    layer = {
        "Dropout": stax.Dropout(0.5),
        "GlobalSelfAttention": stax.GlobalSelfAttention(1, 1, 1, 1),
        "Hermite": stax.Hermite(2),
    }[name]
    with pytest.raises(ValueError, match=f"expected .*got stax.{name}"):
        stax.serial(noisy(), layer)[2](jax.random.normal(jax.random.key(0), (2, 3, 4)))
