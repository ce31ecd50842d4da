"""Kernels in other processes: on two devices, and out of a pickle."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from layers.networks import CASES

from snn_ntk import predictive_variance, stax

SRC = Path(__file__).parents[2] / "src"

DEVICES = """
import jax, numpy as np
from layers.networks import CASES
from snn_ntk import nt, predictive_variance
jax.config.update("jax_disable_most_optimizations", True)
assert jax.local_device_count() == 2
for name in ("dropout", "first convolution, independent"):
    kernel_fn, x = CASES[name].network(4)[2], np.asarray(jax.random.normal(jax.random.key(0), (4, *CASES[name].shape[1:])))
    whole = kernel_fn(x)
    for batch_size in (0, 2):
        parts = nt.batch(kernel_fn, device_count=2, batch_size=batch_size)
        np.testing.assert_allclose(parts(x, x, "ntk"), whole.ntk, rtol=1e-4)
    np.testing.assert_allclose(predictive_variance(parts(x)), predictive_variance(whole), rtol=1e-4)
"""

PICKLE = """
import pickle, sys
import numpy as np
kernel = pickle.load(open(sys.argv[1], "rb"))
from snn_ntk import predictive_variance, stax
np.save(sys.argv[2], predictive_variance(stax.serial(stax.Dense(4), stax.Erf())[2](kernel)))
"""


def run(code, *arguments, **environment):
    paths = os.pathsep.join(map(str, (SRC, Path(__file__).parents[1])))
    environment = os.environ | {"PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"} | environment
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments], check=True, env=environment)


@pytest.mark.heavy
def test_two_devices():
    run(DEVICES, XLA_FLAGS="--xla_force_host_platform_device_count=2")


def test_a_kernel_out_of_a_pickle(tmp_path):
    """Also one that is to be gone on with: it carries what its next layer needs."""
    kernel = stax.serial(*CASES["dropout"].make(4, 1.0))[2](CASES["dropout"].inputs)
    (tmp_path / "kernel").write_bytes(pickle.dumps(kernel))
    run(PICKLE, str(tmp_path / "kernel"), str(tmp_path / "variance.npy"))
    want = predictive_variance(stax.serial(stax.Dense(4), stax.Erf())[2](kernel))
    np.testing.assert_allclose(np.load(tmp_path / "variance.npy"), want, rtol=1e-6)
    assert float(jnp.min(want)) > 1e-3
