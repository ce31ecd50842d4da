"""No product of floats below full precision: every public function's example is run, and every product looked at.

The precision of a product stands in its jaxpr, on every device; only accelerators do anything with it.
"""

from __future__ import annotations

import doctest
import importlib
import re
import sys
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import snn_ntk
from snn_ntk import StochasticDense, nt, stax, tangent_kernels
from snn_ntk.experiments import asymmetrical_scaling as scaling
from snn_ntk.vae import encode, evaluate, loss_terms, reconstruct, start_vae, train_vae

PACKAGE = Path(snn_ntk.__file__).parent
PRODUCTS = (jax.lax.dot_general_p, jax.lax.conv_general_dilated_p)
HIGHEST = (jax.lax.Precision.HIGHEST,) * 2

pytestmark = pytest.mark.heavy


def _public() -> dict[str, Any]:
    """Every name of a folder's table, by where it is defined."""
    found = {}
    for path in [PACKAGE / "__init__.py", *sorted(PACKAGE.rglob("*/__init__.py"))]:
        table = importlib.import_module(".".join(path.parent.relative_to(PACKAGE.parent).parts))
        for name in getattr(table, "__all__", ()):
            value = getattr(table, name)
            if callable(value) and value.__module__.startswith("snn_ntk"):
                found[f"{value.__module__}.{name}"] = value
    return found


def _examples(name: str) -> list[doctest.DocTest]:
    names = dict(vars(sys.modules[PUBLIC[name].__module__]))
    return [test for test in doctest.DocTestFinder().find(PUBLIC[name], name, globs=names) if test.examples]


PUBLIC = _public()
EXAMPLES = {name: found for name in PUBLIC if (found := _examples(name))}


def _vaes():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1), dtype=np.uint8)
    for architecture in ("dense", "convolutional"):
        state = start_vae(jax.random.key(0), (32, 32, 1), 2, architecture=architecture, width=8)
        encode(state.model, images)
        reconstruct(state.model, images)
        evaluate(state.model, images, key=jax.random.key(1))
        loss_terms(state.model, jnp.asarray(images / np.float32(255)), jnp.zeros((4, 2)))
        train_vae(state, images, beta=1.0, steps=1, batch=2, rows=1)


def _scaled_networks():
    run = scaling.draw_run(scaling.scaling_data("airfoil", n=20), scaling.CONFIGURATIONS[2], seed=0, m=20)
    trajectory = scaling.train_scaled(run, steps=2, every=1, progress=False)
    scaling.curves(trajectory)
    scaling.pruned(trajectory.params, run, [0, 10])
    scaling.transferred(trajectory.params, run, [2], seed=0, steps=1)


# Functions without an example of their own, by what runs them here.
WALKED = {
    _vaes: {"encode", "evaluate", "loss_terms", "reconstruct", "start_vae"},
    _scaled_networks: {"curves", "pruned", "train_scaled", "transferred", "run_asymmetrical_scaling"},
}
# They read, write and arrange; those of `reporting` know no mathematics.
NO_PRODUCT = {"cifar10", "cifar10_features", "followed_nodes", "stack_runs"}


def _caller() -> str:
    """The file of the nearest frame outside JAX."""
    frame = sys._getframe(2)
    while "/jax/" in Path(frame.f_code.co_filename).as_posix() and frame.f_back:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"


@pytest.fixture(scope="module", autouse=True)
def _traced_anew():
    """What was traced before, without being looked at, would not be traced again."""
    jax.clear_caches()


@pytest.fixture
def imprecise(monkeypatch):
    """The products of floats in less than full precision that are traced or computed, by who asks for them."""
    found: list[str] = []
    for primitive in PRODUCTS:

        def bind(*args, _bind=primitive.bind, _name=primitive.name, **params):
            floats = any(jnp.issubdtype(jax.dtypes.result_type(arg), jnp.inexact) for arg in args)
            where = _caller()
            if floats and params["precision"] != HIGHEST and not where.startswith(("<doctest", __file__)):
                found.append(f"{_name} by {where}")
            return _bind(*args, **params)

        monkeypatch.setattr(primitive, "bind", bind)
    return found


def test_every_public_function_is_walked_or_takes_no_product():
    functions = {name for name, value in PUBLIC.items() if not isinstance(value, type)} - set(EXAMPLES)
    left = {name.rpartition(".")[2] for name in functions if not name.startswith("snn_ntk.reporting.")}
    assert left == NO_PRODUCT.union(*WALKED.values())


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_hold_in_double_precision_too_and_have_full_precision(name, imprecise, x64):
    """pytest runs the same examples in single precision, where it finds them."""
    for example in EXAMPLES[name]:
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
        assert runner.run(example).failed == 0
    assert not imprecise


