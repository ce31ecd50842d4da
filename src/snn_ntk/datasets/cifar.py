"""CIFAR-10 from its official binary files, and features of images from frozen networks."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from snn_ntk import _validation as validation
from snn_ntk._precision import full_precision
from snn_ntk.datasets import _store
from snn_ntk.datasets._reading import expecting, npz_member, read, tar_files, unpacked
from snn_ntk.datasets.mnist import Images

__all__ = ["Features", "cifar10", "cifar10_features", "convolutional_features", "read_cifar"]

_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
# MD5 as printed on the data set's page; pooch checks a download against it.
_MD5 = "md5:c32a1d4ab5d03f1284b67883e8d87530"
_ARCHIVE = "cifar-10-binary.tar.gz"
_FILES = {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)}
_RECORD = 1 + 3 * 32 * 32
_PER_FILE = 10_000
_FEATURES = "cifar10-resnet18-features.npz"
_FEATURE_SHAPES = {"train": (50_000, 512), "train_labels": (50_000,), "test": (10_000, 512), "test_labels": (10_000,)}


class Features(NamedTuple):
    """What a frozen network makes of training and test images.

    Attributes:
        train: Features of the training images, shape (n, features), float32.
        train_labels: Their labels, shape (n,).
        test: Features of the test images, shape (k, features), float32.
        test_labels: Their labels, shape (k,).
        source: Which network it was, in words.
    """

    train: Float[np.ndarray, "n features"]
    train_labels: Int[np.ndarray, " n"]
    test: Float[np.ndarray, "k features"]
    test_labels: Int[np.ndarray, " k"]
    source: str


def read_cifar(content: bytes, name: str = "CIFAR-10 file") -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a file of the binary version: records of one label byte and 3 · 32 · 32 pixels.

    Args:
        content: The file's bytes.
        name: What to call it in an error.

    Returns:
        Images (n, 32, 32, 3) and labels (n,), uint8.

    Raises:
        ValueError: If the length is not a whole number of records, or a label is above 9.

    Example:
        >>> images, labels = read_cifar(bytes([7]) + bytes(3072))
        >>> images.shape, labels.tolist()
        ((1, 32, 32, 3), [7])

    Source: krizhevsky2009learning (the binary version, described at https://www.cs.toronto.edu/~kriz/cifar.html).
    """
    if not content or len(content) % _RECORD:
        raise ValueError(f"{name}: expected a whole number of {_RECORD}-byte records, got {len(content)} bytes")
    table = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    if table[:, 0].max() > 9:
        raise ValueError(f"{name}: expected labels from 0 to 9, got {table[:, 0].max()}")
    return table[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), table[:, 0]


def _contents(names: tuple[str, ...], download: bool) -> dict[str, bytes]:
    """The files' bytes, from loose files or from the archive, with what to call each in an error."""
    size = _PER_FILE * _RECORD
    archive = None
    for top in _store.folders():
        loose = [_store.find("cifar10", name, inside=("cifar-10-batches-bin",), among=[top]) for name in names]
        if all(loose):
            contents = {}
            for path in filter(None, loose):
                with expecting(path, f"CIFAR-10's {size:,} bytes"):
                    contents[str(path)] = read(path, size)
            return contents
        if (archive := _store.find("cifar10", _ARCHIVE, among=[top])) is not None:
            break
    if archive is None and download:
        archive = _store.retrieve("cifar10", _ARCHIVE, _URL, _MD5)
    if archive is None:
        places = " or ".join(str(folder / "cifar10") for folder in _store.folders())
        raise FileNotFoundError(
            f"CIFAR-10 is not on disk: put {_ARCHIVE} (the binary version, from {_URL}) or its {', '.join(names)} into {places}"
        )
    # Six files of this size, and a few small ones.
    with (
        expecting(archive, f"the whole archive with {', '.join(names)}"),
        unpacked(archive, 7 * size + 10**6) as stream,
    ):
        found = {Path(name).name: content for name, content in tar_files(stream, names.__contains__, size)}
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(f"no {', '.join(missing)}")
        return {f"{name} in {archive}": found[name] for name in names}


