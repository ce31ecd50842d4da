"""CelebA: the stand-in, and files in the official format (small ones written here)."""

import io
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from snn_ntk.datasets import celeba as load
from snn_ntk.datasets.stand_ins import drawn_faces

module = sys.modules[load.__module__]


@pytest.fixture
def drawn(empty):
    return load()


def test_the_stand_in_is_named_as_one(drawn):
    assert (drawn.name, drawn.source) == ("faces stand-in", "faces drawn from factors in place of CelebA")
    assert {"emotion", "eye style", "hairstyle"} < set(drawn.factor_names)
    assert len(drawn) == 4_032_000


def row_and_column(factor):
    """Where a change of this factor is seen, if it is seen in one part of the face: rows, columns."""
    return {"emotion": (slice(14, 64), slice(10, 54)), "eye style": (slice(20, 42), slice(10, 54))}.get(factor)


@pytest.mark.parametrize("factor", drawn_faces.LEVELS)
def test_every_level_of_every_factor_is_seen(drawn, factor):
    k = drawn.factor_names.index(factor)
    rng = np.random.default_rng(k)
    for base in drawn.sample_factors(rng, 6):
        if factor == "hair colour":
            base[drawn.factor_names.index("hairstyle")] = 1
        rows = np.tile(base, (drawn.factor_sizes[k], 1))
        rows[:, k] = np.arange(drawn.factor_sizes[k])
        images = drawn.pixels(drawn.indices(rows)).astype(int)
        changed = abs(images[:, None] - images[None]).max(axis=-1) > 12
        assert changed.sum(axis=(2, 3))[~np.eye(len(rows), dtype=bool)].min() >= 8
        if row_and_column(factor):
            outside = changed.any(axis=(0, 1))
            outside[row_and_column(factor)] = False
            assert not outside.any()


def test_left_and_right_are_mirror_images(drawn):
    factors = drawn.sample_factors(np.random.default_rng(0), 40)
    names = drawn.factor_names
    keep = (factors[:, names.index("hairstyle")] != 2) & (factors[:, names.index("eye style")] >= 0)
    factors = factors[keep]
    mirrored = factors.copy()
    for factor in ("pose", "lighting"):
        mirrored[:, names.index(factor)] = len(drawn_faces.LEVELS[factor]) - 1 - factors[:, names.index(factor)]
    left, right = (drawn.pixels(drawn.indices(each)).astype(int) for each in (factors, mirrored))
    # But for the glint in the eyes, which is the lamp's, and the side of the nose that is in shade.
    assert np.median(abs(left - right[:, :, ::-1]).mean(axis=(1, 2, 3))) < 1


def test_light_falls_from_its_side(drawn):
    names = drawn.factor_names
    factors = np.zeros((2, 10), int)
    factors[:, names.index("pose")] = 3
    factors[:, names.index("lighting")] = [0, 4]
    from_left, from_right = drawn.images(drawn.indices(factors))[:, 20:50].mean(axis=(1, 3))
    assert from_left[20:30].mean() > from_left[34:44].mean() + 0.1
    assert from_right[34:44].mean() > from_right[20:30].mean() + 0.1


def test_parts_and_order_do_not_matter(drawn):
    indices = np.random.default_rng(0).integers(0, len(drawn), 300)
    together = drawn.pixels(indices)
    np.testing.assert_array_equal(together[[299, 3]], drawn.pixels(indices[[299, 3]]))


def test_attributes_and_images_come_from_one_folder(empty):
    (empty / "cache" / "Img" / "img_align_celeba").mkdir(parents=True)
    (empty / "Anno").mkdir()
    (empty / "Anno" / "list_attr_celeba.txt").write_text("")
    with pytest.raises(ValueError, match=r"got no img_align_celeba .* beside .*list_attr_celeba\.txt"):
        load()


NAMES = ("Smiling", "Bangs", "Eyeglasses")
TABLE = np.array([[1, -1, 1], [-1, -1, 1], [1, 1, -1]])


def photograph(number):
    """Black, but for a square of one colour in the middle, of the size that is kept."""
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[35:183, 15:163] = [40 + 60 * number, 100, 200]
    return pixels


def jpeg(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95)
    return content.getvalue()


def attribute_list(count=3, table=TABLE):
    rows = [f"{i + 1:06d}.jpg " + " ".join(f"{value:2d}" for value in row) for i, row in enumerate(table)]
    return "\n".join([str(count), " ".join(NAMES), *rows, ""])


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "_COUNT", 3)


@pytest.fixture(params=["folder", "zip"])
def official(small, empty, request):
    (empty / "celeba").mkdir()
    (empty / "celeba" / "list_attr_celeba.txt").write_text(attribute_list())
    write_images(empty / "celeba", request.param, [jpeg(photograph(i)) for i in range(3)])
    return empty / "celeba", request.param


