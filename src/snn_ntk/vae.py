r"""The β-VAE of the disentanglement experiments: convolutional or fully connected, trained in one compiled loop.

The loss of an image x with code z = μ(x) + σ(x) ∘ ε is −log p(x|z) + β KL(N(μ, diag σ²) ‖ N(0, I)), with a Bernoulli
likelihood on logits. XLA's convolutions with stride 2 and their derivatives are slow on a CPU; here every one of them is
exactly one matrix product, because a 4×4 kernel with stride 2 is a 2×2 kernel with stride 1 on an image whose 2×2
blocks are channels.
"""

import hashlib
import itertools
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

from snn_ntk._files import write_arrays

__all__ = ["VAE", "Log", "State", "encode", "evaluate", "load", "loss_terms", "reconstruct", "save", "start", "train"]

OPTIMIZERS = {"adam": optax.scale_by_adam(), "adagrad": optax.scale_by_rss()}
_glorot = jax.nn.initializers.glorot_uniform()
_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def _blocks(x):
    """(n, 2h, 2w, c) → (n, h, w, 4c): every 2×2 block becomes one pixel."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


def _unblocks(x):
    """The inverse of `_blocks`."""
    n, h, w, c = x.shape
    return x.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)


def _neighbours(x):
    """(n, h+1, w+1, c) → (n, h, w, 4c): every pixel with those right, below and across."""
    return jnp.concatenate([x[:, :-1, :-1], x[:, :-1, 1:], x[:, 1:, :-1], x[:, 1:, 1:]], axis=-1)


def _overlap(x):
    """The adjoint of `_neighbours`: (n, h, w, 4c) → (n, h+1, w+1, c), by adding up."""
    parts = jax.lax.split(x, [x.shape[-1] // 4] * 4, axis=-1)
    moved = [
        jnp.pad(part, ((0, 0), (i, 1 - i), (j, 1 - j), (0, 0))) for part, (i, j) in zip(parts, _CORNERS, strict=True)
    ]
    return moved[0] + moved[1] + moved[2] + moved[3]


def _times(x, weight):
    """x @ weight over rows of two axes: XLA's derivative of a product over more axes transposes a factor in memory."""
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], -1)


def _pad(x, width=1):
    return jnp.pad(x, ((0, 0), (width, width), (width, width), (0, 0)))


class Dense(eqx.Module):
    """x W + b."""

    weight: Float[Array, "a b"]
    bias: Float[Array, " b"]

    def __init__(self, key, inputs, outputs):
        self.weight, self.bias = _glorot(key, (inputs, outputs)), jnp.zeros(outputs)

    def __call__(self, x):
        return x @ self.weight + self.bias


class Convolution(eqx.Module):
    """A convolution with stride 2, kernel 4×4 (one pixel of padding) or 2×2, as one matrix product.

    Row (i, j, p, q, c) of the weight of a 4×4 kernel belongs to its pixel (2i + p, 2j + q): i, j number 2×2 blocks.
    An output pixel of that kernel hears 2×2 blocks. So the product can come after collecting neighbours (16 · inputs
    numbers) or before adding theirs up (4 · outputs); both are exact, and the one that moves less memory is used.
    """

    weight: Float[Array, "a b"]
    bias: Float[Array, " b"]
    kernel: int = eqx.field(static=True)

    def __init__(self, key, inputs, outputs, kernel):
        shape = (kernel, kernel, inputs, outputs)  # Glorot's bound needs the receptive field
        self.weight = _glorot(key, shape).reshape(-1, outputs)
        self.bias, self.kernel = jnp.zeros(outputs), kernel

    def __call__(self, x):
        if self.kernel == 2:
            return _times(_blocks(x), self.weight) + self.bias
        x = _blocks(_pad(x))
        c, outputs = x.shape[-1], self.weight.shape[1]
        if c <= outputs:
            return _times(_neighbours(x), self.weight) + self.bias
        # Block (a, b) of the output hears block (a + i, b + j) through part (i, j) of the kernel.
        weight = self.weight.reshape(4, c, outputs)[::-1].swapaxes(0, 1).reshape(c, 4 * outputs)
        return _overlap(_times(x, weight))[:, 1:-1, 1:-1] + self.bias


