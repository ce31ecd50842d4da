"""Data files that are not what they should be: one error that names the file, what was expected and what came."""

import gzip
import io
import logging
import os
import pickle
import struct
import sys
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import openpyxl
import pytest
import scipy.io
from PIL import Image

from snn_ntk import datasets
from snn_ntk.datasets.uci import read_table

MNIST, CIFAR, DSPRITES, CARS, CELEBA = (
    sys.modules[f"snn_ntk.datasets.{name}"] for name in ("mnist", "cifar", "dsprites", "cars3d", "celeba")
)
MEGABYTE = 2**20


@pytest.fixture
def refused(empty):
    """Calls something that must end in one short ValueError with these words, and must leave the folder as it is."""

    def check(call, file, *words):
        before = sorted(empty.rglob("*"))
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="expected") as caught:
                call()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        message = str(caught.value)
        assert all(word in message for word in (file, "got", *words)), message
        assert len(message.splitlines()) == 1
        assert len(message) < 700
        assert sorted(empty.rglob("*")) == before
        assert peak < 200 * MEGABYTE  # what the largest file here would unpack to is gigabytes

    return check


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def gzip_bomb(gigabytes):
    return gzip.compress(bytes(16 * MEGABYTE), 1) * (64 * gigabytes)


def declare(content, name, size):
    """A zip file whose directory says that a member unpacks to another size."""
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
    return content[: at + 24] + struct.pack("<I", size) + content[at + 28 :]


def not_a_file(kind, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("nowhere")}[kind]()


LOADERS = {
    "train-images-idx3-ubyte.gz": datasets.mnist,
    "data_batch_1.bin": datasets.cifar10,
    "cifar-10-binary.tar.gz": datasets.cifar10,
    CIFAR._FEATURES: datasets.cifar10_features,
    DSPRITES._FILE: datasets.dsprites,
    CARS._ARCHIVE: datasets.cars3d,
    "list_attr_celeba.txt": datasets.celeba,
    "ENB2012_data.xlsx": lambda: datasets.uci("energy"),
}


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
@pytest.mark.parametrize("name", LOADERS)
def test_something_else_under_the_name_of_a_file(refused, empty, name, kind):
    not_a_file(kind, empty / name)
    refused(LOADERS[name], name, "expected a file", "broken link" if kind == "link" else kind)


def test_a_file_beside_a_folder_of_its_other_name_is_read(empty, monkeypatch):
    monkeypatch.setattr(MNIST, "_COUNTS", {"train": (1,) * 4 + (0,) * 6})
    for part, array in (("images-idx3", np.ones((4, 28, 28))), ("labels-idx1", np.arange(4))):
        (empty / f"train-{part}-ubyte").mkdir()  # so an archive on Kaggle unpacks
        (empty / f"train-{part.replace('-idx', '.idx')}-ubyte").write_bytes(idx(array))
    assert len(datasets.mnist().labels) == 4


# MNIST


def idx(array, shape=None):
    shape = np.shape(array) if shape is None else shape
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + array.astype(np.uint8).tobytes()


def black(images):
    images[7] = 0
    return idx(images)


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
DAMAGED_MNIST = {
    "fewer images": (IMAGES, lambda i, _: idx(i[:19]), "(19, 28, 28)"),
    "more images": (IMAGES, lambda i, _: idx(np.concatenate([i, i])), "(40, 28, 28)"),
    "no image": (IMAGES, lambda i, _: idx(i[:0]), "(0, 28, 28)"),
    "other pixels": (IMAGES, lambda i, _: idx(i[:, :14, :14]), "(20, 14, 14)"),
    "a black image": (IMAGES, lambda i, _: black(i), "number 7"),
    "labels in their place": (IMAGES, lambda _, y: idx(y), "IDX header 00000803"),
    "a header of billions": (IMAGES, lambda i, _: idx(i, (2**32 - 1,) * 3), "15680"),
    "a broken stream": (IMAGES, lambda i, _: bytes(200).join([gzip.compress(idx(i))[:200], b"\1" * 999]), "corrupt"),
    "gigabytes": (IMAGES, lambda *_: gzip_bomb(4), "more than 47,040,016 bytes"),
    "no label": (LABELS, lambda _, y: idx(y[:0]), "(0,)"),
    "fewer labels": (LABELS, lambda _, y: idx(y[:-1]), "(19,)"),
    "labels above 9": (LABELS, lambda _, y: idx(y + 1), "up to 10"),
    "another share of digits": (LABELS, lambda _, y: idx(np.maximum(y, 1)), "got (0, 4, 2"),
    "text": (LABELS, lambda *_: b"0\n1\n2\n", "IDX header"),
    "a pickle": (LABELS, lambda _, y: pickle.dumps(y), "IDX header"),
}


