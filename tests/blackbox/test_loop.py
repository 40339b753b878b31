"""Optimising black boxes: it finds planted optima with few calls, keeps its log, and refuses what it cannot use."""

import functools
import itertools
import json

import numpy as np
import pytest
import torch

import labkit as lk
from labkit.blackbox.loop import LIBRARY, Trial, optimize

SPACE = lk.Choices("planted", tuple(tuple(f"c{k}" for k in range(4)) for _ in range(6)))  # 4,096
RIVALS = ["random", "evolution", "archive-mutation", "local-search", *LIBRARY]


@pytest.fixture(scope="module")
def parts():
    return np.random.default_rng(0).uniform(0, 0.1, (2, 6, 4))


@pytest.fixture
def cost(parts):
    """(error, ms): a sum of parts each, and an interaction of neighbours in the error."""

    def call(architecture):
        row = [int(op[1]) for op in architecture.ops]
        error, ms = (sum(part[s, k] for s, k in enumerate(row)) for part in parts)
        return error + 0.03 * sum(a == b for a, b in itertools.pairwise(row)), 10 * ms

    return call


def exact(cost):
    return np.array([cost(a) for a in SPACE])


def share_of_area(trials, cost, worst):
    frontier = lambda pairs: lk.Frontier.of(lk.Point(SPACE[0], *pair) for pair in pairs)
    return frontier([t.costs for t in trials]).hypervolume(worst) / frontier(exact(cost).tolist()).hypervolume(worst)


def test_a_hundred_calls_find_most_of_the_front_and_more_than_chance(cost):
    worst = (0.5, 5.0)
    shares = [
        share_of_area(optimize(SPACE, cost, calls=100, worst=worst, seed=s).trials, cost, worst) for s in range(3)
    ]
    chance = [
        share_of_area([Trial(a, cost(a)) for a in some], cost, worst)
        for some in (SPACE.sample(100, torch.Generator().manual_seed(s)) for s in range(3))
    ]
    assert np.mean(shares) > 0.95 and min(shares) > max(chance)


@pytest.mark.parametrize("method", ["model", "policy"])
def test_one_objective(cost, method):
    found = optimize(SPACE, lambda a: cost(a)[0], calls=150, method=method, seed=1)
    errors = np.sort(exact(cost)[:, 0])
    assert found.best.costs[0] <= errors[4 if method == "model" else 200] and len(found.trials) == 150
    assert found.front == (found.best,)
    with pytest.raises(lk.InputError, match="two objectives"):
        _ = found.frontier


def test_a_deadline_is_kept_and_nearly_the_best_in_time_is_found(cost):
    every = exact(cost)
    deadline = float(np.median(every[:, 1]))
    found = optimize(SPACE, cost, calls=120, deadline_ms=deadline, seed=0).best
    assert found.costs[1] <= deadline and found.costs[0] <= np.sort(every[every[:, 1] <= deadline, 0])[5]
    with pytest.raises(lk.InputError, match=r"none of 12 evaluated is within 0\.001 ms; the fastest takes"):
        _ = optimize(SPACE, cost, calls=12, deadline_ms=0.001).best


@pytest.mark.parametrize("method", ["model", "policy"])
def test_a_search_that_was_stopped_ends_as_one_that_was_not(tmp_path, cost, method):
    whole = optimize(SPACE, cost, calls=33, method=method, seed=3).trials
    calls = []

    def dying(architecture):
        if len(calls) in (7, 19):
            calls.append(None)
            raise KeyboardInterrupt
        calls.append(architecture)
        return cost(architecture)

    for _ in range(3):
        try:
            found = optimize(SPACE, dying, calls=33, method=method, seed=3, log=tmp_path / "log.jsonl")
        except KeyboardInterrupt:
            continue
    assert found.trials == whole and len([call for call in calls if call]) == 33, "no call was made twice"
    again = optimize(SPACE, dying, calls=20, method=method, seed=3, log=tmp_path / "log.jsonl")
    assert again.trials == whole[:20]
    with pytest.raises(lk.InputError, match=r"is of another search \(seed differ\)"):
        optimize(SPACE, cost, calls=33, method=method, seed=4, log=tmp_path / "log.jsonl")
    (tmp_path / "log.jsonl").write_text((tmp_path / "log.jsonl").read_text().replace('"ops": "c', '"ops": "z'))
    with pytest.raises(lk.InputError, match="slot"):
        optimize(SPACE, cost, calls=33, method=method, seed=3, log=tmp_path / "log.jsonl")


