"""The noise that gives a wanted variance: against closed forms, with no root and with two."""

import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import StochasticDense, sigma0_for, stax
from snn_ntk.layers import Nonlinearity

X = jnp.eye(2)


def network(activation):
    return lambda sigma0: stax.serial(StochasticDense(8, 2.0, sigma0=sigma0), activation, stax.Dense(1))[2]


def test_linear_units_have_it_in_closed_form(x64):
    """cov1 − nngp = W_std² σ0² ‖x‖²/d = 2 σ0²."""
    level = sigma0_for(network(stax.Monomial(1)), X.astype(float), 0.5)
    np.testing.assert_allclose(level.sigma0, 0.5, rtol=1e-6)
    assert level.others == ()


def test_bounded_units_do_not_reach_every_variance(x64):
    """The variance of erf, 2/π [arcsin(2q/(1 + 2q)) − arcsin(2c/(1 + 2q))], is below 1."""
    level = sigma0_for(network(stax.Erf()), X.astype(float), 0.6)
    q = 2 * (1 + level.sigma0**2)
    assert 2 / np.pi * (np.arcsin(2 * q / (1 + 2 * q)) - np.arcsin(4 / (1 + 2 * q))) == pytest.approx(0.6, rel=1e-6)
    with pytest.raises(ValueError, match=r"expected a variance between .* and 0.995.*, got 1.2"):
        sigma0_for(network(stax.Erf()), X.astype(float), 1.2)


def test_a_peak_gives_two(x64):
    """exp(−z²) has κ(c) = 1/√((1 + 2q)² − 4c²), and its variance rises and falls again."""

    def variance(sigma0):
        q = 2 * (1 + sigma0**2)
        return 1 / np.sqrt((1 + 2 * q) ** 2 - 4 * q**2) - 1 / np.sqrt((1 + 2 * q) ** 2 - 16)

    grid = np.exp(np.linspace(np.log(1e-3), np.log(1e2), 20_001))
    peak = variance(grid).max()
    for share in (0.5, 1 - 1e-6):  # the second lies between two points of the search
        level = sigma0_for(network(stax.Gaussian()), X.astype(float), share * peak)
        assert len(level.others) == 1
        np.testing.assert_allclose([variance(level.sigma0), variance(level.others[0])], share * peak, rtol=1e-6)
        assert level.sigma0 < grid[variance(grid).argmax()] < level.others[0]


@pytest.mark.heavy
def test_a_function_without_a_closed_form_has_the_same_noise_levels():
    x = np.random.default_rng(0).normal(size=(3, 3))

    def network(layer):
        return lambda sigma0: stax.serial(StochasticDense(8, sigma0=sigma0), layer, stax.Dense(1))

    for variance in (0.003, 0.03):
        known = sigma0_for(network(stax.Gaussian(1.0, -1.0)), x, variance)
        found = sigma0_for(network(Nonlinearity(lambda z: jnp.exp(-z * z))), x, variance)
        assert found.sigma0 == pytest.approx(known.sigma0, rel=1e-3)
        assert found.others == pytest.approx(known.others, rel=1e-3)


@pytest.mark.parametrize("options", [{"between": (0, 10)}, {"between": (2, 1)}, {"variance": -1.0}])
def test_what_no_noise_gives_is_refused(unchecked, options):
    with pytest.raises(ValueError, match="expected"):
        sigma0_for(network(stax.Erf()), X, **{"variance": 0.1} | options)
