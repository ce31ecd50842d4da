"""One run of the face experiment, on so few faces that it takes seconds."""

from __future__ import annotations

import base64
import functools
import json

import numpy as np
import pytest

from snn_ntk.datasets.stand_ins import drawn_faces
from snn_ntk.experiments import face_attributes
from snn_ntk.experiments.face_attributes import ATTRIBUTES, repeat_face_attributes, run_face_attributes

SETTINGS = dict(m=3, beta=0.25, seed=0, steps=30, images=240, held_out=160, rows=3)


pytestmark = pytest.mark.usefixtures("empty")


@functools.cache
def run(**changes):
    return json.loads(json.dumps(run_face_attributes(**SETTINGS | changes)))


def test_a_run_reports_what_the_chapter_needs():
    found = run()
    assert found["name"] == "faces stand-in"
    assert found["attributes"] == list(drawn_faces.LEVELS)
    assert found["steps"] == [10, 20, 30]
    assert set(found["read"]) == {"vae", "heard", "nonlinear", "projection", "principal"}
    assert all(len(skill) == len(found["attributes"]) and max(skill) <= 1 for skill in found["read"].values())
    assert len(found["divergence"]) == 3
    assert found["divergence"] == sorted(found["divergence"], reverse=True)
    assert set(found["best"]) == set(ATTRIBUTES)
    assert all(
        0 <= known["share"] <= 1 and known["floor"] < 0.2 and known["latent"] in range(3)
        for known in found["best"].values()
    )


def test_pictures_start_with_the_face_itself_and_then_move_one_latent():
    packed = run()["pictures"]
    pictures = np.frombuffer(base64.b64decode(packed["bytes"]), np.uint8).reshape(packed["shape"])
    assert pictures.shape == (3, 8, 32, 32, 3)
    assert (pictures[0, 0] == pictures[2, 0]).all()
    assert np.abs(pictures[0, 1].astype(int) - pictures[0, 7]).max() > 0


@pytest.mark.heavy
def test_training_beats_the_guess_of_the_mean_image_and_the_same_seed_repeats_it():
    start, end = run(), run(seed=1, steps=400)
    assert start["guess"] != end["guess"]  # another division of the faces
    assert end["objective"] < end["guess"]
    assert end["error"] < end["mean_image"]
    assert run_face_attributes(**SETTINGS)["read"] == start["read"]


def test_an_attribute_in_which_the_faces_agree_does_not_count(monkeypatch):
    expected = run()["best"]
    name, source, names, pixels, factors = face_attributes._faces(400, 32, 0)
    same = np.zeros((400, 1), int)
    faces = name, source, ("Male", *names), pixels, np.hstack([same, factors])
    monkeypatch.setattr(face_attributes, "_faces", lambda *_: faces)
    assert run_face_attributes(**SETTINGS)["best"] == expected
    # All with one eye style, which has no other name among these faces.
    alike = factors * (np.array(names) != "eye style")
    monkeypatch.setattr(face_attributes, "_faces", lambda *_: (name, source, names, pixels, alike))
    message = "expected faces that differ in eye style or Narrow_Eyes or Bags_Under_Eyes, got none of faces stand-in"
    with pytest.raises(ValueError, match=message):
        run_face_attributes(**SETTINGS)


def test_first_steps_of_a_run_give_the_same_loss_again():
    made = {"parameters": SETTINGS | {"setting": "annealed"}, "result": run()}
    assert repeat_face_attributes(made) < 1e-6
    # A rate that falls to zero sooner is another one from the first steps on.
    assert repeat_face_attributes(made | {"parameters": made["parameters"] | {"steps": 15}}) > 1e-5
    assert repeat_face_attributes(made | {"result": run() | {"name": "CelebA"}}) is None


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="expected a setting, one of"):
        run_face_attributes(**SETTINGS | {"setting": "huge"})
    with pytest.raises(ValueError, match="expected at most 4032000 faces"):
        run_face_attributes(**SETTINGS | {"images": 4_032_000})
