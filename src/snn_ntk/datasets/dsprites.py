"""dSprites: one white shape on black, from the official file if it is found, else rendered again from its factors."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import logging
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from snn_ntk._files import replacing
from snn_ntk.datasets import _store
from snn_ntk.datasets._reading import expecting, npz_member
from snn_ntk.datasets.factors import FactorDataset

__all__ = ["dsprites"]

_FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
_URL = f"https://github.com/google-deepmind/dsprites-dataset/raw/master/{_FILE}"
_HASH = "md5:7da33b31b13a06f4b04a70402ce90c2e"

_NAMES = ("colour", "shape", "scale", "orientation", "posX", "posY")
_SIZES = (1, 3, 6, 40, 32, 32)
_SIDE = 64
_CHUNK = 8_192  # images of the official file that are unpacked at a time

# Geometry of the rendered images, in pixels: shapes of the largest scale turn within a circle of radius 16, so that
# they are wholly seen at all of the 32 positions, which are one pixel apart. That makes a shift of the position exact.
_ROOM = 32
_SUPERSAMPLING = 5


def _inside(shape: int, x: Float[np.ndarray, "*n"], y: Float[np.ndarray, "*n"]) -> Bool[np.ndarray, "*n"]:
    """Which points lie in the square, the ellipse or the heart of scale 1, centred at 0, y downwards."""
    if shape == 0:
        return np.maximum(abs(x), abs(y)) <= 9
    if shape == 1:
        return (x / 11.5) ** 2 + (y / 7) ** 2 <= 1
    # (u² + v² − 1)³ ≤ u² v³, its tip below, turned about its centre of mass.
    u, v = x / 9.2, 0.304 - y / 9.2
    return (u**2 + v**2 - 1) ** 3 <= u**2 * v**3


@functools.cache
def _canvases() -> UInt8[np.ndarray, "3 6 40 95 95"]:
    """Every shape, scale and orientation on a canvas of which the image at any position is a window.

    A pixel is white where the shape covers at least half of it, as far as 5 × 5 points within the pixel can tell.
    """
    shapes, scales, orientations, positions, _ = _SIZES[1:]
    side = _SIDE + positions - 1
    canvases = np.zeros((shapes, scales, orientations, side, side), np.uint8)
    place = slice(positions - 1, positions - 1 + _ROOM)
    fine = (np.arange(_ROOM * _SUPERSAMPLING, dtype=np.float32) + 0.5) / _SUPERSAMPLING - _ROOM / 2
    y, x = np.meshgrid(fine, fine, indexing="ij")
    for orientation, angle in enumerate(np.linspace(0, 2 * math.pi, orientations)):
        along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        for scale, size in enumerate(np.linspace(0.5, 1, scales)):
            for shape in range(shapes):
                inside = _inside(shape, along / size, across / size)
                cover = inside.reshape(_ROOM, _SUPERSAMPLING, _ROOM, _SUPERSAMPLING).mean(axis=(1, 3))
                canvases[shape, scale, orientation, place, place] = np.where(cover >= 0.5, 255, 0)
    return canvases


def _render(factors: Int[np.ndarray, "n 6"]) -> UInt8[np.ndarray, "n 64 64 1"]:
    windows = np.lib.stride_tricks.sliding_window_view(_canvases(), (_SIDE, _SIDE), axis=(3, 4))
    _, shape, scale, orientation, column, row = factors.T
    return windows[shape, scale, orientation, _SIZES[5] - 1 - row, _SIZES[4] - 1 - column][..., None]


def _expected() -> str:
    grid = math.prod(_SIZES)
    return (
        f"the official dSprites file with imgs of shape {(grid, _SIDE, _SIDE)} and latents_classes of shape "
        f"{(grid, len(_SIZES))}"
    )


def _unpack(path: Path) -> Path:
    """The images of the official file, 8 pixels to a byte, in the user's cache folder: 377 MB, mapped and not read.

    The unpacked file ends in its SHA-256. One that is not whole is unpacked again.

    Raises:
        ValueError: If the file is corrupt, truncated, or not the official one.
        OSError: If the cache folder cannot be written.
    """
    grid = math.prod(_SIZES)
    with expecting(path, _expected()), zipfile.ZipFile(path) as archive:
        with npz_member(archive, "latents_classes") as (stream, shape, dtype):
            if shape != (grid, len(_SIZES)) or dtype.kind not in "iu":
                raise ValueError(f"latents_classes has shape {shape} and dtype {dtype}")
            classes = np.frombuffer(stream.read(), dtype).reshape(shape)
        if not np.array_equal(classes, np.stack(np.unravel_index(np.arange(grid), _SIZES), axis=1)):
            raise ValueError("latents_classes is not the grid of factors in order")
        with npz_member(archive, "imgs") as (_, shape, dtype):
            if (shape, dtype) != ((grid, _SIDE, _SIDE), np.dtype(np.uint8)):
                raise ValueError(f"imgs has shape {shape} and dtype {dtype}")
        target = _store.folders()[-1] / "dsprites" / f"{archive.getinfo('imgs.npy').CRC:08x}.npy"
    if _is_whole(target, grid):
        return target
    digest = hashlib.sha256()
    try:
        with replacing(target) as file:
            for part in itertools.chain([_header(grid)], _packed(path, grid)):
                digest.update(part)
                file.write(part)
            file.write(digest.digest())
    except OSError as error:
        raise OSError(f"{target}: expected to unpack {grid * _SIDE**2 // 8:,} bytes into it, got {error}") from error
    return target


def _header(count: int) -> bytes:
    stream = io.BytesIO()
    shape = (count, _SIDE**2 // 8)
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _is_whole(unpacked: Path, count: int) -> bool:
    """Whether the unpacked images are there, of the right size, and have the digest that stands after them."""
    if not unpacked.is_file():
        return False
    header = _header(count)
    size = len(header) + count * _SIDE**2 // 8
    digest = hashlib.sha256()
    with open(unpacked, "rb") as file:
        if file.seek(0, 2) == size + digest.digest_size:
            file.seek(0)
            while part := file.read(min(2**20, size - file.tell())):
                digest.update(part)
            if file.read() == digest.digest():
                return True
    logging.getLogger("snn_ntk").warning(f"{unpacked} is not whole: the images of dSprites are unpacked again")
    return False


def _packed(path: Path, count: int) -> Iterator[bytes]:
    """The images of the official file, 8 pixels to a byte, some at a time."""
    with expecting(path, _expected()), zipfile.ZipFile(path) as archive, npz_member(archive, "imgs") as (stream, _, _):
        for start in range(0, count, _CHUNK):
            rows = min(_CHUNK, count - start)
            content = stream.read(rows * _SIDE**2)
            if len(content) < rows * _SIDE**2:
                raise ValueError("imgs ends early")
            pixels = np.frombuffer(content, np.uint8).reshape(rows, -1)
            if pixels.max(initial=0) > 1:
                raise ValueError(f"imgs has a pixel of {pixels.max()}")
            yield np.packbits(pixels, axis=1).tobytes()


def dsprites(*, download: bool = False) -> FactorDataset:
    """dSprites: squares, ellipses and hearts of 6 sizes at 40 orientations and 32 × 32 positions, 64 × 64 pixels.

    The official file is used if it is found in `SNN_NTK_DATA` or in the user's cache folder; on first use its images
    are unpacked into the cache folder. Else the images are rendered again from the factors when they are asked for: the
    shape's cover of each pixel is thresholded at one half. Either way an image has the same place in the grid. As in
    the official file the orientations run from 0 to 2π, both included, so that the first and the last are the same
    image, and a square looks the same after a quarter of a turn and an ellipse after half of one. What differs are the
    shapes' outlines and sizes, which the official file does not document: no number found on one is to be expected on
    the other.

    Args:
        download: Fetch the official file if it is not found.

    Returns:
        The grid of 737,280 images; `data.restrict(orientation=10, posX=8, posY=8)` is a smaller one.

    Raises:
        ValueError: If the official file is corrupt or another one.
        FileNotFoundError: If `download` fails.
        OSError: If the cache folder has no room or cannot be written.

    Example:
        >>> data = dsprites()
        >>> data.factor_sizes
        (1, 3, 6, 40, 32, 32)
        >>> data.images(np.array([0, 368_640])).shape
        (2, 64, 64, 1)

    Source: matthey2017dsprites.
    """
    path = _store.retrieve("dsprites", _FILE, _URL, _HASH) if download else _store.find("dsprites", _FILE)
    if path is None:
        _store.say_fallback(_FILE, "dSprites rendered again from its factors")
        name, source, render = "dSprites (re-rendered)", "dSprites, rendered again from its factors", _render
    else:
        packed = np.load(_unpack(path), mmap_mode="r", allow_pickle=False)

        def render(factors: np.ndarray) -> np.ndarray:
            rows = packed[np.ravel_multi_index(tuple(factors.T), _SIZES)]
            return np.unpackbits(rows, axis=1).reshape(-1, _SIDE, _SIDE, 1) * np.uint8(255)

        name, source = "dSprites", "dSprites, official file"
    levels = tuple(np.arange(size) for size in _SIZES)
    return FactorDataset(name, source, _NAMES, (_SIDE, _SIDE, 1), render, levels)
