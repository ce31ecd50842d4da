"""A training whose products have factors that end where the next page may not be read; prints how many were guarded."""

import ctypes
import sys

import jax
import jax.numpy as jnp

from snn_ntk.experiments.weight_movement import train_figure2
from snn_ntk.paper import figure2_network, in_basis

if __name__ == "__main__":
    # With a plain root XLA fuses the whole network into one `__ynn_fusion`: the program that was seen to crash.
    figure2_network.standard_deviation = jnp.sqrt
    x = in_basis(jax.random.normal(jax.random.key(0), (128, 784)) / 28)
    y = jax.random.normal(jax.random.key(1), (128, 98)) / 10
    for width in (512, 768):
        options = {"seeds": range(2), "steps": 6, "learning_rate": 0.5, "record_at": [6], "train_sigma": True}
        run = train_figure2(x, y, width=width, **options)
        assert jnp.isfinite(run.left).all()
    print(ctypes.CDLL(sys.argv[1]).guarded_allocations())
