"""Theorems on asymmetrical node scaling against networks: each bound holds, and is tight enough to be exceeded by a near miss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from scipy.integrate import quad

from snn_ntk._neural_tangents import stax
from snn_ntk.activations import ACTIVATION_CONSTANTS
from snn_ntk.datasets import sphere
from snn_ntk.node_scaling import (
    ScaledNetwork,
    init_scaled,
    lemma_d1,
    mean_gram,
    node_movement,
    node_scalings,
    proposition_c1_width,
    residual_bound,
    scaled_output,
    tangent_gram,
    theorem41,
    theorem41_width,
    theorem42,
    theorem42_width,
    theorem51_mean,
    theorem51_size,
    theorem52,
)
from snn_ntk.paper import DegenerateKernelError

RELU = stax.Relu()
ACTIVATIONS = [RELU, jnp.tanh]
X = np.asarray(sphere(jax.random.key(0), 6, 3), np.float64)
Y = np.asarray(jax.random.normal(jax.random.key(1), (6,)), np.float64)


def kappa_n(x, activation):
    return float(np.linalg.eigvalsh(np.asarray(mean_gram(jnp.asarray(x), activation=activation), np.float64))[0])


def within(samples, expected, errors=4.5):
    """Whether the mean of samples (axis 0) is `expected` within so many standard errors, entry by entry."""
    samples = np.asarray(samples, np.float64)
    standard = samples.std(0, ddof=1) / np.sqrt(len(samples))
    return bool((np.abs(samples.mean(0) - expected) <= errors * standard + 1e-6).all())


def networks(scalings, count, *, seed=2, d=3):
    return jax.jit(jax.vmap(lambda key: init_scaled(key, scalings, d)))(jax.random.split(jax.random.key(seed), count))


def velocity(net, activation, y=Y):
    """dw/dt of the flow of ½ ‖f − y‖²."""
    x = jnp.asarray(X, jnp.float32)

    def loss(w):
        return 0.5 * jnp.sum((scaled_output(net._replace(weights=w), x, activation=activation) - jnp.asarray(y)) ** 2)

    return -jax.grad(loss)(net.weights)


@pytest.mark.parametrize("activation", [RELU], ids=["relu"])
def test_expected_residual(activation):
    scalings = node_scalings(40, gamma=0.3, alpha=0.5)

    def one(net):
        return scaled_output(net, jnp.asarray(X, jnp.float32), activation=activation)

    f = jax.jit(jax.vmap(one))(networks(scalings, 1500))
    squares = ((np.asarray(f, np.float64) - Y) ** 2).sum(1)
    expected = residual_bound(X, Y, activation=activation, delta=1.0) ** 2
    assert within(squares, expected)
    assert not within(squares, (Y**2).sum())  # without the initial output
    assert (squares > residual_bound(X, Y, activation=activation, delta=0.2) ** 2).mean() <= 0.2


@pytest.mark.parametrize("activation", [RELU, jax.nn.softplus], ids=["relu", "softplus"])
def test_first_step(activation):
    """Theorem 5.1: the mean over thousands of networks."""
    scalings = node_scalings(5, gamma=0.2, alpha=0.5)
    drawn = networks(scalings, 8_000, seed=3)
    batch = jax.jit(jax.vmap(lambda net: velocity(net, activation)))
    moves = np.asarray(batch(drawn), np.float64)
    opposite = np.asarray(batch(drawn._replace(signs=-drawn.signs)), np.float64)
    mean = theorem51_mean(X, scalings, activation=activation)
    assert within((moves + opposite) / 2, mean)  # opposite signs cancel what the targets do
    assert not within((moves + opposite) / 2, 1.5 * mean)
    assert not within((moves + opposite) / 2, -mean)
    np.testing.assert_allclose(mean[:, 0] / scalings, mean[0, 0] / scalings[0], rtol=1e-12)
    if activation is RELU:
        sizes = theorem51_size(X, Y, scalings, activation=RELU)
        assert within((moves**2).sum(2), sizes**2)
        assert not within((moves**2).sum(2), (1.1 * sizes) ** 2)


def test_no_expected_step_of_odd_activations():
    """σσ' is odd with σ: the mean of Theorem 5.1 vanishes, the step does not."""
    scalings = node_scalings(5, gamma=0.2, alpha=0.5)
    np.testing.assert_allclose(theorem51_mean(X, scalings, activation=jnp.tanh), 0, atol=1e-12)
    moves = jax.jit(jax.vmap(lambda net: velocity(net, jnp.tanh)))(networks(scalings, 4_000, seed=8))
    assert within(moves, 0)
    assert within((np.asarray(moves, np.float64) ** 2).sum(2), theorem51_size(X, Y, scalings, activation=jnp.tanh) ** 2)


