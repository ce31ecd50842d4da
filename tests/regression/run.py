"""A fit in a process of its own: `run.py folder` says what it does, `run.py folder processes index port` is one of many.

`run.py folder mesh` divides the kernel over the eight devices of one process (XLA_FLAGS).
"""

import sys
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from snn_ntk.regression import KernelRidge, sharding, storage

N = 160


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
    return KernelRidge(kernel, ridge=[0.05, 0.5], rank=16, tol=1e-7, solver="streamed", **options).fit(x, y)


def save(folder, model, *, everything=True):
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "dual.npy", model.dual_coef_)
    if everything:
        np.save(folder / "std.npy", model.predict(problem()[0][:4], return_std=True)[1])


def main():
    folder, mode = Path(sys.argv[1]), sys.argv[2:]
    if not mode:
        storage.TILE = 20  # eight rows of blocks: 8 + 7 + ... + 1
        sharding.ShardedKernel.product = said("pass", sharding.ShardedKernel.product)
        save(folder, fit(said("block", gaussian), folder=folder), everything=False)
    elif mode == ["mesh"]:
        devices = np.array(jax.devices())
        save(folder / "8", fit(gaussian, mesh=Mesh(devices, ("rows",))))
        save(folder / "4x2", fit(gaussian, mesh=Mesh(devices.reshape(4, 2), ("rows", "outputs"))))
    else:
        count, index, port = map(int, mode)
        jax.distributed.initialize(f"127.0.0.1:{port}", count, index)
        model = fit(gaussian, mesh=Mesh(np.array(jax.devices()), ("rows",)), folder=folder)
        save(folder / str(index), model)


if __name__ == "__main__":
    main()
