"""Optimising black boxes: it finds planted optima with few calls, keeps its log, and refuses what it cannot use."""

import functools
import json

import numpy as np
import pytest
import torch

import labkit as lk
from labkit.blackbox.loop import Trial, optimize


def test_a_hundred_calls_find_most_of_the_front_and_more_than_chance(cost, planted, share_of_area):
    worst = (0.5, 5.0)
    shares = [share_of_area(optimize(planted, cost, calls=100, worst=worst, seed=s).trials, worst) for s in range(3)]
    chance = [
        share_of_area([Trial(a, cost(a)) for a in some], worst)
        for some in (planted.sample(100, torch.Generator().manual_seed(s)) for s in range(3))
    ]
    assert np.mean(shares) > 0.95 and min(shares) > max(chance)


@pytest.mark.parametrize("method", ["model", "policy"])
def test_one_objective(cost, method, planted, exact):
    found = optimize(planted, lambda a: cost(a)[0], calls=150, method=method, seed=1)
    errors = np.sort(exact[:, 0])
    assert found.best.costs[0] <= errors[4 if method == "model" else 200] and len(found.trials) == 150
    assert found.front == (found.best,)
    with pytest.raises(lk.InputError, match="two objectives"):
        _ = found.frontier


def test_a_deadline_is_kept_and_nearly_the_best_in_time_is_found(cost, planted, exact):
    every = exact
    deadline = float(np.median(every[:, 1]))
    found = optimize(planted, cost, calls=120, deadline_ms=deadline, seed=0).best
    assert found.costs[1] <= deadline and found.costs[0] <= np.sort(every[every[:, 1] <= deadline, 0])[5]
    with pytest.raises(lk.InputError, match=r"none of 12 evaluated is within 0\.001 ms; the fastest takes"):
        _ = optimize(planted, cost, calls=12, deadline_ms=0.001).best


@pytest.mark.parametrize("method", ["model", "policy"])
def test_a_search_that_was_stopped_ends_as_one_that_was_not(tmp_path, cost, method, planted):
    whole = optimize(planted, cost, calls=33, method=method, seed=3).trials
    calls = []

    def dying(architecture):
        if len(calls) in (7, 19):
            calls.append(None)
            raise KeyboardInterrupt
        calls.append(architecture)
        return cost(architecture)

    for _ in range(3):
        try:
            found = optimize(planted, dying, calls=33, method=method, seed=3, log=tmp_path / "log.jsonl")
        except KeyboardInterrupt:
            continue
    assert found.trials == whole and len([call for call in calls if call]) == 33, "no call was made twice"
    again = optimize(planted, dying, calls=20, method=method, seed=3, log=tmp_path / "log.jsonl")
    assert again.trials == whole[:20]
    with pytest.raises(lk.InputError, match=r"is of another search \(seed differ\)"):
        optimize(planted, cost, calls=33, method=method, seed=4, log=tmp_path / "log.jsonl")
    (tmp_path / "log.jsonl").write_text((tmp_path / "log.jsonl").read_text().replace('"ops": "c', '"ops": "z'))
    with pytest.raises(lk.InputError, match="slot"):
        optimize(planted, cost, calls=33, method=method, seed=3, log=tmp_path / "log.jsonl")


@pytest.mark.parametrize("goal", ["one objective", "two", "deadline"])
@pytest.mark.parametrize("method", ["model", "policy"])
def test_it_goes_on_from_whatever_call_it_was_stopped_after(tmp_path, cost, method, goal, planted):
    asked = (lambda a: cost(a)[0]) if goal == "one objective" else cost
    run = functools.partial(
        optimize, planted, asked, method=method, seed=3, deadline_ms=2.5 if goal == "deadline" else None
    )
    whole = run(calls=22).trials
    for stop in (1, 2, 3, 4, 5, 6, 7, 19):
        log = tmp_path / f"{stop}.jsonl"
        assert run(calls=stop, log=log).trials == whole[:stop]
        assert run(calls=22, log=log).trials == whole, stop


def test_an_interrupt_says_how_to_go_on(tmp_path, cost, planted):
    def stopped(trials):
        if len(trials) == 7:
            raise KeyboardInterrupt
        trials.append(None)

    def run(**how):
        seen = []
        optimize(planted, lambda a: stopped(seen) or cost(a), calls=12, **how)

    with pytest.raises(KeyboardInterrupt, match="after 7 of 12 calls; nothing is kept: with log= the same call"):
        run()
    log = tmp_path / "log.jsonl"
    with pytest.raises(KeyboardInterrupt, match=f"after 7 of 12 calls; the same call resumes from {log}"):
        run(log=log)
    run(log=log)


def test_a_large_space_is_never_listed():
    space = lk.spaces.mobile("full")  # 2.2e17
    found = optimize(space, lambda a: (a.ops.count("skip"), 21 - a.ops.count("skip")), calls=30)
    assert len(found.frontier.points) == 30


def test_every_trial_is_told_of(cost, planted):
    told = []
    assert optimize(planted, cost, calls=13, on_trial=told.append).trials == tuple(told)


def test_the_log_is_lines_that_can_be_read(tmp_path, cost, planted):
    optimize(planted, cost, calls=3, log=tmp_path / "log.jsonl")
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
def test_what_cannot_be_used_is_refused(cost, changes, says, planted):
    arguments = {"cost": cost, "calls": 5, **changes}
    with pytest.raises(lk.InputError, match=says):
        optimize(planted, arguments.pop("cost"), **arguments)


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
def test_a_log_of_costs_that_no_call_could_return_is_refused(tmp_path, cost, costs, says, planted):
    run = functools.partial(optimize, planted, cost, calls=4, log=tmp_path / "log.jsonl")
    run()
    lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    altered = lines[2].partition('"costs": ')[0] + f'"costs": {costs}}}\n'
    (tmp_path / "log.jsonl").write_text("".join([*lines[:2], altered, *lines[3:]]))
    with pytest.raises(lk.InputError, match=rf"log\.jsonl,? {says}"):
        run()


@pytest.mark.parametrize("worst", [np.array([0.9, 200.0]), torch.tensor([0.9, 200.0], dtype=torch.float64), [0.9, 200]])
def test_the_worst_is_any_sequence_of_numbers(tmp_path, cost, worst, planted):
    run = functools.partial(optimize, planted, cost, calls=12, log=tmp_path / "log.jsonl")
    assert run(worst=worst).trials == run(worst=(0.9, 200.0)).trials
    one = lambda a: cost(a)[0]
    assert (
        optimize(planted, one, calls=12, worst=np.float32(0.5)).trials
        == optimize(planted, one, calls=12, worst=0.5).trials
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
