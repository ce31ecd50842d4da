"""Averages over noise of any size: against adaptive integration, and refused by name where they are not resolved."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from snn_ntk.activations import resolve
from snn_ntk.paper import Parameters, empirical_tangent_kernels, expected_output, output_variance

# SciPy's function, and its derivative, beside JAX's.
FUNCTIONS = {
    "tanh": (jnp.tanh, np.tanh, lambda z: 1 / np.cosh(np.clip(z, -300, 300)) ** 2),
    "softplus": (jax.nn.softplus, lambda z: np.logaddexp(0, z), lambda z: 0.5 * (1 + np.tanh(z / 2))),
    "steep": (
        lambda z: jnp.tanh(4 * z),
        lambda z: np.tanh(4 * z),
        lambda z: 4 / np.cosh(np.clip(4 * z, -300, 300)) ** 2,
    ),
    "cubic": (lambda z: z**3 - z, lambda z: z**3 - z, lambda z: 3 * z**2 - 1),
}
POINTS = [(u, s) for s in (1e-6, 0.4, 2.5, 7.0, 60.0, 2e3) for u in (0.0, -0.3, 4.0, 3.3 * s)]


def expectation(f, u, s, power=0):
    """E gᵏ f(u + s g), piece by piece around where f changes and where the density is."""
    edges = {-13.0, 13.0, *np.linspace(-13, 13, 27).tolist()}
    edges |= {(z - u) / s for z in np.concatenate([[0], np.geomspace(0.1, 40, 9)]) for z in (-z, z)}
    edges = sorted(edge for edge in edges if abs(edge) <= 13)
    x, w = np.polynomial.legendre.leggauss(40)
    low, high = np.array(edges[:-1])[:, None], np.array(edges[1:])[:, None]
    g, weight = low + (high - low) * (x + 1) / 2, (high - low) * w / 2
    return float((weight * np.exp(-g * g / 2) / math.sqrt(2 * math.pi) * g**power * f(u + s * g)).sum())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_callables_at_any_noise(name, dtype):
    phi, f, slope = FUNCTIONS[name]
    known = resolve(phi)
    with jax.enable_x64(dtype == "float64"):
        u, s = (jnp.asarray(each, dtype) for each in zip(*POINTS, strict=True))
        both = jax.jit(lambda u, s: (*jax.jvp(known.smoothed, (u, s), (0 * u, 0 * s + 1)), known.second_moment(u, s)))
        found = [np.asarray(each, np.float64) for each in both(u, s)]
        points = [(float(a), float(b)) for a, b in zip(u, s, strict=True)]
    for index, (u, s) in enumerate(points):
        square = expectation(lambda z: f(z) ** 2, u, s)
        steepness = math.sqrt(expectation(lambda z: slope(z) ** 2, u, s))
        wanted = expectation(f, u, s), expectation(slope, u, s, 1), square
        rel = 1e-9 if dtype == "float64" else 1e-5
        for got, want, size in zip(found, wanted, (math.sqrt(square), steepness, square), strict=True):
            # u + s g has an error of its own, and so has a function where it is the difference of larger numbers.
            rounding = float(np.finfo(dtype).eps) * (4 * abs(u) * steepness + 200)
            assert got[index] == pytest.approx(want, abs=rel * size + rounding), (u, s)


def test_adaptive_integration_agrees_with_the_reference():
    for u, s in ((0.3, 7.0), (4.0, 60.0)):
        want = integrate.quad(
            lambda g, u=u, s=s: math.tanh(u + s * g) * math.exp(-g * g / 2), -10, 10, points=[-u / s]
        )[0]
        assert expectation(np.tanh, u, s) == pytest.approx(want / math.sqrt(2 * math.pi), rel=1e-8)


NOT_RESOLVED = {
    "too fast": (lambda z: jnp.sin(z * z), 30.0),
    "far from 0": (lambda z: jnp.tanh(z - 5e3), 3e3),
    "a jump away from 0": (lambda z: jnp.where(z > 1.0, 1.0, 0.0) * z, 1.0),
    "overflow": (lambda z: jnp.exp(z), 60.0),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if "jump" in n else pytest.mark.heavy) for n in NOT_RESOLVED]
)
def test_what_is_not_resolved_names_mean_and_variance(name, x64):
    phi, noise = NOT_RESOLVED[name]
    params = Parameters(jnp.zeros((4, 1)), jnp.full((4, 1), noise), jnp.ones((4, 1)))
    x = jnp.ones((1, 1))
    for function in (expected_output, output_variance, empirical_tangent_kernels):
        of = functools.partial(function, activation=phi)
        with pytest.raises(
            ValueError,
            match=rf"whose noise .*averaged.*means up to 0 and variances up to {noise**2:.4g}".replace("+", r"\+"),
        ):
            of(params, x)
        assert not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(jax.jit(of)(params, x)))
