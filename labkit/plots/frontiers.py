"""Error against latency, and how much of a frontier a search can reach."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from labkit.benches.study import Study
from labkit.oneshot.searching import SearchResult
from labkit.pareto import Frontier, Point, hypervolume
from labkit.plots.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SKY, Picture, axes, picture, styled
from labkit.stats import mean_interval
from labkit.system.errors import InputError

Given = Frontier | Point | SearchResult | Iterable["Given"]  # points, or results that evaluated some


@styled
def frontier(
    points: Given,
    *,
    chosen: Mapping[str, Point] | None = None,
    random: Sequence[Given] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw every point, the non-dominated ones as a staircase, and the `chosen` ones ringed with their names.

    Args:
        points: points, or results with all that they evaluated; of results, without `random`, a line says that a
            baseline is missing.
        chosen: name -> point.
        random: what random search evaluated at equal cost on the same weights, a seed each, such as
            `[lk.reuse_search(found, data, table, seed=s) for s in range(5)]`: its mean staircase is drawn with a
            bootstrap band over the seeds, and the title says which dominates more.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        InputError: errors or latencies of different origins, which do not compare.
    """
    front = points if isinstance(points, Frontier) else Frontier.of(_points_of(points))
    ax, best = axes(ax), list(front)
    ax.plot([p.latency_ms for p in front.points], [100 * p.error for p in front.points], ".", color=GREY, alpha=0.5)
    ax.step([p.latency_ms for p in best], [100 * p.error for p in best], "o-", where="post", color=BLUE)
    if random:
        baselines = [Frontier.of(_points_of(seed)) for seed in random]
        _random_search(ax, baselines)
        ax.set_title(_verdict(front, baselines), fontsize=9)
    elif _of_results(points):
        ax.set_title("random search at equal cost is not drawn: random=", fontsize=9)
    ringed: dict[tuple[float, float], list[str]] = {}
    for name, point in (chosen or {}).items():
        ringed.setdefault((point.latency_ms, 100 * point.error), []).append(name)
    if ringed:  # below the stairs there are no points, so the names of its points go there
        bottom, top = ax.get_ylim()
        ax.set_ylim(bottom - 0.16 * (top - bottom), top)
    stairs = {(p.latency_ms, 100 * p.error) for p in best}
    if isinstance(figure := ax.get_figure(root=True), Figure):
        figure.draw_without_rendering()  # so that the places of the names are known
    names_drawn: list[Annotation] = []
    for place, names in sorted(ringed.items()):
        ax.plot(*place, "o", ms=12, mfc="none", mec=ORANGE, mew=2)
        names_drawn.append(_named(ax, " = ".join(names), place, place in stairs, names_drawn))
    ax.set(xlabel=f"latency (ms, {best[0].latency_from})", ylabel=f"error (%, {best[0].error_from})")
    return ax


