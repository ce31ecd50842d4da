"""How the VAE experiments train: settings, images, and when a loss counts as flat."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from snn_ntk.vae.training import State, start_vae

__all__ = ["SETTINGS", "StudySetting", "begin", "late_change", "mean_image_error", "shrink", "steps_to"]


class StudySetting(NamedTuple):
    """How a study trains: the architecture, its optimiser, and the side that images are averaged down to.

    If `annealed`, the learning rate falls to zero along half a cosine.
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


def shrink(images: UInt8[np.ndarray, "n h w c"], side: int) -> UInt8[np.ndarray, "n side side c"]:
    """Images averaged over blocks down to side × side pixels.

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
        images: Those whose mean is the guess.
        of: Those that are guessed; the same by default.
    """
    p = np.clip(images.mean(axis=0, dtype=np.float64) / 255, 1e-6, 1 - 1e-6)
    q = (images if of is None else of).mean(axis=0, dtype=np.float64) / 255  # the cross-entropy is linear in the image
    return float(-np.sum(q * np.log(p) + (1 - q) * np.log(1 - p)))


def steps_to(
    steps: Sequence[int] | np.ndarray,
    loss: Sequence[float] | np.ndarray,
    baseline: float,
    share: float = 0.9,
) -> float:
    """The first logged step at which this share of the final improvement over a baseline is made.

    Example:
        >>> steps_to([10, 20, 30], [90.0, 55.0, 50.0], 100.0)
        20.0
    """
    loss = np.asarray(loss)
    reached = loss <= baseline - share * (baseline - loss[-1])
    return float(np.asarray(steps)[np.argmax(reached)])


def late_change(loss: Sequence[float] | np.ndarray, baseline: float) -> float:
    """By how much of the improvement over a baseline a loss still fell in its last fifth, against the fifth before.

    Example:
        >>> late_change([90.0, 70.0, 60.0, 54.0, 50.0], 100.0)
        0.08
    """
    loss = np.asarray(loss)
    fifth = max(1, len(loss) // 5)
    before, last = loss[-2 * fifth : -fifth].mean() if len(loss) > fifth else loss[0], loss[-fifth:].mean()
    return float((before - last) / (baseline - last)) if last < baseline else 1.0


def begin(how: StudySetting, shape: tuple[int, int, int], m: int, seed: int) -> State:
    """A model with m latent variables for images of this shape, at its initialisation."""
    return start_vae(
        jax.random.key(seed),
        shape,
        m,
        architecture=how.architecture,
        width=how.width,
        activation=how.activation,
        optimizer=how.optimizer,
    )
