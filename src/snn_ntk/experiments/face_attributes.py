"""One run of the face experiment: a size of the latent space, a β and a seed; trained, then read."""

import base64
import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8
from sklearn.decomposition import PCA

from snn_ntk.datasets import celeba
from snn_ntk.disentanglement.codes import active_latents, levels_of
from snn_ntk.disentanglement.information import mutual_information
from snn_ntk.disentanglement.readout import random_projection, read_factors
from snn_ntk.experiments.vae_settings import (
    begin,
    first_steps_again,
    late_change,
    mean_image_error,
    setting_named,
    shrink,
    train_at,
)
from snn_ntk.vae.codes import encode, evaluate, reconstruct

__all__ = ["ATTRIBUTES", "repeat_face_attributes", "run_face_attributes"]

# The attributes of the paper's Figure 4, by their names in the data: drawn faces, or the official attribute file.
ATTRIBUTES = {
    "emotion": ("emotion", "Smiling"),
    "eye-style": ("eye style", "Narrow_Eyes", "Bags_Under_Eyes"),
    "hairstyle": ("hairstyle", "Bald", "Bangs", "Straight_Hair", "Wavy_Hair"),
}

# A face that is easy to look at, as far as these attributes exist: no glasses, turned ahead, lit from the front.
_PLAIN = {"glasses": 0, "pose": 3, "lighting": 2, "emotion": 1, "Eyeglasses": 0}

_FEW = 12  # attributes that are all read; of more (the official file has forty) those of the figure


