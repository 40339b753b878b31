import math
import random

import numpy as np
import pytest
import torch

import labkit as lk
from labkit.pareto import Frontier, Point, frontier_rows, non_dominated, supported_rows


def points(rows, **how):
    return [Point(lk.Architecture("x", (str(i),)), error, ms, **how) for i, (error, ms) in enumerate(rows)]


def dominated_by_hand(rows):
    def beats(a, b):
        return all(x <= y for x, y in zip(a, b)) and any(x < y for x, y in zip(a, b))

    return [any(beats(other, row) for other in rows) for row in rows]


def random_rows(seed, n=60):
    draw = random.Random(seed)
    return [(draw.randint(0, 12) / 20, 0.1 + draw.randint(0, 12) / 10) for _ in range(n)]  # coarse: ties are common


@pytest.mark.parametrize("seed", range(8))
def test_non_dominated_matches_a_double_loop(seed):
    rows = random_rows(seed)
    assert (~non_dominated(torch.tensor(rows))).tolist() == dominated_by_hand(rows)


@pytest.mark.parametrize("seed", range(4))
def test_corners_are_what_a_fine_sweep_of_weights_chooses(seed):
    costs = np.random.default_rng(seed).random((60, 2))
    chosen = {int((costs[:, 1] + weight * costs[:, 0]).argmin()) for weight in np.logspace(-4, 4, 20_001)}
    assert set(supported_rows(costs)) == chosen and supported_rows(costs) == sorted(chosen, key=lambda i: costs[i, 0])


def test_a_row_without_bound_in_the_second_cost_is_kept_where_its_first_is_the_least():
    rows = [[0.1, math.inf], [0.2, 1.0], [0.3, math.inf]]
    assert frontier_rows(np.array(rows)).tolist() == [0, 1]
    assert non_dominated(torch.tensor(rows)).tolist() == [True, True, False]


def test_a_nan_is_refused():
    with pytest.raises(lk.InputError, match="NaN"):
        non_dominated(torch.tensor([[0.1, float("nan")]]))
    with pytest.raises(lk.InputError, match="NaN"):
        Frontier.of(points([(0.1, float("nan")), (0.1, 0.2)])).hypervolume((1.0, 1.0))


@pytest.mark.parametrize("seed", range(4))
def test_hypervolume_matches_counting_cells(seed):
    """Every cost is a multiple of a cell, so the area can be counted."""
    rows = random_rows(seed)
    worst = (0.5, 1.2)
    cells = 0
    for i in range(10):  # error cells of 0.05
        for j in range(11):  # latency cells of 0.1 ms, from 0.1
            middle = (0.05 * i + 0.025, 0.1 + 0.1 * j + 0.05)
            cells += any(error < middle[0] and ms < middle[1] for error, ms in rows)
    assert Frontier.of(points(rows)).hypervolume(worst) == pytest.approx(cells * 0.05 * 0.1)


def test_best_knee_and_order():
    front = Frontier.of(points([(0.9, 1.0), (0.2, 2.0), (0.1, 9.0), (0.5, 5.0), (0.2, 2.5)]))
    assert [p.latency_ms for p in front] == [1.0, 2.0, 9.0]
    assert front.best(max_ms=2.5).latency_ms == 2.0 and front.best(max_ms=100).error == 0.1
    assert front.knee().latency_ms == 2.0
    steep = Frontier.of(points([(0.9, 1.0), (0.7, 2.0), (0.5, 3.0), (0.36, 6.0), (0.3, 9.0)]))
    assert steep.knee().latency_ms == 3.0, "farthest below the line from (.9, 1) to (.3, 9)"
    flat = Frontier.of(points([(0.5, 1.0), (0.45, 1.9), (0.4, 10.0)]))
    assert flat.knee().latency_ms == 1.9, "errors are scaled by their own range"
    with pytest.raises(lk.InputError, match=r"no point is within 0.5 ms; the fastest takes 1.000 ms"):
        front.best(max_ms=0.5)


def test_a_frontier_of_one_point_is_its_own_knee():
    assert Frontier.of(points([(0.3, 1.0)])).knee().error == 0.3


def test_points_obtained_differently_do_not_compare():
    with pytest.raises(lk.InputError, match="do not compare"):
        Frontier.of([*points([(0.1, 1.0)]), *points([(0.1, 1.0)], latency_from="measured")])
    with pytest.raises(lk.InputError, match="at least one"):
        Frontier.of([])


def test_json_round_trip():
    (point,) = points([(0.25, 1.5)], error_from="trained")
    assert Point.from_json(point.to_json()) == point
