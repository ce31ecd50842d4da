"""One run of the disentanglement experiment: a data set, a size of the latent space, a β and a seed; trained, then scored."""

import base64
import functools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8

from snn_ntk import datasets, disentanglement, vae
from snn_ntk.datasets.factors import FactorDataset

__all__ = [
    "SCORES",
    "SETTINGS",
    "Setting",
    "begin",
    "late_change",
    "mean_image_error",
    "random_code_scores",
    "run_study",
    "scores_of",
    "shrink",
    "steps_to",
]

SCORES = ("beta_vae", "factor_vae", "mig", "sap")


class Setting(NamedTuple):
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
    "library": Setting("convolutional", None, None, "adam", 1e-4, 64, 64),
    # Higgins et al. 2017 on dSprites, whom the paper cites for its set-up; they do not say their batch.
    "higgins": Setting("dense", 1200, "tanh", "adagrad", 1e-2, 64, 64),
    # For two cores: theirs with fewer neurons and pixels, and a decoder and an optimiser that need fewer steps.
    "small": Setting("dense", 256, "relu", "adam", 2e-3, 64, 32),
    "annealed": Setting("dense", 256, "relu", "adam", 2e-3, 64, 32, annealed=True),
    "tiny": Setting("dense", 256, "relu", "adam", 2e-3, 64, 16),
}


