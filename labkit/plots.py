"""Figures: each function is given results, draws one thing on one axes and returns the axes.

Numbers are computed elsewhere; colour never stands alone; every axis has its unit and says where its numbers are from.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.data import Images
from labkit.export import RuntimeRow, speedup_text
from labkit.latency import LatencyTable
from labkit.pareto import Frontier, Point
from labkit.spaces import Architecture, SearchSpace

STYLE = Path(__file__).parent / "static" / "labkit.mplstyle"
BLUE, ORANGE, GREEN, PINK, GOLD, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # fmt: skip
GREY = "#8C8C8C"


@dataclass(frozen=True)
class Picture:
    """A figure as HTML with a text alternative: the one form whose alternative survives every renderer."""

    png: bytes
    alt: str

    def _repr_html_(self) -> str:
        content = base64.b64encode(self.png).decode()
        alt = escape(self.alt, quote=True)
        return f'<figure style="margin:0"><img alt="{alt}" src="data:image/png;base64,{content}"></figure>'

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"Picture: {self.alt}"


def picture(drawn: Axes | Figure, alt: str) -> Picture:
    """What to end a cell with: the figure of `drawn`, and `alt`, one sentence that says what it shows."""
    figure = drawn.figure if isinstance(drawn, Axes) else drawn
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Picture(buffer.getvalue(), alt)


def axes(ax: Axes | None = None, *, width: float = 5.2, height: float = 3.2) -> Axes:
    """`ax`, or new axes in labkit's style. Made without pyplot: no global figure is left behind or shown twice."""
    if ax is not None:
        return ax
    with mpl.style.context(STYLE):
        return Figure(figsize=(width, height)).subplots()


def grid_of_axes(rows: int, columns: int, *, width: float, height: float, **options: Any) -> np.ndarray:
    """(rows, columns) new axes of one figure, in labkit's style."""
    with mpl.style.context(STYLE):
        return Figure(figsize=(width, height)).subplots(rows, columns, squeeze=False, **options)


