"""The checkers of notebook 04: hints for each typical wrong answer, none for a right one."""

import statistics

import pytest

from labkit.course import lesson

QUARTILES = lambda blocks: statistics.quantiles(blocks, n=4)


MUTANTS = {
    "e4.1": {
        "the slowest for the best": lambda b: (max(b), statistics.median(b), 0.2),
        "mean for median": lambda b: (min(b), statistics.mean(b), 0.2),
        "unsorted median": lambda b: (min(b), b[len(b) // 2], 0.2),
        "range for spread": lambda b: (min(b), statistics.median(b), max(b) - min(b)),
        "deviation for spread": lambda b: (min(b), statistics.median(b), statistics.stdev(b)),
        "half the spread": lambda b: (min(b), statistics.median(b), (QUARTILES(b)[2] - QUARTILES(b)[0]) / 2),
        "two numbers": lambda b: (min(b), statistics.median(b)),
    },
    "e4.2": {
        "no overhead": lambda m, o, w: (m * w).sum(),
        "overhead a slot": lambda m, o, w: (m * w + o * w).sum(),
        "weights ignored": lambda m, o, w: m.sum() + o,
        "mean over slots": lambda m, o, w: (m * w).sum(-1).mean() + o,
        "argmax": lambda m, o, w: m.gather(-1, w.argmax(-1, keepdim=True)).sum() + o,
        "not added up": lambda m, o, w: (m * w).sum(-1) + o,
    },
}


@pytest.mark.parametrize("exercise", ["e4.1", "e4.2"])
def test_an_empty_answer_gets_a_hint(exercise, check_an_empty_answer):
    check_an_empty_answer(exercise)


@pytest.mark.parametrize("exercise", ["e4.1", "e4.2"])
def test_each_wrong_answer_gets_a_hint_of_its_own(exercise, check_wrong_answers):
    check_wrong_answers(exercise, MUTANTS[exercise])


@pytest.mark.parametrize("exercise", ["e4.1", "e4.2"])
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise, check_the_notebook):
    check_the_notebook(exercise)


def test_another_right_answer_passes():
    inclusive = lambda blocks: statistics.quantiles(blocks, n=4, method="inclusive")
    quartiles = lambda blocks: [min(blocks), statistics.median(blocks), inclusive(blocks)[2] - inclusive(blocks)[0]]
    assert lesson.check("e4.1", quartiles).passed
