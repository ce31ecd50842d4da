"""The lemmas' inequalities against networks, their constants against the functions they bound, their orders, their refusals."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import activations, paper, stax
from snn_ntk.kernels import tangent_kernels
from snn_ntk.paper import Parameters, empirical_tangent_kernels, expected_output, init_parameters, mse
from snn_ntk.training import gradient_descent, gradient_flow

SIGMA0, DELTA = 0.7, 0.1
ERF = stax.Erf()


pytestmark = pytest.mark.usefixtures("x64")


def sphere(n, d, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, d))
    return jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def make(x, sigma0=SIGMA0, activation=ERF, constants="erf"):
    return paper.setting_of(x, activation=activation, sigma0=sigma0, constants=constants)


def test_constants_of_a_composition():
    """The paper's L and β bound σ and ψ; for φ = ψ∘σ they give L² and β(L² + L). Here σ = ψ = tanh."""
    of_tanh, u = activations.ACTIVATION_CONSTANTS["tanh"], jnp.linspace(-4, 4, 4001)
    slope = jax.vmap(jax.grad(lambda v: jnp.tanh(jnp.tanh(v))))
    curvature = jax.vmap(jax.grad(jax.grad(lambda v: jnp.tanh(jnp.tanh(v)))))
    assert float(jnp.abs(slope(u)).max()) <= of_tanh.L**2 + 1e-12
    assert of_tanh.beta < float(jnp.abs(curvature(u)).max()) <= of_tanh.beta * (of_tanh.L**2 + of_tanh.L)


def test_spectral_norms_of_the_data_are_at_most_n():
    alike = make(jnp.eye(3)[:1] + jnp.zeros((5, 3)))
    assert [alike.Lambda_mu, alike.Lambda_sigma, alike.Lambda_inf] == pytest.approx([5, 5, 5])


def flat(kernel):
    n, d = kernel.shape[:2]
    return np.asarray(kernel).reshape(n * d, n * d)


@functools.partial(jax.jit, static_argnames="count")
def _thetas(keys, x, count):
    def one(key):
        params = init_parameters(key, count, x.shape[1], sigma0=SIGMA0)
        return empirical_tangent_kernels(params, x, activation=ERF, outputs="all").total

    return jax.lax.map(one, keys)


def thetas(seed, x, width, networks):
    """Kernels of several networks at initialisation, (networks, nd, nd)."""
    nd = x.shape[0] * x.shape[1]
    return np.asarray(_thetas(jax.random.split(jax.random.key(seed), networks), x, width)).reshape(-1, nd, nd)


_total = jax.jit(lambda params, x: empirical_tangent_kernels(params, x, activation=ERF, outputs="all").total)


def theta(params, x):
    return flat(_total(params, x))


@pytest.mark.parametrize(("name", "phi"), [("erf", jax.scipy.special.erf), ("tanh", jnp.tanh), ("sin", jnp.sin)])
def test_activation_constants_are_the_suprema(name, phi):
    grid = jnp.linspace(-12, 12, 200_001)
    first = jax.vmap(jax.grad(phi))(grid)
    second = jax.vmap(jax.grad(jax.grad(phi)))(grid)
    measured = [float(jnp.abs(values).max()) for values in (phi(grid), first, second)]
    np.testing.assert_allclose(activations.ACTIVATION_CONSTANTS[name], measured, rtol=1e-6)


