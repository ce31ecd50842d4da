"""Runs of the disentanglement experiment: a data set, a number of latents, a β and seeds; trained and scored."""

import base64
import functools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from snn_ntk import datasets
from snn_ntk.datasets.factors import FactorDataset
from snn_ntk.disentanglement.attribute_predictability import sap
from snn_ntk.disentanglement.codes import active_latents
from snn_ntk.disentanglement.importance import dci
from snn_ntk.disentanglement.information import mig, modularity
from snn_ntk.disentanglement.interventions import beta_vae, factor_vae
from snn_ntk.experiments.vae_settings import (
    begin,
    first_steps_again,
    late_change,
    mean_image_error,
    setting_named,
    shrink,
    steps_to,
    train_all_at,
)
from snn_ntk.vae.codes import encode, reconstruct
from snn_ntk.vae.training import Log, State

__all__ = [
    "SCORES",
    "disentanglement_runs",
    "random_code_scores",
    "repeat_disentanglement",
    "run_disentanglement",
    "scores_of",
]

SCORES = ("beta_vae", "factor_vae", "mig", "sap")


def grid_of(
    name: str, side: int, levels: Mapping[str, Mapping[str, int]] | None = None
) -> tuple[FactorDataset, np.ndarray]:
    """A data set with the levels that are kept of it, and all its images averaged down to a side."""
    return _grid(name, side, tuple(sorted((levels or {}).get(name, {}).items())))


@functools.lru_cache(maxsize=2)
def _grid(name: str, side: int, levels: tuple) -> tuple[FactorDataset, np.ndarray]:
    makers = {"dsprites": datasets.dsprites, "cars": datasets.cars3d}
    if name not in makers:
        raise ValueError(f"expected data, one of {sorted(makers)}, got {name!r}")
    data = makers[name]().restrict(**dict(levels))
    parts = [shrink(data.pixels(np.arange(i, min(i + 20_000, len(data)))), side) for i in range(0, len(data), 20_000)]
    return data, np.concatenate(parts)