@pytest.mark.parametrize("damage", DAMAGED_MNIST)
def test_damaged_mnist(refused, empty, monkeypatch, damage):
    monkeypatch.setattr(MNIST, "_COUNTS", {"train": (2,) * 10})
    images, labels = np.random.default_rng(0).integers(1, 255, (20, 28, 28)), np.arange(20) % 10
    (empty / IMAGES).write_bytes(idx(images))
    (empty / LABELS).write_bytes(idx(labels))
    datasets.mnist()
    name, change, words = DAMAGED_MNIST[damage]
    (empty / name).write_bytes(change(images, labels))
    refused(datasets.mnist, name, words)


# CIFAR-10


@pytest.fixture
def cifar(empty, monkeypatch):
    monkeypatch.setattr(CIFAR, "_PER_FILE", 4)
    return empty


DAMAGED_BATCHES = {
    "an image less": (bytes(3 * 3073), "expected CIFAR-10's 4 images", "got 3"),
    "an image more": (bytes(5 * 3073), "more than 12292 bytes".replace("12292", "12,292")),
    "half an image": (bytes(4 * 3073 - 9), "whole number of 3073-byte records"),
    "a label of 10": (b"\x0a" + bytes(4 * 3073 - 1), "got 10"),
    "gigabytes": (gzip_bomb(1), "more than 12,292 bytes"),
}


@pytest.mark.parametrize("damage", DAMAGED_BATCHES)
def test_damaged_batches(refused, cifar, damage):
    content, *words = DAMAGED_BATCHES[damage]
    (cifar / "test_batch.bin").write_bytes(bytes(4 * 3073))
    assert len(datasets.cifar10(split="test").labels) == 4
    (cifar / "test_batch.bin").write_bytes(content)
    refused(lambda: datasets.cifar10(split="test"), str(cifar / "test_batch.bin"), *words)


def tar_of(name, content, size=None, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content) if size is None else size, "/etc/hostname"
    return info.tobuf() + content + bytes(-len(content) % 512 + 1024)


DAMAGED_ARCHIVES = {
    "another file": (gzip.compress(tar_of("data_batch_1.bin", bytes(4 * 3073))), "no test_batch.bin"),
    "a link": (gzip.compress(tar_of("test_batch.bin", b"", 0, tarfile.SYMTYPE)), "no test_batch.bin"),
    "a member of a terabyte": (gzip.compress(tar_of("test_batch.bin", b"", 2**32)), "4,294,967,296 bytes"),
    "gigabytes": (gzip_bomb(4), ""),
    "a member before it of gigabytes": (gzip.compress(tar_of("x", b"", 2**32)) + gzip_bomb(4), "more than"),
    "no archive": (b"<html>not found</html>", ""),
    "cut off": (gzip.compress(tar_of("test_batch.bin", bytes(4 * 3073)))[:-20], "corrupt"),
}


@pytest.mark.parametrize("damage", DAMAGED_ARCHIVES)
def test_damaged_archives_of_cifar(refused, cifar, damage):
    content, *words = DAMAGED_ARCHIVES[damage]
    (cifar / "cifar-10-binary.tar.gz").write_bytes(content)
    refused(lambda: datasets.cifar10(split="test"), "cifar-10-binary.tar.gz", *words)


