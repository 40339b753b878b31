"""What checkers ask of an answer first: that it exists and is of the right kind."""

import math
from typing import Any

import torch
from torch import Tensor

from labkit.course.exercises.checkers import Wrong


def need(condition: bool, hint: str) -> None:
    """Refuse an answer where a condition fails.

    Args:
        condition: what a right answer fulfils.
        hint: what to look at.

    Raises:
        Wrong: the condition is false.
    """
    if not condition:
        raise Wrong(hint)


def is_function(answer: Any, name: str) -> None:
    """Refuse an answer that cannot be called.

    Args:
        answer: the answer.
        name: of the function that the exercise asks for.

    Raises:
        Wrong: it is no function.
    """
    need(callable(answer), f"hand over the function itself, `{name}`, without calling it; got {answer!r}")


def empty(found: Any) -> bool:
    """Check that nothing was returned.

    Args:
        found: what a learner's function returned.

    Returns:
        True for None and for an ellipsis.
    """
    return found is None or found is ...


def alike(found: Tensor, wanted: Tensor | float) -> bool:
    """Compare a tensor with what is wanted, up to rounding.

    Args:
        found: any tensor.
        wanted: a tensor or number that broadcasts to its shape.

    Returns:
        True where all values are close.
    """
    return torch.allclose(found, torch.as_tensor(wanted, dtype=found.dtype).expand_as(found))


def value_of(function: Any, name: str, *arguments: Any) -> Any:
    """Call a learner's function.

    Args:
        function: the answer.
        name: of the function that the exercise asks for.
        *arguments: of the call.

    Returns:
        What it returned.

    Raises:
        Wrong: it is no function, or returns nothing.
    """
    is_function(function, name)
    value = function(*arguments)
    need(value is not None and value is not ..., f"`{name}` returns nothing yet: write its body and `return`")
    return value


def number(value: Any) -> float:
    """Convert to a number without a gradient.

    Args:
        value: a number, or a tensor of one.

    Returns:
        The number.
    """
    return float(value.detach() if isinstance(value, Tensor) else value)


def is_close(value: Any, expected: float) -> bool:
    """Compare a number with what is expected, up to rounding.

    Args:
        value: a number, or a tensor of one.
        expected: the right number.

    Returns:
        True where they are close.
    """
    return math.isclose(number(value), expected, rel_tol=1e-5, abs_tol=1e-7)