def test_first_kernel_change():
    """Theorem 5.2: the mean of dΘ/dt over networks is −Σλ² H; antithetic signs take most of the noise away."""
    scalings = node_scalings(4, gamma=0.2, alpha=0.5)
    x = jnp.asarray(X, jnp.float32)

    def change(net):
        both = (net, net._replace(signs=-net.signs))

        def gram(n):
            return lambda w: tangent_gram(n._replace(weights=w), x, activation=jnp.tanh)

        return sum(jax.jvp(gram(n), (n.weights,), (velocity(n, jnp.tanh),))[1] for n in both) / 2

    changes = np.asarray(jax.jit(jax.vmap(change))(networks(scalings, 10_000, seed=5)), np.float64)
    expected = -(scalings**2).sum() * theorem52(X, activation=jnp.tanh)
    assert within(changes, expected)
    assert not within(changes, 1.5 * expected)
    assert not within(changes, -expected)


def mean_of(function, c):
    """E function(c z) by adaptive quadrature in c z."""
    return quad(
        lambda z: function(z) * stats.norm.pdf(z, scale=c), -40, 40, points=[0], epsabs=0, epsrel=1e-11, limit=500
    )[0]


def tanh_product(z):
    """σ'' σ' σ' σ of tanh."""
    return -2 * np.tanh(z) ** 2 / np.cosh(z) ** 6


def erf_product(z):
    slope = 2 / np.sqrt(np.pi) * np.exp(-(z**2))
    return -2 * z * slope**3 * special.erf(z)


@pytest.mark.parametrize("c", [0.3, 1.0, 3.0, 30.0, 1000.0])
@pytest.mark.parametrize(
    ("activation", "product"), [(jnp.tanh, tanh_product), (stax.Erf(), erf_product)], ids=["tanh", "erf"]
)
def test_kernel_change_of_one_input(activation, product, c):
    expected = 2 * c**4 * mean_of(product, c)
    np.testing.assert_allclose(theorem52(np.array([[c]]), activation=activation), [[expected]], rtol=1e-6)


@pytest.mark.parametrize("size", [1.0, 6.0])
def test_kernel_change_of_three_inputs(size):
    """Opposite inputs and a third: G by adaptive quadrature over the two dimensions that are left."""
    x = size * np.array([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]])
    found = theorem52(x, activation=jnp.tanh)
    inner = x @ x.T / 2
    # An equally spaced rule in the plane of w/√d, where z = w·x/√d: spacing 1/25 of the width of tanh at size 6.
    nodes = np.linspace(-9, 9, 2501)
    w = np.stack(np.meshgrid(nodes, nodes, indexing="ij")).reshape(2, -1)
    weight = np.exp(-(w**2).sum(0) / 2) * (nodes[1] - nodes[0]) ** 2 / (2 * np.pi)
    z = x @ w / np.sqrt(2)
    value = np.tanh(z)
    slope = 1 - value**2
    bend, product = -2 * value * slope, slope * value
    third = np.array([[(weight * bend[i] * slope[j]) @ product.T for j in range(3)] for i in range(3)])
    half = inner * np.einsum("ik,ijk->ij", inner, third)
    np.testing.assert_allclose(found, half + half.T, rtol=1e-6, atol=1e-9 * np.abs(half).max())


def test_what_is_not_resolved_is_refused():
    with pytest.raises(ValueError, match=r"ReLU and two derivatives can be integrated, got .* up to 0\.333"):
        theorem52(X, activation=RELU)
    with pytest.raises(ValueError, match=r"up to 2\.083e"):
        theorem52(2.5e3 * X, activation=jnp.tanh)
    with pytest.raises(ValueError, match="variances up to"):
        residual_bound(X, Y, activation=lambda z: jnp.where(z > 0.1, 1.0, 0.0), delta=1.0)
    with pytest.raises(ValueError, match="without jumps, got sign"):
        theorem51_mean(X, np.full(4, 0.25), activation=jnp.sign)