def images(part: Images, classes: Sequence[str], n: int = 12) -> Figure:
    """The first `n` images with their labels."""
    table = grid_of_axes(2, (n + 1) // 2, width=7.2, height=2.7)
    for ax, pixels, label in zip(table.flat, part.pixels, part.labels):
        ax.imshow(pixels.permute(1, 2, 0).numpy())
        ax.set_title(classes[int(label)], loc="center")
    for ax in table.flat:
        ax.axis("off")
    return table[0, 0].figure


def frontier(
    points: Frontier | Iterable[Point], *, chosen: Mapping[str, Point] | None = None, ax: Axes | None = None
) -> Axes:
    """Every point, the non-dominated ones as a staircase, and the `chosen` ones ringed with their names."""
    front = points if isinstance(points, Frontier) else Frontier.of(points)
    ax, best = axes(ax), list(front)
    ax.plot([p.latency_ms for p in front.points], [100 * p.error for p in front.points], ".", color=GREY, alpha=0.5)
    ax.step([p.latency_ms for p in best], [100 * p.error for p in best], "o-", where="post", color=BLUE)
    for name, point in (chosen or {}).items():
        ax.plot(point.latency_ms, 100 * point.error, "o", ms=12, mfc="none", mec=ORANGE, mew=2)
        ax.annotate(name, (point.latency_ms, 100 * point.error), xytext=(8, 8), textcoords="offset points", fontsize=8)
    ax.set(xlabel=f"latency (ms, {best[0].latency_from})", ylabel=f"error (%, {best[0].error_from})")
    return ax


def latency_table(table: LatencyTable, ax: Axes | None = None) -> Axes:
    """Milliseconds of every candidate in every slot: dark is slow."""
    matrix = table.matrix.numpy()
    names = sorted({op for slot in table.slots for op, _ in slot}, key=[op for s in table.slots for op, _ in s].index)
    cells = np.full((len(names), len(table.slots)), np.nan)
    for s, slot in enumerate(table.slots):
        for k, (op, _) in enumerate(slot):
            cells[names.index(op), s] = matrix[s, k]
    ax = axes(ax, width=1.6 + 0.75 * len(table.slots), height=1.2 + 0.36 * len(names))
    ax.imshow(cells, cmap="Blues", aspect="auto", vmin=0)
    middle = np.nanmax(cells) / 2
    for (row, column), ms in np.ndenumerate(cells):
        text = "–" if np.isnan(ms) else f"{ms:.3f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if ms > middle else "black")
    ax.set_yticks(range(len(names)), names)
    ax.set_xticks(range(len(table.slots)), [f"layer {s + 1}" for s in range(len(table.slots))])
    ax.set_title(f"ms each part adds, {table.card.runtime}, batch {table.card.batch_size}, {table.card.origin}")
    ax.grid(False)
    return ax


def layer_latency(table: LatencyTable, architectures: Mapping[str, Architecture], ax: Axes | None = None) -> Axes:
    """What each layer of each architecture adds, side by side, with the operation written on the bar."""
    ax = axes(ax, width=7.2, height=3)
    width = 0.8 / len(architectures)
    for i, (name, architecture) in enumerate(architectures.items()):
        parts = table.parts_ms(architecture)
        at = np.arange(len(parts)) + (i - (len(architectures) - 1) / 2) * width
        total = table.table_ms(architecture)
        bars = ax.bar(at, parts, width * 0.92, label=f"{name}: {total:.3f} ms in all", hatch=("", "//", "..")[i % 3])
        ax.bar_label(bars, architecture.ops, rotation=90, fontsize=7, padding=2)
    ax.set_xticks(range(len(parts)), [f"layer {s + 1}" for s in range(len(parts))])
    ax.set(ylabel=f"latency (ms, table, {table.card.runtime})")
    ax.margins(y=0.35)
    ax.legend(loc="upper right")
    return ax


def choices(history: Sequence[Mapping[str, Any]], space: SearchSpace) -> Figure:
    """How each layer's probabilities moved during a search."""
    steps = [row for row in history if row["phase"] == "joint"]
    shape = (len(steps), *space.mask.shape)
    probs = torch.tensor([row["probs"] for row in steps]).reshape(shape).numpy()
    columns = min(5, len(space.slots))
    rows = -(-len(space.slots) // columns)
    table = grid_of_axes(rows, columns, width=1.75 * columns, height=0.6 + 1.6 * rows, sharex=True, sharey=True)
    for s, (ax, slot) in enumerate(zip(table.flat, space.slots)):
        for k, (op, style) in enumerate(zip(slot, ("-", "--", ":", "-.", "-", "--", ":"))):
            ax.plot(probs[:, s, k], style, label=op)
        ax.set_title(f"layer {s + 1}")
    for ax in table.flat[len(space.slots) :]:
        ax.axis("off")
    table[0, 0].set(ylabel="probability", ylim=(0, 1))
    table[-1, 0].set(xlabel="joint step")
    handles, labels = max((ax.get_legend_handles_labels() for ax in table.flat), key=lambda pair: len(pair[1]))
    table[0, 0].figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return table[0, 0].figure


def learning(history: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """The supernet's training loss, phase by phase."""
    ax = axes(ax)
    for phase, style in (("mixture", "-"), ("uniform", "--"), ("joint", "-")):
        rows = [row for row in history if row["phase"] == phase]
        if rows:
            ax.plot([row["step"] for row in rows], [row["loss"] for row in rows], style, label=phase, alpha=0.9)
    ax.set(xlabel="step", ylabel="cross-entropy (nats, training batch)")
    ax.legend()
    return ax


def race(rows: Sequence[RuntimeRow], ax: Axes | None = None) -> Axes:
    """Milliseconds in each runtime; one that is missing is a line that says why."""
    ax = axes(ax, width=7.2, height=0.9 + 0.5 * len(rows))
    longest = max(row.measurement.measured_ms for row in rows if row.measurement)
    for y, row in enumerate(rows):
        if row.measurement is None:
            ax.text(0.02 * longest, y, f"not here: {row.reason}"[:80], va="center", fontsize=7, style="italic")
            continue
        timing, ms = row.measurement.timing, row.measurement.measured_ms
        ax.barh(y, ms, 0.6, color=BLUE if row.speedup >= 1 else ORANGE)
        ax.plot([timing.best_ms, timing.median_ms], [y, y], "|-", color=BLACK, lw=1)
        text = f" {ms:.3f} ms" + ("" if row is rows[0] else f", {speedup_text(row.speedup)}")
        ax.text(max(ms, timing.median_ms), y, text, va="center", fontsize=8)
    ax.set_yticks(range(len(rows)), [row.name for row in rows])
    ax.invert_yaxis()
    card = next(row.measurement.card for row in rows if row.measurement)
    ax.set(
        xlabel=f"latency (ms, {card.statistic} to median, batch {card.batch_size}, {card.threads} threads, {card.device})"
    )
    ax.set_xlim(0, 1.45 * longest)
    ax.grid(axis="y", visible=False)
    return ax
