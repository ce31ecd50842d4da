"""dSprites: the rendered grid, and files in the official format (small ones written here)."""

import sys
import zipfile

import numpy as np
import pytest

from snn_ntk.datasets import dsprites as load

module = sys.modules[load.__module__]


@pytest.fixture
def rendered(empty):
    return load()


def shapes(data, **levels):
    """The images of one point of the grid but for one factor, over which they run."""
    (free,) = [name for name, level in levels.items() if level is None]
    size = data.factor_sizes[data.factor_names.index(free)]
    factors = [np.arange(size) if levels[name] is None else np.full(size, levels[name]) for name in data.factor_names]
    return data.pixels(data.indices(np.stack(factors, axis=1)))[..., 0].astype(int)


def point(**changes):
    return {"colour": 0, "shape": 0, "scale": 5, "orientation": 0, "posX": 16, "posY": 16} | changes


def test_the_grid_is_the_official_one(rendered):
    assert rendered.name == "dSprites (re-rendered)"
    assert rendered.factor_sizes == (1, 3, 6, 40, 32, 32)
    assert len(rendered) == 737_280
    assert set(np.unique(rendered.pixels(np.arange(0, 737_280, 7919)))) == {0, 255}


@pytest.mark.parametrize(("factor", "axis"), [("posX", 2), ("posY", 1)])
def test_positions_are_one_pixel_apart_and_never_cut_the_shape(rendered, factor, axis):
    for shape in range(3):
        images = shapes(rendered, **point(shape=shape, orientation=7, **{factor: None}))
        for place, image in enumerate(images):
            np.testing.assert_array_equal(image, np.roll(images[0], place, axis - 1))
        assert not images[:, [0, -1]].any()
        assert not images[:, :, [0, -1]].any()


def test_areas_grow_as_the_square_of_the_scale(rendered):
    for shape in range(3):
        areas = shapes(rendered, **point(shape=shape, scale=None)).sum(axis=(1, 2)) / 255
        # Thresholding errs by a share of the outline's pixels, at most 2·18 + 2·18 at the largest scale.
        np.testing.assert_allclose(areas, areas[-1] * np.linspace(0.5, 1, 6) ** 2, atol=20)


def test_orientations_run_from_0_to_2_pi_both_included(rendered):
    for shape in range(3):
        images = shapes(rendered, **point(shape=shape, orientation=None))
        np.testing.assert_array_equal(images[0], images[-1])
        assert (images[0] != images[1]).any()
        assert (images[1:20] != images[2:21]).any(axis=(1, 2)).all()


def test_symmetries_of_square_and_ellipse(rendered):
    # The steps of 2π/39 do not divide the periods, so an orientation is compared with the two nearest to a period later.
    def differing(shape, turn):
        images = shapes(rendered, **point(shape=shape, orientation=None)) / 255
        step = turn * 39
        below = images[: 39 - int(np.ceil(step)) + 1]
        after = [images[int(np.floor(step)) :][: len(below)], images[int(np.ceil(step)) :][: len(below)]]
        return min(abs(below - other).sum(axis=(1, 2)).mean() for other in after) / images[0].sum()

    assert differing(0, 1 / 4) < 0.1 < differing(0, 1 / 8)
    assert differing(1, 1 / 2) < 0.1 < differing(1, 1 / 4)
    assert differing(2, 1 / 2) > 0.1 < differing(2, 1 / 4)


def write_official(path, imgs, classes, **others):
    np.savez_compressed(path, imgs=imgs, latents_classes=classes, metadata=np.array({"pickled": 1}), **others)


@pytest.fixture
def official(empty, monkeypatch):
    sizes = (1, 3, 2, 4, 2, 3)
    monkeypatch.setattr(module, "_SIZES", sizes)
    monkeypatch.setattr(module, "_CHUNK", 50)
    count = int(np.prod(sizes))
    imgs = np.random.default_rng(0).integers(0, 2, (count, 64, 64), dtype=np.uint8)
    classes = np.stack(np.unravel_index(np.arange(count), sizes), axis=1)
    path = empty / module._FILE
    write_official(path, imgs, classes)
    return path, imgs, classes


def test_the_official_file_is_used(official):
    _, imgs, classes = official
    for _ in range(2):  # unpacked, then from the cache
        data = load()
        assert (data.name, data.source) == ("dSprites", "dSprites, official file")
        np.testing.assert_array_equal(data.pixels(np.arange(len(imgs)))[..., 0], imgs * 255)
        np.testing.assert_array_equal(data.factors(np.arange(len(imgs))), classes)
    few = data.restrict(orientation=2, posY=[2])
    np.testing.assert_array_equal(few.pixels(np.array([1]))[0, ..., 0], 255 * imgs[5])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[2000] ^= 255
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p, i, c: p.write_bytes(p.read_bytes()[:-500]), "not a zip file"),
        (lambda p, i, c: flip_a_byte(p), "got a corrupt"),
        (lambda p, i, c: p.write_bytes(b""), "not a zip file"),
        (lambda p, i, c: write_official(p, i, c[::-1]), "not the grid of factors in order"),
        (lambda p, i, c: write_official(p, i, c[:-1]), "latents_classes has shape"),
        (lambda p, i, c: write_official(p, i[:-1], c), "imgs has shape"),
        (lambda p, i, c: write_official(p, i * 2, c), "a pixel of 2"),
        (lambda p, i, c: write_official(p, np.array([{}]), c), "dtype object"),
        (lambda p, i, c: np.savez(p, other=c), "no item named"),
    ],
)
def test_damaged_files_give_one_clear_error(official, damage, message):
    damage(*official)
    with pytest.raises(ValueError, match=f"(?s)expected the official dSprites file.*{message}"):
        load()
    assert not list(official[0].parent.glob("cache/dsprites/*"))


def test_images_that_end_early_are_noticed(official):
    path, imgs, _ = official
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["imgs.npy"] = members["imgs.npy"][: -imgs[0].size]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"imgs has .* bytes where its shape"):
        load()


def test_failed_download_says_what_to_put_where(empty, monkeypatch):
    monkeypatch.setattr(module, "_URL", "http://localhost:9/")
    with pytest.raises(FileNotFoundError, match=rf"{module._FILE} is not on disk.*put the file into"):
        load(download=True)
