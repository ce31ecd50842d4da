"""The ridge formulas on kernels that are diagonal, where each point is regressed by itself, and numbers that are none."""

import numpy as np
import pytest

from snn_ntk import paper

K, ACROSS = np.diag([1.0, 4.0]), np.array([[0.5, 3.0]])
Y, F0, F0_TEST = np.array([[1.0], [2.0]]), np.array([[0.2], [-1.0]]), np.array([[0.7]])
BETA, SIGMA0 = 0.3, 2.0


@pytest.mark.parametrize(
    ("ridge", "start", "predict"),
    [
        (BETA, 0.0, lambda **test: paper.ridge_as_printed(K, Y, beta=BETA, **test)),
        (2 * BETA, 1.0, lambda **test: paper.ridge_corrected(K, Y, F0, beta=BETA, **test)),
        (BETA / SIGMA0**2, 1.0, lambda **test: paper.ridge_exact_kl(K, Y, F0, beta=BETA, sigma0=SIGMA0, **test)),
    ],
)
def test_each_point_by_itself(ridge, start, predict):
    f0, f0_test = start * F0, start * F0_TEST
    weights = (Y - f0)[:, 0] / (np.diag(K) + ridge)
    np.testing.assert_allclose(predict()[:, 0], f0[:, 0] + np.diag(K) * weights, rtol=1e-12)
    test = {"kernel_test": ACROSS} | ({"f0_test": F0_TEST} if start else {})
    np.testing.assert_allclose(predict(**test)[:, 0], f0_test[:, 0] + ACROSS @ weights, rtol=1e-12)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(number):
    for spoiled in ("kernel", "y", "f0", "kernel_test", "f0_test"):
        arguments = {"kernel": K, "y": Y, "f0": F0, "kernel_test": ACROSS, "f0_test": F0_TEST}
        arguments[spoiled] = arguments[spoiled].copy()
        arguments[spoiled][0, 0] = number
        with pytest.raises(ValueError, match="expected finite kernels, outputs and targets"):
            paper.ridge_corrected(**arguments, beta=BETA)
    with pytest.raises(ValueError, match="expected beta > 0"):
        paper.ridge_corrected(K, Y, F0, beta=number)


def test_an_eigenvalue_below_minus_the_ridge_is_named():
    kernel = np.array([[1.0, 2.5], [2.5, 1.0]])  # eigenvalues 3.5 and -1.5
    with pytest.raises(ValueError, match=r"got the eigenvalue -1\.5 and the ridge 0\.6: take a ridge above 1\.5"):
        paper.ridge_corrected(kernel, Y, F0, beta=BETA)
    kernel[0, 1] = kernel[1, 0] = 1.5  # 2.5 and -0.5, which a ridge of 0.6 lifts
    assert np.isfinite(paper.ridge_corrected(kernel, Y, F0, beta=BETA)).all()


def test_the_effective_ridge_is_the_least_squares_fit():
    rng = np.random.default_rng(0)
    kernel, y, f0, f = rng.normal(size=(3, 3)), *rng.normal(size=(3, 3, 2))
    fitted = np.linalg.lstsq((f - f0).reshape(-1, 1), (kernel @ (y - f)).ravel(), rcond=None)[0]
    assert paper.effective_ridge(kernel, y, f0, f) == pytest.approx(fitted[0], rel=1e-12)


@pytest.mark.parametrize("sigma0", [0.0, -1.0, np.inf, np.nan])
def test_the_divergence_needs_noise_of_some_size(sigma0):
    with pytest.raises(ValueError, match="expected sigma0 > 0"):
        paper.ridge_exact_kl(K, Y, F0, beta=BETA, sigma0=sigma0)


def test_a_kernel_that_is_not_symmetric_is_inverted_whole():
    kernel = np.array([[2.0, 1.0], [0.0, 3.0]])
    y, f0 = np.array([[1.0], [2.0]]), np.zeros((2, 1))
    wanted = kernel @ np.array([[1 / 3 - 2 / 12], [0.5]])  # (K + 1)⁻¹ Y with K + 1 = [[3, 1], [0, 4]]
    np.testing.assert_allclose(paper.ridge_corrected(kernel, y, f0, beta=0.5), wanted, rtol=1e-14)
    with pytest.raises(ValueError, match="expected an invertible kernel"):
        paper.ridge_corrected(np.array([[0.0, 1.0], [0.0, -1.0]]), y, f0, beta=0.5)


def test_rounding_is_that_of_the_largest_entry():
    """A singular value of 1 is rounding beside one of 1e18, and one of 7e-16 beside a ridge of 1.5."""
    y, f0 = np.ones((3, 1)), np.zeros((3, 1))
    skew = np.array([[1e18, 1e17, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match="expected an invertible kernel"):
        paper.ridge_corrected(skew, y, f0, beta=0.5)
    with pytest.raises(ValueError, match="smallest eigenvalue plus the ridge is above rounding"):
        paper.ridge_corrected(np.diag([7e-16 - 1.5, 1.5, 1.5]), y, f0, beta=0.5)
