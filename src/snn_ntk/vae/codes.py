"""What a trained VAE makes of many images: codes, reconstructions, the two terms of the bound."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from snn_ntk import _validation as validation
from snn_ntk.vae.model import VAE, loss_terms

__all__ = ["encode", "evaluate", "reconstruct"]


@eqx.filter_jit
def _encoded(model, images):
    mean, log_variance = model.encode(images.astype(jnp.float32) / 255)
    return mean, jnp.exp(log_variance / 2)


@eqx.filter_jit
def _reconstructed(model, images):
    x = images.astype(jnp.float32) / 255
    mean, _ = model.encode(x)
    logits = model.decode(mean)
    return jnp.sum(jax.nn.softplus(logits) - x * logits, axis=(1, 2, 3)), jax.nn.sigmoid(logits)


@eqx.filter_jit
def _evaluated(model, images, noise):
    return loss_terms(model, images.astype(jnp.float32) / 255, noise)


def _checked(model, images):
    model.check_not_consumed()
    return validation.image_bytes(images, model.shape)


def _in_batches(function, model, *arrays, batch):
    parts = []
    batch = min(validation.positive_integer(batch, "batch"), len(arrays[0]))
    for i in range(0, len(arrays[0]), batch):
        some = [np.asarray(each[i : i + batch]) for each in arrays]
        size = len(some[0])
        # The last batch is filled up, because every other shape would be compiled anew.
        filled = [np.concatenate([each, np.repeat(each[-1:], batch - size, axis=0)]) for each in some]
        parts.append([np.asarray(a)[:size] for a in function(model, *filled)])
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def encode(model: VAE, images: Any, *, batch: int = 512) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
    """Means and standard deviations of the codes of many images.

    Args:
        model: The autoencoder.
        images: Images of shape (n, height, width, channels), uint8.
        batch: Images encoded at a time.

    Returns:
        Means and standard deviations, each (n, m), float32.

    Raises:
        ValueError: If images are not bytes of the model's shape, there is none, or training has consumed the model.
    """
    images = _checked(model, images)
    return _in_batches(_encoded, model, images, batch=batch)  # pyright: ignore[reportReturnType]


def reconstruct(
    model: VAE, images: Any, *, batch: int = 512
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n h w c"]]:
    """What the decoder makes of the mean code of each image.

    Args:
        model: The autoencoder.
        images: Images of shape (n, height, width, channels), uint8.
        batch: Images at a time.

    Returns:
        The cross-entropy of each image in nats, (n,), and the pixels' probabilities, (n, height, width, channels),
        float32.

    Raises:
        ValueError: If images are not bytes of the model's shape, there is none, or training has consumed the model.
    """
    images = _checked(model, images)
    return _in_batches(_reconstructed, model, images, batch=batch)  # pyright: ignore[reportReturnType]


def evaluate(
    model: VAE, images: Any, *, key: PRNGKeyArray, batch: int = 512
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n m"]]:
    """The two terms of the evidence bound of many images, at one sample of the code each: see `loss_terms`.

    Args:
        model: The autoencoder.
        images: Images of shape (n, height, width, channels), uint8.
        key: JAX random key of the samples.
        batch: Images at a time.

    Returns:
        The reconstruction term, (n,), and the divergence of each latent variable, (n, m), in nats, float32.

    Raises:
        ValueError: If images are not bytes of the model's shape, there is none, or training has consumed the model.

    Source: kingma2014vae, Section 3.
    """
    images = _checked(model, images)
    noise = jax.random.normal(key, (len(images), model.latent), jnp.float32)
    return _in_batches(_evaluated, model, images, noise, batch=batch)  # pyright: ignore[reportReturnType]
