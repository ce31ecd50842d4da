"""Kernels of a network that one has, a function or a model of Equinox or Flax: against closed forms, whatever the blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk import finite_tangent_kernels

D, OUT = 3, 2
X = np.random.default_rng(0).normal(size=(5, D)).astype(np.float32)


def noisy(params, x, rng):
    """Features x + ζ and their squares into a linear readout: gradients have means and variances in closed form."""
    z = x + 0.6 * jax.random.normal(rng, x.shape)
    return z @ params["a"] + z**2 @ params["b"]


PARAMS = {"a": jnp.ones((D, OUT)), "b": jnp.ones((D, OUT))}


def closed_form(x, y, same):
    """E z = x, E z² = x² + s²; with one noise Var z = s², Var z² = 4 x² s² + 2 s⁴."""
    s2 = 0.36
    expected = x @ y.T + (x**2 + s2) @ (y**2 + s2).T
    return expected, expected + same * np.diag(D * s2 + (4 * x**2 * s2 + 2 * s2**2).sum(1)) if same else expected


def test_they_are_the_closed_forms():
    got = finite_tangent_kernels(noisy, PARAMS, X, None, jax.random.key(0), samples=8, repeats=400, batch_size=2)
    expected, sampled = closed_form(X, X, 1)
    for value, error, want in (
        (got.expected, got.expected_error, expected),
        (got.sampled, got.sampled_error, sampled),
    ):
        np.testing.assert_array_less(np.abs(value - want), 4.5 * error)
        np.testing.assert_allclose(value, value.T, rtol=1e-6)
        assert (error < 0.1 * np.abs(want).max()).all()
    # The two can be told apart.
    assert np.diag(got.sampled - got.expected).sum() > 5 * np.linalg.norm(np.diag(got.sampled_error))


def test_errors_are_those_of_repetition():
    """The spread of 60 estimates is what each says of itself."""
    keys = jax.random.split(jax.random.key(1), 60)
    runs = [finite_tangent_kernels(noisy, PARAMS, X[:1], None, key, samples=2, repeats=8) for key in keys]
    for field in ("expected", "sampled"):
        spread = np.std([getattr(run, field)[0, 0] for run in runs], ddof=1)
        said = np.sqrt(np.mean([getattr(run, f"{field}_error")[0, 0] ** 2 for run in runs]))
        # A standard deviation of 60 has relative error 9 %.
        assert 0.7 < spread / said < 1.4


@pytest.mark.heavy
def test_blocks_change_nothing():
    whole = finite_tangent_kernels(noisy, PARAMS, X, None, jax.random.key(0), samples=2, repeats=2)
    parts = finite_tangent_kernels(noisy, PARAMS, X, None, jax.random.key(0), samples=2, repeats=2, batch_size=3)
    two = finite_tangent_kernels(noisy, PARAMS, X, X[:2], jax.random.key(0), samples=2, repeats=2, batch_size=4)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one[0, :3], other[0, :3], rtol=1e-5)
    assert two.expected.shape == (5, 2)
    expected = closed_form(X, X[:2], 0)[0]
    assert np.abs(two.expected - expected).max() < 2 * np.abs(expected).max()


def test_a_model_of_equinox():
    eqx = pytest.importorskip("equinox")

    class Model(eqx.Module):
        a: jax.Array
        b: jax.Array
        name: str = "noisy"

        def __call__(self, x, *, key):
            return noisy({"a": self.a, "b": self.b}, x[None], key)[0]

    params, static = eqx.partition(Model(PARAMS["a"], PARAMS["b"]), eqx.is_inexact_array)

    def apply_fn(params, x, rng):
        return jax.vmap(eqx.combine(params, static))(x, key=jax.random.split(rng, len(x)))

    _agrees(apply_fn, params)


def test_a_model_of_flax():
    nnx = pytest.importorskip("flax.nnx")

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Param(PARAMS["a"]), nnx.Param(PARAMS["b"])
            self.rngs = rngs

        def __call__(self, x):
            return noisy({"a": self.a[...], "b": self.b[...]}, x, self.rngs.noise())

    graph, params, rest = nnx.split(Model(nnx.Rngs(noise=0)), nnx.Param, ...)

    def apply_fn(params, x, rng):
        model = nnx.merge(graph, params, rest)
        model.rngs = nnx.Rngs(noise=rng)
        return model(x)

    _agrees(apply_fn, params)


def _agrees(apply_fn, params):
    got = finite_tangent_kernels(apply_fn, params, X[:2], None, jax.random.key(0), samples=8, repeats=60)
    expected, sampled = closed_form(X[:2], X[:2], 1)
    np.testing.assert_array_less(np.abs(got.expected - expected), 5 * got.expected_error)
    np.testing.assert_array_less(np.abs(got.sampled - sampled), 5 * got.sampled_error)


def test_counts_are_looked_at():
    with pytest.raises(ValueError, match="repeats >= 2"):
        finite_tangent_kernels(noisy, PARAMS, X, None, jax.random.key(0), repeats=1)
    with pytest.raises(ValueError, match="batch_size >= 1"):
        finite_tangent_kernels(noisy, PARAMS, X, None, jax.random.key(0), batch_size=0)
