"""The term of the variance weights through every layer that may stand between their layer and a nonlinearity.

The oracle knows nothing of kernels: many neurons are drawn, the output of each is averaged over its noise in closed
form (erf of a Gaussian), and the gradients of that average, by autodiff, are multiplied.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import nt, stax
from snn_ntk.activations import dual_derivatives
from snn_ntk.layers import StochasticDense, predictive_variance

pytestmark = pytest.mark.filterwarnings("ignore:`FanIn` layers assume independent inputs")

NEURONS = 20_000


def noisy(scale=1.3, sigma0=0.8, **options):
    return StochasticDense(1, scale, sigma0=sigma0, **options)


def branches(*layers, join=None):
    return stax.serial(stax.FanOut(len(layers)), stax.parallel(*layers), join or stax.FanInSum())


def head(*layers):
    return stax.serial(*layers, stax.Erf(), stax.Dense(1))


@pytest.fixture
def x(x64):
    return jax.random.normal(jax.random.key(0), (3, 5)) * jnp.array([[1.0], [0.3], [2.0]])


def one_layer(scale, sigma0=0.8):
    """A neuron's weights, and the mean and variance over its noise of what it computes at x."""

    def draw(key, d):
        return jax.random.normal(key, (d,)), jnp.full(d, sigma0)

    def law(weights, x):
        mu, sigma = weights
        return scale * x @ mu / x.shape[-1] ** 0.5, scale**2 * x**2 @ sigma**2 / x.shape[-1]

    return draw, law


def sampled_kernel(parts, combine, x):
    """Mean and standard error of the neurons' tangent kernel, `combine` making one Gaussian of the parts'."""
    draws, laws = zip(*parts, strict=True)

    def output(weights, x):
        mean, variance = combine(x, *(law(w, x) for law, w in zip(laws, weights, strict=True)))
        return jax.scipy.special.erf(mean / jnp.sqrt(1 + 2 * variance))

    def neuron(key):
        keys = jax.random.split(key, len(draws))
        weights = tuple(draw(k, x.shape[-1]) for draw, k in zip(draws, keys, strict=True))
        value, jacobian = output(weights, x), jax.jacobian(output)(weights, x)
        flat = jnp.concatenate([j.reshape(len(x), -1) for j in jax.tree.leaves(jacobian)], axis=1)
        return jnp.outer(value, value) + flat @ flat.T

    kernels = jax.jit(jax.vmap(neuron))(jax.random.split(jax.random.key(1), NEURONS))
    return kernels.mean(0), kernels.std(0) / NEURONS**0.5


def total(*laws):
    return sum(mean for mean, _ in laws), sum(variance for _, variance in laws)


def scaled(factor):
    return lambda x, law: (factor * law[0], factor**2 * law[1])


def normalised(x, law):
    size = 1.3**2 * 1.64 * (x**2).mean(1)
    return law[0] / jnp.sqrt(size), law[1] / size


def summed(x, *laws):
    return total(*laws)


ONE, PLAIN, OTHER = one_layer(1.3), one_layer(0.9, 0.0), one_layer(0.7, 1.5)
DOUBLE = stax.DotGeneral(rhs=2.0)
CASES = {
    "identity": (head(noisy(), stax.Identity()), [ONE], summed),
    "sum with a dense layer": (head(branches(noisy(), stax.Dense(1, 0.9))), [ONE, PLAIN], summed),
    "two noisy layers": (head(branches(noisy(), noisy(0.7, 1.5))), [ONE, OTHER], summed),
    "sum of a sum": (
        head(branches(branches(noisy(), noisy(0.7, 1.5)), stax.Dense(1, 0.9))),
        [ONE, OTHER, PLAIN],
        summed,
    ),
    "one branch": (head(branches(noisy())), [ONE], summed),
    "a product of one": (head(branches(noisy(), join=stax.FanInProd())), [ONE], summed),
    "a factor": (head(noisy(), DOUBLE), [ONE], scaled(2.0)),
    "a factor before it": (head(DOUBLE, noisy()), [ONE], scaled(2.0)),
    "a factor in a branch": (
        head(branches(stax.serial(noisy(), DOUBLE), stax.Dense(1, 0.9))),
        [ONE, PLAIN],
        lambda x, one, plain: total(scaled(2.0)(x, one), plain),
    ),
    "a normalisation": (head(noisy(), stax.LayerNorm()), [ONE], normalised),
    "dropout that is off": (head(noisy(), stax.Dropout(0.5, mode="test")), [ONE], summed),
}