class Transposed(eqx.Module):
    """A transposed convolution with stride 2 and kernel 4×4, one pixel cropped: the adjoint of `Convolution`'s product.

    An output pixel hears 2×2 inputs, and as there the product can come after collecting neighbours (4 · inputs numbers)
    or before spreading them (16 · outputs).
    """

    weight: Float[Array, "c 2 2 2 2 o"]
    bias: Float[Array, " o"]

    def __init__(self, key, inputs, outputs):
        self.weight = _glorot(key, (4, 4, outputs, inputs)).transpose(3, 0, 1, 2).reshape(inputs, 2, 2, 2, 2, outputs)
        # Pixel (2i + p, 2j + q) of the kernel at [:, i, j, p, q, :], as in `Convolution`.
        self.weight = self.weight.transpose(0, 1, 3, 2, 4, 5)
        self.bias = jnp.zeros(outputs)

    def __call__(self, x):
        c, outputs = self.weight.shape[0], self.weight.shape[-1]
        if c <= 4 * outputs:
            # Block (a, b) of the padded output hears input (a − i, b − j) through part (i, j) of the kernel.
            weight = self.weight[:, ::-1, ::-1].transpose(1, 2, 0, 3, 4, 5).reshape(4 * c, 4 * outputs)
            blocks = _times(_neighbours(_pad(x)), weight)
        else:
            blocks = _overlap(_times(x, self.weight.reshape(c, -1)))
        return _unblocks(blocks)[:, 1:-1, 1:-1] + self.bias


class VAE(eqx.Module):
    """A variational autoencoder with m latent variables for images of shape (height, width, channels).

    Two architectures:

    * `"convolutional"`: that of the study library everyone compares with: convolutions of 32, 32, 64, 64 channels with
      kernels 4, 4, 2, 2 and stride 2, a dense layer of 256; decoder dense 256 and 4·4·64, transposed convolutions of
      64, 32, 32 channels and the image's, kernel 4, stride 2; ReLU. Images of 64×64 or, with one layer fewer on either
      side, 32×32.
    * `"dense"`: that of Higgins et al. for dSprites: two hidden ReLU layers in the encoder and three tanh layers in the
      decoder, of `width` neurons (theirs: 1,200). A ReLU decoder leaves the plateau of the mean image several times
      sooner, which a short run needs.

    Example:
        >>> import jax
        >>> vae = VAE(jax.random.key(0), (32, 32, 1), 10, architecture="dense", width=16)
        >>> mean, log_variance = vae.encode(jax.numpy.zeros((5, 32, 32, 1)))
        >>> mean.shape, vae.decode(mean).shape
        ((5, 10), (5, 32, 32, 1))

    Source:
        Locatello et al. (2019), Table 2 of their appendix as implemented; Higgins et al. (2017), Table 1 of theirs.
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
            shape: of an image: height, width, channels.
            latent: m, the number of latent variables.
            architecture: see above.
            width: of the dense layers: 256 (the bottleneck's) if convolutional and 1,200 if dense by default.
            activation: of the decoder, "relu" or "tanh"; by default as above.

        Raises:
            ValueError: on an unknown architecture or activation, sizes below one, or a side other than 32 or 64 where it is
                convolutional.
        """
        if latent < 1 or (width is not None and width < 1):
            raise ValueError(f"expected latent >= 1 and width >= 1, got {latent} and {width}")
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

    @property
    def latent(self) -> int:
        """m, the number of latent variables."""
        return self.decoder[0].weight.shape[0]

    def encode(self, x: Float[Array, "n h w c"]) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
        """Mean and log-variance of the code of images with values in [0, 1]."""
        if self.architecture == "dense":
            x = x.reshape(len(x), -1)
        for layer in self.encoder[:-1]:
            if isinstance(layer, Dense) and x.ndim == 4:
                x = x.reshape(len(x), -1)
            x = jax.nn.relu(layer(x))
        code = self.encoder[-1](x)
        return code[:, : self.latent], code[:, self.latent :]

    def decode(self, z: Float[Array, "n m"]) -> Float[Array, "n h w c"]:
        """Logits of the pixels."""
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
    r"""The two terms of the evidence bound, image by image, at one sample of the code.

    −log p(x|z) = Σ_pixels [log(1 + e^l) − x l] with logits l, and KL_j = (μ_j² + σ_j² − 1 − log σ_j²)/2. Images with
    values between 0 and 1 are scored with the same cross-entropy, as is usual, although it is then no likelihood.

    Args:
        model: the autoencoder.
        x: images with values in [0, 1].
        noise: ε, standard normal.

    Returns:
        The reconstruction term (n,) and the divergence of each latent variable (n, m), in nats.

    Source:
        Kingma and Welling (2014), Section 3 and appendices B, C.
    """
    mean, log_variance = model.encode(x)
    logits = model.decode(mean + jnp.exp(log_variance / 2) * noise)
    reconstruction = jnp.sum(jax.nn.softplus(logits) - x * logits, axis=(1, 2, 3))
    return reconstruction, 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)


