"""Monte Carlo over noise against the one network whose expected output is exact: a single hidden layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import paper
from snn_ntk._neural_tangents import stax
from snn_ntk.datasets import sphere
from snn_ntk.kernels import expected_tangent_kernel, noise_moments

ERF = stax.Erf()


def apply_fn(params, x, rng):
    return paper.sampled_output(params, x, rng, activation=ERF)


@pytest.fixture(scope="module")
def setting():
    return paper.init_parameters(jax.random.key(0), 32, 5, 2, sigma0=0.8), sphere(jax.random.key(1), 3, 5)


def test_kernel_is_unbiased_also_on_the_diagonal(setting):
    params, x = setting
    exact = paper.empirical_tangent_kernels(params, x, activation=ERF)

    def one(key):
        return expected_tangent_kernel(apply_fn, params, x, None, key, samples=2)

    runs = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=100))(jax.random.split(jax.random.key(2), 2000))
    for found, truth in ((runs.mu, exact.mu), (runs.sigma, exact.sigma), (runs.d, exact.d)):
        found = np.asarray(found, float)
        error = found.std(0, ddof=1) / len(found) ** 0.5
        assert (abs(found.mean(0) - truth) < 4.5 * error + 1e-6).all()
    # One batch of noise used twice would be larger on the diagonal; the test can tell.
    gradient = jax.jit(jax.vmap(lambda k: jax.jacrev(lambda d: apply_fn(params._replace(d=d), x, k))(params.d)))
    g = gradient(jax.random.split(jax.random.key(3), 2000))
    shared = jnp.einsum("sikrl,sikrl->si", g, g) / 2
    error = np.asarray(runs.d, float).std(0, ddof=1).max() / 2000**0.5
    assert (shared.mean(0) - jnp.diagonal(exact.d) > 10 * error).all()


def test_variance_is_the_exact_one(setting):
    params, x = setting
    moments = noise_moments(apply_fn, params, x, jax.random.key(4), samples=20_000)
    exact = np.asarray(paper.output_variance(params, x, activation=ERF))
    mean = np.asarray(paper.expected_output(params, x, activation=ERF))
    # A sample variance of S nearly normal draws has relative error √(2/S).
    np.testing.assert_allclose(moments.variance, exact, rtol=4.5 * (2 / 20_000) ** 0.5)
    assert (abs(np.asarray(moments.mean) - mean) < 4.5 * np.sqrt(exact / 20_000)).all()


@pytest.mark.heavy
def test_two_sets_of_inputs_and_errors(setting):
    params, x = setting
    kernel = expected_tangent_kernel(apply_fn, params, x, x[:2], jax.random.key(0), samples=1)
    assert kernel.mu.shape == (3, 2)
    with pytest.raises(ValueError, match="samples >= 1"):
        expected_tangent_kernel(apply_fn, params, x, None, jax.random.key(0), samples=0)
    with pytest.raises(ValueError, match="samples >= 2"):
        noise_moments(apply_fn, params, x, jax.random.key(0), samples=1)


@pytest.mark.parametrize(("samples", "kind"), [(2.5, TypeError), (1, ValueError)])
def test_draws_are_counted(unchecked, samples, kind):
    with pytest.raises(kind, match="expected samples"):
        noise_moments(lambda params, x, rng: x, 1.0, jnp.ones((1, 1)), jax.random.key(0), samples=samples)
