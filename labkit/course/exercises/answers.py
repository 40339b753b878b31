"""What checkers ask of an answer first: that there is one, of the right kind."""

import math
from typing import Any

import torch
from torch import Tensor

from labkit.course.exercises.checkers import Wrong


def need(condition: bool, hint: str) -> None:
    if not condition:
        raise Wrong(hint)


def is_function(answer: Any, name: str) -> None:
    need(callable(answer), f"hand over the function itself, `{name}`, without calling it; got {answer!r}")


def empty(found: Any) -> bool:
    return found is None or found is ...


def alike(found: Tensor, wanted: Tensor | float) -> bool:
    return torch.allclose(found, torch.as_tensor(wanted, dtype=found.dtype).expand_as(found))


def value_of(function: Any, name: str, *arguments: Any) -> Any:
    """What a learner's function returns; a hint where there is no function, or nothing comes back."""
    is_function(function, name)
    value = function(*arguments)
    need(value is not None and value is not ..., f"`{name}` returns nothing yet: write its body and `return`")
    return value


def number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def is_close(value: Any, expected: float) -> bool:
    """Whether a number, or a tensor of one, is `expected` but for rounding."""
    return math.isclose(number(value), expected, rel_tol=1e-5, abs_tol=1e-7)
