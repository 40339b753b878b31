"""Stopwatches, tables of parts, and whole networks compared with them."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from labkit.latency.cards import Measurement, Timing
from labkit.latency.reversals import RankReversals
from labkit.latency.table import LatencyTable
from labkit.plots.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SKY, axes, plain_log, styled
from labkit.spaces import Architecture
from labkit.stats import spearman


@styled
def calls(times_ms: Sequence[float], marks: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """Draw single calls in the order in which they ran, and a line for each number that might stand for them.

    Args:
        times_ms: one time a call, in ms.
        marks: name -> ms.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = axes(ax, width=6.4)
    ax.plot(range(1, len(times_ms) + 1), times_ms, ".", color=GREY, ms=4)
    low = min(times_ms)
    looks = zip(cycle((GREEN, BLUE, ORANGE, PINK)), cycle(("-", "--", ":", "-.")))
    for (name, ms), (colour, style) in zip(marks.items(), looks):
        ax.axhline(ms, color=colour, ls=style, label=f"{name}: {ms:.3f} ms")
    ax.set(yscale="log", xlabel="call, in order", ylabel="time of one call (ms, measured here)", ylim=(0.8 * low, None))
    plain_log(ax.yaxis)
    ax.legend(loc="upper right", frameon=True, framealpha=0.9, edgecolor="none")
    return ax


@styled
def estimates(statistics: Mapping[str, Sequence[float]], undisturbed: float, ax: Axes | None = None) -> Axes:
    """Draw each statistic of each repeat with a line at the undisturbed time: near and narrow is good.

    Args:
        statistics: name of a statistic -> one value a repeat, in ms a call.
        undisturbed: the time of a call on a quiet machine, in ms.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = axes(ax, width=6.4, height=0.9 + 0.45 * len(statistics))
    spread = np.linspace(-0.22, 0.22, max(map(len, statistics.values())))
    for y, (values, mark) in enumerate(zip(statistics.values(), cycle("osD^v"))):
        ax.plot(values, y + spread[: len(values)], mark, color=f"C{y}", ms=4, alpha=0.8)
    ax.axvline(undisturbed, color=BLACK, ls="--", lw=1)
    ax.set_yticks(range(len(statistics)), list(statistics))
    ax.set_ylim(len(statistics) - 0.5, -0.75)
    ax.text(undisturbed, -0.62, " undisturbed", fontsize=8, va="center")
    ax.set(xscale="log", xlabel="estimate of one repeat (ms a call, measured here; logarithmic)")
    plain_log(ax.xaxis)
    return ax


@styled
def defects(rows: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """Draw the time of each broken stopwatch as a multiple of the repaired one's; within 10 % of 1 it is no harm.

    Args:
        rows: name of a defect -> ratio of the two times.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
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
def clocks(rows: Mapping[str, tuple[float, str]], ax: Axes | None = None) -> Axes:
    """Draw one architecture's latency by several clocks, with the origin of each number in words and in the hatch.

    Args:
        rows: name -> (ms, origin), the origin one of "predicted", "recorded" and "measured".
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
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
def latency_table(table: LatencyTable, ax: Axes | None = None) -> Axes:
    """Write the milliseconds of every candidate in every slot, or on every edge of cells: dark is slow.

    Args:
        table: the table.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    where: Sequence[Sequence[tuple[str, Timing | None]]] = table.slots
    places: Sequence[str] = table.slot_names
    matrix = table.matrix
    if table.edges:  # of cells, whose slots take no time by themselves
        where, matrix = [edge.ops for edge in table.edges], table.edge_matrix
        places = [f"edge {e + 1}" for e in range(len(where))]
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
    ax.set_xticks(range(len(where)), places)
    ax.set_title(f"ms each part adds, {table.card.runtime}, batch {table.card.batch_size}, {table.card.origin}")
    ax.grid(False)
    return ax


@styled
def layer_latency(table: LatencyTable, architectures: Mapping[str, Architecture], ax: Axes | None = None) -> Axes:
    """Draw what each layer of each architecture adds, side by side, with the operation written on the bar.

    Args:
        table: the table of all the layers' milliseconds.
        architectures: name -> architecture of the table's space.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = axes(ax, width=max(7.2, 0.65 * len(table.slots)), height=3)
    width = 0.8 / len(architectures)
    for i, (name, architecture) in enumerate(architectures.items()):
        parts = table.parts_ms(architecture)
        at = np.arange(len(parts)) + (i - (len(architectures) - 1) / 2) * width
        total = table.table_ms(architecture)
        bars = ax.bar(at, parts, width * 0.92, label=f"{name}: {total:.3f} ms in all", hatch=("", "//", "..")[i % 3])
        ax.bar_label(bars, architecture.ops, rotation=90, fontsize=7, padding=2)
    ax.set_xticks(range(len(parts)), table.slot_names)
    ax.set(ylabel=f"latency (ms, table, {table.card.runtime})")
    ax.margins(y=0.35)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(architectures))
    return ax


@styled
def parts_against_whole(table_ms: Sequence[float], measured: Sequence[Measurement], ax: Axes | None = None) -> Axes:
    """Draw the sum of parts against the whole, end to end; on the diagonal they agree.

    Whiskers go from the best time to the median.

    Args:
        table_ms: (N,) sums of parts, in ms.
        measured: N measurements of the same architectures, whole.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
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
    """Write the rank correlation (Spearman) of every pair of rows: 1 is the same order, 0 unrelated, -1 reversed.

    Args:
        values: name -> (N,) numbers, one an architecture.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    names, matrix = list(values), spearman(list(values.values()))
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
def rank_reversals(record: RankReversals, left: int, right: int, a: int, b: int) -> Axes:
    """Draw every architecture's place under two tables, a line each; two of them are named.

    Args:
        record: the architectures in the order of several tables.
        left: index of the table on the left.
        right: index of the table on the right.
        a: index of the architecture that is drawn as A.
        b: index of the architecture that is drawn as B.

    Returns:
        The axes.
    """
    ax = axes(None, width=6.4, height=4.2)
    one, other = record.sides[left], record.sides[right]
    ax.plot([0, 1], [one.places, other.places], color=GREY, lw=0.6, alpha=0.3)
    for name, i, colour, style in (("A", a, BLUE, "-o"), ("B", b, ORANGE, "--s")):
        ends, partner = (one.places[i], other.places[i]), b if i == a else a
        ax.plot([0, 1], ends, style, color=colour, lw=2.5, label=f"{name} {record.labels[i]}")
        for x, end, side in zip((0, 1), ends, (one, other)):
            text = f"{name} {record.labels[i]}  {side.ms[i]:.3f} ms"
            away = side.places[i] - side.places[partner]
            va = (
                "center" if abs(away) > 0.05 * record.architectures else "top" if away > 0 else "bottom"
            )  # never on top
            ax.text(x + (0.04 if x else -0.04), end, text, ha="left" if x else "right", va=va, fontsize=8)
    ax.set(xlim=(-0.9, 1.9), ylim=(record.architectures, -1), xticks=[0, 1], yticks=[])
    ax.set_xticklabels([one.name, other.name])
    ax.xaxis.tick_top()
    ax.set_title("places by the recorded tables, the fastest at the top", fontsize=9)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax
