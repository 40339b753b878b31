"""Registration of the function that checks an exercise."""

from collections.abc import Callable
from typing import Any

from labkit.system.errors import InputError

Checker = Callable[[Any], str]  # an answer -> praise; raises Wrong with a hint, or anything at all

CHECKERS: dict[str, Checker] = {}


class Wrong(Exception):
    """A wrong answer: the message says what to look at."""


def checker(exercise: str) -> Callable[[Checker], Checker]:
    """Register the function that checks an exercise.

    Args:
        exercise: such as "e3.1".

    Returns:
        The decorator.

    Raises:
        InputError: the exercise has a checker already.
    """

    def register(function: Checker) -> Checker:
        if exercise in CHECKERS:
            raise InputError(f"exercise {exercise} has a checker already")
        CHECKERS[exercise] = function
        return function

    return register