@pytest.mark.parametrize("name", CASES)
def test_the_term_is_carried(name, x):
    network, parts, combine = CASES[name]
    mean, error = sampled_kernel(parts, combine, x)
    got = network[2](x, None, "ntk")
    np.testing.assert_array_less(jnp.abs(got - mean), 4 * error)
    np.testing.assert_allclose(got[:, 1:], network[2](x, x[1:], "ntk"), rtol=1e-12)


def test_the_value_that_a_sum_had_wrong(x64):
    """Monte Carlo said 1.070 ± 0.004 where the kernel was 0.990."""
    x = 1.5 * jax.random.normal(jax.random.PRNGKey(0), (3, 5), jnp.float64)
    exact = sampled_kernel([ONE, PLAIN], summed, x)
    got = CASES["sum with a dense layer"][0][2](x, None, "ntk")
    assert abs(got[0, 0] - exact[0][0, 0]) < 4 * exact[1][0, 0]
    in_blocks = nt.batch(CASES["sum with a dense layer"][0][2], batch_size=1)
    np.testing.assert_allclose(in_blocks(x, x, "ntk"), got, rtol=1e-12)


def test_a_residual_connection(x):
    """The dense layer of the second branch is wide: it ends the term there, and the first keeps its own."""
    residual = branches(stax.Identity(), stax.Dense(1, 0.5))
    pre = stax.serial(noisy(), residual)[2](x)
    value, slope, curvature = dual_derivatives(stax.Erf(), pre.nngp, pre.cov1[:, None], pre.cov1)
    spread = 1.3**4 / 25 * 0.64 * (x**2 @ (x**2).T)
    got = head(noisy(), residual)[2](x, None, "ntk")
    np.testing.assert_allclose(got, value + pre.ntk * slope + spread * curvature, rtol=1e-10)


def test_a_repeated_block(x):
    block = stax.serial(StochasticDense(5, 1.3, sigma0=0.8), stax.Erf())
    for n in (1, 3):
        np.testing.assert_allclose(
            stax.serial(stax.repeat(block, n), stax.Dense(1))[2](x, None, "ntk"),
            stax.serial(*[block] * n, stax.Dense(1))[2](x, None, "ntk"),
            rtol=1e-12,
        )


def test_a_factor_on_a_kernel(x):
    """Between two layers called by hand; a constant is a bias, which has no variance weights."""
    rest = stax.serial(stax.Erf(), stax.Dense(1))[2]
    want = CASES["a factor"][0][2](x).ntk
    before = noisy()[2](x)
    for kernel in (2 * before, before * 2.0, before / 0.5, noisy()[2](2 * stax.Identity()[2](x))):
        np.testing.assert_allclose(rest(kernel).ntk, want, rtol=1e-12)
    biased = stax.serial(StochasticDense(1, 1.3, sigma0=0.8, b_std=0.3), stax.Erf(), stax.Dense(1))[2](x)
    # A layer's bias is trained, a constant is not: the nngp is the same, the tangent kernel is smaller.
    shifted = rest(before + 0.3)
    np.testing.assert_allclose(shifted.nngp, biased.nngp, rtol=1e-12)
    slope = stax.serial(stax.Erf())[2](before.plain(ntk=jnp.ones((3, 3))) + 0.3).ntk
    np.testing.assert_allclose(biased.ntk - shifted.ntk, 0.09 * slope, rtol=1e-12)


def test_a_slice_and_a_jit_in_between(x):
    rest = stax.serial(stax.Erf(), stax.Dense(1))[2]
    want = head(noisy())[2](x).ntk
    before = jax.jit(noisy()[2])(x)
    np.testing.assert_allclose(jax.jit(rest)(before).ntk, want, rtol=1e-12)
    np.testing.assert_allclose(rest(before[1:]).ntk, want[1:, 1:], rtol=1e-12)
    np.testing.assert_allclose(rest(before.slice(slice(1), slice(1, 3))).ntk, want[:1, 1:], rtol=1e-12)


@pytest.mark.parametrize(
    "between",
    [
        [stax.Dense(1)],
        [StochasticDense(1, sigma0=0.5)],
        [stax.Flatten(), stax.Dense(1)],
        [branches(stax.Dense(1), stax.Dense(1), join=stax.FanInConcat(-1)), stax.Dense(1)],
    ],
)
def test_new_wide_weights_end_the_term(between, x):
    """What is left is κ + Θ κ', with the covariances before the nonlinearity."""
    pre = stax.serial(noisy(), *between)[2](x)
    slope = stax.Erf()[2](pre.replace(ntk=jnp.ones((3, 3)))).ntk
    out = head(noisy(), *between)[2](x)
    np.testing.assert_allclose(out.ntk, out.nngp + pre.ntk * slope, rtol=1e-12)