def test_setting_refuses_what_the_theorem_does_not_cover():
    x = sphere(4, 3)
    eye = np.eye(4)
    with pytest.raises(ValueError, match="unit norm"):
        paper.setting(2 * x, latent_kernel=eye, d_kernel=eye, sigma0=0.1, constants="erf")
    with pytest.raises(ValueError, match="expected one of"):
        paper.setting(x, latent_kernel=eye, d_kernel=eye, sigma0=0.1, constants="relu")
    for sigma0 in (-0.1, math.nan):
        with pytest.raises(ValueError, match="sigma0 >= 0"):
            paper.setting(x, latent_kernel=eye, d_kernel=eye, sigma0=sigma0, constants="erf")


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (2, 2), (5, 5)])
@pytest.mark.parametrize("name", ["latent_kernel", "d_kernel"])
def test_kernels_of_other_inputs_are_refused(name, shape, unchecked):
    kernels = {"latent_kernel": np.eye(4), "d_kernel": np.eye(4)} | {name: np.ones(shape)}
    with pytest.raises(ValueError, match=rf"expected {name} of shape \(4, 4\), got"):
        paper.setting(sphere(4, 3), **kernels, sigma0=0.1, constants="erf")


def test_duplicated_inputs_are_refused_by_every_bound_that_divides_by_lambda0():
    x = sphere(4, 3)
    s = make(jnp.concatenate([x, x[:1]]))
    assert s.lambda0 == 0
    calls = [
        lambda: paper.lemma2_width(s, delta=DELTA),
        lambda: paper.lemma2_entrywise_width(s, delta=DELTA),
        lambda: paper.lemma2_lambda_min(s, 100, delta=DELTA),
        lambda: paper.lemma2_lambda_min_width(s, delta=DELTA),
        lambda: paper.lemma3_radius(s, alpha=1.0),
        lambda: paper.lemma4(s, 100, residual=1.0, row_norm=1.0),
        lambda: paper.lemma4_path(s, residual=1.0),
        lambda: paper.theorem1(s, 1.0),
        lambda: paper.theorem1_holds(s, 100, delta=DELTA),
        lambda: paper.theorem1_width(s, delta=DELTA),
    ]
    for call in calls:
        with pytest.raises(paper.DegenerateKernelError, match="singular limiting kernel"):
            call()
    assert paper.lemma2(s, 100, delta=DELTA) > 0  # does not divide by lambda0


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, math.nan])
def test_delta_outside_its_range_is_refused(delta):
    s = make(sphere(4, 3))
    with pytest.raises(ValueError, match="delta"):
        paper.lemma2(s, 100, delta=delta)
    with pytest.raises(ValueError, match="delta"):
        paper.lemma2_lambda_min_width(s, delta=delta)


