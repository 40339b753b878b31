"""The checkers of notebook 03: hints for each typical wrong answer, none for a right one."""

import pytest
import torch

from labkit.course import lesson
from labkit.estimators import gradient_estimators
from labkit.estimators.distributions import ArchDistribution

MUTANTS = {
    "e3.1": {
        "reinforce": lambda v, lp, soft, given: v * lp,
        "gumbel": lambda v, lp, soft, given: soft,
        "no correction": lambda v, lp, soft, given: (v - soft).detach() * lp + soft,
        "no pathwise": lambda v, lp, soft, given: (v - soft).detach() * lp - given,
        "no detach": lambda v, lp, soft, given: (v - soft) * lp + soft - given,
        "correction added": lambda v, lp, soft, given: (v - soft).detach() * lp + soft + given,
        "no control in (i)": lambda v, lp, soft, given: v * lp + soft - given,
        "control added in (i)": lambda v, lp, soft, given: (v + soft).detach() * lp + soft - given,
        "sign of (i)": lambda v, lp, soft, given: (soft - v).detach() * lp + soft - given,
        "all detached": lambda v, lp, soft, given: ((v - soft) * lp + soft - given).detach(),
        "stacked": lambda v, lp, soft, given: torch.stack([(v - soft).detach() * lp, soft, -given]),
    },
    "e3.2": {
        "no baseline": lambda v, lp: v * lp,
        "mean of all": lambda v, lp: (v - v.mean()) * lp,
        "divided by N": lambda v, lp: (v - (v.sum() - v) / len(v)) * lp,
        "added": lambda v, lp: (v + (v.sum() - v) / (len(v) - 1)) * lp,
        "turned round": lambda v, lp: ((v.sum() - v) / (len(v) - 1) - v) * lp,
        "median": lambda v, lp: (v - v.median()) * lp,
        "detached": lambda v, lp: (v - v.mean()) * lp.detach(),
    },
}


@pytest.mark.parametrize("exercise", ["e3.1", "e3.2"])
def test_an_empty_answer_gets_a_hint(exercise, check_an_empty_answer):
    check_an_empty_answer(exercise)


@pytest.mark.parametrize("exercise", ["e3.1", "e3.2"])
def test_each_wrong_answer_gets_a_hint_of_its_own(exercise, check_wrong_answers):
    check_wrong_answers(exercise, MUTANTS[exercise])


@pytest.mark.parametrize("exercise", ["e3.1", "e3.2"])
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise, check_the_notebook):
    check_the_notebook(exercise)


def test_other_right_answers_pass_too():
    split = lambda v, lp, soft, given: (v - given.detach()) * lp + (soft - given)
    assert lesson.check("e3.1", split).passed
    assert lesson.check("e3.1", lambda *all_four: split(*all_four).mean()).passed
    one_by_one = lambda v, lp: torch.stack(
        [(v[i] - torch.cat([v[:i], v[i + 1 :]]).mean()) * lp[i] for i in range(len(v))]
    )
    assert lesson.check("e3.2", one_by_one).passed


@pytest.mark.parametrize(
    ("mutant", "verdict"),
    [("no correction", "16% off an exact gradient, and chance makes 3%: biased"), ("reinforce", "unbiased)")],
)
def test_a_wrong_surrogate_is_held_against_an_exact_gradient(mutant, verdict):
    """REINFORCE is not what was asked, and its mean is right all the same: the check says both."""
    found = lesson.check("e3.1", MUTANTS["e3.1"][mutant])
    assert not found.passed and found.message.endswith((verdict, verdict + ")"))


def test_the_answer_to_e3_1_has_the_gradient_of_unas(space, solution):
    """The checker looks at the surrogate's parts; the library's gradient cannot share its mistakes."""
    dist = ArchDistribution(space).double()
    table = torch.rand(space.mask.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cost = lambda weights: (weights * table).sum((-1, -2)).sin()
    sample = dist.sample(50, 0.4, torch.Generator().manual_seed(0))
    surrogate = solution("e3.1")(
        cost(sample.hard), sample.log_prob, cost(sample.soft), cost(sample.soft_given_hard)
    ).mean()
    (by_hand,) = torch.autograd.grad(surrogate, dist.logits)
    library = gradient_estimators.Unas(0.4)(cost, dist, 50, torch.Generator().manual_seed(0)).gradient
    assert torch.allclose(by_hand, library)
