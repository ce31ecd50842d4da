"""neural-tangents on this JAX: JAX itself untouched, analytic and empirical kernels and predictions that agree."""

import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from snn_ntk._neural_tangents import WORKING_VERSIONS, nt, stax

UNTOUCHED = """
import sys
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
import jax, jax.core, jax.numpy, jax.extend.core, jax.extend.linear_util, jax.interpreters.ad
import jax.experimental.ode, jax.example_libraries.stax, jax.scipy.special, jax.ops
try:
    import jax.util
except ImportError:
    pass
modules = [name for name in sys.modules if name == "jax" or name.startswith("jax.")]
before = {name: dict(vars(sys.modules[name])) for name in modules}
import snn_ntk._neural_tangents
for name, names in before.items():
    after = vars(sys.modules[name])
    assert {n for n in after if not n.startswith("__")} == {n for n in names if not n.startswith("__")}, name
    assert all(after[n] is names[n] for n in names), name
assert {n for n in sys.modules if n == "jax.util"} == {n for n in modules if n == "jax.util"}
assert "tensorflow" not in sys.modules and "neural_tangents.experimental" not in sys.modules
"""


def test_jax_is_left_as_it_was():
    subprocess.run([sys.executable, "-c", UNTOUCHED], check=True)


def test_this_pair_of_versions_is_known_to_work():
    known = WORKING_VERSIONS[nt.__version__]
    same_minor = [version for version in known if version.split(".")[:2] == jax.__version__.split(".")[:2]]
    assert same_minor, f"expected a JAX near one of {known}, got {jax.__version__}: run these tests and extend the list"


@pytest.fixture
def network():
    return stax.serial(stax.Dense(2048, 1.3, 0.2), stax.Erf(), stax.Dense(1))


@pytest.fixture
def x():
    return jax.random.normal(jax.random.PRNGKey(0), (5, 4))


def closed_form(x):
    x = np.asarray(x, np.float64)
    c = 1.3**2 * x @ x.T / x.shape[1] + 0.2**2
    q = np.diag(c)
    nngp = 2 / np.pi * np.arcsin(2 * c / np.sqrt(np.outer(1 + 2 * q, 1 + 2 * q)))
    slope = 4 / np.pi / np.sqrt(np.outer(1 + 2 * q, 1 + 2 * q) - 4 * c**2)
    return nngp + c * slope


def test_analytic_kernel_is_the_closed_form(network, x):
    np.testing.assert_allclose(network[2](x, None, "ntk"), closed_form(x), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("implementation", [0, 1, 2])
def test_empirical_kernels_agree(network, x, implementation):
    init_fn, apply_fn, kernel_fn = network
    _, params = init_fn(jax.random.PRNGKey(1), x.shape)
    by_hand = jax.jacobian(apply_fn)(params, x)
    leaves = [leaf.reshape(5, -1) for leaf in jax.tree_util.tree_leaves(by_hand)]
    want = sum(leaf @ leaf.T for leaf in leaves)
    got = nt.empirical_ntk_fn(apply_fn, implementation=implementation)(x, None, params)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    # Five standard errors of a mean over 2,048 neurons, whose single terms are of order 1.
    np.testing.assert_allclose(got, kernel_fn(x, None, "ntk"), atol=5 * 3 / np.sqrt(2048))


def test_auto_follows_shapes_and_jit(network, x):
    init_fn, apply_fn, _ = network
    _, params = init_fn(jax.random.PRNGKey(1), x.shape)
    kernel_fn = nt.empirical_ntk_fn(apply_fn, implementation=nt.NtkImplementation.AUTO)
    whole = kernel_fn(x, None, params)
    np.testing.assert_allclose(kernel_fn(x[:2], x, params), whole[:2], rtol=1e-5, atol=1e-5)


def test_structured_derivatives_are_refused(network):
    for implementation in (3, nt.NtkImplementation.STRUCTURED_DERIVATIVES):
        with pytest.raises(NotImplementedError, match=r"expected .*JACOBIAN_CONTRACTION.*got STRUCTURED_DERIVATIVES"):
            nt.empirical_ntk_fn(network[1], implementation=implementation)


def test_predictions_agree(network, x):
    kernel_fn, y = network[2], jnp.sin(x[:, :1])
    k = kernel_fn(x, None, "ntk")
    ensemble = nt.predict.gradient_descent_mse_ensemble(kernel_fn, x, y)
    finite = ensemble(t=3.0, x_test=None, get="ntk")
    closed = nt.predict.gradient_descent_mse(k, y)(3.0, jnp.zeros_like(y))
    by_ode = nt.predict.gradient_descent(lambda f, y: 0.5 * jnp.mean((f - y) ** 2), k, y)(3.0, jnp.zeros_like(y))
    eigenvalues, vectors = np.linalg.eigh(np.asarray(k, np.float64))
    want = vectors @ ((1 - np.exp(-3.0 * eigenvalues / 5))[:, None] * (vectors.T @ np.asarray(y)))
    for got in (finite, closed, by_ode):
        np.testing.assert_allclose(got, want, atol=2e-4)


def test_late_look_ups_work(network, x):
    init_fn, apply_fn, kernel_fn = network
    _, params = init_fn(jax.random.PRNGKey(1), x.shape)
    np.testing.assert_allclose(nt.batch(kernel_fn, batch_size=5)(x, x, "ntk"), kernel_fn(x, x, "ntk"), rtol=1e-5)
    np.testing.assert_allclose(nt.linearize(apply_fn, params)(params, x), apply_fn(params, x), rtol=1e-5)
    monte_carlo = nt.monte_carlo_kernel_fn(init_fn, apply_fn, jax.random.PRNGKey(2), 2)
    assert monte_carlo(x, None, "ntk").shape == (5, 5)
    product = nt.empirical_ntk_vp_fn(apply_fn, x, None, params)(jnp.ones((5, 1)))
    want = nt.empirical_ntk_fn(apply_fn)(x, None, params) @ jnp.ones((5, 1))
    np.testing.assert_allclose(product, want, rtol=1e-4, atol=1e-4)


def test_kernels_of_inputs_still_batch_and_jit(x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        identity = stax.Identity()[2](x)
        assert set(identity.asdict()) == set(nt.Kernel.__dataclass_fields__)
        assert type(stax.Dense(1)[2](identity)) is nt.Kernel
        again = jax.jit(lambda k: stax.Dense(1)[2](k).ntk)(identity)
    np.testing.assert_allclose(again, stax.Dense(1)[2](x, None, "ntk"), rtol=1e-6)
