"""The objectives against quadrature, Monte Carlo and their closed forms."""

import decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from snn_ntk import paper, stax

ERF = stax.Erf()
SIGMA0 = 0.7


@pytest.fixture
def net():
    return paper.init_parameters(jax.random.key(0), 256, 5, sigma0=SIGMA0)


@pytest.fixture
def x():
    points = jax.random.normal(jax.random.key(1), (7, 5))
    return points / jnp.linalg.norm(points, axis=1, keepdims=True)


def moved(net, scale=0.1):
    keys = jax.random.split(jax.random.key(2), 2)
    return net._replace(
        mu=net.mu + scale * jax.random.normal(keys[0], net.mu.shape),
        sigma=net.sigma + scale * jax.random.normal(keys[1], net.sigma.shape),
    )


def test_mse_is_eq_7(net, x):
    y = jnp.ones_like(x)
    difference = paper.expected_output(net, x, activation=ERF) - y
    expected = sum(float(jnp.sum(row**2)) for row in difference) / (2 * 7)
    assert float(paper.mse(net, x, y, activation=ERF)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("variance", "variance0"), [(1.0, 1.0), (0.3, 1.7), (2.0, 0.5)])
def test_gaussian_kl_is_the_integral(variance, variance0):
    p, q = stats.norm(0.4, variance**0.5), stats.norm(-0.2, variance0**0.5)
    integral, _ = integrate.quad(lambda z: p.pdf(z) * (p.logpdf(z) - q.logpdf(z)), -12, 12)
    value = paper.gaussian_kl(*map(jnp.asarray, (0.4, variance, -0.2, variance0)))
    assert float(value) == pytest.approx(integral, rel=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_kl_keeps_its_digits_at_every_move(dtype):
    """Against 60 digits: the difference of the means, and the ratio of the variances as it comes."""
    moves = [0.0, 1e-9, -1e-6, 1e-4, -1e-3, 0.03, -0.2, 0.249, 0.251, -0.251, 0.9, -0.9, 30.0]
    with jax.enable_x64(dtype == np.float64), decimal.localcontext(prec=60):
        for shift in (0.0, 1e-7, 0.3):
            given = np.array([(shift, 0.7 * (1 + r), 0.0, 0.7) for r in moves], dtype).T
            found = paper.gaussian_kl(*map(jnp.asarray, given))
            assert found.dtype == dtype
            for value, (a, v, a0, v0) in zip(found, given.T, strict=True):
                a, v, a0, v0 = (decimal.Decimal(float(number)) for number in (a, v, a0, v0))
                exact = ((a - a0) ** 2 / v0 + v / v0 - 1 - (v / v0).ln()) / 2
                assert float(value) == pytest.approx(float(exact), rel=30 * float(np.finfo(dtype).eps), abs=1e-30)


@pytest.mark.parametrize("move", ["mu", "sigma"])
def test_kl_of_a_small_move_is_not_rounding(net, x, move):
    step = 1e-4 * jax.random.normal(jax.random.key(3), net.mu.shape)
    new = net._replace(**{move: getattr(net, move) + step})
    mu, sigma, mu0, sigma0, points = (np.asarray(v, np.float64) for v in (new.mu, new.sigma, net.mu, net.sigma, x))
    ratio = (points**2 @ (sigma**2 - sigma0**2).T) / (points**2 @ (sigma0**2).T)
    expected = ((points @ (mu - mu0).T) ** 2 / (points**2 @ (sigma0**2).T) + ratio - np.log1p(ratio)).sum(1) / 2
    np.testing.assert_allclose(paper.kl(new, net, x), expected, rtol=1e-5)


def test_kl_with_fixed_variance_weights_sees_the_data_only(net, x):
    step = 0.1 * jax.random.normal(jax.random.key(3), net.mu.shape)
    value = paper.kl(net._replace(mu=net.mu + step), net, x)
    expected = jnp.sum((x @ step.T) ** 2, axis=1) / (2 * SIGMA0**2)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_kl_is_zero_at_the_start_and_positive_elsewhere(net, x):
    np.testing.assert_array_equal(paper.kl(net, net, x), 0)
    assert float(paper.kl(moved(net), net, x).min()) > 0.1


def test_kl_with_unequal_variances_against_monte_carlo(net, x):
    now = moved(net, 0.3)
    mean, variance = paper.preactivation_law(now, x[:1])
    mean0, variance0 = paper.preactivation_law(net, x[:1])
    z = np.random.default_rng(0).normal(mean, np.sqrt(variance), (4000, net.mu.shape[0]))
    ratio = stats.norm.logpdf(z, mean, np.sqrt(variance)) - stats.norm.logpdf(z, mean0, np.sqrt(variance0))
    samples = ratio.sum(axis=1)
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert abs(float(paper.kl(now, net, x[:1])[0]) - samples.mean()) < 4 * error


def test_sampled_loss_averages_to_eq_7_plus_the_variance(net, x):
    keys = jax.random.split(jax.random.key(4), 400)
    draws = np.asarray(jax.vmap(lambda key: paper.sampled_mse(net, x, x, key, activation=ERF))(keys))
    error = draws.std(ddof=1) / np.sqrt(len(draws))
    exact = float(paper.expected_sampled_mse(net, x, x, activation=ERF))
    assert abs(draws.mean() - exact) < 4 * error
    assert draws.mean() - float(paper.mse(net, x, x, activation=ERF)) > 10 * error


def test_the_variance_term_is_the_limit_of_the_jensen_gap(x):
    wide = paper.init_parameters(jax.random.key(5), 20_000, 5, sigma0=SIGMA0)
    gap = paper.expected_sampled_mse(wide, x, x, activation=ERF) - paper.mse(wide, x, x, activation=ERF)
    q = 1 + SIGMA0**2

    def kappa(c):
        return 2 / np.pi * np.arcsin(2 * c / (1 + 2 * q))

    assert 2 * float(gap) / 5 == pytest.approx(kappa(q) - kappa(1.0), rel=0.03)  # 0.204 for erf
    assert kappa(q) - kappa(1.0) == pytest.approx(0.204, abs=5e-4)


@pytest.mark.parametrize("objective", [paper.kl_objective, paper.frobenius_objective])
def test_the_penalty_enters_with_weight_beta_and_vanishes_at_the_start(objective, net, x):
    start, now = paper.mse(net, x, x, activation=ERF), moved(net)
    assert float(objective(net, net, x, x, activation=ERF, beta=3.0)) == pytest.approx(float(start), abs=1e-3)
    base = float(paper.mse(now, x, x, activation=ERF))
    one, two = (float(objective(now, net, x, x, activation=ERF, beta=b)) - base for b in (1.0, 2.0))
    assert two == pytest.approx(2 * one, rel=1e-4)


def test_frobenius_equals_the_kl_only_for_isotropic_inputs(net):
    step = 0.1 * jax.random.normal(jax.random.key(6), net.mu.shape)
    now = net._replace(mu=net.mu + step)
    penalty = float(paper.frobenius_penalty(now, net))
    isotropic = jnp.eye(5)  # Ĉ = I/5
    ratio = float(jnp.mean(paper.kl(now, net, isotropic))) / penalty
    assert ratio == pytest.approx(1 / (5 * SIGMA0**2), rel=1e-4)
    one = float(jnp.mean(paper.kl(now, net, isotropic[:1])))  # a single input sees a fifth of the step
    assert abs(one / penalty - ratio) > 0.01


@pytest.mark.parametrize("compiled", [False, True])
def test_targets_of_another_shape_are_not_broadcast(unchecked, x, compiled):
    """Targets (n,) beside outputs (n, 1) would make n² differences of n."""
    net, y = paper.init_parameters(jax.random.key(0), 16, 5, 1, sigma0=SIGMA0), x[:, :1]
    calls = [
        lambda y: paper.mse(net, x, y, activation=ERF),
        lambda y: paper.sampled_mse(net, x, y, jax.random.key(1), activation=ERF),
        lambda y: paper.expected_sampled_mse(net, x, y, activation=ERF),
        lambda y: paper.kl_objective(net, net, x, y, activation=ERF, beta=0.1),
        lambda y: paper.frobenius_objective(net, net, x, y, activation=ERF, beta=0.1),
    ]
    for call in map(jax.jit, calls) if compiled else calls:
        assert call(y).shape == ()
        for wrong in (y[:, 0], y[:1], x):
            with pytest.raises(ValueError, match=r"expected y of shape \(7, 1\), got "):
                call(wrong)
