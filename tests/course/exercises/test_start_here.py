"""The checkers of notebook 00: hints for each typical wrong answer, none for a right one."""

import pytest

from labkit.course import lesson

error, ms = (lambda p: p.error), (lambda p: p.latency_ms)
inside = lambda points, most: [p for p in points if p.latency_ms <= most] or [None]


MUTANTS = {
    "e0.1": {
        "the fastest": lambda p, m: min(inside(p, m), key=ms),
        "the slowest within": lambda p, m: max(inside(p, m), key=ms),
        "the largest error": lambda p, m: max(inside(p, m), key=error),
        "no budget": lambda p, m: min(p, key=error),
        "less than": lambda p, m: min((a for a in p if a.latency_ms < m), key=lambda a: (a.error, ms(a)), default=None),
        "ties": lambda p, m: min(inside(p, m), key=error) if inside(p, m)[0] else None,
        "nothing raises": lambda p, m: min((a for a in p if a.latency_ms <= m), key=lambda a: (a.error, ms(a))),
        "its error": lambda p, m: min(a.error for a in inside(p, m)),
        "all within": lambda p, m: inside(p, m),
    },
    "e0.2": {
        "weight on the error": lambda p, w: min(p, key=lambda a: w * a.error + a.latency_ms),
        "weight ignored": lambda p, w: min(p, key=lambda a: a.error + 0.001 * a.latency_ms),
        "percent": lambda p, w: min(p, key=lambda a: 100 * a.error + w * a.latency_ms),
        "largest": lambda p, w: max(p, key=lambda a: a.error + w * a.latency_ms),
        "squared": lambda p, w: min(p, key=lambda a: a.error + w * w * a.latency_ms),
        "the total": lambda p, w: min(a.error + w * a.latency_ms for a in p),
        "the slower of equals": lambda p, w: min(p, key=lambda a: (a.error + w * a.latency_ms, -a.latency_ms)),
    },
}


@pytest.mark.parametrize("exercise", ["e0.1", "e0.2"])
def test_an_empty_answer_gets_a_hint(exercise, check_an_empty_answer):
    check_an_empty_answer(exercise)


@pytest.mark.parametrize("exercise", ["e0.1", "e0.2"])
def test_each_wrong_answer_gets_a_hint_of_its_own(exercise, check_wrong_answers):
    check_wrong_answers(exercise, MUTANTS[exercise])


@pytest.mark.parametrize("exercise", ["e0.1", "e0.2"])
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise, check_the_notebook):
    check_the_notebook(exercise)


def test_another_right_answer_passes():
    within = lambda p, m: next((a for a in sorted(p, key=lambda a: (a.error, a.latency_ms)) if a.latency_ms <= m), None)
    assert lesson.check("e0.1", within).passed
