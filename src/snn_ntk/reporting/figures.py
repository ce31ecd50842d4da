"""Figures of the book: one style and width, saved as SVG, light and dark, and PNG with the plotted data beside them."""

from __future__ import annotations

import colorsys
import html
import io
import itertools
import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from snn_ntk._files import write_bytes

__all__ = [
    "controls",
    "figure_html",
    "in_the_dark",
    "plain_ticks",
    "plot_runs",
    "plot_slope",
    "save_figure",
    "save_frames",
    "use_style",
]

WIDTH = 7.0  # inches, of every figure: what the page shows on a desk at its own size
STAMP = 0.2  # inches, kept free at the bottom for the stamp
SMALLEST = 8.5  # points, of any text: 8 where the page is a little narrower than the figure
DARK = "#121212"  # the ground of the theme's dark pages
# What is laid out once need not be for every file. A figure with a layout engine, be it the one called "none", is drawn
# twice for each, and one without takes a new one from this setting.
LAID_OUT: dict[Any, Any] = {"figure.constrained_layout.use": False}


def use_style() -> None:
    """seaborn's ticks style with its colour-blind palette; SVG text stays text and is reproducible."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette="colorblind",
        rc={
            "figure.figsize": (WIDTH, 4.0),
            "figure.constrained_layout.use": True,
            "axes.facecolor": "none",
            "axes.labelsize": 11,
            "axes.titlesize": 11,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 9.5,
            "legend.title_fontsize": 9.5,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "svg.fonttype": "none",
            "svg.hashsalt": "snn-ntk",
            "savefig.facecolor": "white",
        },
    )


def plot_runs(
    axes: Axes, x: ArrayLike, runs: ArrayLike, *style: str, between: tuple[float, float] = (0, 1), **options: Any
) -> Line2D:
    """Draws the mean of several runs as a line and their spread as a band of its colour.

    Args:
        axes: Where to draw.
        x: (k,) abscissae.
        runs: (runs, k) values.
        style: Matplotlib's short form, such as "o-".
        between: Quantiles over runs that end the band; it goes from the least run to the largest if left out.
        options: Of the line, such as `label`.

    Returns:
        The line.
    """
    values = np.asarray(runs)
    (line,) = axes.plot(x, values.mean(axis=0), *style, **options)
    axes.fill_between(x, *np.quantile(values, between, axis=0), color=line.get_color(), alpha=0.2, lw=0)
    return line


def plot_slope(axes: Axes, x: ArrayLike, start: float, slope: float, **options: Any) -> Line2D:
    """Draws the power law through a first point, to be compared with measurements: a straight line on log-log axes.

    Args:
        axes: Where to draw.
        x: (k,) abscissae, of which the first is the point's.
        start: The point's ordinate.
        slope: The exponent.
        options: Of the line, which is dashed and named "slope −1/2" or the like if they do not say otherwise.

    Returns:
        The line.
    """
    at = np.asarray(x, dtype=float)
    name = f"slope {Fraction(slope).limit_denominator(8)}".replace("-", "\u2212")
    style = {"color": "black", "ls": "--", "lw": 1, "label": name} | options
    return axes.plot(at, start * (at / at[0]) ** slope, **style)[0]


def plain_ticks(axis: Axis, values: ArrayLike, most: int = 6) -> None:
    """Marks a logarithmic axis at values that were measured, as plain numbers, and at no more than fit beside each other.

    Args:
        axis: Such as `axes.xaxis`, after its scale has been set.
        values: (k,) increasing.
        most: How many are marked; from the last one on every second, or third, is kept. One that is nearer to the next
            than half its share of the axis is left out: their numbers would touch.
    """
    values = np.asarray(values)
    at, near = [values[-1]], (values[-1] / values[0]) ** (0.5 / most)
    for value in values[:: -math.ceil(values.size / most)][1:]:
        if at[-1] / value >= near:
            at.append(value)
    at.reverse()
    axis.set_ticks(at, labels=[f"{value:,.6g}" for value in at])
    axis.set_minor_locator(NullLocator())


def _parts(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def _luminance(rgb: Sequence[float]) -> float:
    """Relative luminance as in WCAG 2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mirrored(colour: re.Match[bytes]) -> bytes:
    """A colour with its lightness turned round: white becomes the ground of dark pages, black nearly white.

    Greys keep their distance from the ground, as grids have to. Other colours get a contrast of 3 to 1, which WCAG asks
    of what a drawing is made of.
    """
    hue, light, saturation = colorsys.rgb_to_hls(*_parts(colour[0].decode()))
    for more in np.linspace(0, light, 20):
        turned = colorsys.hls_to_rgb(hue, 1 - light + float(more), saturation)
        rgb = [ground + part * (0.92 - ground) for part, ground in zip(turned, _parts(DARK), strict=True)]
        if saturation < 0.25 or _luminance(rgb) + 0.05 >= 3 * (_luminance(_parts(DARK)) + 0.05):
            break
    return b"#%02x%02x%02x" % tuple(round(255 * part) for part in rgb)


def in_the_dark(svg: bytes) -> bytes:
    """The same drawing for a dark page: a transparent ground, every colour's lightness turned round, pictures as they are."""
    transparent = svg.replace(b"fill: #ffffff", b"fill: none", 1)  # the figure's own ground is drawn first
    return re.sub(rb"(?<=: )#[0-9a-f]{6}\b", _mirrored, transparent)


