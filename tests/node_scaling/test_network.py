"""Node scalings, the scaled network, its tangent kernels, pruning and transfer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import node_scaling, stax
from snn_ntk.activations import resolve
from snn_ntk.datasets import sphere
from snn_ntk.node_scaling import ScaledNetwork
from snn_ntk.ntk import first_layer_gram


@pytest.fixture(scope="module")
def net():
    lambdas = node_scaling.node_scalings(64, gamma=0.3, alpha=0.5)
    return node_scaling.init_scaled(jax.random.key(0), lambdas, 4)


@pytest.fixture(scope="module")
def x():
    return sphere(jax.random.key(1), 6, 4)


@pytest.mark.parametrize(("gamma", "alpha"), [(1.0, None), (0.5, 0.7), (0.2, 0.5), (0.0, 0.4)])
def test_scalings_add_up_to_one_and_split_into_their_parts(gamma, alpha):
    m = 1000
    lambdas = node_scaling.node_scalings(m, gamma=gamma, alpha=alpha)
    assert lambdas.shape == (m,)
    assert lambdas.sum() == pytest.approx(1, abs=1e-12)
    rest = lambdas - gamma / m
    if alpha is not None:
        np.testing.assert_allclose(rest / rest[0], np.arange(1, m + 1) ** (-1 / alpha), rtol=1e-9)
        assert rest.sum() == pytest.approx(1 - gamma, abs=1e-12)


def test_counting_from_zero_moves_every_scale_to_the_next_node_and_drops_the_last():
    paper = node_scaling.node_scalings(50, gamma=0.5, alpha=0.7, normalised=False)
    published = node_scaling.node_scalings(50, gamma=0.5, alpha=0.7, first=0, normalised=False)
    np.testing.assert_allclose(published[1:], paper[:-1], rtol=1e-12)
    assert published[0] == pytest.approx(0.5 / 50)


def test_masses_that_are_not_normalised_miss_the_tail():
    lambdas = node_scaling.node_scalings(2000, gamma=0.0, alpha=0.7, first=0, normalised=False)
    assert lambdas.sum() == pytest.approx(0.97, abs=0.005)
    assert lambdas.sum() < 1 - 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.5}, "gamma between 0 and 1"),
        ({"gamma": -0.1}, "gamma"),
        ({"gamma": 0.5}, "alpha between 0 and 1"),
        ({"gamma": 0.5, "alpha": 1.0}, "alpha between 0 and 1"),
        ({"gamma": 0.5, "alpha": 0.5, "first": 2}, "first to be 0 or 1"),
    ],
)
def test_bad_scalings_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        node_scaling.node_scalings(10, **options)
    with pytest.raises(ValueError, match="m >= 1"):
        node_scaling.node_scalings(0, gamma=1.0)


@pytest.mark.parametrize("alpha", np.linspace(0.1, 0.9, 9))
def test_the_second_moment_is_the_sum_over_the_zipf_law(alpha):
    def summed(exponent, terms=10**5):
        """Σ j^{-s} term by term, the tail by Euler and Maclaurin."""
        n = float(terms)
        tail = n ** (1 - exponent) / (exponent - 1) + n**-exponent / 2 + exponent * n ** (-exponent - 1) / 12
        return np.sum(np.arange(1, terms, dtype=np.float64) ** -exponent) + tail

    assert node_scaling.zipf_second_moment(alpha) == pytest.approx(summed(2 / alpha) / summed(1 / alpha) ** 2, rel=1e-9)


def test_the_second_moment_is_that_of_the_masses_and_falls_with_alpha():
    masses = node_scaling.node_scalings(200_000, gamma=0.0, alpha=0.5, normalised=False)
    assert node_scaling.zipf_second_moment(0.5) == pytest.approx((masses**2).sum(), rel=1e-6)
    assert (
        node_scaling.zipf_second_moment(0.3)
        > node_scaling.zipf_second_moment(0.5)
        > node_scaling.zipf_second_moment(0.8)
    )


def test_the_output_is_the_sum_over_nodes(net, x):
    by_hand = sum(
        float(jnp.sqrt(net.scalings[j]) * net.signs[j]) * np.maximum(np.asarray(x) @ np.asarray(net.weights[j]) / 2, 0)
        for j in range(64)
    )
    np.testing.assert_allclose(node_scaling.scaled_output(net, x), by_hand, atol=2e-6)


def test_several_outputs_share_the_features(x):
    net = node_scaling.init_scaled(jax.random.key(2), np.full(16, 1 / 16), 4, outputs=3)
    found = node_scaling.scaled_output(net, x)
    assert found.shape == (6, 3)
    for k in range(3):
        one = net._replace(signs=net.signs[:, k])
        np.testing.assert_allclose(found[:, k], node_scaling.scaled_output(one, x), atol=1e-6)


@pytest.mark.parametrize("activation", [stax.Relu(), jnp.tanh])
def test_the_gram_matrix_is_that_of_the_gradients(net, x, activation):
    def gradient(point):
        def value(w):
            return node_scaling.scaled_output(net._replace(weights=w), point[None], activation=activation)[0]

        return jax.grad(value)(net.weights).ravel()

    jacobian = jax.vmap(gradient)(x)
    np.testing.assert_allclose(
        node_scaling.tangent_gram(net, x, activation=activation), jacobian @ jacobian.T, atol=1e-6
    )
    np.testing.assert_allclose(
        node_scaling.tangent_gram(net, x, x[:2], activation=activation), jacobian @ jacobian[:2].T, atol=1e-6
    )


@pytest.mark.parametrize(("activation", "variance"), [(stax.Relu(), 1.0), (stax.Relu(), 2.0), (jnp.tanh, 2.0)])
def test_mean_and_variance_of_one_node_against_monte_carlo(x, activation, variance):
    nodes, blocks = 20_000, 10
    drawn = node_scaling.init_scaled(jax.random.key(3), np.ones(nodes), 4, variance=variance)
    slopes = jax.vmap(jax.vmap(jax.grad(lambda h: resolve(activation).phi(h))))(x @ drawn.weights.T / 2)
    entries = (x @ x.T / 4)[:, :, None] * slopes[:, None] * slopes[None]
    parts = np.asarray(entries, np.float64).reshape(6, 6, blocks, -1)
    for exact, estimates in (
        (node_scaling.mean_gram(x, activation=activation, variance=variance), parts.mean(-1)),
        (node_scaling.gram_variance(x, activation=activation, variance=variance), parts.var(-1)),
    ):
        error = estimates.std(-1, ddof=1) / blocks**0.5
        assert (np.abs(estimates.mean(-1) - np.asarray(exact)) <= 6 * error + 1e-6).all()
        # The check must be able to fail: a tenth more is far outside.
        assert (np.abs(estimates.mean(-1) - 1.1 * np.asarray(exact)) > 6 * error).any()


def test_the_relu_mean_gram_is_the_arc_cosine_kernel(x):

    # The angle of a point with itself is 0 up to √ of a rounding.
    np.testing.assert_allclose(node_scaling.mean_gram(x), first_layer_gram(x) / 4, atol=1e-4)
    np.testing.assert_allclose(node_scaling.mean_gram(x, variance=2.0), first_layer_gram(x) / 4, atol=1e-4)


def test_the_limiting_gram_matrix_has_the_mean_and_the_variance_of_proposition_33(x):
    keys = jax.random.split(jax.random.key(4), 1000)
    draws = jax.vmap(lambda key: node_scaling.limiting_gram(key, x, gamma=0.2, alpha=0.5, nodes=128))(keys)
    draws = np.asarray(draws, np.float64)
    mean = np.asarray(node_scaling.mean_gram(x), np.float64)
    assert np.abs(draws.mean(0) - mean).max() < 6 * draws.std(0).max() / 1000**0.5
    factor = 0.8**2 * node_scaling.zipf_second_moment(0.5)
    total = factor * float(node_scaling.gram_variance(x).sum())
    assert ((draws - mean) ** 2).sum((1, 2)).mean() == pytest.approx(total, rel=0.1)
    assert np.linalg.eigvalsh(draws).min() > -1e-6
    fixed = node_scaling.limiting_gram(jax.random.key(0), x, gamma=1.0)
    np.testing.assert_allclose(fixed, mean, atol=1e-7)


def test_pruning_takes_the_smallest_scales_first_and_ties_by_number(net, x):
    order = node_scaling.pruning_order(net)
    assert sorted(order.tolist()) == list(range(64))
    assert (np.diff(np.asarray(net.scalings)[order]) >= 0).all()
    tied = net._replace(scalings=jnp.full(64, 1 / 64))
    assert node_scaling.pruning_order(tied).tolist() == list(range(64))


def test_a_pruned_network_is_the_network_with_scales_set_to_zero(net, x):
    y = jnp.arange(6.0)
    removed = [0, 10, 63, 64]
    found = node_scaling.pruned_risk(net, x, y, removed)
    for k, value in zip(removed, found, strict=True):
        scales = np.array(net.scalings)
        scales[node_scaling.pruning_order(net)[:k]] = 0
        assert value == pytest.approx(
            float(node_scaling.risk(net._replace(scalings=jnp.asarray(scales)), x, y)), rel=1e-5
        )
    assert found[-1] == pytest.approx(float(jnp.mean(y**2)))
    with pytest.raises(ValueError, match="between 0 and 64 removed nodes"):
        node_scaling.pruned_risk(net, x, y, [65])


def test_targets_of_another_shape_are_not_broadcast(net, x, unchecked):
    y = jnp.arange(6.0)
    two = net._replace(signs=jnp.stack([net.signs, -net.signs], axis=1))
    for network, wrong in ((net, y[:, None]), (net, y[:1]), (two, y), (two, y[:, None]), (two, y[:2])):
        for call in (
            lambda y, network=network: node_scaling.risk(network, x, y),
            jax.jit(lambda y, network=network: node_scaling.risk(network, x, y)),
            lambda y, network=network: node_scaling.pruned_risk(network, x, y, [0, 3]),
        ):
            with pytest.raises(ValueError, match=r"expected y of shape \(6,.*\), got \("):
                call(wrong)


@pytest.mark.parametrize("variance", [-1.0, np.nan])
def test_a_variance_that_is_none_is_refused(x, variance):
    for function in (node_scaling.mean_gram, node_scaling.gram_variance):
        with pytest.raises(ValueError, match="variance >= 0"):
            function(x, variance=variance)


def test_transferred_features_reassemble_the_output(net, x):
    features = node_scaling.transfer_features(net, x, 64)
    order = np.argsort(-np.asarray(net.scalings), kind="stable")
    np.testing.assert_allclose(features @ net.signs[order], node_scaling.scaled_output(net, x), atol=2e-6)
    plain = node_scaling.transfer_features(net, x, 3, scaled=False)
    np.testing.assert_allclose(features[:, :3], plain * jnp.sqrt(net.scalings[order[:3]]), rtol=1e-6)
    with pytest.raises(ValueError, match="between 1 and 64 features"):
        node_scaling.transfer_features(net, x, 65)


def test_movement_is_one_distance_a_node(net):
    moved = net.weights.at[3].add(jnp.array([3.0, 0.0, 4.0, 0.0]))
    distances = node_scaling.node_movement(moved, net.weights)
    assert distances[3] == pytest.approx(5, rel=1e-5)
    assert float(jnp.delete(distances, 3).max()) == 0


def test_signs_and_weights_at_initialisation():
    drawn = node_scaling.init_scaled(jax.random.key(5), np.full(4000, 1 / 4000), 5, variance=2.0)
    assert set(np.unique(drawn.signs)) == {-1.0, 1.0}
    assert abs(float(drawn.signs.mean())) < 4 / 4000**0.5
    assert float(drawn.weights.var()) == pytest.approx(2.0, rel=4 * (2 / 20_000) ** 0.5)
    with pytest.raises(ValueError, match="non-negative scalings"):
        node_scaling.init_scaled(jax.random.key(0), np.array([-1.0]), 3)
    assert isinstance(drawn, ScaledNetwork)
