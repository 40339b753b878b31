"""The checkers of notebooks 00 to 03: stubs and typical wrong answers get hints of their own, solutions pass."""

import inspect
import math
from pathlib import Path

import pytest
import torch

from labkit.course import editions, lesson
from labkit.estimators import gradient_estimators
from labkit.estimators.distributions import ArchDistribution

SOURCES = Path(__file__).resolve().parents[2] / "notebooks" / "src"
NOTEBOOKS = {"0": "00_start_here.py", "1": "01_search_spaces.py", "2": "02_supernet.py", "3": "03_estimators.py"}
EXERCISES = ("e0.1", "e0.2", "e1.1", "e1.2", "e2.1", "e2.2", "e3.1", "e3.2")

error, ms = (lambda p: p.error), (lambda p: p.latency_ms)
inside = lambda points, most: [p for p in points if p.latency_ms <= most] or [None]
wide = lambda weights: weights[..., None, None, None]
norms = lambda net: [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]


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


@pytest.fixture(autouse=True)
def no_progress_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


@pytest.mark.parametrize("exercise", EXERCISES)
@pytest.mark.parametrize("nothing", [None, ..., lambda *_: None, lambda *_: ...])
def test_an_empty_answer_gets_a_hint(exercise, nothing):
    verdict = lesson.check(exercise, nothing)
    assert not verdict.passed and "raised" not in verdict.message and len(verdict.message) > 20


@pytest.mark.parametrize("exercise", EXERCISES)
def test_each_wrong_answer_gets_a_hint_of_its_own(exercise):
    verdicts = {name: lesson.check(exercise, answer) for name, answer in MUTANTS[exercise].items()}
    assert {name for name, verdict in verdicts.items() if verdict.passed} == set()
    messages = [verdict.message for verdict in verdicts.values()]
    assert len(set(messages)) == len(messages) >= 3, verdicts
    assert not any("raised" in message for message in messages)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise):
    stub, solution = editions.exercise_cells(SOURCES / NOTEBOOKS[exercise[1]])[int(exercise[3]) - 1]
    verdict = lesson.check(exercise, defined(stub))
    assert not verdict.passed and "raised" not in verdict.message
    verdict = lesson.check(exercise, defined(solution))
    assert verdict.passed, verdict.message


def defined(cell):
    """The function that a cell defines, with the names that the notebook has by then."""
    names = {"torch": torch, "math": math}
    exec(cell, names)
    return next(value for name, value in names.items() if inspect.isfunction(value))


def test_an_answer_that_raises_is_told_so_and_the_notebook_goes_on():
    verdict = lesson.check("e1.1", lambda slots: slots.size)
    assert not verdict.passed and "AttributeError" in verdict.message


def test_other_right_answers_pass_too():
    within = lambda p, m: next((a for a in sorted(p, key=lambda a: (a.error, a.latency_ms)) if a.latency_ms <= m), None)
    assert lesson.check("e0.1", within).passed
    assert lesson.check("e1.2", lambda space, a: iter(changed(space, a)[::-1])).passed
    assert lesson.check(
        "e2.1", lambda x, ops, w: torch.einsum("bk,kbchw->bchw", w, torch.stack([o(x) for o in ops]))
    ).passed
    assert lesson.check("e2.2", lambda net, x: passed(net, x, momentum=1.0, reset=True)).passed
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


def test_the_answer_to_e3_1_has_the_gradient_of_unas(space):
    """The checker looks at the surrogate's parts; the library's gradient cannot share its mistakes."""
    (_, solution), _ = editions.exercise_cells(SOURCES / NOTEBOOKS["3"])
    dist = ArchDistribution(space).double()
    table = torch.rand(space.mask.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cost = lambda weights: (weights * table).sum((-1, -2)).sin()
    sample = dist.sample(50, 0.4, torch.Generator().manual_seed(0))
    surrogate = defined(solution)(
        cost(sample.hard), sample.log_prob, cost(sample.soft), cost(sample.soft_given_hard)
    ).mean()
    (by_hand,) = torch.autograd.grad(surrogate, dist.logits)
    library = gradient_estimators.Unas(0.4)(cost, dist, 50, torch.Generator().manual_seed(0)).gradient
    assert torch.allclose(by_hand, library)
