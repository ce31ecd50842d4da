"""A stochastic dense layer on inputs with positions: one draw of noise for all positions of an input, everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax
from snn_ntk.layers import StochasticDense

SIGMA0, W_STD = 0.8, 1.3


@pytest.fixture
def x(x64):
    return jax.random.normal(jax.random.key(0), (2, 3, 4))


def noisy(**options):
    return StochasticDense(1, W_STD, sigma0=SIGMA0, **options)


def test_apply_draws_what_the_kernel_says(x):
    """The covariance over the noise of one neuron's values at all inputs and positions."""
    init_fn, apply_fn, kernel_fn = noisy()
    _, params = init_fn(jax.random.key(1), x.shape)
    keys = jax.random.split(jax.random.key(2), 40_000)
    draws = jax.vmap(lambda key: apply_fn(params, x, rng=key))(keys).reshape(len(keys), -1)
    products = (draws - draws.mean(0))[:, :, None] * (draws - draws.mean(0))[:, None, :]
    kernel = kernel_fn(x)
    want = np.zeros((2, 3, 2, 3))
    for i in range(2):
        want[i, :, i, :] = kernel.cov1[i] - kernel.nngp[i, i]
    error = products.std(0) / len(keys) ** 0.5
    np.testing.assert_array_less(jnp.abs(products.mean(0) - want.reshape(6, 6)), 4 * error)
    np.testing.assert_allclose(want[0, :, 0, :], W_STD**2 * SIGMA0**2 * x[0] @ x[0].T / 4, rtol=1e-12)


def test_ones_are_fully_correlated():
    """cov1 said 1, apply_fn drew 0."""
    _, apply_fn, _ = StochasticDense(2000, sigma0=1.0)
    params = jnp.zeros((3, 2000)), jnp.ones((3, 2000)), None
    first, second = apply_fn(params, jnp.ones((1, 2, 3)), rng=jax.random.key(0))[0]
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
    assert float(first.std()) > 0.9


def test_positions_of_one_are_no_positions(x):
    flat = stax.serial(noisy(), stax.Erf(), stax.Dense(1))[2](x[:, 0])
    for layers in ([stax.Flatten()], [stax.GlobalAvgPool()]):
        got = stax.serial(noisy(), stax.Erf(), *layers, stax.Dense(1))[2](x[:, :1])
        np.testing.assert_allclose(got.ntk, flat.ntk, rtol=1e-12)
        np.testing.assert_allclose(got.cov1, flat.cov1, rtol=1e-12)


@pytest.mark.parametrize("readout", ["flatten", "pool"])
def test_the_kernel_is_that_of_the_averaged_network(readout, x):
    """Neurons are drawn, their noise averaged in closed form, gradients by autodiff."""

    def output(weights, x):
        mu, sigma, v = weights
        mean, variance = W_STD * x @ mu / 2, W_STD**2 * x**2 @ sigma**2 / 4
        features = jax.scipy.special.erf(mean / jnp.sqrt(1 + 2 * variance))
        return features @ v / 3**0.5 if readout == "flatten" else features.mean(1)

    def neuron(key):
        one, two = jax.random.split(key)
        v = jax.random.normal(two, (3,))
        weights = jax.random.normal(one, (4,)), jnp.full(4, SIGMA0), v
        jacobian = jax.jacobian(output)(weights, x)
        value = output(weights, x)
        flat = jnp.concatenate([j.reshape(2, -1) for j in jacobian], axis=1)
        # The readout's own weight: one a neuron where positions are averaged, v (whose gradient is there) where not.
        return flat @ flat.T + (jnp.outer(value, value) if readout == "pool" else 0)

    kernels = jax.jit(jax.vmap(neuron))(jax.random.split(jax.random.key(1), 20_000))
    mean, error = kernels.mean(0), kernels.std(0) / len(kernels) ** 0.5
    layer = stax.Flatten() if readout == "flatten" else stax.GlobalAvgPool()
    kernel_fn = stax.serial(noisy(), stax.Erf(), layer, stax.Dense(1))[2]
    got = kernel_fn(x, None, "ntk")
    np.testing.assert_array_less(jnp.abs(got - mean), 4 * error)
    np.testing.assert_allclose(kernel_fn(x, x[1:], "ntk"), got[:, 1:], rtol=1e-12)