FEATURES = {
    "train": np.ones((3, 5), np.float32),
    "train_labels": np.arange(3),
    "test": np.ones((2, 5), np.float32),
    "test_labels": np.arange(2),
}
DAMAGED_FEATURES = {
    "fewer images": ({"train": np.ones((2, 5))}, "train has dtype float64 and shape (2, 5)"),
    "other features": ({"train": np.ones((3, 4)), "test": np.ones((2, 4))}, "(3, 4)"),
    "0-d": ({"test": np.array(1.0)}, "test has dtype float64 and shape ()"),
    "0-d labels": ({"test_labels": np.array(1)}, "shape ()"),
    "text": ({"test": np.full((2, 5), "a")}, "test has dtype <U1"),
    "labels in words": ({"train_labels": np.array(["cat"] * 3)}, "train_labels has dtype <U3"),
    "labels as fractions": ({"train_labels": np.arange(3.0)}, "train_labels has dtype float64"),
    "labels above 9": ({"train_labels": np.arange(8, 11)}, "from 8 to 10"),
    "negative labels": ({"train_labels": np.arange(-1, 2)}, "from -1 to 1"),
    "complex": ({"test": np.ones((2, 5), complex)}, "complex128"),
    "NaN": ({"train": np.full((3, 5), np.nan, np.float32)}, "train has 15 numbers that are not finite"),
    "too large for float32": ({"test": np.full((2, 5), 1e39)}, "test has 10 numbers"),
    "times": ({"test": np.zeros((2, 5), "M8[s]")}, "datetime64"),
}


def npz(arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays, allow_pickle=True)
    return stream.getvalue()


@pytest.fixture
def features(empty, monkeypatch):
    monkeypatch.setattr(CIFAR, "_FEATURE_SHAPES", {name: array.shape for name, array in FEATURES.items()})
    return empty / CIFAR._FEATURES


@pytest.mark.parametrize("damage", DAMAGED_FEATURES)
def test_damaged_features(refused, features, damage):
    changed, *words = DAMAGED_FEATURES[damage]
    features.write_bytes(npz(FEATURES))
    assert datasets.cifar10_features().train.shape == (3, 5)
    features.write_bytes(npz(FEATURES | changed))
    refused(datasets.cifar10_features, CIFAR._FEATURES, *words)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def test_features_in_other_files(refused, features, tmp_path):
    trap = Trap(tmp_path / "unpickled")
    whole = npz(FEATURES)
    header = npy(FEATURES["train"])[:128]
    for content in (
        npy(FEATURES["train"]),
        pickle.dumps(trap),
        npy(np.array([trap], dtype=object)),
        npz(FEATURES | {"train": np.array([trap], dtype=object)}),
        npz({"train": FEATURES["train"]}),
        whole[:-30],
        whole.replace(b"(3, 5)", b"(9, 5)"),
        whole.replace(b"(3, 5)", b"((((( "),
        whole.replace(b"{'descr'", b"['descr'"),
        whole.replace(header, header.replace(b"(3, 5)", b"(3,10)")),
        declare(whole, "train.npy", 2**31),
        b"",
    ):
        features.write_bytes(content)
        refused(datasets.cifar10_features, CIFAR._FEATURES)
    assert not trap.path.exists()


# dSprites


@pytest.fixture
def dsprites(empty, monkeypatch):
    sizes = (1, 3, 2, 4, 2, 3)
    monkeypatch.setattr(DSPRITES, "_SIZES", sizes)
    monkeypatch.setattr(DSPRITES, "_CHUNK", 50)
    count = int(np.prod(sizes))
    arrays = {
        "imgs": np.random.default_rng(0).integers(0, 2, (count, 64, 64), dtype=np.uint8),
        "latents_classes": np.stack(np.unravel_index(np.arange(count), sizes), axis=1),
        "metadata": np.array([Trap(empty / "unpickled")], dtype=object),  # the official file has pickled words there
    }
    (empty / DSPRITES._FILE).write_bytes(npz(arrays))
    return empty, arrays["imgs"]


