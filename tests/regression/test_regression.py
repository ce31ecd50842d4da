"""Kernel ridge regression: against a dense solve in float64, within what it certifies, and as scikit-learn expects it."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn
from regression import run
from scipy.linalg import solve
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge as Reference
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from snn_ntk import StochasticDense, stax, tangent_kernels
from snn_ntk.paper import ridge_corrected
from snn_ntk.regression import KernelRidge, blocks, estimator, storage

RUN = Path(run.__file__)


class Gaussian:
    """Named without its address, which no two workers of a test run share."""

    def __call__(self, x1, x2):
        return rbf_kernel(x1, x2, gamma=0.5)

    def __repr__(self):
        return "gaussian"


gaussian = Gaussian()


def problem(n=300, outputs=3, dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n + 20, 5)).astype(dtype)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = np.stack([np.sin(3 * x[:, i % 5]) + 0.1 * rng.standard_normal(n + 20) for i in range(outputs)], axis=1)
    return x[:n], y[:n], x[n:]


def exceptions(estimator):
    if estimator.solver == "streamed":
        return {}
    return {
        "check_non_transformer_estimators_n_iter": "max_iter is for conjugate gradients: a dense solve has no steps"
    }


# Values of wrong types must pass the constructor and be refused by fit, which types that are enforced would forestall.
@pytest.mark.usefixtures("unchecked")
@parametrize_with_checks(
    [KernelRidge(gaussian), KernelRidge(gaussian, solver="streamed")], expected_failed_checks=exceptions
)
def test_scikit_learn_takes_it_for_an_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("solver", ["dense", "streamed"])
def test_it_is_the_ridge_formula(solver):
    x, y, other = problem()
    kernel = gaussian(x, x)
    if solver == "streamed":
        kernel = kernel.astype(np.float32).astype(np.float64)
    exact = solve(kernel + 0.01 * np.eye(300), y)
    model = KernelRidge(gaussian, ridge=0.01, solver=solver).fit(x, y)
    error = np.linalg.norm(model.dual_coef_ - exact, axis=0)
    predicted = gaussian(other, x) @ exact
    if solver == "dense":
        assert np.all(error <= 1e-11 * np.linalg.norm(exact, axis=0))
        np.testing.assert_allclose(model.predict(other), predicted, atol=1e-11)
        return
    # What is certified holds, says something, and is not a million times what happened.
    residual = y - kernel @ model.dual_coef_ - 0.01 * model.dual_coef_
    np.testing.assert_allclose(model.residual_, np.linalg.norm(residual, axis=0), rtol=1e-6)
    assert np.all(model.residual_ <= 1e-6 * np.linalg.norm(y, axis=0))
    assert np.all(error <= model.error_bound_ * (1 + 1e-9))
    assert np.all(error >= 1e-6 * model.error_bound_)
    off = np.abs(model.predict(other) - predicted).max(axis=0)
    assert np.all(off <= model.residual_ / (2 * np.sqrt(0.01)))
    assert not hasattr(model.set_params(solver="dense").fit(x, y), "error_bound_")


@pytest.mark.heavy
def test_it_is_the_ridge_formula_of_three_thousand_inputs():
    x, y, _ = problem(3000, 10, np.float32)
    model = KernelRidge(activation=stax.Erf(), sigma0=0.5, ridge=1e-3, solver="streamed").fit(x, y)
    kernel = np.asarray(tangent_kernels(x, x, activation=stax.Erf(), sigma0=0.5).total, np.float64)
    stored = model._system.kernel.stored.astype(np.float64)
    np.testing.assert_allclose(stored, kernel, atol=1e-5 * kernel.max())
    exact = solve(stored + 1e-3 * np.eye(3000), y, assume_a="pos")
    error = np.linalg.norm(model.dual_coef_ - exact, axis=0)
    assert np.all(error <= model.error_bound_ * (1 + 1e-6))
    assert np.all(model.residual_ <= 1e-6 * np.linalg.norm(y, axis=0))


@pytest.mark.parametrize("solver", ["dense", "streamed"])
def test_several_ridges_are_as_many_regressions(solver):
    x, y, other = problem()
    ridges = [1.0, 0.1, 0.02]
    together = KernelRidge(gaussian, ridge=ridges, solver=solver, tol=1e-8).fit(x, y)
    assert together.dual_coef_.shape == (3, 300, 3)
    assert together.score(x, y).shape == (3,)
    mean, std = together.predict(other, return_std=True)
    assert (mean.shape, std.shape) == ((3, 20, 3), (3, 20))
    for i, ridge in enumerate(ridges):
        alone = KernelRidge(gaussian, ridge=ridge, solver="dense").fit(x, y)
        one_mean, one_std = alone.predict(other, return_std=True)
        np.testing.assert_allclose(mean[i], one_mean, atol=1e-5)
        np.testing.assert_allclose(std[i], one_std, atol=1e-5)
        assert together.score(x, y)[i] == pytest.approx(alone.score(x, y), abs=1e-6)
    assert np.all(np.diff(std, axis=0) < 0)


def test_it_agrees_with_scikit_learn():
    x, y, other = problem()
    model = KernelRidge(gaussian, ridge=0.05).fit(x, y[:, 0])
    reference = Reference(alpha=0.05, kernel="rbf", gamma=0.5).fit(x, y[:, 0])
    np.testing.assert_allclose(model.predict(other), reference.predict(other), atol=1e-10)
    process = GaussianProcessRegressor(RBF(1.0), alpha=0.05, optimizer=None).fit(x, y[:, 0])
    for solver in ("dense", "streamed"):
        found = KernelRidge(gaussian, ridge=0.05, solver=solver).fit(x, y[:, 0]).predict(other, return_std=True)
        np.testing.assert_allclose(found[1], process.predict(other, return_std=True)[1], atol=1e-5)


def initial_output(x):
    return np.cos(x[:, :3])


@pytest.mark.parametrize("solver", ["dense", "streamed"])
def test_the_corrected_theorem_2(solver):
    x, y, other = problem(100)
    kernels = [np.asarray(tangent_kernels(a, x, activation=stax.Erf(), sigma0=0.7).mu) for a in (x, other)]
    model = KernelRidge(
        activation=stax.Erf(), sigma0=0.7, get="mu", ridge=100 * 0.01, f0=initial_output, solver=solver, tol=1e-7
    ).fit(x, y)
    expected = ridge_corrected(
        kernels[0], y, initial_output(x), beta=0.01, kernel_test=kernels[1], f0_test=initial_output(other)
    )
    np.testing.assert_allclose(model.predict(other), expected, atol=1e-5)
    assert np.abs(KernelRidge(gaussian).fit(x, y).predict(other) - expected).max() > 0.1


def test_a_kernel_can_be_named_in_each_way():
    x, y, other = problem(40)
    _, _, kernel_fn = stax.serial(StochasticDense(64, sigma0=0.5), stax.Erf(), stax.Dense(1))
    for get in ("ntk", "nngp"):
        block = lambda a, b, get=get: kernel_fn(jnp.asarray(a), jnp.asarray(b), get)  # noqa: E731
        by_get = KernelRidge(kernel_fn, get=get, ridge=0.1).fit(x, y).predict(other)
        with jax.enable_x64(True):
            kernel, cross = np.asarray(block(x, x)), np.asarray(block(other, x))
        np.testing.assert_allclose(by_get, cross @ solve(kernel + 0.1 * np.eye(40), y), atol=1e-9)
        given = KernelRidge("precomputed", ridge=0.1).fit(kernel, y)
        np.testing.assert_allclose(given.predict(cross), by_get, atol=1e-9)
    single = KernelRidge(activation=stax.Erf(), sigma0=0.5).fit(x.astype(np.float32), y)
    double = KernelRidge(activation=stax.Erf(), sigma0=0.5).fit(x, y)
    difference = np.abs(single.predict(other) - double.predict(other)).max()
    assert 0 < difference < 1e-4  # the kernel is computed in the precision of the inputs


def test_it_is_part_of_pipelines_and_searches():
    x, y, other = problem(90, 1)
    pipeline = make_pipeline(StandardScaler(), KernelRidge(gaussian))
    search = GridSearchCV(pipeline, {"kernelridge__ridge": [1e3, 0.1]}, cv=3).fit(x, y[:, 0])
    assert search.best_params_ == {"kernelridge__ridge": 0.1}
    kernel = gaussian(x, x)
    given = GridSearchCV(KernelRidge("precomputed"), {"ridge": [1e3, 0.1]}, cv=3).fit(kernel, y[:, 0])
    assert given.best_params_ == {"ridge": 0.1}
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("rows",))
    model = KernelRidge(activation=stax.Erf(), mesh=mesh)
    assert sklearn.base.clone(model).mesh is mesh
    fitted = KernelRidge(gaussian, solver="streamed").fit(x, y[:, 0])
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(other), fitted.predict(other))
    with pytest.raises(ValueError, match="fitted in this process"):
        again.predict(other, return_std=True)


X, Y, _ = problem(12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "expected either kernel or activation, got neither"),
        ({"kernel": gaussian, "activation": stax.Erf()}, ValueError, "got both"),
        ({"kernel": "rbf"}, TypeError, "'precomputed', got 'rbf'"),
        ({"activation": stax.Erf(), "get": "total"}, ValueError, "expected get to be one of ntk"),
        ({"activation": stax.Erf(), "sigma0": -1.0}, ValueError, "sigma0 >= 0"),
        ({"kernel": gaussian, "ridge": -1.0}, ValueError, "ridge >= 0"),
        ({"kernel": gaussian, "ridge": []}, TypeError, "a number or a list of numbers"),
        ({"kernel": gaussian, "ridge": "much"}, TypeError, "a number or a list of numbers"),
        ({"kernel": gaussian, "ridge": 0.0, "solver": "streamed"}, ValueError, "ridge > 0"),
        ({"kernel": gaussian, "solver": "svd"}, ValueError, "'auto', 'dense' or 'streamed'"),
        ({"kernel": gaussian, "solver": "dense", "memory": 100}, ValueError, "fit in memory"),
        ({"kernel": gaussian, "tol": 0.0}, ValueError, "tol between 0 and 1"),
        ({"kernel": gaussian, "max_iter": 0, "solver": "streamed"}, ValueError, "max_iter >= 1"),
        ({"kernel": gaussian, "f0": lambda x: x}, ValueError, "expected f0 to return shape"),
        ({"kernel": lambda a, b: gaussian(a, a)[:5]}, ValueError, "expected a kernel of shape"),
        ({"kernel": lambda a, b: np.log(gaussian(a, b) - 2 * (a @ b.T > 2))[:, ::-1]}, ValueError, "symmetric"),
        ({"kernel": lambda a, b: gaussian(a, b) / 0.0}, ValueError, "finite kernel"),
        ({"kernel": lambda a, b: -gaussian(a, b)}, ValueError, "eigenvalues are above -1, the ridge"),
        ({"kernel": lambda a, b: -gaussian(a, b), "ridge": [1.0, 2.0]}, ValueError, "the smallest ridge"),
        ({"kernel": lambda a, b: -gaussian(a, b), "solver": "streamed"}, ValueError, "above -1, the ridge"),
        ({"kernel": "precomputed"}, ValueError, "square"),
    ],
)
def test_what_does_not_fit_is_refused(options, error, message):
    with np.errstate(divide="ignore"), pytest.raises(error, match=message):
        KernelRidge(**options).fit(X, Y)


def test_a_tangent_kernel_has_no_posterior():
    model = KernelRidge(activation=stax.Erf(), sigma0=0.5).fit(X, Y)
    with pytest.raises(ValueError, match="get='nngp'"):
        model.predict(X, return_std=True)
    with pytest.raises(ValueError, match="precomputed"):
        KernelRidge("precomputed").fit(gaussian(X, X), Y).predict(gaussian(X, X), return_std=True)
    mean, std = KernelRidge(activation=stax.Erf(), sigma0=0.5, get="nngp").fit(X, Y).predict(X, return_std=True)
    assert mean.shape == (12, 3)
    assert np.all(std > 0)


@pytest.mark.parametrize(("fixed", "other"), [("nngp", "ntk"), ("ntk", "nngp")])
def test_a_partial_keeps_the_kernel_that_it_names(fixed, other):
    kernel_fn = stax.serial(StochasticDense(1, sigma0=0.5), stax.Erf(), stax.Dense(1))[2]
    model = KernelRidge(functools.partial(kernel_fn, get=fixed), get=other, ridge=0.1).fit(X[:8], Y[:8])
    k = np.asarray(kernel_fn(jnp.asarray(X), jnp.asarray(X[:8]), fixed), np.float64)
    np.testing.assert_allclose(model.predict(X), k @ np.linalg.solve(k[:8] + 0.1 * np.eye(8), Y[:8]), atol=1e-5)
    if fixed == "ntk":
        with pytest.raises(ValueError, match="tangent kernel is not the covariance"):
            model.predict(X, return_std=True)


@pytest.mark.parametrize("n", [1, 12])
@pytest.mark.parametrize("wrap", [lambda fn: fn, lambda fn: lambda a, b: fn(a, b, "nngp")], ids=["plain", "lambda"])
def test_the_noise_of_dropout_inflates_nothing(n, wrap):
    """The covariance of f̂ does not know of dropout with independent masks: it is that of the network without it."""

    def model(*dropout):
        kernel_fn = stax.serial(stax.Dense(1), stax.Relu(), *dropout, stax.Dense(1))[2]
        return KernelRidge(wrap(kernel_fn), get="nngp", ridge=0.1).fit(X[:n], Y[:n])

    noisy, plain = model(stax.Dropout(0.5)), model()
    for x in (X[:n], X[:1], X):
        for found, expected in zip(noisy.predict(x, return_std=True), plain.predict(x, return_std=True), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_is_certified_holds_or_the_kernel_is_refused():
    """Half of the eigenvalues at −0.0999 and a ridge of 0.1: residuals of 1e-3 are errors of 10 ‖Y‖, not of 0.01."""
    rng = np.random.default_rng(0)
    vectors, values = np.linalg.qr(rng.normal(size=(200, 200)))[0], rng.uniform(0, 1, 200)
    y = rng.normal(size=200)
    for lowest, refused in ((-0.0999, True), (0.0, False)):
        values[:100] = lowest
        kernel = (vectors * values) @ vectors.T
        model = KernelRidge("precomputed", ridge=0.1, solver="streamed", tol=1e-3)
        if refused:
            with pytest.raises(ValueError, match="positive semi-definite kernel, got a direction"):
                model.fit((kernel + kernel.T) / 2, y)
        else:
            error = model.fit((kernel + kernel.T) / 2, y).dual_coef_ - np.linalg.solve(kernel + 0.1 * np.eye(200), y)
            assert np.linalg.norm(error) <= model.error_bound_


def test_what_float32_cannot_resolve_is_warned_of():
    x = np.linspace(0, 1, 200)[:, None]
    with pytest.warns(ConvergenceWarning, match=r"stalled.*condition number is about.*ridge well above"):
        KernelRidge(gaussian, ridge=2e-5, solver="streamed", tol=1e-14).fit(x, np.sign(np.sin(40 * x[:, 0])))
    with pytest.warns(ConvergenceWarning, match=r"ended after 2 passes.*raise max_iter or rank"):
        KernelRidge(gaussian, ridge=1e-3, solver="streamed", rank=1, max_iter=2).fit(*problem(100)[:2])


def start(folder, *arguments, flags=""):
    """A fit in a process of its own, which prints a line at every block of the kernel and every pass."""
    source = Path(__file__).parents[2] / "src"
    return subprocess.Popen(
        [sys.executable, str(RUN), str(folder), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(source), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        text=True,
    )


def killed_after(folder, word, times):
    """What a fit said until it was killed, when it had said a word so many times."""
    seen = []
    with start(folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line.strip())
            if seen.count(word) == times:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return seen


def test_a_fit_that_is_killed_goes_on(tmp_path, monkeypatch):
    killed_after(tmp_path, "block", 16)
    said = killed_after(tmp_path, "pass", 5)
    # Two or three of eight rows of blocks were there, and the kernel is looked at once to see that it is the same.
    assert said.count("block") in (1 + 21, 1 + 15)
    with start(tmp_path) as last:
        said = last.communicate()[0].split()
    assert last.returncode == 0
    assert said.count("block") == 1
    passes = []
    product = run.sharding.ShardedKernel.product
    monkeypatch.setattr(run.sharding.ShardedKernel, "product", lambda *a: (passes.append(1), product(*a))[1])
    whole = run.fit(run.gaussian)
    assert 1 < said.count("pass") < len(passes)
    np.testing.assert_allclose(np.load(tmp_path / "dual.npy"), whole.dual_coef_, atol=2 * whole.error_bound_.max())


def agrees_with_one_device(folder):
    one, x = run.fit(run.gaussian), run.problem()[0]
    # Sums in float32 are taken in another order: what is certified of both is all that they share.
    np.testing.assert_allclose(np.load(folder / "dual.npy"), one.dual_coef_, atol=2 * one.error_bound_.max())
    np.testing.assert_allclose(np.load(folder / "std.npy"), one.predict(x[:4], return_std=True)[1], atol=1e-7)


@pytest.mark.parametrize("rows", [range(53), range(20, 41), range(7), range(45, 53)])
def test_a_stored_kernel_is_the_kernel(rows, tmp_path, monkeypatch):
    """In blocks whose number does not divide it, of one process or of one among several, in memory or in a file."""
    monkeypatch.setattr(storage, "TILE", 10)
    x = np.random.default_rng(0).standard_normal((53, 3))
    kernel = rbf_kernel(x, x).astype(np.float32)
    for folder in (None, tmp_path, tmp_path):
        stored = storage.store_rows(rbf_kernel, x, rows, folder, verbose=False)
        np.testing.assert_allclose(stored, kernel[rows.start : rows.stop], rtol=1e-6)
    whole = stored[:, rows.start : rows.stop]
    np.testing.assert_array_equal(whole, whole.T)


def test_predictions_come_in_blocks(monkeypatch):
    x, y, other = problem(50)
    once = KernelRidge(gaussian, ridge=0.1).fit(x, y).predict(other, return_std=True)
    monkeypatch.setattr(blocks, "TILE", 8)
    monkeypatch.setattr(estimator, "TILE", 8)
    again = KernelRidge(gaussian, ridge=0.1).fit(x, y).predict(other, return_std=True)
    for one, two in zip(once, again, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-13)


def test_eight_devices_are_one(tmp_path):
    with start(tmp_path, "mesh", flags="--xla_force_host_platform_device_count=8") as process:
        process.communicate()
    assert process.returncode == 0
    for shape in ("8", "4x2"):
        agrees_with_one_device(tmp_path / shape)


@pytest.mark.heavy
def test_two_processes_are_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with start(tmp_path, 2, 0, port) as first, start(tmp_path, 2, 1, port) as second:
        for process in (first, second):
            process.communicate()
    assert first.returncode == second.returncode == 0
    for index in "01":
        agrees_with_one_device(tmp_path / index)
    # Each stores its own half of the kernel, and the first the checkpoint.
    assert [path.stat().st_size for path in sorted(tmp_path.glob("kernel-*.float32"))] == [4 * 80 * 160] * 2
    assert len(list(tmp_path.glob("solve-*.npz"))) == 1


def test_a_folder_belongs_to_one_kernel(tmp_path):
    x, y, other = problem(60)
    fit = {"ridge": 0.1, "solver": "streamed", "folder": tmp_path}
    first = KernelRidge(gaussian, **fit).fit(x, y)
    again = KernelRidge(gaussian, **fit).fit(x, y)
    assert again.n_iter_ == first.n_iter_
    np.testing.assert_array_equal(again.predict(other), first.predict(other))
    # Other targets share the kernel, and nothing else.
    third = KernelRidge(gaussian, **fit).fit(x, -y)
    np.testing.assert_allclose(third.predict(other), -first.predict(other), atol=1e-12)
    with pytest.raises(ValueError, match="one of others"):
        KernelRidge(gaussian, **fit).fit(2 * x, y)
    with pytest.raises(ValueError, match="another of the same inputs"):
        KernelRidge(rbf_kernel, **fit).fit(x, y)
    for path in tmp_path.glob("solve-*.npz"):
        path.write_bytes(b"half")
    with pytest.raises(ValueError, match="remove it"):
        KernelRidge(gaussian, **fit).fit(x, y)


def test_a_kernel_a_little_different_is_another_and_a_removed_file_takes_its_solves_with_it(tmp_path):
    x, y, other = problem(60)
    fit = {"activation": stax.Erf(), "ridge": 1e-4, "solver": "streamed", "folder": tmp_path}
    KernelRidge(sigma0=0.5, **fit).fit(x, y)
    with pytest.raises(ValueError, match="another of the same inputs"):
        KernelRidge(sigma0=0.5001, **fit).fit(x, y)
    for path in tmp_path.glob("kernel-*"):
        path.unlink()
    found = KernelRidge(sigma0=1.0, **fit).fit(x, y).predict(other)
    dense = KernelRidge(activation=stax.Erf(), sigma0=1.0, ridge=1e-4, solver="dense").fit(x, y).predict(other)
    np.testing.assert_allclose(found, dense, atol=1e-4)


@pytest.mark.parametrize("ridge", [0.0, [0.0, 1.0]])
def test_a_kernel_that_is_singular_to_rounding_is_refused(ridge):
    x = np.array([[0.0], [3e-8], [1.0]])
    with pytest.raises(ValueError, match="above rounding"):
        KernelRidge(rbf_kernel, ridge=ridge).fit(x, [0.0, 1.0, 0.0])
    clear = KernelRidge(rbf_kernel, ridge=ridge).fit(np.array([[0.0], [0.1], [1.0]]), [0.0, 1.0, 0.0])
    first = clear.predict(np.array([[0.0], [0.1], [1.0]])).reshape(-1, 3)[0]
    np.testing.assert_allclose(first, [0.0, 1.0, 0.0], atol=1e-9)
