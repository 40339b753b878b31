"""The checkers of notebook 01: hints for each typical wrong answer, none for a right one."""

import math

import pytest
import torch

from labkit.course import lesson


def all_but_here(space, here):
    return [a for a in (space if len(space) < 1000 else space.sample(99, torch.Generator())) if a != here]


def changed(space, here, slots=None, candidates=lambda slot, now: [op for op in slot if op != now]):
    """One-slot changes of some slots to some candidates."""
    return [
        space.architecture([*here.ops[:s], op, *here.ops[s + 1 :]])
        for s in (range(len(space.slots)) if slots is None else slots)
        for op in candidates(space.slots[s], here.ops[s])
    ]


def piling_up(space, here):
    """Every change is made on top of the one before."""
    found, names = [], list(here.ops)
    for s, slot in enumerate(space.slots):
        for op in slot:
            if op != here.ops[s]:
                names[s] = op
                found.append(space.architecture(names))
    return found


MUTANTS = {
    "e1.1": {
        "sum": lambda slots: sum(map(len, slots)),
        "base and power swapped": lambda slots: len(slots) ** len(slots[0]),
        "first slot's power": lambda slots: len(slots[0]) ** len(slots),
        "product of different names": lambda slots: len({op for slot in slots for op in slot}) * len(slots) * 81 // 5,
        "log": lambda slots: math.log(math.prod(map(len, slots))),
    },
    "e1.2": {
        "itself": lambda space, a: [a, *changed(space, a)],
        "one slot": lambda space, a: changed(space, a, slots=[0]),
        "next candidate": lambda space, a: changed(
            space, a, candidates=lambda slot, now: [slot[(slot.index(now) + 1) % len(slot)]]
        ),
        "all others": all_but_here,
        "twice": lambda space, a: changed(space, a) * 2,
        "names": lambda space, a: [b.ops for b in changed(space, a)],
        "piling up": piling_up,
        "none": lambda space, a: [],
    },
}


@pytest.mark.parametrize("exercise", ["e1.1", "e1.2"])
def test_an_empty_answer_gets_a_hint(exercise, check_an_empty_answer):
    check_an_empty_answer(exercise)


@pytest.mark.parametrize("exercise", ["e1.1", "e1.2"])
def test_each_wrong_answer_gets_a_hint_of_its_own(exercise, check_wrong_answers):
    check_wrong_answers(exercise, MUTANTS[exercise])


@pytest.mark.parametrize("exercise", ["e1.1", "e1.2"])
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise, check_the_notebook):
    check_the_notebook(exercise)


def test_an_answer_that_raises_is_told_so_and_the_notebook_goes_on():
    verdict = lesson.check("e1.1", lambda slots: slots.size)
    assert not verdict.passed and "AttributeError" in verdict.message


def test_too_many_neighbours_are_counted_and_too_few_are_not_called_too_many():
    far = lesson.check("e1.2", all_but_here)
    assert "exactly one slot may differ" in far.message and "10 neighbours" in far.message
    some = lesson.check("e1.2", lambda space, a: changed(space, a)[:-1])
    piled = lesson.check("e1.2", piling_up)
    assert "yours differ in up to" in piled.message and "start afresh" in piled.message
    assert not some.passed and "exactly one slot" not in some.message and "9 neighbours of 10" in some.message


def test_another_right_answer_passes():
    assert lesson.check("e1.2", lambda space, a: iter(changed(space, a)[::-1])).passed
