"""Cars3D: the official meshes where they are found, else a stand-in drawn in 3-D."""

from __future__ import annotations

import itertools
import math
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from snn_ntk.datasets import _store
from snn_ntk.datasets._reading import expecting, read, tar_files, unpacked
from snn_ntk.datasets.factors import FactorDataset
from snn_ntk.datasets.stand_ins import rendered_cars

__all__ = ["cars3d"]

_ARCHIVE = "nips2015-analogy-data.tar.gz"
_URL = f"http://www.scottreed.info/files/{_ARCHIVE}"
_NAMES = ("elevation", "azimuth", "object")
_SIZES = (rendered_cars.ELEVATIONS, rendered_cars.AZIMUTHS, rendered_cars.OBJECTS)
_SIDE = 64
_LARGEST_MESH, _LARGEST_ARCHIVE = 2**26, 2**32  # bytes; a mesh has 5 million
_MATRIX, _COMPRESSED, _BYTES = 14, 15, 9  # numbers of MATLAB's format: two kinds of elements, a kind of array
_MESH = re.compile(r"car_\d+_mesh\.mat")


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each mesh file in a folder or in the archive."""
    if path.is_dir():
        for file in path.iterdir():
            if _MESH.fullmatch(file.name):
                with expecting(file, "a mesh file of Cars3D"):
                    yield str(file), read(file, _LARGEST_MESH)
        return
    with expecting(path, "the official archive of Cars3D"), unpacked(path, _LARGEST_ARCHIVE) as stream:
        yield from tar_files(stream, _MESH.fullmatch, _LARGEST_MESH)


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each element of a MATLAB file of version 5, or of those in an element."""
    start = 0
    while start < len(content):
        kind, size = struct.unpack_from("<II", content, start)
        head, padding = 8, 0 if kind == _COMPRESSED else -size % 8
        if kind >> 16:  # up to four bytes share eight with their kind and size
            head, kind, size = 4, kind & 0xFFFF, kind >> 16
            padding = 4 - size
        start += head
        if not 0 <= size <= len(content) - start or padding < 0:
            raise ValueError("it ends early")
        yield kind, content[start : start + size]
        start += size + padding


def _image(content: bytes) -> UInt8[np.ndarray, ...]:
    """The array im of bytes in a MATLAB file. SciPy's reader is not used: bytes that are not what they say crash it."""
    if content[124:128] != b"\x00\x01IM":
        raise ValueError("no header of a little-endian MATLAB file of version 5")
    for kind, element in _elements(content[128:]):
        if kind == _COMPRESSED:
            stream = zlib.decompressobj()
            unpacked_element = stream.decompress(element, _LARGEST_MESH)
            if not stream.eof:
                raise ValueError(f"an element is cut off, or unpacks to more than {_LARGEST_MESH:,} bytes")
            kind, element = next(_elements(unpacked_element))
        parts = itertools.islice(_elements(element), 5) if kind == _MATRIX else ()
        match list(parts):
            case [(_, flags), (_, sizes), (_, b"im"), (_, values)]:
                shape = struct.unpack(f"<{len(sizes) // 4}i", sizes)
                if flags[0] != _BYTES or len(values) != math.prod(shape):
                    raise ValueError(f"{len(values):,} bytes of kind {flags[0]} for an array im of shape {shape}")
                return np.frombuffer(values, np.uint8).reshape(shape, order="F")
    raise ValueError("no array im of bytes")


def _views(name: str, content: bytes) -> UInt8[np.ndarray, "elevations azimuths 64 64 3"]:
    """The views of one car, halved in size with antialiasing."""
    elevations, azimuths = _SIZES[:2]
    expected = (2 * _SIDE, 2 * _SIDE, 3, azimuths, elevations)
    with expecting(name, f"a MATLAB file with the array im of bytes of shape {expected}"):
        image = _image(content)
        if image.shape != expected:
            raise ValueError(f"shape {image.shape}")
    views = np.empty((elevations, azimuths, _SIDE, _SIDE, 3), np.uint8)
    for elevation, azimuth in np.ndindex(elevations, azimuths):
        large = Image.fromarray(np.ascontiguousarray(image[..., azimuth, elevation]))
        views[elevation, azimuth] = np.asarray(large.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
    return views


def _find() -> Path | None:
    for top in _store.folders():
        archive = _store.find("cars3d", _ARCHIVE, among=[top])
        if archive is not None:
            return archive
        for name in ("cars3d", "cars3d/cars", "cars3d/data/cars", "data/cars", "cars"):
            if any(_MESH.fullmatch(file.name) for file in (top / name).glob("car_*")):
                return top / name
    return None


def cars3d(*, download: bool = False) -> FactorDataset:
    """Cars3D: 183 cars from 24 azimuths at 4 elevations, 64 × 64 pixels in colour.

    The official files are used if the archive, or a folder `cars` of its meshes, is found in `SNN_NTK_DATA` or in the
    user's cache folder; 216 MB of images are then held in memory, the cars in the order of their file names. Else the
    stand-in is drawn when images are asked for: other cars, of eight kinds in varied sizes and paints, with the same
    three factors. It is called "cars stand-in", and no number found on it is one of Cars3D.

    Args:
        download: Fetch the official archive if it is not found.

    Returns:
        The grid of 17,568 images.

    Raises:
        ValueError: If an official file is corrupt or another one, or a car is missing.
        FileNotFoundError: If `download` fails.

    Example:
        >>> data = cars3d()
        >>> data.factor_names, data.factor_sizes
        (('elevation', 'azimuth', 'object'), (4, 24, 183))
        >>> data.pixels(np.array([0, 183])).shape
        (2, 64, 64, 3)

    Source: reed2015deep.
    """
    path = _find()
    if path is None and download:
        path = _store.retrieve("cars3d", _ARCHIVE, _URL, None)  # no checksum was ever published
    if path is None:
        _store.say_fallback(f"{_ARCHIVE} or folder of Cars3D's meshes", "cars drawn in 3-D")
        name, source, render = "cars stand-in", "cars drawn in 3-D in place of Cars3D", rendered_cars.render_car
    else:
        cars = {Path(file).name: _views(file, content) for file, content in _contents(path)}
        if len(cars) != _SIZES[2]:
            raise ValueError(f"{path}: expected {_SIZES[2]} files car_NNN_mesh.mat of Cars3D, got {len(cars)}")
        views = np.stack([cars[file] for file in sorted(cars)])

        def render(factors: np.ndarray) -> np.ndarray:
            elevation, azimuth, number = factors.T
            return views[number, elevation, azimuth]

        name, source = "Cars3D", "Cars3D, official meshes halved in size"
    levels = tuple(np.arange(size) for size in _SIZES)
    return FactorDataset(name, source, _NAMES, (_SIDE, _SIDE, 3), render, levels)
