"""Layers of the β-VAE: dense, and convolutions with stride 2 as one matrix product each.

XLA's convolutions with stride 2 and their derivatives are slow on a CPU; here every one of them is exactly one matrix
product, because a 4×4 kernel with stride 2 is a 2×2 kernel with stride 1 on an image whose 2×2 blocks are channels.
Weights are float32, whether double precision is on or not.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from snn_ntk._precision import full_precision

__all__ = ["Convolution", "Dense", "Transposed"]

glorot = jax.nn.initializers.glorot_uniform()

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


@full_precision
def _times(x, weight):
    """x @ weight over rows of two axes: XLA's derivative of a product over more axes transposes a factor in memory."""
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], -1)


def pad(x, width=1):
    """Images with a frame of zeros."""
    return jnp.pad(x, ((0, 0), (width, width), (width, width), (0, 0)))


class Dense(eqx.Module):
    """A dense layer, x W + b, with Glorot's initialisation and zero biases.

    Args:
        key: JAX random key.
        inputs: Numbers that come in.
        outputs: Numbers that go out.

    Attributes:
        weight: Weights W, shape (inputs, outputs).
        bias: Offsets b, shape (outputs,).
    """

    weight: Float[Array, "a b"]
    bias: Float[Array, " b"]

    def __init__(self, key, inputs, outputs):
        self.weight = glorot(key, (inputs, outputs), jnp.float32)
        self.bias = jnp.zeros(outputs, jnp.float32)

    @full_precision
    def __call__(self, x):
        return x @ self.weight + self.bias


class Convolution(eqx.Module):
    """A convolution with stride 2, kernel 4×4 (one pixel of padding) or 2×2, as one matrix product.

    Row (i, j, p, q, c) of the weight of a 4×4 kernel belongs to its pixel (2i + p, 2j + q): i, j number 2×2 blocks.
    An output pixel of that kernel hears 2×2 blocks. So the product can come after collecting neighbours (16 · inputs
    numbers) or before adding theirs up (4 · outputs); both are exact, and the one that moves less memory is used.

    Args:
        key: JAX random key.
        inputs: Channels of the image, which has an even height and width.
        outputs: Channels of the result, an image half as high and wide.
        kernel: Side of the kernel, 4 or 2.

    Attributes:
        weight: Shape (kernel · kernel · inputs, outputs).
        bias: Shape (outputs,).
        kernel: As given.
    """

    weight: Float[Array, "a b"]
    bias: Float[Array, " b"]
    kernel: int = eqx.field(static=True)

    def __init__(self, key, inputs, outputs, kernel):
        shape = (kernel, kernel, inputs, outputs)  # Glorot's bound needs the receptive field
        self.weight = glorot(key, shape, jnp.float32).reshape(-1, outputs)
        self.bias, self.kernel = jnp.zeros(outputs, jnp.float32), kernel

    def __call__(self, x):
        if self.kernel == 2:
            return _times(_blocks(x), self.weight) + self.bias
        x = _blocks(pad(x))
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

    Args:
        key: JAX random key.
        inputs: Channels of the image.
        outputs: Channels of the result, an image twice as high and wide.

    Attributes:
        weight: Shape (inputs, 2, 2, 2, 2, outputs).
        bias: Shape (outputs,).
    """

    weight: Float[Array, "c 2 2 2 2 o"]
    bias: Float[Array, " o"]

    def __init__(self, key, inputs, outputs):
        weight = glorot(key, (4, 4, outputs, inputs), jnp.float32).transpose(3, 0, 1, 2)
        # Pixel (2i + p, 2j + q) of the kernel at [:, i, j, p, q, :], as in `Convolution`.
        self.weight = weight.reshape(inputs, 2, 2, 2, 2, outputs).transpose(0, 1, 3, 2, 4, 5)
        self.bias = jnp.zeros(outputs, jnp.float32)

    def __call__(self, x):
        c, outputs = self.weight.shape[0], self.weight.shape[-1]
        if c <= 4 * outputs:
            # Block (a, b) of the padded output hears input (a − i, b − j) through part (i, j) of the kernel.
            weight = self.weight[:, ::-1, ::-1].transpose(1, 2, 0, 3, 4, 5).reshape(4 * c, 4 * outputs)
            blocks = _times(_neighbours(pad(x)), weight)
        else:
            blocks = _overlap(_times(x, self.weight.reshape(c, -1)))
        return _unblocks(blocks)[:, 1:-1, 1:-1] + self.bias
