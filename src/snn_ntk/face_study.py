"""One run of the face experiment: a size of the latent space, a β and a seed; trained, then read."""

import base64
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8
from sklearn.decomposition import PCA

from snn_ntk import vae
from snn_ntk.datasets import celeba
from snn_ntk.disentanglement import active_latents, mutual_information
from snn_ntk.readout import random_projection, read_factors
from snn_ntk.vae_study import SETTINGS, begin, late_change, mean_image_error, shrink

__all__ = ["ATTRIBUTES", "run_study"]

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
    count: int, side: int
) -> tuple[str, str, tuple[str, ...], UInt8[np.ndarray, "n h w c"], Int[np.ndarray, "n k"]]:
    """Name and source of the data, and of `count` faces in random order the attributes' names, pixels and attributes."""
    data = celeba()
    if count > len(data):
        raise ValueError(f"expected at most {len(data)} faces of {data.name}, got {count}")
    drawn = np.random.default_rng(0).choice(len(data), count, replace=False)
    pixels = np.concatenate([shrink(data.pixels(part), side) for part in np.array_split(drawn, -(-count // 4096))])
    keep = [k for k, size in enumerate(data.factor_sizes) if size > 1]
    if len(keep) > _FEW:
        wanted = {*_PLAIN, *(key for keys in ATTRIBUTES.values() for key in keys)}
        keep = [k for k in keep if data.factor_names[k] in wanted]
    return data.name, data.source, tuple(data.factor_names[k] for k in keep), pixels, data.factors(drawn)[:, keep]


def run_study(
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
        m: number of latent variables.
        beta: β.
        seed: of the division into training and held-out faces, initialisation, batches and noise.
        setting: a key of `vae_study.SETTINGS`.
        steps: of training.
        images: faces to train on.
        held_out: faces to read attributes of.
        rows: of the training's log.
        checkpoint: a file for progress; an interrupted run goes on from it.

    Returns:
        What JSON can hold: `name` and `source` of the data; the log's `steps`, `reconstruction` and `kl` (all latents
        together); `mean_image`, the cross-entropy in nats of guessing the mean training image for held-out faces, and
        `error`, that of their reconstructions from mean codes; `objective`, the loss over all training faces at the
        end, and `guess`, the mean image's there; `change`, see `vae_study.late_change`; `active`, the number of active
        latents; `divergence`, that of each latent in nats, largest first; `attributes`, their names; `read`, for the
        codes of the `vae`, of its `active` latents alone, as many random `projection`s of the images and `principal` components, the skill of a linear
        reader for each attribute on held-out faces (`readout.Readout.skill`); `best`, for each attribute of the paper's
        figure the `latent` that knows the largest `share` of its entropy; and `pictures`, for each of these a face and
        its decodings while that latent goes from −2.5 to 2.5 standard deviations, as bytes in base 64 with their shape.

    Raises:
        ValueError: on an unknown setting, or more faces than there are.
    """
    if setting not in SETTINGS:
        raise ValueError(f"expected a setting, one of {sorted(SETTINGS)}, got {setting!r}")
    how = SETTINGS[setting]
    name, source, names, pixels, factors = _faces(images + held_out, how.side)
    order = np.random.default_rng([seed, 1]).permutation(len(pixels))
    fit, test = order[:images], order[images:]
    state, log = vae.train(
        begin(how, pixels.shape[1:], m, seed), pixels[fit], beta=beta, steps=steps, learning_rate=how.learning_rate,
        horizon=steps if how.annealed else None, batch=how.batch, optimizer=how.optimizer, rows=rows, checkpoint=checkpoint,
    )  # fmt: skip
    codes, _ = vae.encode(state.model, pixels)
    error, _ = vae.reconstruct(state.model, pixels[test])
    reconstruction, divergence = vae.evaluate(state.model, pixels[fit], key=jax.random.key(seed))
    baseline = mean_image_error(pixels[fit])

    flat = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
    axes = PCA(min(m, images, 10_000, flat.shape[1]), svd_solver="randomized", random_state=seed).fit(
        flat[fit][:10_000]
    )
    active = active_latents(codes)
    of_kinds = {
        "vae": codes,
        "active": codes[:, active] if active.any() else codes[:, :1],
        "projection": random_projection(pixels, m, rng=np.random.default_rng([seed, m])),
        "principal": axes.transform(flat),
    }
    read = {key: read_factors(z[fit], factors[fit], z[test], factors[test]).skill for key, z in of_kinds.items()}

    wished = [(names.index(key), level) for key, level in _PLAIN.items() if key in names]
    base = max(test.tolist(), key=lambda i: sum(factors[i, k] == level for k, level in wished))
    information, entropy = mutual_information(codes, factors)
    best, pictures = {}, []
    for attribute, keys in ATTRIBUTES.items():
        share = (information / entropy)[:, names.index(next(key for key in keys if key in names))]
        j = int(share.argmax())
        best[attribute] = {"latent": j, "share": float(share[j])}
        path = np.repeat(codes[base][None], 7, axis=0)
        path[:, j] = np.linspace(-2.5, 2.5, 7) * codes[:, j].std() + codes[:, j].mean()
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
        "objective": float(reconstruction.mean() + beta * divergence.sum(axis=1).mean()),
        "guess": baseline,
        "change": late_change(log.reconstruction + beta * kl, baseline),
        "active": int(active.sum()),
        "divergence": np.sort(divergence.mean(axis=0))[::-1].astype(float).tolist(),
        "attributes": list(names),
        "read": {key: skill.tolist() for key, skill in read.items()},
        "best": best,
        "pictures": {"shape": list(packed.shape), "bytes": base64.b64encode(packed.tobytes()).decode()},
    }
