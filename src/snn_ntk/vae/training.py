"""Training of a β-VAE in one compiled loop, resumable."""

import os
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

from snn_ntk import _validation as validation
from snn_ntk._files import digest
from snn_ntk.training.checkpoint import Checkpoint
from snn_ntk.vae.model import VAE, loss_terms

__all__ = ["Log", "State", "start_vae", "train_vae"]

OPTIMIZERS = {"adam": optax.scale_by_adam(), "adagrad": optax.scale_by_rss()}


class State(NamedTuple):
    """All that training needs to go on.

    Attributes:
        model: The autoencoder.
        moments: The optimiser's.
        step: Number of steps made.
        key: JAX random key of all noise and batches to come.
    """

    model: VAE
    moments: Any
    step: Int[Array, ""]
    key: PRNGKeyArray


class Log(NamedTuple):
    """Losses in nats an image, averaged over the steps since the row before.

    Attributes:
        steps: Step numbers at which the rows end, shape (r,).
        reconstruction: The reconstruction term, shape (r,).
        kl: The divergence of each latent variable, not multiplied by β, shape (r, m).
    """

    steps: Int[np.ndarray, " r"]
    reconstruction: Float[np.ndarray, " r"]
    kl: Float[np.ndarray, "r m"]


def start_vae(
    key: PRNGKeyArray,
    shape: tuple[int, int, int],
    latent: int,
    *,
    architecture: str = "convolutional",
    width: int | None = None,
    activation: str | None = None,
    optimizer: str = "adam",
) -> State:
    """A model at its initialisation, ready to train.

    Args:
        key: JAX random key, of the initialisation and of all noise and batches to come.
        shape: Of an image: height, width, channels.
        latent: Number m of latent variables.
        architecture: Of `VAE`, "convolutional" or "dense".
        width: Of the dense layers.
        activation: Of the decoder.
        optimizer: Either "adam" (the study library's, learning rate 1e-4) or "adagrad" (the β-VAE's on dSprites, 1e-2).

    Returns:
        The state before the first step.

    Raises:
        TypeError: As `VAE` raises it.
        ValueError: If the optimiser is unknown, or as `VAE` raises it.
    """
    _check_optimizer(optimizer)
    # Before the compiled function, which would take NumPy's integers for arrays.
    shape, latent = validation.image_shape(shape), validation.positive_integer(latent, "latent")
    width = None if width is None else validation.positive_integer(width, "width")
    return _initial(key, shape, latent, optimizer, architecture=architecture, width=width, activation=activation)


def _check_optimizer(name):
    if name not in OPTIMIZERS:
        raise ValueError(f"expected an optimizer, one of {sorted(OPTIMIZERS)}, got {name!r}")


@eqx.filter_jit
def _initial(key, shape, latent, optimizer, **choices):
    key_model, key_steps = jax.random.split(key)
    model = VAE(key_model, shape, latent, **choices)
    return State(model, OPTIMIZERS[optimizer].init(eqx.filter(model, eqx.is_array)), jnp.int32(0), key_steps)