def test_the_predictive_variance_of_a_pooled_network(x):
    """Exactly, for one nonlinearity: neurons add, and one's values at two positions are jointly Gaussian."""
    got = stax.serial(noisy(), stax.Erf(), stax.GlobalAvgPool(), stax.Dense(1))[2](x)
    nodes, weights = np.polynomial.hermite_e.hermegauss(160)
    weights = weights / weights.sum()
    for i in range(2):
        gram = W_STD**2 * x[i] @ x[i].T / 4
        second = first = 0.0
        for p, q in np.ndindex(3, 3):
            for shared in (0, SIGMA0**2):
                # Covariances without and with the noise between p and q; each variance has it.
                a, b, c = (1 + SIGMA0**2) * gram[p, p], (1 + SIGMA0**2) * gram[q, q], (1 + shared) * gram[p, q]
                u = jnp.sqrt(a) * nodes[:, None]
                v = c / a * u + jnp.sqrt(jnp.maximum(b - c * c / a, 0)) * nodes[None, :]
                value = weights @ (jax.scipy.special.erf(u) * jax.scipy.special.erf(v)) @ weights / 9
                first, second = (first, second + value) if shared else (first + value, second)
        assert float(got.nngp[i, i]) == pytest.approx(float(first), rel=1e-6)
        assert float(got.cov1[i]) == pytest.approx(float(second), rel=1e-6)


def test_the_noise_of_different_inputs_is_different(x):
    """diagonal_batch=False keeps covariances of different inputs in cov1, which noise does not inflate."""
    for inputs in (x, x[:, 0]):
        full = noisy()[2](inputs, diagonal_batch=False)
        part = noisy()[2](inputs)
        for i in range(2):
            np.testing.assert_allclose(full.cov1[i, i], part.cov1[i], rtol=1e-12)
        np.testing.assert_allclose(full.cov1[0, 1], part.nngp[0, 1], rtol=1e-12)
        shared = noisy(noise="shared")[2](inputs, diagonal_batch=False)
        np.testing.assert_allclose(shared.cov1, shared.nngp, rtol=1e-12)


def test_a_choice_of_positions_keeps_the_term(x):
    kernel_fn = stax.serial(noisy(), stax.Index(stax.Slice[:, 1:]), stax.Erf(), stax.Flatten(), stax.Dense(1))[2]
    want = stax.serial(noisy(), stax.Erf(), stax.Flatten(), stax.Dense(1))[2](x[:, 1:])
    np.testing.assert_allclose(kernel_fn(x).ntk, want.ntk, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:`FanIn` layers assume independent inputs")
@pytest.mark.filterwarnings("ignore:Got potentially mismatching `channel_axis` values")
def test_branches_with_positions(x):
    """Side by side in position, the coefficient between branches is 0; a reversed branch changes nothing."""
    beside = stax.serial(stax.FanOut(2), stax.parallel(noisy(), noisy()), stax.FanInConcat(1))
    got = stax.serial(beside, stax.Erf(), stax.Flatten(), stax.Dense(1))[2](x)
    want = stax.serial(noisy(), stax.Erf(), stax.Flatten(), stax.Dense(1))[2](x)
    np.testing.assert_allclose(got.ntk, want.ntk, rtol=1e-12)
    image = jax.random.normal(jax.random.key(3), (2, 2, 3, 4))
    kernels = []
    for others in ((stax.Conv(1, (1, 1)), stax.Conv(1, (1, 1))), (stax.Dense(1, 2**0.5),)):
        sums = stax.serial(stax.FanOut(len(others) + 1), stax.parallel(*others, noisy()), stax.FanInSum())
        kernels.append(stax.serial(sums, stax.Erf(), stax.GlobalAvgPool(), stax.Dense(1))[2](image))
    # Two dense layers of scale 1 have the covariance of one of scale √2, and twice the weights with half the share.
    np.testing.assert_allclose(kernels[0].ntk, kernels[1].ntk, rtol=1e-10)


POOLS = {
    "AvgPool": stax.AvgPool((2,)),
    "SumPool": stax.SumPool((2,)),
    "GlobalAvgPool": stax.GlobalAvgPool(),
    "GlobalSumPool": stax.GlobalSumPool(),
    "ImageResize": stax.ImageResize((-1, 2, -1), "linear"),
    "DotGeneral": stax.DotGeneral(rhs=jnp.ones(3), dimension_numbers=(((1,), (0,)), ((), ()))),
}


@pytest.mark.parametrize("name", POOLS)
def test_mixing_positions_before_the_nonlinearity_is_refused(name, x):
    network = stax.serial(noisy(), POOLS[name], stax.Erf())
    with pytest.raises(ValueError, match=f"expected a nonlinearity.*got {name}"):
        network[2](x, None, "ntk")
    assert bool(jnp.isfinite(network[2](x, None, "nngp")).all())


def test_a_convolution_ends_the_term(x):
    pre = stax.serial(noisy(), stax.Conv(1, (2,)))
    slope = stax.Erf()[2](pre[2](x).replace(ntk=jnp.ones_like(pre[2](x).nngp))).ntk
    got = stax.serial(pre, stax.Erf())[2](x)
    np.testing.assert_allclose(got.ntk, pre[2](x).ntk * slope, rtol=1e-12)


def test_behind_a_convolution_of_neural_tangents(x):
    """Its shapes are of NumPy's integers."""
    shape, _ = stax.serial(stax.Conv(8, (2,), padding="SAME"), noisy())[0](jax.random.key(0), x.shape)
    assert shape == (2, 3, 1)
