"""Axes in labkit's style, and figures with their text alternative."""

import base64
import io
import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import labkit as lk
from labkit import plots
from labkit.plots import canvas


@pytest.fixture
def points(space, table):
    return [lk.Point(a, 0.1 + i / 1_000, table.table_ms(a)) for i, a in enumerate(space)][::6]


def test_picture_carries_its_alternative(points):
    shown = plots.picture(plots.frontier(points), 'a "frontier" & more')
    html = shown._repr_html_()
    assert 'alt="a &quot;frontier&quot; &amp; more"' in html and "data:image/png;base64," in html
    assert shown.png.startswith(b"\x89PNG") and len(shown.png) < 100_000


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def drawn_line():
    ax = plots.axes(width=2, height=1)
    ax.plot([0, 1], color=canvas.ORANGE, lw=3)
    return ax.figure


def test_the_picture_in_html_is_the_png_of_the_figure():
    """Against matplotlib's own file: the palette changes no pixel by more than a little."""
    shown = plots.picture(drawn_line(), "a line")
    inside = re.search(r"base64,([^\"]+)\"", shown._repr_html_())[1]
    assert base64.b64decode(inside) == shown.png == shown._repr_png_()
    assert repr(shown) == "Picture: a line"
    file = io.BytesIO()
    with mpl.style.context(canvas.STYLE):
        drawn_line().savefig(file, format="png")
    own, theirs = pixels(shown.png), pixels(file.getvalue())
    assert own.shape == theirs.shape and abs(own - theirs).mean() < 2
    assert (abs(own - (0xD5, 0x5E, 0x00)) < 20).all(-1).sum() > 50, "the line has its colour"
    assert abs(own - 255).mean() > 2, "an empty sheet would be white"


def test_a_picture_of_axes_is_of_their_whole_figure():
    figure = drawn_line()
    assert plots.picture(figure.axes[0], "a line").png == plots.picture(drawn_line(), "a line").png


def test_a_photograph_keeps_its_colours():
    noise = np.random.default_rng(0).random((200, 200, 3))
    figure = Figure(figsize=(3, 3))
    figure.subplots().imshow(noise)
    assert len(np.unique(pixels(plots.picture(figure, "noise").png).reshape(-1, 3), axis=0)) > 4_096
    assert len(np.unique(pixels(plots.picture(drawn_line(), "a line").png).reshape(-1, 3), axis=0)) <= 64


def test_axes_are_new_in_labkits_style_or_those_given():
    ax = plots.axes(width=7, height=2)
    assert ax.figure.get_size_inches().tolist() == [7, 2]
    assert not ax.spines["top"].get_visible() and mpl.rcParams["axes.spines.top"], "the style does not leak"
    assert plots.axes(ax) is ax


def test_a_grid_of_axes_has_rows_and_columns_and_takes_options():
    table = plots.grid_of_axes(2, 3, width=6, height=4, sharey=True)
    assert table.shape == (2, 3) and plots.grid_of_axes(1, 1, width=1, height=1).shape == (1, 1)
    table[0, 0].set_ylim(3, 4)
    assert table[1, 2].get_ylim() == (3, 4) and table[1, 2].get_xlim() != (3, 4)


def test_plain_log_writes_numbers_without_powers():
    ax = plots.axes()
    ax.plot([1, 2], [0.2, 8])
    ax.set_yscale("log")
    canvas.plain_log(ax.yaxis)
    ax.figure.draw_without_rendering()
    ticks = ax.yaxis.get_major_ticks() + ax.yaxis.get_minor_ticks()
    shown = {tick.label1.get_text() for tick in ticks if 0.15 < tick.get_loc() < 9}
    assert {"0.2", "0.3", "0.5", "0.7", "1", "1.5", "2", "3", "5", "7"} <= shown
    assert not any("$" in text or "e" in text for text in shown)