def stretch(constant, state):
    """Some steps of one model: images, β, learning rate, horizon, number of steps, batch, optimiser; and the state."""
    # The number of steps is traced: the same executable serves every stretch, so that where a run is cut into stretches
    # (a row of the log, a checkpoint) does not change one bit of it.
    images, beta, learning_rate, horizon, count, batch, optimizer = constant
    transform = OPTIMIZERS[optimizer]
    _, static = eqx.partition(state.model, eqx.is_array)

    def objective(params, x, noise):
        reconstruction, kl = loss_terms(eqx.combine(params, static), x, noise)
        reconstruction, kl = jnp.mean(reconstruction), jnp.mean(kl, axis=0)
        return reconstruction + beta * jnp.sum(kl), (reconstruction, kl)

    last = state.step + count

    def going(carry):
        _, _, step, (reconstruction, kl) = carry
        return (step < last) & jnp.isfinite(reconstruction + jnp.sum(kl))  # a sum with NaN in it stays NaN

    def body(carry):
        params, moments, step, sums = carry
        key_batch, key_noise = jax.random.split(jax.random.fold_in(state.key, step))
        chosen = jax.random.randint(key_batch, (batch,), 0, len(images), jnp.int32)
        x = images[chosen].astype(jnp.float32) / 255
        noise = jax.random.normal(key_noise, (batch, state.model.latent), jnp.float32)
        (_, terms), gradient = jax.value_and_grad(objective, has_aux=True)(params, x, noise)
        updates, moments = transform.update(gradient, moments, params)
        rate = learning_rate * (1 + jnp.cos(jnp.pi * jnp.minimum(step / horizon, 1.0))) / 2
        params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
        return params, moments, step + 1, jax.tree.map(jnp.add, sums, terms)

    zeros = (jnp.float32(0), jnp.zeros(state.model.latent, jnp.float32))
    carry = (eqx.filter(state.model, eqx.is_array), state.moments, state.step, zeros)
    params, moments, step, sums = jax.lax.while_loop(going, body, carry)
    means = jax.tree.map(lambda s: s / count, sums)
    finite = jax.tree.reduce(jnp.logical_and, jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), (params, means)))
    return State(eqx.combine(params, static), moments, step, state.key), means, finite


_advance = eqx.filter_jit(stretch, donate="all-except-first")


def train_vae(
    state: State,
    images: Any,
    *,
    beta: float,
    steps: int,
    learning_rate: float = 1e-4,
    horizon: int | None = None,
    batch: int = 64,
    optimizer: str = "adam",
    rows: int = 32,
    checkpoint: str | os.PathLike | None = None,
    progress: bool | None = None,
) -> tuple[State, Log]:
    """Trains up to step number `steps`, counted from the initialisation, with batches drawn on the device.

    Step t draws its batch (with replacement) and its noise from `fold_in(state.key, t)`: what is drawn does not depend
    on where a run was interrupted. Images stay on the device as bytes; one compiled loop makes all steps between two
    rows of the log. It is compiled once for a shape: other β, learning rates, horizons, seeds and lengths reuse it.

    Args:
        state: Of `start_vae`, or of an earlier call. It is consumed: its arrays are overwritten.
        images: Images of shape (n, height, width, channels), uint8, 255 is white.
        beta: Weight β of the divergence.
        steps: The step number to reach.
        learning_rate: Of the optimiser.
        horizon: The step number at which the learning rate, falling along half a cosine, reaches zero; by default it
            does not fall.
        batch: Images a step.
        optimizer: The one that the state was started with.
        rows: Of the log, evenly spread over the steps to make.
        checkpoint: A file for progress, written at every row. If it exists, training goes on from there, with
            results bit-identical to those of an uninterrupted run on the same device. To extend a finished run, read
            it with its own `steps` and call again with the state that this returns, more steps and another file.
        progress: Whether to show a bar once it takes longer than five seconds; by default unless CI is set.

    Returns:
        The state at step `steps`, and the log.

    Raises:
        TypeError: If a number is of another kind.
        ValueError: If images are not bytes of the model's shape, `steps` lie behind the state, `beta` or
            `learning_rate` are negative, `rows`, `batch` or `horizon` below one, optimiser or checkpoint belong to
            another configuration, or an earlier call has consumed the state.
        FloatingPointError: If the loss or a parameter is no longer finite, at the step at which that happens; the
            checkpoint keeps the row before.

    Example:
        >>> import jax, numpy as np
        >>> images = np.zeros((8, 4, 4, 1), np.uint8)
        >>> state = start_vae(jax.random.key(0), (4, 4, 1), 2, architecture="dense", width=8)
        >>> state, log = train_vae(state, images, beta=1.0, steps=20, batch=4, rows=2)
        >>> int(state.step), log.steps.tolist(), log.kl.shape
        (20, [10, 20], (2, 2))

    Source: higgins2017beta, Eq. 4; loshchilov2017sgdr, Eq. 5 (for the falling rate).
    """
    state.model.check_not_consumed()
    settings = beta, learning_rate, horizon, batch, optimizer
    rows, batch, first = check_choices(state, images, settings, steps=steps, rows=rows)
    stops = np.unique(np.linspace(first, steps, rows + 1).round().astype(int))
    kept: list[Any] = []
    store = None
    if checkpoint is not None:
        arrays = _arrays(state)
        store = Checkpoint(
            checkpoint, configuration(state, arrays, images, settings=settings, steps=(first, steps), rows=rows)
        )
        if (found := store.read(arrays, (0.0, 0.0))) is not None:
            state, kept = _state(found[0], state), found[1]
    images = jnp.asarray(images)
    show = "CI" not in os.environ if progress is None else progress
    numbers = (jnp.float32(beta), jnp.float32(learning_rate), jnp.float32(horizon or np.inf))
    with tqdm(total=steps, initial=int(state.step), delay=5, leave=False, disable=not show, unit="step") as bar:
        for stop in stops[len(kept) + 1 :]:
            count = jnp.int32(stop - int(state.step))
            state, means, finite = _advance((images, *numbers, count, batch, optimizer), state)
            if not finite:
                raise FloatingPointError(
                    f"expected the loss and the parameters to stay finite, got NaN or infinity at step "
                    f"{int(state.step)}: a smaller learning rate than {float(learning_rate):g} may help"
                )
            kept.append(jax.device_get(means))
            bar.update(int(count))
            if store is not None:
                store.write(_arrays(state), kept)
    reconstruction = np.array([row[0] for row in kept], np.float32)
    kl = np.array([row[1] for row in kept], np.float32).reshape(-1, state.model.latent)
    return state, Log(stops[1:], reconstruction, kl)


