"""Paper and pens: axes in labkit's style, its colours, and a figure with its text alternative."""

import base64
import io
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from PIL import Image

STYLE = Path(__file__).parent / "labkit.mplstyle"
styled = mpl.style.context(STYLE)  # a decorator: legends, titles and "C0" read the style when they are made or saved
BLUE, ORANGE, GREEN, PINK, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")  # fmt: skip
GREY = "#8C8C8C"
TINTS = ("#F6C9A8", "#BFD9EC", "#BFE3D3", "#EBD0E0", "#F7E1A8", "#D5D5D5", "#FFFFFF")  # light enough for black text


@dataclass(frozen=True)
class Picture:
    """A figure as HTML with a text alternative: the one form whose alternative survives every renderer.

    Attributes:
        png: the image, as bytes of a PNG file.
        alt: one sentence that says what the image shows.
    """

    png: bytes
    alt: str

    def _repr_html_(self) -> str:
        content = base64.b64encode(self.png).decode()
        alt = escape(self.alt, quote=True)
        style = "max-width:100%;height:auto"  # a narrow page shrinks it rather than cutting it off
        return (
            f'<figure style="margin:0"><img alt="{alt}" style="{style}" src="data:image/png;base64,{content}"></figure>'
        )

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"Picture: {self.alt}"


@styled
def picture(drawn: Axes | Figure, alt: str) -> Picture:
    """Make the picture to end a cell with.

    Args:
        drawn: the axes or the figure.
        alt: one sentence that says what it shows.

    Returns:
        The picture of the whole figure.
    """
    figure = drawn.get_figure(root=True) if isinstance(drawn, Axes) else drawn
    assert figure is not None
    drawn_png, small_png = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn_png, format="png")
    image = Image.open(drawn_png).convert("RGB")
    if image.getcolors(4_096) is not None:  # a chart, no photograph: a palette looks the same at a third of the size
        image = image.quantize(64, dither=Image.Dither.NONE)
    image.save(small_png, "PNG", optimize=True)
    return Picture(small_png.getvalue(), alt)


def axes(ax: Axes | None = None, *, width: float = 5.2, height: float = 3.2) -> Axes:
    """Return `ax`, or new axes in labkit's style.

    They are made without pyplot: no global figure is left behind or shown twice.

    Args:
        ax: axes to draw on, if there are any.
        width: inches of a new figure.
        height: inches of a new figure.

    Returns:
        The axes.
    """
    if ax is not None:
        return ax
    with mpl.style.context(STYLE):
        return Figure(figsize=(width, height)).subplots()


def grid_of_axes(rows: int, columns: int, *, width: float, height: float, **options: Any) -> np.ndarray:
    """Make the axes of one figure in labkit's style.

    Args:
        rows: number of rows.
        columns: number of columns.
        width: inches of the figure.
        height: inches of the figure.
        **options: further options of `Figure.subplots`, such as `sharey=True`.

    Returns:
        (rows, columns) axes.
    """
    with mpl.style.context(STYLE):
        return Figure(figsize=(width, height)).subplots(rows, columns, squeeze=False, **options)


def plain_log(axis: Axis) -> None:
    """Write plain numbers at 1, 1.5, 2, 3, 5 and 7 times each power of ten.

    Args:
        axis: a logarithmic axis.
    """
    axis.set_minor_locator(LogLocator(subs=(1.5, 2, 3, 5, 7)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("{x:g}")
    side = getattr(axis, "axis_name")  # noqa: B009 (matplotlib's types leave it out)
    labelsize = mpl.rcParams["xtick.labelsize" if side == "x" else "ytick.labelsize"]
    axis.set_tick_params(which="minor", labelsize=labelsize)
