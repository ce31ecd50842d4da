"""CIFAR-10 from small files in the official binary format, written here; features from a file and from random patches."""

import io
import sys
import tarfile

import jax
import numpy as np
import pytest

from snn_ntk.datasets.cifar import cifar10, cifar10_features, convolutional_features, read_cifar

module = sys.modules[cifar10.__module__]
NAMES = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]


def batch(seed, count=4):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.integers(0, 10, (count, 1)), rng.integers(0, 256, (count, 3072))], 1).astype(np.uint8)


@pytest.fixture
def folder(empty, monkeypatch):
    monkeypatch.setattr(module, "_PER_FILE", 4)
    shapes = {"train": (3, 5), "train_labels": (3,), "test": (2, 5), "test_labels": (2,)}
    monkeypatch.setattr(module, "_FEATURE_SHAPES", shapes)
    (empty / "cifar10").mkdir()
    return empty / "cifar10"


def write_archive(path, names=NAMES):
    with tarfile.open(path, "w:gz") as tar:
        for i, name in enumerate(names):
            content = batch(i).tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_records_are_one_colour_after_another():
    record = np.zeros(3073, np.uint8)
    record[0], record[1], record[1 + 1024 + 33] = 3, 200, 100  # red of the first pixel, green of row 1, column 1
    images, labels = read_cifar(record.tobytes())
    assert labels.tolist() == [3]
    assert images[0, 0, 0].tolist() == [200, 0, 0]
    assert images[0, 1, 1].tolist() == [0, 100, 0]


@pytest.mark.parametrize("layout", ["loose", "unpacked", "archive"])
def test_official_files_wherever_they_lie(folder, layout):
    if layout == "archive":
        write_archive(folder / "cifar-10-binary.tar.gz")
    else:
        place = folder if layout == "loose" else folder / "cifar-10-batches-bin"
        place.mkdir(exist_ok=True)
        for i, name in enumerate(NAMES):
            (place / name).write_bytes(batch(i).tobytes())
    train, test = cifar10(), cifar10(3, split="test")
    assert train.images.shape == (20, 3072)
    assert test.images.shape == (3, 3072)
    assert train.source == "CIFAR-10 train set, official files"
    expected, _ = read_cifar(np.concatenate([batch(i) for i in range(5)]).tobytes())
    found = {row.tobytes() for row in (train.images * 255).round().astype(np.uint8)}
    assert found == {image.tobytes() for image in expected.reshape(20, -1)}


def test_the_named_folder_comes_before_the_cache_and_batches_are_not_mixed(folder):
    cache = folder.parent / "cache"
    cache.mkdir()
    for i, name in enumerate(NAMES):
        (cache / name).write_bytes(batch(i + 10).tobytes())
    write_archive(folder / "cifar-10-binary.tar.gz")
    expected, _ = read_cifar(batch(5).tobytes())
    found = (cifar10(split="test").images * 255).round().astype(np.uint8)
    assert {row.tobytes() for row in found} == {image.tobytes() for image in expected}
    (folder / "cifar-10-binary.tar.gz").unlink()
    (folder / NAMES[0]).write_bytes(batch(0).tobytes())
    expected, _ = read_cifar(np.concatenate([batch(i + 10) for i in range(5)]).tobytes())
    found = (cifar10().images * 255).round().astype(np.uint8)
    assert {row.tobytes() for row in found} == {image.tobytes() for image in expected}


def test_missing_files_name_what_to_put_where(folder):
    with pytest.raises(FileNotFoundError, match=r"cifar-10-binary.tar.gz.*data_batch_1.bin.*cifar10"):
        cifar10()
    with pytest.raises(FileNotFoundError, match=r"cifar10-resnet18-features.npz"):
        cifar10_features()


def test_damaged_archives(folder):
    path = folder / "cifar-10-binary.tar.gz"
    write_archive(path, NAMES[1:])
    with pytest.raises(ValueError, match=r"tar\.gz: expected .* \(no data_batch_1\.bin\)"):
        cifar10()
    write_archive(path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match="corrupt"):
        cifar10()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "got 0 bytes"), (bytes(3072), "got 3072 bytes"), (bytes([10]) + bytes(3072), "got 10")],
)
def test_damaged_records(content, message):
    with pytest.raises(ValueError, match=message):
        read_cifar(content)


def test_bad_arguments(folder):
    for i, name in enumerate(NAMES):
        (folder / name).write_bytes(batch(i).tobytes())
    with pytest.raises(ValueError, match="'train' or 'test'"):
        cifar10(split="valid")
    with pytest.raises(ValueError, match="at most 20 images"):
        cifar10(21)


def test_precomputed_features(folder):
    path = folder / "cifar10-resnet18-features.npz"
    arrays = dict(train=np.ones((3, 5)), train_labels=np.arange(3), test=np.ones((2, 5)), test_labels=np.arange(2))
    np.savez(path, **arrays)
    features = cifar10_features()
    assert features.train.shape == (3, 5)
    assert "ResNet-18" in features.source
    np.savez(path, **(arrays | {"test_labels": np.arange(3)}))
    with pytest.raises(ValueError, match=r"test_labels has dtype int64 and shape \(3,\)"):
        cifar10_features()
    np.savez(path, **(arrays | {"train": np.array([{}], dtype=object)}), allow_pickle=True)
    with pytest.raises(ValueError, match=r"expected arrays of the shapes .* corrupt or different"):
        cifar10_features()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"expected arrays of the shapes .* corrupt or different"):
        cifar10_features()


def test_random_convolutional_features():
    rng = np.random.default_rng(0)
    pixels = rng.random((300, 100), dtype=np.float32)
    features = convolutional_features(jax.random.key(0), pixels, pixels, filters=3, patch=3, side=10)
    assert features.shape == (300, 24)
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(0), 1, atol=1e-3)
    # the same filters and scales for images that are not the reference
    again = convolutional_features(jax.random.key(0), pixels[:7], pixels, filters=3, patch=3, side=10)
    np.testing.assert_allclose(again, features[:7], atol=1e-4)
    with jax.enable_x64(True):
        wide = convolutional_features(jax.random.key(0), pixels, pixels, filters=3, patch=3, side=10)
    np.testing.assert_allclose(wide, features, atol=1e-4)
    # The largest patch has two responses along a side, one for each quarter.
    assert np.isfinite(convolutional_features(jax.random.key(0), pixels, pixels, filters=3, patch=9, side=10)).all()
    for patch in (1, 10, 11):
        with pytest.raises(ValueError, match=f"a patch with a side from 2 to 9, got {patch}"):
            convolutional_features(jax.random.key(0), pixels, pixels, patch=patch, side=10)
    with pytest.raises(ValueError, match="10 × 10"):
        convolutional_features(jax.random.key(0), pixels[:, :99], pixels[:, :99], side=10)
