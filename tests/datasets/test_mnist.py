"""MNIST from official files (small ones written here) and from the packaged subset."""

import gzip
import sys

import numpy as np
import pytest

from snn_ntk.datasets import mnist
from snn_ntk.datasets.mnist import read_idx

module = sys.modules[mnist.__module__]


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "_COUNTS", {"train": (2,) * 10, "test": (2,) * 10})


@pytest.fixture
def official(small, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(1, 255, (20, 28, 28)), np.arange(20) % 10
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    monkeypatch.setenv("SNN_NTK_DATA", str(tmp_path))
    return folder, images, labels


def test_official_files_are_used(official):
    _, images, labels = official
    data = mnist(unit_norm=False)
    assert data.source == "MNIST train set, official files"
    order = [
        int(np.flatnonzero((images.reshape(20, -1) / 255 - row).__abs__().max(1) < 1e-6)[0]) for row in data.images
    ]
    assert sorted(order) == list(range(20))
    np.testing.assert_array_equal(data.labels, labels[order])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-40], "corrupt"),
        (lambda b: gzip.compress(gzip.decompress(b)[:-5]), "expected 15680 values"),
        (lambda b: gzip.compress(b"\0\0\x08\x01" + gzip.decompress(b)[4:]), "IDX header 00000803"),
        (lambda b: b"", "IDX header"),
    ],
)
def test_damaged_files_give_one_clear_error(official, damage, message):
    path = official[0] / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        mnist()


def test_a_label_for_every_image(official):
    (official[0] / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(3))))
    with pytest.raises(ValueError, match=r"train-labels.*set of shape \(20,\), got shape \(3,\)"):
        mnist()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("hyphen", ["-", "."])
@pytest.mark.parametrize("inside", ["mnist", ".", "MNIST/raw", "mnist/MNIST/raw", "mnist/raw"])
def test_every_usual_name_and_folder_is_read(small, empty, inside, hyphen, compressed):
    folder, pack = empty / inside, gzip.compress if compressed else bytes
    folder.mkdir(parents=True, exist_ok=True)
    for part, array in (("images-idx3", np.ones((20, 28, 28))), ("labels-idx1", np.arange(20) % 10)):
        name = f"train-{part}-ubyte".replace("-idx", f"{hyphen}idx") + (".gz" if compressed else "")
        (folder / name).write_bytes(pack(idx_bytes(array)))
    assert mnist().source == "MNIST train set, official files"


def test_the_named_folder_comes_before_the_cache_and_a_set_is_not_put_together_from_both(official, monkeypatch):
    folder, images, _ = official
    cache = folder.parent / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: cache)
    cache.mkdir()
    for name, array in (("train-images-idx3-ubyte", 255 - images), ("train-labels-idx1-ubyte", np.arange(20) % 10)):
        (cache / name).write_bytes(idx_bytes(array))
    raw = folder.parent / "MNIST" / "raw"  # as torchvision has them
    raw.parent.mkdir()
    folder.rename(raw)
    np.testing.assert_allclose(mnist(unit_norm=False).images.sum(), images.sum() / 255, rtol=1e-5)
    (raw / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match=r"train images and labels in one folder, got .*MNIST/raw/.* and .*cache/"):
        mnist()


def test_a_fallback_is_said_once_to_who_has_named_a_folder(empty, monkeypatch, caplog):
    for _ in range(2):
        mnist(1)
    (said,) = caplog.messages
    assert f"in {empty}" in said
    assert "train-images-idx3-ubyte.gz" in said
    assert "5,000-image subset" in said
    monkeypatch.delenv("SNN_NTK_DATA")
    mnist(1, split="test")
    assert len(caplog.messages) == 1


def test_files_that_are_half_there_or_of_another_data_set_are_refused(official, monkeypatch):
    labels = official[0] / "train-labels-idx1-ubyte.gz"
    with pytest.raises(ValueError, match=r"got no t10k-images-idx3-ubyte\.gz beside .*train-images"):
        mnist(split="test")
    labels.write_bytes(gzip.compress(idx_bytes(np.arange(20) + 7)))
    with pytest.raises(ValueError, match=r"train-labels.*labels, 0 to 9, got up to 26: a file of EMNIST"):
        mnist()
    labels.write_bytes(gzip.compress(idx_bytes(np.arange(20) % 9)))
    with pytest.raises(ValueError, match=r"train-labels.*\(2, .* of each digit, got \(3, 3, .* 0\): another data set"):
        mnist()
    labels.unlink()
    with pytest.raises(ValueError, match=r"got no train-labels-idx1-ubyte\.gz beside .*train-images"):
        mnist()
    monkeypatch.setenv("SNN_NTK_DATA", str(official[0] / "mistyped"))
    with pytest.raises(
        FileNotFoundError, match=r"expected SNN_NTK_DATA to name a folder that exists, got '.*mistyped'"
    ):
        mnist()


@pytest.mark.parametrize("classes", [3, (10,), (), (0.5,), "3", (0, 11)])
def test_classes_that_are_no_digits_are_refused(packaged, unchecked, classes):
    with pytest.raises(ValueError, match="expected classes as digits"):
        mnist(classes=classes)


def test_uncompressed_files_are_read(tmp_path):
    (tmp_path / "a").write_bytes(idx_bytes(np.arange(6)))
    np.testing.assert_array_equal(read_idx(tmp_path / "a", 1), np.arange(6))


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    monkeypatch.setenv("SNN_NTK_DATA", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: tmp_path)


def test_packaged_subset(packaged):
    train, test = mnist(unit_norm=False), mnist(split="test", unit_norm=False)
    assert train.images.shape == (4000, 784)
    assert test.images.shape == (1000, 784)
    assert "subset" in train.source
    assert {row.tobytes() for row in train.images}.isdisjoint(row.tobytes() for row in test.images)
    assert 0 <= train.images.min() < train.images.max() == 1
    assert np.bincount(train.labels).min() > 300


def test_order_norm_and_classes(packaged):
    data = mnist(64, classes=(3, 5), seed=1)
    np.testing.assert_allclose(np.linalg.norm(data.images, axis=1), 1, rtol=1e-5)
    assert set(data.labels) == {3, 5}
    np.testing.assert_array_equal(data.images, mnist(64, classes=(3, 5), seed=1).images)
    assert not np.array_equal(data.images, mnist(64, classes=(3, 5), seed=2).images)


@pytest.mark.parametrize(
    ("options", "message"), [({"n": 10**6}, "n = 1000000"), ({"split": "valid"}, "'valid'"), ({"side": 5}, "got 5")]
)
def test_bad_arguments(packaged, options, message):
    with pytest.raises(ValueError, match=message):
        mnist(**options)


@pytest.mark.parametrize(("options", "message"), [({"n": 3.0}, "n to be an integer"), ({"side": 7.0}, "side to be an")])
def test_numbers_of_another_kind(packaged, unchecked, options, message):
    with pytest.raises(TypeError, match=message):
        mnist(**options)


def test_failed_download_says_what_to_put_where(packaged, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_URL", "http://localhost:9/")
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz is not on disk.*put the file into"):
        mnist(download=True)


def test_averaging_keeps_the_mean_of_blocks(packaged):
    full, small = (mnist(3, unit_norm=False, side=side).images for side in (28, 7))
    assert small.shape == (3, 49)
    np.testing.assert_allclose(small[1, 8], full[1].reshape(28, 28)[4:8, 4:8].mean(), rtol=1e-5)