def write_images(folder, kind, contents):
    if kind == "folder":
        (folder / "img_align_celeba").mkdir(exist_ok=True)
        for i, content in enumerate(contents):
            (folder / "img_align_celeba" / f"{i + 1:06d}.jpg").write_bytes(content)
        return
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for i, content in enumerate(contents):
            archive.writestr(f"img_align_celeba/{i + 1:06d}.jpg", content)


def test_official_files_are_used(official):
    data = load()
    assert (data.name, data.source, len(data)) == ("CelebA", "CelebA, official aligned images", 3)
    assert data.factor_names == NAMES
    assert data.factor_sizes == (2, 2, 2)
    np.testing.assert_array_equal(data.factors(np.array([2, 0])), [[1, 1, 0], [1, 0, 1]])
    images = data.pixels(np.array([2, 0]))
    assert images.shape == (2, 64, 64, 3)
    np.testing.assert_allclose(images[:, 4:60, 4:60].mean(axis=(1, 2)), [[160, 100, 200], [40, 100, 200]], atol=4)
    np.testing.assert_allclose(data.images(np.array([0])), data.pixels(np.array([0])) / 255, rtol=1e-6)


def comma_separated():
    rows = [f"{i + 1:06d}.jpg," + ",".join(map(str, row)) for i, row in enumerate(TABLE)]
    return "\n".join([",".join(["image_id", *NAMES]), *rows, ""])


@pytest.mark.parametrize("kaggle", [False, True])
@pytest.mark.parametrize(
    ("table", "images"), [("Anno", "Img"), ("celeba/Anno", "celeba/Img"), ("CelebA", "CelebA/img_align_celeba")]
)
def test_the_layouts_of_the_official_site_and_of_kaggle_are_read(small, empty, table, images, kaggle):
    for folder in (table, images):
        (empty / folder).mkdir(parents=True, exist_ok=True)
    write_images(empty / images, "folder", [jpeg(photograph(i)) for i in range(3)])
    name, content = ("csv", comma_separated()) if kaggle else ("txt", attribute_list())
    (empty / table / f"list_attr_celeba.{name}").write_text(content)
    data = load()
    assert (data.name, data.factor_names) == ("CelebA", NAMES)
    np.testing.assert_array_equal(data.factors(np.array([2, 0])), [[1, 1, 0], [1, 0, 1]])
    assert data.pixels(np.array([2])).shape == (1, 64, 64, 3)


def test_kaggles_table_alone_is_half_of_it(empty):
    (empty / "list_attr_celeba.csv").write_text(comma_separated())
    with pytest.raises(ValueError, match=r"got no img_align_celeba or img_align_celeba\.zip beside"):
        load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (jpeg(photograph(0))[:900], r"truncated"),
        (b"", "cannot identify"),
        (jpeg(photograph(0)[:100]), "178 × 100 pixels"),
    ],
)
def test_damaged_images_give_one_clear_error(official, content, message):
    write_images(*official, [jpeg(photograph(0)), content, jpeg(photograph(2))])
    data = load()
    data.pixels(np.array([0, 2]))
    with pytest.raises(ValueError, match=rf"000002\.jpg.*: expected an.* image.*{message}"):
        data.pixels(np.array([0, 1]))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "three\nSmiling\n",
        attribute_list(count=4),
        attribute_list().replace("-1", "0"),
        attribute_list()[:-9],
        "\0\1\2",
    ],
)
def test_damaged_lists_give_one_clear_error(official, content):
    (official[0] / "list_attr_celeba.txt").write_text(content)
    with pytest.raises(ValueError, match=r"list_attr_celeba\.txt: expected CelebA's attribute list"):
        load()


def test_missing_parts_are_named(official, monkeypatch):
    folder, kind = official
    monkeypatch.setattr(module, "_COUNT", 4)
    (folder / "list_attr_celeba.txt").write_text(attribute_list(4, np.concatenate([TABLE, TABLE[:1]])))
    with pytest.raises(ValueError, match=r"got none for 1, such as 000004\.jpg"):
        load()
    (folder / "list_attr_celeba.txt").unlink()
    with pytest.raises(ValueError, match=r"got no list_attr_celeba\.txt beside"):
        load()
    monkeypatch.setattr(module, "_COUNT", 3)
    (folder / "list_attr_celeba.txt").write_text(attribute_list())
    if kind == "zip":
        (folder / "img_align_celeba.zip").write_bytes(b"PK")
        with pytest.raises(ValueError, match="got a corrupt or different one"):
            load()
        (folder / "img_align_celeba.zip").unlink()
        with pytest.raises(ValueError, match=r"got no img_align_celeba or img_align_celeba\.zip beside"):
            load()
