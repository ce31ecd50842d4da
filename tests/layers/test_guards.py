"""What neural-tangents' own functions do more through our door: parts of networks in blocks, layers never called."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticDense, nt, predictive_variance, stax, tangent_kernels
from snn_ntk.layers import StochasticDropout


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(0), (4, 3))


def test_a_part_of_a_network_is_not_put_together_from_blocks(x):
    """The term of the variance weights was lost between nt.batch and the nonlinearity: 7 % of the kernel."""
    part = nt.batch(StochasticDense(1, sigma0=0.5)[2], batch_size=2)
    with pytest.raises(ValueError, match=r"expected a network with a nonlinearity behind .* got a part of one"):
        part(x)
    np.testing.assert_allclose(part(x, None, "nngp"), StochasticDense(1, sigma0=0.5)[2](x).nngp, rtol=1e-6)


@pytest.mark.parametrize("others", [None, 2])
def test_what_follows_blocks_knows_of_the_noise(x, others):
    """A jump behind them had the kernel 0."""
    x2 = None if others is None else 1 + x[:others]
    first = stax.serial(StochasticDense(1, sigma0=0.5), stax.Erf(), StochasticDense(1, sigma0=0.5))[2]
    whole, blocks = first(x, x2), nt.batch(first, batch_size=2)(x, x2)
    rest = stax.serial(stax.Sign(), stax.Dense(1))[2]
    np.testing.assert_allclose(rest(blocks).ntk, rest(whole).ntk, rtol=1e-5)
    if others is None:
        np.testing.assert_allclose(predictive_variance(blocks), predictive_variance(whole), rtol=1e-4)


@pytest.mark.parametrize("combine", [stax.serial, stax.parallel, lambda *layers: stax.repeat(layers[0], 2)])
def test_a_layer_that_was_not_called_is_named(combine):
    for make in (StochasticDense, stax.Relu, stax.Dense):
        with pytest.raises(TypeError, match=rf"expected a layer, {make.__name__}\(…\), got the function"):
            combine(make, stax.Erf())


@pytest.mark.filterwarnings("ignore:`FanIn` layers assume")
def test_dropout_before_noise_is_refused(x):
    """Also where other layers stand between; without noise, or where it does nothing, it is as it was."""

    def network(noisy, mode="train"):
        between = [stax.Dense(1), stax.FanOut(2), stax.parallel(stax.Dense(1), stax.Dense(1)), stax.FanInSum()]
        return stax.serial(stax.Dense(1), stax.Erf(), stax.Dropout(0.5, mode), *between, noisy)[2](x)

    with pytest.raises(ValueError, match=r"before a stochastic layer, got stax.Dropout"):
        network(StochasticDense(1, sigma0=0.5))
    for mode in ("train", "test"):
        want = network(stax.Dense(1), mode)
        np.testing.assert_allclose(network(StochasticDense(1, sigma0=0.0), mode).ntk, want.ntk, rtol=1e-6)
    assert bool(jnp.isfinite(network(StochasticDense(1, sigma0=0.5), "test").ntk).all())


@pytest.mark.parametrize(
    "network",
    [
        lambda s: StochasticDense(3, sigma0=s),
        lambda s: StochasticDense(3, s, sigma0=0.5),
        lambda s: StochasticDense(3, sigma0=0.5, b_std=s),
        lambda s: stax.serial(stax.Dense(8), stax.Relu(), StochasticDropout(s), stax.Dense(8)),
    ],
)
def test_a_scale_is_one_number_within_a_trace_too(unchecked, network):
    def total(s):
        return stax.serial(network(s), stax.Erf(), stax.Dense(1))[2](jnp.eye(3)).ntk.sum()

    assert np.isfinite(jax.grad(total)(0.5))
    for program in (jax.jit(total), jax.grad(total)):
        with pytest.raises(TypeError, match="to be one number"):
            program(jnp.array([0.1, 0.5, 1.0]))


def test_a_scale_of_one_hidden_layer_is_one_number_within_a_trace_too(unchecked):
    def total(s):
        return tangent_kernels(jnp.eye(3), activation=stax.Erf(), sigma0=s).total.sum()

    for program in (jax.jit(total), jax.grad(total)):
        with pytest.raises(TypeError, match="expected sigma0 to be one number"):
            program(jnp.array([0.1, 0.5, 1.0]))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_input_is_named(shape):
    kernel_fn = stax.serial(StochasticDense(1, sigma0=0.5), stax.Erf(), stax.Dense(1))[2]
    for inputs in ((jnp.ones(shape),), (jnp.ones((2, 3)), jnp.ones(shape))):
        with pytest.raises(
            ValueError, match=rf"expected at least one input of at least one number, got .* \({shape[0]}, "
        ):
            kernel_fn(*inputs)
