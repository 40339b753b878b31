"""Figures: each function is given results, draws one thing on one axes and returns the axes.

Numbers are computed elsewhere; colour never stands alone; every axis has its unit and says where its numbers are from.
"""

import base64
import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import matplotlib.ticker
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from PIL import Image

from labkit.cards import Measurement
from labkit.closed_loop import ClosedLoop
from labkit.comparison import band
from labkit.data import Images
from labkit.errors import InputError
from labkit.estimator_bench import Row
from labkit.export import RuntimeRow, speedup_text
from labkit.flips import Flips
from labkit.fusion import Fused
from labkit.latency import LatencyTable
from labkit.objectives import LatencyCost
from labkit.pareto import Frontier, Point
from labkit.ranking import Agreement
from labkit.replays import Replay
from labkit.runs import Study
from labkit.spaces import Architecture, SearchSpace

STYLE = Path(__file__).parent / "static" / "labkit.mplstyle"
styled = mpl.style.context(STYLE)  # a decorator: legends, titles and "C0" read the style when they are made or saved
BLUE, ORANGE, GREEN, PINK, GOLD, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # fmt: skip
GREY = "#8C8C8C"
TINTS = ("#F6C9A8", "#BFD9EC", "#BFE3D3", "#EBD0E0", "#F7E1A8", "#D5D5D5", "#FFFFFF")  # light enough for black text


@dataclass(frozen=True)
class Picture:
    """A figure as HTML with a text alternative: the one form whose alternative survives every renderer."""

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
    """What to end a cell with: the figure of `drawn`, and `alt`, one sentence that says what it shows."""
    figure = drawn.figure if isinstance(drawn, Axes) else drawn
    drawn_png, small_png = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn_png, format="png")
    image = Image.open(drawn_png).convert("RGB")
    if image.getcolors(4_096) is not None:  # a chart, no photograph: a palette looks the same at a third of the size
        image = image.quantize(64, dither=Image.Dither.NONE)
    image.save(small_png, "PNG", optimize=True)
    return Picture(small_png.getvalue(), alt)


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