class State(NamedTuple):
    """All that training needs to go on: the model, the optimiser's moments, the number of steps made and the key."""

    model: VAE
    moments: Any
    step: Int[Array, ""]
    key: PRNGKeyArray


class Log(NamedTuple):
    """Losses in nats an image, averaged over the steps since the row before.

    Attributes:
        steps: (r,) step numbers at which the rows end.
        reconstruction: (r,) the reconstruction term.
        kl: (r, m) the divergence of each latent variable, not multiplied by β.
    """

    steps: Int[np.ndarray, " r"]
    reconstruction: Float[np.ndarray, " r"]
    kl: Float[np.ndarray, "r m"]


def start(
    key: PRNGKeyArray,
    shape: tuple[int, int, int],
    latent: int,
    *,
    architecture: str = "convolutional",
    width: int | None = None,
    activation: str | None = None,
    optimizer: str = "adam",
) -> State:
    """A model at its initialisation, ready to train; arguments as for `VAE`.

    Args:
        key: JAX random key, of the initialisation and of all noise and batches to come.
        shape: of an image.
        latent: m.
        architecture: "convolutional" or "dense".
        width: of the dense layers.
        activation: of the decoder.
        optimizer: "adam" (the study library's, learning rate 1e-4) or "adagrad" (Higgins et al. on dSprites, 1e-2).

    Returns:
        The state before the first step.

    Raises:
        ValueError: on an unknown optimiser, or as `VAE` does.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"expected an optimizer, one of {sorted(OPTIMIZERS)}, got {optimizer!r}")
    return _initial(key, shape, latent, architecture, width, activation, optimizer)


@eqx.filter_jit
def _initial(key, shape, latent, architecture, width, activation, optimizer):
    key_model, key_steps = jax.random.split(key)
    model = VAE(key_model, shape, latent, architecture=architecture, width=width, activation=activation)
    return State(model, OPTIMIZERS[optimizer].init(eqx.filter(model, eqx.is_array)), jnp.int32(0), key_steps)


@eqx.filter_jit(donate="all-except-first")
def _advance(constant, state):
    # The number of steps is traced: the same executable serves every stretch, so that where a run is cut into stretches
    # (a row of the log, a checkpoint) does not change one bit of it.
    images, beta, learning_rate, horizon, count, batch, optimizer = constant
    transform = OPTIMIZERS[optimizer]
    _, static = eqx.partition(state.model, eqx.is_array)

    def objective(params, x, noise):
        reconstruction, kl = loss_terms(eqx.combine(params, static), x, noise)
        reconstruction, kl = jnp.mean(reconstruction), jnp.mean(kl, axis=0)
        return reconstruction + beta * jnp.sum(kl), (reconstruction, kl)

    def body(_, carry):
        params, moments, step, sums = carry
        key_batch, key_noise = jax.random.split(jax.random.fold_in(state.key, step))
        chosen = jax.random.randint(key_batch, (batch,), 0, len(images))
        x = images[chosen].astype(jnp.float32) / 255
        noise = jax.random.normal(key_noise, (batch, state.model.latent))
        (_, terms), gradient = jax.value_and_grad(objective, has_aux=True)(params, x, noise)
        updates, moments = transform.update(gradient, moments, params)
        rate = learning_rate * (1 + jnp.cos(jnp.pi * jnp.minimum(step / horizon, 1.0))) / 2
        params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
        return params, moments, step + 1, jax.tree.map(jnp.add, sums, terms)

    zeros = (jnp.float32(0), jnp.zeros(state.model.latent))
    carry = (eqx.filter(state.model, eqx.is_array), state.moments, state.step, zeros)
    params, moments, step, sums = jax.lax.fori_loop(0, count, body, carry)
    means = jax.tree.map(lambda s: s / count, sums)
    return State(eqx.combine(params, static), moments, step, state.key), means


def train(
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
        state: of `start`, or of an earlier call. Its arrays are overwritten.
        images: (n, height, width, channels), uint8, 255 is white.
        beta: β, the weight of the divergence.
        steps: the step number to reach.
        learning_rate: of the optimiser.
        horizon: the step number at which the learning rate, falling along half a cosine, reaches zero; by default it
            does not fall.
        batch: images a step.
        optimizer: the one that the state was started with.
        rows: of the log, evenly spread over the steps to make.
        checkpoint: a file for progress, written at every row. If it exists, training goes on from there, with
            results bit-identical to those of an uninterrupted run on the same device.
        progress: whether to show a bar once it takes longer than five seconds; by default unless CI is set.

    Returns:
        The state at step `steps`, and the log.

    Raises:
        ValueError: if images are not bytes of the model's shape, `steps` lie behind the state, or the checkpoint belongs
            to another configuration.

    Example:
        >>> import jax, numpy as np
        >>> images = np.zeros((8, 4, 4, 1), np.uint8)
        >>> state = start(jax.random.key(0), (4, 4, 1), 2, architecture="dense", width=8)
        >>> state, log = train(state, images, beta=1.0, steps=20, batch=4, rows=2)
        >>> int(state.step), log.steps.tolist(), log.kl.shape
        (20, [10, 20], (2, 2))

    Source:
        Higgins et al. (2017), Eq. 4 of theirs; Loshchilov and Hutter (2017), Eq. 5 of theirs, for the falling rate.
    """
    images = jnp.asarray(images)
    if images.dtype != jnp.uint8 or images.shape[1:] != state.model.shape:
        raise ValueError(f"expected uint8 images of shape (n, *{state.model.shape}), got {images.dtype} {images.shape}")
    first = int(state.step)
    if steps < first or rows < 1 or batch < 1:
        raise ValueError(f"expected steps >= {first}, rows >= 1 and batch >= 1, got {steps}, {rows} and {batch}")
    if horizon is not None and horizon < 1:
        raise ValueError(f"expected a horizon >= 1 or none, got {horizon}")
    if _matches(state, optimizer) is False:
        raise ValueError(f"expected the optimizer that the state was started with, got {optimizer!r}")
    stops = np.unique(np.linspace(first, steps, rows + 1).round().astype(int))
    settings = f"{beta} {learning_rate} {horizon} {batch} {optimizer} {stops.tolist()} {images.shape}"
    digest = hashlib.sha256(settings.encode() + np.asarray(jax.random.key_data(state.key)).tobytes()).hexdigest()
    kept: list[tuple[Any, Any]] = []
    if checkpoint is not None and Path(checkpoint).exists():
        state, kept = _read(Path(checkpoint), state, digest)
    show = "CI" not in os.environ if progress is None else progress
    numbers = (jnp.float32(beta), jnp.float32(learning_rate), jnp.float32(horizon or np.inf))
    with tqdm(total=steps, initial=int(state.step), delay=5, leave=False, disable=not show, unit="step") as bar:
        for stop in stops[len(kept) + 1 :]:
            count = jnp.int32(stop - int(state.step))
            state, means = _advance((images, *numbers, count, batch, optimizer), state)
            kept.append(jax.device_get(means))
            bar.update(int(count))
            if checkpoint is not None:
                _write(Path(checkpoint), state, digest, kept)
    reconstruction = np.array([row[0] for row in kept], np.float32)
    kl = np.array([row[1] for row in kept], np.float32).reshape(-1, state.model.latent)
    return state, Log(stops[1:], reconstruction, kl)


def _matches(state, optimizer):
    expected = jax.tree.structure(OPTIMIZERS[optimizer].init(eqx.filter(state.model, eqx.is_array)))
    return jax.tree.structure(state.moments) == expected


def _leaves(state):
    arrays = jax.tree.leaves(eqx.filter((state.model, state.moments, state.step), eqx.is_array))
    return [np.asarray(leaf) for leaf in arrays] + [np.asarray(jax.random.key_data(state.key))]


def _write(path, state, digest, kept):
    arrays: dict[str, Any] = {f"state/{i}": leaf for i, leaf in enumerate(_leaves(state))}
    for i, (reconstruction, kl) in enumerate(kept):
        arrays |= {f"log/{i}/0": reconstruction, f"log/{i}/1": kl}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, arrays | {"digest": np.array(digest), "rows": np.array(len(kept))})


def _read(path, like, digest):
    try:
        with open(path, "rb") as file, np.load(file) as content:  # numpy leaves a damaged file open that it opened
            arrays = dict(content)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"expected a checkpoint of a training, got {path} ({error})") from error
    expected = _leaves(like)
    found = [arrays.get(f"state/{i}") for i in range(len(expected))]
    if any(a is None or a.shape != e.shape or a.dtype != e.dtype for a, e in zip(found, expected, strict=True)):
        raise ValueError(f"expected a checkpoint of a model like this one, got another one's in {path}")
    if digest and str(arrays["digest"]) != digest:
        raise ValueError(
            f"expected a checkpoint of this training, got one with other settings or another seed in {path}"
        )
    leaves = [jnp.asarray(leaf) for leaf in found]
    arrays_of, static = eqx.partition((like.model, like.moments, like.step), eqx.is_array)
    tree = jax.tree.unflatten(jax.tree.structure(arrays_of), leaves[:-1])
    model, moments, step = eqx.combine(tree, static)
    state = State(model, moments, step, jax.random.wrap_key_data(leaves[-1]))
    kept = [(arrays[f"log/{i}/0"], arrays[f"log/{i}/1"]) for i in range(int(arrays["rows"]))]
    return state, kept