def cifar10(n: int | None = None, *, split: str = "train", seed: int = 0, download: bool = False) -> Images:
    """CIFAR-10's images, in random order, from the binary version (never the pickled one).

    Args:
        n: Number of images; all if None.
        split: Either "train" (50,000) or "test" (10,000).
        seed: Of the random order.
        download: Fetch the archive (162 MB) if it is neither in `SNN_NTK_DATA` nor in the user's cache folder.

    Returns:
        `Images` with float32 pixels in [0, 1], shape (n, 3072) in the order height, width, colour.

    Raises:
        FileNotFoundError: If the files are not there (and, with `download`, cannot be fetched).
        TypeError: If `n` is not an integer.
        ValueError: If the split is unknown, `n` is below 1 or above what there is, or a file is damaged.

    Source: krizhevsky2009learning.
    """
    if split not in _FILES:
        raise ValueError(f"expected split 'train' or 'test', got {split!r}")
    names = _FILES[split]
    parts = []
    for name, content in _contents(names, download).items():
        parts.append(read_cifar(content, name))
        if len(content) != _PER_FILE * _RECORD:
            raise ValueError(f"{name}: expected CIFAR-10's {_PER_FILE:,} images, got {len(content) // _RECORD:,}")
    images, labels = (np.concatenate(group) for group in zip(*parts, strict=True))
    if n is not None and validation.positive_integer(n, "n") > len(images):
        raise ValueError(f"expected at most {len(images)} images of CIFAR-10's {split} set, got n = {n}")
    chosen = np.random.default_rng(seed).permutation(len(images))[:n]
    pixels = images[chosen].reshape(len(chosen), -1).astype(np.float32) / 255
    return Images(pixels, labels[chosen].astype(np.int64), f"CIFAR-10 {split} set, official files")


def cifar10_features() -> Features:
    """Features of CIFAR-10 by an ImageNet-trained ResNet-18, if a file with them is present.

    PyTorch is not a dependency, so the features are computed outside, once, by whoever has torchvision: images resized
    to 224 × 224 and normalised as `ResNet18_Weights.IMAGENET1K_V1.transforms()` does, the network without its last
    layer, and `numpy.savez("cifar10-resnet18-features.npz", train=…, train_labels=…, test=…, test_labels=…)`, float32
    (50000, 512) and so on.

    Returns:
        `Features`, their source naming the network.

    Raises:
        FileNotFoundError: If the file is neither in `SNN_NTK_DATA` nor in the user's cache folder.
        ValueError: If it is damaged, holds objects, or its arrays are not of these shapes, finite, and labels 0 to 9.

    Source: he2016deep.
    """
    path = _store.find("cifar10", _FEATURES)
    if path is None:
        places = " or ".join(str(folder / "cifar10") for folder in _store.folders())
        raise FileNotFoundError(f"{_FEATURES} is not on disk; put it into {places} (how to make it: see this function)")
    with expecting(path, f"arrays of the shapes {_FEATURE_SHAPES}"), zipfile.ZipFile(path) as archive:
        train, train_labels, test, test_labels = (_features(archive, name) for name in _FEATURE_SHAPES)
    source = "CIFAR-10, features of a frozen ResNet-18 trained on ImageNet"
    return Features(train, train_labels, test, test_labels, source)