@pytest.mark.parametrize("c", [0.3, 10.0, 1000.0])
def test_moments_of_one_input(c):
    x, y = np.array([[c]]), np.zeros(1)
    square = 1 - mean_of(lambda z: np.cosh(z) ** -2, c)
    np.testing.assert_allclose(residual_bound(x, y, activation=jnp.tanh, delta=1.0) ** 2, square, rtol=1e-7)
    # The logistic function: σσ' = σ²(1 − σ) and, by symmetry, E σσ' = E σ'/2.
    product = mean_of(lambda z: special.expit(z) * special.expit(-z), c) / 2
    np.testing.assert_allclose(theorem51_mean(x, np.ones(1), activation=jax.nn.sigmoid), [[-c * product]], rtol=1e-7)


def flow(net, activation, steps, rate):
    """Euler's method: weights after all steps, eigenvalues and losses along the way."""
    x, y = jnp.asarray(X, jnp.float32), jnp.asarray(Y, jnp.float32)

    def body(w, _):
        now = net._replace(weights=w)
        loss = 0.5 * jnp.sum((scaled_output(now, x, activation=activation) - y) ** 2)
        return w + rate * velocity(now, activation), (loss, tangent_gram(now, x, activation=activation), w)

    return jax.lax.scan(body, net.weights, length=steps)[1]


@pytest.mark.parametrize(("activation", "name"), [(RELU, "ReLU"), (jnp.tanh, "tanh")], ids=["relu", "tanh"])
def test_bounds_hold_on_a_trajectory(activation, name):
    """Far below the sufficient width, and yet nothing exceeds what the theorems promise."""
    gamma, m, rate, steps = 0.4, 800, 0.25, 600
    scalings = node_scalings(m, gamma=gamma, alpha=0.5)
    net = init_scaled(jax.random.key(6), scalings, 3)
    losses, grams, weights = jax.jit(lambda n: flow(n, activation, steps, rate))(net)
    residual = float(np.sqrt(2 * losses[0]))
    smallest = np.linalg.eigvalsh(np.asarray(grams, np.float64))[:, 0]
    choices = dict(gamma=gamma, kappa_n=kappa_n(X, activation), residual=residual, delta=0.1)
    if name == "ReLU":
        bounds = theorem41(X, scalings, **choices)
    else:
        bounds = theorem42(X, scalings, **choices, constants="tanh")
    times = rate * np.arange(steps)
    assert (np.log(losses / losses[0]) <= -bounds.rate * times + 1e-3).all()
    assert smallest.min() >= bounds.eigenvalue
    moved = np.asarray(node_movement(weights[-1], net.weights), np.float64)
    assert (moved <= bounds.movement).all()
    assert np.linalg.norm(grams[-1] - grams[0], 2) <= bounds.kernel_change
    assert (moved <= lemma_d1(X, scalings, residual=residual, eigenvalue=float(smallest.min()))).all()


def test_the_movement_bound_is_attained():
    """One input, one active ReLU: the node moves exactly as far as the lemma allows."""
    x, scalings = jnp.array([[0.6, 0.8]]), jnp.array([0.7, 0.3])
    net = ScaledNetwork(jnp.array([[1.0, 1.0], [-1.0, -1.0]]), jnp.ones(2), scalings)
    residual = 2.0 - float(scaled_output(net, x)[0])
    bound = lemma_d1(x, scalings, residual=residual, eigenvalue=0.7 / 2)
    # f = √(λ/2) w·x, so w must move by residual/√(λ/2) along the unit vector x
    np.testing.assert_allclose(bound[0], residual / np.sqrt(0.35), rtol=1e-6)


def test_initial_eigenvalue():
    """Proposition C.1 at its own width: it fails less often than δ; with two nodes, with probability 1 − (3/4)³."""
    activation, x = RELU, np.eye(3)
    k, delta = kappa_n(x, activation), 0.5

    def share_below(m):
        nets = networks(np.full(m, 1 / m), 60, seed=7)
        grams = jax.jit(jax.vmap(lambda n: tangent_gram(n, jnp.asarray(x, jnp.float32), activation=activation)))(nets)
        return (np.linalg.eigvalsh(np.asarray(grams, np.float64))[:, 0] < k / 2).mean()

    width = proposition_c1_width(x, kappa_n=k, delta=delta)
    assert share_below(int(width) + 1) <= delta
    assert share_below(2) > 0.4


def test_sufficient_widths_suffice():
    constants = ACTIVATION_CONSTANTS["tanh"]
    for gamma, alpha in ((1.0, None), (0.5, 0.5)):
        kwargs = dict(gamma=gamma, kappa_n=0.3, residual=0.1, delta=0.1)
        x = np.eye(2)
        m = int(theorem42_width(x, **kwargs, constants=constants)) + 1
        assert theorem42(x, node_scalings(m, gamma=gamma, alpha=alpha), **kwargs, constants=constants).applies
        m = int(theorem41_width(x, **kwargs)) + 1
        assert theorem41(x, node_scalings(m, gamma=gamma, alpha=alpha), **kwargs).applies
        assert not theorem41(x, node_scalings(20, gamma=gamma, alpha=alpha), **kwargs).applies