def _named(ax: Axes, name: str, place: tuple[float, float], below: bool, others: Sequence[Annotation]) -> Annotation:
    """Write a name below its place or above it, in the first row in which it covers none of the others."""
    text = ax.annotate(name, place, xytext=(0, 0), textcoords="offset points", fontsize=8, ha="center",
                       va="top" if below else "bottom",
                       bbox={"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8})  # fmt: skip
    taken = [other.get_window_extent() for other in others]
    for row in range(1 + len(others)):
        text.set_position((0, -10 - 11 * row if below else 8 + 11 * row))
        if not any(text.get_window_extent().overlaps(box) for box in taken):
            break
    return text


def _points_of(given: Given) -> list[Point]:
    """The points themselves; of results what they evaluated, each once, or their choice where that is not kept."""
    if isinstance(given, Point):
        return [given]
    if isinstance(given, SearchResult):
        return list(given.evaluated or (given.point,))
    if isinstance(given, Frontier):
        return list(given.points)
    given = list(given)
    points = [point for part in given for point in _points_of(part)]
    return list(dict.fromkeys(points)) if _of_results(given) else points


def _of_results(given: Given) -> bool:
    return isinstance(given, SearchResult) or (
        isinstance(given, Sequence) and any(isinstance(part, SearchResult) for part in given)
    )


def _random_search(ax: Axes, baselines: Sequence[Frontier]) -> None:
    """The mean of the staircases, from where all of them have begun, and its band."""
    begun = max(min(p.latency_ms for p in baseline.points) for baseline in baselines)
    ms = sorted({p.latency_ms for baseline in baselines for p in baseline if p.latency_ms >= begun} | {begun})
    errors = 100 * np.array([[baseline.best(limit).error for limit in ms] for baseline in baselines])
    if len(baselines) > 1:
        low, high = zip(*(mean_interval(column) for column in errors.T))
        ax.fill_between(ms, low, high, step="post", color=GREEN, alpha=0.2, lw=0)
    ax.step(ms, errors.mean(0), "--", where="post", color=GREEN, label="random search at equal cost")
    ax.legend(loc="upper right")


def _verdict(front: Frontier, baselines: Sequence[Frontier]) -> str:
    """Which dominates more of the rectangle that all points span, in one line."""
    Frontier.of(p for one in (front, *baselines) for p in one.points)  # of different ways they do not compare
    costs = [np.array([[p.error, p.latency_ms] for p in one.points]) for one in (front, *baselines)]
    least, worst = (bound(np.concatenate(costs), 0) for bound in (np.min, np.max))
    ours, *theirs = (100 * hypervolume(each, tuple(worst)) / max((worst - least).prod(), 1e-12) for each in costs)
    text = f"dominates {ours:.1f} % of the area, random search at equal cost {np.mean(theirs):.1f} %"
    if len(baselines) < 2:
        return f"{text} (one seed)"
    low, high = mean_interval(np.array(theirs))
    verdict = "more" if ours > high else "less" if ours < low else "not shown to differ"
    return f"{text} ({low:.1f} to {high:.1f}, {len(baselines)} seeds): {verdict}"


@styled
def study(record: Study) -> Picture:
    """Draw a study's points and frontier, UNAS's choice for each latency weight, and random search at equal cost.

    The title says at how many weights UNAS was the cheaper one: one seed, so a count and no p-value.

    Args:
        record: the study.

    Returns:
        The picture.
    """
    chosen: dict[str, Point] = {}
    for weight, point in record.picks:  # one ring for weights that chose the same
        same = next((name for name, other in chosen.items() if other == point), None)
        if same is not None:
            del chosen[same]
        chosen[f"{same}, {weight:g}" if same else f"weight {weight:g}"] = point
    ax = frontier(record.frontier, chosen=chosen, ax=axes(width=7.2, height=4))
    lucky = {point for _, point in record.random}
    ax.plot([p.latency_ms for p in lucky], [100 * p.error for p in lucky], "s", ms=9, mfc="none", mec=GREEN, mew=1.5,
            label="random search at equal cost, the same weights")  # fmt: skip
    ax.legend(loc="upper right")
    cost = lambda point, weight: point.error + weight * point.latency_ms
    pairs = [
        (cost(ours, weight), cost(theirs, weight)) for (weight, ours), (_, theirs) in zip(record.picks, record.random)
    ]
    cheaper, equal = sum(a < b for a, b in pairs), sum(a == b for a, b in pairs)
    verdict = f"cheaper than random search at {cheaper} of {len(pairs)} weights, equal at {equal} (one seed)"
    ax.set_title(verdict, fontsize=9)
    errors = [100 * p.error for p in record.points]
    bottom, top = 0.65 * min(errors), 1.1 * max(errors)  # room for the names below the stairs
    ax.set_yscale("log")
    ax.set_ylim(bottom, top)
    ax.set_yticks([p for p in (3, 5, 10, 15, 20, 30, 50, 90) if bottom <= p <= top])
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    ax.set_xlabel(f"latency (ms, table, {record.table.card.runtime}, batch {record.table.card.batch_size}, recorded)")
    ax.set_ylabel("validation error (%, shared weights)")
    front = len(list(record.frontier))
    choices = "; ".join(f"{name}: {p.latency_ms:.3f} ms, {100 * p.error:.1f} %" for name, p in chosen.items())
    alt = f"{len(record.points)} architectures, error against latency; {front} on the frontier; UNAS chose {choices}; "
    alt += verdict
    return picture(ax, alt)


@styled
def cloud(
    x: Sequence[float],
    y: Sequence[float],
    names: tuple[str, str],
    marked: Mapping[str, tuple[float, float]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one dot an architecture, with the `marked` places ringed and named.

    Args:
        x: one number an architecture.
        y: one number an architecture.
        names: labels of the two axes, with units.
        marked: name -> (x, y).
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
    ax = axes(ax)
    ax.plot(x, y, ".", color=GREY, alpha=0.6)
    middle = (min(x) + max(x)) / 2
    for i, (name, (at_x, at_y)) in enumerate((marked or {}).items()):
        colour, left = (ORANGE, BLUE, GREEN, PINK)[i % 4], at_x > middle
        ax.plot(at_x, at_y, "os^D"[i % 4], ms=10, mfc="none", mec=colour, mew=2)
        ax.annotate(name, (at_x, at_y), xytext=(-9 if left else 9, 4), textcoords="offset points", fontsize=8,
                    ha="right" if left else "left", va="bottom", color=colour,
                    bbox={"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.8})  # fmt: skip
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.margins(0.08)
    return ax


@styled
def dominated_area(points: Frontier | Iterable[Point], worst: tuple[float, float], ax: Axes | None = None) -> Axes:
    """Draw the staircase of the frontier and the area that it dominates up to a reference point.

    Args:
        points: points or their frontier.
        worst: the reference point: error as a fraction, and ms.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
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
    """Draw how much of a frontier each way of asking can choose; the first is hatched.

    Args:
        shares: name -> share, from 0 to 1.
        ax: axes to draw on; new ones by default.

    Returns:
        The axes.
    """
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
    """Write a share for each row and column on a tint.

    Args:
        rows: name -> one share a column, from 0 to 1.
        columns: names of the columns.
        what: the title.
        ax: axes to draw on; new ones by default.
        wide: inches of a column.

    Returns:
        The axes.

    Raises:
        InputError: a row has more or fewer shares than there are columns.
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
