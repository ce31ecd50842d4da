"""Full-batch gradient descent of finite networks, one or many at once, compiled once and resumable.

Every loss here is written with the paper's factor, L = 1/(2n) ‖f(X) − Y‖² (Eq. 7).
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree
from tqdm import tqdm

from snn_ntk import _validation as validation
from snn_ntk._files import digest
from snn_ntk._precision import full_precision
from snn_ntk.training.checkpoint import Checkpoint, program_digest

__all__ = ["Trajectory", "gradient_descent", "log_spaced_steps"]


class Trajectory(NamedTuple):
    """What a gradient descent leaves behind.

    Attributes:
        steps: Numbers of steps after which something was recorded, shape (r,).
        records: What `record` returned, stacked on a new leading axis of length r; with `batched=True` the
            axis of the runs comes second.
        params: The parameters after the last step.
        diverged: True where a run's final parameters or records are not finite; one flag a run if batched.
    """

    steps: Int[np.ndarray, " r"]
    records: PyTree
    params: PyTree
    diverged: np.ndarray


def log_spaced_steps(steps: int, count: int = 32) -> Int[np.ndarray, " r"]:
    """Step numbers 0, 1, …, `steps` that are spread evenly on a logarithmic axis.

    Args:
        steps: The last step number.
        count: How many are wanted; rounding to whole steps merges some of the first ones.

    Returns:
        Increasing step numbers, the first 0 and the last `steps`, at most `count` of them (and at least these two).

    Raises:
        ValueError: If `steps` is less than 1, or `count` less than 2.

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
def _observe(record, params, args, key, step, *, batched, keyed):
    key = _fold(key, step, batched) if keyed else None
    if batched:
        return jax.vmap(lambda p, a, k: _call(record, p, a, k))(params, args, key)
    return _call(record, params, args, key)


@full_precision
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

    The loop runs on the device; the host hears of it only between two records. Other seeds, learning rates and lengths
    reuse the compiled program if they pass the same function `loss`. Parameters are updated in place: memory is bounded
    by one copy of them, their gradient and the activations.

    Args:
        loss: The scalar loss, called as `loss(params)`, with `args` and then `key` appended when they are given.
        params: Pytree of floating arrays; with `batched=True` all have a leading axis of independent runs.
        learning_rate: The rate η.
        steps: How many steps to make.
        record: Called as `record(params)`, or `record(params, args)` when `args` is given; returns what is to be kept,
            a pytree of arrays. By default the loss.
        record_at: Increasing step numbers, each between 0 and `steps`; by default `log_spaced_steps(steps)`.
        args: Constants that differ between runs (their initial weights, say), batched as `params` are. What all runs
            share belongs in the closure of `loss`.
        key: For a loss with fresh noise. Step t of run r receives `fold_in(split(key, runs)[r], t)`, or
            `fold_in(key, t)` if not batched: it does not depend on where a run was interrupted.
        batched: Train the runs along the leading axis side by side (`jax.vmap`).
        checkpoint: A file for progress. If it exists the run goes on from there, with bit-identical results to an
            uninterrupted run on the same device (on a GPU with XLA_FLAGS=--xla_gpu_deterministic_ops=true); when it
            ends the file holds the result.
        checkpoint_every: Steps between two writes of that file; by default a sixteenth of `steps`.
        progress: Whether to show a progress bar once a run takes longer than five seconds; by default yes, unless the
            environment variable CI is set.

    Returns:
        The recorded steps and values, the final parameters and whether they diverged. Nothing is clipped or stopped.
        A run that diverges shows it in its records.

    Raises:
        TypeError: If `steps` is not an integer.
        ValueError: If `steps` is negative, if `record_at` is not increasing or out of range, if `batched` leading axes
            differ, if there are several learning rates, or if `checkpoint` belongs to another configuration or cannot
            know whether it does, as with a loss that calls back to Python.

    Example:
        >>> import jax.numpy as jnp
        >>> run = gradient_descent(lambda w: 0.5 * w**2, jnp.array(1.0), learning_rate=0.5, steps=3, record_at=[0, 3])
        >>> run.records.tolist(), float(run.params)
        ([0.5, 0.0078125], 0.125)

    Source: wang2024vae, Eq. 5.
    """
    if steps != 0 or isinstance(steps, bool):
        steps = validation.positive_integer(steps, "steps")
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
    if rate.ndim:
        raise ValueError(f"expected one learning_rate for all runs, got shape {rate.shape}")
    observe = partial(_observe, loss if record is None else record, batched=batched, keyed=record is None)
    every = max(1, -(-steps // 16))
    if checkpoint_every is not None:
        every = validation.positive_integer(checkpoint_every, "checkpoint_every")
    store, kept, done, current = None, [], 0, start
    if checkpoint is not None:
        store = Checkpoint(
            checkpoint,
            _configuration(
                loss, record, start, args, key, rate=rate, steps=steps, record_at=record_at, batched=batched
            ),
        )
        like = jax.eval_shape(lambda p: observe(p, args, key, jnp.int32(0)), start)
        if (found := store.read((0, start), like)) is not None:
            (step, current), kept = jax.tree.map(jnp.asarray, found)
            done = int(step)

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
                kept.append(observe(current, args, key, jnp.int32(done)))
            if store is not None and (done == steps or (done and done % every == 0)):
                store.write((done, current), kept)

    records = jax.tree.map(lambda *values: jnp.stack(values), *kept) if kept else None
    return Trajectory(record_at, records, current, _not_finite(current, records, batched))


def _configuration(loss, record, params, args, key, *, rate, steps, record_at, batched):
    """What has to be the same for a run to go on from a checkpoint: of the loss, its slope, which alone is descended."""
    first = jax.tree.map(lambda leaf: leaf[0], (params, args, key)) if batched else (params, args, key)
    if key is not None and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return {
        "loss": program_digest(jax.value_and_grad(lambda p, a, k: _call(loss, p, a, k)), *first),
        "record": "the loss" if record is None else program_digest(lambda p, a: _call(record, p, a, None), *first[:2]),
        "initial parameters": digest(str(jax.tree.structure(params)), *jax.tree.leaves(params)),
        "args": digest(*jax.tree.leaves(args)),
        "key": digest(*jax.tree.leaves(key)),
        "learning rate": str(float(rate)),
        "steps": str(steps),
        "record_at": digest(record_at),
        "batched": str(batched),
    }


def _not_finite(params, records, batched):
    # On the host: a program for every shape would take longer to compile than this takes.
    bad = np.zeros(jax.tree.leaves(params)[0].shape[:1] if batched else (), dtype=bool)
    for axis, tree in ((0, params), (1, records)):
        for leaf in jax.tree.leaves(tree):
            others = tuple(i for i in range(leaf.ndim) if not (batched and i == axis))
            bad |= ~np.isfinite(np.asarray(leaf)).all(axis=others)
    return bad