def _features(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Features as float32, or labels as int64."""
    labels = name.endswith("labels")
    with npz_member(archive, name) as (stream, shape, dtype):
        if shape != _FEATURE_SHAPES[name] or dtype.kind not in ("iu" if labels else "f"):
            raise ValueError(f"{name} has dtype {dtype} and shape {shape}")
        array = np.frombuffer(stream.read(), dtype).reshape(shape)
    if labels:
        if not ((array >= 0) & (array <= 9)).all():
            raise ValueError(f"{name} goes from {array.min()} to {array.max()} where labels go from 0 to 9")
        return array.astype(np.int64)
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has {np.count_nonzero(~np.isfinite(array))} numbers that are not finite")
    return array


@full_precision
def convolutional_features(
    key: PRNGKeyArray,
    images: Float[Array | np.ndarray, "n pixels"],
    reference: Float[Array | np.ndarray, "k pixels"],
    *,
    filters: int = 64,
    patch: int = 5,
    side: int = 28,
) -> Float[np.ndarray, "n features"]:
    """A stand-in for the features of a trained network: random patches as filters, ReLU, and pooling over quarters.

    Filters are `filters` random patches of the reference images, centred and of unit norm, with an opposite of each;
    their responses, less a quarter of the patch's own norm, go through a ReLU and are averaged over the four quarters
    of the image. Nothing is trained. Features are standardised by their mean and standard deviation over the reference
    images.

    Args:
        key: Random key of the filters.
        images: Images of shape (n, side · side · colours).
        reference: Images (k, side · side · colours) that patches and the standardisation are taken from: the training
            set.
        filters: Number of patches.
        patch: Side of a patch.
        side: Side of an image.

    Returns:
        Features of shape (n, 8 · filters), float32.

    Raises:
        TypeError: If `filters`, `patch` or `side` is not an integer.
        ValueError: If an image is not of `side` by `side` pixels in 1 or 3 colours, a patch is not smaller than the
            image or is a single grey pixel, or a number is below 1.

    Example:
        >>> noise = np.random.default_rng(0).random((4, 64), dtype=np.float32)
        >>> convolutional_features(jax.random.key(0), noise, noise, filters=2, patch=3, side=8).shape
        (4, 16)

    Source: coates2012learning (without their whitening).
    """
    side, filters = validation.positive_integer(side, "side"), validation.positive_integer(filters, "filters")
    patch = validation.positive_integer(patch, "patch")
    colours = images.shape[1] // side**2
    if images.shape[1] != side * side * colours or colours not in (1, 3):
        raise ValueError(f"expected images of {side} × {side} pixels in 1 or 3 colours, got {images.shape[1]} numbers")
    # Of one number nothing is left once it is centred; and of one response there are no four quarters.
    if patch * colours == 1 or patch >= side:
        least = 2 if colours == 1 else 1
        raise ValueError(f"expected a patch with a side from {least} to {side - 1}, got {patch}")
    kernels = _filters(key, np.asarray(reference, np.float32).reshape(-1, side, side, colours), filters, patch)

    @jax.jit
    def transform(batch: Array) -> Array:
        batch = batch.reshape(-1, side, side, colours)
        layout = ("NHWC", "HWIO", "NHWC")
        response = jax.lax.conv_general_dilated(batch, kernels, (1, 1), "VALID", dimension_numbers=layout)
        ones = jnp.ones((patch, patch, colours, 1), batch.dtype)
        energy = jax.lax.conv_general_dilated(batch**2, ones, (1, 1), "VALID", dimension_numbers=layout)
        active = jax.nn.relu(response - 0.25 * jnp.sqrt(energy))
        half = active.shape[1] // 2
        quarters = [active[:, a, b].mean(axis=(1, 2)) for a in _halves(half) for b in _halves(half)]
        return jnp.concatenate(quarters, axis=1)

    def apply(pixels: Array | np.ndarray) -> np.ndarray:
        pixels = np.asarray(pixels, np.float32)
        return np.concatenate(
            [np.asarray(transform(jnp.asarray(b))) for b in np.array_split(pixels, -(-len(pixels) // 250))]
        )

    own = apply(reference)
    # A filter that never answers is left at 0.
    scale = np.where(own.std(axis=0) > 1e-6, own.std(axis=0), 1)
    features = own if images is reference else apply(images)
    return ((features - own.mean(axis=0)) / scale).astype(np.float32)


@functools.partial(jax.jit, static_argnames=("filters", "patch"))
def _filters(key: Array, grid: Array, filters: int, patch: int) -> Array:
    """Random patches of the images and their opposites, (patch, patch, colours, 2 · filters)."""
    which, where, noise = jax.random.split(key, 3)
    rows = jax.random.randint(which, (filters,), 0, len(grid), jnp.int32)
    corners = jax.random.randint(where, (filters, 2), 0, grid.shape[1] - patch + 1, jnp.int32)

    def cut(row: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(grid[row], jnp.append(corner, 0), (patch, patch, grid.shape[3]))

    drawn = jax.vmap(cut)(rows, corners).reshape(filters, -1)
    # An empty patch (a corner of a digit) becomes noise rather than a filter of zeros.
    drawn = drawn + 0.01 * jax.random.normal(noise, drawn.shape, drawn.dtype)
    drawn = drawn - drawn.mean(axis=1, keepdims=True)
    drawn = drawn / jnp.linalg.norm(drawn, axis=1, keepdims=True)
    both = jnp.concatenate([drawn, -drawn]).reshape(2 * filters, patch, patch, grid.shape[3])
    return both.transpose(1, 2, 3, 0)


def _halves(half: int) -> tuple[slice, slice]:
    return slice(None, half), slice(half, None)
