"""Search spaces, architectures and images."""

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.data import Images
from labkit.plots.canvas import BLUE, GREY, ORANGE, TINTS, axes, grid_of_axes, styled
from labkit.spaces import Architecture, SearchSpace


@styled
def images(part: Images, classes: Sequence[str], n: int = 12) -> Figure:
    """Draw the first images with their labels.

    Args:
        part: the images and their labels.
        classes: names of the classes.
        n: number of images.

    Returns:
        The figure.
    """
    table = grid_of_axes(2, (n + 1) // 2, width=7.2, height=2.7)
    for ax, pixels, label in zip(table.flat, part.pixels, part.labels):
        ax.imshow(pixels.permute(1, 2, 0).numpy())
        ax.set_title(classes[int(label)], loc="center")
    for ax in table.flat:
        ax.axis("off")
    return table[0, 0].figure


@styled
def strip(architectures: Mapping[str, Architecture], space: SearchSpace, ax: Axes | None = None) -> Axes:
    """Draw one row an architecture, one rectangle a slot, with the chosen candidate's name in it.

    Equal names have equal tints; beyond seven names the tints repeat.

    Args:
        architectures: name -> architecture.
        space: the space of all of them.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    longest = max(len(op) for slot in space.slots for op in slot)
    ax = axes(ax, width=1.6 + 0.09 * longest * len(space.slots), height=0.5 + 0.34 * len(architectures))
    tints = dict(zip(dict.fromkeys(op for slot in space.slots for op in slot), itertools.cycle(TINTS)))
    for row, architecture in enumerate(architectures.values()):
        for s, op in enumerate(architecture.ops):
            ax.barh(row, 0.96, 0.82, left=s - 0.48, color=tints[op], edgecolor=GREY, linewidth=0.6)
            ax.text(s, row, op, ha="center", va="center", fontsize=8)
    ax.set_yticks(range(len(architectures)), list(architectures))
    ax.set_xticks(range(len(space.slots)), space.slot_names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlim=(-0.55, len(space.slots) - 0.45))
    ax.invert_yaxis()
    ax.grid(False)
    return ax


@styled
def sizes(spaces: Mapping[str, float], yardsticks: Mapping[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """Draw the number of architectures of each space on a logarithmic axis, with `yardsticks` as dashed lines.

    Args:
        spaces: name -> number of architectures.
        yardsticks: name -> number to compare with.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = axes(ax, width=7.2, height=1 + 0.36 * len(spaces))
    for name, value in (yardsticks or {}).items():
        ax.axvline(value, color=ORANGE, ls="--", lw=1)
        ax.text(value, -0.75, f" {name}", color=ORANGE, fontsize=8, va="center")
    for y, size in enumerate(map(float, spaces.values())):  # matplotlib takes no whole number beyond 64 bits
        ax.barh(y, size, 0.6, color=BLUE)
        text = f"{size:,.0f}" if size < 1e9 else f"{size:.1e}"
        ax.annotate(text, (size, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
                    bbox={"color": "white", "pad": 1})  # fmt: skip
    ax.set_yticks(range(len(spaces)), list(spaces))
    ax.set(xscale="log", xlabel="architectures", xlim=(1, 1e4 * float(max(spaces.values()))))
    ax.set_ylim(len(spaces) - 0.5, -1.1)
    ax.grid(axis="y", visible=False)
    return ax
