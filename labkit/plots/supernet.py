"""How well shared weights rank architectures."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.pareto import Point
from labkit.plots.canvas import BLUE, GREEN, GREY, ORANGE, PINK, axes, grid_of_axes, styled
from labkit.spaces import Architecture
from labkit.stats import Agreement


@styled
def losses(curves: Mapping[str, Sequence[float]], chance: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw training losses, step by step and as a running mean of 10 (of fewer steps: of all).

    Curves of one length are named at their ends; a shorter one would have its name on top of the others.

    Args:
        curves: name -> one loss a step, in nats.
        chance: loss of a network that guesses.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = axes(ax, width=6)
    lengths = [len(curve) for curve in curves.values()]
    longest, at_ends = max(lengths), len(set(lengths)) == 1
    for i, (name, curve) in enumerate(curves.items()):
        window = min(10, len(curve))
        smooth = np.convolve(curve, np.ones(window) / window, "valid")
        ax.plot(curve, color=f"C{i}", alpha=0.25, lw=0.8)
        ax.plot(np.arange(window - 1, len(curve)), smooth, color=f"C{i}", ls=("-", "--", ":")[i % 3], label=name)
        if at_ends:
            ax.annotate(name, (len(curve) - 1, smooth[-1]), xytext=(4, 0), textcoords="offset points", fontsize=8,
                        va="center", color=f"C{i}", bbox={"color": "white", "alpha": 0.8, "pad": 0.5})  # fmt: skip
    if not at_ends:
        ax.legend(loc="upper right")
    if chance is not None:
        ax.axhline(chance, color=GREY, lw=1, ls="-.")
        ax.text(1.3 * longest, chance, "guessing", fontsize=8, ha="right", va="bottom")
    ax.set(xlabel="step", ylabel="cross-entropy (nats, training batch)", xlim=(0, 1.3 * longest), ylim=(0, None))
    return ax


@styled
def ranking(points: Iterable[Point], marked: Mapping[str, Architecture], ax: Axes | None = None) -> Axes:
    """Draw the errors of all points from best to worst, with the ranks of the `marked` architectures.

    Args:
        points: the points.
        marked: name -> architecture of one of them.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
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
def two_errors(rows: Mapping[str, tuple[float, float]], names: tuple[str, str], ax: Axes | None = None) -> Axes:
    """Draw two errors of each row, joined: how far one way to evaluate is from the other.

    Args:
        rows: name -> the two errors, as fractions.
        names: of the two ways.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
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
def rank_agreement(rows: Mapping[str, Mapping[str, Sequence[Agreement]]]) -> Figure:
    """Draw Kendall's tau with its interval: a panel for each key of `rows`, in it a line for each key, a dot a seed.

    Args:
        rows: title of a panel -> name of a line -> one agreement a seed.

    Returns:
        The figure.
    """
    lines = list(next(iter(rows.values())))
    table = grid_of_axes(1, len(rows), width=8, height=1.2 + 0.45 * len(lines), sharey=True)[0]
    for ax, (title, panel) in zip(table, rows.items()):
        for y, agreements in enumerate(panel.values()):
            at = y + np.linspace(-0.2, 0.2, len(agreements)) if len(agreements) > 1 else np.array([y])
            tau, low, high = (np.array([getattr(one, key) for one in agreements]) for key in ("tau", "low", "high"))
            ax.hlines(at, low, high, color=BLUE, lw=1.2)
            ax.plot(tau, at, "o", color=BLUE, ms=4)
            ax.annotate(f"{tau.mean():.2f}", (1, y), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center")
        ax.axvline(0, color=GREY, lw=1, ls=":")
        ax.set(xlim=(-0.4, 1), title=title, xlabel="Kendall's tau, 95 % interval")
        ax.set_yticks(range(len(lines)), lines)
        ax.grid(axis="y", visible=False)
    table[0].invert_yaxis()
    return table[0].figure