def write(content):
    return lambda path: path.write_bytes(content(path.read_bytes()))


DAMAGED_CACHES = {
    "truncated": write(lambda whole: whole[:-5000]),
    "without its digest": write(lambda whole: whole[:-32]),
    "empty": write(lambda _: b""),
    "of ten images": write(lambda _: npy(np.zeros((10, 512), np.uint8))),
    "a bit that flipped": write(lambda whole: whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]),
    "all zero": write(lambda whole: bytes(len(whole))),
    "a header that flipped": write(lambda whole: whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]),
}


@pytest.mark.parametrize("damage", DAMAGED_CACHES)
def test_a_damaged_cache_of_dsprites_is_made_again(dsprites, caplog, damage):
    folder, images = dsprites
    datasets.dsprites()
    (cache,) = (folder / "cache" / "dsprites").iterdir()
    whole = cache.read_bytes()
    DAMAGED_CACHES[damage](cache)
    for _ in range(2):  # the second time it is whole
        found = datasets.dsprites().pixels(np.arange(len(images)))
        np.testing.assert_array_equal(found[..., 0], images * 255)
        assert cache.read_bytes() == whole
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert str(cache) in said.getMessage()
    assert not (folder / "unpickled").exists()


def test_a_cache_that_cannot_be_written_is_the_caches_error(dsprites):
    folder, _ = dsprites
    datasets.dsprites()
    (cache,) = (folder / "cache" / "dsprites").iterdir()
    cache.unlink()
    cache.mkdir()
    with pytest.raises(OSError, match=rf"{cache.name}: expected to unpack .* bytes into it, got"):
        datasets.dsprites()
    assert list(cache.parent.iterdir()) == [cache]


@pytest.mark.parametrize("member", ["imgs.npy", "latents_classes.npy"])
def test_gigabytes_in_dsprites(refused, dsprites, member):
    path = dsprites[0] / DSPRITES._FILE
    path.write_bytes(declare(path.read_bytes(), member, 2**31))
    refused(datasets.dsprites, DSPRITES._FILE, "2,147,483,")


# Cars3D


def mesh(image, *, compressed=False, **others):
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"im": image} | others, do_compression=compressed)
    return stream.getvalue()


@pytest.fixture
def cars(empty, monkeypatch):
    monkeypatch.setattr(CARS, "_SIZES", (2, 3, 1))
    (empty / "cars").mkdir()
    return empty / "cars", np.random.default_rng(0).integers(0, 256, (128, 128, 3, 3, 2), dtype=np.uint8)


def test_other_arrays_beside_it_do_not_matter(cars):
    folder, image = cars
    results = []
    for content in (
        mesh(image),
        mesh(image, compressed=True),
        mesh(image, a=np.eye(3), b="words", c={"d": 1}, e=[[1, "x"]], compressed=True),
    ):
        (folder / "car_001_mesh.mat").write_bytes(content)
        data = datasets.cars3d()
        assert data.name == "Cars3D"
        results.append(data.pixels(np.arange(6)))
    assert all(np.array_equal(results[0], each) for each in results)


def compressed_element(content):
    packed = zlib.compress(content)
    return bytes(124) + b"\0\1IM" + struct.pack("<II", 15, len(packed)) + packed