def _spoken(title: str) -> str:
    """A title without the signs of mathematical text."""
    return re.sub(r"\^\{(.*?)\}", r"^(\1)", title).replace("$", "").replace("\\", "")


def _rendered(figure: Figure, kind: str, title: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None, "Title": _spoken(title)} if kind == "svg" else {}
    settings: dict[Any, Any] = LAID_OUT | {"svg.fonttype": "path" if kind == "svg" else "none"}
    with mpl.rc_context(settings):
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):  # item by item: curves of one figure may differ in length
        return [_plain(item) for item in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return np.asarray(value).tolist()


def _finish(figure: Figure, title: str, stamp: Mapping[str, object]) -> None:
    """Gives a figure the book's width, its message on top and its stamp below, and room for both."""
    lines = textwrap.wrap(title, 64)
    top = 0.25 * len(lines)
    height = figure.get_figheight() + top
    figure.set_size_inches(WIDTH, height)
    style = {"ha": "left", "va": "top", "fontsize": 12.5, "fontweight": "bold"}
    figure.text(0.01, 1 - 0.04 / height, "\n".join(lines), **style)
    made = f"profile {stamp['profile']} · {stamp['device']} · {stamp['sources']}"
    figure.text(0.995, 0.002, made, ha="right", va="bottom", fontsize=SMALLEST, color="0.4")
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, STAMP / height, 1, 1 - (STAMP + top) / height))
        for legend in figure.legends:  # outside the axes, for which the layout keeps room, but at the figure's edge
            legend.borderaxespad = STAMP * 72 / float(legend.get_texts()[0].get_fontsize())
    if engine is not None:
        engine.execute(figure)
        with mpl.rc_context(LAID_OUT):
            figure.set_layout_engine(None)


def _write_svg(figure: Figure, folder: Path, name: str, title: str) -> bytes:
    svg = _rendered(figure, "svg", title)
    write_bytes(folder / f"{name}.svg", svg)
    write_bytes(folder / f"{name}.dark.svg", in_the_dark(svg))
    return svg


def save_figure(
    figure: Figure, folder: Path, name: str, title: str, data: Mapping[str, object], stamp: Mapping[str, object]
) -> bytes:
    """Writes `name`.svg, .dark.svg, .png and .json (the plotted data and the provenance) and returns the first."""
    _finish(figure, title, stamp)
    svg = _write_svg(figure, folder, name, title)
    write_bytes(folder / f"{name}.png", _rendered(figure, "png", title))
    record = {"title": _spoken(title), "data": _plain(data), "provenance": stamp}
    write_bytes(folder / f"{name}.json", json.dumps(record, indent=1).encode())
    plt.close(figure)
    return svg


def save_frames(
    draw: Callable[..., Figure],
    choices: Sequence[Sequence[object]],
    still: Figure,
    folder: Path,
    name: str,
    *,
    title: str,
    stamp: Mapping[str, object],
) -> None:
    """Writes `name`.i.j.svg and .i.j.dark.svg, the figure of the i-th first and the j-th second choice, for all of them.

    Their axes stand where those of the still, already saved, do: nothing jumps, and no frame is laid out anew.
    """
    for chosen in itertools.product(*map(enumerate, choices)):
        figure = draw(*(choice for _, choice in chosen))
        _finish(figure, title, stamp)
        for axes, model in zip(figure.axes, still.axes, strict=True):
            axes.set_position(model.get_position())
        _write_svg(figure, folder, ".".join([name, *(str(index) for index, _ in chosen)]), title)
        plt.close(figure)


def controls(choices: Mapping[str, Sequence[object]], still: Sequence[object], frames: str) -> str:
    """A slider a choice, which the page's script shows and connects; without it the still is all there is."""
    sliders = "".join(
        f'<label>{html.escape(name)} <input type="range" min="0" max="{len(values) - 1}" value="{list(values).index(at)}" '
        f'data-names="{html.escape(json.dumps([str(value) for value in values]))}"><output>{html.escape(str(at))}</output></label>'
        for (name, values), at in zip(choices.items(), still, strict=True)
    )
    return f'<div class="snn-controls" data-frames="{html.escape(frames)}" hidden>{sliders}</div>'


def figure_html(light: str, dark: str = "", *, caption: str, alt: str, controls: str = "", links: str = "") -> str:
    """A figure as it stands on a page: one image for each of the page's modes, the dark one hidden from other readers.

    Args:
        light: Address of the light image, a `data:` one where nothing else is at hand.
        dark: Address of the dark one; empty for none.
        caption: As HTML.
        alt: As HTML.
        controls: Of a figure that moves.
        links: Behind the caption.
    """
    # "dark-light" keeps the theme's hands off: it dims other images and puts them on white.
    images = f'<img class="snn-light dark-light" alt="{alt}" src="{light}">'
    if dark:
        images += f'<img class="snn-dark dark-light" alt="{alt}" src="{dark}" hidden>'
    more = f" ({links})" if links else ""
    return f'<figure class="snn-figure">{images}{controls}<figcaption>{caption}{more}</figcaption></figure>'
