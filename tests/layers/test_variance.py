"""The predictive variance where the noise is small: against its leading term, and against the plain difference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticDense, predictive_variance, stax
from snn_ntk._neural_tangents import InputKernel

X = jax.random.normal(jax.random.key(0), (4, 5))
LAYERS = {
    "erf": stax.Erf(),
    "relu": stax.Relu(),
    "leaky": stax.LeakyRelu(0.2),
    "gelu": stax.Gelu(),
    "sin": stax.Sin(),
    "gaussian": stax.Gaussian(),
}


def variance(activation, sigma0, x=X, depth=1, ends=True):
    layers = [StochasticDense(8, 1.3, sigma0=sigma0, b_std=0.1), activation]
    for _ in range(depth - 1):
        layers += [stax.Dense(8, 1.1, b_std=0.2), activation]
    layers += [stax.Dense(1, 0.9)] if ends else []
    return predictive_variance(stax.serial(*layers)[2](x))


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("activation", LAYERS.values(), ids=LAYERS)
def test_small_noise_has_the_variance_of_the_linearised_network(activation, depth):
    # With the slope at equal inputs, to leading order in sigma0; a kink adds a term of relative order sigma0.
    with jax.enable_x64(True):
        reference = np.asarray(variance(activation, 1e-3, jnp.asarray(X, jnp.float64), depth)) / 1e-6
    for sigma0 in (1e-4, 1e-7, 1e-12):
        found = variance(activation, sigma0, depth=depth)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(np.asarray(found, np.float64) / sigma0**2, reference, rtol=5e-3)


def test_large_noise_before_a_small_share_of_the_variance(x64):
    """Behind a cosine at large noise, whose κ' no fixed rule integrates, and a bias that hides the difference in cov1."""
    layers = [StochasticDense(1, 30.0, sigma0=0.8), stax.Cos(), stax.Dense(1, 0.2, 2.0), stax.Erf(), stax.Dense(1, 1.0)]
    x = jax.random.normal(jax.random.key(0), (3, 5))
    kernel = stax.serial(*layers)[2](x)
    difference = kernel.cov1 - jnp.diagonal(kernel.nngp)
    assert (difference < 0.01 * kernel.cov1).all()
    np.testing.assert_allclose(predictive_variance(kernel), difference, rtol=1e-9)


@pytest.mark.parametrize("activation", [*LAYERS.values(), stax.Sign()], ids=[*LAYERS, "sign"])
@pytest.mark.parametrize("sigma0", [0.02, 0.05, 0.1])
def test_it_is_the_difference_where_that_has_digits(x64, activation, sigma0):
    layers = [StochasticDense(8, 1.3, sigma0=sigma0), activation, stax.Dense(8), StochasticDense(4, sigma0=sigma0)]
    kernel = stax.serial(*layers, stax.Erf(), stax.Dense(1))[2](jnp.asarray(X, jnp.float64))
    np.testing.assert_allclose(kernel.excess, kernel.cov1 - jnp.diagonal(kernel.nngp), rtol=1e-7)


def test_a_jump_has_a_variance_of_order_sigma0():
    # kappa(q, q) - kappa(q - e, q) = (2/pi) arccos(1 - e/q), with e/q = sigma0^2/(1 + sigma0^2).
    for sigma0 in (1e-3, 1e-6):
        found = variance(stax.Sign(), sigma0, ends=False)
        x = np.asarray(X, np.float64)
        e = (1.3 * sigma0) ** 2 * (x**2).mean(axis=1)
        np.testing.assert_allclose(found, 2 / np.pi * np.sqrt(2 * e / (e / sigma0**2 + 0.01)), rtol=1e-4)


def test_which_of_the_two_is_taken():
    """The difference where it is a hundredth of the variance or more; what layers carry by itself below."""
    k = stax.Dense(1)[2](X)
    cov1, nngp = jnp.array([2.0, 2.0, 2.0, 2.0]), jnp.diag(jnp.array([1.5, 1.97, 1.99, 2.0]))
    made = InputKernel.around(k.replace(cov1=cov1, nngp=nngp), excess=jnp.array([7.0, 7.0, 7.0, 7.0]))
    np.testing.assert_allclose(predictive_variance(made), [0.5, 0.03, 7, 7], rtol=1e-5)
    np.testing.assert_allclose(predictive_variance(made.replace(excess=None)), [0.5, 0.03, 0.01, 0], atol=1e-6)


def test_what_has_no_variance_is_refused(unchecked):
    network = stax.serial(StochasticDense(8, sigma0=0.5), stax.Erf())[2]
    for kernel, message in (
        (network(X, X[:2]), "one set of inputs"),
        (network(X[:, None]), "one covariance for each pair of inputs, got nngp of shape"),
        (StochasticDense(8, sigma0=0.5, noise="shared")[2](X), "independent noise"),
    ):
        with pytest.raises(ValueError, match=f"expected .*{message}"):
            predictive_variance(kernel)
    with pytest.raises(TypeError, match=r"neural_tangents.Kernel, got int"):
        predictive_variance(3)
    whole = predictive_variance(network(X, diagonal_batch=False))
    np.testing.assert_allclose(whole, predictive_variance(network(X)), rtol=1e-5)


def test_without_noise_there_is_none():
    assert not np.asarray(variance(stax.Relu(), 0.0, x=jnp.zeros((2, 5)))).any()
    np.testing.assert_allclose(variance(stax.Erf(), 0.0), 0, atol=1e-6)
