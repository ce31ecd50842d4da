"""A fit in a process of its own: `run.py folder` says what it does, `run.py folder processes index port` is one of many.

With eight devices in one process (XLA_FLAGS) and `run.py folder mesh 8 1` its kernel is divided over them.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from snn_ntk.regression import KernelRidge, sharding, storage

N = 300


def gaussian(x1, x2):
    return np.exp(-0.5 * ((x1[:, None] - x2[None]) ** 2).sum(axis=2))


def said(word, function):
    def speaking(*arguments):
        print(word, flush=True)
        return function(*arguments)

    return speaking


def problem():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 4))
    return x, np.stack([np.sin(3 * x[:, 0]), np.cos(x[:, 1]), x[:, 2]], axis=1)


def fit(kernel, **options):
    x, y = problem()
    return KernelRidge(kernel, ridge=[0.01, 0.1], rank=20, tol=1e-9, solver="streamed", **options).fit(x, y)


def main():
    folder, mode = Path(sys.argv[1]), sys.argv[2:3]
    if not mode:
        storage._BLOCK_BYTES = 4 * N * 40  # eight blocks
        sharding.ShardedKernel.product = said("pass", sharding.ShardedKernel.product)
        model = fit(said("block", gaussian), folder=folder)
    elif mode == ["mesh"]:
        shape = tuple(map(int, sys.argv[3:]))
        mesh = Mesh(np.array(jax.devices()).reshape(shape), ("rows", "outputs")[: len(shape)])
        model = fit(gaussian, mesh=mesh)
    else:
        count, index, port = map(int, sys.argv[2:])
        jax.distributed.initialize(f"127.0.0.1:{port}", count, index)
        model = fit(gaussian, mesh=Mesh(np.array(jax.devices()), ("rows",)), folder=folder)
        folder = folder / str(index)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "dual.npy", model.dual_coef_)
    if mode:
        np.save(folder / "std.npy", model.predict(problem()[0][:50], return_std=True)[1])


if __name__ == "__main__":
    main()
