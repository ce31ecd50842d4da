"""The deterministic network: the layer-wise kernels against neural-tangents, autodiff and Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import nt, stax
from snn_ntk.activations import dual_derivatives
from snn_ntk.ntk import (
    MLP,
    erf_dual,
    feature_map,
    init_mlp,
    layer_kernels,
    mlp_output,
    principal_components,
    recursion,
    relu_dual,
    tangent_kernel_row,
)

POINTS = jax.random.normal(jax.random.key(1), (6, 3))


def reference(depth, activation, W_std, b_std):
    layers = [stax.Dense(16, W_std=W_std, b_std=b_std)]
    for _ in range(depth - 1):
        layers += [activation, stax.Dense(1, W_std=W_std, b_std=b_std)]
    return stax.serial(*layers)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize(("W_std", "b_std"), [(1.0, 0.1), (1.4, 0.0)])
def test_recursion_is_neural_tangents(depth, W_std, b_std):
    other = jax.random.normal(jax.random.key(2), (4, 3))
    kernel_fn = reference(depth, stax.Relu(), W_std, b_std)[2]
    for x2 in (None, other):
        expected = kernel_fn(POINTS, x2, ("nngp", "ntk"))
        last = recursion(POINTS, x2, depth=depth, W_std=W_std, b_std=b_std)[-1]
        np.testing.assert_allclose(last.nngp, expected.nngp, rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(last.ntk, expected.ntk, rtol=2e-4, atol=2e-5)


def test_recursion_with_erf_is_neural_tangents():
    expected = reference(4, stax.Erf(), 1.4, 0.1)[2](POINTS, None, ("nngp", "ntk"))
    last = recursion(POINTS, depth=4, dual=erf_dual, W_std=1.4, b_std=0.1)[-1]
    np.testing.assert_allclose(last.nngp, expected.nngp, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(last.ntk, expected.ntk, rtol=2e-4, atol=2e-5)


def test_recursion_layers_are_cut_networks():
    layers = recursion(POINTS, depth=4, b_std=0.1)
    for depth, layer in enumerate(layers, start=1):
        np.testing.assert_allclose(layer.ntk, recursion(POINTS, depth=depth, b_std=0.1)[-1].ntk, rtol=1e-6)
    assert not np.allclose(layers[2].ntk, layers[3].ntk, rtol=0.05)


@pytest.mark.parametrize("phi", [pytest.param(jax.nn.relu, marks=pytest.mark.heavy), jnp.tanh])
def test_layer_kernels_are_jacobian_products(phi):
    net = init_mlp(jax.random.key(0), (3, 20, 12, 1))
    options = {"phi": phi, "W_std": 1.3, "b_std": 0.2}
    jacobian = jax.jacobian(lambda p: mlp_output(p, POINTS, **options)[:, 0])(net)
    shares = layer_kernels(net, POINTS, **options)
    for h in range(3):
        w, b = (j.reshape(6, -1) for j in (jacobian.weights[h], jacobian.biases[h]))
        np.testing.assert_allclose(shares[h], w @ w.T + b @ b.T, rtol=1e-4, atol=1e-5)
    row = tangent_kernel_row(lambda p, x: mlp_output(p, x, **options), net, POINTS[2], POINTS)
    np.testing.assert_allclose(row, shares.sum(0)[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer_kernels(net, POINTS[:2], POINTS, **options), shares[:, :2], rtol=1e-4, atol=1e-5)


def test_output_and_kernel_are_those_of_neural_tangents():
    init_fn, apply_fn, _ = stax.serial(
        stax.Dense(20, b_std=0.1),
        stax.Relu(),
        stax.Dense(20, b_std=0.1),
        stax.Relu(),
        stax.Dense(1, b_std=0.1),
    )
    _, theirs = init_fn(jax.random.key(3), POINTS.shape)
    # A neural-tangents weight is (n_in, n_out), a bias (1, n_out); activations carry empty parameters.
    dense = [layer for layer in theirs if layer]
    ours = MLP(tuple(w.T for w, _ in dense), tuple(b.ravel() for _, b in dense))
    np.testing.assert_allclose(mlp_output(ours, POINTS, b_std=0.1), apply_fn(theirs, POINTS), rtol=1e-5, atol=1e-6)
    expected = nt.empirical_ntk_fn(apply_fn)(POINTS, None, theirs)
    np.testing.assert_allclose(layer_kernels(ours, POINTS, b_std=0.1).sum(0), expected, rtol=1e-4, atol=1e-5)


def test_finite_kernel_has_the_limit_as_mean():
    x = jnp.sqrt(2.0) * jnp.asarray([[1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]])
    keys = jax.random.split(jax.random.key(4), 400)
    kernels = jax.vmap(lambda k: layer_kernels(init_mlp(k, (2, 128, 128, 1)), x, b_std=0.1).sum(0))(keys)
    limit = np.asarray(recursion(x, depth=3, b_std=0.1)[-1].ntk)
    # Four standard errors, plus 1/width of the largest entry for the finite width's own bias. This allowance is
    # under a tenth of every variance, so a layer left out or a wrong constant is seen.
    allowance = 4 * kernels.std(0, ddof=1) / np.sqrt(len(keys)) + limit.max() / 128
    assert np.all(np.abs(kernels.mean(0) - limit) < allowance)
    assert np.all(np.diag(allowance) < 0.1 * np.diag(limit))


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_feature_map_has_the_kernel_as_inner_product(hidden):
    features = feature_map(POINTS, hidden=hidden)
    # c_σ = 2 is W_std = √2 after the first layer; undo the 1/d of the input layer.
    layers = recursion(np.sqrt(POINTS.shape[1] / 2) * POINTS, depth=hidden + 1, W_std=np.sqrt(2))
    # κ0 has a square-root singularity at equal points: rounding by ε moves it by √ε = 3e-4.
    np.testing.assert_allclose(features @ features.T, layers[-1].ntk, rtol=2e-3, atol=1e-4)


def test_principal_components_solve_the_eigenproblem():
    kernel = recursion(POINTS, depth=3, b_std=0.1)[-1].ntk
    values, functions = principal_components(kernel, 3)
    np.testing.assert_allclose(kernel @ functions / 6, functions * values, atol=1e-5)
    np.testing.assert_allclose(functions.T @ functions / 6, np.eye(3), atol=1e-5)
    assert np.all(np.diff(values) < 0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        init_mlp(jax.random.key(0), (3,))
    with pytest.raises(ValueError, match="positive depth"):
        recursion(POINTS, depth=0)
    with pytest.raises(ValueError, match="one output"):
        layer_kernels(init_mlp(jax.random.key(0), (3, 4, 2)), POINTS)
    with pytest.raises(ValueError, match="non-negative"):
        feature_map(POINTS, hidden=-1)
    with pytest.raises(ValueError, match="count >= 1, got 0"):
        principal_components(np.eye(3), 0)
    with pytest.raises(ValueError, match="count of at most 3, got 4"):
        principal_components(np.eye(3), 4)
    assert principal_components(np.eye(3), 3)[0].shape == (3,)


def test_relu_of_nothing():
    """No variance, no kernel; φ'(0) = 1/2 is the step's mean of its two sides."""
    value, slope = relu_dual(jnp.zeros(3), jnp.asarray([0.0, 0.0, 2.0]), jnp.asarray([0.0, 2.0, 0.0]))
    assert value.tolist() == [0.0] * 3
    assert slope.tolist() == [0.25] * 3
    np.testing.assert_array_equal(slope, dual_derivatives(stax.Relu(), 0.0, jnp.asarray([0.0, 0.0, 2.0]), 2.0)[1])
    small = jnp.float32(1e-25)  # whose square is 0
    np.testing.assert_allclose(relu_dual(small, small, small), [0.5e-25, 0.5], rtol=1e-6)


def test_a_row_of_zeros_has_a_kernel_of_zeros():
    x = POINTS.at[2].set(0)
    for layer, other in zip(recursion(x, depth=3), recursion(x, x, depth=3), strict=True):
        for kernel in (layer.nngp, layer.ntk, other.ntk):
            assert (kernel[2] == 0).all()
            assert (kernel[:, 2] == 0).all()
            assert (jnp.diagonal(kernel)[:2] > 0).all()
    gradient = jax.grad(lambda x: recursion(x, depth=3)[-1].ntk.sum())(x)
    assert np.isfinite(gradient).all()


def test_erf_keeps_its_digits_at_any_variance():
    """E φ'(a)² = (4/π)/√(1 + 4q): 4c² is taken from (1 + 2q)², in which float32 loses the 1 + 4q."""
    for q in (1.0, 1e4, 1e8, 1e12):
        value, slope = erf_dual(*[jnp.float32(q)] * 3)
        np.testing.assert_allclose(slope, 4 / np.pi / np.sqrt(1 + 4 * q), rtol=1e-6)
        np.testing.assert_allclose(1 - value, 2 / np.pi * np.arccos(2 * q / (1 + 2 * q)), atol=2e-7)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_recursion_with_erf_tells_no_input_from_itself(scale):
    x = np.asarray(scale * POINTS)
    with jax.enable_x64(True):
        exact = np.asarray(recursion(jnp.asarray(x, jnp.float64), depth=2, dual=erf_dual)[-1].ntk)
    np.testing.assert_allclose(recursion(jnp.asarray(x), depth=2, dual=erf_dual)[-1].ntk, exact, rtol=1e-5)


def test_an_input_of_zeros_has_features_of_zeros():
    x = jnp.array([[0.6, 0.8], [0.0, 0.0], [1.0, 0.0]])
    features, others = feature_map(x, hidden=2), feature_map(x[::2], hidden=2)
    np.testing.assert_allclose(features[1], 0, atol=1e-6)
    np.testing.assert_allclose((features @ features.T)[::2, ::2], others @ others.T, atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_kernel_that_is_not_finite_is_named(bad):
    with pytest.raises(ValueError, match="finite values in kernel"):
        principal_components(np.array([[1.0, bad], [bad, 1.0]]))
