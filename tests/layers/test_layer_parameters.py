"""Every number that makes a layer may be differentiated in, also behind noise; a degree is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax, tangent_kernels
from snn_ntk.layers import StochasticDense

T = 0.7
NONLINEARITIES = {
    "ABRelu": lambda t: stax.ABRelu(-0.3 * t, t),
    "Cos": lambda t: stax.Cos(t, t, t),
    "Erf": lambda t: stax.Erf(t, t, t),
    "Exp": lambda t: stax.Exp(t, t),
    "Gaussian": lambda t: stax.Gaussian(t, -t),
    "LeakyRelu": lambda t: stax.LeakyRelu(t),
    "Polynomial": lambda t: stax.Polynomial([1.0, t, -0.3]),
    "Polynomial of an array": lambda t: stax.Polynomial(t * jnp.array([1.0, 2.0, -0.3])),
    "Rbf": lambda t: stax.Rbf(t),
    "Sin": lambda t: stax.Sin(t, t, t),
}
OTHERS = {
    "ExpNormalized": lambda t: stax.ExpNormalized(t, -t),
    "Dense": lambda t: stax.serial(stax.Erf(), stax.Dense(1, t, t)),
    "StochasticDense": lambda t: stax.serial(stax.Erf(), StochasticDense(1, t, b_std=t, sigma0=t)),
    "DotGeneral": lambda t: stax.serial(stax.DotGeneral(rhs=t), stax.Erf()),
}
X = np.random.default_rng(0).normal(size=(3, 2))


def network(make, t):
    return stax.serial(StochasticDense(1, 1.2, sigma0=0.5), make(t), stax.Dense(1))


def is_the_slope(value):
    slope, difference = jax.jit(lambda t: (jax.grad(value)(t), (value(t + 1e-5) - value(t - 1e-5)) / 2e-5))(T)
    assert float(slope) != 0
    assert float(slope) == pytest.approx(float(difference), rel=1e-7)


@pytest.mark.parametrize("name", NONLINEARITIES | OTHERS)
def test_kernels_are_differentiated_in_the_numbers_of_a_layer(name, x64):
    def value(t):
        kernel = network((NONLINEARITIES | OTHERS)[name], t)[2](X)
        return (kernel.ntk + kernel.nngp).sum() + kernel.cov1.sum()

    is_the_slope(value)


@pytest.mark.parametrize("name", ["Erf", "Exp", "Gaussian", "Polynomial", "Polynomial of an array"])
def test_so_is_lemma_1(name, x64):
    is_the_slope(lambda t: tangent_kernels(X, activation=NONLINEARITIES[name](t), sigma0=0.5).total.sum())


def test_so_are_outputs(x64):
    make = NONLINEARITIES["Polynomial"]
    init_fn, _, _ = network(make, T)
    _, params = init_fn(jax.random.key(0), X.shape)
    is_the_slope(lambda t: network(make, t)[1](params, X, rng=jax.random.key(1)).sum())


def test_a_compiled_coefficient_is_the_number(x64):
    def kernel(t):
        return network(NONLINEARITIES["Polynomial"], t)[2](X, None, "ntk")

    np.testing.assert_allclose(jax.jit(kernel)(T), kernel(T), rtol=1e-12)


@pytest.mark.parametrize("make", [stax.Hermite, stax.Monomial, stax.RectifiedMonomial])
def test_a_traced_degree_is_one_error(make):
    with pytest.raises(
        TypeError, match=f"expected a Python integer as the degree of stax.{make.__name__}, got a traced"
    ):
        jax.jit(lambda t: make(t)[1]((), jnp.ones(2)))(2)
