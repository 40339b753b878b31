"""The checkers of notebooks 04 to 07: stubs and typical wrong answers get hints of their own, solutions pass."""

import itertools
import math
import statistics
from pathlib import Path

import pytest
import torch

from labkit.course import editions, lesson
from labkit.deploy import export

SOURCES = Path(__file__).resolve().parents[2] / "notebooks" / "src"
NOTEBOOKS = {"04": "04_latency.py", "05": "05_search.py", "06": "06_frontier.py", "07": "07_deploy.py"}
EXERCISES = ("e4.1", "e4.2", "e5.1", "e5.2", "e6.1", "e6.2", "e7.1", "e7.2")
QUARTILES = lambda blocks: statistics.quantiles(blocks, n=4)


def beats(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a != b


def area(stairs, worst, height):
    ends = [ms for _, ms in stairs[1:]] + [worst[1]]
    return sum(height(i) * (end - stairs[i][1]) for i, end in enumerate(ends))


def decided(base, ms, error, most):
    return export.speedup_text(base / ms) if error <= most else "wrong answers"


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
    assert len(set(messages)) == len(messages) >= 3
    assert not any("raised" in message for message in messages)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_notebook_has_a_stub_that_fails_and_a_solution_that_passes(exercise):
    number, ordinal = f"0{exercise[1]}", int(exercise[3]) - 1
    stub, solution = editions.exercise_cells(SOURCES / NOTEBOOKS[number])[ordinal]
    verdict = lesson.check(exercise, defined(stub))
    assert not verdict.passed and "raised" not in verdict.message
    verdict = lesson.check(exercise, defined(solution))
    assert verdict.passed, verdict.message


def defined(cell):
    """The function that a cell defines, with the names that the notebook has by then."""
    names = {"torch": torch, "math": math, "statistics": statistics, "beats": beats}
    before = set(names) | {"__builtins__"}
    exec(cell, names)
    (new,) = set(names) - before
    return names[new]


def test_other_right_answers_pass_too():
    inclusive = lambda blocks: statistics.quantiles(blocks, n=4, method="inclusive")
    quartiles = lambda blocks: [min(blocks), statistics.median(blocks), inclusive(blocks)[2] - inclusive(blocks)[0]]
    assert lesson.check("e4.1", quartiles).passed
    assert lesson.check("e5.1", lambda t, v, g: t + g * (t - v).abs()).passed
    assert lesson.check("e5.2", lambda ms, w, t: torch.where(ms > t, w * (ms - t), 0.0)).passed
    in_order = lambda points: sorted(a for a in points if not any(beats(b, a) for b in points))
    assert lesson.check("e6.1", in_order).passed
    assert lesson.check("e7.1", lambda a, b: float((b - a).abs().max() / b.abs().max())).passed
