"""The closed-form tangent kernels: against neural-tangents, expectations over neurons, symmetry, bad input."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import stax
from snn_ntk.kernels import tangent_kernels, tangent_kernels_batched

ACTIVATIONS = {"erf": stax.Erf(), "relu": stax.Relu(), "gelu": stax.Gelu(), "tanh": jnp.tanh}


def unit_vectors(key, n, d):
    x = jax.random.normal(key, (n, d))
    return x / jnp.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def x():
    return unit_vectors(jax.random.PRNGKey(0), 5, 6)


@pytest.mark.parametrize("name", ["erf", "relu", "gelu"])
@pytest.mark.parametrize(("W_std", "b_std"), [(1.0, None), (1.4, 0.3)])
def test_no_noise_is_the_kernel_of_neural_tangents(name, W_std, b_std, x):
    layer = ACTIVATIONS[name]
    want = stax.serial(stax.Dense(1, W_std, b_std), layer, stax.Dense(1))[2](x, x[:3])
    got = tangent_kernels(x, x[:3], activation=layer, sigma0=0.0, W_std=W_std, b_std=b_std)
    # ReLU's κ' loses half of the digits at equal inputs, in neural-tangents as here.
    tolerance = 2e-3 if name == "relu" else 1e-5
    np.testing.assert_allclose(got.total, want.ntk, rtol=tolerance)
    np.testing.assert_allclose(got.d, want.nngp, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got.sigma, 0)


def test_paper_parameterisation_is_a_scale(x):
    paper = tangent_kernels(x, activation=stax.Erf(), sigma0=0.7)
    scaled = tangent_kernels(x, activation=stax.Erf(), sigma0=0.7, W_std=float(np.sqrt(6)))
    for got, want in zip(scaled, paper, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_expectation_over_neurons(name, x, x64):
    """Lemma 1 as the paper states it: neurons and two independent batches of noise are sampled."""
    sigma0, samples = 0.7, 50_000
    x = jnp.asarray(x, jnp.float64)[:3]
    phi = {"erf": jax.scipy.special.erf, "relu": jax.nn.relu, "gelu": lambda z: z * jax.scipy.stats.norm.cdf(z)}
    phi = phi.get(name, jnp.tanh)

    def neuron(key):
        w, first, second = jax.random.normal(key, (3, 6))
        gradients = []
        for noise in (first, second):
            z = x @ (w + sigma0 * noise)
            slope = jax.jvp(phi, (z,), (jnp.ones_like(z),))[1]
            gradients.append((slope[:, None] * x, slope[:, None] * x * noise, phi(z)[:, None]))
        return [a @ b.T for a, b in zip(*gradients, strict=True)]

    sampled = jax.jit(jax.vmap(neuron))(jax.random.split(jax.random.PRNGKey(1), samples))
    for got, want in zip(sampled, tangent_kernels(x, activation=ACTIVATIONS[name], sigma0=sigma0), strict=True):
        error = got.std(0) / np.sqrt(samples)
        # 27 entries an activation: four and a half standard errors keep a false alarm below one in a thousand.
        np.testing.assert_array_less(jnp.abs(got.mean(0) - want), 4.5 * error)


@pytest.mark.parametrize("n", [700, pytest.param(1025, marks=pytest.mark.heavy)])
def test_blocks_of_the_symmetric_form_fit_together(n):
    x = unit_vectors(jax.random.PRNGKey(2), n, 7)
    symmetric = tangent_kernels(x, activation=stax.Erf(), sigma0=0.5)
    for got, want in zip(symmetric, tangent_kernels(x, x, activation=stax.Erf(), sigma0=0.5), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["erf", "tanh"])
def test_batches_jit_and_vmap_change_nothing(name, x):
    options = dict(activation=ACTIVATIONS[name], sigma0=0.5, b_std=0.1)
    want = tangent_kernels(x, **options)
    others = (
        tangent_kernels_batched(x, **options, batch_size=2),
        jax.jit(lambda x: tangent_kernels(x, **options))(x),
        jax.tree_util.tree_map(lambda k: k[0], jax.vmap(lambda x: tangent_kernels(x, **options))(x[None])),
    )
    for other in others:
        for got, expected in zip(other, want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert isinstance(others[0].mu, np.ndarray)
    np.testing.assert_allclose(
        tangent_kernels(x, x[:2], **options).total, np.asarray(want.total)[:, :2], rtol=1e-5, atol=1e-6
    )


def test_each_part_is_symmetric_and_positive(x, x64):
    x = jnp.asarray(x, jnp.float64)
    for activation in ACTIVATIONS.values():
        for part in tangent_kernels(x, activation=activation, sigma0=0.6):
            np.testing.assert_allclose(part, part.T, rtol=1e-12)
            assert float(jnp.linalg.eigvalsh(part).min()) > -1e-12
            assert part.dtype == jnp.float64


def test_variance_weights_have_a_small_share_of_the_trace_in_high_dimension():
    """⟨x∘x, x'∘x'⟩ is about 3/d for equal directions on the sphere and 1/d for others."""
    for d in (100, 1000):
        x = unit_vectors(jax.random.PRNGKey(d), 40, d)
        squares = (x * x) @ (x * x).T
        off = squares[~np.eye(40, dtype=bool)]
        assert float(jnp.diagonal(squares).mean()) * d == pytest.approx(3.0, rel=0.2)
        assert float(off.mean()) * d == pytest.approx(1.0, rel=0.1)


@pytest.mark.heavy
def test_variance_weights_of_an_activation_with_an_even_part_are_not_small_in_norm(x64):
    """In trace their kernel is of order 1/d of that of the mean weights; in norm only if the activation is odd."""
    x = unit_vectors(jax.random.PRNGKey(0), 400, 50)
    for activation, low, high in ((stax.Erf(), 0, 0.01), (stax.Relu(), 0.1, 0.3), (jnp.square, 0.8, 1)):
        kernels = tangent_kernels(x, activation=activation, sigma0=1.0)
        assert float(jnp.trace(kernels.sigma) / jnp.trace(kernels.mu)) < 4 / 50
        assert low < float(jnp.linalg.norm(kernels.sigma, 2) / jnp.linalg.norm(kernels.mu, 2)) < high


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradients_are_finite(name, x):
    """In σ0 and in the inputs, at σ0 = 0, at equal inputs and at an input that is 0."""
    x = x.at[1].set(x[0]).at[2].set(0.0)
    for sigma0 in (0.0, 0.5):
        value = jax.jit(
            jax.grad(lambda x, s: tangent_kernels(x, activation=ACTIVATIONS[name], sigma0=s).total.sum(), (0, 1))
        )(x, sigma0)
        assert all(bool(jnp.isfinite(g).all()) for g in value)


def test_integers_and_numpy_are_inputs():
    got = tangent_kernels(np.eye(3, dtype=int), activation=stax.Erf(), sigma0=1)
    assert got.total.dtype == jnp.float32
    assert got.total.shape == (3, 3)


BAD = [
    (np.ones(3), None, {}, ValueError, "rank 2.*got rank 1"),
    (np.ones((2, 3)), np.ones((2, 4)), {}, ValueError, "3 features.*got 4"),
    (np.ones((0, 3)), None, {}, ValueError, "at least one row"),
    (np.array([[np.nan]]), None, {}, ValueError, "finite values.*got NaN"),
    (np.ones((2, 2)), np.array([[np.inf, 0.0]]), {}, ValueError, "finite values in x2"),
    (np.ones((2, 2), complex), None, {}, TypeError, "real array"),
    (np.ones((2, 2)), None, {"sigma0": -1.0}, ValueError, "sigma0 >= 0, got -1"),
    (np.ones((2, 2)), None, {"sigma0": float("nan")}, ValueError, "finite sigma0"),
    (np.ones((2, 2)), None, {"b_std": -1.0}, ValueError, "b_std >= 0"),
    (np.ones((2, 2)), None, {"activation": "relu"}, TypeError, "expected a nonlinearity"),
    (np.ones((2, 2)), None, {"activation": stax.Hermite(2)}, ValueError, "Hermite"),
]


@pytest.mark.parametrize("function", [tangent_kernels, tangent_kernels_batched])
@pytest.mark.parametrize(("x1", "x2", "changes", "error", "message"), BAD)
def test_bad_input_is_named(function, x1, x2, changes, error, message, unchecked):
    with pytest.raises(error, match=message):
        function(x1, x2, **{"activation": stax.Erf(), "sigma0": 0.5} | changes)


@hypothesis.settings(max_examples=15)
@hypothesis.given(
    data=st.data(), n1=st.integers(1, 3), n2=st.integers(1, 3), d=st.integers(1, 3), sigma0=st.floats(0, 3)
)
def test_any_finite_input_gives_finite_kernels(data, n1, n2, d, sigma0):
    numbers = st.floats(-100, 100, width=32)
    x1 = data.draw(hnp.arrays(np.float32, (n1, d), elements=numbers))
    x2 = data.draw(hnp.arrays(np.float32, (n2, d), elements=numbers))
    for part in tangent_kernels(x1, x2, activation=stax.Relu(), sigma0=sigma0):
        assert part.shape == (n1, n2)
        assert bool(jnp.isfinite(part).all())


# One rectangle, and blocks on and above the diagonal.
@pytest.mark.parametrize("n", [3, pytest.param(600, marks=pytest.mark.heavy)])
def test_one_kernel_alone_is_the_one_of_three(n, x64):
    x = jax.random.normal(jax.random.key(0), (n, 4))
    three = tangent_kernels(x, activation=stax.Erf(), sigma0=0.5)
    wanted = {"ntk": three.total, "sigma": three.sigma}
    if n == 3:
        wanted |= {"nngp": three.d, "mu": three.mu, "d": three.d}
    for get, want in wanted.items():
        got = tangent_kernels(x, activation=stax.Erf(), sigma0=0.5, get=get)
        batched = tangent_kernels_batched(x, activation=stax.Erf(), sigma0=0.5, get=get, batch_size=256)
        for part in (got, batched):
            np.testing.assert_allclose(part, want, rtol=1e-12)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match=r"expected get to be one of None, ntk, nngp, mu, sigma, d, got 'total'"):
        tangent_kernels(jnp.ones((2, 2)), activation=stax.Erf(), sigma0=0.5, get="total")
