"""Figures of the book: one style, saved as SVG and PNG with the plotted data beside them."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from snn_ntk._files import write_bytes

__all__ = ["figure_html", "plot_runs", "save_figure", "use_style"]


def use_style() -> None:
    """seaborn's ticks style with its colour-blind palette; SVG text stays text and is reproducible."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette="colorblind",
        rc={
            "figure.figsize": (7.0, 4.2),
            "figure.constrained_layout.use": True,
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


def _rendered(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    undated = {"Date": None} if kind == "svg" else {}
    with mpl.rc_context({"svg.fonttype": "path" if kind == "svg" else "none"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=undated)
    return buffer.getvalue()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):  # item by item: curves of one figure may differ in length
        return [_plain(item) for item in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return np.asarray(value).tolist()


def save_figure(
    figure: Figure, folder: Path, name: str, data: Mapping[str, object], stamp: Mapping[str, object]
) -> bytes:
    """Writes `name`.svg, .png and .json (the plotted data and the provenance) and returns the SVG."""
    strip = 0.16 / figure.get_figheight()  # inches kept free at the bottom for the stamp
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, strip, 1, 1 - strip))
    figure.text(
        0.995,
        0.002,
        f"profile {stamp['profile']} · {stamp['device']} · {stamp['sources']}",
        ha="right",
        va="bottom",
        fontsize=6,
        color="0.45",
    )
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")  # what is laid out once need not be for every file
    svg = _rendered(figure, "svg")
    write_bytes(folder / f"{name}.svg", svg)
    write_bytes(folder / f"{name}.png", _rendered(figure, "png"))
    record = {"data": _plain(data), "provenance": stamp}
    write_bytes(folder / f"{name}.json", json.dumps(record, indent=1).encode())
    plt.close(figure)
    return svg


def figure_html(svg: bytes, *, caption: str, alt: str, links: Mapping[str, str]) -> str:
    """The figure as it stands in the executed notebook: the image inside the page, its caption, its downloads."""
    source = base64.b64encode(svg).decode()
    downloads = " · ".join(
        f'<a href="{html.escape(url)}" download>{html.escape(kind)}</a>' for kind, url in links.items()
    )
    return (
        f'<figure class="snn-figure"><img alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{source}">'
        f"<figcaption>{html.escape(caption)}{' (' + downloads + ')' if downloads else ''}</figcaption></figure>"
    )
