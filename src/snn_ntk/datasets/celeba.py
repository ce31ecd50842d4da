"""CelebA: the official aligned images and attributes where they are found, else a stand-in drawn from factors."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from snn_ntk.datasets import _store
from snn_ntk.datasets._reading import expecting, read, zip_member
from snn_ntk.datasets.factors import FactorDataset, checked_indices
from snn_ntk.datasets.stand_ins import drawn_faces

__all__ = ["AttributeDataset", "celeba"]

_IMAGES, _ATTRIBUTES = "img_align_celeba", "list_attr_celeba.txt"
_TABLE = "list_attr_celeba.csv"  # Kaggle's spelling of the attributes
_SIDE, _CROP = 64, 148
_WIDTH, _HEIGHT = 178, 218
_COUNT = 202_599
_LARGEST_TABLE, _LARGEST_IMAGE = 10**8, 10**6  # bytes; theirs have 27 million and about ten thousand


@dataclasses.dataclass(frozen=True, eq=False)
class AttributeDataset:
    """Photographs with binary attributes: read like a `FactorDataset`, but not every combination is there.

    Attributes:
        name: What figures and records call the data.
        source: Where the images come from, in words.
        factor_names: Name of each attribute.
        factor_sizes: Two levels for each attribute.
        shape: Height, width and channels of an image.
        attributes: Of each image, 0 or 1, shape (images, attributes).
        read: The images at these places, bytes.
    """

    name: str
    source: str
    factor_names: tuple[str, ...]
    shape: tuple[int, int, int]
    attributes: Int[np.ndarray, "n k"] = dataclasses.field(repr=False)
    read: Callable[[np.ndarray], np.ndarray] = dataclasses.field(repr=False)

    @property
    def factor_sizes(self) -> tuple[int, ...]:
        """Two levels for each attribute: without and with it."""
        return (2,) * len(self.factor_names)

    def __len__(self) -> int:
        return len(self.attributes)

    def factors(self, indices: Any) -> Int[np.ndarray, "n k"]:
        """The attributes of images.

        Args:
            indices: Their places, shape (n,).

        Returns:
            Each attribute, 0 or 1, shape (n, attributes).

        Raises:
            ValueError: If an index is not that of an image.
        """
        return self.attributes[checked_indices(indices, len(self), self.name)]

    def pixels(self, indices: Any) -> UInt8[np.ndarray, "n h w c"]:
        """Images in bytes.

        Args:
            indices: Their places, shape (n,).

        Returns:
            Bytes of shape (n, height, width, channels), uint8.

        Raises:
            ValueError: If an index is not that of an image.
        """
        return self.read(checked_indices(indices, len(self), self.name))

    def images(self, indices: Any) -> Float[np.ndarray, "n h w c"]:
        """Images as numbers.

        Args:
            indices: Their places, shape (n,).

        Returns:
            Values in [0, 1] of shape (n, height, width, channels), float32.

        Raises:
            ValueError: If an index is not that of an image.
        """
        return self.pixels(indices).astype(np.float32) / 255


def _attributes(path: Path) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    """Names of the attributes, names of the images, and the table."""
    with expecting(path, "CelebA's attribute list (a count, the names, then a name and −1 or 1 for each attribute)"):
        lines = read(path, _LARGEST_TABLE).decode("utf-8-sig").splitlines()
        if path.suffix == ".csv":
            rows = [line.split(",") for line in lines[1:] if line.strip()]
            count, names = _COUNT, tuple(lines[0].split(",")[1:])
        else:
            count, names = int(lines[0]), tuple(lines[1].split())
            rows = [line.split() for line in lines[2:] if line.strip()]
        if count != _COUNT or len(rows) != count or len({row[0] for row in rows}) != count:
            raise ValueError(f"{len(rows)} rows, the head says {count}, where there are {_COUNT} different ones")
        table = np.array([row[1:] for row in rows], dtype=np.int64)
        if table.shape != (count, len(names)) or not np.isin(table, (-1, 1)).all():
            raise ValueError(
                f"values from {table.min()} to {table.max()} of shape {table.shape} for {len(names)} names"
            )
    return names, [row[0] for row in rows], (table + 1) // 2


def _photograph(name: str, content: bytes) -> UInt8[np.ndarray, "64 64 3"]:
    """The middle square of an aligned photograph, reduced with antialiasing."""
    with (
        expecting(name, f"an aligned image of {_WIDTH} × {_HEIGHT} pixels"),
        Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as opened,
    ):
        if opened.size != (_WIDTH, _HEIGHT):  # known from the header, before anything is unpacked
            raise ValueError(f"{opened.size[0]} × {opened.size[1]} pixels")
        image = opened.convert("RGB")
    left, top = (_WIDTH - _CROP) // 2, (_HEIGHT - _CROP) // 2
    square = image.crop((left, top, left + _CROP, top + _CROP))
    return np.asarray(square.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))


def _reader(path: Path) -> tuple[Callable[[str], bytes], set[str]]:
    """A function from an image's name to its content, and the names that there are."""
    if path.is_dir():
        path = path / _IMAGES if (path / _IMAGES).is_dir() else path  # so Kaggle packs it

        def read_file(name: str) -> bytes:
            with expecting(path / name, "an image"):
                return read(path / name, _LARGEST_IMAGE)

        return read_file, {file.name for file in path.iterdir()}
    with expecting(path, "the zip file of CelebA's aligned images"), zipfile.ZipFile(path) as archive:
        members = {Path(member).name: member for member in archive.namelist()}

    def read_member(name: str) -> bytes:
        # Opened for each image: an open archive could not be shared by processes.
        with expecting(f"{name} in {path}", "an image"), zipfile.ZipFile(path) as archive:
            return zip_member(archive, members[name], _LARGEST_IMAGE)

    return read_member, set(members)


