"""The regression sets: rows and split as published, official files in their formats, damage reported."""

import gzip

import numpy as np
import openpyxl
import pytest

from snn_ntk.datasets import split, uci
from snn_ntk.datasets.uci import read_table


@pytest.mark.parametrize(
    ("name", "shape", "parts", "risk"),
    [
        ("concrete", (1030, 8), (412, 412, 206), 1.02063),
        ("airfoil", (1503, 5), (601, 601, 301), 1.01405),
    ],
)
def test_rows_and_split_are_the_published_ones(name, shape, parts, risk):
    """The published test risk with all nodes removed, the mean of y², identifies rows and split."""
    data = uci(name)
    assert data.x.shape == shape
    found = split(data)
    assert (len(found.y_train), len(found.y_validation), len(found.y_test)) == parts
    assert (found.y_test**2).mean() == pytest.approx(risk, abs=1e-5)  # read off a figure
    assert (split(data, seed=11).y_test ** 2).mean() != pytest.approx(risk, abs=1e-4)


def test_the_training_part_is_standardised():
    found = split(uci("concrete"))
    np.testing.assert_allclose(found.x_train.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(found.x_train.std(0), 1, rtol=1e-10)
    assert (found.y_train**2).mean() == pytest.approx(1, rel=1e-12)


def test_plant_is_a_workbook_with_a_header():
    data = uci("plant")
    assert data.x.shape == (9568, 4)
    assert np.isfinite(data.x).all()


@pytest.fixture
def energy():
    """A table of UCI's shape: eight inputs, heating and cooling load."""
    return np.round(np.random.default_rng(0).uniform(1, 50, (768, 10)), 2)


def test_energy_from_the_official_workbook(tmp_path, monkeypatch, energy):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([f"X{i}" for i in range(1, 9)] + ["Y1", "Y2"])
    for row in energy:
        sheet.append(row.tolist())
    for _ in range(3):
        sheet.append([None] * 10)  # the official file ends in empty rows
    (tmp_path / "uci").mkdir()
    book.save(tmp_path / "uci" / "ENB2012_data.xlsx")
    monkeypatch.setenv("SNN_NTK_DATA", str(tmp_path))
    data = uci("energy")
    np.testing.assert_allclose(data.x, energy[:, :8])
    np.testing.assert_allclose(data.y, energy[:, 8])
    assert "ENB2012_data.xlsx" in data.source


def test_energy_from_a_compressed_table_with_one_target(tmp_path, monkeypatch, energy):
    lines = "\n".join(",".join(map(str, row[:9])) for row in energy)
    (tmp_path / "energy.csv.gz").write_bytes(gzip.compress(lines.encode()))
    monkeypatch.setenv("SNN_NTK_DATA", str(tmp_path))
    np.testing.assert_allclose(uci("energy").y, energy[:, 8])


def test_energy_in_the_named_folder_comes_before_the_cache_by_whatever_name(empty, energy):
    (empty / "cache").mkdir()
    for path, table in ((empty / "energy.csv.gz", energy), (empty / "cache" / "energy.csv", energy + 1)):
        content = "\n".join(",".join(map(str, row[:9])) for row in table).encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    np.testing.assert_array_equal(uci("energy").y, energy[:, 8])


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("header", [",X1,X2,X3,X4,X5,X6,X7,X8,Y1\n", ""])
def test_a_table_with_the_numbers_of_its_rows_is_refused(empty, energy, header, first):
    order = np.random.default_rng(0).permutation(768) + first
    lines = "\n".join(f"{number}," + ",".join(map(str, row[:9])) for number, row in zip(order, energy, strict=True))
    (empty / "energy.csv").write_text(header + lines)
    with pytest.raises(ValueError, match=r"energy\.csv: expected the first input .*, got the rows' numbers"):
        uci("energy")


def test_energy_without_its_file_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("SNN_NTK_DATA", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match=r"put UCI's ENB2012_data.xlsx into"):
        uci("energy")


def _text(table):
    return "\n".join("\t".join(map(str, row)) for row in table).encode()


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(_text(np.ones((1503, 6))))[:-40],
        b"PK\x03\x04 no workbook",
        _text(np.ones((1503, 6)))[:-1] + b"x",
        _text(np.ones((1502, 6))),
        _text(np.ones((1503, 5))),
        _text(np.ones((1503, 6))) + b"\n1\t2",
        _text(np.full((1503, 6), np.nan)),
        b"",
        b"\xff\xfe\x00",
    ],
    ids=["truncated", "workbook", "letter", "row", "column", "ragged", "nan", "empty", "bytes"],
)
def test_a_damaged_or_wrong_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "airfoil_self_noise.dat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"airfoil_self_noise.dat: expected"):
        read_table(path, "airfoil")


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"expected one of .*'airfoil'.* got 'boston'"):
        uci("boston")
