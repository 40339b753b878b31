"""Checkers of the exercises of notebook 06, the frontier."""

from collections.abc import Callable

from labkit.course.exercises.answers import is_close, need, value_of
from labkit.course.exercises.checkers import checker


@checker("e6.1")
def _non_dominated(answer: Callable[[list[tuple[float, float]]], list[tuple[float, float]]]) -> str:
    front = [(0.30, 0.2), (0.20, 0.4), (0.10, 0.9)]
    weakly = [(0.30, 0.3), (0.20, 0.5)]  # each equal to a frontier point in one cost and worse in the other
    points = [front[1], weakly[0], (0.35, 0.8), front[2], front[0], weakly[1]]
    value = value_of(answer, "non_dominated", list(points))
    need(isinstance(value, list | tuple | set), f"return the points that are kept; got {type(value).__name__}")
    kept = [tuple(point) if isinstance(point, list | tuple) else point for point in value]
    need(bool(kept), "nothing is left: a point does not beat itself, nor one with the same two costs")
    need(all(isinstance(p, tuple) for p in kept), f"return points (error, ms), not {type(kept[0]).__name__}s")
    need(set(kept) <= set(points), "a point came back that was not given")
    need(set(kept) != set(points), "every point is kept: leave out those that some other point beats")
    need((0.35, 0.8) not in kept or front[0] in kept, "the worst are kept: both are costs, so smaller is better")
    need(set(kept) != {front[0], front[2]}, "only the two extremes are kept: the compromise between them counts too")
    need(len(set(kept)) > 1, "only one point is kept: a frontier is all that no other point beats")
    hint = "equal in one cost and worse in the other is beaten: no worse in both, better in at least one"
    need(not set(kept) & set(weakly), hint)
    need((0.35, 0.8) not in kept, "(0.35, 0.8) is kept and (0.30, 0.2) beats it in both costs")
    need(set(kept) == set(front), f"of six points {front} are beaten by none; you kept {kept}")
    twins = list(value_of(answer, "non_dominated", [(0.1, 0.2), (0.1, 0.2), (0.3, 0.4)]))
    need(len(twins) != 1, "of two equal points one is dropped: neither beats the other, so both stay")
    need(len(twins) == 2, f"two equal points and one that both beat: two stay, and {len(twins)} stayed")
    return "the same points as labkit's Frontier keeps"


@checker("e6.2")
def _hypervolume(answer: Callable[[list[tuple[float, float]], tuple[float, float]], float]) -> str:
    stairs, worst = [(0.6, 1.0), (0.4, 2.0), (0.1, 5.0)], (0.9, 8.0)  # (error, ms), fastest first
    value = float(value_of(answer, "hypervolume", list(stairs), worst))
    heights, widths = [worst[0] - error for error, _ in stairs], [1.0, 3.0, 3.0]
    left = [worst[0], *(error for error, _ in stairs)]
    need(value >= 0, "the area is negative: take the worse cost minus the better one")
    need(
        not is_close(value, sum(h * (worst[1] - ms) for h, (_, ms) in zip(heights, stairs))),
        "the rectangles overlap: each step ends where the next, slower point begins",
    )
    need(
        not is_close(value, sum(h * w for h, w in zip(heights[:-1], widths))),
        "the last step, up to worst ms, is missing",
    )
    need(
        not is_close(value, sum(error * w for (error, _), w in zip(stairs, widths))),
        "that is the area under the staircase: the dominated area lies above it, up to the worst error",
    )
    slanted = sum((h + max(0, n)) / 2 * w for h, n, w in zip(heights, [*heights[1:], heights[-1]], widths))
    need(
        not is_close(value, slanted),
        "between two points the frontier is a step, not a slope: nothing lies on the slope",
    )
    need(
        not is_close(value, sum((worst[0] - e) * w for e, w in zip(left[1:-1], widths[1:]))),
        "each step has the height of the point at its left end, the one that is there already",
    )
    need(
        not is_close(value, max(h * (worst[1] - ms) for h, (_, ms) in zip(heights, stairs))),
        "that is one rectangle only",
    )
    right = sum(h * w for h, w in zip(heights, widths))
    need(
        is_close(value, right), f"three steps of 0.3 x 1, 0.5 x 3 and 0.8 x 3 make {right:.1f}; yours make {value:.3f}"
    )
    nearer = float(value_of(answer, "hypervolume", list(stairs), (0.7, 6.0)))
    need(is_close(nearer, 1.6), f"with worst = (0.7, 6.0) the steps are 0.1 x 1, 0.3 x 3 and 0.6 x 1; got {nearer:.3f}")
    return "the same area as labkit's Frontier.hypervolume"
