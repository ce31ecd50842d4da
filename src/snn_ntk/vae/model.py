"""The β-VAE of the disentanglement experiments: convolutional or fully connected.

The loss of an image x with code z = μ(x) + σ(x) ∘ ε is −log p(x|z) + β KL(N(μ, diag σ²) ‖ N(0, I)), with a Bernoulli
likelihood on logits.
"""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from snn_ntk import _validation as validation
from snn_ntk.vae.layers import Convolution, Dense, Transposed

__all__ = ["VAE", "loss_terms"]


class VAE(eqx.Module):
    """A variational autoencoder with m latent variables for images of shape (height, width, channels).

    * `"convolutional"`, the architecture of the study library that everyone compares with: convolutions of 32, 32, 64,
      64 channels with kernels 4, 4, 2, 2 and stride 2, a dense layer of 256; decoder dense 256 and 4·4·64, transposed
      convolutions of 64, 32, 32 channels and the image's, kernel 4, stride 2; ReLU. Images of 64×64 or, with one layer
      fewer on either side, 32×32.
    * `"dense"`, that of the β-VAE's authors for dSprites: two hidden ReLU layers in the encoder and three tanh layers
      in the decoder, of `width` neurons (theirs: 1,200). A ReLU decoder leaves the plateau of the mean image several
      times sooner, which a short run needs.

    Attributes:
        encoder: Its layers, the first first.
        decoder: Likewise.
        architecture: One of the above.
        activation: The decoder's.
        shape: Of an image.

    Example:
        >>> import jax
        >>> vae = VAE(jax.random.key(0), (32, 32, 1), 10, architecture="dense", width=16)
        >>> mean, log_variance = vae.encode(jax.numpy.zeros((5, 32, 32, 1)))
        >>> mean.shape, vae.decode(mean).shape
        ((5, 10), (5, 32, 32, 1))

    Source: locatello2019challenging, Table 2 (of the appendix, as implemented); higgins2017beta, Table 1.
    """

    encoder: list
    decoder: list
    architecture: str = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    shape: tuple[int, int, int] = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, int, int],
        latent: int,
        *,
        architecture: str = "convolutional",
        width: int | None = None,
        activation: str | None = None,
    ):
        """Glorot's initialisation with zero biases.

        Args:
            key: JAX random key.
            shape: Of an image: height, width, channels.
            latent: Number m of latent variables.
            architecture: See above.
            width: Of the dense layers: 256 (the bottleneck's) if convolutional and 1,200 if dense by default.
            activation: Of the decoder, "relu" or "tanh"; by default as above.

        Raises:
            TypeError: If a number is not an integer.
            ValueError: If the architecture or activation is unknown, a size is below one, or a convolutional model's
                side is neither 32 nor 64.
        """
        shape, latent = validation.image_shape(shape), validation.positive_integer(latent, "latent")
        width = None if width is None else validation.positive_integer(width, "width")
        if architecture not in ("convolutional", "dense"):
            raise ValueError(f"expected architecture 'convolutional' or 'dense', got {architecture!r}")
        activation = activation or ("tanh" if architecture == "dense" else "relu")
        if activation not in ("relu", "tanh"):
            raise ValueError(f"expected activation 'relu' or 'tanh', got {activation!r}")
        self.architecture, self.activation, self.shape = architecture, activation, shape
        pixels, channels = shape[0] * shape[1] * shape[2], shape[2]
        keys = iter(jax.random.split(key, 16))
        if architecture == "dense":
            width = width or 1200
            self.encoder = [
                Dense(next(keys), pixels, width),
                Dense(next(keys), width, width),
                Dense(next(keys), width, 2 * latent),
            ]
            sizes = [latent, width, width, width, pixels]
            self.decoder = [Dense(next(keys), a, b) for a, b in itertools.pairwise(sizes)]
            return
        if shape[:2] not in ((64, 64), (32, 32)):
            raise ValueError(f"expected images of 64×64 or 32×32 pixels for convolutions, got {shape[0]}×{shape[1]}")
        width, small = width or 256, shape[0] == 32
        down = [(channels, 32, 4), (32, 32, 4), (32, 64, 2), (64, 64, 2)]
        up = [(64, 64), (64, 32), (32, 32), (32, channels)]
        if small:
            down, up = [(channels, 32, 4), (32, 64, 4), (64, 64, 2)], [(64, 32), (32, 32), (32, channels)]
        self.encoder = [Convolution(next(keys), *sizes) for sizes in down]
        self.encoder += [Dense(next(keys), 1024, width), Dense(next(keys), width, 2 * latent)]
        self.decoder = [Dense(next(keys), latent, width), Dense(next(keys), width, 1024)]
        self.decoder += [Transposed(next(keys), *sizes) for sizes in up]

    def check_not_consumed(self) -> None:
        """Raises an error if training has gone on from this model, which overwrites its arrays.

        Raises:
            ValueError: If so.
        """
        if any(leaf.is_deleted() for leaf in jax.tree.leaves(self) if isinstance(leaf, jax.Array)):
            raise ValueError(
                "expected a model whose arrays are there, got one that train_vae has gone on from and overwritten: "
                "use the state that it returned, or start again with start_vae"
            )

    @property
    def latent(self) -> int:
        """The number m of latent variables."""
        return self.decoder[0].weight.shape[0]

    def encode(self, x: Float[Array, "n h w c"]) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
        """Mean and log-variance of the code of images.

        Args:
            x: Images with values in [0, 1], shape (n, height, width, channels).

        Returns:
            Both, each (n, m).

        Raises:
            ValueError: If the images are not floats of the model's shape.
        """
        if x.shape[1:] != self.shape or not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"expected floats in [0, 1] of shape (n, *{self.shape}), got {x.dtype} of shape {x.shape}")
        if self.architecture == "dense":
            x = x.reshape(len(x), -1)
        for layer in self.encoder[:-1]:
            if isinstance(layer, Dense) and x.ndim == 4:
                x = x.reshape(len(x), -1)
            x = jax.nn.relu(layer(x))
        code = self.encoder[-1](x)
        return code[:, : self.latent], code[:, self.latent :]

    def decode(self, z: Float[Array, "n m"]) -> Float[Array, "n h w c"]:
        """Logits of the pixels of the images that codes stand for.

        Args:
            z: Codes, shape (n, m).

        Returns:
            Logits, shape (n, height, width, channels).

        Raises:
            ValueError: If the codes are of another shape.
        """
        if z.shape[1:] != (self.latent,):
            raise ValueError(f"expected codes of shape (n, {self.latent}), got {z.shape}")
        activation = jnp.tanh if self.activation == "tanh" else jax.nn.relu
        x = z
        for layer in self.decoder[:-1]:
            if isinstance(layer, Transposed) and x.ndim == 2:
                x = x.reshape(len(x), 4, 4, 64)
            x = activation(layer(x))
        return self.decoder[-1](x).reshape(-1, *self.shape)


