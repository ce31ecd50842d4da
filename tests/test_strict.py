"""Kernels, layers and the theory hold under JAX's strict rules: no implicit change of type, none of the rank."""

import doctest

import jax
import jax.numpy as jnp
import pytest
from test_precision import EXAMPLES

from snn_ntk import StochasticDense, predictive_variance, stax

STRICT = {
    "types": lambda: jax.numpy_dtype_promotion("strict"),
    "ranks": lambda: jax.numpy_rank_promotion("raise"),
}
FOLDERS = ("activations", "kernels", "layers", "ntk")

pytestmark = pytest.mark.heavy


@pytest.fixture(params=STRICT)
def strict(request):
    with STRICT[request.param]():
        yield


@pytest.mark.parametrize("name", sorted(name for name in EXAMPLES if name.split(".")[1] in FOLDERS))
def test_examples_hold_under_strict_rules(name, strict):
    for example in EXAMPLES[name]:
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
        assert runner.run(example, clear_globs=False).failed == 0


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3)])
@pytest.mark.parametrize("options", [{}, {"noise": "shared"}, {"parameterization": "standard"}], ids=str)
def test_layers_hold_under_strict_rules(shape, options, strict):
    """neural-tangents' own RectifiedMonomial multiplies a truth value with a number, and is left out."""
    x = jax.random.normal(jax.random.key(0), shape)
    layers = [StochasticDense(4, 1.2, sigma0=0.5, b_std=0.3, **options), stax.Erf(), stax.Flatten(), stax.Dense(4)]
    layers += [stax.Relu(), StochasticDense(4, sigma0=0.3), stax.Sign(), stax.Dense(1)]
    init_fn, apply_fn, kernel_fn = stax.serial(*layers)
    for kernel in (kernel_fn(x), kernel_fn(x, x + 1), kernel_fn(jnp.ones(shape, jnp.uint8))):
        assert bool(jnp.isfinite(kernel.ntk).all())
    if options != {"noise": "shared"}:
        assert predictive_variance(kernel_fn(x)).shape == (2,)
    _, params = init_fn(jax.random.key(1), shape)
    gradient = jax.grad(lambda params: apply_fn(params, x, rng=jax.random.key(2)).sum())(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