DAMAGED_MESHES = {
    "another type": (lambda image: mesh(image.astype(float)), "kind 6"),
    "another shape": (lambda image: mesh(image[1:]), "(127, 128, 3, 3, 2)"),
    "another name": (lambda image: mesh(image).replace(b"im\0\0", b"mi\0\0", 1), "no array im"),
    "words": (lambda _: mesh("words"), ""),
    "a structure": (lambda _: mesh({"a": 1}), ""),
    "complex": (lambda _: mesh(np.ones((2, 2), complex)), ""),
    "half": (lambda image: mesh(image)[:1000], "ends early"),
    "half of a compressed one": (lambda image: mesh(image, compressed=True)[:1000], "ends early"),
    "a broken stream": (lambda image: mesh(image, compressed=True)[:200] + b"\1" * 10**6, ""),
    "gigabytes": (lambda _: compressed_element(bytes(80 * MEGABYTE)), "more than 67,108,864 bytes"),
    "an element of gigabytes": (lambda image: mesh(image)[:132] + b"\xff\xff\xff\x7f" + bytes(99), "ends early"),
    "another version": (lambda image: mesh(image)[:124] + b"\0\2IM", "version 5"),
    "a web page": (lambda _: b"<html></html>" * 99, "version 5"),
}


@pytest.mark.parametrize("damage", DAMAGED_MESHES)
def test_damaged_meshes(refused, cars, damage):
    folder, image = cars
    content, *words = DAMAGED_MESHES[damage]
    (folder / "car_001_mesh.mat").write_bytes(content(image))
    refused(datasets.cars3d, "car_001_mesh.mat", *words)


@pytest.mark.parametrize("compressed", [False, True])
def test_garbled_meshes_give_an_error_or_an_image(cars, compressed):
    """SciPy's reader crashed the process on some of them."""
    _, image = cars
    whole, rng = mesh(image, compressed=compressed), np.random.default_rng(0)
    refusals = 0
    for _ in range(300):
        content = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, rng.choice([250, len(content)]), 4)
        content[places] = rng.choice([0, 255, *rng.integers(0, 256, 2)], 4)
        try:
            found = CARS._image(content.tobytes())
        except (ValueError, struct.error, zlib.error):
            refusals += 1
        else:
            assert np.count_nonzero(np.ravel(found, "K") != np.ravel(image, "F")) <= 4
    assert refusals > 30


def test_a_folder_for_a_mesh_and_an_archive_of_gigabytes(refused, cars):
    folder, _ = cars
    (folder / "car_001_mesh.mat").mkdir()
    refused(datasets.cars3d, "car_001_mesh.mat", "a folder")
    content = gzip.compress(tar_of("data/car_001_mesh.mat", b"", 2**32))
    (folder.parent / CARS._ARCHIVE).write_bytes(content)
    refused(datasets.cars3d, CARS._ARCHIVE, "4,294,967,296 bytes")


# CelebA

ATTRIBUTES = "1\nSmiling\n000001.jpg -1\n"


