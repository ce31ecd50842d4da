"""The constants of the bounds, one by one: each is where a tail has its share of δ, or what an extreme case attains."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from snn_ntk import paper
from snn_ntk.activations import ActivationConstants

DELTA, M = 0.03, 700.0
# No two numbers are alike, so that none can stand for another. Much noise takes the other branch of a neuron's bound.
LITTLE = paper.Setting(
    n=5,
    d=3,
    sigma0=0.4,
    lambda0=0.23,
    norm=2.9,
    norm_latent=1.7,
    Lambda_mu=1.9,
    Lambda_sigma=1.3,
    Lambda_inf=3.1,
    constants=ActivationConstants(B=1.2, L=1.4, beta=0.9),
)
MUCH = dataclasses.replace(LITTLE, sigma0=4.0, d=7)  # with d > 2 the scale is (d + 4)/3
SETTINGS = pytest.mark.parametrize("s", [LITTLE, MUCH], ids=["little noise", "much noise"])


def squared_curvature(s):
    """The square of sup |σ0 E φ''(u + σ0 g)|, that is of E g φ': at most σ0 β, and at most what φ' = L sign attains."""
    c = s.constants
    steepest = quad(lambda g: g * c.L * np.sign(g) * norm.pdf(g), -10, 10, points=[0])[0]
    return min(s.sigma0 * c.beta, steepest) ** 2


def neuron(s):
    return s.constants.L**2 * s.Lambda_mu + squared_curvature(s) * s.Lambda_sigma


def where(log_tail, probability):
    """The t at which a tail that falls has a probability."""
    return brentq(lambda t: log_tail(t) - math.log(probability), 1e-9, 1e6, xtol=1e-13, rtol=1e-14)


@SETTINGS
def test_a_neurons_bound_is_the_supremum_of_its_two_parts(s):
    assert s.latent == pytest.approx(neuron(s), rel=1e-9)


def test_the_norms_of_inputs_by_hand():
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    s = paper.setting(x, latent_kernel=np.diag([1.0, 2.0, 3.0]), d_kernel=np.eye(3), sigma0=0.1, constants="erf")
    gram = np.array([[1, 1, 0.6], [1, 1, 0.6], [0.6, 0.6, 1]])
    squares = np.array([[1, 1, 0.36], [1, 1, 0.36], [0.36, 0.36, 0.36**2 + 0.64**2]])
    assert s.Lambda_mu == pytest.approx(np.linalg.eigvalsh(gram)[-1])
    assert s.Lambda_sigma == pytest.approx(np.linalg.eigvalsh(squares)[-1])
    assert s.Lambda_inf == pytest.approx(1 + 1 + 0.64)
    assert (s.lambda0, s.norm, s.norm_latent) == pytest.approx((2, 4, 3))


@SETTINGS
def test_lemma2_is_where_both_of_tropps_tails_have_half_of_delta(s):
    # Theorem 6.2, sub-exponential, dimension nd; Theorem 6.1, bounded, dimension n. Both for a matrix and its negative.
    ell = neuron(s)
    scale = max(2, (s.d + 4) / 3) * ell
    summand = s.n * s.constants.B**2 + ell
    decoder = where(
        lambda t: math.log(2 * s.n * s.d) - M * t**2 / 2 / ((s.d + 3) * ell * s.norm_latent + scale * t), DELTA / 2
    )
    neurons = where(lambda t: math.log(2 * s.n) - M * t**2 / 2 / (summand * s.norm + summand * t / 3), DELTA / 2)
    assert paper.lemma2(s, M, delta=DELTA) == pytest.approx(decoder + neurons, rel=1e-9)


@SETTINGS
def test_the_entrywise_bound_is_where_its_tails_have_half_of_delta(s):
    # Bernstein for the (nd)² entries of one part, Hoeffding, on an interval of length 2 (B² + ℓ1), for the n² of the other.
    entry = s.constants.L**2 + squared_curvature(s)
    half = s.constants.B**2 + entry
    decoder = where(lambda t: math.log(2) - M * t**2 / 2 / (4 * entry**2 + 2 * entry * t), DELTA / 2 / (s.n * s.d) ** 2)
    neurons = where(lambda t: math.log(2) - 2 * M * t**2 / (2 * half) ** 2, DELTA / 2 / s.n**2)
    expected = s.n * s.d * decoder + s.n * neurons
    assert paper.lemma2_entrywise(s, M, delta=DELTA) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_factor_d_plus_2_is_a_gaussian_moment(d):
    # E |a|² a aᵀ = (d + 2) I, by quadrature that is exact for polynomials of degree 9.
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    a = np.stack(np.meshgrid(*[nodes] * d, indexing="ij"), axis=-1).reshape(-1, d)
    w = np.prod(np.meshgrid(*[weights / weights.sum()] * d, indexing="ij"), axis=0).ravel()
    moment = np.einsum("r,r,ri,rj->ij", w, (a**2).sum(axis=1), a, a)
    np.testing.assert_allclose(moment, (d + 2) * np.eye(d), atol=1e-12)


@SETTINGS
def test_the_smallest_eigenvalue_is_where_the_lower_tail_has_delta(s):
    v = (s.n * s.constants.B**2 + (s.d + 2) * neuron(s)) / s.lambda0
    width = 40_000.0
    epsilon = where(lambda e: math.log(s.n * s.d) - width * e**2 / 2 / v, DELTA)
    assert 0 < epsilon < 1
    assert paper.lemma2_lambda_min(s, width, delta=DELTA) == pytest.approx((1 - epsilon) * s.lambda0, rel=1e-9)
    enough = where(lambda m: math.log(s.n * s.d) - m * 0.25**2 / 2 / v, DELTA)
    assert paper.lemma2_lambda_min_width(s, delta=DELTA) == pytest.approx(enough, rel=1e-9)


RADII = {"R_mu": 0.3, "R_sigma": 0.4, "R_d": 0.7}


@SETTINGS
def test_lemma3_by_the_blocks_of_the_jacobian(s):
    c, alpha, rho = s.constants, 1.3, 0.5
    width = math.sqrt(s.Lambda_mu + s.Lambda_inf)
    # ‖ΔC‖ ≤ β ρ √Λ beside ‖a‖ ≤ α √m, ‖C‖ ≤ L √Λ beside ‖Δa‖ ≤ R_d √m; these two add, ‖Δg‖ ≤ √n L ρ stands beside them.
    blocks = np.array([c.beta * rho * width * alpha + c.L * width * RADII["R_d"], math.sqrt(s.n) * c.L * rho])
    found = paper.lemma3(s, **RADII, alpha=alpha, norm=1.1)
    assert found.jacobian == pytest.approx(np.linalg.norm(blocks))
    # The worst change of J Jᵀ when J changes by ε is that of one singular value, from √N to √N + ε.
    assert found.kernel == pytest.approx((math.sqrt(1.1) + found.jacobian) ** 2 - 1.1)


def test_lemma3_takes_the_norm_that_lemma2_leaves():
    left = LITTLE.norm + LITTLE.lambda0 / 4  # by Weyl's inequality
    assert paper.lemma3(LITTLE, **RADII, alpha=1.3) == paper.lemma3(LITTLE, **RADII, alpha=1.3, norm=left)


@SETTINGS
def test_lemma4_integrates_the_slowest_decay(s):
    # ‖r‖ falls as exp(−λ0 t/(2n)) at least; a weight's row moves at most as fast as 1/(n √m) times its block and ‖r‖.
    residual, row_norm, c = 2.3, 1.9, s.constants
    way = quad(lambda t: residual * math.exp(-s.lambda0 * t / (2 * s.n)), 0, np.inf)[0] / (s.n * math.sqrt(M))
    moved = paper.lemma4(s, M, residual=residual, row_norm=row_norm)
    assert moved.d == pytest.approx(math.sqrt(s.n) * c.B * way)
    assert moved.mu == pytest.approx(math.sqrt(s.Lambda_mu) * c.L * (row_norm + moved.d) * way)
    assert moved.sigma == pytest.approx(math.sqrt(s.Lambda_inf) * c.L * (row_norm + moved.d) * way)


def test_the_longest_path_and_the_slowest_loss_are_those_of_a_kernel_that_stays_at_its_floor():
    # J² = λ0/2 throughout: r(t) = r0 exp(−λ0 t/(2n)), at the speed |J r|/n.
    s, start = LITTLE, 2.3
    floor = s.lambda0 / 2

    def residual(t):
        return start * math.exp(-floor * t / s.n)

    path = quad(lambda t: math.sqrt(floor) * residual(t) / s.n, 0, np.inf)[0]
    assert paper.lemma4_path(s, residual=start) == pytest.approx(path)
    loss = residual(17.0) ** 2 / (2 * s.n)
    assert float(paper.theorem1(s, 17.0, loss0=start**2 / (2 * s.n))) == pytest.approx(loss)


@SETTINGS
def test_lemma5_is_where_gaussian_concentration_has_delta(s):
    # A 1-Lipschitz function of a Gaussian exceeds its mean by u with probability exp(−u²/2) at most.
    beyond = {
        "row": paper.lemma5_row_norm(s, M, delta=DELTA) - math.sqrt(s.d),
        "operator": (paper.lemma5_operator_norm(s, M, delta=DELTA) - 1) * math.sqrt(M) - math.sqrt(s.d),
        # The output is √(n B²)-Lipschitz in W_d, with mean at most √(d n B²); the targets have norm √n.
        "residual": (paper.lemma5_residual(s, delta=DELTA) / math.sqrt(s.n) - 1) / s.constants.B - math.sqrt(s.d),
    }
    events = {"row": M, "operator": 1, "residual": 1}
    for name, u in beyond.items():
        assert events[name] * math.exp(-(u**2) / 2) == pytest.approx(DELTA)


def jacobian_that_is_allowed(s):
    """Singular values move no more than the matrix: from √(3λ0/4) down to √(λ0/2)."""
    return math.sqrt(3 * s.lambda0 / 4) - math.sqrt(s.lambda0 / 2)


def by_path(s, m, share):
    residual = paper.lemma5_residual(s, delta=share)
    row, c = paper.lemma5_row_norm(s, m, delta=share), s.constants
    square = (s.Lambda_mu + s.Lambda_inf) * (c.beta**2 * row**2 + c.L**2) + s.n * c.L**2
    return math.sqrt(square / m) * paper.lemma4_path(s, residual=residual) - jacobian_that_is_allowed(s)


def by_rows(s, m, share, bound=lambda s, change: change.jacobian - jacobian_that_is_allowed(s)):
    residual, row = paper.lemma5_residual(s, delta=share), paper.lemma5_row_norm(s, m, delta=share)
    R = paper.lemma4(s, m, residual=residual, row_norm=row)
    alpha = paper.lemma5_operator_norm(s, m, delta=share)
    return bound(s, paper.lemma3(s, R_mu=R.mu, R_sigma=R.sigma, R_d=R.d, alpha=alpha))


def by_norms(s, m, share):
    return by_rows(s, m, share, lambda s, change: change.kernel - s.lambda0 / 4)


def start(s, m, share):
    return 3 * s.lambda0 / 4 - paper.lemma2_lambda_min(s, m, delta=share)


def start_in_norm(s, m, share):
    return paper.lemma2_entrywise(s, m, delta=share) - s.lambda0 / 4


def least_width(condition, s):
    """The width at which a condition, in which each event has a quarter of δ, is met: where it is 0."""
    return math.exp(brentq(lambda log_m: condition(s, math.exp(log_m), DELTA / 4), 0, 90, xtol=1e-12))


@pytest.mark.parametrize(
    ("route", "at_the_start", "during_training"),
    [("path", start, by_path), ("rows", start, by_rows), ("paper", start_in_norm, by_norms)],
)
def test_theorem1_asks_for_the_larger_of_two_widths(route, at_the_start, during_training):
    usual = least_width(during_training, LITTLE)
    assert usual > least_width(at_the_start, LITTLE)
    assert paper.theorem1_width(LITTLE, delta=DELTA, route=route) == pytest.approx(usual, rel=3e-6)
    # No kernel is like this, but the formulas do not know: what is asked of the start decides.
    s = dataclasses.replace(LITTLE, lambda0=1500.0, norm=2e4)
    enough = least_width(at_the_start, s)
    assert during_training(s, enough, DELTA / 4) < 0
    assert paper.theorem1_width(s, delta=DELTA, route=route) == pytest.approx(enough, rel=3e-6)


@pytest.mark.parametrize("route", ["path", "rows", "paper"])
def test_a_width_of_1_that_is_enough_is_found(route):
    assert paper.theorem1_width(dataclasses.replace(LITTLE, lambda0=1e6, norm=1e7), delta=DELTA, route=route) == 1
