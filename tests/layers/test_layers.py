"""The stochastic layer inside neural-tangents: limits, composition, Monte Carlo, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import nt, stax
from snn_ntk.kernels import expected_tangent_kernel, tangent_kernels
from snn_ntk.layers import StochasticDense, predictive_variance


def five_layers(sigma0, width=64, **options):
    return stax.serial(
        StochasticDense(width, 1.3, sigma0=sigma0, b_std=0.3, **options),
        stax.Erf(),
        stax.Dense(width),
        stax.Relu(),
        StochasticDense(width, 1.2, sigma0=sigma0, **options),
        stax.Gelu(),
        stax.Dense(width, 1.0, 0.1),
        stax.Erf(),
        stax.Dense(1),
    )


DETERMINISTIC = stax.serial(
    stax.Dense(1, 1.3, 0.3),
    stax.Erf(),
    stax.Dense(1),
    stax.Relu(),
    stax.Dense(1, 1.2),
    stax.Gelu(),
    stax.Dense(1, 1.0, 0.1),
    stax.Erf(),
    stax.Dense(1),
)


@pytest.fixture
def x():
    return jax.random.normal(jax.random.PRNGKey(0), (5, 6))


@pytest.mark.parametrize("layer", [stax.Erf(2.0, 0.7), stax.Relu(), stax.Gelu(), stax.Sin()])
def test_one_hidden_layer_is_lemma_1(layer, x):
    kernel_fn = stax.serial(StochasticDense(1, 1.3, sigma0=0.8, b_std=0.3), layer, stax.Dense(1))[2]
    y = 0.7 * x[:2] + 0.1
    want = tangent_kernels(x, y, activation=layer, sigma0=0.8, W_std=1.3, b_std=0.3)
    np.testing.assert_allclose(kernel_fn(x, y, "ntk"), want.total, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(kernel_fn(x, y, "nngp"), want.d, rtol=1e-5, atol=1e-5)
    # The variance weights must be seen: without them the kernel differs by more than the tolerance above.
    assert float(jnp.abs(want.sigma).max()) > 1e-2


def test_no_noise_is_the_deterministic_network(x):
    got, want = five_layers(0.0)[2](x, x[:3]), DETERMINISTIC[2](x, x[:3])
    for name in ("nngp", "ntk", "cov1", "cov2"):
        np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-6, atol=1e-7)
    nearly = five_layers(1e-4)[2](x, x[:3])
    np.testing.assert_allclose(nearly.ntk, want.ntk, rtol=1e-5, atol=1e-5)


def test_a_kernel_does_not_depend_on_company(x):
    kernel_fn = five_layers(0.8)[2]
    whole = kernel_fn(x, x)
    part = kernel_fn(x, x[:2])
    for name in ("nngp", "ntk"):
        np.testing.assert_allclose(getattr(whole, name)[:, :2], getattr(part, name), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(getattr(kernel_fn(x), name), getattr(whole, name), rtol=1e-6, atol=1e-7)


def test_batching_jit_and_kernels_as_input(x):
    kernel_fn = five_layers(0.8)[2]
    want = kernel_fn(x).ntk
    np.testing.assert_allclose(nt.batch(kernel_fn, batch_size=1)(x, x, "ntk"), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda x: kernel_fn(x, None, "ntk"))(x), want, rtol=1e-5, atol=1e-6)
    inputs = stax.Identity()[2](x)
    np.testing.assert_allclose(kernel_fn(inputs).ntk, want, rtol=1e-6)
    np.testing.assert_allclose(nt.batch(kernel_fn, batch_size=1)(inputs).ntk, want, rtol=1e-5, atol=1e-6)


def test_kernel_is_symmetric_and_positive(x):
    for noise in ("independent", "shared"):
        k = five_layers(0.8, noise=noise)[2](x)
        for matrix in (k.ntk, k.nngp):
            np.testing.assert_allclose(matrix, matrix.T, rtol=1e-5, atol=1e-6)
            assert float(jnp.linalg.eigvalsh(matrix).min()) > 0


def test_prediction(x):
    y = jnp.sin(x[:, :1])
    kernel_fn = five_layers(0.5)[2]
    predict = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, y, diag_reg=1e-6)
    np.testing.assert_allclose(predict(x_test=x, get="ntk"), y, atol=1e-3)


def averaged_ntk(network, params, x, keys):
    """Tangent kernel of the network averaged over noise, the average taken before the inner product.

    Two halves of the noise give an unbiased product: E J Jᵀ of one sample would add the noise of J.
    """
    _, apply_fn, _ = network

    def jacobian(keys):
        return jax.jacobian(lambda p: jax.vmap(lambda k: apply_fn(p, x, rng=k))(keys).mean(0)[:, 0])(params)

    half = len(keys) // 2
    first, second = (
        jnp.concatenate([j.reshape(len(x), -1) for j in jax.tree_util.tree_leaves(jacobian(part))], axis=1)
        for part in (keys[:half], keys[half:])
    )
    product = first @ second.T
    return (product + product.T) / 2


@pytest.mark.heavy
def test_monte_carlo_in_five_layers(x):
    """NTK of f̂ and predictive variance of eight networks, two standard errors around the mean plus the finite width's
    bias, of order depth/width."""
    width, networks, samples = 256, 24, 96
    network = five_layers(0.8, width)
    x = x[:3]
    limit = network[2](x)

    @jax.jit
    def one(key):
        key_init, key_noise = jax.random.split(key)
        _, params = network[0](key_init, x.shape)
        keys = jax.random.split(key_noise, samples)
        outputs = jax.vmap(lambda k: network[1](params, x, rng=k))(keys)[..., 0]
        return averaged_ntk(network, params, x, keys), outputs.var(0, ddof=1)

    results = [one(key) for key in jax.random.split(jax.random.PRNGKey(7), networks)]
    for values, want in zip(zip(*results, strict=True), (limit.ntk, predictive_variance(limit)), strict=True):
        values = np.stack(values)
        mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(networks)
        bias = 5 / width * np.abs(np.asarray(want)).max()
        np.testing.assert_array_less(np.abs(mean - want), 2 * error + bias)
        # The comparison can fail: the kernel of the noiseless network lies outside.
    noiseless = DETERMINISTIC[2](x).ntk
    means = np.stack([r[0] for r in results])
    error = means.std(0, ddof=1) / np.sqrt(networks)
    assert (np.abs(means.mean(0) - noiseless) > 2 * error + 5 / width * float(noiseless.max())).any()


def test_shared_noise_is_frozen_weights():
    """With one ζ for all inputs the layer is a dense one with two groups of weights, in many input dimensions."""
    x = jax.random.normal(jax.random.PRNGKey(0), (5, 256))
    width, networks = 512, 24
    network = stax.serial(StochasticDense(width, sigma0=0.7, noise="shared"), stax.Erf(), stax.Dense(1))
    limit = network[2](x)
    with pytest.raises(ValueError, match="expected independent noise"):
        predictive_variance(limit)

    @jax.jit
    def frozen(key):
        key_init, key_noise = jax.random.split(key)
        _, params = network[0](key_init, x.shape)
        j = jax.jacobian(lambda p: network[1](p, x, rng=key_noise)[:, 0])(params)
        j = jnp.concatenate([leaf.reshape(5, -1) for leaf in jax.tree_util.tree_leaves(j)], axis=1)
        return j @ j.T

    kernels = jnp.stack([frozen(key) for key in jax.random.split(jax.random.PRNGKey(1), networks)])
    # 15 entries and a Student's t of 24 networks: four standard errors. What is left out is of order σ0²/256.
    error = kernels.std(0, ddof=1) / np.sqrt(networks)
    np.testing.assert_array_less(jnp.abs(kernels.mean(0) - limit.ntk), 4 * error + 0.49 / 256 * limit.ntk.max())
    # Without the second group of weights it would be far away.
    deterministic = stax.serial(stax.Dense(1, float(np.sqrt(1.49))), stax.Erf(), stax.Dense(1))[2](x).ntk
    assert (jnp.abs(kernels.mean(0) - deterministic) > 4 * error + 0.49 / 256 * limit.ntk.max()).any()


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_parameterizations_differ_by_their_scales(parameterization, x):
    layers = [StochasticDense(2048, 1.2, sigma0=0.6, b_std=0.2, parameterization=parameterization), stax.Erf()]
    init_fn, apply_fn, kernel_fn = stax.serial(*layers, stax.Dense(1))
    limit = kernel_fn(x[:3])
    values = []
    for seed in range(4):
        _, params = init_fn(jax.random.PRNGKey(seed), (3, 6))
        keys = jax.random.split(jax.random.PRNGKey(50 + seed), 128)
        values.append(averaged_ntk((init_fn, apply_fn, None), params, x[:3], keys))
    got = np.mean(values, axis=0)
    # The kernel is a mean of 8,192 neurons (terms of the order of the kernel) and of 128 samples of noise.
    np.testing.assert_allclose(got, limit.ntk, atol=0.06 * float(limit.ntk.max()))


def test_empirical_kernels_take_a_key(x):
    init_fn, apply_fn, _ = five_layers(0.5)
    _, params = init_fn(jax.random.PRNGKey(0), x.shape)
    kernel = nt.empirical_ntk_fn(apply_fn)(x, None, params, rng=jax.random.PRNGKey(1))
    assert kernel.shape == (5, 5)
    assert bool(jnp.isfinite(kernel).all())


@pytest.mark.parametrize("dtype", [np.uint8, pytest.param(np.int16, marks=pytest.mark.heavy)])
def test_integers_are_the_floats_that_they_are(dtype):
    """200² is 64 modulo 256."""
    init_fn, apply_fn, kernel_fn = stax.serial(StochasticDense(64, sigma0=1.0), stax.Erf(), stax.Dense(1))
    pixels = np.array([[200, 3], [17, 255]], dtype)
    _, params = init_fn(jax.random.PRNGKey(0), pixels.shape)
    key = jax.random.PRNGKey(1)
    np.testing.assert_array_equal(apply_fn(params, pixels, rng=key), apply_fn(params, pixels * 1.0, rng=key))
    np.testing.assert_array_equal(kernel_fn(pixels).ntk, kernel_fn(pixels.astype(np.float32)).ntk)
    empirical = nt.empirical_ntk_fn(apply_fn)
    np.testing.assert_array_equal(*(empirical(x, None, params, rng=key) for x in (pixels, pixels * 1.0)))
    averaged = (expected_tangent_kernel(apply_fn, params, x, None, key, samples=2) for x in (pixels, pixels * 1.0))
    jax.tree.map(np.testing.assert_array_equal, *averaged)


def test_no_noise_has_finite_gradients(x):
    init_fn, apply_fn, _ = five_layers(0.0)
    _, params = init_fn(jax.random.PRNGKey(0), x.shape)
    gradient = jax.grad(lambda p: apply_fn(p, x, rng=jax.random.PRNGKey(1)).sum())(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree_util.tree_leaves(gradient))


def test_images_must_be_flattened_first():
    images = jax.random.normal(jax.random.PRNGKey(0), (2, 4, 4, 1))
    kernel_fn = stax.serial(stax.Flatten(), StochasticDense(1, sigma0=0.5), stax.Erf(), stax.Dense(1))[2]
    with pytest.raises(ValueError, match=r"expected inputs of shape .*got a Kernel without"):
        kernel_fn(images, None, "ntk")
    assert kernel_fn(images, None, "nngp").shape == (2, 2)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sigma0": -0.1}, ValueError, "sigma0 >= 0"),
        ({"sigma0": float("nan")}, ValueError, "finite sigma0"),
        ({"sigma0": "much"}, TypeError, "sigma0 to be one number"),
        ({"noise": "some"}, ValueError, "noise to be"),
        ({"parameterization": "mean-field"}, ValueError, "parameterization to be"),
        ({"out_dim": 0}, ValueError, "out_dim >= 1"),
        ({"W_std": -1.0}, ValueError, "W_std >= 0"),
    ],
)
def test_wrong_arguments(changes, error, message, unchecked):
    arguments = {"out_dim": 3, "sigma0": 0.5} | changes
    with pytest.raises(error, match=message):
        StochasticDense(**arguments)


def test_a_key_is_required(x):
    init_fn, apply_fn, _ = StochasticDense(3, sigma0=0.5)
    _, params = init_fn(jax.random.PRNGKey(0), x.shape)
    with pytest.raises(ValueError, match="rng=key"):
        apply_fn(params, x)


def test_predictive_variance_refuses_other_kernels(x, unchecked):
    kernel_fn = five_layers(0.5)[2]
    with pytest.raises(ValueError, match="one set of inputs"):
        predictive_variance(kernel_fn(x, x[:2]))
    with pytest.raises(TypeError, match=r"expected a neural_tangents.Kernel"):
        predictive_variance(kernel_fn(x).nngp)
