"""Bands over runs, lines of a slope, dark figures, what plotted data become, and the contract of the book's figures."""

import json
import os
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from snn_ntk.reporting import plain_ticks, plot_runs, plot_slope
from snn_ntk.reporting.figures import DARK, SMALLEST, WIDTH, _plain, in_the_dark, save_figure, use_style

ROOT = Path(__file__).parents[2]
BOOK = Path(os.environ.get("SNN_NTK_BOOK", ROOT / "_build" / "smoke" / "html"))
STAMP = {"profile": "smoke", "device": "cpu", "sources": "0"}
RUNS = np.random.default_rng(0).normal(size=(5, 3))


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


@pytest.mark.parametrize("between", [(0, 1), (0.1, 0.9)])
def test_a_band_of_the_lines_colour_lies_around_the_mean(axes, between):
    line = plot_runs(axes, [1, 2, 3], RUNS, "o--", between=between, color="C3", label="five runs")
    np.testing.assert_allclose(line.get_ydata(), RUNS.mean(0))
    assert (line.get_marker(), line.get_linestyle(), line.get_label()) == ("o", "--", "five runs")
    (shade,) = axes.collections
    assert tuple(shade.get_facecolor()[0][:3]) == pytest.approx(to_rgb("C3"))
    edges = shade.get_paths()[0].vertices
    for x, low, high in zip([1, 2, 3], *np.quantile(RUNS, between, axis=0), strict=True):
        at = edges[edges[:, 0] == x, 1]
        assert (at.min(), at.max()) == pytest.approx((low, high))


def test_the_band_of_all_runs_ends_at_the_least_and_the_largest(axes):
    plot_runs(axes, [1, 2, 3], RUNS)
    at = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (at.min(), at.max()) == (RUNS.min(), RUNS.max())


def test_curves_of_different_lengths_become_plain_lists():
    data = {"a": [np.arange(2), np.arange(3.0)], "b": {1: (True, None, "x")}, "c": np.float32(0.5)}
    assert _plain(data) == {"a": [[0, 1], [0.0, 1.0, 2.0]], "b": {"1": [True, None, "x"]}, "c": 0.5}


def test_a_line_of_a_slope_is_a_power_law_through_the_first_point(axes):
    line = plot_slope(axes, [2, 8, 32], 3.0, -0.5)
    np.testing.assert_allclose(line.get_ydata(), [3, 1.5, 0.75])
    assert line.get_label() == "slope \N{MINUS SIGN}1/2"
    assert plot_slope(axes, [1, 2], 1.0, 2, label="mine", ls=":").get_label() == "mine"


@pytest.mark.parametrize("count", [2, 6, 7, 13])
def test_ticks_stand_at_values_with_the_last_and_no_more_than_fit(axes, count):
    values = 2 ** np.arange(4, 4 + count)
    axes.plot(values, values)
    axes.set_xscale("log")
    plain_ticks(axes.xaxis, values)
    at = axes.get_xticks()
    assert min(count, 3) <= len(at) <= 6
    assert set(at) <= set(values)
    assert at[-1] == values[-1]
    assert [float(text.get_text().replace(",", "")) for text in axes.get_xticklabels()] == list(at)
    assert axes.get_xticks(minor=True).size == 0


def test_ticks_that_would_touch_are_left_out(axes):
    values = [100, 200, 60_000]
    axes.plot(values, values)
    axes.set_xscale("log")
    plain_ticks(axes.xaxis, values, most=3)
    assert list(axes.get_xticks()) == [200, 60_000]


def test_a_dark_figure_has_no_ground_light_text_and_the_same_pictures():
    light = b'<path style="fill: #ffffff"/><g style="fill: #000000; stroke: #0173b2"/><image href="#abcdef"/><b style="fill: #ffffff"/>'
    dark = in_the_dark(light).decode()
    ground, text, line, paper = re.findall(r"(?:fill|stroke): (\S+?)[;\"]", dark)
    assert (ground, paper) == ("none", DARK)
    assert min(int(text[i : i + 2], 16) for i in (1, 3, 5)) > 200
    red, green, blue = (int(line[i : i + 2], 16) for i in (1, 3, 5))
    assert red < green < blue  # a light blue is still blue
    assert sum((red, green, blue)) > sum((0x01, 0x73, 0xB2))
    assert 'href="#abcdef"' in dark


def contrast(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722] + 0.05


@pytest.mark.parametrize("colour", ["#440154", "#8e5ea2", "#7a1fa2", "#fde725", "#990000", "#d55e00", "#0173b2"])
def test_colours_stand_out_in_the_dark(colour):
    (dark,) = re.findall(r"#\w{6}", in_the_dark(f"stroke: {colour};".encode()).decode())
    assert contrast(dark) / contrast(DARK) >= 3


def test_a_grid_stays_faint_in_the_dark():
    (dark,) = re.findall(r"#\w{6}", in_the_dark(b"stroke: #e6e6e6;").decode())
    assert contrast(dark) / contrast(DARK) < 1.5


def problems(svg: str) -> list[str]:
    """What is against the contract of a figure, in words; text is drawn at its size over a hundred."""
    width = float(re.search(r'<svg [^>]*?width="([\d.]+)pt"', svg)[1])
    sizes = [100 * float(size) for size in re.findall(r'transform="translate\([^"]*?scale\(([\d.]+) -\1\)"', svg)]
    wrong = [] if width == 72 * WIDTH else [f"{width} pt wide"]
    wrong += [] if min(sizes) >= SMALLEST else [f"text of {min(sizes):g} pt"]
    return wrong + ([] if re.search(r"<title>[^<]+</title>", svg) else ["no title"])


@pytest.fixture
def style():
    with plt.rc_context():
        use_style()
        yield


def saved(folder, title, **text):
    figure, axes = plt.subplots(figsize=(11, 3))
    axes.text(0, 0, "x", **text)
    return save_figure(figure, folder, "a", title, {"x": [1]}, STAMP).decode()


def test_every_figure_gets_the_width_its_message_and_a_dark_twin(style, tmp_path):
    light = saved(tmp_path, "Both fall as $m^{-1/2}$")
    assert problems(light) == []
    assert "<title>Both fall as m^(-1/2)</title>" in light
    dark = (tmp_path / "a.dark.svg").read_text()
    shapes = [re.findall(r' d="([^"]*)"', svg) for svg in (light, dark)]
    assert shapes[0] == shapes[1]
    assert json.loads((tmp_path / "a.json").read_text())["title"] == "Both fall as m^(-1/2)"


@pytest.mark.parametrize(("title", "size", "found"), [("A title", 6, "text of 6 pt"), ("", 9, "no title")])
def test_small_text_and_a_missing_title_are_found(style, tmp_path, title, size, found):
    assert problems(saved(tmp_path, title, fontsize=size)) == [found]


def test_the_figures_of_the_book_keep_the_contract():
    figures = [path for path in (BOOK / "figures").rglob("*.svg") if not path.name.endswith(".dark.svg")]
    if not figures:
        pytest.skip(f"there is no book at {BOOK}: make book PROFILE=smoke")
    wrong = {path.relative_to(BOOK).as_posix(): problems(path.read_text(encoding="utf-8")) for path in figures}
    assert {name: found for name, found in wrong.items() if found} == {}
    assert [path for path in figures if not path.with_suffix(".dark.svg").is_file()] == []
