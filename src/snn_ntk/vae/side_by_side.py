"""Several β-VAEs that differ in their seeds, trained side by side in one program."""

import os
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from snn_ntk.training.checkpoint import Checkpoint
from snn_ntk.vae.training import Log, State, check_choices, configuration, stretch

__all__ = ["train_vaes"]


@eqx.filter_jit(donate="all-except-first")
def _advance(constant, states):
    return eqx.filter_vmap(stretch, in_axes=(None, eqx.if_array(0)))(constant, states)


def train_vaes(
    states: Sequence[State],
    images: Any,
    *,
    beta: float,
    steps: int,
    learning_rate: float,
    horizon: int | None = None,
    batch: int = 64,
    optimizer: str = "adam",
    rows: int = 32,
    checkpoint: str | os.PathLike | None = None,
) -> list[tuple[State, Log]]:
    """Trains models of one architecture as `train_vae` does each alone, to rounding.

    Where a step is bound by launches, as on a card, several models cost little more than one.

    Args:
        states: Of `start_vae`, all at the same step.
        images: Images of shape (n, height, width, channels), uint8, 255 is white.
        beta: Weight β of the divergence.
        steps: The step number to reach.
        learning_rate: Of the optimiser.
        horizon: The step number at which the learning rate, falling along half a cosine, reaches zero, if it falls.
        batch: Images a step.
        optimizer: The one that the states were started with.
        rows: Of each log, evenly spread over the steps to make.
        checkpoint: A file for the progress of all of them, as in `train_vae`.

    Returns:
        Each model's state at step `steps`, and its log.

    Raises:
        TypeError: As `train_vae` raises it.
        ValueError: As `train_vae` raises it, or if there is no state, states are of several architectures or sizes or
            at different steps, or their keys are not of the generator "threefry2x32", the one whose numbers side by
            side are those of each alone.
        FloatingPointError: If a loss or a parameter is no longer finite; the checkpoint keeps the row before.

    Example:
        >>> from snn_ntk.vae import start_vae
        >>> images = np.zeros((8, 4, 4, 1), np.uint8)
        >>> two = [start_vae(jax.random.key(seed), (4, 4, 1), 2, architecture="dense", width=8) for seed in (0, 1)]
        >>> found = train_vaes(two, images, beta=1.0, steps=20, learning_rate=1e-4, batch=4, rows=2)
        >>> [(int(state.step), log.kl.shape) for state, log in found]
        [(20, (2, 2)), (20, (2, 2))]

    Source: higgins2017beta, Eq. 4.
    """
    if not states:
        raise ValueError("expected at least one state, got none")
    for state in states:
        state.model.check_not_consumed()
        if (generator := str(jax.random.key_impl(state.key))) != "threefry2x32":
            raise ValueError(f"expected keys of the generator 'threefry2x32', got {generator!r}")
    kinds = {f"{jax.tree.structure(state)} {[np.shape(leaf) for leaf in jax.tree.leaves(state)]}" for state in states}
    if len(kinds) != 1:
        raise ValueError(f"expected states of one architecture, size and optimizer, got {len(kinds)} kinds")
    if len(firsts := {int(state.step) for state in states}) != 1:
        raise ValueError(f"expected states at one step, got steps {sorted(firsts)}")
    settings = beta, learning_rate, horizon, batch, optimizer
    rows, batch, first = check_choices(states[0], images, settings, steps=steps, rows=rows)
    stops = np.unique(np.linspace(first, steps, rows + 1).round().astype(int))
    kept: list[Any] = []
    arrays, static = eqx.partition(
        jax.tree.map(lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0], *states), eqx.is_array
    )
    store = None
    if checkpoint is not None:
        store = Checkpoint(
            checkpoint,
            configuration(states[0], _plain(arrays), images, settings=settings, steps=(first, steps), rows=rows),
        )
        if (found := store.read(_plain(arrays), (0.0, 0.0))) is not None:
            arrays = jax.tree.map(jnp.asarray, found[0])
            arrays = arrays._replace(key=jax.random.wrap_key_data(arrays.key))
            kept = found[1]
    images = jnp.asarray(images)
    done = first if not kept else int(stops[len(kept)])
    numbers = (jnp.float32(beta), jnp.float32(learning_rate), jnp.float32(horizon or np.inf))
    for stop in stops[len(kept) + 1 :]:
        constant = (images, *numbers, jnp.int32(stop - done), batch, optimizer)
        states, means, finite = _advance(constant, eqx.combine(arrays, static))
        arrays, done = eqx.filter(states, eqx.is_array), int(stop)
        if not finite.all():
            raise FloatingPointError(
                f"expected the losses and parameters to stay finite, got NaN or infinity before step {done} "
                f"in models {np.flatnonzero(~np.asarray(finite)).tolist()}"
            )
        kept.append(jax.device_get(means))
        if store is not None:
            store.write(_plain(arrays), kept)
    reconstruction = np.array([row[0] for row in kept], np.float32)  # (r, models)
    kl = np.array([row[1] for row in kept], np.float32)  # (r, models, m)
    ends = [eqx.combine(jax.tree.map(lambda leaf: leaf[i], arrays), static) for i in range(reconstruction.shape[1])]  # noqa: B023
    return [(end, Log(stops[1:], reconstruction[:, i], kl[:, i])) for i, end in enumerate(ends)]


def _plain(arrays):
    """The states with their keys as numbers: what a file can hold."""
    return arrays._replace(key=jax.random.key_data(arrays.key))
