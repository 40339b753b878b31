"""The checkers of notebook 05: hints for each typical wrong answer, none for a right one."""

import pytest
import torch

from labkit.course import lesson
from labkit.estimators.costs import LatencyCost, generalisation_loss

MUTANTS = {
    "e5.1": {
        "from valid": lambda t, v, g: v + g * (v - t).abs(),
        "gap in full": lambda t, v, g: t + (v - t).abs(),
        "mixture of losses": lambda t, v, g: t + g * v,
        "no absolute value": lambda t, v, g: t + g * (v - t),
        "hinge": lambda t, v, g: t + g * (v - t).clamp_min(0),
        "squared": lambda t, v, g: t + g * (v - t) ** 2,
        "gap subtracted": lambda t, v, g: t - g * (v - t).abs(),
        "a plain number": lambda t, v, g: t.item() + g * abs(v.item() - t.item()),
        "detached": lambda t, v, g: t + g * (v.detach() - t).abs(),
        "half detached": lambda t, v, g: t + g * ((v - t).abs() + (t - t.detach())),
    },
    "e5.2": {
        "linear": lambda ms, w, t: w * ms,
        "a reward": lambda ms, w, t: w * (ms - t),
        "absolute": lambda ms, w, t: w * (ms - t).abs(),
        "no weight": lambda ms, w, t: (ms - t).clamp_min(0),
        "squared": lambda ms, w, t: w * (ms - t).clamp_min(0) ** 2,
        "cut above": lambda ms, w, t: w * ms.clamp_max(t),
        "turned round": lambda ms, w, t: w * (t - ms).clamp_min(0),
        "a fine": lambda ms, w, t: w * (ms > t),
        "one number": lambda ms, w, t: float(w * (ms - t).clamp_min(0).sum()),
    },
}


@pytest.mark.parametrize("exercise", ["e5.1", "e5.2"])
def test_an_empty_answer_gets_a_hint(exercise, check_an_empty_answer):
    check_an_empty_answer(exercise)


@pytest.mark.parametrize("exercise", ["e5.1", "e5.2"])
def test_each_wrong_answer_gets_a_hint_of_its_own(exercise, check_wrong_answers):
    check_wrong_answers(exercise, MUTANTS[exercise])


@pytest.mark.parametrize("exercise", ["e5.1", "e5.2"])
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise, check_the_notebook):
    check_the_notebook(exercise)


def test_other_right_answers_pass_too():
    assert lesson.check("e5.1", lambda t, v, g: t + g * (t - v).abs()).passed
    assert lesson.check("e5.2", lambda ms, w, t: torch.where(ms > t, w * (ms - t), 0.0)).passed


def test_the_solutions_are_those_of_the_library(solution):
    train, valid = torch.tensor(1.5), torch.tensor(2.5)
    assert solution("e5.1")(train, valid, 0.5) == generalisation_loss(train, valid, 0.5) == 2.0
    ms = torch.linspace(0.1, 1.0, 10, dtype=torch.float64)
    assert torch.allclose(solution("e5.2")(ms, 0.2, 0.4), LatencyCost(0.2, 0.4)(ms))
