"""The checkers of notebook 06: hints for each typical wrong answer, none for a right one."""

import itertools

import numpy as np
import pytest

from labkit.course import lesson
from labkit.pareto import hypervolume


def beats(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a != b


def area(stairs, worst, height):
    ends = [ms for _, ms in stairs[1:]] + [worst[1]]
    return sum(height(i) * (end - stairs[i][1]) for i, end in enumerate(ends))


MUTANTS = {
    "e6.1": {
        "strictly better in both": lambda p: [a for a in p if not any(b[0] < a[0] and b[1] < a[1] for b in p)],
        "no worse is enough": lambda p: [a for a in p if not any(b[0] <= a[0] and b[1] <= a[1] for b in p)],
        "larger is better": lambda p: [a for a in p if not any(beats(a, b) for b in p)],
        "the extremes": lambda p: [min(p), min(p, key=lambda a: a[1])],
        "the most accurate": lambda p: [min(p)],
        "everything": lambda p: p,
        "a set": lambda p: {a for a in p if not any(beats(b, a) for b in p)},
        "booleans": lambda p: [not any(beats(b, a) for b in p) for a in p],
    },
    "e6.2": {
        "overlapping": lambda s, w: sum((w[0] - e) * (w[1] - ms) for e, ms in s),
        "no last step": lambda s, w: sum((w[0] - a[0]) * (b[1] - a[1]) for a, b in itertools.pairwise(s)),
        "below the stairs": lambda s, w: area(s, w, lambda i: s[i][0]),
        "slanted": lambda s, w: area(s, w, lambda i: w[0] - (s[i][0] + s[min(i + 1, len(s) - 1)][0]) / 2),
        "negative": lambda s, w: area(s, w, lambda i: s[i][0] - w[0]),
        "one rectangle": lambda s, w: max((w[0] - e) * (w[1] - ms) for e, ms in s),
        "a worst ms of its own": lambda s, w: area(s, (w[0], 8.0), lambda i: w[0] - s[i][0]),
    },
}


@pytest.mark.parametrize("exercise", ["e6.1", "e6.2"])
def test_an_empty_answer_gets_a_hint(exercise, check_an_empty_answer):
    check_an_empty_answer(exercise)


@pytest.mark.parametrize("exercise", ["e6.1", "e6.2"])
def test_each_wrong_answer_gets_a_hint_of_its_own(exercise, check_wrong_answers):
    check_wrong_answers(exercise, MUTANTS[exercise])


@pytest.mark.parametrize("exercise", ["e6.1", "e6.2"])
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise, check_the_notebook):
    check_the_notebook(exercise)


def test_another_right_answer_passes():
    in_order = lambda points: sorted(a for a in points if not any(beats(b, a) for b in points))
    assert lesson.check("e6.1", in_order).passed


def test_the_area_of_the_solution_is_the_librarys(solution):
    """And by hand: steps of 0.3 x 1, 0.5 x 3 and 0.8 x 3."""
    stairs = [(0.6, 1.0), (0.4, 2.0), (0.1, 5.0)]
    assert solution("e6.2")(stairs, (0.9, 8.0)) == pytest.approx(0.3 + 1.5 + 2.4)
    assert hypervolume(np.array(stairs), (0.9, 8.0)) == pytest.approx(4.2)
