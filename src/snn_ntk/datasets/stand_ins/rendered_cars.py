"""Cars drawn in 3-D from a few numbers each: the stand-in for Cars3D.

A car is a body extruded from its outline, a cabin narrower at the roof, four wheels, windows and lamps. It is seen in
perspective by a camera that goes round it, under a lamp that goes with the camera, and painted from back to front: its
parts are so placed that their order is known, so no depth is compared.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

__all__ = ["AZIMUTHS", "ELEVATIONS", "OBJECTS", "render_car"]

ELEVATIONS, AZIMUTHS, OBJECTS = 4, 24, 183

_SIDE = 64
_FINE = 4 * _SIDE  # drawn at this size, then averaged
_DISTANCE, _FOCAL = 11.0, 3.5
_LIGHT = np.array([-0.35, 0.45, 0.82]) / np.linalg.norm([-0.35, 0.45, 0.82])  # right, towards the camera, up

# Order of painting. What lies on the side or end away from the camera is not drawn at all, but for the wheels.
_SHADOW, _FAR_WHEEL, _BODY, _SIDE_FACE, _WHEEL, _CABIN = range(6)

# Length, width, roof, beltline, nose, tail (heights), then along the length, as shares from the front: foot and top of
# the windscreen, top and foot of the rear window. Each is varied by a few per cent.
_BODIES = {
    "saloon": (4.6, 1.78, 1.42, 0.92, 0.72, 0.90, 0.30, 0.43, 0.70, 0.84),
    "hatchback": (3.9, 1.72, 1.46, 0.94, 0.76, 0.95, 0.25, 0.40, 0.82, 0.96),
    "estate": (4.7, 1.78, 1.45, 0.92, 0.72, 0.92, 0.29, 0.41, 0.88, 0.98),
    "coupé": (4.4, 1.82, 1.28, 0.86, 0.64, 0.84, 0.35, 0.49, 0.64, 0.90),
    "off-road": (4.5, 1.88, 1.75, 1.10, 0.98, 1.08, 0.27, 0.36, 0.90, 0.98),
    "pick-up": (5.2, 1.88, 1.72, 1.05, 0.95, 1.02, 0.26, 0.36, 0.54, 0.59),
    "van": (4.6, 1.86, 1.90, 1.10, 0.86, 1.08, 0.12, 0.25, 0.95, 0.99),
    "sports car": (4.3, 1.86, 1.15, 0.78, 0.52, 0.80, 0.36, 0.52, 0.62, 0.94),
}
_PAINTS = (
    (200, 30, 30), (235, 235, 238), (30, 32, 38), (160, 166, 172), (30, 70, 165), (20, 110, 70), (235, 195, 40),
    (120, 25, 35), (95, 150, 205), (225, 120, 35), (90, 95, 100), (205, 190, 160), (70, 45, 100), (60, 160, 150),
)  # fmt: skip
_GLASS, _TYRE, _RIM, _DARK = (52, 66, 84), (26, 26, 28), (178, 180, 184), (40, 40, 44)
_HEAD, _TAIL, _PLATE = (250, 246, 220), (205, 20, 24), (245, 245, 235)


class _Polygons(NamedTuple):
    """What a car is drawn of; polygons share one array of corners.

    Attributes:
        corners: All corners, shape (c, 3): forward, left, up, in metres.
        bounds: Polygon i has corners bounds[i] … bounds[i + 1].
        centres: Of each polygon.
        normals: Of each polygon; a normal of 0 is seen from both sides and not shaded.
        colours: Of each polygon in white light.
        stages: When each polygon is painted.
    """

    corners: Float[np.ndarray, "c 3"]
    bounds: Int[np.ndarray, " p1"]
    centres: Float[np.ndarray, "p 3"]
    normals: Float[np.ndarray, "p 3"]
    colours: Float[np.ndarray, "p 3"]
    stages: Int[np.ndarray, " p"]


def _rounded(outline: np.ndarray, times: int) -> np.ndarray:
    """An open outline with its corners cut, its ends kept."""
    for _ in range(times):
        a, b = outline[:-1], outline[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, 2)
        outline = np.concatenate([outline[:1], cut, outline[-1:]])
    return outline


def _disc(x: float, y: float, z: float, radius: float) -> np.ndarray:
    turn = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    return np.stack([x + radius * np.cos(turn), np.full(20, y), z + radius * np.sin(turn)], axis=1)


@functools.lru_cache(maxsize=OBJECTS)
def _car(number: int) -> _Polygons:
    rng = np.random.default_rng([183, number])
    kinds = list(_BODIES)
    kind = kinds[number % len(kinds)]
    length, width, roof, belt, nose, tail, *along = _BODIES[kind] * rng.uniform(0.95, 1.05, 10)
    foot, top, back, end = length / 2 - length * np.minimum(along, 0.985)
    nose, tail = min(nose, belt - 0.04), min(tail, belt)
    low, wheel = rng.uniform(0.20, 0.26), rng.uniform(0.30, 0.34) * (1.2 if kind in ("off-road", "pick-up") else 1.0)
    axle = length * rng.uniform(0.29, 0.32)
    paint = np.clip(np.array(_PAINTS[rng.integers(len(_PAINTS))]) + rng.normal(0, 10, 3), 15, 245)
    second = np.array(_DARK) if rng.random() < 0.3 else paint  # a dark roof is not rare
    half, narrow = width / 2, width / 2 * rng.uniform(0.74, 0.84)
    if kind == "van":
        narrow = half * 0.9

    parts: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []

    def add(stage: int, corners: np.ndarray, colour: tuple | np.ndarray, normal: tuple | np.ndarray) -> None:
        normal = np.asarray(normal, float)
        parts.append((stage, np.asarray(corners, float), np.asarray(colour, float), normal))

    def strip(outline: np.ndarray, stage: int, colour: tuple | np.ndarray, sides: np.ndarray) -> None:
        """The surface across the car over each piece of an outline that runs from front to rear."""
        for (x1, z1), (x2, z2), y1, y2 in zip(outline[:-1], outline[1:], sides[:-1], sides[1:], strict=True):
            corners = [(x1, y1, z1), (x2, y2, z2), (x2, -y2, z2), (x1, -y1, z1)]
            add(stage, np.array(corners), colour, np.array([z2 - z1, 0.0, x1 - x2]))

    ground = np.array(
        [(sx * length / 2 * 1.02, sy * half * 1.06, 0.0) for sx, sy in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
    )
    add(_SHADOW, ground, (196, 196, 196), (0, 0, 0))

    # The body: bumper, nose, bonnet, beltline, boot, bumper.
    front = [(length / 2 - 0.06, low), (length / 2, 0.5 * (low + nose)), (length / 2 - 0.08, nose), (foot, belt)]
    rear = [(end, belt), (-length / 2 + 0.08, tail), (-length / 2, 0.5 * (low + tail)), (-length / 2 + 0.05, low)]
    outline = _rounded(np.array(front + rear), 2)
    strip(outline, _BODY, paint, np.full(len(outline), half))
    if kind == "pick-up":
        bed = [(end - 0.08, 1), (-length / 2 + 0.14, 1), (-length / 2 + 0.14, -1), (end - 0.08, -1)]
        add(_BODY, np.array([(x, 0.86 * half * s, tail + 0.01) for x, s in bed]), _DARK, (0, 0, 1))
    waist = 0.55 * belt + 0.45 * low
    for s in (1, -1):
        above = np.maximum(outline, [-9.0, waist])
        below = np.minimum(outline, [9.0, waist])
        level = np.full(len(outline), s * half)
        add(_SIDE_FACE, np.column_stack([above[:, 0], level, above[:, 1]]), paint, (0, s, 0.25))
        add(_SIDE_FACE, np.column_stack([below[:, 0], level, below[:, 1]]), paint, (0, s, -0.15))
        sill = [(axle, low), (axle, low + 0.09), (-axle, low + 0.09), (-axle, low)]
        add(_SIDE_FACE, np.array([(x, s * half, z) for x, z in sill]), _DARK, (0, s, 0))
        for x in (0.5 * (foot + top) - 0.12, 0.5 * (top + back) - 0.05):  # gaps of the doors
            gap = [(x, low + 0.1), (x, belt - 0.02), (x - 0.035, belt - 0.02), (x - 0.035, low + 0.1)]
            add(_SIDE_FACE, np.array([(x, s * half, z) for x, z in gap]), 0.55 * paint, (0, s, 0))
        for x in (axle, -axle):
            arch = _disc(x, s * half, wheel, 1.2 * wheel)
            add(_SIDE_FACE, np.maximum(arch, [-9, -9, low]), _DARK, (0, s, 0))
            for y in (0.72, 0.82, 0.92, 1.0):
                tyre = _disc(x, s * y * half, wheel, wheel)
                add(_FAR_WHEEL, tyre, _TYRE, (0, 0, 0))
                if y > 0.9:
                    add(_WHEEL, _disc(x, s * (y * half + 0.02), wheel, wheel), _TYRE, (0, s, 0))
            add(_WHEEL, _disc(x, s * (half + 0.03), wheel, 0.62 * wheel), _RIM, (0, s, 0))
            add(_WHEEL, _disc(x, s * (half + 0.03), wheel, 0.2 * wheel), _DARK, (0, s, 0))
        inner, outer = sorted((s * 0.55 * half, s * 0.95 * half))
        lamp_top = 0.96 * nose if kind != "sports car" else 0.9 * nose
        for sign, colour, high in ((1, _HEAD, lamp_top), (-1, _TAIL, 0.97 * tail)):
            x, drop = sign * (length / 2 + 0.005), 0.17
            lamp = [(x, inner, high), (x, outer, high), (x, outer, high - drop), (x, inner, high - drop)]
            add(_SIDE_FACE, np.array(lamp), colour, (sign, 0, 0.3))
            wrapped = [(x, high), (x - sign * 0.28, high), (x - sign * 0.16, high - drop), (x, high - drop)]
            add(_SIDE_FACE, np.array([(u, s * (half + 0.005), z) for u, z in wrapped]), colour, (0, s, 0.3))
    for sign, high in ((1, nose), (-1, tail)):
        x = sign * (length / 2 + 0.005)
        if sign > 0:
            grille = [
                (x, y * half, z)
                for y, z in ((0.45, 0.92 * high), (-0.45, 0.92 * high), (-0.4, 0.66 * high), (0.4, 0.66 * high))
            ]
            add(_SIDE_FACE, np.array(grille), _DARK, (sign, 0, 0))
        plate = [
            (x, y, z) for y, z in ((0.24, low + 0.24), (-0.24, low + 0.24), (-0.24, low + 0.12), (0.24, low + 0.12))
        ]
        add(_SIDE_FACE, np.array(plate), _PLATE, (sign, 0, 0))

    # The cabin, its panes within its faces.
    base, high = 0.93 * half, narrow
    profile = np.array([(foot, belt), (top, roof - 0.03), ((top + back) / 2, roof), (back, roof - 0.03), (end, belt)])
    strip(profile, _CABIN, second, np.array([base, high, high, high, base]))
    strips = {0: _GLASS, 3: paint if kind == "pick-up" and rng.random() < 0.3 else _GLASS}
    for piece, colour in strips.items():
        (x1, z1), (x2, z2) = profile[piece], profile[piece + 1]
        y1, y2 = (base, high) if piece == 0 else (high, base)
        corners = np.array([(x1, y1, z1), (x2, y2, z2), (x2, -y2, z2), (x1, -y1, z1)])
        add(_CABIN, corners.mean(0) + 0.86 * (corners - corners.mean(0)), colour, (z2 - z1, 0, x1 - x2))
    for s in (1, -1):
        corners = np.column_stack([profile[:, 0], s * np.array([base, high, high, high, base]), profile[:, 1]])
        normal = (0, s * (roof - belt), base - high)
        add(_CABIN, corners, second, normal)
        lower, upper = 0.12, 0.86

        def at(x_low: float, x_high: float, share: float, s: int = s) -> tuple[float, float, float]:
            return (x_low + share * (x_high - x_low), s * (base + share * (high - base)), belt + share * (roof - belt))

        post = 0.5 * (top + back) + 0.05
        glazed = (kind != "van" or number % 2 == 0) or None
        for f_low, f_high, b_low, b_high, shown in (
            (foot - 0.12, top - 0.08, post + 0.04, post + 0.04, True),
            (post - 0.04, post - 0.04, end + 0.14, back + 0.10, glazed),
        ):
            if shown and f_high - b_high > 0.1:
                pane = [
                    at(f_low, f_high, lower),
                    at(f_low, f_high, upper),
                    at(b_low, b_high, upper),
                    at(b_low, b_high, lower),
                ]
                add(_CABIN, np.array(pane), _GLASS, normal)

    stages, corners, colours, normals = zip(*parts, strict=True)
    lengths = [np.linalg.norm(normal) for normal in normals]
    return _Polygons(
        np.concatenate(corners),
        np.concatenate([[0], np.cumsum([len(each) for each in corners])]),
        np.stack([each.mean(axis=0) for each in corners]),
        np.stack([normal / max(size, 1e-9) for normal, size in zip(normals, lengths, strict=True)]),
        np.stack(colours),
        np.array(stages),
    )


def _view(car: _Polygons, elevation: int, azimuth: int) -> Image.Image:
    turn, rise = 2 * math.pi * azimuth / AZIMUTHS, math.radians(6 + 10 * elevation)
    towards = np.array([math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise)])
    right = np.array([-math.sin(turn), math.cos(turn), 0.0])
    up = np.cross(towards, right)
    camera = np.array([0.0, 0.0, 0.62]) + _DISTANCE * towards
    seen = (car.corners - camera) @ np.stack([right, up, -towards], axis=1)
    points = _FINE / 2 + _FINE / 2 * _FOCAL * seen[:, :2] / seen[:, 2:] * [1, -1]

    facing = np.einsum("pi,pi->p", car.normals, camera - car.centres)
    flat = np.linalg.norm(car.normals, axis=1) == 0
    shown = np.logical_or(facing > 0, flat)
    level = np.array([towards[0], towards[1], 0.0]) / math.cos(rise)
    lamp = _LIGHT[0] * right + _LIGHT[1] * level + _LIGHT[2] * np.array([0.0, 0.0, 1.0])
    lit = np.clip(car.normals @ lamp, 0, None)
    halfway = (lamp + towards) / np.linalg.norm(lamp + towards)
    gloss = np.clip(car.normals @ halfway, 0, None) ** 24
    shaded = np.clip(car.colours * (0.42 + 0.66 * lit)[:, None] + 70 * gloss[:, None], 0, 255)
    colours = np.where(np.expand_dims(flat, 1), car.colours, shaded).astype(int)

    # Pieces of the body from far to near; everything else in the order in which it was put together.
    distance = ((car.centres - camera) ** 2).sum(axis=1)
    order = np.lexsort((np.where(car.stages == _BODY, -distance, 0.0), car.stages))
    image = Image.new("RGB", (_FINE, _FINE), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    for p in order[shown[order]]:
        corners = points[car.bounds[p] : car.bounds[p + 1]]
        draw.polygon(corners.ravel().tolist(), fill=tuple(colours[p].tolist()))
    return image.reduce(_FINE // _SIDE)


def render_car(factors: Int[np.ndarray, "n 3"]) -> UInt8[np.ndarray, "n 64 64 3"]:
    """Images of cars.

    Args:
        factors: Elevation (4), azimuth (24) and car (183), shape (n, 3).

    Returns:
        Bytes of shape (n, 64, 64, 3).

    Example:
        >>> render_car(np.array([[0, 6, 1]])).shape
        (1, 64, 64, 3)
    """
    images = np.empty((len(factors), _SIDE, _SIDE, 3), np.uint8)
    for image, (elevation, azimuth, number) in zip(images, factors.tolist(), strict=True):
        image[...] = np.asarray(_view(_car(number), elevation, azimuth))
    return images
