"""Runtimes, what they fuse, and how the latencies of a search compare with those after deployment."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.deploy.closed_loop import ClosedLoop
from labkit.deploy.export import RuntimeRow, speedup_text
from labkit.plots.canvas import BLACK, BLUE, GREY, ORANGE, axes, grid_of_axes, styled
from labkit.runtimes.fusion import Fused


@styled
def race(rows: Sequence[RuntimeRow], ax: Axes | None = None) -> Axes:
    """Draw the milliseconds in each runtime as bars; a missing runtime is a line that says why.

    A thin line goes from the best time to the median.

    Args:
        rows: as `deploy.benchmark` returns them, the baseline first.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = axes(ax, width=7.2, height=0.9 + 0.5 * len(rows))
    longest = max(max(row.measurement.measured_ms, row.measurement.timing.median_ms) for row in rows if row.measurement)
    for y, row in enumerate(rows):
        if row.measurement is None:
            reason = textwrap.fill(f"not here: {row.reason}", 86)
            ax.text(0.01 * longest, y, reason, va="center", fontsize=7, style="italic")
            continue
        timing, ms = row.measurement.timing, row.measurement.measured_ms
        speedup = 1.0 if row.speedup is None else row.speedup  # the baseline has its own
        ax.barh(y, ms, 0.6, color=BLUE if speedup >= 1 else ORANGE)
        ax.plot([timing.best_ms, timing.median_ms], [y, y], "|-", color=BLACK, lw=1)
        text = f" {ms:.3f} ms" + ("" if row is rows[0] else f", {speedup_text(speedup)}")
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
    """Draw the layers on the left, joined to the compiled nodes that do their work on the right.

    Args:
        rows: as `runtimes.fusion.fusions` returns them.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
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
    """Draw the table's milliseconds against the compiled runtime's, and the frontier by each of them.

    Args:
        loop: the comparison of both, as `deploy.closed_loop` makes it.

    Returns:
        The figure, of two panels.
    """
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
        ("by the table", loop.predicted_frontier, table, "--s", ORANGE),
        (f"in {name}", loop.measured_frontier, compiled, "-o", BLUE),
    ):
        places = sorted(front, key=lambda i: ms[i])
        right.plot(ms, errors, style[-1], color=colour, alpha=0.3)
        right.plot([ms[i] for i in places], [errors[i] for i in places], style, color=colour, label=clock)
    right.set(xlabel="latency (ms)", ylabel="error on shared weights (%)")
    right.legend()
    return left.figure