def test_bounds_vanish_only_without_asymmetry():
    """Parts (c) and (d) as m → ∞: the kernel's bound goes to 0 at γ = 1 and to a constant below."""

    def change(m, gamma):
        scalings = node_scalings(m, gamma=gamma, alpha=0.5)
        return theorem42(X, scalings, gamma=gamma, kappa_n=0.1, residual=1.0, delta=0.1, constants="tanh").kernel_change

    assert change(10**6, 1.0) < 0.05 * change(10**3, 1.0)
    assert change(10**6, 0.5) > 0.9 * change(10**3, 0.5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"gamma": 0.0}, ValueError, "0 < gamma"),
        ({"kappa_n": 0.0}, DegenerateKernelError, "kappa_n > 0"),
        ({"kappa_n": np.inf}, DegenerateKernelError, "finite kappa_n > 0"),
        ({"delta": 1.0}, ValueError, "0 < delta < 1"),
        ({"residual": np.nan}, ValueError, "finite residual >= 0"),
        ({"residual": np.inf}, ValueError, "finite residual >= 0"),
        ({"residual": -1.0}, ValueError, "finite residual >= 0"),
    ],
)
def test_bad_arguments(change, error, message):
    choices = dict(gamma=0.5, kappa_n=0.1, residual=1.0, delta=0.1) | change
    with pytest.raises(error, match=message):
        theorem41(X, np.full(4, 0.25), **choices)
    with pytest.raises(error, match=message):
        theorem41_width(X, **choices)
    with pytest.raises(error, match=message):
        theorem42(X, np.full(4, 0.25), **choices, constants="tanh")
    with pytest.raises(error, match=message):
        theorem42_width(X, **choices, constants="tanh")


def test_bad_data():
    choices = dict(gamma=0.5, kappa_n=0.1, residual=1.0, delta=0.1)
    with pytest.raises(ValueError, match="sum 1"):
        theorem41(X, np.ones(4), **choices)
    with pytest.raises(ValueError, match="non-zero rows"):
        theorem41_width(np.zeros((2, 2)), **choices)
    with pytest.raises(ValueError, match="got 'cosh'"):
        theorem42_width(X, **choices, constants="cosh")
    with pytest.raises(ValueError, match="eigenvalue > 0"):
        lemma_d1(X, np.ones(1), residual=1.0, eigenvalue=0.0)
    with pytest.raises(ValueError, match="0 < delta <= 1"):
        residual_bound(X, Y, activation=RELU, delta=0.0)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_numbers_that_are_no_sizes(bad):
    with pytest.raises(ValueError, match="finite eigenvalue > 0"):
        lemma_d1(X, np.ones(1), residual=1.0, eigenvalue=bad)
    with pytest.raises(ValueError, match="finite residual >= 0"):
        lemma_d1(X, np.ones(1), residual=bad, eigenvalue=1.0)
    with pytest.raises(ValueError, match="finite L >= 0"):
        lemma_d1(X, np.ones(1), residual=1.0, eigenvalue=1.0, L=bad)
    with pytest.raises(ValueError, match="finite L >= 0"):
        proposition_c1_width(X, kappa_n=0.1, delta=0.1, L=bad)


def test_a_residual_of_zero_asks_for_the_first_eigenvalue_alone():
    choices = dict(gamma=0.5, kappa_n=0.1, residual=0.0, delta=0.1)
    assert theorem42_width(X, **choices, constants="tanh") == proposition_c1_width(X, kappa_n=0.1, delta=0.05)
    assert theorem41(X, np.full(4, 0.25), **choices).movement.tolist() == [0.0] * 4


@pytest.mark.parametrize("wrong", [Y[:, None], Y[:1], np.append(Y, 1.0), np.outer(Y, Y)])
def test_targets_are_one_for_each_input(wrong):
    with pytest.raises(ValueError, match=r"expected y of shape \(6,\), got"):
        residual_bound(X, wrong, activation=RELU, delta=1.0)
    with pytest.raises(ValueError, match=r"expected y of shape \(6,\), got"):
        theorem51_size(X, wrong, np.full(6, 1 / 6), activation=RELU)