def shrink(images: UInt8[np.ndarray, "n h w c"], side: int) -> UInt8[np.ndarray, "n side side c"]:
    """Images averaged over blocks down to side × side pixels.

    Raises:
        ValueError: if `side` does not divide height and width.

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


@functools.lru_cache(maxsize=2)
def _grid(name: str, side: int, levels: tuple) -> tuple[FactorDataset, np.ndarray]:
    makers = {"dsprites": datasets.dsprites, "cars": datasets.cars3d}
    if name not in makers:
        raise ValueError(f"expected data, one of {sorted(makers)}, got {name!r}")
    data = makers[name]().restrict(**dict(levels))
    parts = [shrink(data.pixels(np.arange(i, min(i + 20_000, len(data)))), side) for i in range(0, len(data), 20_000)]
    return data, np.concatenate(parts)


def mean_image_error(images: UInt8[np.ndarray, "n h w c"], of: UInt8[np.ndarray, "k h w c"] | None = None) -> float:
    """Mean cross-entropy, in nats an image, of guessing the mean image whatever the input.

    Args:
        images: those whose mean is the guess.
        of: those that are guessed; the same by default.
    """
    p = np.clip(images.mean(axis=0, dtype=np.float64) / 255, 1e-6, 1 - 1e-6)
    q = (images if of is None else of).mean(axis=0, dtype=np.float64) / 255  # the cross-entropy is linear in the image
    return float(-np.sum(q * np.log(p) + (1 - q) * np.log(1 - p)))


def scores_of(
    data: FactorDataset, codes: Float[np.ndarray, "n m"], *, seed: int, points: int = 10_000
) -> dict[str, float]:
    """Every score of a code, from the table of the mean codes of all images of a grid.

    Args:
        data: the grid.
        codes: mean codes in the grid's order.
        seed: of the scores' samples.
        points: to fit each score's classifier to, or to estimate information from; half as many to test.

    Returns:
        The four scores of the paper's Figure 3, modularity and DCI (`disentanglement`, `completeness`,
        `informativeness`), the last four of active latents only, and `active`, how many there are.
    """
    rng = np.random.default_rng([seed, 10])

    def lookup(factors: np.ndarray) -> np.ndarray:
        return codes[data.indices(factors)]

    fit, held_out = (data.sample_factors(rng, n) for n in (points, points // 2))
    active = disentanglement.active_latents(codes)
    found = {
        "beta_vae": disentanglement.beta_vae(data, lookup, rng=rng, train=points, test=points // 2),
        "factor_vae": disentanglement.factor_vae(data, lookup, rng=rng, train=points, test=points // 2),
        "mig": disentanglement.mig(lookup(fit), fit),
        "sap": disentanglement.sap(lookup(fit), fit, lookup(held_out), held_out),
        "active": int(active.sum()),
        "modularity": 0.0,
        "disentanglement": 0.0,
        "completeness": 0.0,
        "informativeness": 0.0,
    }
    if active.any():
        found["modularity"] = disentanglement.modularity(lookup(fit)[:, active], fit)
        # Few points do: trees with many levels to tell are slow.
        few, test = slice(min(points, 2_000)), slice(min(points // 2, 1_000))
        used = disentanglement.dci(
            lookup(fit[few])[:, active], fit[few], lookup(held_out[test])[:, active], held_out[test], trees=20
        )
        found |= {key: getattr(used, key) for key in ("disentanglement", "completeness", "informativeness")}
    return {key: float(value) for key, value in found.items()}


def random_code_scores(
    *,
    data: str,
    m: int,
    seed: int,
    setting: str = "small",
    levels: Mapping[str, Mapping[str, int]] | None = None,
    points: int = 10_000,
) -> dict[str, float]:
    """The scores of m random projections of the images, which is what an infinitely wide encoder's codes amount to.

    Args:
        data, m, seed, setting, levels, points: see `run_study`.

    Returns:
        As `scores_of`.
    """
    grid, images = _grid(data, SETTINGS[setting].side, tuple(sorted((levels or {}).get(data, {}).items())))
    directions = np.random.default_rng([seed, 20]).normal(size=(images[0].size, m)).astype(np.float32)
    parts = [images[i : i + 4096].reshape(-1, len(directions)) / np.float32(255) for i in range(0, len(images), 4096)]
    codes = np.concatenate([part @ directions for part in parts])
    return scores_of(grid, codes / codes.std(axis=0).mean(), seed=seed, points=points)


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


def begin(how: Setting, shape: tuple[int, int, int], m: int, seed: int) -> vae.State:
    """A model with m latent variables for images of this shape, at its initialisation."""
    return vae.start(
        jax.random.key(seed),
        shape,
        m,
        architecture=how.architecture,
        width=how.width,
        activation=how.activation,
        optimizer=how.optimizer,
    )


def run_study(
    *,
    data: str,
    m: int,
    beta: float,
    seed: int,
    setting: str = "small",
    steps: int,
    parts: int = 1,
    levels: Mapping[str, Mapping[str, int]] | None = None,
    points: int = 10_000,
    rows: int = 40,
    checkpoint: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Trains one β-VAE and scores its codes, at the end and on the way.

    Args:
        data: "dsprites" or "cars".
        m: number of latent variables.
        beta: β.
        seed: of initialisation, batches, noise and scores.
        setting: a key of `SETTINGS`.
        steps: of training.
        parts: equal parts that training is divided into; codes are scored at the end of each.
        levels: for each data set, how many levels of a factor are kept (`FactorDataset.restrict`).
        points: see `scores_of`.
        rows: of the training's log.
        checkpoint: a file name that checkpoints are named after; an interrupted run goes on from them.

    Returns:
        What JSON can hold: `name`, `source`, `images`; the log's `steps`, `reconstruction` and `kl` (all latents
        together); `mean_image`, the cross-entropy of guessing the mean image, and `error`, that of the model's
        reconstructions of the same images from mean codes; `change`, see `late_change`; `steps_to_90`; `milliseconds` a step, without
        compilation; `milestones`, the scores with their `step`; and `pictures`, six images and their reconstructions as
        bytes in base 64 with their shape.

    Raises:
        ValueError: on unknown data or settings, or fewer steps than parts.
    """
    if setting not in SETTINGS:
        raise ValueError(f"expected a setting, one of {sorted(SETTINGS)}, got {setting!r}")
    if not 1 <= parts <= steps:
        raise ValueError(f"expected 1 <= parts <= steps, got {parts} and {steps}")
    how = SETTINGS[setting]
    grid, images = _grid(data, how.side, tuple(sorted((levels or {}).get(data, {}).items())))
    on_device = jax.device_put(images)
    state = begin(how, images.shape[1:], m, seed)
    stops = [round(steps * (i + 1) / parts) for i in range(parts)]
    logs, milestones, times = [], [], []
    for stop in stops:
        began, first = time.perf_counter(), int(state.step)
        state, log = vae.train(
            state, on_device, beta=beta, steps=stop, learning_rate=how.learning_rate,
            horizon=steps if how.annealed else None, batch=how.batch, optimizer=how.optimizer, rows=max(1, rows // parts),
            checkpoint=None if checkpoint is None else Path(f"{checkpoint}-{stop}.npz"),
        )  # fmt: skip
        times.append((time.perf_counter() - began) / (stop - first))
        logs.append(log)
        codes, _ = vae.encode(state.model, images)
        milestones.append({"step": stop} | scores_of(grid, codes, seed=seed, points=points))
    some = images[np.random.default_rng(seed).permutation(len(images))[:4096]]
    error, pixels = vae.reconstruct(state.model, some)
    pictures = np.stack([some[:6], np.rint(255 * pixels[:6]).astype(np.uint8)])
    at = np.concatenate([log.steps for log in logs])
    reconstruction = np.concatenate([log.reconstruction for log in logs])
    kl = np.concatenate([log.kl.sum(axis=1) for log in logs])
    loss, baseline = reconstruction + beta * kl, mean_image_error(images)
    return {
        "name": grid.name,
        "source": grid.source,
        "images": len(grid),
        "steps": at.tolist(),
        "reconstruction": reconstruction.astype(float).tolist(),
        "kl": kl.astype(float).tolist(),
        "mean_image": mean_image_error(images, some),
        "error": float(error.mean()),
        "change": late_change(loss, baseline),
        "steps_to_90": steps_to(at, loss, baseline),
        "milliseconds": 1e3 * min(times[1:] or times),
        "milestones": milestones,
        "pictures": {"shape": list(pictures.shape), "bytes": base64.b64encode(pictures.tobytes()).decode()},
    }
