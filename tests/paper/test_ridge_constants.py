"""The constants of Theorem 2's error bounds: each bound is attained by a network of one neuron, or is a Gaussian moment."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import paper, stax

pytestmark = pytest.mark.usefixtures("x64")


def test_the_error_bound_is_attained_by_one_input():
    # The ridge formula with the kernel's own number, and with one that is off by as much as is allowed.
    kernel, across, ridge, residual, train_error, test_error = 1.7, 0.6, 0.9, 2.3, 0.4, 0.25

    def fitted(kernel, across):
        return across / (kernel + ridge) * residual

    on_train = fitted(kernel, kernel) - fitted(kernel - train_error, kernel - train_error)
    bound = paper.ridge_error_bound(np.array([[kernel]]), residual, ridge=ridge, train_error=train_error)
    assert bound == pytest.approx(on_train)
    on_test = fitted(kernel - train_error, across + test_error) - fitted(kernel, across)
    bound = paper.ridge_error_bound(
        np.array([[kernel]]),
        residual,
        ridge=ridge,
        train_error=train_error,
        kernel_test=np.array([[across]]),
        test_error=test_error,
    )
    assert bound == pytest.approx(on_test)


def test_the_error_bound_holds_for_every_kernel_within_it():
    rng = np.random.default_rng(0)
    ridge, train_error, test_error = 0.3, 0.2, 0.15
    for _ in range(200):
        factor, residual = rng.normal(size=(3, 4)), rng.normal(size=(3, 2))
        kernel, across = factor @ factor.T, rng.normal(size=(2, 3))
        off, off_test = rng.normal(size=(3, 3)), rng.normal(size=(2, 3))
        off *= train_error / np.linalg.norm(off, 2)
        off_test *= test_error / np.linalg.norm(off_test, 2)
        inverse, other = (np.linalg.inv(k + ridge * np.eye(3)) for k in (kernel, kernel + off))
        size = float(np.linalg.norm(residual))
        on_train = paper.ridge_error_bound(kernel, size, ridge=ridge, train_error=train_error)
        on_test = paper.ridge_error_bound(
            kernel, size, ridge=ridge, train_error=train_error, kernel_test=across, test_error=test_error
        )
        assert np.linalg.norm((kernel @ inverse - (kernel + off) @ other) @ residual) <= on_train
        assert np.linalg.norm((across @ inverse - (across + off_test) @ other) @ residual) <= on_test


def test_the_bound_ends_where_the_smallest_eigenvalue_could_reach_minus_the_ridge():
    kernel = np.diag([0.5, 2.0])
    assert paper.ridge_error_bound(kernel, 1.0, ridge=0.25, train_error=0.75) == np.inf
    assert paper.ridge_error_bound(kernel, 1.0, ridge=0.25, train_error=0.7499) < np.inf


@pytest.mark.parametrize("inputs", [1, 3])
def test_the_movement_is_attained_by_a_linear_neuron(inputs):
    # Copies of one unit input, f = a w, ‖X Xᵀ‖ = n: ρ Δw = Σ_i a (y_i − f_i), so Δw = n a r0/(ρ + n a²), r0 = y − f0.
    a, ridge, start = 1.3, 0.9, 0.7
    moved = inputs * a * start / (ridge + inputs * a**2)
    left = (start - a * moved) * np.sqrt(inputs)
    bound, _ = paper.kernel_drift(
        1, ridge=ridge, residual=left, row_norm=a, alpha=a, Lambda=inputs, lipschitz=1.0, smoothness=0.0, norm=a**2
    )
    assert bound == pytest.approx(moved)
    four, _ = paper.kernel_drift(
        4, ridge=ridge, residual=left, row_norm=a, alpha=a, Lambda=inputs, lipschitz=1.0, smoothness=0.0, norm=a**2
    )
    assert four == pytest.approx(moved / 2)


@pytest.mark.parametrize("copies", [1, 3])
def test_the_drift_is_attained_by_a_quadratic_neuron(copies):
    # φ(z) = c z²/2 has the slope c w at unit inputs: the Jacobian runs from J to J + η, and is J + η/2 on average.
    c, a, width = 0.8, 1.5, 1
    net = paper.Parameters(jnp.array([[1.1]]), jnp.zeros((1, 1)), jnp.array([[a]]))
    radius, drift = paper.kernel_drift(
        width,
        ridge=2.0,
        residual=0.6,
        row_norm=a,
        alpha=a,
        Lambda=float(copies),
        lipschitz=1.2,
        smoothness=c,
        norm=float(copies * (a * c * 1.1) ** 2),
    )
    x = jnp.ones((copies, 1))
    quadratic = stax.Polynomial([0.0, 0.0, c / 2])

    def kernel(step):
        moved = net._replace(mu=net.mu + step)
        return paper.path_averaged_kernel(net, moved, x, x, activation=quadratic).reshape(copies, copies)

    assert drift == pytest.approx(float(jnp.linalg.norm(kernel(radius) - kernel(0.0), 2)), rel=1e-9)


def test_the_path_average_is_the_mean_slope_between_two_outputs():
    # f(end) − f(start) = J̄ Δw is an identity: for φ = exp, J̄ = (e^{w'} − e^w)/(w' − w). Two neurons: their mean.
    start, stop, d = np.array([0.2, -0.5]), np.array([1.0, 0.3]), np.array([1.0, 2.0])
    net = paper.Parameters(jnp.array(start)[:, None], jnp.zeros((2, 1)), jnp.array(d)[:, None])
    end = net._replace(mu=jnp.array(stop)[:, None])
    found = paper.path_averaged_kernel(net, end, jnp.ones((1, 1)), jnp.ones((1, 1)), activation=stax.Exp())
    expected = np.mean(d**2 * (np.exp(stop) - np.exp(start)) / (stop - start) * np.exp(stop))
    assert float(found[0, 0, 0, 0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("degree", "mean"), [(5, 1 / 11), (6, 0.0)])
def test_the_path_average_has_six_nodes_unless_more_are_asked_for(degree, mean):
    # On [−1, 1] the square of Legendre's P_k has the mean 1/(2k + 1). Six nodes are exact to degree 11, and are P_6's zeros.
    slope = np.polynomial.Legendre.basis(degree).convert(kind=np.polynomial.Polynomial) ** 2
    start = paper.Parameters(jnp.array([[-1.0]]), jnp.zeros((1, 1)), jnp.array([[1.0]]))
    end, x = start._replace(mu=jnp.array([[1.0]])), jnp.ones((1, 1))
    activation = stax.Polynomial(slope.integ().coef)
    found = paper.path_averaged_kernel(start, end, x, x, activation=activation)  # the slope at the end is P_k(1)² = 1
    assert float(found[0, 0, 0, 0]) == pytest.approx(mean, abs=1e-9)
    found = paper.path_averaged_kernel(start, end, x, x, activation=activation, order=8)
    assert float(found[0, 0, 0, 0]) == pytest.approx(1 / (2 * degree + 1), abs=1e-9)


@pytest.mark.parametrize("on_test", [False, True])
@pytest.mark.parametrize("outputs", [1, 2])
def test_the_typical_error_is_the_variance_of_one_neurons_share(outputs, on_test):
    """E ‖B_r (a aᵀ) − E B‖² over neurons and Gaussian output weights, by quadrature exact for polynomials of degree 9."""
    rng = np.random.default_rng(outputs)
    n, neurons, ridge, width = 3, 4, 0.7, 50
    x, slopes = rng.normal(size=(n, 2)), rng.uniform(0.5, 1.5, size=(n, neurons))
    residual, test, slopes_test = rng.normal(size=(n, outputs)), rng.normal(size=(2, 2)), rng.uniform(size=(2, neurons))
    kernel, across = x @ x.T * (slopes @ slopes.T / neurons), test @ x.T * (slopes_test @ slopes.T / neurons)
    inverse = np.linalg.inv(kernel + ridge * np.eye(n))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    weights = weights / weights.sum()

    def change(r, a):
        """The first order of the prediction when K(X, X) and K(x, X) go towards this neuron's own, times all neurons."""
        own = np.kron(x @ x.T * np.outer(slopes[:, r], slopes[:, r]), np.outer(a, a)) - np.kron(kernel, np.eye(outputs))
        towards = np.kron(test @ x.T * np.outer(slopes_test[:, r], slopes[:, r]), np.outer(a, a))
        solve = np.kron(inverse, np.eye(outputs))
        if not on_test:
            # d(K (K + ρ)^{-1}) = ρ (K + ρ)^{-1} dK (K + ρ)^{-1}
            return ridge * solve @ own @ solve @ residual.ravel()
        wide = np.kron(across, np.eye(outputs))
        return (towards - wide) @ solve @ residual.ravel() - wide @ solve @ own @ solve @ residual.ravel()

    expected = sum(
        np.prod([weights[i] for i in places]) * np.sum(change(r, nodes[list(places)]) ** 2) / neurons
        for r in range(neurons)
        for places in itertools.product(range(5), repeat=outputs)
    )
    options = {"kernel_test": across, "product_test": test @ x.T, "slopes_test": slopes_test} if on_test else {}
    found = paper.typical_ridge_error(kernel, x @ x.T, slopes, residual, ridge=ridge, width=width, **options)
    assert found == pytest.approx(np.sqrt(expected / width), rel=1e-9)
