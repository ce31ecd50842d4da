"""Dropout, latents and convolutions in networks: limits, blocks, derivatives, precision, and beside networks of finite width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from layers.networks import CASES, conv, latent
from layers.sampling import sampled, worst

from snn_ntk import Nonlinearity, Reparameterize, StochasticConv, StochasticDense, StochasticDropout, nt, stax
from snn_ntk.layers import predictive_variance

FIELDS = ("nngp", "ntk", "cov1")
LIGHT = ("dropout", "latents", "first convolution, independent")


def light(names):
    """All of them, those that take long under `heavy`."""
    return [pytest.param(name, marks=() if name in LIGHT else pytest.mark.heavy) for name in names]


def fields(kernel):
    return {name: getattr(kernel, name) for name in FIELDS}


@pytest.mark.parametrize("name", light(CASES))
def test_a_block_is_the_kernel_of_the_block_and_no_noise_is_none(name, x64):
    case = CASES[name]
    x = jnp.asarray(case.inputs, float)
    of = jax.jit(lambda x, noise: fields(case.network(8, noise)[2](x)))
    whole, part = of(x, 1.0), case.network(8)[2](x, x[:2])
    for field in ("nngp", "ntk"):
        np.testing.assert_allclose(whole[field][:, :2], getattr(part, field), rtol=1e-9)
    assert (whole["cov1"] - jnp.diagonal(whole["nngp"]) > 1e-3).all() or "shared" in name
    nearly, without = of(x, 1e-7), case.network(8, None)[2](x)
    for field in FIELDS:
        if field == "ntk" and "shared" in name:
            continue  # frozen noise has weights of its own, whose gradient stays
        # A kink has a slope in the size of the noise, of the order of its standard deviation.
        scale = float(jnp.abs(getattr(without, field)).max())
        np.testing.assert_allclose(nearly[field], getattr(without, field), rtol=0, atol=1e-3 * scale)
        assert float(jnp.abs(whole[field] - getattr(without, field)).max()) > 1e-2 * scale or field == "nngp"


@pytest.mark.parametrize("name", light([*LIGHT, "first convolution, per_position"]))
def test_derivatives_and_precision(name, x64):
    case = CASES[name]
    x = jnp.asarray(case.inputs, float)

    def total(x, noise):
        k = case.network(8, noise)[2](x)
        return (k.ntk * jnp.arange(1, 1 + k.ntk.size).reshape(k.ntk.shape)).sum() + k.cov1.sum()

    value, (slope_x, slope_noise) = jax.jit(jax.value_and_grad(total, (0, 1)))(x, 0.9)
    step, direction = 1e-5, jax.random.normal(jax.random.key(1), x.shape)
    function = jax.jit(total)
    for found, ahead, behind in (
        ((slope_x * direction).sum(), (x + step * direction, 0.9), (x - step * direction, 0.9)),
        (slope_noise, (x, 0.9 + step), (x, 0.9 - step)),
    ):
        np.testing.assert_allclose(found, (function(*ahead) - function(*behind)) / (2 * step), rtol=1e-5)
    with jax.enable_x64(False):
        np.testing.assert_allclose(total(np.asarray(x, np.float32), 0.9), value, rtol=1e-4)


@pytest.mark.weekly
@pytest.mark.parametrize("name", CASES)
def test_beside_networks_of_finite_width(name):
    """Four standard errors of 128 networks, and room for a bias of order 1/width; the noiseless kernel lies outside."""
    case, width, networks, shared = CASES[name], 256, 128, "shared" in name
    network = case.network(width)
    got = sampled(network, case.inputs, networks=networks, samples=16, frozen=shared)
    kernel = network[2](case.inputs)
    room = 8 / width
    assert worst(got.ntk, kernel.ntk, room) < 4
    assert worst(got.ntk, case.network(width, None)[2](case.inputs).ntk, room) > 4
    if not shared:
        assert worst(got.variance, predictive_variance(kernel), room) < 4


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
@pytest.mark.parametrize("form", ["log_sigma", "softplus"])
def test_what_is_stored_changes_the_term_of_the_variance_weights_alone(form, parameterization, x64):
    """By dσ/dρ squared, here by autodiff of what init_fn stores."""
    x, options = jax.random.normal(jax.random.key(0), (3, 5, 2)), {"sigma0": 0.8, "parameterization": parameterization}
    kernels, weights = {}, {}
    for name in ("sigma", form):
        layer = StochasticConv(8, (2,), W_std=1.3, variance_weights=name, **options)
        kernels[name] = stax.serial(layer, stax.Erf(), stax.GlobalAvgPool(), stax.Dense(1))[2](x)
        weights[name] = layer[0](jax.random.key(1), x.shape)[1][1]
    g = jnp.exp if form == "log_sigma" else jax.nn.softplus
    np.testing.assert_allclose(g(weights[form]), weights["sigma"], rtol=1e-12)
    slope = jax.vmap(jax.grad(g))(weights[form].ravel())[0]
    without = StochasticConv(8, (2,), W_std=1.3, **options)
    term = kernels["sigma"].ntk - _without_term(without, x)
    np.testing.assert_allclose(kernels[form].ntk, kernels["sigma"].ntk - term + slope**2 * term, rtol=1e-10)
    np.testing.assert_array_equal(kernels[form].cov1, kernels["sigma"].cov1)
    assert float(jnp.abs(term).max()) > 1e-2


def _without_term(layer, x):
    before = layer[2](x)
    return stax.serial(stax.Erf(), stax.GlobalAvgPool(), stax.Dense(1))[2](before.replace(spread=None)).ntk


MIXTURES = {
    "dropout": [stax.Dense(8), stax.Relu(), StochasticDropout(0.5)],
    "latents": [latent(8, 1.0, 0.0)],
}


@pytest.mark.filterwarnings("ignore:Using JAX autodiff", "ignore:Numerical Activation", "ignore:Inputs to this layer")
@pytest.mark.parametrize("mixture", MIXTURES)
def test_no_nonlinearity_stands_behind_a_mixture(mixture):
    before = stax.serial(*MIXTURES[mixture])[2](jnp.ones((2, 3)))
    assert not before.is_gaussian
    makers = (
        "Abs",
        "Cos",
        "Erf",
        "Exp",
        "ExpNormalized",
        "Gabor",
        "Gaussian",
        "Gelu",
        "Relu",
        "Rbf",
        "Sigmoid_like",
        "Sign",
        "Sin",
    )
    layers = [getattr(stax, name)() for name in makers]
    layers += [stax.ABRelu(0.1, 0.9), stax.LeakyRelu(0.1), stax.Monomial(2), stax.Polynomial([0.0, 1.0])]
    layers += [stax.RectifiedMonomial(1), stax.Hermite(2), Nonlinearity(jnp.tanh)]
    layers += [stax.Elementwise(jnp.sin, lambda c, q, r: c), stax.ElementwiseNumerical(jnp.tanh, deg=5)]
    for layer in layers:
        with pytest.raises(ValueError, match=r"must be Gaussian|stax.Hermite"):
            layer[2](before)
    for layer in (stax.Dense(1), StochasticDense(1, sigma0=0.5)):
        assert layer[2](before).is_gaussian


@pytest.mark.filterwarnings("ignore:`FanIn` layers assume")
@pytest.mark.parametrize("get", [None, "nngp", "ntk"])
def test_dropout_on_raw_inputs_is_refused(get):
    x = jnp.ones((2, 3, 4))
    concat = stax.serial(stax.FanOut(2), stax.parallel(stax.Identity(), stax.Dense(3)), stax.FanInConcat(-1))
    for before in (
        [],
        [stax.Flatten()],
        [stax.GlobalAvgPool()],
        [concat],
        [stax.DotGeneral(rhs=2.0)],
    ):
        with pytest.raises(ValueError, match="got raw inputs"):
            stax.serial(*before, StochasticDropout(0.5), stax.Dense(1))[2](x, None, get)
    assert StochasticDropout(0.5, mode="test")[2](x, None, "nngp").shape == (2, 2, 3, 3)
    for before in ([stax.Dense(1)], [stax.Dense(1), stax.Flatten()], [stax.Dense(1), stax.Relu(), concat]):
        stax.serial(*before, StochasticDropout(0.5), stax.Dense(1))[2](x, None, get)


def test_heads_that_are_none_are_refused():
    x = jnp.ones((2, 3))
    trunk = stax.serial(stax.Dense(4), stax.Erf(), stax.FanOut(2))
    for heads in ([stax.Dense(1), stax.serial(stax.Dense(1), stax.Relu())], [stax.Identity(), stax.Dense(4)]):
        with pytest.raises(ValueError, match="expected heads that end in a dense or convolutional layer"):
            stax.serial(trunk, stax.parallel(*heads), Reparameterize())[2](x)
    with pytest.raises(ValueError, match="got one input"):
        stax.serial(stax.Dense(4), Reparameterize())[2](x)
    with pytest.raises(ValueError, match="heads of the same shape"):
        stax.serial(trunk, stax.parallel(stax.Dense(2), stax.Dense(3)), Reparameterize())[0](jax.random.key(0), (2, 3))


def test_other_dropout_and_pools_before_the_nonlinearity_are_refused():
    x = jnp.ones((2, 5, 2))
    for layer in (StochasticDropout(0.5), latent(1, 1.0, 0.0), conv(1, 1.0)):
        with pytest.raises(ValueError, match=r"got stax.Dropout, which takes inputs"):
            stax.serial(stax.Conv(1, (2,)), stax.Relu(), stax.Dropout(0.5), stax.Conv(1, (2,)), layer)[2](x)
    for noise in ("independent", "per_position"):
        with pytest.raises(ValueError, match=r"expected a nonlinearity.*got AvgPool"):
            stax.serial(conv(1, 1.0, noise), stax.AvgPool((2,)), stax.Erf())[2](x, None, "ntk")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StochasticDropout(0.0), ValueError, r"rate in \(0, 1\]"),
        (lambda: StochasticDropout(1.5), ValueError, r"rate in \(0, 1\]"),
        (lambda: StochasticDropout(0.5, "run"), ValueError, "mode to be"),
        (lambda: Reparameterize(float("nan")), ValueError, "finite or -inf"),
        (lambda: Reparameterize("a"), TypeError, "one number"),
        (lambda: StochasticConv(1, (2, 2, 2), sigma0=0.1), ValueError, "one or two spatial"),
        (lambda: StochasticConv(1, (2,), (1, 1), sigma0=0.1), ValueError, "one or two spatial"),
        (lambda: StochasticConv(1, (2,), padding="HALF", sigma0=0.1), ValueError, "padding to be"),
        (lambda: StochasticConv(1, (2,), sigma0=-0.1), ValueError, "sigma0 >= 0"),
        (lambda: StochasticConv(1, (2,), sigma0=0.1, noise="some"), ValueError, "noise to be"),
        (lambda: StochasticDense(1, sigma0=0.0, variance_weights="log_sigma"), ValueError, "sigma0 > 0"),
        (lambda: StochasticDense(1, sigma0=0.1, variance_weights="variance"), ValueError, "variance_weights to be"),
    ],
)
def test_wrong_arguments(make, error, message, unchecked):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("layer", [StochasticDropout(0.5), StochasticConv(1, (2,), sigma0=0.5)])
def test_a_key_is_required(layer):
    with pytest.raises(ValueError, match="rng=key"):
        layer[1]((), jnp.ones((1, 3, 2)))


def test_blocks_and_predictions():
    case = CASES["latents"]
    kernel_fn, x = case.network(8)[2], jax.random.normal(jax.random.key(3), (4, 4))
    whole, blocks = kernel_fn(x), nt.batch(kernel_fn, batch_size=2)(x)
    np.testing.assert_allclose(blocks.ntk, whole.ntk, rtol=1e-5)
    np.testing.assert_allclose(predictive_variance(blocks), predictive_variance(whole), rtol=1e-5)
    y = jnp.sin(x[:, :1])
    predict = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, y, diag_reg=1e-6)
    np.testing.assert_allclose(predict(x_test=x, get="ntk"), y, atol=1e-2)
    shared = nt.batch(CASES["first convolution, shared"].network()[2], batch_size=2)(jnp.ones((2, 5, 2)))
    with pytest.raises(ValueError, match="expected independent noise"):
        predictive_variance(shared)