def test_it_ends_in_a_wide_network_too(x):
    """Finite networks x → 400 noisy units → one unit, averaged over noise exactly: keeping the term would be wrong."""
    width, networks = 400, 4000

    def output(weights, x):
        mu, sigma, v = weights
        mean = 1.3 * x @ mu @ v / (5 * width) ** 0.5
        variance = 1.3**2 * x**2 @ sigma**2 @ v**2 / (5 * width)
        return jax.scipy.special.erf(mean / jnp.sqrt(1 + 2 * variance))

    def network(key):
        one, two = jax.random.split(key)
        weights = jax.random.normal(one, (5, width)), jnp.full((5, width), 0.8), jax.random.normal(two, (width,))
        value, jacobian = output(weights, x), jax.jacobian(output)(weights, x)
        flat = jnp.concatenate([j.reshape(3, -1) for j in jax.tree.leaves(jacobian)], axis=1)
        return jnp.outer(value, value) + flat @ flat.T

    kernels = jax.lax.map(network, jax.random.split(jax.random.key(2), networks), batch_size=100)
    mean, error = kernels.mean(0), kernels.std(0) / networks**0.5
    got = head(noisy(), stax.Dense(1))[2](x, None, "ntk")
    np.testing.assert_array_less(jnp.abs(got - mean), 4 * error + 3 / width)
    kept = head(noisy())[2](x, None, "ntk") - head(noisy(), stax.Identity())[2](x, None, "nngp")
    assert (jnp.abs(kept + got - mean) > 4 * error + 3 / width).any()


def test_a_product_of_branches_has_no_term(x):
    """E (w·x + noise)(v·x + noise') = (w·x)(v·x): the variance weights are not in it."""
    got = stax.serial(branches(noisy(), noisy(0.7), join=stax.FanInProd()), stax.Dense(1))[2](x)
    gram = x @ x.T / 5
    np.testing.assert_allclose(got.nngp, (1.3 * 0.7 * gram) ** 2, rtol=1e-12)
    np.testing.assert_allclose(got.ntk, 3 * (1.3 * 0.7 * gram) ** 2, rtol=1e-12)
    second = (1.3 * 0.7 * 1.64 * jnp.diagonal(gram)) ** 2
    np.testing.assert_allclose(predictive_variance(got), second - jnp.diagonal(got.nngp), rtol=1e-12)


@stax.layer
def outside(times):
    """A layer that somebody else wrote and that builds its own kernel."""

    def kernel_fn(k, **kwargs):
        fields = {name: getattr(k, name) for name in nt.Kernel.__dataclass_fields__}
        return nt.Kernel(**fields) * times

    return lambda key, shape: (shape, ()), lambda params, inputs, **kwargs: times * inputs, kernel_fn


@stax.layer
def replacing(times):
    """Another one, which replaces what it knows."""

    def kernel_fn(k, **kwargs):
        return k.replace(nngp=k.nngp * times**2, cov1=k.cov1 * times**2, ntk=k.ntk * times**2)

    return lambda key, shape: (shape, ()), lambda params, inputs, **kwargs: times * inputs, kernel_fn


@pytest.mark.parametrize("layer", [outside, replacing])
def test_a_layer_from_outside_is_refused_by_name(layer, x):
    with pytest.raises(ValueError, match=f"expected a nonlinearity.*got {layer.__name__}"):
        head(noisy(), layer(2.0))[2](x, None, "ntk")
    # Where it drops nothing it is welcome.
    deterministic = head(stax.Dense(1), layer(2.0))[2](x, None, "ntk")
    np.testing.assert_allclose(deterministic, head(stax.Dense(1), DOUBLE)[2](x, None, "ntk"), rtol=1e-12)
    assert head(noisy(), stax.Erf(), stax.Dense(1), layer(2.0))[2](x, None, "ntk").shape == (3, 3)


def test_networks_without_noise_have_plain_kernels(x):
    network = head(branches(stax.Dense(1), stax.Dense(1)), stax.LayerNorm())
    assert type(network[2](x)) is nt.Kernel
    assert type(head(noisy(sigma0=0.0))[2](x)) is nt.Kernel


@pytest.mark.filterwarnings("ignore:Inputs to this layer are assumed to have unit norm")
@pytest.mark.parametrize(
    ("layer", "message"), [(stax.Hermite(2), "got stax.Hermite"), (stax.Dropout(0.5), "got stax.Dropout")]
)
def test_what_noise_forbids_at_any_depth(layer, message, x):
    deep = [stax.Dense(1), stax.Erf(), stax.Dense(1)]
    with pytest.raises(ValueError, match=message):
        stax.serial(noisy(), stax.Erf(), *deep, layer, stax.Dense(1))[2](x)
    stax.serial(*deep, layer, stax.Dense(1))[2](x)