def scores_of(
    data: FactorDataset, codes: Float[np.ndarray, "n m"], *, seed: int, points: int = 10_000
) -> dict[str, float]:
    """Every score of a code, from the table of the mean codes of all images of a grid.

    Args:
        data: The grid.
        codes: Mean codes in the grid's order, shape (n, m).
        seed: Of the scores' samples.
        points: To fit each score's classifier to, or to estimate information from; half as many to test.

    Returns:
        The four scores of the paper's Figure 3, modularity and DCI (`disentanglement`, `completeness`,
        `informativeness`), the last four of active latents only, and `active`, how many there are.

    Source: wang2024vae, Figure 3.
    """
    rng = np.random.default_rng([seed, 10])

    def lookup(factors: np.ndarray) -> np.ndarray:
        return codes[data.indices(factors)]

    fit, held_out = (data.sample_factors(rng, n) for n in (points, points // 2))
    active = active_latents(codes)
    found = {
        "beta_vae": beta_vae(data, lookup, rng=rng, train=points, test=points // 2),
        "factor_vae": factor_vae(data, lookup, rng=rng, train=points, test=points // 2),
        "mig": mig(lookup(fit), fit),
        "sap": sap(lookup(fit), fit, lookup(held_out), held_out),
        "active": int(active.sum()),
        "modularity": 0.0,
        "disentanglement": 0.0,
        "completeness": 0.0,
        "informativeness": 0.0,
    }
    if active.any():
        found["modularity"] = modularity(lookup(fit)[:, active], fit)
        # Few points do: trees with many levels to tell are slow.
        few, test = slice(min(points, 2_000)), slice(min(points // 2, 1_000))
        used = dci(lookup(fit[few])[:, active], fit[few], lookup(held_out[test])[:, active], held_out[test], trees=20)
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
        data: Either "dsprites" or "cars".
        m: Number of projections.
        seed: Of the projections and of the scores' samples.
        setting: A key of `SETTINGS`, whose size of images counts.
        levels: For each data set, how many levels of a factor are kept (`FactorDataset.restrict`).
        points: As in `scores_of`.

    Returns:
        What `scores_of` returns.

    Raises:
        ValueError: If data or setting are unknown.

    Source: book, chapter 10.
    """
    grid, images = grid_of(data, setting_named(setting).side, levels)
    directions = np.random.default_rng([seed, 20]).normal(size=(images[0].size, m)).astype(np.float32)
    parts = [images[i : i + 4096].reshape(-1, len(directions)) / np.float32(255) for i in range(0, len(images), 4096)]
    codes = np.concatenate([part @ directions for part in parts])
    return scores_of(grid, codes / codes.std(axis=0).mean(), seed=seed, points=points)


def run_disentanglement(*, seed: int, **settings: Any) -> dict[str, Any]:
    """One β-VAE, trained and scored: what `disentanglement_runs` returns for one seed, its other settings as there.

    Source: wang2024vae, Figure 3.
    """
    return disentanglement_runs(seeds=[seed], **settings)[0]


def disentanglement_runs(
    *,
    data: str,
    m: int,
    beta: float,
    seeds: Sequence[int],
    setting: str = "small",
    steps: int,
    parts: int = 1,
    levels: Mapping[str, Mapping[str, int]] | None = None,
    points: int = 10_000,
    rows: int = 40,
    checkpoint: str | os.PathLike | None = None,
) -> list[dict[str, Any]]:
    """Trains β-VAEs that differ in their seed, several of them side by side, and scores their codes on the way.

    Args:
        data: Either "dsprites" or "cars".
        m: Number of latent variables.
        beta: Weight β of the divergence.
        seeds: Of initialisation, batches, noise and scores.
        setting: A key of `SETTINGS`.
        steps: Of training.
        parts: Equal parts that training is divided into; codes are scored at the end of each.
        levels: For each data set, how many levels of a factor are kept (`FactorDataset.restrict`).
        points: As in `scores_of`.
        rows: Of the training's log.
        checkpoint: A file name that checkpoints are named after; an interrupted run goes on from them.

    Returns:
        For each seed what JSON can hold, namely `name`, `source`, `images`; the log's `steps`, `reconstruction` and `kl` (all
        latents together); `mean_image`, the cross-entropy of guessing the mean image, and `error`, that of the model's
        reconstructions of the same images from mean codes; `change`, of `late_change`; `steps_to_90`, of `steps_to`;
        `milliseconds` a step of all seeds, without compilation; `milestones`, the scores with their `step`; and
        `pictures`, six images and their reconstructions as bytes in base 64 with their shape.

    Raises:
        ValueError: If data or setting are unknown, or there are fewer steps than parts.

    Source: wang2024vae, Figure 3.
    """
    how = setting_named(setting)
    if not 1 <= parts <= steps:
        raise ValueError(f"expected 1 <= parts <= steps, got {parts} and {steps}")
    grid, images = grid_of(data, how.side, levels)
    on_device = jax.device_put(images)
    states = [begin(how, images.shape[1:], m, seed) for seed in seeds]
    stops = [round(steps * (i + 1) / parts) for i in range(parts)]
    logs: list[list[Log]] = [[] for _ in seeds]
    milestones: list[list[dict[str, float]]] = [[] for _ in seeds]
    times = []
    for stop in stops:
        began, first = time.perf_counter(), int(states[0].step)
        trained = train_all_at(
            how,
            states,
            on_device,
            beta=beta,
            steps=stop,
            end=steps,
            rows=max(1, rows // parts),
            checkpoint=None if checkpoint is None else Path(f"{checkpoint}-{stop}.npz"),
        )
        times.append((time.perf_counter() - began) / (stop - first))
        states = [state for state, _ in trained]
        for i, (state, log) in enumerate(trained):
            logs[i].append(log)
            codes, _ = encode(state.model, images)
            milestones[i].append({"step": stop} | scores_of(grid, codes, seed=seeds[i], points=points))
    shared = {
        "name": grid.name,
        "source": grid.source,
        "images": len(grid),
        "milliseconds": 1e3 * min(times[1:] or times),
    }
    return [
        shared | _report(state, log, images, beta=beta, seed=seed) | {"milestones": scored}
        for state, log, scored, seed in zip(states, logs, milestones, seeds, strict=True)
    ]


def _report(state: State, logs: Sequence[Log], images: np.ndarray, *, beta: float, seed: int) -> dict[str, Any]:
    """What the log of one training says, and what its model makes of some images."""
    some = images[np.random.default_rng(seed).permutation(len(images))[:4096]]
    error, pixels = reconstruct(state.model, some)
    pictures = np.stack([some[:6], np.rint(255 * pixels[:6]).astype(np.uint8)])
    at = np.concatenate([log.steps for log in logs])
    reconstruction = np.concatenate([log.reconstruction for log in logs])
    kl = np.concatenate([log.kl.sum(axis=1) for log in logs])
    loss, baseline = reconstruction + beta * kl, mean_image_error(images)
    return {
        "steps": at.tolist(),
        "reconstruction": reconstruction.astype(float).tolist(),
        "kl": kl.astype(float).tolist(),
        "mean_image": mean_image_error(images, some),
        "error": float(error.mean()),
        "change": late_change(loss, baseline),
        "steps_to_90": steps_to(at, loss, baseline),
        "pictures": {"shape": list(pictures.shape), "bytes": base64.b64encode(pictures.tobytes()).decode()},
    }


def repeat_disentanglement(run: Mapping[str, Any]) -> float | None:
    """How far a committed run's first steps are from the same steps made here.

    Args:
        run: Its "parameters" and "result".

    Returns:
        The relative difference of `first_steps_again`; None if the data found here are others than the run's.
    """
    parameters = run["parameters"]
    side = setting_named(parameters["setting"]).side
    grid, images = grid_of(parameters["data"], side, parameters.get("levels"))
    return first_steps_again(run, images) if grid.name == run["result"]["name"] else None