@styled
def images(part: Images, classes: Sequence[str], n: int = 12) -> Figure:
    """The first `n` images with their labels."""
    table = grid_of_axes(2, (n + 1) // 2, width=7.2, height=2.7)
    for ax, pixels, label in zip(table.flat, part.pixels, part.labels):
        ax.imshow(pixels.permute(1, 2, 0).numpy())
        ax.set_title(classes[int(label)], loc="center")
    for ax in table.flat:
        ax.axis("off")
    return table[0, 0].figure


@styled
def frontier(
    points: Frontier | Iterable[Point], *, chosen: Mapping[str, Point] | None = None, ax: Axes | None = None
) -> Axes:
    """Every point, the non-dominated ones as a staircase, and the `chosen` ones ringed with their names."""
    front = points if isinstance(points, Frontier) else Frontier.of(points)
    ax, best = axes(ax), list(front)
    ax.plot([p.latency_ms for p in front.points], [100 * p.error for p in front.points], ".", color=GREY, alpha=0.5)
    ax.step([p.latency_ms for p in best], [100 * p.error for p in best], "o-", where="post", color=BLUE)
    ringed: dict[tuple[float, float], list[str]] = {}
    for name, point in (chosen or {}).items():
        ringed.setdefault((point.latency_ms, 100 * point.error), []).append(name)
    if ringed:  # below the stairs there are no points, so the names go there, in two rows
        bottom, top = ax.get_ylim()
        ax.set_ylim(bottom - 0.16 * (top - bottom), top)
    for i, (place, names) in enumerate(sorted(ringed.items())):
        ax.plot(*place, "o", ms=12, mfc="none", mec=ORANGE, mew=2)
        on_stairs = place in {(p.latency_ms, 100 * p.error) for p in best}
        lift, va = (-10 - 11 * (i % 2), "top") if on_stairs else (8, "bottom")
        ax.annotate(" = ".join(names), place, xytext=(0, lift), textcoords="offset points", fontsize=8, ha="center",
                    va=va, bbox={"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8})  # fmt: skip
    ax.set(xlabel=f"latency (ms, {best[0].latency_from})", ylabel=f"error (%, {best[0].error_from})")
    return ax


@styled
def study(made: Study) -> Picture:
    """A study's points and frontier, and what UNAS chose for each latency weight."""
    chosen: dict[str, Point] = {}
    for weight, point in made.picks:  # one ring for weights that chose the same
        same = next((name for name, other in chosen.items() if other == point), None)
        if same is not None:
            del chosen[same]
        chosen[f"{same}, {weight:g}" if same else f"weight {weight:g}"] = point
    ax = frontier(made.frontier, chosen=chosen, ax=axes(width=7.2, height=4))
    errors = [100 * p.error for p in made.points]
    bottom, top = 0.65 * min(errors), 1.1 * max(errors)  # room for the names below the stairs
    ax.set_yscale("log")
    ax.set_ylim(bottom, top)
    ax.set_yticks([p for p in (3, 5, 10, 15, 20, 30, 50, 90) if bottom <= p <= top])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    ax.set_xlabel(f"latency (ms, table, {made.table.card.runtime}, batch {made.table.card.batch_size}, recorded)")
    ax.set_ylabel("validation error (%, shared weights)")
    front = len(list(made.frontier))
    choices = "; ".join(f"{name}: {p.latency_ms:.3f} ms, {100 * p.error:.1f} %" for name, p in chosen.items())
    alt = f"{len(made.points)} architectures, error against latency; {front} on the frontier; UNAS chose {choices}"
    return picture(ax, alt)


@styled
def latency_table(table: LatencyTable, ax: Axes | None = None) -> Axes:
    """Milliseconds of every candidate in every slot, or on every edge of cells: dark is slow."""
    where, matrix = (
        (table.slots, table.matrix) if not table.edges else ([e.ops for e in table.edges], table.edge_matrix)
    )
    names = list(dict.fromkeys(op for candidates in where for op, _ in candidates))
    cells = np.full((len(names), len(where)), np.nan)
    for s, candidates in enumerate(where):
        for k, (op, _) in enumerate(candidates):
            cells[names.index(op), s] = matrix[s, k]
    ax = axes(ax, width=1.6 + 0.75 * len(where), height=1.2 + 0.36 * len(names))
    ax.imshow(cells, cmap="Blues", aspect="auto", vmin=0)
    middle = np.nanmax(cells) / 2
    for (row, column), ms in np.ndenumerate(cells):
        text = "–" if np.isnan(ms) else f"{ms:.3f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if ms > middle else "black")
    ax.set_yticks(range(len(names)), names)
    ax.set_xticks(range(len(where)), [f"{'edge' if table.edges else 'layer'} {s + 1}" for s in range(len(where))])
    ax.set_title(f"ms each part adds, {table.card.runtime}, batch {table.card.batch_size}, {table.card.origin}")
    ax.grid(False)
    return ax


@styled
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
    ax.margins(y=0.25)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(architectures))
    return ax


@styled
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


@styled
def replay(made: Replay, step: int) -> Figure:
    """A search after one of its steps: each layer's probabilities, and where on the way it stood."""
    names = list(dict.fromkeys(op for slot in made.slots for op in slot))
    columns = len(made.slots) if len(made.slots) <= 8 else 7
    rows = -(-len(made.slots) // columns)
    size = {"width": 1.2 + 1.1 * columns, "height": (0.5 + 0.17 * len(names)) * rows + 1.6}
    table = grid_of_axes(rows + 1, columns, **size)
    for s, ax in enumerate(table[:-1].flat):
        if s >= len(made.slots):
            ax.axis("off")
            continue
        slot, drawn = made.slots[s], made.drawn(step)
        bars = ax.barh([names.index(op) for op in slot], made.probs[step, s, : len(slot)], color=BLUE)
        if drawn is not None:
            bars[slot.index(drawn[s])].set(edgecolor=ORANGE, linewidth=2)
        ax.set(xlim=(0, 1), xticks=[0, 1], ylim=(len(names) - 0.4, -0.6))
        ax.set_title(f"layer {s + 1}", fontsize=9)
        ax.set_yticks(range(len(names)), names if s % columns == 0 else [""] * len(names))
    for ax in table[-1]:
        ax.remove()
    below = table[0, 0].figure.add_subplot(table[-1, 0].get_gridspec()[-1, :])
    below.plot([row["loss"] for row in made.history], color=GREY, lw=1)
    below.axvline(step, color=ORANGE)
    below.set(xlabel="step", ylabel="loss (nats)")
    return table[0, 0].figure


@styled
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


@styled
def race(rows: Sequence[RuntimeRow], ax: Axes | None = None) -> Axes:
    """Milliseconds in each runtime; one that is missing is a line that says why."""
    ax = axes(ax, width=7.2, height=0.9 + 0.5 * len(rows))
    longest = max(max(row.measurement.measured_ms, row.measurement.timing.median_ms) for row in rows if row.measurement)
    for y, row in enumerate(rows):
        if row.measurement is None:
            reason = textwrap.fill(f"not here: {row.reason}", 86)
            ax.text(0.01 * longest, y, reason, va="center", fontsize=7, style="italic")
            continue
        timing, ms = row.measurement.timing, row.measurement.measured_ms
        ax.barh(y, ms, 0.6, color=BLUE if row.speedup >= 1 else ORANGE)
        ax.plot([timing.best_ms, timing.median_ms], [y, y], "|-", color=BLACK, lw=1)
        text = f" {ms:.3f} ms" + ("" if row is rows[0] else f", {speedup_text(row.speedup)}")
        ax.text(max(ms, timing.median_ms), y, text, va="center", fontsize=8)
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    card = next(row.measurement.card for row in rows if row.measurement)
    where = f"batch {card.batch_size}, {card.threads} thread{'s' * (card.threads != 1)}, {card.device}"
    ax.set(xlabel=f"latency (ms, {card.statistic} to median, {where})")
    ax.set(xlim=(0, 1.4 * longest), ylim=(len(rows) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    return ax


@styled
def fusion(rows: Sequence[Fused], ax: Axes | None = None) -> Axes:
    """Layers on the left, the compiled nodes that swallowed them on the right."""
    ax = axes(ax, width=6.4, height=0.6 + 0.19 * len(rows))
    nodes = list(dict.fromkeys(row.node for row in rows))
    places = {node: [y for y, row in enumerate(rows) if row.node == node] for node in nodes}
    for i, ys in enumerate(places.values()):
        colour, middle = (BLUE, ORANGE)[i % 2], sum(ys) / len(ys)
        for y in ys:
            ax.plot([0, 1], [y, middle], color=colour, lw=1.5)
            ax.text(-0.03, y, f"{rows[y].layer}  {rows[y].kind}", ha="right", va="center", fontsize=7)
        ax.plot(1, middle, "s", color=colour, ms=6)
        ax.text(1.05, middle, rows[ys[0]].operator, va="center", fontsize=8)
    ax.set(xlim=(-1.3, 2.0), ylim=(len(rows) - 0.4, -1.4))
    ax.text(-0.03, -1, "PyTorch", ha="right", weight="bold", fontsize=8)
    ax.text(1.05, -1, "compiled", weight="bold", fontsize=8)
    ax.axis("off")
    return ax


@styled
def closed_loop(loop: ClosedLoop) -> Figure:
    """The table's milliseconds against the compiled runtime's, and the frontier by each of them."""
    table, compiled = loop.ms["table"], loop.ms["compiled"]
    name, errors = loop.compiled[0].card.runtime, [100 * point.error for point in loop.points]
    (left, right), *_ = grid_of_axes(1, 2, width=9.0, height=3.6)
    left.plot(table, compiled, "o", color=BLUE)
    ends = [0, 1.05 * max(table.max(), compiled.max())]
    left.plot(ends, ends, "--", color=GREY, lw=1, label="as believed")
    left.set(xlim=ends, ylim=ends, xlabel="by the search's table (ms)", ylabel=f"measured whole in {name} (ms)")
    left.set_title(f"Kendall tau {loop.agreement('table', 'compiled')}", fontsize=9)
    left.legend()
    for clock, front, ms, style, colour in (
        ("by the table", loop.believed, table, "--s", ORANGE),
        (f"in {name}", loop.front, compiled, "-o", BLUE),
    ):
        places = sorted(front, key=lambda i: ms[i])
        right.plot(ms, errors, style[-1], color=colour, alpha=0.3)
        right.plot([ms[i] for i in places], [errors[i] for i in places], style, color=colour, label=clock)
    right.set(xlabel="latency (ms)", ylabel="error on shared weights (%)")
    right.legend()
    return left.figure


@styled
def strip(architectures: Mapping[str, Architecture], space: SearchSpace, ax: Axes | None = None) -> Axes:
    """One row an architecture, one box a slot, the chosen candidate's name in it; equal names have equal tints."""
    longest = max(len(op) for slot in space.slots for op in slot)
    ax = axes(ax, width=1.6 + 0.09 * longest * len(space.slots), height=0.5 + 0.34 * len(architectures))
    tints = dict(zip(dict.fromkeys(op for slot in space.slots for op in slot), TINTS))
    for row, architecture in enumerate(architectures.values()):
        for s, op in enumerate(architecture.ops):
            ax.barh(row, 0.96, 0.82, left=s - 0.48, color=tints[op], edgecolor=GREY, linewidth=0.6)
            ax.text(s, row, op, ha="center", va="center", fontsize=8)
    ax.set_yticks(range(len(architectures)), list(architectures))
    ax.set_xticks(range(len(space.slots)), [f"layer {s + 1}" for s in range(len(space.slots))])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlim=(-0.55, len(space.slots) - 0.45))
    ax.invert_yaxis()
    ax.grid(False)
    return ax


@styled
def sizes(spaces: Mapping[str, float], yardsticks: Mapping[str, float] | None = None, ax: Axes | None = None) -> Axes:
    """How many architectures each space holds, on a logarithmic axis, with `yardsticks` as dashed lines."""
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


@styled
def cloud(
    x: Sequence[float],
    y: Sequence[float],
    names: tuple[str, str],
    marked: Mapping[str, tuple[float, float]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One dot an architecture, with the `marked` places ringed and named; `names` are those of the axes."""
    ax = axes(ax)
    ax.plot(x, y, ".", color=GREY, alpha=0.6)
    middle = (min(x) + max(x)) / 2
    for i, (name, (at_x, at_y)) in enumerate((marked or {}).items()):
        colour, left = (ORANGE, BLUE, GREEN, PINK)[i % 4], at_x > middle
        ax.plot(at_x, at_y, "os^D"[i % 4], ms=10, mfc="none", mec=colour, mew=2)
        ax.annotate(name, (at_x, at_y), xytext=(-9 if left else 9, 4), textcoords="offset points", fontsize=8,
                    ha="right" if left else "left", va="bottom", color=colour)  # fmt: skip
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.margins(0.08)
    return ax


@styled
def ranking(points: Iterable[Point], marked: Mapping[str, Architecture], ax: Axes | None = None) -> Axes:
    """The errors of all points from best to worst, with the ranks of the `marked` architectures."""
    ax, order = axes(ax, width=6), sorted(points, key=lambda p: p.error)
    ax.plot(range(1, len(order) + 1), [100 * p.error for p in order], color=GREY)
    ranks = {p.architecture: (rank, 100 * p.error) for rank, p in enumerate(order, 1)}
    for i, (name, architecture) in enumerate(marked.items()):
        (rank, error), colour = ranks[architecture], (ORANGE, BLUE, GREEN, PINK)[i % 4]
        ax.plot(rank, error, "os^D"[i % 4], color=colour)
        late = rank > 0.6 * len(order)
        away = (-8, 6 + 13 * i) if late else (8, -6 - 13 * i)  # each a line further, so that none covers another
        ax.annotate(f"{name}: {error:.0f} %, rank {rank}", (rank, error), xytext=away,
                    textcoords="offset points", fontsize=8, color=colour, va="bottom" if late else "top",
                    ha="right" if late else "left")  # fmt: skip
    ax.set(xlabel=f"rank among {len(order)}", ylabel=f"error (%, {order[0].error_from})", ylim=(0, 100))
    return ax


@styled
def losses(curves: Mapping[str, Sequence[float]], chance: float | None = None, ax: Axes | None = None) -> Axes:
    """Training losses, step by step and as a running mean of 10, each named at its end; `chance`: of guessing."""
    ax = axes(ax, width=6)
    longest = max(len(curve) for curve in curves.values())
    for i, (name, curve) in enumerate(curves.items()):
        smooth = np.convolve(curve, np.ones(10) / 10, "valid")
        ax.plot(curve, color=f"C{i}", alpha=0.25, lw=0.8)
        ax.plot(np.arange(9, len(curve)), smooth, color=f"C{i}", ls=("-", "--", ":")[i % 3])
        ax.annotate(name, (len(curve) - 1, smooth[-1]), xytext=(4, 0), textcoords="offset points", fontsize=8,
                    va="center", color=f"C{i}", bbox={"color": "white", "alpha": 0.8, "pad": 0.5})  # fmt: skip
    if chance is not None:
        ax.axhline(chance, color=GREY, lw=1, ls="-.")
        ax.text(1.3 * longest, chance, "guessing", fontsize=8, ha="right", va="bottom")
    ax.set(xlabel="step", ylabel="cross-entropy (nats, training batch)", xlim=(0, 1.3 * longest), ylim=(0, None))
    return ax


@styled
def two_errors(rows: Mapping[str, tuple[float, float]], names: tuple[str, str], ax: Axes | None = None) -> Axes:
    """Two errors of each row, joined: how far one way of judging is from the other."""
    ax = axes(ax, width=6, height=1.1 + 0.34 * len(rows))
    first, second = (100 * np.array(column) for column in zip(*rows.values()))
    at = np.arange(len(rows))
    ax.hlines(at, np.minimum(first, second), np.maximum(first, second), color=GREY, lw=1)
    ax.plot(first, at, "s", color=ORANGE, label=names[0])
    ax.plot(second, at, "o", color=BLUE, label=names[1])
    ax.set_yticks(at, list(rows))
    ax.set(xlabel="error (%, validation images, shared weights)", xlim=(0, 100))
    ax.invert_yaxis()
    ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return ax


@styled
def gradient_bias(estimates: Mapping[str, torch.Tensor], exact: torch.Tensor) -> Figure:
    """Mean estimate minus the exact gradient, logit by logit, with two standard errors; a panel an estimator.

    estimates: (R, S, K) each, R independent estimates. Deviations of more than four standard errors are squares.
    """
    table = grid_of_axes(1, len(estimates), width=2.5 * len(estimates), height=3, sharey=True)
    slots, candidates = exact.shape
    at = (np.arange(slots)[:, None] * (candidates + 1) + np.arange(candidates)).ravel()
    for ax, (name, repeats) in zip(table.flat, estimates.items()):
        off = (repeats.mean(0) - exact).flatten().numpy()
        error = (repeats.std(0) / len(repeats) ** 0.5).flatten().numpy()
        far = np.abs(off) > 4 * error
        ax.axhline(0, color=BLACK, lw=1)
        for rows, mark, colour in ((~far, "o", BLUE), (far, "s", ORANGE)):
            ax.errorbar(at[rows], off[rows], 2 * error[rows], fmt=mark, color=colour, ms=4, elinewidth=1)
        ax.set_title(f"{name}\n{far.sum()} of {far.size} logits off", fontsize=9)
        ax.set_xticks(at.reshape(slots, -1).mean(1), [str(s + 1) for s in range(slots)])
        ax.set_xlabel("layer (three logits each)" if candidates == 3 else "layer")
    table[0, 0].set_ylabel("mean estimate − exact (nats)")
    return table[0, 0].figure


@styled
def bias_and_variance(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Relative bias beside the noise it is seen through, and variance a draw, of each estimator.

    rows: "bias" and "noise" as fractions of the exact gradient's norm, "variance" summed over the logits.
    """
    left, right = grid_of_axes(1, 2, width=7.2, height=1.1 + 0.36 * len(rows), sharey=True)[0]
    at = np.arange(len(rows))
    bias, noise, variance = (np.array([row[key] for row in rows.values()]) for key in ("bias", "noise", "variance"))
    seen = bias > 2 * noise
    left.barh(at, 200 * noise, 0.7, color="#DDDDDD")
    left.plot(100 * bias[~seen], at[~seen], "o", color=BLUE)
    left.plot(100 * bias[seen], at[seen], "s", color=ORANGE)
    left.set_xlabel("distance from the exact gradient (%)\ngrey: what noise alone could make")
    right.barh(at, variance, 0.6, color=[ORANGE if b else BLUE for b in seen])
    for y, value in enumerate(variance):
        right.text(value, y, f" {value:.3g}", va="center", fontsize=8)
    right.set(xscale="log", xlabel="variance of one draw (nats², summed)")
    right.set_xlim(min(variance) / 2, 4 * max(variance))
    left.set_xlim(0, None)
    left.set_yticks(at, list(rows))
    left.invert_yaxis()
    for ax in (left, right):
        ax.grid(axis="y", visible=False)
    return left.figure


@styled
def beside_exact(estimates: torch.Tensor, exact: torch.Tensor, across: torch.Tensor, most: float) -> Figure:
    """Estimates around the exact gradient, drawn as an arrow, and bars of their bias and of their spread.

    The plane is spanned by the exact gradient and by what of `across` is at right angles to it; lengths are in units
    of the exact gradient's length.

    estimates: (R, S, K), R independent estimates; their mean is the cross.
    across: (S, K) some direction that matters, such as a bias.
    most: end of the bars' axis, in %, so that several such figures can be compared.
    """
    left, right = grid_of_axes(1, 2, width=7.6, height=2.7, width_ratios=(1.2, 1))[0]
    length = exact.norm()
    along = exact / length
    beside = across - (across * along).sum() * along
    beside = beside / beside.norm()
    seen = torch.stack([(estimates * axis).sum((-1, -2)) for axis in (along, beside)], 1) / length
    left.plot(*seen[:200].T.numpy(), ".", ms=3, color=GREY, alpha=0.7)
    left.annotate(
        "", (1, 0), (0, 0), arrowprops={"arrowstyle": "-|>", "lw": 2.5, "color": BLACK, "shrinkA": 0, "shrinkB": 0}
    )
    left.plot(*seen.mean(0).numpy(), "X", ms=8, color=ORANGE, mec="white")
    left.set(xlim=(-0.6, 2.6), ylim=(-1.1, 1.1), aspect="equal")
    left.set(xlabel="along the exact gradient (arrow)", ylabel="across it", title="dots: estimates; cross: their mean")
    bias, spread, chance = (
        (100 * x.norm() / length).item()
        for x in (estimates.mean(0) - exact, estimates.std(0), estimates.std(0) / len(estimates) ** 0.5)
    )
    bars = {"bias": bias, "spread": spread, "both": math.hypot(bias, spread)}
    sure = bias > 2 * chance
    right.barh(0, 2 * chance, 0.8, color="#DDDDDD")
    right.barh(list(bars), list(bars.values()), 0.45, color=[ORANGE if sure else BLUE, BLUE, GREY])
    for y, value in enumerate(bars.values()):
        right.text(min(max(value, 2 * chance * (y == 0)), most), y, f" {value:.2g} %", va="center", fontsize=8)
    right.set(xlim=(0, 1.25 * most), ylim=(2.6, -0.6))
    right.set_xlabel("% of the exact gradient's length\ngrey behind: by chance")
    right.grid(axis="y", visible=False)
    return left.figure


@styled
def rank_agreement(rows: Mapping[str, Mapping[str, Sequence[Agreement]]]) -> Figure:
    """Kendall's tau with its interval: a panel for each key of `rows`, in it a line for each key, a dot a seed."""
    lines = list(next(iter(rows.values())))
    table = grid_of_axes(1, len(rows), width=8, height=1.2 + 0.45 * len(lines), sharey=True)[0]
    for ax, (title, panel) in zip(table, rows.items()):
        for y, found in enumerate(panel.values()):
            at = y + np.linspace(-0.2, 0.2, len(found)) if len(found) > 1 else np.array([y])
            tau, low, high = (np.array([getattr(one, key) for one in found]) for key in ("tau", "low", "high"))
            ax.hlines(at, low, high, color=BLUE, lw=1.2)
            ax.plot(tau, at, "o", color=BLUE, ms=4)
            ax.annotate(f"{tau.mean():.2f}", (1, y), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center")
        ax.axvline(0, color=GREY, lw=1, ls=":")
        ax.set(xlim=(-0.4, 1), title=title, xlabel="Kendall's tau, 95 % interval")
        ax.set_yticks(range(len(lines)), lines)
        ax.grid(axis="y", visible=False)
    table[0].invert_yaxis()
    return table[0].figure


@styled
def comparison(
    costs: Mapping[str, np.ndarray], latency_weights: Sequence[float], ours: str, what: str, says: Sequence[str] = ()
) -> Figure:
    """Costs (seeds, weights) of each method in points: a panel a weight, a dot a seed, a bar the band of the mean.

    Args:
        says: a verdict a panel, below its title.
    """
    table = grid_of_axes(1, len(latency_weights), width=9, height=1.1 + 0.32 * len(costs), sharey=True)[0]
    for w, (ax, weight) in enumerate(zip(table, latency_weights)):
        for y, (method, values) in enumerate(costs.items()):
            colour, (low, high) = ORANGE if method == ours else BLUE, band(values[:, w])
            at = y + np.linspace(-0.25, 0.25, len(values))
            ax.plot(values[:, w], at, ".", color=GREY, ms=4)
            ax.hlines(y, low, high, color=colour, lw=4, alpha=0.6)
            ax.plot(values[:, w].mean(), y, "D" if method == ours else "o", color=colour, ms=5)
        ax.set(title=f"weight {weight:g}", xlabel=what, xlim=(0 if "regret" in what else None, None))
        ax.grid(axis="y", visible=False)
        if says:
            ax.set_title(ax.get_title("left"), pad=24)
            ax.text(0, 1.02, says[w], transform=ax.transAxes, va="bottom", fontsize=7)
    table[0].set_yticks(range(len(costs)), list(costs))
    table[0].invert_yaxis()
    return table[0].figure


# --- 04 to 07: timings, costs, frontiers, runtimes --------------------------------------------------------


@styled
def calls(times_ms: Sequence[float], marks: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """Single calls in the order in which they ran, and lines for the numbers that might stand for them."""
    ax = axes(ax, width=6.4)
    ax.plot(range(1, len(times_ms) + 1), times_ms, ".", color=GREY, ms=4)
    low = min(times_ms)
    for (name, ms), colour, style in zip(marks.items(), (GREEN, BLUE, ORANGE, PINK), ("-", "--", ":", "-.")):
        ax.axhline(ms, color=colour, ls=style, label=f"{name}: {ms:.3f} ms")
    ax.set(yscale="log", xlabel="call, in order", ylabel="time of one call (ms, measured here)", ylim=(0.8 * low, None))
    _plain_log(ax.yaxis)
    ax.legend(loc="upper right")
    return ax


@styled
def estimates(found: Mapping[str, Sequence[float]], truth: float, ax: Axes | None = None) -> Axes:
    """What each statistic said, repeat by repeat, beside the truth: near and narrow is good."""
    ax = axes(ax, width=6.4, height=0.9 + 0.45 * len(found))
    spread = np.linspace(-0.22, 0.22, max(map(len, found.values())))
    for y, (values, mark) in enumerate(zip(found.values(), "osD^v")):
        ax.plot(values, y + spread[: len(values)], mark, color=f"C{y}", ms=4, alpha=0.8)
    ax.axvline(truth, color=BLACK, ls="--", lw=1)
    ax.set_yticks(range(len(found)), list(found))
    ax.set_ylim(len(found) - 0.5, -0.75)
    ax.text(truth, -0.62, " undisturbed", fontsize=8, va="center")
    ax.set(xscale="log", xlabel="what one repeat said (ms a call, measured here)")
    _plain_log(ax.xaxis)
    return ax


def _plain_log(axis: Axis) -> None:
    """Plain numbers at 1, 2, 3 and 5 times each power of ten."""
    axis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("{x:g}")
    axis.set_tick_params(which="minor", labelsize=mpl.rcParams[f"{axis.axis_name}tick.labelsize"])


@styled
def parts_against_whole(table_ms: Sequence[float], measured: Sequence[Measurement], ax: Axes | None = None) -> Axes:
    """The sum of parts against the whole, end to end; on the diagonal they agree. Whiskers go from best to median."""
    ax, whole = axes(ax, width=5.2, height=3.6), [m.measured_ms for m in measured]
    low, high = 0.9 * min(*table_ms, *whole), 1.06 * max(*table_ms, *whole)
    ax.plot([low, high], [low, high], "--", color=GREY, lw=1)
    ax.annotate("table = measured", (high, high), xytext=(-2, 4), textcoords="offset points", ha="right", fontsize=8)
    slack = [[0.0] * len(whole), [m.timing.median_ms - m.timing.best_ms for m in measured]]
    ax.errorbar(table_ms, whole, yerr=slack, fmt="o", color=BLUE, ecolor=SKY, elinewidth=1)
    card = measured[0].card
    where = f"{card.runtime}, batch {card.batch_size}, {card.threads} thread{'s' * (card.threads != 1)}"
    ax.set(xlabel=f"latency (ms, table: sum of parts, {where})", ylabel=f"latency (ms, {card.origin} end to end)")
    ax.set(xlim=(low, high), ylim=(low, 1.06 * max(high, *(m.timing.median_ms for m in measured))))
    return ax


@styled
def agreement(values: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Rank correlation (Spearman) of every pair of rows: 1 is the same order, 0 unrelated, -1 reversed."""
    names, ranks = list(values), [np.argsort(np.argsort(v, kind="stable")) for v in values.values()]
    matrix = np.corrcoef(ranks)
    ax = axes(ax, width=1.8 + 0.95 * len(names), height=1.0 + 0.55 * len(names))
    ax.imshow(matrix, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(matrix):
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if abs(value) > 0.6 else "black")
    ax.set_xticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
    ax.set_yticks(range(len(names)), names)
    ax.set_title("rank correlation")
    ax.grid(False)
    return ax


@styled
def flips(made: Flips, left: int, right: int, a: int, b: int) -> Axes:
    """Every architecture's place under two tables, a line each; two of them named."""
    ax = axes(None, width=6.4, height=4.2)
    one, other = made.sides[left], made.sides[right]
    ax.plot([0, 1], [one.places, other.places], color=GREY, lw=0.6, alpha=0.3)
    for name, i, colour, style in (("A", a, BLUE, "-o"), ("B", b, ORANGE, "--s")):
        ends, rival = (one.places[i], other.places[i]), b if i == a else a
        ax.plot([0, 1], ends, style, color=colour, lw=2.5, label=f"{name} {made.labels[i]}")
        for x, end, side in zip((0, 1), ends, (one, other)):
            text = f"{name} {made.labels[i]}  {side.ms[i]:.3f} ms"
            away = side.places[i] - side.places[rival]
            va = "center" if abs(away) > 0.05 * made.architectures else "top" if away > 0 else "bottom"  # never on top
            ax.text(x + (0.04 if x else -0.04), end, text, ha="left" if x else "right", va=va, fontsize=8)
    ax.set(xlim=(-0.9, 1.9), ylim=(made.architectures, -1), xticks=[0, 1], yticks=[])
    ax.set_xticklabels([one.name, other.name])
    ax.xaxis.tick_top()
    ax.set_title("places by the recorded tables, the fastest at the top", fontsize=9)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax


@styled
def defects(rows: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """What each broken stopwatch said, as a multiple of what the repaired one said; 1 is no harm."""
    ax = axes(ax, width=6.4, height=0.9 + 0.34 * len(rows))
    for y, ratio in enumerate(rows.values()):
        harmless = 0.9 <= ratio <= 1.1
        ax.plot([1, ratio], [y, y], color=GREY if harmless else ORANGE, lw=2)
        ax.plot(ratio, y, "o" if harmless else "D", color=GREY if harmless else ORANGE)
        ax.annotate(f"{ratio:.2g}", (ratio, y), xytext=(9 if ratio >= 1 else -9, 0), textcoords="offset points",
                    va="center", ha="left" if ratio >= 1 else "right", fontsize=8)  # fmt: skip
    ax.axvline(1, color=BLACK, lw=1, ls="--")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set(xscale="log", xlabel="broken stopwatch over repaired one (ratio of ms, measured here)")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.margins(x=0.15)
    return ax


@styled
def latency_costs(costs: Mapping[str, LatencyCost], range_ms: tuple[float, float], ax: Axes | None = None) -> Axes:
    """What milliseconds cost under each rule, over the range that a space has."""
    ax, ms = axes(ax), torch.linspace(*range_ms, 200, dtype=torch.float64)
    for (name, cost), style in zip(costs.items(), ("-", "--", ":", "-.")):
        ax.plot(ms, 100 * cost(ms), style, label=name)
    ax.set(xlabel="latency (ms, table)", ylabel="cost (points of error)")
    ax.legend()
    return ax


@styled
def luck(expected: Sequence[float], chosen: float, budget: int, ax: Axes | None = None) -> Axes:
    """The expected cost of the best of n random architectures, n from 1 on, beside the search's pick.

    `chosen` is the cost of the pick, and `budget` how many architectures its price would have judged.
    """
    ax, n = axes(ax, width=6), len(expected)
    ax.plot(range(1, n + 1), [100 * cost for cost in expected], label="best of n at random, on average")
    ax.axhline(100 * chosen, color=ORANGE, ls="--", label="the search's pick")
    passes = "for the image passes of the search"
    name = passes if budget <= n else f"{passes}: {budget}"
    ax.axvline(min(budget, n), color=BLACK, ls=":", label=name)
    ax.set(xscale="log", xlabel="architectures judged, n", ylabel="cost (points of error, latency included)")
    ax.set_xticks([x for x in (1, 3, 10, 30, 100, 300, 1000) if 1.3 * x < n] + [n])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.legend(loc="upper right", frameon=True, framealpha=1, edgecolor="none")
    return ax


@styled
def dominated_area(points: Frontier | Iterable[Point], worst: tuple[float, float], ax: Axes | None = None) -> Axes:
    """The staircase of the frontier and the area that it dominates below `worst` = (error, ms)."""
    front = points if isinstance(points, Frontier) else Frontier.of(points)
    ax = frontier(front, ax=ax)
    inside = [p for p in front if p.error < worst[0] and p.latency_ms < worst[1]]
    ms = [p.latency_ms for p in inside] + [worst[1]]
    height = [100 * p.error for p in inside] + [100 * inside[-1].error]
    ax.fill_between(ms, height, 100 * worst[0], step="post", color=SKY, alpha=0.35, lw=0)
    ax.plot(worst[1], 100 * worst[0], "X", color=BLACK, ms=8)
    ax.annotate("worst", (worst[1], 100 * worst[0]), xytext=(-8, -3), textcoords="offset points", ha="right",
                fontsize=8)  # fmt: skip
    return ax


@styled
def reached(shares: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """How much of a frontier each way of asking can choose."""
    ax = axes(ax, width=6.4, height=0.8 + 0.36 * len(shares))
    for y, share in enumerate(shares.values()):
        ax.barh(y, 100 * share, 0.6, color=ORANGE if y == 0 else BLUE, hatch="//" if y == 0 else "")
        ax.text(100 * share, y, f" {100 * share:.0f} %", va="center", fontsize=8)
    ax.set_yticks(range(len(shares)), list(shares))
    ax.invert_yaxis()
    ax.set(xlabel="share of the frontier that can be chosen (%)", xlim=(0, 112))
    ax.grid(axis="y", visible=False)
    return ax


@styled
def shares(
    rows: Mapping[str, Sequence[float]],
    columns: Sequence[str],
    what: str,
    ax: Axes | None = None,
    *,
    wide: float = 0.52,
) -> Axes:
    """A share for each row and column, as a number on a tint: which way of asking holds where.

    Args:
        wide: inches of a column.
    """
    matrix = np.array(list(rows.values()), dtype=float)
    if matrix.shape != (len(rows), len(columns)):
        raise InputError(f"a share for each of {len(rows)} rows and {len(columns)} columns; got {matrix.shape}")
    ax = axes(ax, width=1.6 + wide * len(columns), height=1.1 + 0.4 * len(rows))
    ax.imshow(matrix, cmap="Blues", vmin=0, vmax=1.8, aspect="auto")  # light enough for black text
    for (row, column), share in np.ndenumerate(matrix):
        ax.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8)
    ax.set_xticks(range(len(columns)), columns, fontsize=8)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_title(what, fontsize=9)
    ax.grid(False)
    return ax


@styled
def clocks(rows: Mapping[str, tuple[float, str]], ax: Axes | None = None) -> Axes:
    """One architecture by several clocks: name -> (ms, origin), with the origin in words and in the hatch."""
    ax = axes(ax, width=6.6, height=0.8 + 0.42 * len(rows))
    hatches = {"predicted": "..", "recorded": "//", "measured": ""}
    for y, (ms, origin) in enumerate(rows.values()):
        ax.barh(y, ms, 0.6, color=SKY, edgecolor=BLUE, hatch=hatches[origin])
        ax.text(ms, y, f" {ms:.3f} ms, {origin}", va="center", fontsize=8)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.invert_yaxis()
    ax.set(xlabel="latency (ms)", xlim=(0, 1.4 * max(ms for ms, _ in rows.values())))
    ax.grid(axis="y", visible=False)
    return ax


@styled
def estimator_bench(rows: Sequence[Row], temperature: float = 0.4) -> Figure:
    """For each problem, what each estimator's variance costs: variance of a draw times its forward passes.

    Biased estimators are hatched, with their bias; one without any variance is written rather than drawn.
    """
    usual = [row for row in rows if row.softening == 0 and row.temperature in (None, temperature)]
    names = list(dict.fromkeys(row.problem for row in usual))
    columns = min(2, len(names))
    lines = math.ceil(len(names) / columns)
    table = grid_of_axes(lines, columns, width=9.5, height=0.6 + 2.6 * lines)
    for ax, name in zip(table.flat, names):
        here = [row for row in usual if row.problem == name][::-1]
        prices = [row.variance * row.passes for row in here]
        drawn = [price for price in prices if price > 1e-12]
        left = min(drawn) / 3
        for y, (row, price) in enumerate(zip(here, prices)):
            biased = not row.unbiased
            off = 100 * row.bias
            note = f"{off:.{0 if off >= 10 else 1}f} % off" if biased else ""
            if price > 1e-12:
                ax.barh(y, price - left, left=left, color=TINTS[0] if biased else BLUE, hatch="//" if biased else "",
                        edgecolor=ORANGE if biased else BLUE)  # fmt: skip
            else:
                note = ", ".join(filter(None, ("no variance", note)))
            ax.text(max(price, left) * 1.15, y, note, va="center", fontsize=7)
        ax.set_xscale("log")
        ax.set_xlim(left, max(drawn) * 60)
        ax.set_yticks(range(len(here)), [row.estimator for row in here], fontsize=7)
        ax.set_title(name)
        ax.set_xlabel("variance of a draw x its forward passes")
    for ax in table.flat[len(names) :]:
        ax.axis("off")
    table[0, 0].figure.tight_layout()
    return table[0, 0].figure
