"""Baselines: they beat chance, resume, mind a deadline, evaluate nothing twice, and follow their own rules."""

import numpy as np
import pytest

import labkit as lk
from labkit.blackbox.baselines import LATE, ArchiveMutation, Evolution, Library
from labkit.blackbox.loop import LIBRARY, optimize
from labkit.blackbox.proposer import INITIAL, Goal
from labkit.pareto import frontier_rows

BASELINES = ["random", "evolution", "archive-mutation", "local-search", *LIBRARY]


@pytest.mark.parametrize("method", ["model", *BASELINES])
def test_nothing_is_evaluated_twice_and_a_small_space_ends_it(method):
    small = lk.Choices("small", (("a", "b"), ("x", "y", "z"), ("only",)))
    found = optimize(small, lambda a: (len(set(a.ops)), a.ops.index("only")), calls=50, method=method)
    assert len(found.trials) == len({t.architecture for t in found.trials}) == small.size == 6


@pytest.mark.parametrize("method", BASELINES[1:-1])  # TPE takes half a second a call
def test_baselines_beat_chance_and_resume(tmp_path, cost, method, planted, share_of_area):
    areas = {
        name: [
            share_of_area(optimize(planted, cost, calls=150, method=name, seed=s).trials, (0.5, 5.0)) for s in range(4)
        ]
        for name in (method, "random")
    }
    assert np.mean(areas[method]) > np.mean(areas["random"])
    whole = optimize(planted, cost, calls=60, method=method, seed=1).trials
    for calls in (30, 60):
        found = optimize(planted, cost, calls=calls, method=method, seed=1, log=tmp_path / "log.jsonl")
    assert found.trials == whole


@pytest.mark.parametrize("method", BASELINES)
def test_baselines_mind_a_deadline(cost, method, planted, exact):
    deadline = float(np.quantile(exact[:, 1], 0.2))
    found = optimize(planted, cost, calls=80, deadline_ms=deadline, method=method, seed=0)
    assert found.best.costs[1] <= deadline


def test_local_search_leaves_a_place_only_when_no_neighbour_is_better(cost, planted):
    """Told again with a plain loop: every trial is a neighbour of the best of its start, until none is left."""
    trials = optimize(planted, lambda a: cost(a)[0], calls=300, worst=9.0, method="local-search").trials
    rows = [tuple(int(op[1]) for op in t.architecture.ops) for t in trials]
    around = lambda row: {(*row[:s], k, *row[s + 1 :]) for s in range(6) for k in range(4)}
    centre, bottoms = None, 0
    for i, (row, trial) in enumerate(zip(rows, trials)):
        if centre is not None:
            assert sum(a != b for a, b in zip(row, rows[centre])) == 1
        if centre is None or trial.costs < trials[centre].costs:
            centre = i
        if around(rows[centre]) <= set(rows[: i + 1]):
            bottoms, centre = bottoms + 1, None
    assert bottoms >= 2


def rows_of(space, n):
    """n different rows of a space, and two costs each."""
    rng = np.random.default_rng(1)
    rows = np.unique(rng.integers(0, 4, (2 * n, len(space.slots))), axis=0)[:n]
    return rng.permutation(rows), rng.uniform(0, 1, (n, 2))


def test_a_child_of_evolution_differs_in_one_slot_from_one_that_is_alive(planted):
    rows, costs = rows_of(planted, 80)
    for n in (25, 40, 80):
        (child,) = Evolution(planted, Goal((1.0, 1.0)), 3).propose(rows[:n], costs[:n])
        alive = rows[max(0, n - 50) : n]
        assert (child != alive).sum(1).min() == 1 and child.tolist() not in rows[:n].tolist()
    drawn = Evolution(planted, Goal((1.0, 1.0)), 3, population=8, tournament=8)
    (child,) = drawn.propose(rows[:40], costs[:40, :1])
    best = rows[32:40][costs[32:40, 0].argmin()]
    assert (child != best).sum() == 1, "of all that are alive the best has the child"


def test_the_archive_is_the_front(planted):
    rows, costs = rows_of(planted, 40)
    front = rows[frontier_rows(costs)]
    for seed in range(5):
        (child,) = ArchiveMutation(planted, Goal((1.0, 1.0)), seed).propose(rows, costs)
        assert (child != front).sum(1).min() in (1, 2)
    few = rows[: INITIAL - 1]
    (first,) = ArchiveMutation(planted, Goal((1.0, 1.0)), 0).propose(few, costs[: INITIAL - 1])
    assert first.tolist() not in few.tolist()


def test_under_a_deadline_a_sampler_minimises_one_cost_in_which_late_is_worst(planted):
    pytest.importorskip("optuna")
    limited = Library(planted, Goal((1.0, 1.0), deadline=0.5), 0, "tpe")
    assert limited._values(np.array([0.3, 0.5])).tolist() == [0.3]
    assert limited._values(np.array([0.3, 0.7])).tolist() == [pytest.approx(LATE + 0.2)]
    assert Library(planted, Goal((1.0, 1.0)), 0, "tpe")._values(np.array([0.3, 0.7])).tolist() == [0.3, 0.7]


def test_without_its_package_a_sampler_says_how_to_get_it(planted, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(lk.InputError, match=r"nsga2 and tpe are Optuna's: pip install labkit\[baselines\]"):
        Library(planted, Goal(), 0, "nsga2")
