"""The checkers of notebook 07: hints for each typical wrong answer, none for a right one."""

import pytest

from labkit.course import lesson
from labkit.deploy import export


def decided(base, ms, error, most):
    return export.speedup_text(base / ms) if error <= most else "wrong answers"


MUTANTS = {
    "e7.1": {
        "over what was found": lambda a, b: (a - b).abs().max() / a.abs().max(),
        "not relative": lambda a, b: (a - b).abs().max(),
        "the sign kept": lambda a, b: (a - b).max() / b.abs().max(),
        "mean": lambda a, b: (a - b).abs().mean() / b.abs().max(),
        "each by its own": lambda a, b: ((a - b) / b).abs().max(),
        "largest, not in size": lambda a, b: (a - b).abs().max() / b.max(),
        "classes": lambda a, b: (a.argmax(-1) != b.argmax(-1)).float().max(),
        "all logits": lambda a, b: (a - b).abs() / b.abs().max(),
        "NaN is nothing": lambda a, b: (a - b).nan_to_num().abs().max() / b.abs().max(),
    },
    "e7.2": {
        "parity ignored": lambda base, ms, error: export.speedup_text(base / ms),
        "NaN passes": lambda base, ms, error: "wrong answers" if error > 1e-4 else export.speedup_text(base / ms),
        "0.5x faster": lambda base, ms, error: f"{base / ms:.1f}x faster" if error <= 1e-4 else "wrong answers",
        "turned round": lambda base, ms, error: export.speedup_text(ms / base) if error <= 1e-4 else "wrong answers",
        "other words": lambda base, ms, error: export.speedup_text(base / ms) if error <= 1e-4 else "no",
        "a tolerance of its own": lambda base, ms, error, _=0: decided(base, ms, error, 0.1),
        "its tolerance whatever is given": lambda base, ms, error, _=0: decided(base, ms, error, 1e-4),
        "no baseline": lambda base, ms, error, most=1e-4: decided(1.0, ms, error, most),
        "equal is slower": lambda base, ms, error, most=1e-4: (
            "1.0x slower" if base == ms else decided(base, ms, error, most)
        ),
    },
}


@pytest.mark.parametrize("exercise", ["e7.1", "e7.2"])
def test_an_empty_answer_gets_a_hint(exercise, check_an_empty_answer):
    check_an_empty_answer(exercise)


@pytest.mark.parametrize("exercise", ["e7.1", "e7.2"])
def test_each_wrong_answer_gets_a_hint_of_its_own(exercise, check_wrong_answers):
    check_wrong_answers(exercise, MUTANTS[exercise])


@pytest.mark.parametrize("exercise", ["e7.1", "e7.2"])
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise, check_the_notebook):
    check_the_notebook(exercise)


def test_another_right_answer_passes():
    assert lesson.check("e7.1", lambda a, b: float((b - a).abs().max() / b.abs().max())).passed


def test_the_words_of_the_solution_are_the_librarys(solution):
    for ms in (0.25, 1.0, 2.5):
        assert solution("e7.2")(1.0, ms, 0.0) == export.speedup_text(1.0 / ms)
