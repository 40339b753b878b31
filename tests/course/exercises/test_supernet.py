"""The checkers of notebook 02: hints for each typical wrong answer, none for a right one."""

import pytest
import torch

from labkit.course import lesson

wide = lambda weights: weights[..., None, None, None]


norms = lambda net: [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]


@torch.no_grad()
def passed(net, images, momentum=None, reset=False, train=True, end=True):
    """The steps of e2.2, each of which may be left out."""
    for norm in norms(net):
        norm.momentum = norm.momentum if momentum is None else momentum
        if reset:
            norm.reset_running_stats()
    if images is not None:
        net.train(train)(images)
    return net.eval() if end else net


def trained(net, images):
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net.train()(images).sum().backward()
    optimizer.step()
    return net.eval()


MUTANTS = {
    "e2.1": {
        "not weighted": lambda x, ops, w: sum(op(x) for op in ops),
        "mean": lambda x, ops, w: sum(op(x) for op in ops) / len(ops),
        "weighted mean": lambda x, ops, w: sum(wide(w[:, k]) * op(x) for k, op in enumerate(ops)) / len(ops),
        "softmax": lambda x, ops, w: sum(wide(w.softmax(-1)[:, k]) * op(x) for k, op in enumerate(ops)),
        "normalised": lambda x, ops, w: sum(wide((w / w.sum(1, True))[:, k]) * op(x) for k, op in enumerate(ops)),
        "first image's": lambda x, ops, w: sum(w[0, k] * op(x) for k, op in enumerate(ops)),
        "rows for columns": lambda x, ops, w: sum(wide(w[k]) * op(x) for k, op in enumerate(ops)),
        "argmax": lambda x, ops, w: torch.stack([ops[k](x)[b] for b, k in enumerate(w.argmax(-1))]),
        "stacked": lambda x, ops, w: torch.stack([wide(w[:, k]) * op(x) for k, op in enumerate(ops)]),
        "only one": lambda x, ops, w: wide(w[:, 0]) * ops[0](x),
        "a list": lambda x, ops, w: [wide(w[:, k]) * op(x) for k, op in enumerate(ops)],
    },
    "e2.2": {
        "usual momentum": passed,
        "eval mode": lambda net, x: passed(net, x, momentum=1.0, train=False),
        "reset only": lambda net, x: passed(net, None, reset=True),
        "reset, usual momentum": lambda net, x: passed(net, x, reset=True),
        "left in train mode": lambda net, x: passed(net, x, momentum=1.0, end=False),
        "other images": lambda net, x: passed(net, x * 2 + 1, momentum=1.0),
        "trained": trained,
        "the output": lambda net, x: passed(net, x, momentum=1.0)(x),
    },
}


@pytest.mark.parametrize("exercise", ["e2.1", "e2.2"])
def test_an_empty_answer_gets_a_hint(exercise, check_an_empty_answer):
    check_an_empty_answer(exercise)


@pytest.mark.parametrize("exercise", ["e2.1", "e2.2"])
def test_each_wrong_answer_gets_a_hint_of_its_own(exercise, check_wrong_answers):
    check_wrong_answers(exercise, MUTANTS[exercise])


@pytest.mark.parametrize("exercise", ["e2.1", "e2.2"])
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise, check_the_notebook):
    check_the_notebook(exercise)


def test_other_right_answers_pass_too():
    assert lesson.check(
        "e2.1", lambda x, ops, w: torch.einsum("bk,kbchw->bchw", w, torch.stack([o(x) for o in ops]))
    ).passed
    assert lesson.check("e2.2", lambda net, x: passed(net, x, momentum=1.0, reset=True)).passed
