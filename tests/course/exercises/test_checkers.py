"""Checkers are found by the name of their exercise, each once."""

import re

import pytest

from labkit.course import editions
from labkit.course.exercises import CHECKERS
from labkit.course.exercises.checkers import checker
from labkit.system import storage
from labkit.system.errors import InputError


def test_every_exercise_of_the_notebooks_has_its_checker():
    """The names that the check cells use, and no others."""
    sources = editions.sources(storage.NOTEBOOKS.parent)
    used = [name for path in sources for name in re.findall(r'check\("(e\d\.\d)"', path.read_text(encoding="utf-8"))]
    assert sorted(used) == sorted(CHECKERS) and len(used) == 16


def test_a_second_checker_of_one_exercise_is_refused(monkeypatch):
    monkeypatch.delitem(CHECKERS, "e0.1")
    evaluated = checker("e0.1")(lambda answer: "yes")
    assert CHECKERS["e0.1"] is evaluated and evaluated(None) == "yes"
    with pytest.raises(InputError, match=r"exercise e0\.1 has a checker already"):
        checker("e0.1")(lambda answer: "again")