def celeba() -> AttributeDataset | FactorDataset:
    """Faces of 64 × 64 pixels in colour: CelebA's photographs with 40 attributes, or a stand-in drawn from factors.

    The official files are used if `list_attr_celeba.txt` (or Kaggle's `.csv`) and either the folder `img_align_celeba`
    or `img_align_celeba.zip` are found in `SNN_NTK_DATA` or in the user's cache folder, or in `Anno` and `Img` there
    (there is no download: who asks for the data agrees to their terms); photographs are then read when they are asked for, their middle 148 × 148 pixels
    reduced. Else faces are drawn, each from its emotion, eye style, hairstyle, colour of hair, pose, skin, lighting,
    glasses, shape of face and background. The stand-in is called "faces stand-in", and no number found on it is one of
    CelebA.

    Returns:
        An `AttributeDataset` of the photographs, or the `FactorDataset` of 4,032,000 drawn faces. Both give images by
        index, and the levels of their attributes or factors.

    Raises:
        ValueError: If an official file is corrupt or another one, or only some of them are found.
        FileNotFoundError: If `SNN_NTK_DATA` does not exist.

    Example:
        >>> data = celeba()
        >>> data.factor_names[:3]
        ('emotion', 'eye style', 'hairstyle')
        >>> data.images(np.arange(5)).shape
        (5, 64, 64, 3)

    Source: liu2015deep.
    """
    inside = ("Anno", "Img", "CelebA", "CelebA/Anno", "CelebA/Img")
    found = images = None
    for top in _store.folders():
        found = _store.find("celeba", _ATTRIBUTES, _TABLE, inside=inside, among=[top])
        images = _store.find("celeba", _IMAGES, f"{_IMAGES}.zip", inside=inside, folder=True, among=[top])
        if found is not None or images is not None:
            break
    if found is None and images is None:
        _store.say_fallback(f"{_ATTRIBUTES} and {_IMAGES} of CelebA", "faces drawn from factors")
        levels = tuple(np.arange(len(names)) for names in drawn_faces.LEVELS.values())
        return FactorDataset(
            "faces stand-in",
            "faces drawn from factors in place of CelebA",
            tuple(drawn_faces.LEVELS),
            (_SIDE, _SIDE, 3),
            drawn_faces.render_face,
            levels,
        )
    if found is None or images is None:
        missing = _ATTRIBUTES if found is None else f"{_IMAGES} or {_IMAGES}.zip"
        raise ValueError(
            f"expected {_ATTRIBUTES} and {_IMAGES} of CelebA together, got no {missing} beside {found or images}"
        )
    names, files, table = _attributes(found)
    content, there = _reader(images)
    missing = [file for file in files if file not in there]
    if missing:
        raise ValueError(f"{images}: expected all images of {found}, got none for {len(missing)}, such as {missing[0]}")

    def photographs(indices: np.ndarray) -> np.ndarray:
        return np.stack([_photograph(files[i], content(files[i])) for i in indices.tolist()])

    return AttributeDataset("CelebA", "CelebA, official aligned images", names, (_SIDE, _SIDE, 3), table, photographs)