@pytest.mark.parametrize("goal", ["one objective", "two", "deadline"])
@pytest.mark.parametrize("method", ["model", "policy"])
def test_it_goes_on_from_whatever_call_it_was_stopped_after(tmp_path, cost, method, goal):
    asked = (lambda a: cost(a)[0]) if goal == "one objective" else cost
    run = functools.partial(
        optimize, SPACE, asked, method=method, seed=3, deadline_ms=2.5 if goal == "deadline" else None
    )
    whole = run(calls=22).trials
    for stop in (1, 2, 3, 4, 5, 6, 7, 19):
        log = tmp_path / f"{stop}.jsonl"
        assert run(calls=stop, log=log).trials == whole[:stop]
        assert run(calls=22, log=log).trials == whole, stop


def test_an_interrupt_says_how_to_go_on(tmp_path, cost):
    def stopped(trials):
        if len(trials) == 7:
            raise KeyboardInterrupt
        trials.append(None)

    def run(**how):
        seen = []
        optimize(SPACE, lambda a: stopped(seen) or cost(a), calls=12, **how)

    with pytest.raises(KeyboardInterrupt, match="after 7 of 12 calls; nothing is kept: with log= the same call"):
        run()
    log = tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt, match=f"after 7 of 12 calls; the same call resumes from {log}"):
        run(log=log)
    run(log=log)


@pytest.mark.parametrize("method", ["model", *RIVALS])
def test_nothing_is_evaluated_twice_and_a_small_space_ends_it(method):
    small = lk.Choices("small", (("a", "b"), ("x", "y", "z"), ("only",)))
    found = optimize(small, lambda a: (len(set(a.ops)), a.ops.index("only")), calls=50, method=method)
    assert len(found.trials) == len({t.architecture for t in found.trials}) == small.size == 6


def test_a_large_space_is_never_listed():
    space = lk.spaces.mobile("full")  # 2.2e17
    found = optimize(space, lambda a: (a.ops.count("skip"), 21 - a.ops.count("skip")), calls=30)
    assert len(found.frontier.points) == 30


@pytest.mark.parametrize("method", RIVALS[1:-1])  # TPE takes half a second a call
def test_baselines_beat_chance_and_resume(tmp_path, cost, method):
    areas = {
        name: [
            share_of_area(optimize(SPACE, cost, calls=150, method=name, seed=s).trials, cost, (0.5, 5.0))
            for s in range(4)
        ]
        for name in (method, "random")
    }
    assert np.mean(areas[method]) > np.mean(areas["random"])
    whole = optimize(SPACE, cost, calls=60, method=method, seed=1).trials
    for calls in (30, 60):
        found = optimize(SPACE, cost, calls=calls, method=method, seed=1, log=tmp_path / "log.jsonl")
    assert found.trials == whole


@pytest.mark.parametrize("method", RIVALS)
def test_baselines_mind_a_deadline(cost, method):
    deadline = float(np.quantile(exact(cost)[:, 1], 0.2))
    found = optimize(SPACE, cost, calls=80, deadline_ms=deadline, method=method, seed=0)
    assert found.best.costs[1] <= deadline


def test_local_search_leaves_a_place_only_when_no_neighbour_is_better(cost):
    """Told again with a plain loop: every trial is a neighbour of the best of its start, until none is left."""
    trials = optimize(SPACE, lambda a: cost(a)[0], calls=300, worst=9.0, method="local-search").trials
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


def test_every_trial_is_told_of(cost):
    told = []
    assert optimize(SPACE, cost, calls=13, on_trial=told.append).trials == tuple(told)


