"""dSprites: one white shape on black, from the official file if it is found, else rendered again from its factors."""

from __future__ import annotations

import functools
import math
import zipfile
import zlib
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from snn_ntk._files import replacing
from snn_ntk.datasets import _store
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


def _member(archive: zipfile.ZipFile, name: str) -> tuple[zipfile.ZipExtFile, tuple[int, ...], np.dtype]:
    """An array of an .npz file opened for reading, its shape and type; objects are refused, so nothing is unpickled."""
    stream = cast(zipfile.ZipExtFile, archive.open(f"{name}.npy"))
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is not an array of version 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if fortran or dtype.hasobject:
        raise ValueError(f"{name} has dtype {dtype}{' in Fortran order' if fortran else ''}")
    return stream, shape, dtype


def _unpack(path: Path) -> Path:
    """The images of the official file, 8 pixels to a byte, in the user's cache folder: 377 MB, mapped and not read.

    Raises:
        ValueError: If the file is corrupt, truncated, or not the official one.
    """
    grid = math.prod(_SIZES)
    try:
        with zipfile.ZipFile(path) as archive:
            stream, shape, dtype = _member(archive, "latents_classes")
            if shape != (grid, len(_SIZES)):
                raise ValueError(f"latents_classes has shape {shape}")
            classes = np.frombuffer(stream.read(), dtype).reshape(shape)
            if not np.array_equal(classes, np.stack(np.unravel_index(np.arange(grid), _SIZES), axis=1)):
                raise ValueError("latents_classes is not the grid of factors in order")
            stream, shape, dtype = _member(archive, "imgs")
            if (shape, dtype) != ((grid, _SIDE, _SIDE), np.dtype(np.uint8)):
                raise ValueError(f"imgs has shape {shape} and dtype {dtype}")
            target = _store.folders()[-1] / "dsprites" / f"{archive.getinfo('imgs.npy').CRC:08x}.npy"
            if target.is_file():
                return target
            with replacing(target) as part:
                _pack(stream, grid, Path(part.name))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: expected the official dSprites file with imgs of shape {(grid, _SIDE, _SIDE)} and latents_classes "
            f"of shape {(grid, len(_SIZES))}, got a corrupt or different one ({error})"
        ) from error
    return target


def _pack(stream: zipfile.ZipExtFile, count: int, target: Path) -> None:
    packed = np.lib.format.open_memmap(target, "w+", np.uint8, (count, _SIDE**2 // 8))
    for start in range(0, count, _CHUNK):
        rows = min(_CHUNK, count - start)
        content = stream.read(rows * _SIDE**2)
        if len(content) < rows * _SIDE**2:
            raise ValueError("imgs ends early")
        pixels = np.frombuffer(content, np.uint8).reshape(rows, -1)
        if pixels.max(initial=0) > 1:
            raise ValueError(f"imgs has a pixel of {pixels.max()}")
        packed[start : start + rows] = np.packbits(pixels, axis=1)
    if stream.read(1):
        raise ValueError("imgs goes on after its last image")
    packed.flush()


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