@functools.lru_cache(maxsize=1)
def _faces(
    count: int, side: int, seed: int
) -> tuple[str, str, tuple[str, ...], UInt8[np.ndarray, "n h w c"], Int[np.ndarray, "n k"]]:
    """Name and source of the data, names of the attributes, and `count` faces in random order: pixels and attributes."""
    data = celeba()
    if count > len(data):
        raise ValueError(f"expected at most {len(data)} faces of {data.name}, got {count}")
    drawn = np.random.default_rng(seed).choice(len(data), count, replace=False)
    pixels = np.concatenate([shrink(data.pixels(part), side) for part in np.array_split(drawn, -(-count // 4096))])
    keep = [k for k, size in enumerate(data.factor_sizes) if size > 1]
    if len(keep) > _FEW:
        wanted = {*_PLAIN, *(key for keys in ATTRIBUTES.values() for key in keys)}
        keep = [k for k in keep if data.factor_names[k] in wanted]
    return data.name, data.source, tuple(data.factor_names[k] for k in keep), pixels, data.factors(drawn)[:, keep]


def run_face_attributes(
    *,
    m: int,
    beta: float,
    seed: int,
    setting: str = "annealed",
    steps: int,
    images: int,
    held_out: int,
    rows: int = 40,
    checkpoint: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Trains one β-VAE on faces and reads their attributes from its codes, from random and from principal ones.

    Args:
        m: Number of latent variables.
        beta: Weight β of the divergence.
        seed: Of the faces and their division, initialisation, batches and noise.
        setting: A key of `SETTINGS`.
        steps: Of training.
        images: Faces to train on.
        held_out: Faces to read attributes of.
        rows: Of the training's log.
        checkpoint: A file for progress; an interrupted run goes on from it.

    Returns:
        What JSON can hold, namely `name` and `source` of the data; the log's `steps`, `reconstruction` and `kl` (all latents
        together); `mean_image`, the cross-entropy in nats of guessing the mean training image for held-out faces, and
        `error`, that of their reconstructions from mean codes; `objective`, the loss over all training faces at the
        end, and `guess`, the mean image's there; `change`, of `late_change`; `active`, the number of active latents;
        `divergence`, that of each latent in nats, largest first; `attributes`, their names; `read`, the skill of a
        linear reader for each attribute on held-out faces (`Readout.skill`): of the mean codes (`vae`), of codes as the
        decoder `heard` them, one sample each, of as many random `projection`s of the images and `principal` components
        (fewer if the images have no more), and `nonlinear`, of 512 random features of the mean codes; `best`, for each
        attribute of the paper's figure the `latent` that knows the largest `share` of its entropy, among those with a
        divergence above 0.01 nats, and the `floor`, the largest share that any of them knows of shuffled attributes;
        and `pictures`, for each of these a face and its decodings while that latent goes from −2.5 to 2.5, as bytes in
        base 64 with their shape.

    Raises:
        ValueError: If the setting is unknown, there are fewer faces than asked for, or all of them agree in every
            attribute that stands for one of the figure's.

    Source: wang2024vae, Figure 4.
    """
    how = setting_named(setting)
    name, source, names, pixels, factors = _faces(images + held_out, how.side, seed)
    varying = [names[k] for k, _, _ in levels_of(factors)]
    columns = {wish: [varying.index(key) for key in keys if key in varying] for wish, keys in ATTRIBUTES.items()}
    for wish, found in columns.items():
        if not found:
            raise ValueError(f"expected faces that differ in {' or '.join(ATTRIBUTES[wish])}, got none of {name}")
    fit, test = np.split(np.arange(images + held_out), [images])
    start = begin(how, pixels.shape[1:], m, seed)
    state, log = train_at(how, start, pixels[fit], beta=beta, steps=steps, end=steps, rows=rows, checkpoint=checkpoint)
    codes, spread = encode(state.model, pixels)
    error, _ = reconstruct(state.model, pixels[test])
    reconstruction, kl_of = evaluate(state.model, pixels[fit], key=jax.random.key(seed))
    divergence, baseline = kl_of.mean(axis=0), mean_image_error(pixels[fit])

    rng = np.random.default_rng([seed, m])
    flat = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
    some = flat[fit][:10_000]
    principal = PCA(min(m, *some.shape), svd_solver="randomized", random_state=seed).fit(some).transform(flat)
    of_kinds = {
        "vae": (codes, 0),
        "heard": (codes + spread * rng.standard_normal(codes.shape, dtype=np.float32), 0),
        "nonlinear": (codes, 512),
        "projection": (random_projection(pixels, m, rng=rng), 0),
        "principal": (principal, 0),
    }
    read = {
        key: read_factors(z[fit], factors[fit], z[test], factors[test], hidden=hidden, seed=seed).skill
        for key, (z, hidden) in of_kinds.items()
    }

    wished = [(names.index(key), level) for key, level in _PLAIN.items() if key in names]
    base = max(test.tolist(), key=lambda i: sum(factors[i, k] == level for k, level in wished))
    # Only latents that the decoder hears: the others cannot move a picture, and by chance one of hundreds knows
    # something.
    heard = np.flatnonzero(divergence > 0.01) if (divergence > 0.01).any() else divergence.argmax(keepdims=True)
    known, chance = (
        np.divide(*mutual_information(codes[:, heard], order)) for order in (factors, rng.permutation(factors))
    )
    best, pictures = {}, []
    for attribute, of_attribute in columns.items():
        share = known[:, of_attribute].mean(axis=1)
        j = int(heard[share.argmax()])
        floor = chance[:, of_attribute].mean(axis=1).max()
        best[attribute] = {"latent": j, "share": float(share.max()), "floor": float(floor)}
        path = np.repeat(codes[base][None], 7, axis=0)
        path[:, j] = np.linspace(-2.5, 2.5, 7)
        decoded = np.asarray(jax.nn.sigmoid(state.model.decode(jnp.asarray(path))))
        pictures.append(np.concatenate([pixels[base][None], np.rint(255 * decoded).astype(np.uint8)]))
    packed = np.stack(pictures)

    kl = log.kl.sum(axis=1)
    return {
        "name": name,
        "source": source,
        "steps": log.steps.tolist(),
        "reconstruction": log.reconstruction.astype(float).tolist(),
        "kl": kl.astype(float).tolist(),
        "mean_image": mean_image_error(pixels[fit], pixels[test]),
        "error": float(error.mean()),
        "objective": float(reconstruction.mean() + beta * divergence.sum()),
        "guess": baseline,
        "change": late_change(log.reconstruction + beta * kl, baseline),
        "active": int(active_latents(codes).sum()),
        "divergence": np.sort(divergence)[::-1].astype(float).tolist(),
        "attributes": list(names),
        "read": {key: skill.tolist() for key, skill in read.items()},
        "best": best,
        "pictures": {"shape": list(packed.shape), "bytes": base64.b64encode(packed.tobytes()).decode()},
    }


def repeat_face_attributes(run: Mapping[str, Any]) -> float | None:
    """How far a committed run's first steps are from the same steps made here.

    Args:
        run: Its "parameters" and "result".

    Returns:
        The relative difference of `first_steps_again`; None if the data found here are others than the run's.
    """
    parameters = run["parameters"]
    count, side = parameters["images"] + parameters["held_out"], setting_named(parameters["setting"]).side
    name, _, _, pixels, _ = _faces(count, side, parameters["seed"])
    return first_steps_again(run, pixels[: parameters["images"]]) if name == run["result"]["name"] else None
