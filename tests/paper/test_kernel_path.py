"""The tangent kernel along a training against Jacobians, and the order of its first change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import paper, stax
from snn_ntk.kernels import tangent_kernels
from snn_ntk.training import gradient_flow

ERF = stax.Erf()

pytestmark = pytest.mark.usefixtures("x64")


def sphere(seed, n, d):
    points = jax.random.normal(jax.random.key(seed), (n, d))
    return points / jnp.linalg.norm(points, axis=1, keepdims=True)


def jacobian(params, x):
    """J by automatic differentiation, shape (nd, weights)."""
    blocks = jax.jacrev(lambda p: paper.expected_output(p, x, activation=ERF))(params)
    return np.concatenate([np.asarray(block).reshape(x.size, -1) for block in blocks], axis=1)


def test_kernel_path_is_that_of_jacobians():
    x = sphere(0, 4, 3)
    start = paper.init_parameters(jax.random.key(1), 32, 3, sigma0=0.7)
    flow = gradient_flow(
        lambda p: paper.mse(p, x, x, activation=ERF), start, [0.0, 2.0, 20.0], record=lambda params: params
    )
    theta = []
    for at in range(3):
        j = jacobian(jax.tree.map(lambda leaf, at=at: leaf[at], flow.records), x)
        theta.append(j @ j.T)
    limit = np.kron(np.asarray(tangent_kernels(x, activation=ERF, sigma0=0.7).total), np.eye(3))
    for reference, fixed in ((None, theta[0]), (limit, limit)):
        path = paper.kernel_path(flow.records, x, activation=ERF, reference=reference)
        np.testing.assert_allclose(path.spectral, [np.linalg.norm(t - fixed, 2) for t in theta], atol=1e-12)
        np.testing.assert_allclose(path.frobenius, [np.linalg.norm(t - fixed) for t in theta], atol=1e-12)
        np.testing.assert_allclose(path.smallest, [np.linalg.eigvalsh(t)[0] for t in theta], atol=1e-12)
    assert path.spectral[2] != path.spectral[0]


@functools.partial(jax.jit, static_argnames="width")
def first_changes(keys, x, width):
    """‖Θ̇(0)‖_F² of networks under the flow."""

    def one(key):
        params = paper.init_parameters(key, width, x.shape[1], sigma0=0.7)
        velocity = jax.tree.map(jnp.negative, jax.grad(lambda p: paper.mse(p, x, x, activation=ERF))(params))
        kernel = lambda p: paper.empirical_tangent_kernels(p, x, activation=ERF, outputs="all").total  # noqa: E731
        return jnp.sum(jax.jvp(kernel, (params,), (velocity,))[1] ** 2)

    return jax.lax.map(one, keys)


def test_the_first_change_is_of_order_one_over_m():
    """prop:07-first-change: a mean square of order 1/m², not the 1/m of Lemmas 3 and 4."""
    x, keys = sphere(2, 3, 2), jax.random.split(jax.random.key(3), 200)
    narrow, wide = (float(np.mean(first_changes(keys, x, width))) for width in (64, 1024))
    assert np.log(narrow / wide) / np.log(16) == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize("shape", [(6,), (1, 6), (3, 3)])
def test_a_reference_of_another_shape_is_refused(shape, unchecked):
    net = paper.init_parameters(jax.random.key(1), 4, 2, sigma0=0.7)
    times = jax.tree.map(lambda leaf: leaf[None], net)
    with pytest.raises(ValueError, match=r"expected reference of shape \(6, 6\), got"):
        paper.kernel_path(times, sphere(0, 3, 2), activation=ERF, reference=np.ones(shape))
