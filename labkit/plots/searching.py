"""The course of a search, and a search compared with its baselines."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.estimators.costs import LatencyCost
from labkit.oneshot.replays import Replay
from labkit.plots.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SKY, axes, grid_of_axes, styled
from labkit.spaces import SearchSpace
from labkit.stats import mean_interval


@styled
def learning(history: Sequence[Mapping[str, Any]], ax: Axes | None = None) -> Axes:
    """Draw the supernet's training loss, phase by phase.

    Args:
        history: of a search, as `SearchResult.history`.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = axes(ax)
    for phase, style in (("mixture", "-"), ("uniform", "--"), ("joint", "-")):
        rows = [row for row in history if row["phase"] == phase]
        if rows:
            ax.plot([row["step"] for row in rows], [row["loss"] for row in rows], style, label=phase, alpha=0.9)
    ax.set(xlabel="step", ylabel="cross-entropy (nats, training batch)")
    ax.legend()
    return ax


@styled
def choices(history: Sequence[Mapping[str, Any]], space: SearchSpace) -> Figure:
    """Draw how each slot's probabilities moved during a search.

    Args:
        history: of a search, as `SearchResult.history`.
        space: the space that was searched.

    Returns:
        The figure, a panel a slot.
    """
    steps = [row for row in history if row["phase"] == "joint"]
    shape = (len(steps), *space.mask.shape)
    probs = torch.tensor([row["probs"] for row in steps]).reshape(shape).numpy()
    columns = min(5, len(space.slots))
    rows = -(-len(space.slots) // columns)
    table = grid_of_axes(rows, columns, width=1.75 * columns, height=0.6 + 1.6 * rows, sharex=True, sharey=True)
    for s, (ax, slot, name) in enumerate(zip(table.flat, space.slots, space.slot_names)):
        for k, (op, style) in enumerate(zip(slot, cycle(("-", "--", ":", "-.")))):
            ax.plot(probs[:, s, k], style, label=op)
        ax.set_title(name)
    for ax in table.flat[len(space.slots) :]:
        ax.axis("off")
    table[0, 0].set(ylabel="probability", ylim=(0, 1))
    table[-1, 0].set(xlabel="joint step")
    handles, labels = max((ax.get_legend_handles_labels() for ax in table.flat), key=lambda pair: len(pair[1]))
    table[0, 0].figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return table[0, 0].figure


@styled
def replay(record: Replay, step: int) -> Figure:
    """Draw a search after one of its steps: each slot's probabilities, and the loss with that step marked.

    The operations that the step sampled have an edge.

    Args:
        record: the search.
        step: number of the step, from 0.

    Returns:
        The figure.
    """
    names = list(dict.fromkeys(op for slot in record.slots for op in slot))
    columns = len(record.slots) if len(record.slots) <= 8 else 7
    rows = -(-len(record.slots) // columns)
    size = {"width": 1.2 + 1.1 * columns, "height": (0.5 + 0.17 * len(names)) * rows + 1.6}
    table = grid_of_axes(rows + 1, columns, **size)
    for s, ax in enumerate(table[:-1].flat):
        if s >= len(record.slots):
            ax.axis("off")
            continue
        slot, drawn = record.slots[s], record.drawn(step)
        bars = ax.barh([names.index(op) for op in slot], record.probs[step, s, : len(slot)], color=BLUE)
        if drawn is not None:
            bars[slot.index(drawn[s])].set(edgecolor=ORANGE, linewidth=2)
        ax.set(xlim=(0, 1), xticks=[0, 1], ylim=(len(names) - 0.4, -0.6))
        ax.set_title(record.names[s], fontsize=9)
        ax.set_yticks(range(len(names)), names if s % columns == 0 else [""] * len(names))
    for ax in table[-1]:
        ax.remove()
    below = table[0, 0].figure.add_subplot(table[-1, 0].get_gridspec()[-1, :])
    below.plot([row["loss"] for row in record.history], color=GREY, lw=1)
    below.axvline(step, color=ORANGE)
    below.set(xlabel="step", ylabel="loss (nats)")
    return table[0, 0].figure


@styled
def baselines(
    groups: Mapping[str, Sequence[tuple[float, float]]], ours: str, runtime: str, ax: Axes | None = None
) -> Axes:
    """Test error against measured latency: a dot a training, ours as diamonds.

    Args:
        groups: (milliseconds, error fraction) of the trainings of each group.
        ours: the group that is compared with the others.
        runtime: in which the milliseconds were measured.
        ax: axes to draw on.

    Returns:
        The axes.
    """
    ax = axes(ax, width=6.4, height=3.6)
    styles = cycle(("s", "^", "v", "P", "X", "<", ">"))
    colours = cycle((BLUE, GREEN, PINK, SKY, GREY))
    for name, points in groups.items():
        ms, errors = np.array(points).T
        colour, style = (ORANGE, "D") if name == ours else (next(colours), next(styles))
        front = 3 if name == ours else 2
        ax.plot(ms, 100 * errors, style, color=colour, ms=6, alpha=0.75, label=name, zorder=front)
    ax.set(xlabel=f"latency (ms, measured in {runtime})", ylabel="test error (%)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


@styled
def latency_costs(costs: Mapping[str, LatencyCost], range_ms: tuple[float, float], ax: Axes | None = None) -> Axes:
    """Draw what milliseconds cost under each rule, over the range that a space has.

    Args:
        costs: name -> rule.
        range_ms: the least and the largest latency, in ms.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax, ms = axes(ax), torch.linspace(*range_ms, 200, dtype=torch.float64)
    for (name, cost), style in zip(costs.items(), cycle(("-", "--", ":", "-."))):
        ax.plot(ms, 100 * cost(ms), style, label=name)
    ax.set(xlabel="latency (ms, table)", ylabel="cost (points of error)")
    ax.legend()
    return ax


@styled
def luck(expected: Sequence[float], chosen: float, budget: int, ax: Axes | None = None) -> Axes:
    """Draw the expected cost of the best of n random architectures, from n = 1 on, and the cost of the search's pick.

    Args:
        expected: (N,) expected costs as error fractions, for n = 1 to N.
        chosen: cost of the search's pick, as an error fraction.
        budget: number of architectures that the images of the search would have evaluated.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax, n = axes(ax, width=6), len(expected)
    ax.plot(range(1, n + 1), [100 * cost for cost in expected], label="best of n at random, on average")
    ax.axhline(100 * chosen, color=ORANGE, ls="--", label="the search's pick")
    passes = "for the image passes of the search"
    name = passes if budget <= n else f"{passes}: {budget}"
    ax.axvline(min(budget, n), color=BLACK, ls=":", label=name)
    ax.set(xscale="log", xlabel="architectures evaluated, n", ylabel="cost (points of error, latency included)")
    ax.set_xticks([x for x in (1, 3, 10, 30, 100, 300, 1000) if 1.3 * x < n] + [n])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.legend(loc="upper right", frameon=True, framealpha=1, edgecolor="none")
    return ax


@styled
def comparison(
    costs: Mapping[str, np.ndarray],
    latency_weights: Sequence[float],
    ours: str,
    what: str,
    verdicts: Sequence[str] = (),
) -> Figure:
    """Draw each method's costs: a panel a weight, a dot a seed, a bar the 95 % band of the mean.

    Args:
        costs: method -> (seeds, weights), in points.
        latency_weights: the weights, in error fraction per ms.
        ours: the method that is set off by its colour.
        what: label of the axes, with the unit.
        verdicts: one a panel, below its title.

    Returns:
        The figure.
    """
    table = grid_of_axes(1, len(latency_weights), width=9, height=1.1 + 0.32 * len(costs), sharey=True)[0]
    for w, (ax, weight) in enumerate(zip(table, latency_weights)):
        for y, (method, values) in enumerate(costs.items()):
            colour, (low, high) = ORANGE if method == ours else BLUE, mean_interval(values[:, w])
            at = y + np.linspace(-0.25, 0.25, len(values))
            ax.plot(values[:, w], at, ".", color=GREY, ms=4)
            ax.hlines(y, low, high, color=colour, lw=4, alpha=0.6)
            ax.plot(values[:, w].mean(), y, "D" if method == ours else "o", color=colour, ms=5)
        ax.set(title=f"weight {weight:g}", xlabel=fill(what, 22), xlim=(None, None))
        if "regret" in what:  # a little left of 0, so that a dot at 0 is whole
            ax.set_xlim(-0.02 * ax.get_xlim()[1], None)
        ax.grid(axis="y", visible=False)
        if verdicts:
            ax.set_title(ax.get_title("left"), pad=24)
            ax.text(0, 1.02, verdicts[w], transform=ax.transAxes, va="bottom", fontsize=7)
    table[0].set_yticks(range(len(costs)), list(costs))
    table[0].invert_yaxis()
    return table[0].figure
