"""Integers are the floats that they are: what squares them in their own type does so modulo 256, or 65,536."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import node_scaling, ntk, paper, stax

X = np.array([[3, 250, 17, 40], [90, 2, 130, 201], [255, 20, 77, 8]])
ERF, KEY = stax.Erf(), jax.random.key(0)
SCALINGS = np.full(6, 1 / 6)
NET = paper.init_parameters(KEY, 6, 4, 1, sigma0=0.5)
MOVED = paper.init_parameters(jax.random.key(1), 6, 4, 1, sigma0=0.7)
SCALED = node_scaling.init_scaled(KEY, SCALINGS, 4)
TWO, LATER = ntk.init_two_layer(KEY, 6, 4), ntk.init_two_layer(jax.random.key(1), 6, 4)
MLP = ntk.init_mlp(KEY, (4, 6, 1))
FIGURE2 = paper.init_figure2(KEY, 6, 4, 2)
RUNS = jax.tree.map(lambda leaf: leaf[None], NET)


def figure2_problem(x):
    problem = paper.draw_figure2_problem(KEY, x, x[:, :2], width=6, activation=jnp.tanh, sigma0=0.5)
    return problem.targets, problem.noise, problem.sigma0


CALLS = {
    "ntk.relu_ntk": ntk.relu_ntk,
    "ntk.first_layer_gram": lambda x: ntk.first_layer_gram(x, x[:2]),
    "ntk.recursion": lambda x: ntk.recursion(x, depth=2),
    "ntk.recursion of two sets": lambda x: ntk.recursion(x, x[:2], depth=2),
    "ntk.relu_dual": lambda x: ntk.relu_dual(x[0], x[1], x[2]),
    "ntk.erf_dual": lambda x: ntk.erf_dual(x[0, 0], x[1], x[2]),
    "ntk.feature_map": lambda x: ntk.feature_map(x, hidden=1),
    "ntk.feature_distances": lambda x: ntk.feature_distances(x[:2], x[1:]),
    "ntk.phi0_bound": lambda x: ntk.phi0_bound(x[:2], x[1:]),
    "ntk.phi_bound": lambda x: ntk.phi_bound(x[:2], x[1:]),
    "ntk.two_layer_output": lambda x: ntk.two_layer_output(TWO, x),
    "ntk.two_layer_gram": lambda x: ntk.two_layer_gram(TWO, x),
    "ntk.pull_back": lambda x: ntk.pull_back(TWO, x, x[:, 0]),
    "ntk.jacobian_change": lambda x: ntk.jacobian_change(LATER, TWO, x),
    "ntk.gradient_step": lambda x: ntk.gradient_step(TWO, x, x[:, 0], learning_rate=0.1),
    "ntk.natural_gradient_step": lambda x: ntk.natural_gradient_step(TWO, x, x[:, 0], learning_rate=0.1),
    "ntk.online_logistic": lambda x: ntk.online_logistic(TWO, x, x[:, 0] // x[:, 0], learning_rate=0.1),
    "ntk.mlp_output": lambda x: ntk.mlp_output(MLP, x),
    "ntk.layer_kernels": lambda x: ntk.layer_kernels(MLP, x),
    "ntk.generalisation_bound": lambda x: ntk.generalisation_bound(jnp.diag(x[0]), x[1]),
    "ntk.predicted_loss": lambda x: ntk.predicted_loss(jnp.diag(x[0]), x[1], 2, learning_rate=0.1),
    "ntk.rademacher_linearised": lambda x: ntk.rademacher_linearised(jnp.diag(x[0]), 1.0, x[1:] // x[1:]),
    "ntk.rademacher_ascent": lambda x: ntk.rademacher_ascent(TWO, x, x[:, 0] // x[:, 0], 1.0, 1.0),
    "paper.gaussian_kl": lambda x: paper.gaussian_kl(x[0], x[1], x[1], x[2]),
    "paper.kl": lambda x: paper.kl(MOVED, NET, x),
    "paper.mse": lambda x: paper.mse(NET, x, x[:, :1], activation=ERF),
    "paper.expected_output": lambda x: paper.expected_output(NET, x, activation=ERF),
    "paper.empirical_tangent_kernels": lambda x: paper.empirical_tangent_kernels(NET, x, activation=ERF),
    "paper.whitened_product": lambda x: paper.whitened_product(x, x),
    "paper.exact_kl_kernel": lambda x: paper.exact_kl_kernel(x, x, activation=ERF, sigma0=0.5),
    "paper.path_averaged_kernel": lambda x: paper.path_averaged_kernel(NET, MOVED, x[:2], x, activation=ERF),
    "paper.figure2_limit_kernels": lambda x: paper.figure2_limit_kernels(x, activation=stax.Relu()),
    "paper.latent_law": lambda x: paper.latent_law(FIGURE2, x, activation=jnp.tanh, sigma0=0.5),
    "paper.draw_figure2_problem": figure2_problem,
    "paper.stationary_point": lambda x: (
        paper.stationary_point(RUNS, x[None], x[None, :, :1], activation=ERF, sigma0=0.5, beta=0.5, max_steps=1).params
    ),
    "node_scaling.scaled_output": lambda x: node_scaling.scaled_output(SCALED, x),
    "node_scaling.risk": lambda x: node_scaling.risk(SCALED, x, x[:, 0]),
    "node_scaling.tangent_gram": lambda x: node_scaling.tangent_gram(SCALED, x, x[:2]),
    "node_scaling.mean_gram": lambda x: node_scaling.mean_gram(x, x[:2]),
    "node_scaling.gram_variance": node_scaling.gram_variance,
    "node_scaling.limiting_gram": lambda x: node_scaling.limiting_gram(KEY, x, gamma=0.5, alpha=0.5, nodes=6),
    "node_scaling.scaled_tangent_kernels": lambda x: node_scaling.scaled_tangent_kernels(
        NET, SCALINGS, x, activation=ERF
    ),
    "node_scaling.node_variance": lambda x: node_scaling.node_variance(x[:2] // 250, activation=ERF, sigma0=0.5),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
@pytest.mark.parametrize("name", CALLS)
def test_integers_are_the_floats_that_they_are(name, dtype):
    x = X[[0, 2]] if name.endswith("node_variance") else X
    found, expected = (jax.tree.leaves(CALLS[name](jnp.asarray(x, kind))) for kind in (dtype, jnp.float32))
    for ours, theirs in zip(found, expected, strict=True):
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * float(np.abs(theirs).max()))


def test_a_kernel_of_bytes_by_hand():
    """⟨x, x⟩/d · 1/2 for x = (20, 20): 400/2, where 20² is 144 in a byte."""
    assert node_scaling.mean_gram(jnp.full((1, 2), 20, jnp.uint8)).tolist() == [[200.0]]