def test_the_log_is_lines_that_can_be_read(tmp_path, cost):
    optimize(SPACE, cost, calls=3, log=tmp_path / "log.jsonl")
    first, *rows = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert first["space"] == "planted" and len(rows) == 3 and set(rows[0]) == {"ops", "costs"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"method": "magic"},
            "methods are model, policy, random, .*, nsga2, tpe; got 'magic'",
        ),
        ({"calls": 0}, "at least one call"),
        ({"deadline_ms": -1.0}, "a deadline is a positive number"),
        ({"worst": (1, 2, 3)}, "one or two finite numbers"),
        ({"worst": (float("nan"), 2)}, "one or two finite numbers"),
        ({"worst": np.ones(3)}, "one or two finite numbers"),
        ({"worst": ("all", 2)}, "one or two finite numbers"),
        ({"cost": lambda a: float("nan")}, "should be a finite number, or two"),
        ({"cost": lambda a: (1, 2, 3)}, "should be a finite number, or two"),
        ({"cost": lambda a: "fast"}, "should be a finite number, or two"),
        ({"cost": lambda a: 0.5, "deadline_ms": 1.0}, r"two finite numbers, \(error, ms\); got 0.5"),
    ],
)
def test_what_cannot_be_used_is_refused(cost, changes, says):
    arguments = {"cost": cost, "calls": 5, **changes}
    with pytest.raises(lk.InputError, match=says):
        optimize(SPACE, arguments.pop("cost"), **arguments)


@pytest.mark.parametrize(
    ("costs", "says"),
    [
        ("[1e999, 1.0]", "line 3, is not a JSON row: 1e999 is not a finite number"),
        ("[NaN, 1.0]", "line 3, is not a JSON row: NaN is not a finite number"),
        ("[0.5]", "is damaged: .* should be two finite numbers"),
        ("[0.5, 1.0, 2.0]", "is damaged: .* should be two finite numbers"),
        ('["fast", 1.0]', "is damaged: .* should be two finite numbers"),
        ("null", "is damaged: .* should be two finite numbers"),
    ],
)
def test_a_log_of_costs_that_no_call_could_return_is_refused(tmp_path, cost, costs, says):
    run = functools.partial(optimize, SPACE, cost, calls=4, log=tmp_path / "log.jsonl")
    run()
    lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    altered = lines[2].partition('"costs": ')[0] + f'"costs": {costs}}}\n'
    (tmp_path / "log.jsonl").write_text("".join([*lines[:2], altered, *lines[3:]]))
    with pytest.raises(lk.InputError, match=rf"log\.jsonl,? {says}"):
        run()


@pytest.mark.parametrize("worst", [np.array([0.9, 200.0]), torch.tensor([0.9, 200.0], dtype=torch.float64), [0.9, 200]])
def test_the_worst_is_any_sequence_of_numbers(tmp_path, cost, worst):
    run = functools.partial(optimize, SPACE, cost, calls=12, log=tmp_path / "log.jsonl")
    assert run(worst=worst).trials == run(worst=(0.9, 200.0)).trials
    one = lambda a: cost(a)[0]
    assert (
        optimize(SPACE, one, calls=12, worst=np.float32(0.5)).trials == optimize(SPACE, one, calls=12, worst=0.5).trials
    )


@pytest.mark.parametrize("slots", [("O1", "O2"), {"depth": ("d1", "d2")}, "O2", (("gcc", "clang"), "O2")])
def test_letters_and_names_of_slots_are_no_candidates(slots):
    with pytest.raises(lk.InputError, match=r"slots of net are a tuple .*: write \(\(.*\)\); got"):
        lk.Choices("net", slots)


@pytest.mark.parametrize("slots", [(), ((),), (("a", "a"),), (("a-b",),), ((1, 2),)])
def test_choices_need_names(slots):
    with pytest.raises(lk.InputError, match="needs"):
        lk.Choices("broken", slots)


def test_a_log_of_another_worst_is_refused_and_arrays_are_costs(tmp_path):
    space = lk.Choices("two", (("a", "b"), ("a", "b", "c")))
    cost = lambda a: np.array([float(a.ops[0] == "a"), 1.0])
    lk.optimize(space, cost, calls=3, worst=(1.0, 2.0), log=tmp_path / "log")
    with pytest.raises(lk.InputError, match=r"\(worst differ\)"):
        lk.optimize(space, cost, calls=3, worst=(0.5, 2.0), log=tmp_path / "log")
    with pytest.raises(lk.InputError, match="should be two finite numbers"):
        lk.optimize(space, lambda a: 1.0, calls=3, worst=(1.0, 2.0))