def check_choices(state, images, settings, *, steps, rows):
    """Raises an error unless a state can be trained so; returns rows, batch and the state's step as Python's integers."""
    beta, learning_rate, horizon, batch, optimizer = settings
    validation.image_bytes(images, state.model.shape)
    validation.non_negative(beta, "beta")
    validation.non_negative(learning_rate, "learning_rate")
    rows, batch = validation.positive_integer(rows, "rows"), validation.positive_integer(batch, "batch")
    first = int(state.step)
    if not hasattr(steps, "__index__") or steps < first:
        raise ValueError(f"expected a whole number of steps >= {first}, the state's own, got {steps}")
    if horizon is not None:
        validation.positive_integer(horizon, "horizon")
    _check_optimizer(optimizer)
    expected = jax.tree.structure(OPTIMIZERS[optimizer].init(eqx.filter(state.model, eqx.is_array)))
    if jax.tree.structure(state.moments) != expected:
        raise ValueError(f"expected the optimizer that the state was started with, got {optimizer!r}")
    return rows, batch, first


def configuration(state, arrays, images, *, settings, steps, rows):
    """What has to be the same for a training to go on from a checkpoint; the keys are the last of the state's arrays."""
    *parts, keys = jax.tree.leaves(arrays)
    beta, learning_rate, *others = settings
    return {
        "model": digest(str(jax.tree.structure(state.model)), *(f"{leaf.shape} {leaf.dtype}" for leaf in parts)),
        "generator": str(jax.random.key_impl(state.key)),  # the keys of one seed look alike in two of them
        "seed": digest(keys),
        "initial state": digest(*parts),
        "images": digest(images),
        "settings": " ".join(map(str, (float(beta), float(learning_rate), *others))),
        "steps": f"{steps[0]} to {steps[1]}",
        "rows": str(rows),
    }


def _arrays(state):
    """The state as arrays alone, the key as its numbers: what a file can hold."""
    parts = eqx.filter((state.model, state.moments, state.step), eqx.is_array)
    return *parts, jax.random.key_data(state.key)


def _state(arrays, like):
    """The inverse of `_arrays`, with what is no array from a state of the same model."""
    *parts, key = jax.tree.map(jnp.asarray, arrays)
    _, static = eqx.partition((like.model, like.moments, like.step), eqx.is_array)
    model, moments, step = eqx.combine(tuple(parts), static)
    return State(model, moments, step, jax.random.wrap_key_data(key, impl=jax.random.key_impl(like.key)))
