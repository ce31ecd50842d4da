"""Training: gradient descent and gradient flow of finite networks, and the closed-form flow of the infinite one.

Every loss here is written with the paper's factor, L = 1/(2n) ‖f(X) − Y‖² (Eq. 7), so the limit moves as
f(t) = Y + exp(−Θt/n) (f(0) − Y).
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree
from tqdm import tqdm

from ._files import write_arrays

__all__ = [
    "Flow",
    "LimitFlow",
    "Trajectory",
    "gradient_descent",
    "gradient_flow",
    "limit_flow",
    "limit_movement",
    "log_spaced_steps",
]


class Trajectory(NamedTuple):
    """What a gradient descent leaves behind.

    Attributes:
        steps: (r,) the numbers of steps after which something was recorded.
        records: what `record` returned, stacked on a new leading axis of length r; with `batched=True` the
            axis of the runs comes second.
        params: the parameters after the last step.
        diverged: True where a run's final parameters or records are not finite; one flag a run if batched.
    """

    steps: Int[np.ndarray, " r"]
    records: PyTree
    params: PyTree
    diverged: np.ndarray


class Flow(NamedTuple):
    """What a gradient flow leaves behind: `records` stacked over `times`, and `params` at the last time."""

    times: Float[Array, " r"]
    records: PyTree
    params: PyTree


class LimitFlow(NamedTuple):
    """Outputs of the infinitely wide network over time, (r, n, d) on training points and (r, n', d) on test points."""

    train: Float[np.ndarray, "r n d"]
    test: Float[np.ndarray, "r k d"] | None


def log_spaced_steps(steps: int, count: int = 32) -> Int[np.ndarray, " r"]:
    """Step numbers 0, 1, …, `steps` that are spread evenly on a logarithmic axis.

    Args:
        steps: the last step number.
        count: how many are wanted; rounding to whole steps merges some of the first ones.

    Returns:
        Increasing step numbers, the first 0 and the last `steps`, at most `count` of them (and at least these two).

    Raises:
        ValueError: if `steps` is less than 1 or `count` less than 2.

    Example:
        >>> log_spaced_steps(64, 6).tolist()
        [0, 1, 3, 8, 23, 64]
    """
    if steps < 1:
        raise ValueError(f"expected steps >= 1, got {steps}")
    if count < 2:
        raise ValueError(f"expected count >= 2, got {count}")
    spaced = np.rint(np.geomspace(1, steps, count - 1)).astype(int) if count > 2 else np.array([steps])
    return np.unique(np.concatenate([[0], spaced, [steps]]))


def _call(function, params, args, key):
    extra = () if args is None else (args,)
    return function(params, *extra) if key is None else function(params, *extra, key)


def _fold(key, step, batched):
    if key is None:
        return None
    return jax.vmap(jax.random.fold_in, (0, None))(key, step) if batched else jax.random.fold_in(key, step)


@eqx.filter_jit(donate="all-except-first")
def _advance(constant, params):
    # The trip count is traced: one executable serves every stretch between two records, and because it is the same
    # executable, where a run is cut into stretches (a checkpoint, a resumption) does not change one bit of it.
    loss, learning_rate, args, key, start, count, batched = constant

    def step(params, args, key):
        gradients = jax.grad(lambda p: _call(loss, p, args, key))(params)
        # XLA overwrites a parameter in place only if every product that reads it comes before; a rate that depends on
        # all gradients says so, and saves a copy of all parameters a step. (A run that is not finite becomes NaN.)
        probe = sum(jnp.ravel(g)[0].astype(learning_rate.dtype) for g in jax.tree.leaves(gradients))
        rate = jax.lax.optimization_barrier(jnp.where(jnp.isnan(probe), jnp.nan, learning_rate))
        return jax.tree.map(lambda p, g: p - rate.astype(p.dtype) * g, params, gradients)

    def body(i, params):
        noise = _fold(key, start + i, batched)
        return jax.vmap(step)(params, args, noise) if batched else step(params, args, noise)

    return jax.lax.fori_loop(0, count, body, params)


@eqx.filter_jit
def _observe(record, params, args, key, step, batched, keyed):
    key = _fold(key, step, batched) if keyed else None
    if batched:
        return jax.vmap(lambda p, a, k: _call(record, p, a, k))(params, args, key)
    return _call(record, params, args, key)


def gradient_descent(
    loss: Callable[..., Array],
    params: PyTree,
    *,
    learning_rate: float,
    steps: int,
    record: Callable[..., PyTree] | None = None,
    record_at: Any = None,
    args: PyTree = None,
    key: Array | None = None,
    batched: bool = False,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | None = None,
    progress: bool | None = None,
) -> Trajectory:
    """Full-batch gradient descent θ ← θ − η ∇L(θ) (Eq. 5), compiled once, for one network or many at once.

    The loop runs on the device; the host hears of it only between two records. It is compiled once for a loss and
    the parameters' shapes: other seeds, learning rates and lengths reuse it, provided that they pass the same
    function `loss`. Parameters are updated in place, so memory is bounded by one copy of them, their gradient and
    the activations.

    Args:
        loss: the scalar loss, called as `loss(params)`, with `args` and then `key` appended when they are given.
        params: pytree of floating arrays; with `batched=True` all have a leading axis of independent runs.
        learning_rate: η.
        steps: how many steps to make.
        record: called as `record(params)`, or `record(params, args)` when `args` is given; returns what is to be kept,
            a pytree of arrays. By default the loss.
        record_at: increasing step numbers, each between 0 and `steps`; by default `log_spaced_steps(steps)`.
        args: constants that differ between runs (their initial weights, say), batched as `params` are. What all runs
            share belongs in the closure of `loss`.
        key: for a loss with fresh noise. Step t of run r receives `fold_in(split(key, runs)[r], t)`, or
            `fold_in(key, t)` if not batched: it does not depend on where a run was interrupted.
        batched: train the runs along the leading axis side by side (`jax.vmap`).
        checkpoint: a file for progress. If it exists the run goes on from there, with bit-identical results to an
            uninterrupted run on the same device (on a GPU with XLA_FLAGS=--xla_gpu_deterministic_ops=true); when it
            ends the file holds the result.
        checkpoint_every: steps between two writes of that file; by default a sixteenth of `steps`.
        progress: whether to show a progress bar once a run takes longer than five seconds; by default yes, unless the
            environment variable CI is set.

    Returns:
        The recorded steps and values, the final parameters and whether they diverged. Nothing is clipped or stopped:
        a run that diverges shows it in its records.

    Raises:
        ValueError: if `record_at` is not increasing or out of range, if `batched` leading axes differ, or if
            `checkpoint` belongs to another configuration.

    Example:
        >>> import jax.numpy as jnp
        >>> run = gradient_descent(lambda w: 0.5 * w**2, jnp.array(1.0), learning_rate=0.5, steps=3, record_at=[0, 1, 3])
        >>> run.records.tolist(), float(run.params)
        ([0.5, 0.125, 0.0078125], 0.125)

    Source:
        Equation 5 of the paper.
    """
    record_at = log_spaced_steps(steps) if record_at is None else np.asarray(record_at)
    if record_at.ndim != 1 or not np.issubdtype(record_at.dtype, np.integer) or np.any(np.diff(record_at) <= 0):
        raise ValueError(f"expected record_at to be increasing whole step numbers, got {record_at}")
    if len(record_at) and (record_at[0] < 0 or record_at[-1] > steps):
        raise ValueError(f"expected record_at between 0 and {steps}, got {record_at[0]} to {record_at[-1]}")
    runs: set[Any] = {leaf.shape[:1] for leaf in jax.tree.leaves((params, args))} if batched else {()}
    if len(runs) != 1 or (batched and runs == {()}):
        raise ValueError(f"expected one leading axis common to params and args, got {sorted(runs)}")
    if key is not None and batched:
        (count,) = next(iter(runs))
        key = jax.random.split(key, count)

    start = jax.tree.map(lambda leaf: jnp.array(leaf), params)  # a copy: the loop overwrites it
    rate = jnp.asarray(learning_rate)
    observe = partial(_observe, loss if record is None else record, keyed=record is None)
    every = max(1, -(-steps // 16)) if checkpoint_every is None else checkpoint_every
    store = None
    if checkpoint is not None:
        store = _Checkpoint(Path(checkpoint), loss, start, args, key, rate, steps, record_at, batched)
    kept, done, current = [], 0, start
    if store is not None and store.path.exists():
        done, kept, current = store.read(
            jax.eval_shape(lambda p: observe(p, args, key, jnp.int32(0), batched), start), start
        )

    show = "CI" not in os.environ if progress is None else progress
    # Stretches end at every record, at every checkpoint and, if there is a bar, often enough for it to move.
    stops = {*record_at.tolist(), steps}
    stops |= set(range(every, steps, every)) if store is not None else set()
    stops |= set(range(0, steps, max(1, steps // 100))) if show else set()
    with tqdm(total=steps, initial=done, delay=5, leave=False, disable=not show, unit="step") as bar:
        for stop in sorted(stop for stop in stops if stop >= done):
            if stop > done:
                constant = (loss, rate, args, key, jnp.int32(done), jnp.int32(stop - done), batched)
                current = _advance(constant, current)
                if show:
                    jax.block_until_ready(current)
                bar.update(stop - done)
                done = stop
            if len(kept) < len(record_at) and record_at[len(kept)] == done:
                kept.append(observe(current, args, key, jnp.int32(done), batched))
            if store is not None and (done == steps or (done and done % every == 0)):
                store.write(done, kept, current)

    records = jax.tree.map(lambda *values: jnp.stack(values), *kept) if kept else None
    return Trajectory(record_at, records, current, np.asarray(_not_finite(current, records, batched)))


@eqx.filter_jit  # one small program instead of four for every leaf
def _not_finite(params, records, batched):
    bad = jnp.zeros(jax.tree.leaves(params)[0].shape[:1] if batched else (), dtype=bool)
    for axis, tree in ((0, params), (1, records)):
        for leaf in jax.tree.leaves(tree):
            others = tuple(i for i in range(leaf.ndim) if not (batched and i == axis))
            bad |= ~jnp.isfinite(leaf).all(axis=others)
    return bad


class _Checkpoint:
    """A file with a run's state, which knows the configuration it belongs to."""

    def __init__(self, path, loss, params, args, key, rate, steps, record_at, batched):
        self.path = path
        first = jax.tree.map(lambda leaf: leaf[0], (params, args, key)) if batched else (params, args, key)
        program = jax.make_jaxpr(lambda p, a, k: _call(loss, p, a, k))(*first)
        # Addresses in the printed program change from process to process and say nothing.
        self.configuration = {
            "loss": _digest([re.sub(r"0x[0-9a-f]+", "", str(program)), *program.consts]),
            "initial parameters": _digest([str(jax.tree.structure(params)), *jax.tree.leaves(params)]),
            "args": _digest(jax.tree.leaves(args)),
            "key": _digest([] if key is None else [jax.random.key_data(key) if _typed(key) else key]),
            "learning rate": str(float(rate)),
            "steps": str(steps),
            "record_at": _digest([record_at]),
            "batched": str(batched),
        }

    def write(self, step, kept, params):
        arrays = {f"configuration/{name}": np.array(value) for name, value in self.configuration.items()}
        arrays |= {f"params/{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(params))}
        for i, record in enumerate(kept):
            arrays |= {f"records/{i}/{j}": np.asarray(leaf) for j, leaf in enumerate(jax.tree.leaves(record))}
        write_arrays(self.path, arrays | {"step": np.array(step), "kept": np.array(len(kept))})

    def read(self, record, params):
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = dict(file)
        except (ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"expected {self.path} to be a checkpoint of gradient_descent, got another file"
            ) from error
        for name, value in self.configuration.items():
            if str(arrays.get(f"configuration/{name}")) != value:
                raise ValueError(f"expected {self.path} to continue this run, got a checkpoint of another {name}")
        leaves, tree = jax.tree.flatten(params)
        params = tree.unflatten([jnp.asarray(arrays[f"params/{i}"]) for i in range(len(leaves))])
        fields, tree = jax.tree.flatten(record)
        kept = [
            tree.unflatten([jnp.asarray(arrays[f"records/{i}/{j}"]) for j in range(len(fields))])
            for i in range(int(arrays["kept"]))
        ]
        return int(arrays["step"]), kept, params


def _typed(key):
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def _digest(parts):
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            array = np.asarray(part)
            digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


@eqx.filter_jit
def _flow(loss, record, params, times, rtol, atol, max_steps):
    def field(t, params, args):
        return jax.tree.map(jnp.negative, jax.grad(loss)(params))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=times[-1],
        dt0=None,
        y0=params,
        saveat=diffrax.SaveAt(
            subs=[
                diffrax.SubSaveAt(ts=times, fn=lambda t, params, args: record(params)),
                diffrax.SubSaveAt(t1=True),
            ]
        ),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=max_steps,
    )
    assert solution.ys is not None  # something is saved
    return solution.ys


def gradient_flow(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    times: Any,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-7,
    record: Callable[[PyTree], PyTree] | None = None,
    max_steps: int = 1_000_000,
) -> Flow:
    """Gradient flow dθ/dt = −∇L(θ) of a finite network, integrated with controlled error.

    The solver is Tsitouras' 5(4) pair with adaptive steps: a flow of squared error is as stiff as its tangent kernel
    is ill-conditioned, so its cost grows like λ_max(Θ) t / n.

    Args:
        loss: scalar loss of the parameters.
        params: pytree of floating arrays.
        times: (r,) increasing times, the first at least 0.
        rtol: relative tolerance of a step; in float32 not below about 1e-6.
        atol: absolute tolerance of a step.
        record: what to keep at each time; by default the loss.
        max_steps: a solver that needs more than this raises.

    Returns:
        The times, the records stacked over them, and the parameters at the last time.

    Raises:
        ValueError: if `times` does not increase from 0 or later.

    Example:
        >>> import jax.numpy as jnp
        >>> flow = gradient_flow(lambda w: 0.5 * w**2, jnp.array(1.0), [0.0, 1.0], record=lambda w: w)
        >>> bool(abs(flow.records[-1] - jnp.exp(-1.0)) < 1e-4)
        True

    Source:
        The gradient flow of the paper's Section 4.
    """
    times = jnp.asarray(times, dtype=float)
    if times.ndim != 1 or times.size == 0 or times[0] < 0 or np.any(np.diff(times) <= 0):
        raise ValueError(f"expected increasing times from 0 or later, got {times}")
    records, last = _flow(loss, loss if record is None else record, params, times, rtol, atol, max_steps)
    return Flow(times, records, jax.tree.map(lambda leaf: leaf[-1], last))


def _spectrum(kernel, f0, y):
    kernel, f0, y = (np.asarray(a, dtype=np.float64) for a in (kernel, f0, y))
    n = len(kernel)
    if kernel.shape != (n, n) or f0.shape != y.shape or f0.ndim != 2 or len(f0) != n:
        raise ValueError(f"expected a kernel (n, n) and f0, y (n, d), got {kernel.shape}, {f0.shape} and {y.shape}")
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    return values, vectors, vectors.T @ (y - f0)


def _filters(values, times, learning_rate, n):
    # What is left of each eigenmode at each time, and (1 − left)/λ, which stays finite as λ goes to 0.
    times = np.atleast_1d(np.asarray(times, dtype=np.float64))[:, None]
    if learning_rate is None:
        exponent = -values * times / n
        slope = times / n
    else:
        rate = learning_rate * values / n
        if np.any(rate >= 1):  # the mode oscillates: (1 − rate)^t is negative for odd t
            left = (1 - rate) ** np.rint(times)
            safe = np.where(np.abs(values) > 1e-300, values, 1.0)
            return left, np.where(np.abs(values) > 1e-300, (1 - left) / safe, learning_rate * times / n)
        exponent = times * np.log1p(-rate)
        slope = learning_rate * times / n
    flat = np.abs(exponent) < 1e-12
    gained = np.where(flat, slope, -np.expm1(exponent) / np.where(flat, 1.0, values))
    return np.exp(exponent), gained


def limit_flow(
    kernel: Any,
    f0: Any,
    y: Any,
    times: Any,
    *,
    kernel_test: Any = None,
    f0_test: Any = None,
    learning_rate: float | None = None,
) -> LimitFlow:
    r"""Outputs of the infinitely wide network during training, in closed form.

    On the training points f(t) = Y + e^{−Θt/n} (f(0) − Y); elsewhere
    f(x, t) = f(x, 0) + Θ(x, X) Θ^{−1} (I − e^{−Θt/n}) (Y − f(0)). Everything is computed in float64 on the host.

    Args:
        kernel: (n, n) factor Θ of the tangent kernel Θ ⊗ I_d.
        f0: (n, d) outputs before training.
        y: (n, d) targets.
        times: (r,) times of the flow of L = 1/(2n) ‖f − Y‖², or numbers of steps if `learning_rate` is given.
        kernel_test: (k, n) kernel between test and training points.
        f0_test: (k, d) outputs on test points before training.
        learning_rate: η of gradient descent; e^{−Θt/n} then becomes (I − ηΘ/n)^t, exactly.

    Returns:
        `train` (r, n, d), and `test` (r, k, d) or None.

    Raises:
        ValueError: if shapes do not fit together.

    Example:
        >>> import numpy as np
        >>> flow = limit_flow(np.eye(2), np.zeros((2, 1)), np.ones((2, 1)), [0.0, 2.0])
        >>> flow.train[:, 0, 0].round(4).tolist()
        [0.0, 0.6321]

    Source:
        Theorem 1 of the paper in the limit; Jacot et al., Section 5.
    """
    values, vectors, modes = _spectrum(kernel, f0, y)
    left, gained = _filters(values, times, learning_rate, len(values))
    train = np.asarray(y, np.float64) - np.einsum("ik,rk,kd->rid", vectors, left, modes)
    if (kernel_test is None) != (f0_test is None):
        raise ValueError("expected kernel_test and f0_test together, got one of them")
    if kernel_test is None:
        return LimitFlow(train, None)
    across = np.asarray(kernel_test, np.float64) @ vectors
    test = np.asarray(f0_test, np.float64) + np.einsum("ik,rk,kd->rid", across, gained, modes)
    return LimitFlow(train, test)


def limit_movement(
    layer_kernel: Any,
    kernel: Any,
    f0: Any,
    y: Any,
    times: Any,
    *,
    learning_rate: float | None = None,
) -> Float[np.ndarray, " r"]:
    r"""How far one layer's weights move in the infinitely wide network: the limit of ‖W_s(t) − W_s(0)‖_F.

    With g(t) = Θ^{−1} (I − e^{−Θt/n}), ‖ΔW_s(t)‖_F² → (Y − f(0))ᵀ g(t) Θ^{(s)} g(t) (Y − f(0)), summed over outputs.

    Args:
        layer_kernel: (n, n) tangent kernel Θ^{(s)} of the layer alone.
        kernel: (n, n) tangent kernel Θ of everything that is trained.
        f0: (n, d) outputs before training.
        y: (n, d) targets.
        times: (r,) times, or numbers of steps if `learning_rate` is given.
        learning_rate: as in `limit_flow`.

    Returns:
        (r,) Frobenius norms, float64.

    Raises:
        ValueError: if shapes do not fit together.

    Example:
        >>> import numpy as np
        >>> limit_movement(np.eye(2), 2 * np.eye(2), np.zeros((2, 1)), np.ones((2, 1)), [0.0, 1e9]).round(4).tolist()
        [0.0, 0.7071]

    Source:
        Chapter 9 of the book derives it.
    """
    values, vectors, modes = _spectrum(kernel, f0, y)
    _, gained = _filters(values, times, learning_rate, len(values))
    layer = vectors.T @ np.asarray(layer_kernel, np.float64) @ vectors
    moved = gained[:, :, None] * modes
    return np.sqrt(np.maximum(np.einsum("rkd,kl,rld->r", moved, layer, moved), 0.0))
