"""How the VAE experiments train: settings, images, and when a loss counts as flat."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from snn_ntk.vae.side_by_side import train_vaes
from snn_ntk.vae.training import Log, State, start_vae, train_vae

__all__ = [
    "SETTINGS",
    "StudySetting",
    "begin",
    "first_steps_again",
    "late_change",
    "mean_image_error",
    "setting_named",
    "shrink",
    "steps_to",
    "train_all_at",
    "train_at",
]


class StudySetting(NamedTuple):
    """How a study trains.

    Attributes:
        architecture: Of `VAE`.
        width: Of its dense layers; None is the architecture's own.
        activation: Of its decoder, likewise.
        optimizer: Of `start_vae`.
        learning_rate: Of the optimiser.
        batch: Images a step.
        side: Of the images, which are averaged down to it.
        annealed: Whether the learning rate falls to zero along half a cosine.
    """

    architecture: str
    width: int | None
    activation: str | None
    optimizer: str
    learning_rate: float
    batch: int
    side: int
    annealed: bool = False


SETTINGS = {
    # The study library's: Locatello et al. 2019.
    "library": StudySetting("convolutional", None, None, "adam", 1e-4, 64, 64),
    # Higgins et al. 2017 on dSprites, whom the paper cites for its set-up; they do not say their batch.
    "higgins": StudySetting("dense", 1200, "tanh", "adagrad", 1e-2, 64, 64),
    # For two cores: theirs with fewer neurons and pixels, and a decoder and an optimiser that need fewer steps.
    "small": StudySetting("dense", 256, "relu", "adam", 2e-3, 64, 32),
    "annealed": StudySetting("dense", 256, "relu", "adam", 2e-3, 64, 32, annealed=True),
    "tiny": StudySetting("dense", 256, "relu", "adam", 2e-3, 64, 16),
}


def setting_named(name: str) -> StudySetting:
    """One of `SETTINGS`.

    Args:
        name: Its key.

    Returns:
        The setting.

    Raises:
        ValueError: If there is none of that name.

    Example:
        >>> setting_named("tiny").side
        16
    """
    if name not in SETTINGS:
        raise ValueError(f"expected a setting, one of {sorted(SETTINGS)}, got {name!r}")
    return SETTINGS[name]


def shrink(images: UInt8[np.ndarray, "n h w c"], side: int) -> UInt8[np.ndarray, "n side side c"]:
    """Images averaged over blocks down to side × side pixels.

    Args:
        images: Bytes of shape (n, height, width, channels).
        side: Pixels of a side of the result.

    Returns:
        Bytes of shape (n, side, side, channels), uint8.

    Raises:
        ValueError: If `side` does not divide height and width.

    Example:
        >>> import numpy as np
        >>> shrink(np.array([[0, 255], [255, 255]], np.uint8).reshape(1, 2, 2, 1), 1).item()
        191
    """
    n, h, w, c = images.shape
    if side < 1 or h % side or w % side:
        raise ValueError(f"expected a side that divides {h}×{w}, got {side}")
    if side == h == w:
        return images
    blocks = images.reshape(n, side, h // side, side, w // side, c)
    return np.rint(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)


def mean_image_error(images: UInt8[np.ndarray, "n h w c"], of: UInt8[np.ndarray, "k h w c"] | None = None) -> float:
    """Mean cross-entropy, in nats an image, of guessing the mean image whatever the input.

    Args:
        images: Bytes of shape (n, height, width, channels), whose mean is the guess.
        of: Those that are guessed, shape (k, height, width, channels); the same by default.

    Returns:
        The cross-entropy, summed over pixels and averaged over the images `of`.

    Example:
        >>> round(mean_image_error(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)), 4)
        0.6931
    """
    p = np.clip(images.mean(axis=0, dtype=np.float64) / 255, 1e-6, 1 - 1e-6)
    q = (images if of is None else of).mean(axis=0, dtype=np.float64) / 255  # the cross-entropy is linear in the image
    return float(-np.sum(q * np.log(p) + (1 - q) * np.log(1 - p)))


def steps_to(
    steps: Sequence[int] | np.ndarray,
    loss: Sequence[float] | np.ndarray,
    baseline: float,
    share: float = 0.9,
) -> float | None:
    """The first logged step at which a share of the final improvement over a baseline is made.

    Args:
        steps: Logged steps, shape (r,).
        loss: The loss there, shape (r,).
        baseline: The loss to improve upon.
        share: Of the improvement that the last loss is.

    Returns:
        One of the steps; None if the last loss is no improvement.

    Example:
        >>> steps_to([10, 20, 30], [90.0, 55.0, 50.0], 100.0)
        20.0
    """
    loss = np.asarray(loss)
    if not loss[-1] < baseline:
        return None
    reached = loss <= baseline - share * (baseline - loss[-1])
    return float(np.asarray(steps)[np.argmax(reached)])


def late_change(loss: Sequence[float] | np.ndarray, baseline: float) -> float:
    """By how much of the improvement over a baseline a loss still fell in its last fifth, against the fifth before.

    Args:
        loss: Logged losses, shape (r,).
        baseline: The loss to improve upon.

    Returns:
        A share of the improvement, 0 for a loss that is flat; 1 if there is no improvement.

    Example:
        >>> late_change([90.0, 70.0, 60.0, 54.0, 50.0], 100.0)
        0.08
    """
    loss = np.asarray(loss)
    fifth = max(1, len(loss) // 5)
    before, last = loss[-2 * fifth : -fifth].mean() if len(loss) > fifth else loss[0], loss[-fifth:].mean()
    return float((before - last) / (baseline - last)) if last < baseline else 1.0


def begin(how: StudySetting, shape: tuple[int, int, int], m: int, seed: int) -> State:
    """A model with m latent variables for images of this shape, at its initialisation.

    Args:
        how: The setting.
        shape: Of an image: height, width, channels.
        m: Number of latent variables.
        seed: Of the initialisation, and of all noise and batches to come.

    Returns:
        The state before the first step.
    """
    return start_vae(
        jax.random.key(seed),
        shape,
        m,
        architecture=how.architecture,
        width=how.width,
        activation=how.activation,
        optimizer=how.optimizer,
    )


def train_at(how: StudySetting, state: State, images: Any, **choices: Any) -> tuple[State, Log]:
    """Trains one model as a setting says: `train_all_at` for one state, which it takes and returns by itself.

    Args:
        how: The setting.
        state: Where training begins or goes on.
        images: Bytes of shape (n, height, width, channels).
        choices: As in `train_all_at`.

    Returns:
        The state at the last step, and the log.
    """
    return train_all_at(how, [state], images, **choices)[0]


def train_all_at(
    how: StudySetting,
    states: Sequence[State],
    images: Any,
    *,
    beta: float,
    steps: int,
    end: int,
    rows: int,
    checkpoint: str | os.PathLike | None,
) -> list[tuple[State, Log]]:
    """Trains models that differ in their seed as a setting says, several of them side by side.

    Args:
        how: The setting.
        states: Where training begins or goes on; arrays of a single one are overwritten.
        images: Bytes of shape (n, height, width, channels).
        beta: Weight β of the divergence.
        steps: The step number to reach.
        end: The step number at which the whole training ends, and with it the learning rate if `annealed`.
        rows: Of the log.
        checkpoint: A file for progress, or None, as in `train_vae`.

    Returns:
        For each model the state at step `steps`, and the log.
    """
    choices: dict[str, Any] = {
        "beta": beta,
        "steps": steps,
        "learning_rate": how.learning_rate,
        "horizon": end if how.annealed else None,
        "batch": how.batch,
        "optimizer": how.optimizer,
        "rows": rows,
        "checkpoint": checkpoint,
    }
    if len(states) == 1:
        return [train_vae(states[0], images, **choices)]
    return train_vaes(states, images, **choices)


def first_steps_again(run: Mapping[str, Any], images: UInt8[np.ndarray, "n h w c"]) -> float:
    """Trains the first steps of a run that exists once more, up to the first row of its log.

    Args:
        run: Its "parameters" and "result", as `reporting.committed_runs` gives them.
        images: What it was trained on, bytes of shape (n, height, width, channels).

    Returns:
        The relative difference between the loss in that row, a mean over its steps, and the run's own.
    """
    parameters, result = run["parameters"], run["result"]
    how, beta = setting_named(parameters["setting"]), parameters["beta"]
    [(_, log)] = train_all_at(
        how,
        [begin(how, images.shape[1:], parameters["m"], parameters["seed"])],
        images,
        beta=beta,
        steps=result["steps"][0],
        end=parameters["steps"],
        rows=1,
        checkpoint=None,
    )
    here, there = log.reconstruction[0] + beta * log.kl[0].sum(), result["reconstruction"][0] + beta * result["kl"][0]
    return float(abs(here / there - 1))