def save(path: str | os.PathLike, state: State) -> None:
    """Writes a state to a file, at once or not at all."""
    _write(Path(path), state, "", [])


def load(path: str | os.PathLike, like: State) -> State:
    """Reads what `save` or a checkpoint wrote.

    Args:
        path: the file.
        like: a state of the same model, such as `start` gives; its numbers do not matter.

    Raises:
        ValueError: if the file is damaged or another model's.
    """
    return _read(Path(path), like, "")[0]


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


def _in_batches(function, model, *arrays, batch):
    parts = []
    batch = min(batch, len(arrays[0]))
    for i in range(0, len(arrays[0]), batch):
        some = [np.asarray(each[i : i + batch]) for each in arrays]
        size = len(some[0])
        # The last batch is filled up, because every other shape would be compiled anew.
        filled = [np.concatenate([each, np.repeat(each[-1:], batch - size, axis=0)]) for each in some]
        parts.append([np.asarray(a)[:size] for a in function(model, *filled)])
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def encode(
    model: VAE, images: np.ndarray, *, batch: int = 512
) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"]]:
    """Means and standard deviations of the codes of many images.

    Args:
        model: the autoencoder.
        images: (n, height, width, channels), uint8.
        batch: images encoded at a time.

    Returns:
        Two arrays (n, m), float32.
    """
    return _in_batches(_encoded, model, images, batch=batch)  # pyright: ignore[reportReturnType]


def reconstruct(
    model: VAE, images: np.ndarray, *, batch: int = 512
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n h w c"]]:
    """What the decoder makes of the mean code of each image.

    Args:
        model: the autoencoder.
        images: (n, height, width, channels), uint8.
        batch: images at a time.

    Returns:
        The cross-entropy of each image in nats, (n,), and the pixels' probabilities (n, height, width, channels).
    """
    return _in_batches(_reconstructed, model, images, batch=batch)  # pyright: ignore[reportReturnType]


def evaluate(
    model: VAE, images: np.ndarray, *, key: PRNGKeyArray, batch: int = 512
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n m"]]:
    """The two terms of the evidence bound of many images, at one sample of the code each: see `loss_terms`.

    Args:
        model: the autoencoder.
        images: (n, height, width, channels), uint8.
        key: JAX random key of the samples.
        batch: images at a time.

    Returns:
        The reconstruction term (n,) and the divergence of each latent variable (n, m), in nats.
    """
    noise = jax.random.normal(key, (len(images), model.latent))
    return _in_batches(_evaluated, model, images, noise, batch=batch)  # pyright: ignore[reportReturnType]