def picture(pixels=None, kind="JPEG"):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((218, 178, 3), np.uint8) if pixels is None else pixels).save(stream, kind)
    return stream.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(side):
    """A PNG that says it has side × side pixels in colour."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


DAMAGED_PICTURES = {
    "a png of 192 megabytes": (png_of(8_000), "8000 × 8000 pixels"),
    "a png of gigabytes": (png_of(60_000), "pixels"),
    "a large file": (picture() + bytes(10**6), "more than 1,000,000 bytes"),
    "another format": (picture(kind="GIF"), "cannot identify"),
    "another size": (picture(np.zeros((178, 218, 3), np.uint8)), "218 × 178 pixels"),
    "a script for a printer": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 178 218\n", "cannot identify"),
    "half": (picture()[:800], "truncated"),
}


def write_pictures(folder, kind, content):
    if kind == "folder":
        (folder / "img_align_celeba").mkdir()
        (folder / "img_align_celeba" / "000001.jpg").write_bytes(content)
    else:
        with zipfile.ZipFile(folder / "img_align_celeba.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("img_align_celeba/000001.jpg", content)


@pytest.fixture
def faces(empty, monkeypatch):
    monkeypatch.setattr(CELEBA, "_COUNT", 1)
    (empty / "list_attr_celeba.txt").write_text(ATTRIBUTES)
    return empty


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("damage", DAMAGED_PICTURES)
@pytest.mark.filterwarnings("ignore:Image size")  # Pillow's own word, before the error
def test_damaged_pictures(refused, faces, damage, kind):
    content, *words = DAMAGED_PICTURES[damage]
    if damage == "a large file" and kind == "zip":
        words = ["more than 1,000,000"]
    write_pictures(faces, kind, content)
    data = datasets.celeba()
    refused(lambda: data.pixels([0]), "000001.jpg", *words)


def damaged_zip(change):
    return lambda content: bytes(change(bytearray(content)))


def break_stream(content):
    content[80:180] = b"\xff" * 100
    return content


def encrypt(content):
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    return content


def other_method(content):
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(signature) + offset] = 97
    return content


def less_than_there_is(content):
    return declare(bytes(content), "000001.jpg", 100)


@pytest.mark.parametrize("change", [break_stream, encrypt, other_method, less_than_there_is])
def test_damaged_members_of_a_zip_file(refused, faces, change):
    write_pictures(faces, "zip", picture(np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)))
    data = datasets.celeba()
    data.pixels([0])
    path = faces / "img_align_celeba.zip"
    path.write_bytes(change(bytearray(path.read_bytes())))
    refused(lambda: datasets.celeba().pixels([0]), "000001.jpg")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_no_file_under_the_name_of_a_picture(refused, faces, kind):
    not_a_file(kind, faces / "img_align_celeba" / "000001.jpg")
    data = datasets.celeba()
    refused(lambda: data.pixels([0]), "000001.jpg", "a folder" if kind == "folder" else "no file")


@pytest.mark.parametrize(
    "content",
    [
        b"2\nSmiling\n000001.jpg -1\n000002.jpg 1\n",
        b"1\nSmiling\n000001.jpg -1\n000001.jpg -1\n",
        b"1\nSmiling\n000001.jpg 0\n",
        b"1\nSmiling\n000001.jpg " + b"1" * 10**6 + b"\n",
        b"1\nSmiling\n000001.jpg \xff\xfe\n",
        b"1\nSmiling Bangs\n000001.jpg 1\n",
        b"1" * 10_000 + b"\nSmiling\n000001.jpg -1\n",
        gzip_bomb(1),
        b"\n" * 10**6,
    ],
    ids=["rows", "twice", "zero", "long", "bytes", "column", "count", "gigabytes", "blank"],
)
def test_damaged_attributes(refused, faces, content):
    write_pictures(faces, "folder", picture())
    datasets.celeba()
    (faces / "list_attr_celeba.txt").write_bytes(content)
    refused(datasets.celeba, "list_attr_celeba.txt")


def test_a_table_that_ends_early_is_noticed_without_a_count(refused, faces):
    (faces / "list_attr_celeba.txt").unlink()
    (faces / "list_attr_celeba.csv").write_text("image_id,Smiling\n")
    write_pictures(faces, "folder", picture())
    refused(datasets.celeba, "list_attr_celeba.csv", "0 rows")


# Regression sets


def workbook(rows):
    book = openpyxl.Workbook()
    sheet = book.create_sheet("first", 0)
    for row in rows:
        sheet.append(list(row))
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def with_member(content, name, change):
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.namelist():
            new.writestr(member, change(old.read(member)) if member == name else old.read(member))
    return stream.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
TABLE = np.arange(1503 * 6.0).reshape(1503, 6)
BOOK = workbook(TABLE)
ENTITIES = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 50}">' for i in range(1, 12))
NESTED = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "lol">{ENTITIES}]><sst>&e11;</sst>'


def first(old, new):
    return lambda content: content.replace(old, new, 1)


DAMAGED_TABLES = {
    "nested entities": (with_member(BOOK, SHEET, lambda _: NESTED.encode()), "declares entities"),
    "nested entities in UTF-16": (with_member(BOOK, SHEET, lambda _: NESTED.encode("utf-16")), "not UTF-8"),
    "gigabytes": (declare(BOOK, SHEET, 2**31), "more than 100,000,000 bytes"),
    "a sheet that is no XML": (with_member(BOOK, SHEET, lambda content: content[:9999]), ""),
    "a row far down": (with_member(BOOK, SHEET, first(b'<row r="1503"', b'<row r="999999999"')), ""),
    "a cell far right": (with_member(BOOK, SHEET, first(b'r="F9"', b'r="ZZZ9"')), ""),
    "a hole, and a cell too many": (with_member(BOOK, SHEET, first(b'r="E9"', b'r="G9"')), ""),
    "a cell nowhere": (with_member(BOOK, SHEET, first(b'r="F9"', b'r="ZZZZZZZZ9"')), ""),
    "a word": (workbook([*TABLE[:-1].tolist(), [*TABLE[0, :5].tolist(), "word"]]), "word"),
    "no sheet": (with_member(BOOK, "xl/workbook.xml", lambda _: b"<workbook/>"), ""),
    "a million empty rows": (workbook([[None]] * 3), "(0,)"),
    "another zip file": (npz(FEATURES), ""),
    "a broken stream": (BOOK[:2000] + bytes(300) + BOOK[2300:], ""),
    "a field of megabytes": (b"1,2,3,4,5," + b"6" * 3 * MEGABYTE + b"\n", "field larger than field limit"),
    "a word of megabytes": (b"1 2 3 4 5 " + b"x" * 3 * MEGABYTE + b"\n", "could not convert"),
    "megabytes of one number": (b"1 2 3 4 5 " + b"9" * 3 * MEGABYTE + b"\n", ""),
    "gigabytes of text": (gzip_bomb(1), "more than 100,000,000 bytes"),
    "a row more": (b"1 2 3 4 5 6\n" * 1504, "shape (1504, 6)"),
    "a header and a row more": (b"a b c d e f\n" + b"1 2 3 4 5 6\n" * 1504, "shape (1504, 6)"),
    "thousands of rows more": (b"1 2 3 4 5 6\n" * 15_000, "shape (1505, 6)"),
    "infinity": (b"1 2 3 4 5 6\n" * 1502 + b"1 2 3 4 5 inf\n", "finite numbers, got 1"),
    "UTF-16": ("1 2 3 4 5 6\n".encode("utf-16") * 1503, ""),
    "a pickle": (pickle.dumps(TABLE), ""),
}


@pytest.mark.parametrize("damage", DAMAGED_TABLES)
def test_damaged_tables(refused, empty, damage):
    content, *words = DAMAGED_TABLES[damage]
    path = empty / "airfoil"
    path.write_bytes(content)
    refused(lambda: read_table(path, "airfoil"), str(path), *words)


def test_a_workbooks_word_for_its_size_does_not_count(tmp_path):
    content = with_member(BOOK, SHEET, first(b'ref="A1:F1503"', b'ref="A1:XFD1048576"'))
    assert content != with_member(BOOK, SHEET, bytes)
    (tmp_path / "airfoil").write_bytes(content)
    np.testing.assert_array_equal(read_table(tmp_path / "airfoil", "airfoil"), TABLE)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_no_file_under_the_name_of_a_table(refused, empty, kind):
    not_a_file(kind, empty / "airfoil")
    refused(lambda: read_table(empty / "airfoil", "airfoil"), "airfoil", "a folder" if kind == "folder" else "no file")


@pytest.mark.parametrize("column", [0, 5])
def test_a_column_that_does_not_vary_is_not_divided_by_its_spread(column):
    x, y = np.random.default_rng(0).normal(size=(10, 5)), np.arange(10.0)
    (x.T[column] if column < 5 else y)[:] = 0.1
    with pytest.raises(ValueError, match="expected inputs and target that vary over the training part of here"):
        datasets.split(datasets.Regression(x, y, "here"))