def test_other_bad_arguments_are_refused():
    s = make(sphere(4, 3))
    with pytest.raises(ValueError, match="width"):
        paper.lemma2(s, 0, delta=DELTA)
    with pytest.raises(ValueError, match="route"):
        paper.theorem1_holds(s, 100, delta=DELTA, route="sideways")


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_bound_of_what_is_no_size_is_refused(bad):
    s = make(sphere(4, 3))
    radii = {"R_mu": 0.0, "R_sigma": 0.0, "R_d": 0.0}
    calls = [(lambda name=name: paper.lemma3(s, **radii | {name: bad}, alpha=1.0), "radii") for name in radii]
    calls += [
        (lambda: paper.lemma2(s, bad, delta=DELTA), "width"),
        (lambda: paper.lemma3(s, **radii, alpha=bad), "alpha"),
        (lambda: paper.lemma3(s, **radii, alpha=1.0, norm=bad), "norm"),
        (lambda: paper.lemma4(s, 100, residual=bad, row_norm=1.0), "residual"),
        (lambda: paper.lemma4(s, 100, residual=1.0, row_norm=bad), "row_norm"),
        (lambda: paper.lemma4_path(s, residual=bad), "residual"),
        (lambda: paper.lemma5_residual(s, delta=DELTA, targets=bad), "targets"),
        (lambda: paper.theorem1_width(s, delta=DELTA, targets=bad), "targets"),
    ]
    for call, name in calls:
        with pytest.raises(ValueError, match=f"expected .*{name}"):
            call()
    if not bad > 0:
        with pytest.raises(ValueError, match="times and losses of at least 0"):
            paper.theorem1(s, [0.0, bad])
    assert paper.theorem1(s, [0.0, math.inf]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("d", [1, 2, 5, 16])
def test_moment_inequality_behind_the_sub_exponential_bernstein(d):
    # |c_p| <= p!/2 R^{p-2} (d + 3), c_p = E[(a a^T - I)^p]'s eigenvalue, from the exact moments of chi-squared.
    moments = [math.prod(range(d, d + 2 * k, 2)) for k in range(13)]
    scale = max(2, (d + 4) / 3)
    for p in range(2, 13):
        centred = sum(math.comb(p, k) * moments[k] * (-1) ** (p - k) for k in range(p + 1))
        c_p = (centred + (d - 1) * (-1) ** p) / d
        assert abs(c_p) <= math.factorial(p) / 2 * scale ** (p - 2) * (d + 3)
    # Entries: E|a^2 - 1|^p and (E|a|^p)^2 against p!/2 4 2^{p-2}.
    draws = np.abs(np.random.default_rng(0).standard_normal(400_000))
    for p in range(2, 7):
        limit = math.factorial(p) / 2 * 4 * 2 ** (p - 2)
        assert np.mean(np.abs(draws**2 - 1) ** p) < limit
        assert np.mean(draws**p) ** 2 < limit


@pytest.mark.parametrize("seed", range(3))
def test_one_neuron_is_bounded_as_stated(seed):
    x = sphere(12, 5, seed)
    s = make(x)

    @jax.vmap
    def neuron(key):
        one = init_parameters(key, 1, 5, 1, sigma0=SIGMA0)._replace(d=jnp.ones((1, 1)))
        kernel = empirical_tangent_kernels(one, x, activation=ERF)
        return kernel.mu + kernel.sigma, jnp.trace(kernel.d)

    latent, outputs = neuron(jax.random.split(jax.random.key(seed), 200))
    norms = np.linalg.norm(latent, 2, axis=(1, 2))
    assert 0.1 * s.latent < max(norms) <= s.latent
    assert 0.2 * s.n < max(outputs) <= s.n * s.constants.B**2


def test_relative_variance_is_an_upper_bound():
    x = sphere(5, 3)
    s = make(x)
    kernel = tangent_kernels(x, activation=ERF, sigma0=SIGMA0)
    values, vectors = np.linalg.eigh(np.kron(np.asarray(kernel.total), np.eye(3)))
    whiten = vectors / np.sqrt(values) @ vectors.T
    whitened = whiten @ thetas(0, x, 1, 4000) @ whiten
    np.testing.assert_allclose(whitened.mean(0), np.eye(15), atol=0.3)
    measured = np.linalg.norm((whitened @ whitened).mean(0), 2)
    claimed = paper.lemma2_lambda_min_width(s, delta=0.5) / (32 * math.log(30))
    assert 1 < measured <= claimed


@pytest.mark.parametrize("width", [64, 1024])
def test_lemma2_covers_networks_and_is_not_absurd(width):
    x = sphere(6, 4)
    s = make(x)
    limit = np.kron(np.asarray(tangent_kernels(x, activation=ERF, sigma0=SIGMA0).total), np.eye(4))
    measured = thetas(1, x, width, 40)
    errors = np.linalg.norm(measured - limit, 2, axis=(1, 2))
    smallest = np.linalg.eigvalsh(measured)[:, 0]
    # Forty networks against a failure probability of one in ten: the bounds have far more room than that.
    radius = paper.lemma2(s, width, delta=DELTA)
    assert radius / 50 < max(errors) <= radius <= paper.lemma2_entrywise(s, width, delta=DELTA)
    assert min(smallest) >= paper.lemma2_lambda_min(s, width, delta=DELTA)


def test_lemma2_lambda_min_at_its_own_width():
    x = sphere(3, 2)
    s = make(x)
    width = math.ceil(paper.lemma2_lambda_min_width(s, delta=DELTA))
    smallest = np.linalg.eigvalsh(thetas(2, x, width, 5))[:, 0]
    assert 0.75 * s.lambda0 <= min(smallest) < 1.2 * s.lambda0


def test_widths_meet_their_targets_and_orders():
    s = make(sphere(8, 6))
    assert paper.lemma2(s, paper.lemma2_width(s, delta=DELTA), delta=DELTA) == pytest.approx(s.lambda0 / 4, rel=1e-4)
    at = paper.lemma2_lambda_min(s, paper.lemma2_lambda_min_width(s, delta=DELTA), delta=DELTA)
    assert at == pytest.approx(0.75 * s.lambda0)
    for width, power in [
        (paper.lemma2_width, 2),
        (paper.lemma2_entrywise_width, 2),
        (paper.lemma2_lambda_min_width, 1),
    ]:
        half = dataclasses.replace(s, lambda0=s.lambda0 / 2)
        assert math.log2(width(half, delta=DELTA) / width(s, delta=DELTA)) == pytest.approx(power, abs=0.05)
        assert width(s, delta=DELTA / 2) > width(s, delta=DELTA)
    # Powers of lambda0 of the three routes; a logarithm of the width rides on top of the first two.
    for route, power in [("path", 2), ("rows", 3), ("paper", 4)]:
        low = dataclasses.replace(s, lambda0=s.lambda0 / 1e3)
        lower = dataclasses.replace(s, lambda0=s.lambda0 / 2e3)
        ratio = paper.theorem1_width(lower, delta=DELTA, route=route) / paper.theorem1_width(
            low, delta=DELTA, route=route
        )
        assert math.log2(ratio) == pytest.approx(power, abs=0.1)


@pytest.mark.parametrize("route", ["path", "rows", "paper"])
def test_theorem1_width_is_the_edge_of_theorem1_holds(route):
    s = make(sphere(4, 4))
    width = paper.theorem1_width(s, delta=DELTA, route=route)
    assert paper.theorem1_holds(s, 1.01 * width, delta=DELTA, route=route)
    assert paper.theorem1_holds(s, 100 * width, delta=DELTA, route=route)
    assert not paper.theorem1_holds(s, 0.99 * width, delta=DELTA, route=route)


@pytest.mark.parametrize("group", ["mu", "sigma", "d", "all"])
@pytest.mark.parametrize("radius", [1e-3, 0.1, 3.0])
def test_lemma3_covers_every_group_and_every_block(group, radius):
    x = sphere(6, 4)
    s = make(x)
    params = init_parameters(jax.random.key(0), 200, 4, sigma0=SIGMA0)
    start = theta(params, x)
    alpha = float(jnp.linalg.norm(params.d, 2)) / math.sqrt(200)
    bound = paper.lemma3(
        s,
        **{f"R_{g}": radius if group in (g, "all") else 0.0 for g in ("mu", "sigma", "d")},
        alpha=alpha,
        norm=np.linalg.norm(start, 2),
    )
    # Movements that agree across neurons: along one coordinate, signed by the neuron's own first output weight.
    step = jnp.sign(params.d[:, :1]) * jnp.eye(4)[1] * radius
    moved = Parameters(*(p + step * (group in (g, "all")) for g, p in zip(("mu", "sigma", "d"), params, strict=True)))
    change = np.linalg.norm(theta(moved, x) - start, 2)
    assert 0 < change <= bound.kernel
    singular = np.sqrt(np.linalg.eigvalsh(theta(moved, x))[0]) - np.sqrt(np.linalg.eigvalsh(start)[0])
    assert abs(singular) <= bound.jacobian


def test_lemma3_sees_blocks_that_the_printed_sum_misses():
    x = sphere(6, 4)
    params = init_parameters(jax.random.key(0), 2000, 4, sigma0=SIGMA0)
    step = 1e-2 * jnp.sign(params.d[:, :1]) * jnp.eye(4)[1]
    start = empirical_tangent_kernels(params, x, activation=ERF, outputs="all").total
    end = empirical_tangent_kernels(params._replace(d=params.d + step), x, activation=ERF, outputs="all").total
    change = np.asarray(end - start)
    printed = math.sqrt(sum(np.sum(change[:, k, :, k] ** 2) for k in range(4)))
    assert np.linalg.norm(flat(change), 2) > 2 * printed


def test_lemma3_radius_keeps_half_of_lambda0():
    s = make(sphere(6, 4))
    R = paper.lemma3_radius(s, alpha=1.2)
    kept = math.sqrt(0.75 * s.lambda0) - paper.lemma3(s, R_mu=R, R_sigma=R, R_d=R, alpha=1.2).jacobian
    assert kept**2 == pytest.approx(s.lambda0 / 2)
    R = paper.lemma3_radius(s, alpha=1.2, norm_form=True)
    assert paper.lemma3(s, R_mu=R, R_sigma=R, R_d=R, alpha=1.2).kernel == pytest.approx(s.lambda0 / 4)


def test_lemma4_and_theorem1_cover_a_trained_network():
    x = sphere(5, 4)
    s = make(x)
    params = init_parameters(jax.random.key(3), 1024, 4, sigma0=SIGMA0)
    residual = float(jnp.linalg.norm(x - expected_output(params, x, activation=ERF)))
    times = np.linspace(0, 4 * s.n / s.lambda0, 9)
    flow = gradient_flow(
        lambda p: mse(p, x, x, activation=ERF),
        params,
        times,
        rtol=1e-6,
        atol=1e-9,
        record=lambda p: (mse(p, x, x, activation=ERF), p),
    )
    losses, path = flow.records
    assert np.linalg.eigvalsh(theta(flow.params, x))[0] >= s.lambda0 / 2
    assert np.all(np.asarray(losses[1:]) < paper.theorem1(s, times[1:], loss0=losses[0]))
    limits = paper.lemma4(s, 1024, residual=residual, row_norm=float(jnp.linalg.norm(params.d, axis=1).max()))
    for moved, start, limit in zip(flow.params, params, limits, strict=True):
        assert 0 < float(jnp.linalg.norm(moved - start, axis=1).max()) <= limit
    # The chord is shorter than the path.
    chord = math.sqrt(sum(float(jnp.sum((p[-1] - p[0]) ** 2)) for p in path))
    length = paper.lemma4_path(s, residual=residual)
    assert length / 100 < chord <= length


def test_lemma5_events_fail_no_more_often_than_stated():
    x = sphere(6, 4)
    s = make(x)

    @jax.vmap
    def events(key):
        params = init_parameters(key, 30, 4, sigma0=SIGMA0)
        return jnp.array(
            [
                jnp.linalg.norm(x - expected_output(params, x, activation=ERF)),
                jnp.linalg.norm(params.d, axis=1).max(),
                jnp.linalg.norm(params.d, 2) / math.sqrt(30),
            ]
        )

    limits = [f(s, *args, delta=0.2) for f, args in _EVENTS]
    measured = np.asarray(events(jax.random.split(jax.random.key(5), 400)))
    # Four standard errors above the probability that is allowed; and the bounds are of the right size.
    assert np.all((measured > limits).mean(0) <= 0.2 + 4 * math.sqrt(0.16 / 400))
    assert np.all(measured.mean(0) > 0.3 * np.array(limits))


_EVENTS = [
    (paper.lemma5_residual, ()),
    (paper.lemma5_row_norm, (30,)),
    (paper.lemma5_operator_norm, (30,)),
]


def test_the_initial_residual_is_of_order_nd():
    x = sphere(6, 4)
    kernel = tangent_kernels(x, activation=ERF, sigma0=SIGMA0)

    @jax.vmap
    def square(key):
        return jnp.sum((x - expected_output(init_parameters(key, 64, 4, sigma0=SIGMA0), x, activation=ERF)) ** 2)

    squares = np.asarray(square(jax.random.split(jax.random.key(6), 300)))
    expected = 6 + 4 * float(jnp.trace(kernel.d))
    error = np.std(squares) / math.sqrt(len(squares))
    assert abs(np.mean(squares) - expected) < 4 * error < 0.2 * expected


def test_targets_of_another_size_enter_through_their_norm():
    """Inputs of unit norm say nothing of the targets: E‖Y − f̂(X; 0)‖² = ‖Y‖² + d tr K_d, and the width grows with ‖Y‖²."""
    x, y = sphere(6, 4), 20 * sphere(6, 4, seed=1)
    s, kernel = make(x), tangent_kernels(x, activation=ERF, sigma0=SIGMA0)

    @jax.vmap
    def square(key):
        return jnp.sum((y - expected_output(init_parameters(key, 64, 4, sigma0=SIGMA0), x, activation=ERF)) ** 2)

    squares = np.asarray(square(jax.random.split(jax.random.key(7), 300)))
    norm = float(jnp.linalg.norm(y))
    assert abs(np.mean(squares) - norm**2 - 4 * float(jnp.trace(kernel.d))) < 4 * np.std(squares) / math.sqrt(300)
    assert np.mean(np.sqrt(squares) > paper.lemma5_residual(s, delta=DELTA, targets=norm)) <= DELTA
    assert paper.lemma5_residual(s, delta=DELTA, targets=math.sqrt(6)) == paper.lemma5_residual(s, delta=DELTA)
    widths = [paper.theorem1_width(s, delta=DELTA, targets=size) for size in (1e4, 2e4)]
    assert math.log2(widths[1] / widths[0]) == pytest.approx(2, abs=0.2)


def test_theorem1_for_gradient_descent_in_its_own_regime():
    """thm:07-descent: its hypotheses are checked on the network, then its bounds at every step; beyond 2n/‖Θ‖ it grows."""
    x, width = jnp.ones((1, 1)), 400_000
    s = make(x, sigma0=0.1)
    params = init_parameters(jax.random.key(0), width, 1, sigma0=0.1)
    residual = float(jnp.linalg.norm(x - expected_output(params, x, activation=ERF)))
    kernel, row = theta(params, x), float(jnp.abs(params.d).max())
    norm, c = np.linalg.norm(kernel, 2), s.constants
    latent = (s.Lambda_mu + s.Lambda_inf) * (4 * (c.beta * row) ** 2 + c.L**2)
    lipschitz = math.sqrt((latent + s.n * c.L**2) / width)
    assert kernel.min() >= 0.75 * s.lambda0
    assert lipschitz * residual <= s.lambda0 / 24
    assert paper.lemma4(s, width, residual=residual, row_norm=row).d <= row
    eta = s.n / (math.sqrt(norm) + math.sqrt(s.lambda0) / 8) ** 2

    def descend(step, steps):
        return gradient_descent(
            lambda p: mse(p, x, x, activation=ERF),
            params,
            learning_rate=step,
            steps=steps,
            record=lambda p: (mse(p, x, x, activation=ERF), p),
            record_at=np.arange(steps + 1),
        ).records

    losses, weights = descend(eta, 12)
    bound = (1 - eta * s.lambda0 / (2 * s.n)) ** (2 * np.arange(13)) * float(losses[0])
    assert np.all(np.asarray(losses[1:]) <= bound[1:])
    assert losses[-1] > 0
    steps = np.concatenate([np.diff(np.asarray(w), axis=0).reshape(12, -1) for w in weights], axis=1)
    length = np.linalg.norm(steps, axis=1).sum()
    assert 0.1 * residual / math.sqrt(s.lambda0) < length <= 3 * residual / math.sqrt(s.lambda0)
    faster, _ = descend(2.5 * s.n / norm, 1)
    assert faster[1] > 1.5 * faster[0]
