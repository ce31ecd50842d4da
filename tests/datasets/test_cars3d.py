"""Cars3D: the stand-in, and files in the official format (small ones written here)."""

import io
import sys
import tarfile

import numpy as np
import pytest
import scipy.io

from snn_ntk.datasets import cars3d as load

module = sys.modules[load.__module__]


@pytest.fixture
def drawn(empty):
    return load()


def test_the_stand_in_is_named_as_one_and_has_the_same_factors(drawn):
    assert (drawn.name, drawn.source) == ("cars stand-in", "cars drawn in 3-D in place of Cars3D")
    assert drawn.factor_sizes == (4, 24, 183)
    assert len(drawn) == 17_568


def at(data, elevations, azimuths, objects):
    grid = np.stack(np.meshgrid(elevations, azimuths, objects, indexing="ij"), axis=-1).reshape(-1, 3)
    return data.pixels(data.indices(grid)).astype(int)


def test_every_factor_changes_the_image(drawn):
    for levels in ((range(4), [5], [2]), ([1], range(24), [2]), ([1], [5], range(0, 183, 6))):
        images = at(drawn, *levels)
        different = abs(images[:, None] - images[None]).mean(axis=(2, 3, 4))
        assert different[~np.eye(len(images), dtype=bool)].min() > 0.3


def test_a_car_is_wholly_seen_on_white(drawn):
    images = at(drawn, [0, 3], range(0, 24, 4), range(16))
    border = np.concatenate([images[:, [0, -1]].reshape(-1), images[:, :, [0, -1]].reshape(-1)])
    assert (border == 255).all()
    inked = (images < 250).any(axis=-1).mean(axis=(1, 2))
    assert 0.05 < inked.min() <= inked.max() < 0.6


def test_opposite_sides_are_mirror_images(drawn):
    left, right = at(drawn, [1], [6], range(8)), at(drawn, [1], [18], range(8))
    # Nearly: a wheel and a pane are the same on both sides, and edges fall on other pixels.
    assert (
        np.median(abs(left - right[:, :, ::-1]).mean(axis=(1, 2, 3)))
        < 4
        < np.median(abs(left - right).mean(axis=(1, 2, 3)))
    )


def test_lamps_tell_front_from_rear(drawn):
    front, rear = at(drawn, [1], [0], range(12)), at(drawn, [1], [12], range(12))

    def red(images):
        return ((images[..., 0] > 130) & (images[..., 1] < 50) & (images[..., 2] < 60)).sum(axis=(1, 2))

    assert (red(rear) - red(front) > 2).sum() >= 8  # not on red cars


def mesh(number, rng, **changes):
    image = rng.integers(0, 256, (128, 128, 3, 3, 2), dtype=np.uint8) // 4 + 60 * (number % 3)
    content = io.BytesIO()
    scipy.io.savemat(content, {"im": image} | changes, do_compression=True)
    return image, content.getvalue()


@pytest.fixture
def official(empty, monkeypatch):
    monkeypatch.setattr(module, "_SIZES", (2, 3, 3))
    rng = np.random.default_rng(0)
    meshes = {f"car_{number:03d}_mesh.mat": mesh(number, rng) for number in (12, 3, 40)}
    return empty, meshes


def write_folder(folder, meshes):
    folder.mkdir(parents=True)
    for name, (_, content) in meshes.items():
        (folder / name).write_bytes(content)
    (folder / "list.txt").write_text("\n".join(meshes))


def write_archive(path, meshes):
    with tarfile.open(path, "w:gz") as archive:
        for name, (_, content) in meshes.items():
            member = tarfile.TarInfo(f"data/cars/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_official_files_are_used(official, kind):
    root, meshes = official
    if kind == "folder":
        write_folder(root / "cars3d" / "cars", meshes)
    else:
        write_archive(root / module._ARCHIVE, meshes)
    data = load()
    assert (data.name, data.factor_sizes) == ("Cars3D", (2, 3, 3))
    images = data.pixels(np.arange(18)).reshape(2, 3, 3, 64, 64, 3).astype(float)
    for place, name in enumerate(sorted(meshes)):
        averaged = meshes[name][0].reshape(64, 2, 64, 2, 3, 3, 2).mean(axis=(1, 3))
        for elevation, azimuth in np.ndindex(2, 3):
            seen, expected = images[elevation, azimuth, place], averaged[..., azimuth, elevation]
            # Lanczos weighs more than the four pixels under a pixel: strongly alike, and alike to no other view.
            assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.8
            assert abs(seen.mean() - expected.mean()) < 2


def test_meshes_in_the_named_folder_come_before_an_archive_in_the_cache(official):
    root, meshes = official
    write_folder(root / "cars", meshes)
    (root / "cache").mkdir()
    (root / "cache" / module._ARCHIVE).write_bytes(b"not read")
    assert len(load()) == 18


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content, rng: content[: len(content) // 2], "corrupt or different one"),
        (lambda content, rng: b"not MATLAB", "corrupt or different one"),
        (lambda content, rng: b"", "corrupt or different one"),
        (
            lambda content, rng: mesh(0, rng, im=np.zeros((4, 4), np.uint8))[1],
            r"of shape \(128, 128, 3, 3, 2\), got .*\(shape \(4, 4\)\)",
        ),
        (lambda content, rng: mesh(0, rng, im=np.zeros((128, 128, 3, 3, 2)))[1], "bytes of kind 6 for an array im"),
    ],
)
def test_damaged_meshes_give_one_clear_error(official, damage, message):
    root, meshes = official
    write_folder(root / "cars", meshes)
    path = root / "cars" / "car_012_mesh.mat"
    path.write_bytes(damage(path.read_bytes(), np.random.default_rng(1)))
    with pytest.raises(ValueError, match=rf"car_012_mesh\.mat.*{message}"):
        load()


def test_missing_cars_and_damaged_archives(official):
    root, meshes = official
    archive = root / module._ARCHIVE
    write_archive(archive, dict(list(meshes.items())[:2]))
    with pytest.raises(ValueError, match=r"expected 3 files .* got 2"):
        load()
    write_archive(archive, meshes)
    archive.write_bytes(archive.read_bytes()[:-3000])
    with pytest.raises(ValueError, match="the official archive of Cars3D, got a corrupt or different one"):
        load()


def test_failed_download_says_what_to_put_where(empty, monkeypatch):
    monkeypatch.setattr(module, "_URL", "http://localhost:9/")
    with pytest.raises(FileNotFoundError, match=rf"{module._ARCHIVE} is not on disk.*put the file into"):
        load(download=True)
