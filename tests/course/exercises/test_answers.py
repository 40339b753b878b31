"""What checkers ask of an answer first."""

import pytest
import torch

from labkit.course.exercises import answers
from labkit.course.exercises.checkers import Wrong


def test_a_condition_that_fails_is_a_hint():
    answers.need(True, "never seen")
    with pytest.raises(Wrong, match="look here"):
        answers.need(False, "look here")


def test_a_function_is_handed_over_without_calling_it():
    answers.is_function(len, "size")
    with pytest.raises(Wrong, match="hand over the function itself, `size`, without calling it; got 3"):
        answers.is_function(3, "size")


def test_nothing_returned_is_a_hint():
    assert answers.value_of(lambda a, b: a + b, "sum", 1, 2) == 3
    assert answers.value_of(lambda: 0, "zero") == 0, "0 is an answer"
    for nothing in (None, ...):
        assert answers.empty(nothing)
        with pytest.raises(Wrong, match="`sum` returns nothing yet"):
            answers.value_of(lambda: nothing, "sum")  # noqa: B023
    assert not answers.empty(0) and not answers.empty("")


def test_numbers_are_compared_up_to_rounding():
    assert answers.number(torch.tensor(0.5, requires_grad=True)) == 0.5 and answers.number(2) == 2.0
    assert answers.is_close(1.0 + 1e-6, 1.0) and answers.is_close(torch.tensor(1e-8), 0.0)
    assert not answers.is_close(1.0001, 1.0) and not answers.is_close(1e-6, 0.0)


def test_tensors_are_compared_up_to_rounding():
    found = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert answers.alike(found, torch.tensor([1.0, 2.0 + 1e-9])) and answers.alike(torch.zeros(3), 0.0)
    assert not answers.alike(found, 1.0) and not answers.alike(found, found[[1, 0]])
