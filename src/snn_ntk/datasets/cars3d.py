"""Cars3D: the official meshes where they are found, else a stand-in drawn in 3-D."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import UInt8
from PIL import Image

from snn_ntk.datasets import _store
from snn_ntk.datasets.factors import FactorDataset
from snn_ntk.datasets.stand_ins import rendered_cars

__all__ = ["cars3d"]

_ARCHIVE = "nips2015-analogy-data.tar.gz"
_URL = f"http://www.scottreed.info/files/{_ARCHIVE}"
_NAMES = ("elevation", "azimuth", "object")
_SIZES = (rendered_cars.ELEVATIONS, rendered_cars.AZIMUTHS, rendered_cars.OBJECTS)
_SIDE = 64
_MESH = re.compile(r"car_\d+_mesh\.mat")


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each mesh file in a folder or in the archive."""
    if path.is_dir():
        for file in path.iterdir():
            if _MESH.fullmatch(file.name):
                yield str(file), file.read_bytes()
        return
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if _MESH.fullmatch(Path(member.name).name) and (stream := archive.extractfile(member)):
                    yield member.name, stream.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: expected the official archive of Cars3D, got a corrupt one ({error})") from error


def _views(name: str, content: bytes) -> UInt8[np.ndarray, "elevations azimuths 64 64 3"]:
    """The views of one car, halved in size with antialiasing."""
    elevations, azimuths = _SIZES[:2]
    try:
        image = scipy.io.loadmat(io.BytesIO(content), variable_names=["im"])["im"]
    except Exception as error:  # scipy raises nearly anything on bytes that are not a MATLAB file
        raise ValueError(
            f"{name}: expected a MATLAB file with the array im, got a corrupt or other one ({error!r})"
        ) from error
    expected = (2 * _SIDE, 2 * _SIDE, 3, azimuths, elevations)
    if image.shape != expected or image.dtype != np.uint8:
        raise ValueError(f"{name}: expected bytes im of shape {expected}, got {image.dtype} of shape {image.shape}")
    views = np.empty((elevations, azimuths, _SIDE, _SIDE, 3), np.uint8)
    for elevation, azimuth in np.ndindex(elevations, azimuths):
        large = Image.fromarray(np.ascontiguousarray(image[..., azimuth, elevation]))
        views[elevation, azimuth] = np.asarray(large.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
    return views


def _find() -> Path | None:
    archive = _store.find("cars3d", _ARCHIVE)
    if archive is not None:
        return archive
    inside = ("cars3d", "cars3d/cars", "cars3d/data/cars", "data/cars", "cars")
    places = (folder / name for folder in _store.folders() for name in inside)
    return next((place for place in places if any(_MESH.fullmatch(file.name) for file in place.glob("car_*"))), None)


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
