"""Theorem 2 against trained networks, and the algebra its three forms rest on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import kernels, paper, stax

ERF = stax.Erf()
SIGMA0 = 0.7
BETA = 0.05


pytestmark = pytest.mark.usefixtures("x64")


def sphere(seed, n, d):
    points = jax.random.normal(jax.random.key(seed), (n, d))
    return points / jnp.linalg.norm(points, axis=1, keepdims=True)


def theta_mu(x1, x):
    return kernels.tangent_kernels(x1, x, activation=ERF, sigma0=SIGMA0).mu


def output(net, mu, points):
    return paper.expected_output(net._replace(mu=mu), points, activation=ERF)


def train(n, d, width, *, penalty, seed=0, tolerance=1e-7):
    """A network at a stationary point of Eq. 12 or Eq. 4, whose plain gradient is checked here."""
    x, test = sphere(seed, n, d), sphere(seed + 100, 20, d)
    net = paper.init_parameters(jax.random.key(seed), width, d, sigma0=SIGMA0, dtype=jnp.float64)
    one = jax.tree.map(lambda leaf: leaf[None], (net, x))
    end = paper.stationary_point(
        *one, one[1], activation=ERF, sigma0=SIGMA0, beta=BETA, penalty=penalty, tolerance=tolerance, max_steps=2000
    )
    mu = end.params.mu[0]
    objective = paper.kl_objective if penalty == "kl" else paper.frobenius_objective

    def slope(weights):
        return jnp.linalg.norm(
            jax.grad(lambda w: objective(net._replace(mu=w), net, x, x, activation=ERF, beta=BETA))(weights)
        )

    assert float(slope(mu)) < 1e-5 * float(slope(net.mu))
    return x, test, net, mu


def relative(prediction, trained, start):
    return float(jnp.linalg.norm(prediction - trained) / jnp.linalg.norm(trained - start))


@pytest.mark.parametrize("n", [4, pytest.param(20, marks=pytest.mark.heavy)])
def test_corrected_theorem_2_is_where_eq_12_ends(n):
    x, test, net, mu = train(n, 8, 2048, penalty="frobenius")
    kernel, across = theta_mu(x, x), theta_mu(test, x)
    f0, f0_test, f, f_test = (output(net, w, p) for w in (net.mu, mu) for p in (x, test))
    assert relative(paper.ridge_corrected(kernel, x, f0, beta=BETA), f, f0) < 0.06
    predicted = paper.ridge_corrected(kernel, x, f0, beta=BETA, kernel_test=across, f0_test=f0_test)
    assert relative(predicted, f_test, f0_test) < 0.06
    assert relative(paper.ridge_as_printed(kernel, x, beta=BETA), f, f0) > 0.3
    assert paper.effective_ridge(kernel, x, f0, f) == pytest.approx(n * BETA, rel=0.05)


@pytest.mark.parametrize("n", [4, pytest.param(20, marks=pytest.mark.heavy)])
def test_exact_kl_is_where_eq_4_ends(n):
    x, test, net, mu = train(n, 8, 2048, penalty="kl")
    kernel, across = (paper.exact_kl_kernel(p, x, activation=ERF, sigma0=SIGMA0) for p in (x, test))
    f0, f0_test, f, f_test = (output(net, w, p) for w in (net.mu, mu) for p in (x, test))
    assert relative(paper.ridge_exact_kl(kernel, x, f0, beta=BETA, sigma0=SIGMA0), f, f0) < 0.06
    predicted = paper.ridge_exact_kl(kernel, x, f0, beta=BETA, sigma0=SIGMA0, kernel_test=across, f0_test=f0_test)
    assert relative(predicted, f_test, f0_test) < 0.06
    assert relative(paper.ridge_corrected(theta_mu(x, x), x, f0, beta=BETA), f, f0) > 0.1  # another regulariser


@pytest.mark.parametrize("penalty", ["frobenius", "kl"])
@pytest.mark.parametrize("n", [3, pytest.param(9, marks=pytest.mark.heavy)])
def test_a_finite_network_obeys_ridge_regression_exactly_with_its_path_averaged_kernel(penalty, n):
    x, test, net, mu = train(n, 5, 64, penalty=penalty, tolerance=1e-9)
    trained, whitened = net._replace(mu=mu), penalty == "kl"
    rho = BETA / SIGMA0**2 if whitened else n * BETA
    size = n * 5

    def kernel(points):
        tensor = paper.path_averaged_kernel(net, trained, points, x, activation=ERF, whitened=whitened)
        return tensor.reshape(-1, size)

    f0, f0_test = output(net, net.mu, x), output(net, net.mu, test)
    coefficients = jnp.linalg.solve(kernel(x) + rho * jnp.eye(size), (x - f0).ravel())
    for points, start in ((x, f0), (test, f0_test)):
        predicted = start + (kernel(points) @ coefficients).reshape(start.shape)
        assert relative(predicted, output(net, mu, points), start) < 1e-6


def test_error_bound_and_drift_hold_and_are_not_vacuous():
    n, d, width = 4, 8, 16_384
    x, test, net, mu = train(n, d, width, penalty="frobenius")
    kernel, across = theta_mu(x, x), theta_mu(test, x)
    f0, f0_test, f, f_test = (output(net, w, p) for w in (net.mu, mu) for p in (x, test))
    trained, residual = net._replace(mu=mu), float(jnp.linalg.norm(x - f0))

    def distance(points, limit):
        tensor = paper.path_averaged_kernel(net, trained, points, x, activation=ERF)
        full = jnp.einsum("ij,kl->ikjl", limit, jnp.eye(d))
        return float(jnp.linalg.norm((tensor - full).reshape(-1, n * d), 2))

    epsilon = distance(x, kernel)
    bound = paper.ridge_error_bound(kernel, residual, ridge=n * BETA, train_error=epsilon)
    error = float(jnp.linalg.norm(paper.ridge_corrected(kernel, x, f0, beta=BETA) - f))
    assert 0.05 * bound < error <= bound
    bound = paper.ridge_error_bound(
        kernel, residual, ridge=n * BETA, train_error=epsilon, kernel_test=across, test_error=distance(test, across)
    )
    predicted = paper.ridge_corrected(kernel, x, f0, beta=BETA, kernel_test=across, f0_test=f0_test)
    error = float(jnp.linalg.norm(predicted - f_test))
    assert 0.02 * bound < error <= bound
    start = paper.path_averaged_kernel(net, net, x, x, activation=ERF).reshape(n * d, n * d)
    end = paper.path_averaged_kernel(net, trained, x, x, activation=ERF).reshape(n * d, n * d)
    movement, drift = paper.kernel_drift(
        width,
        ridge=n * BETA,
        residual=residual,
        row_norm=float(jnp.linalg.norm(net.d, axis=1).max()),
        alpha=float(jnp.linalg.norm(net.d.T @ net.d, 2) / width) ** 0.5,
        Lambda=float(jnp.linalg.norm(x @ x.T, 2)),
        lipschitz=2 / np.pi**0.5,
        smoothness=4 / (2 * np.pi * np.e) ** 0.5,
        norm=float(jnp.linalg.norm(start, 2)),
    )
    assert 0.01 * movement < float(jnp.linalg.norm(mu - net.mu, axis=1).max()) <= movement
    # The drift is of order 1/m on average (odd in W_d) where the bound, which knows no signs, has m^{-1/2}: loose.
    assert 1e-5 * drift < float(jnp.linalg.norm(end - start, 2)) <= drift
    # Row by row the Jacobian's change has no maximum over rows in it, hence no logarithm of the width.
    slopes = [paper.neuron_slopes(p, x, activation=ERF) for p in (net, trained)]
    change = jnp.einsum("ir,ij,rk->ikrj", slopes[1] - slopes[0], x, net.d).reshape(n * d, -1) / width**0.5
    fourth = float(jnp.mean(jnp.linalg.norm(net.d, axis=1) ** 4))
    assert fourth == pytest.approx(d * (d + 2), rel=0.1)
    constants = 4 / (2 * np.pi * np.e) ** 0.5 * 2 / np.pi**0.5 * float(jnp.linalg.norm(x @ x.T, 2))
    assert (
        float(jnp.linalg.norm(change @ change.T, 2)) ** 0.5
        <= constants * residual / (n * BETA) * (fourth / width) ** 0.5
    )


@pytest.mark.heavy
def test_typical_error_is_the_spread_over_many_networks():
    n, d, width, runs = 3, 4, 256, 24
    x, test = sphere(0, n, d), sphere(1, 10, d)
    nets = jax.vmap(lambda key: paper.init_parameters(key, width, d, sigma0=SIGMA0, dtype=jnp.float64))(
        jax.random.split(jax.random.key(2), runs)
    )
    stacked = jnp.broadcast_to(x, (runs, n, d))
    end = paper.stationary_point(nets, stacked, stacked, activation=ERF, sigma0=SIGMA0, beta=BETA)
    assert end.gradient.max() < 1e-5
    kernel, across = theta_mu(x, x), theta_mu(test, x)
    slopes, slopes_test = (
        paper.neuron_slopes(jax.tree.map(lambda v: v[0], nets), p, activation=ERF) for p in (x, test)
    )
    measured, expected = np.zeros((runs, 2)), np.zeros((runs, 2))
    for run in range(runs):
        net, trained = (jax.tree.map(lambda v, run=run: v[run], p) for p in (nets, end.params))
        f0, f0_test = output(net, net.mu, x), output(net, net.mu, test)
        common = {"ridge": n * BETA, "width": width}
        on_test = {"kernel_test": across, "product_test": test @ x.T, "slopes_test": slopes_test}
        expected[run, 0] = paper.typical_ridge_error(kernel, x @ x.T, slopes, x - f0, **common)
        expected[run, 1] = paper.typical_ridge_error(kernel, x @ x.T, slopes, x - f0, **common, **on_test)
        predicted = paper.ridge_corrected(kernel, x, f0, beta=BETA, kernel_test=across, f0_test=f0_test)
        measured[run, 0] = jnp.linalg.norm(paper.ridge_corrected(kernel, x, f0, beta=BETA) - output(net, trained.mu, x))
        measured[run, 1] = jnp.linalg.norm(predicted - output(net, trained.mu, test))
    ratio = np.sqrt((measured**2).mean(axis=0) / (expected**2).mean(axis=0))
    assert (ratio > 0.8).all()  # 24 runs of a 12-dimensional error: 6 % of sampling, and m^{-1/2} = 6 %
    assert (ratio < 1.25).all()


def test_error_bound_says_nothing_where_the_kernel_is_too_far():
    assert paper.ridge_error_bound(jnp.eye(2), 1.0, ridge=0.5, train_error=2.0) == float("inf")


@pytest.mark.parametrize("n", [5, 12])
def test_fewer_unit_norm_inputs_than_dimensions_decouple(n):
    x = sphere(3, n, 12)
    np.testing.assert_allclose(paper.whitened_product(x, x), np.eye(n), atol=1e-9)
    kernel = paper.exact_kl_kernel(x, x, activation=ERF, sigma0=SIGMA0)
    slope = float(kernel[0, 0])
    np.testing.assert_allclose(kernel, slope * np.eye(n), atol=1e-9)
    f0 = jax.random.normal(jax.random.key(4), (n, 12))
    left = x - paper.ridge_exact_kl(kernel, x, f0, beta=BETA, sigma0=SIGMA0)
    shrinkage = (BETA / SIGMA0**2) / (slope + BETA / SIGMA0**2)
    np.testing.assert_allclose(left, shrinkage * (x - f0), atol=1e-9)


def test_more_inputs_than_dimensions_are_whitened_to_a_projection():
    x = sphere(5, 20, 6)
    product = paper.whitened_product(x, x)
    np.testing.assert_allclose(product @ product, product, atol=1e-9)
    assert float(np.trace(product)) == pytest.approx(6.0)


def test_a_test_point_can_be_longer_than_one_in_whitened_coordinates():
    x, test = sphere(5, 8, 6), sphere(6, 200, 6)
    inverse = np.linalg.pinv(np.asarray(x.T @ x))
    lengths = [np.einsum("ij,jk,ik->i", p, inverse, p) for p in (x, test)]
    assert lengths[0].max() <= 1 + 1e-9
    assert lengths[1].max() > 2


def test_whitened_product_ignores_lengths_of_the_training_inputs_in_the_metric():
    x = sphere(6, 9, 4)
    scale = jnp.linspace(0.5, 2.0, 9)[:, None]
    np.testing.assert_allclose(paper.whitened_product(x, scale * x), paper.whitened_product(x, x) * scale.T, atol=1e-9)


def test_directions_below_the_tolerance_do_not_count():
    x = jnp.array([[1.0, 0.0, 0.0], [1.0, 1e-9, 0.0]])
    strict, loose = paper.whitened_product(x, x, rtol=1e-12), paper.whitened_product(x, x, rtol=1e-6)
    np.testing.assert_allclose(strict, np.eye(2), atol=1e-4)
    np.testing.assert_allclose(loose, np.full((2, 2), 0.5), atol=1e-6)
    outside = jnp.array([[0.0, 0.0, 1.0]])
    np.testing.assert_allclose(paper.whitened_product(outside, x), 0, atol=1e-9)


def test_corrected_solves_the_normal_equations_of_the_linearised_problem():
    """Independent route: minimise 1/(2n) ‖J w + f0 − y‖² + (β/2) ‖w‖² over w for an explicit J."""
    rng = np.random.default_rng(0)
    n, p = 6, 40
    jacobian, jacobian_test = rng.normal(size=(n, p)), rng.normal(size=(3, p))
    y, f0, f0_test = rng.normal(size=(n, 1)), rng.normal(size=(n, 1)), rng.normal(size=(3, 1))
    w = np.linalg.solve(jacobian.T @ jacobian / n + BETA * np.eye(p), jacobian.T @ (y - f0) / n)
    predicted = paper.ridge_corrected(
        jnp.asarray(jacobian @ jacobian.T),
        jnp.asarray(y),
        jnp.asarray(f0),
        beta=BETA,
        kernel_test=jnp.asarray(jacobian_test @ jacobian.T),
        f0_test=jnp.asarray(f0_test),
    )
    np.testing.assert_allclose(predicted, f0_test + jacobian_test @ w, atol=1e-9)


def test_limits_in_beta():
    x = sphere(7, 5, 8)
    f0 = jax.random.normal(jax.random.key(8), (5, 8))
    kernel = theta_mu(x, x)
    np.testing.assert_allclose(paper.ridge_corrected(kernel, x, f0, beta=1e-12), x, atol=1e-6)
    np.testing.assert_allclose(paper.ridge_corrected(kernel, x, f0, beta=1e9), f0, atol=1e-6)


def test_one_output_may_come_without_an_axis(unchecked):
    kernel, y, f0 = np.diag([1.0, 2.0, 3.0]), np.arange(3.0), np.ones(3)
    found = paper.ridge_corrected(kernel, y, f0, beta=0.1, kernel_test=kernel[:2], f0_test=f0[:2])
    column = paper.ridge_corrected(
        kernel, y[:, None], f0[:, None], beta=0.1, kernel_test=kernel[:2], f0_test=f0[:2, None]
    )
    np.testing.assert_array_equal(found, column[:, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k, y: paper.ridge_corrected(k[:, :2], y, y, beta=0.1), "expected a square kernel"),
        (lambda k, y: paper.ridge_corrected(k, y, y, beta=0.0), "expected beta > 0"),
        (
            lambda k, y: paper.ridge_corrected(k, y, y, beta=0.1, kernel_test=k),
            "expected kernel_test and f0_test together",
        ),
        (lambda k, y: paper.ridge_as_printed(k, y, beta=0.1, kernel_test=k[:, :1]), "expected kernel_test of shape"),
        (lambda k, y: paper.ridge_exact_kl(k, y, y, beta=0.1, sigma0=0.0), "expected sigma0 > 0"),
        (lambda k, y: paper.whitened_product(k, k[:, :1]), "expected inputs of dimension 1"),
        (lambda k, y: paper.whitened_product(k, k.at[1].set(0)), "inputs other than 0, .* got row 1"),
        (lambda k, y: paper.ridge_error_bound(k, 1.0, ridge=1.0, train_error=0.1, kernel_test=k), "together"),
        # What NumPy would broadcast, or explain in its own words.
        (lambda k, y: paper.ridge_corrected(k, y[:, 0], y[:, :1], beta=0.1), "outputs and targets of one shape"),
        (lambda k, y: paper.ridge_corrected(k, y, y[0], beta=0.1), "outputs and targets of one shape"),
        (lambda k, y: paper.ridge_as_printed(k, y[:2], beta=0.1), "outputs and targets of one shape"),
        (lambda k, y: paper.ridge_corrected(k, y, y, beta=0.1, kernel_test=k[:2], f0_test=y[:1]), "f0_test of shape"),
        (lambda k, y: paper.ridge_corrected(k, y, y, beta=0.1, kernel_test=k[0], f0_test=y[0]), "kernel_test of shape"),
        (lambda k, y: paper.ridge_as_printed(k[0], y, beta=0.1), "expected a square kernel"),
        (lambda k, y: paper.ridge_as_printed(k, y, beta=float("nan")), "expected beta > 0"),
        (lambda k, y: paper.ridge_exact_kl(k, y, y, beta=0.1, sigma0=float("nan")), "expected sigma0 > 0"),
        (lambda k, y: paper.effective_ridge(k, y, y[:, 0], y), "outputs and targets of one shape"),
        (lambda k, y: paper.effective_ridge(k, y, y, y), "outputs that training has moved"),
        (lambda k, y: paper.ridge_error_bound(k[0], 1.0, ridge=1.0, train_error=0.1), "expected a square kernel"),
        (lambda k, y: paper.typical_ridge_error(k, k, k[0], y, ridge=1.0, width=9), r"slopes \(3, m\)"),
        (lambda k, y: paper.typical_ridge_error(k, k, k, y, ridge=1.0, width=9, slopes_test=k), "product_test"),
    ],
)
def test_what_cannot_be_regressed_is_refused(call, message, unchecked):
    with pytest.raises(ValueError, match=message):
        call(jnp.eye(3), jnp.ones((3, 2)))


@pytest.mark.parametrize(
    "regress", [paper.ridge_corrected, paper.ridge_exact_kl, paper.ridge_as_printed, paper.typical_ridge_error]
)
@pytest.mark.parametrize(
    ("kernel", "beta", "named"),
    [
        # Symmetric with a negative eigenvalue that the ridge does not lift.
        ([[1.0, 2.0], [2.0, 1.0]], 0.1, r"got the eigenvalue -1 and the ridge 0\.[12]: take a ridge above 1,"),
        # The same input twice: the ridge is lost in the rounding of the kernel, and what is solved would be rounding.
        ([[1.0, 1.0], [1.0, 1.0]], 1e-18, r"above rounding, 4\.4e-16, got the eigenvalue .* and the ridge [12]e-18"),
        ([[1e300, 1e300], [1e300, 1e300]], 1.0, r"above rounding, 4\.4e\+284"),
    ],
)
def test_too_small_a_ridge_is_refused_with_the_eigenvalue_and_the_remedy(regress, kernel, beta, named, unchecked):
    kernel, y = np.array(kernel), np.ones((2, 1))
    call = {
        paper.ridge_corrected: lambda: regress(kernel, y, 0 * y, beta=beta),
        paper.ridge_exact_kl: lambda: regress(kernel, y, 0 * y, beta=beta, sigma0=1.0),
        paper.ridge_as_printed: lambda: regress(kernel, y, beta=beta),
        paper.typical_ridge_error: lambda: regress(kernel, kernel, y, y, ridge=beta, width=9),
    }[regress]
    with pytest.raises(
        ValueError, match=named + ".*computed in float64 and without inputs that are there twice|" + named
    ):
        call()


def test_a_ridge_above_rounding_solves_a_singular_kernel():
    """Equal inputs share their residual: K = 1 1ᵀ has the solution f = n/(n + ρ) ȳ at both."""
    kernel, y = np.ones((2, 2)), np.array([[1.0], [3.0]])
    for ridge in (1e-10, 1.0):
        found = paper.ridge_as_printed(kernel, y, beta=ridge)
        np.testing.assert_allclose(found, 2 / (2 + ridge) * 2, rtol=1e-5)


def test_a_stationary_point_is_sought_for_no_more_steps_than_asked():
    nets = jax.vmap(lambda key: paper.init_parameters(key, 16, 3, sigma0=SIGMA0))(
        jax.random.split(jax.random.key(0), 1)
    )
    x = jnp.eye(3)[None]
    for most in (1, 5, 12):
        end = paper.stationary_point(
            nets, x, x, activation=ERF, sigma0=SIGMA0, beta=BETA, tolerance=1e-12, max_steps=most
        )
        assert end.steps == most