@pytest.mark.parametrize("walk", WALKED)
def test_what_has_no_example_has_full_precision(walk, imprecise):
    walk()
    assert not imprecise


@pytest.mark.filterwarnings("ignore")
def test_layers_have_full_precision(imprecise):
    """Kernels, samples and their gradients of every layer with products, through the door to neural-tangents."""
    x, y = jax.random.normal(jax.random.key(0), (2, 2, 4, 3))
    pattern = jnp.ones((2, 4, 4))
    layers = [
        *(stax.Conv(4, (2,)), stax.ConvLocal(4, (2,)), stax.ConvTranspose(4, (2,)), stax.Dense(4)),
        *(StochasticDense(4, sigma0=0.5), StochasticDense(4, sigma0=0.5, noise="shared"), stax.LayerNorm()),
        *(stax.AvgPool((2,)), stax.SumPool((2,)), stax.ImageResize((-1, 2, -1), "linear"), stax.Aggregate(1)),
        stax.DotGeneral(rhs=jnp.ones(4), dimension_numbers=(((1,), (0,)), ((), ()))),
        stax.GlobalSelfAttention(4, 4, 4, 2),
        *(stax.ElementwiseNumerical(jnp.tanh, deg=5), stax.GlobalAvgPool(), stax.GlobalSumPool(), stax.Flatten()),
    ]
    for layer in layers:
        init_fn, apply_fn, kernel_fn = stax.serial(stax.Dense(3), layer, stax.Flatten(), stax.Dense(1))
        _, params = init_fn(jax.random.key(1), x.shape)
        more = {"pattern": pattern} if layer[1].__name__ == "Aggregate" else {}
        jax.grad(lambda p: apply_fn(p, x, rng=jax.random.key(2), **more).sum())(params)  # noqa: B023
        kernel_fn(x, y, **{name: (value, value) for name, value in more.items()})


@pytest.mark.filterwarnings("ignore")
def test_functions_of_neural_tangents_have_full_precision(imprecise):
    x = jax.random.normal(jax.random.key(0), (4, 3))
    target = jnp.sin(x[:, :1])
    init_fn, apply_fn, kernel_fn = stax.serial(stax.Dense(8), stax.Erf(), stax.Dense(1))
    _, params = init_fn(jax.random.key(1), x.shape)
    calls = {
        "batch": lambda: nt.batch(kernel_fn, batch_size=2)(x),
        "empirical_kernel_fn": lambda: nt.empirical_kernel_fn(apply_fn)(x, None, ("nngp", "ntk"), params),
        "empirical_nngp_fn": lambda: nt.empirical_nngp_fn(apply_fn)(x, None, params),
        "empirical_ntk_fn": lambda: [
            nt.empirical_ntk_fn(apply_fn, implementation=i)(x, None, params) for i in (0, 1, 2)
        ],
        "empirical_ntk_vp_fn": lambda: nt.empirical_ntk_vp_fn(apply_fn, x, None, params)(target),
        "linearize": lambda: nt.linearize(apply_fn, params)(params, x),
        "monte_carlo_kernel_fn": lambda: nt.monte_carlo_kernel_fn(init_fn, apply_fn, jax.random.key(2), 2)(
            x, None, "ntk"
        ),
        "taylor_expand": lambda: nt.taylor_expand(apply_fn, params, 2)(params, x),
    }
    k = kernel_fn(x)
    predictions = {
        "gp_inference": lambda: nt.predict.gp_inference(k, target)(get="ntk", k_test_train=k),
        "gradient_descent": lambda: nt.predict.gradient_descent(
            lambda f, y: 0.5 * jnp.mean((f - y) ** 2), k.ntk, target
        )(1.0, target),
        "gradient_descent_mse": lambda: nt.predict.gradient_descent_mse(k.ntk, target)(1.0, target, target, k.ntk),
        "gradient_descent_mse_ensemble": lambda: nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, target)(
            t=1.0, x_test=x, get="ntk"
        ),
    }
    for module, table in ((nt, calls), (nt.predict, predictions)):
        here = {name for name, value in vars(module).items() if isinstance(value, types.FunctionType)}
        # max_learning_rate takes no product, and asks SciPy for an argument that is gone.
        assert here - {"max_learning_rate"} == set(table)
        for name, call in table.items():
            call()
            assert not imprecise, name


def test_who_wants_fewer_bits_gets_them():
    x = jnp.ones((2, 2))

    def precisions():
        text = str(jax.make_jaxpr(lambda x: tangent_kernels(x, activation=stax.Erf(), sigma0=0.5).total)(x))
        return set(re.findall(r"Precision\.(\w+)", text))

    assert precisions() == {"HIGHEST"}
    with jax.default_matmul_precision("tensorfloat32"):
        assert precisions() == {"HIGH"}
