"""What holds for every exercise: stubs and typical wrong answers get hints of their own, solutions pass."""

import inspect
import itertools
import math
import statistics
from pathlib import Path

import pytest
import torch

from labkit.course import editions, lesson

SOURCES = Path(__file__).resolve().parents[3] / "notebooks" / "src"
NOTHINGS = (None, ..., lambda *_: None, lambda *_: ...)


@pytest.fixture(autouse=True)
def no_progress_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


def stub_and_solution(exercise):
    """The code of an exercise, such as "e3.1", in its notebook: as the learner finds it, and solved."""
    (source,) = SOURCES.glob(f"0{exercise[1]}_*.py")
    return editions.exercise_cells(source)[int(exercise[3]) - 1]


def function_of(cell):
    """The function that a cell defines, with the names that the notebook has by then."""
    beats = lambda a, b: a[0] <= b[0] and a[1] <= b[1] and a != b
    names = {"torch": torch, "math": math, "statistics": statistics, "itertools": itertools, "beats": beats}
    before = set(names)
    exec(cell, names)
    (new,) = [name for name, value in names.items() if name not in before and inspect.isfunction(value)]
    return names[new]


@pytest.fixture
def solution():
    """A function: exercise -> the function that its solution defines."""
    return lambda exercise: function_of(stub_and_solution(exercise)[1])


@pytest.fixture
def check_an_empty_answer():
    def check(exercise):
        for nothing in NOTHINGS:
            verdict = lesson.check(exercise, nothing)
            assert not verdict.passed and "raised" not in verdict.message and len(verdict.message) > 20

    return check


@pytest.fixture
def check_wrong_answers():
    def check(exercise, mutants):
        verdicts = {name: lesson.check(exercise, answer) for name, answer in mutants.items()}
        assert {name for name, verdict in verdicts.items() if verdict.passed} == set()
        messages = [verdict.message for verdict in verdicts.values()]
        assert len(set(messages)) == len(messages) >= 3, verdicts
        assert not any("raised" in message for message in messages)

    return check


@pytest.fixture
def check_the_notebook():
    def check(exercise):
        stub, solution = stub_and_solution(exercise)
        verdict = lesson.check(exercise, function_of(stub))
        assert not verdict.passed and "raised" not in verdict.message
        verdict = lesson.check(exercise, function_of(solution))
        assert verdict.passed, verdict.message

    return check
