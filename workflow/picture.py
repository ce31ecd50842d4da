"""Draws the README's picture from the committed runs of chapter 9: how far each layer of a variational autoencoder moves, by its width.

.venv/bin/python workflow/picture.py
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from paths import WORKFLOW

__all__ = ["PICTURE", "draw", "movement"]

PICTURE = WORKFLOW.parent / "book" / "assets" / "movement.svg"
STEPS = 16384
# Layer, colour, marker, the paper's slope, and by how many points its label is moved to stand clear of the others.
LAYERS = (("decoder", "#A84A00", "o", "−1/2", 0), ("hidden", "#9C3F7A", "D", "−1", 2),
          ("latent", "#00705A", "^", "−1", -9), ("encoder", "#005A8C", "s", "−1/2", 12))  # fmt: skip
ORDER = ("encoder", "latent", "hidden", "decoder")  # in the runs


def movement(root: Path) -> tuple[np.ndarray, dict[str, list[np.ndarray]]]:
    """Widths, shape (k,), and by layer for each of them the relative movements after 16,384 steps as ten classes, one a seed."""
    from snn_ntk.reporting import load_results

    committed = load_results("09-weight-movement", root=root)
    assert committed is not None
    found: dict[int, list[list[float]]] = defaultdict(list)
    for run in committed["series"]["runs"].values():
        parameters = run["parameters"]
        if parameters.get("targets") == "classes" and parameters.get("beta") == 0:
            result = run["result"]
            found[parameters["width"]].append(result["relative"][result["steps"].index(STEPS)])
    widths = sorted(found)
    values = [np.array(found[width]) for width in widths]
    return np.array(widths), {name: [of[:, index] for of in values] for index, name in enumerate(ORDER)}


def draw(root: Path, target: Path) -> None:
    """Writes the picture as SVG, the same bytes for the same numbers."""
    from matplotlib import pyplot

    from snn_ntk.reporting import grouped_slope_interval
    from snn_ntk.reporting.numbers import show_interval, show_number

    widths, moved = movement(root)
    style: dict[Any, Any] = {
        "svg.hashsalt": "snn-ntk",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 11,
    }
    with mpl.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(9, 4), layout="constrained")
        for name, colour, marker, printed, offset in LAYERS:
            values = moved[name]
            slope = grouped_slope_interval(widths, values)
            middle = np.exp(np.mean([np.log(of_width).mean() for of_width in values]))
            line = middle * (widths / np.exp(np.log(widths).mean())) ** slope.value
            axes.loglog(widths, line, color=colour, linewidth=1.5)
            at, y = np.repeat(widths, [*map(len, values)]), np.concatenate(values)
            axes.loglog(at, y, marker, color=colour, markersize=6, markeredgecolor="white", markeredgewidth=0.5)
            shown = f"{show_number(slope.value, slope.interval)} {show_interval(slope.interval)}"
            axes.annotate(
                f"{name}: slope {shown}, paper {printed}",
                (widths[-1], line[-1]), (10, offset), textcoords="offset points", color=colour, va="center",
            )  # fmt: skip
        axes.set_title("The wider the network, the less each layer has to move", loc="left", fontweight="bold")
        axes.set_xlabel("width")
        axes.set_ylabel(f"relative movement, {STEPS:,} steps")
        axes.set_xticks(widths, [f"{width:,}" for width in widths])
        axes.minorticks_off()
        axes.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], ["2 %", "5 %", "10 %", "20 %", "50 %"])
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.02)
        figure.savefig(target, format="svg", metadata={"Date": None})
        pyplot.close(figure)


if __name__ == "__main__":
    draw(WORKFLOW.parent, PICTURE)
