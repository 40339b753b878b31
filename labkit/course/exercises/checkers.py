"""How an exercise's checker is written and found."""

from collections.abc import Callable
from typing import Any

from labkit.system.errors import InputError

Checker = Callable[[Any], str]  # an answer -> praise; raises Wrong with a hint, or anything at all

CHECKERS: dict[str, Checker] = {}


class Wrong(Exception):
    """What a checker raises for an answer that is not right: the message says what to look at."""


def checker(exercise: str) -> Callable[[Checker], Checker]:
    """Register the function that judges `exercise`, such as "e3.1"."""

    def register(function: Checker) -> Checker:
        if exercise in CHECKERS:
            raise InputError(f"exercise {exercise} has a checker already")
        CHECKERS[exercise] = function
        return function

    return register
