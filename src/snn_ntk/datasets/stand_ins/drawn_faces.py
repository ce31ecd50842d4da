"""Faces drawn from ten factors: the stand-in for CelebA.

A head is round in every horizontal cross-section, so turning it moves what is painted on it and not its outline. Pixels
inside the outline are traced back to longitude and height on the head, where brows, eyes, mouth, hairline and glasses
are given by formulas, and shaded by the angle to the light. Everything that two images can share is drawn once and kept
as a transparent layer; an image is a stack of these layers. No factor hides another, but that a bald head leaves the
colour of the hair to the brows.

The file is long because a face has many parts, each with its own formula.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

__all__ = ["LEVELS", "render_face"]

LEVELS: dict[str, tuple[str, ...]] = {
    "emotion": ("sad", "neutral", "smiling", "laughing", "surprised"),
    "eye style": ("narrow", "almond", "round", "sleepy"),
    "hairstyle": ("bald", "short", "side parting", "long", "curly", "bun"),
    "hair colour": ("black", "brown", "blond", "red"),
    "pose": ("far left", "left", "slightly left", "ahead", "slightly right", "right", "far right"),
    "skin": ("very light", "light", "medium", "tan", "brown", "dark"),
    "lighting": ("left", "upper left", "front", "upper right", "right"),
    "glasses": ("none", "glasses"),
    "face shape": ("oval", "round", "square", "heart"),
    "background": ("blue", "grey", "green", "warm", "dark"),
}

_SIDE, _FINE = 64, 2  # layers are drawn twice as fine, then averaged
_PART = 32  # images that are put together at a time: few enough for the processor's cache
_CENTRE, _HEIGHT = 0.06, 0.60  # of the head
_SPAN, _LIFT = 0.82, -0.02  # the image shows −_SPAN … _SPAN, to the right and, moved by _LIFT, downwards
_YAWS = np.radians(np.linspace(-30, 30, len(LEVELS["pose"])))
_SHAPES = (
    (0.45, 0.50, 1.00),
    (0.51, 0.50, 0.95),
    (0.48, 0.34, 0.97),
    (0.49, 0.72, 1.02),
)  # width, taper of the jaw, length
_SKINS = ((252, 222, 202), (240, 200, 172), (222, 176, 140), (196, 146, 106), (146, 98, 66), (98, 64, 44))
_HAIRS = ((32, 28, 30), (98, 62, 36), (222, 186, 108), (172, 74, 34))
_BACKGROUNDS = ((120, 160, 205), (170, 172, 176), (120, 165, 125), (214, 172, 132), (62, 60, 78))
_LIGHTS = ((-0.85, -0.15), (-0.5, -0.55), (0.0, -0.3), (0.5, -0.55), (0.85, -0.15))
# Of the mouth: how far its corners rise, half its width, how far it opens; of the brows: how far they rise, and their
# inner ends more than the outer.
_EMOTIONS = (
    (-0.085, 0.15, 0.0, -0.005, 0.065),
    (0.0, 0.155, 0.0, 0.0, 0.0),
    (0.085, 0.20, 0.0, 0.0, -0.005),
    (0.075, 0.21, 0.075, 0.02, 0.0),
    (0.0, 0.09, 0.105, 0.075, 0.01),
)
_EYES = (
    (0.105, 0.030, 0.0),
    (0.110, 0.055, 0.0),
    (0.100, 0.085, 0.0),
    (0.110, 0.062, 0.5),
)  # half width and height, lid


class _Head(NamedTuple):
    """The head in one pose and shape, on the fine grid.

    Attributes:
        x: Of each pixel, to the right.
        y: Of each pixel, downwards.
        inside: How much of the pixel the head covers.
        u: Sideways position on the head, in its own half widths: −1 and 1 are the ears.
        v: Height below the head's centre.
        front: Whether the pixel shows the front half of the head.
        width: Half width of the head at the height of its ears.
        yaw: By which it is turned to the right.
        normal: Of the surface, three arrays: right, down, towards the camera.
    """

    x: np.ndarray
    y: np.ndarray
    inside: np.ndarray
    u: np.ndarray
    v: np.ndarray
    front: np.ndarray
    width: float
    yaw: float
    normal: tuple[np.ndarray, np.ndarray, np.ndarray]


def _soft(distance: np.ndarray) -> np.ndarray:
    """Cover of a region from the signed distance to its edge, negative within."""
    return np.clip(0.5 - distance * _SIDE * _FINE / 4, 0, 1)


def _ellipse(x: np.ndarray, y: np.ndarray, a: float, b: float) -> np.ndarray:
    return (np.hypot(x / a, y / b) - 1) * min(a, b)


def _head(pose: int, shape: int) -> _Head:
    ticks = (np.arange(_SIDE * _FINE) + 0.5) / (_SIDE * _FINE) * 2 - 1
    y, x = np.meshgrid(_SPAN * ticks + _LIFT, _SPAN * ticks, indexing="ij")
    width, taper, length = _SHAPES[shape]
    height = _HEIGHT * length
    v = y - _CENTRE
    share = np.clip(1 - (v / height) ** 2, 0, 1)
    outline = width * share ** np.where(v < 0, 0.5, taper)
    inside = _soft(np.where(abs(v) < height, abs(x) - outline, abs(v) - height + 0.02))
    across = np.arcsin(np.clip(x / np.maximum(outline, 1e-6), -1, 1))
    longitude = across - _YAWS[pose]
    steep = np.clip(v / height, -1, 1) * 0.9
    flat = np.sqrt(1 - steep**2)
    normal = (np.sin(across) * flat, steep, np.cos(across) * flat)
    # Features keep their width where the head narrows, or the mouth would shrink with the chin.
    u = np.sin(longitude) * outline / width
    return _Head(x, y, inside, u, v, np.cos(longitude) > 0, width, float(_YAWS[pose]), normal)


def _over(*layers: tuple[np.ndarray, tuple[float, float, float]]) -> np.ndarray:
    """Colours painted one over the other, each with its cover: premultiplied red, green, blue, and cover."""
    result = np.zeros((*layers[0][0].shape, 4))
    for cover, colour in layers:
        result = result * (1 - cover[..., None]) + cover[..., None] * np.array([*colour, 1.0])
    return result


def _small(layer: np.ndarray) -> np.ndarray:
    return layer.reshape(_SIDE, _FINE, _SIDE, _FINE, -1).mean(axis=(1, 3)).astype(np.float32)


def _eyes(head: _Head, style: int) -> np.ndarray:
    half, high, lid = _EYES[style]
    layers = []
    for side in (-1, 1):
        u, v = head.u * 0.48 - side * 0.185, head.v + 0.045
        # Two arcs that meet in the corners.
        shape = abs(v) - high * np.clip(1 - (u / half) ** 2, 0, 1)
        seen = np.where(head.front & (abs(u) < half), 1.0, 0.0)
        ball = _soft(shape) * seen
        iris = ball * _soft(np.hypot(u, v) - 0.048)
        pupil = ball * _soft(np.hypot(u, v) - 0.024)
        glint = ball * _soft(np.hypot(u - 0.016, v + 0.018) - 0.010)
        cover = ball * _soft(v + high * (1 - 2 * lid) - 0.004) if lid else 0 * ball
        upper = _soft(abs(v + high * np.clip(1 - (u / half) ** 2, 0, 1)) - 0.011) * seen
        edge = _soft(abs(v + high * (1 - 2 * lid)) - 0.010) * ball if lid else 0 * ball
        layers += [(ball, (246, 244, 240)), (iris, (84, 108, 128)), (pupil, (18, 16, 18)), (glint, (255, 255, 255))]
        layers += [(0.95 * cover, (150, 104, 86)), (np.maximum(upper, edge), (44, 30, 28))]
    return _over(*layers)


def _mouth(head: _Head, emotion: int) -> np.ndarray:
    rise, half, gape, _, _ = _EMOTIONS[emotion]
    u, v = head.u * 0.48, head.v - 0.335
    bow = np.clip(1 - (u / half) ** 2, 0, 1)
    v = v - rise * (bow - 0.55)
    seen = np.where(head.front & (abs(u) < half), 1.0, 0.0)
    lips = _soft(abs(v) - (0.036 + gape) * np.sqrt(bow)) * seen
    gap = _soft(abs(v) - np.where(gape > 0, gape * np.sqrt(bow), 0.008)) * seen
    teeth = _soft(v + 0.25 * gape) * gap if emotion == 3 else 0 * gap
    return _over((0.85 * lips, (188, 84, 84)), (gap, (74, 22, 28)), (teeth, (250, 248, 242)))


def _nose(head: _Head) -> np.ndarray:
    """The nose stands out of the head, so it moves further than what is painted on it."""
    tip = 1.22 * head.width * math.sin(head.yaw)
    bridge = head.width * math.sin(head.yaw)
    v = head.v - 0.16
    line = bridge + (tip - bridge) * np.clip((head.v + 0.06) / 0.22, 0, 1)
    beside = _soft(abs(head.x - line - 0.055 * (1 if head.yaw <= 0 else -1)) - 0.012) * _soft(abs(head.v - 0.05) - 0.10)
    under = _soft(_ellipse(head.x - tip, v - 0.028, 0.082, 0.026))
    shine = _soft(_ellipse(head.x - tip, v + 0.02, 0.03, 0.03))
    return _over((0.22 * beside, (70, 30, 20)), (0.42 * under, (80, 34, 26)), (0.25 * shine, (255, 255, 250)))


def _brows(head: _Head, emotion: int) -> np.ndarray:
    *_, lift, tilt = _EMOTIONS[emotion]
    cover = np.zeros_like(head.x)
    for side in (-1, 1):
        u = (head.u * 0.48 - side * 0.185) * side  # outwards
        v = head.v + 0.175 + lift + tilt * (-u / 0.12) * 0.8 + 0.03 * (1 - (u / 0.12) ** 2)
        cover = np.maximum(cover, _soft(np.maximum(abs(v) - 0.021, abs(u) - 0.125)) * head.front)
    return cover


def _hair(head: _Head, style: int) -> tuple[np.ndarray, np.ndarray]:
    """Cover of the hair behind the head and before it."""
    none = np.zeros_like(head.x)
    kind = LEVELS["hairstyle"][style]
    if kind == "bald":
        return none, none
    top = head.y - _CENTRE
    volume = 0.06 if kind != "curly" else 0.0
    cap = _soft(np.maximum(_ellipse(head.x, top + 0.06, head.width + volume, _HEIGHT + 0.03), top - 0.02))
    line = -0.33 + 0.16 * head.u**2
    if kind == "side parting":
        line = -0.30 + 0.30 * np.clip(head.u + 0.35, -0.25, 0.55) - 0.42 * np.clip(-head.u - 0.35, 0, 0.2)
    if kind == "long":
        line = -0.40 + 0.42 * abs(head.u) ** 1.2
    if kind == "bun":
        line = -0.36 + 0.10 * head.u**2
    # Behind the temples the hair comes down to the ears, further for long hair.
    temples = (abs(head.u) > 0.86) | ~head.front
    low = 0.62 if kind == "long" else 0.02
    scalp = np.maximum(_soft(head.v - line), np.where(temples, _soft(head.v - low), 0.0)) * head.inside
    if kind == "curly":
        turns = np.linspace(math.pi * 0.93, math.pi * 2.07, 15)
        balls = [np.hypot(head.x - 0.52 * np.cos(t), top + 0.16 - 0.5 * np.sin(t)) - 0.17 for t in turns]
        behind = _soft(np.min(balls, axis=0))
        curls = [np.hypot(head.x - 0.40 * np.cos(t), top + 0.12 - 0.46 * np.sin(t)) - 0.11 for t in turns]
        return behind, np.maximum(scalp, _soft(np.min(curls, axis=0)) * _soft(top + 0.22))
    if kind == "long":
        fall = np.maximum(abs(head.x) - head.width - 0.11 + 0.05 * np.clip(-top, 0, 1), top - 0.9)
        behind = np.maximum(
            _soft(np.maximum(fall, -top - 0.2)),
            _soft(_ellipse(head.x, top + 0.04, head.width + 0.11, 0.66)) * _soft(top),
        )
        return behind, np.maximum(scalp, cap * _soft(top + 0.36))
    knot = _soft(np.hypot(head.x + 0.3 * math.sin(head.yaw), top + 0.72) - 0.19) if kind == "bun" else none
    return np.maximum(cap, knot), np.maximum(scalp, cap * _soft(top + 0.42))


def _glasses(head: _Head) -> np.ndarray:
    u, v = abs(head.u * 0.48), head.v + 0.04
    lens = _ellipse(u - 0.185, v, 0.155, 0.125)
    bars = np.maximum(np.minimum(u - 0.035, 0.335 - u), abs(v + 0.02) - 0.013)
    frame = np.maximum(_soft(abs(lens) - 0.014), _soft(bars) * head.inside) * head.front
    return _over((0.1 * _soft(lens) * head.front, (215, 230, 240)), (frame, (34, 26, 26)))


class _Layers(NamedTuple):
    """Every layer, float32: its own factor (where it has one), pose, shape, rows, columns, channels."""

    behind: np.ndarray
    skin: np.ndarray
    shade: np.ndarray
    features: np.ndarray
    eyes: np.ndarray
    mouth: np.ndarray
    brows: np.ndarray
    before: np.ndarray
    glasses: np.ndarray


@functools.cache
def _layers() -> _Layers:
    counts = {name: len(levels) for name, levels in LEVELS.items()}

    def empty(of: int, channels: int) -> np.ndarray:
        return np.empty((of, counts["pose"], len(_SHAPES), _SIDE, _SIDE, channels), np.float32)

    made = _Layers(
        behind=empty(counts["hairstyle"], 1), skin=empty(1, 1), shade=empty(counts["lighting"], 1),
        features=empty(1, 4), eyes=empty(counts["eye style"], 4), mouth=empty(counts["emotion"], 4),
        brows=empty(counts["emotion"], 1), before=empty(counts["hairstyle"], 1), glasses=empty(counts["glasses"], 4),
    )  # fmt: skip
    for pose, shape in np.ndindex(counts["pose"], counts["face shape"]):
        head = _head(pose, shape)
        place = (pose, shape)
        neck = _soft(np.maximum(abs(head.x) - 0.20, 0.3 - head.y))
        ears = [_soft(_ellipse(head.x - s * (head.width - 0.005), head.v - 0.02, 0.055, 0.115)) for s in (-1, 1)]
        made.skin[0][place] = _small(np.maximum.reduce([head.inside, neck, *ears]))
        for k, (right, down) in enumerate(_LIGHTS):
            lamp = np.array([right, down, math.sqrt(1 - right**2 - down**2)])
            lit = sum(component * part for component, part in zip(lamp, head.normal, strict=True))
            lit = np.where(
                head.inside > 0.5,
                0.40 + 0.68 * np.clip(lit, 0, 1),
                0.42 + 0.3 * np.clip(3 * right * head.x + 0.3, 0, 1),
            )
            made.shade[k][place] = _small(lit)
        made.features[0][place] = _small(_nose(head) * head.inside[..., None])
        for k in range(counts["eye style"]):
            made.eyes[k][place] = _small(_eyes(head, k) * head.inside[..., None])
        for k in range(counts["emotion"]):
            made.mouth[k][place] = _small(_mouth(head, k) * head.inside[..., None])
            made.brows[k][place] = _small(_brows(head, k) * head.inside)
        for k in range(counts["hairstyle"]):
            made.behind[k][place], made.before[k][place] = map(_small, _hair(head, k))
        made.glasses[0][place], made.glasses[1][place] = 0, _small(_glasses(head))
    return made


def render_face(factors: Int[np.ndarray, "n 10"]) -> UInt8[np.ndarray, "n 64 64 3"]:
    """Images of faces.

    Args:
        factors: Levels of `LEVELS`, shape (n, 10).

    Returns:
        Bytes of shape (n, 64, 64, 3).
    """
    layers = _layers()
    images = np.empty((len(factors), _SIDE, _SIDE, 3), np.uint8)
    for start in range(0, len(factors), _PART):
        part = factors[start : start + _PART]
        emotion, eyes, style, colour, pose, skin, light, glasses, shape, background = part.T
        first = np.zeros(len(part), int)

        def tint(palette: tuple, level: np.ndarray) -> np.ndarray:
            return np.array(palette, np.float32)[level][:, None, None, :]

        def blend(under: np.ndarray, cover: np.ndarray, over: np.ndarray) -> np.ndarray:
            return under + cover * (over - under)

        def paint(under: np.ndarray, layer: np.ndarray) -> np.ndarray:
            return under * (1 - layer[..., 3:]) + layer[..., :3]

        shade = layers.shade[light, pose, shape]
        hair = tint(_HAIRS, colour)
        fall = np.linspace(1.08, 0.86, _SIDE, dtype=np.float32)[:, None, None]
        image = tint(_BACKGROUNDS, background) * fall
        image = blend(image, layers.behind[style, pose, shape], 0.72 * hair)
        face = tint(_SKINS, skin)
        face = paint(face, layers.features[first, pose, shape])
        face = paint(face, layers.mouth[emotion, pose, shape])
        face = paint(face, layers.eyes[eyes, pose, shape])
        face = blend(face, layers.brows[emotion, pose, shape], 0.75 * hair)
        image = blend(image, layers.skin[first, pose, shape], face * shade)
        image = blend(image, layers.before[style, pose, shape], hair * (0.35 + 0.7 * shade))
        image = paint(image, layers.glasses[glasses, pose, shape])
        images[start : start + _PART] = np.clip(image + 0.5, 0, 255)
    return images
