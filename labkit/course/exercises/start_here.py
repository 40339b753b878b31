"""Checkers of the exercises of notebook 00, start here."""

from collections.abc import Callable
from typing import Any

from labkit import spaces
from labkit.course.exercises.answers import empty, is_function, need
from labkit.course.exercises.checkers import Wrong, checker
from labkit.pareto import Frontier, Point


def _some_points() -> tuple[Point, ...]:
    """Two equal errors, one point that is worse than others in everything, and round numbers to compare with."""
    costs = ((0.30, 0.10), (0.20, 0.20), (0.10, 0.28), (0.10, 0.25), (0.12, 0.30), (0.05, 0.90), (0.35, 0.50))
    architectures = iter(spaces.five_layer())
    return tuple(Point(next(architectures), error, ms) for error, ms in costs)


def _a_point(found: Any, name: str) -> Point:
    need(not empty(found), f"`{name}` returned None: return one of the points")
    need(not isinstance(found, list | tuple), f"`{name}` returned a {type(found).__name__}: return one point")
    need(isinstance(found, Point), f"return the point itself; `{name}` returned {type(found).__name__} {found!r}")
    return found


@checker("e0.1")
def _within(answer: Callable[[tuple[Point, ...], float], Point | None]) -> str:
    is_function(answer, "within")
    points = _some_points()
    for max_ms in (0.95, 0.30, 0.20):
        found, right = _a_point(answer(points, max_ms), "within"), Frontier.of(points).best(max_ms)
        inside = [p for p in points if p.latency_ms <= max_ms]
        need(
            found.latency_ms <= max_ms,
            f"a budget of {max_ms} ms got a point of {found.latency_ms} ms: leave out those that take too long",
        )
        need(
            max_ms != 0.20 or found.error == right.error,
            "a point that takes exactly `max_ms` is within the budget: compare with <=",
        )
        if found.error > right.error:
            need(
                found != max(inside, key=lambda p: p.error),
                "that is the point with the largest error: error is a cost, so smaller is better",
            )
            need(
                found.latency_ms != min(p.latency_ms for p in inside),
                "that is the fastest point: within the budget nobody asks how fast, only how accurate",
            )
            need(
                found.latency_ms != max(p.latency_ms for p in inside),
                "that is the slowest point within the budget: slow is not the same as accurate, so look at the error",
            )
        need(
            found.error == right.error,
            f"within {max_ms} ms a point has error {right.error}; yours has {found.error}",
        )
        need(found == right, "of two points with the same error the faster one is better: compare (error, latency_ms)")
    try:
        nothing = answer(points, 0.05)
    except ValueError:
        raise Wrong("no point is within 0.05 ms, and then `min` of nothing raises: return None in that case") from None
    need(nothing is None, f"no point is within 0.05 ms: return None; yours returned {nothing!r}")
    return "you chose as Frontier.best does, for every budget tried"


@checker("e0.2")
def _cheapest(answer: Callable[[tuple[Point, ...], float], Point]) -> str:
    is_function(answer, "cheapest")
    points = _some_points()
    found = {weight: _a_point(answer(points, weight), "cheapest") for weight in (0.0, 0.2, 0.5, 10.0)}
    right = {weight: min(points, key=lambda p: p.error + weight * p.latency_ms) for weight in found}
    need(
        found[0.0] != max(points, key=lambda p: p.error),
        "you returned the largest total: both terms are costs, so take the smallest",
    )
    need(
        found[0.0] != min(points, key=lambda p: p.latency_ms),
        "with weight 0 you chose the fastest point: the weight multiplies the latency, not the error",
    )
    need(len(set(found.values())) > 1, "another weight changes nothing: add `latency_weight * latency_ms`, in ms")
    need(
        found[10.0] == right[10.0],
        "at weight 10 latency should rule and does not: the weight is error *fraction* per ms, so no percent",
    )
    for weight, point in found.items():
        need(
            point == right[weight],
            f"at weight {weight} the total of {right[weight].error} + {weight} * {right[weight].latency_ms} is smaller "
            f"than that of your point ({point.error}, {point.latency_ms} ms)",
        )
    twins = tuple(p for p in points if p.error == 0.10)
    need(
        _a_point(answer(twins, 0.0), "cheapest").latency_ms == 0.25,
        "of two equal totals the faster one is better: compare (total, latency_ms)",
    )
    return "the weight is a price: at 0 accuracy alone counts, at 10 the fastest wins"