def loss_terms(
    model: VAE, x: Float[Array, "n h w c"], noise: Float[Array, "n m"]
) -> tuple[Float[Array, " n"], Float[Array, "n m"]]:
    """The two terms of the evidence bound, image by image, at one sample of the code.

    −log p(x|z) = Σ_pixels [log(1 + e^l) − x l] with logits l, and KL_j = (μ_j² + σ_j² − 1 − log σ_j²)/2. Images with
    values between 0 and 1 are scored with the same cross-entropy, as is usual, although it is then no likelihood.

    Args:
        model: The autoencoder.
        x: Images with values in [0, 1], shape (n, height, width, channels).
        noise: Standard normal ε, shape (n, m).

    Returns:
        The reconstruction term, (n,), and the divergence of each latent variable, (n, m), in nats.

    Raises:
        ValueError: If images or noise are of another kind or shape.

    Source: kingma2014vae, Section 3, Appendix B, Appendix C.
    """
    mean, log_variance = model.encode(x)
    if noise.shape != mean.shape:
        raise ValueError(f"expected noise of shape {mean.shape}, got {noise.shape}")
    logits = model.decode(mean + jnp.exp(log_variance / 2) * noise)
    reconstruction = jnp.sum(jax.nn.softplus(logits) - x * logits, axis=(1, 2, 3))
    return reconstruction, 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)
