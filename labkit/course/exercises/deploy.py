"""Checkers of the exercises of notebook 07, deploy."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from labkit.course.exercises.answers import is_close, need, value_of
from labkit.course.exercises.checkers import checker


@checker("e7.1")
def _parity_error(answer: Callable[[Tensor, Tensor], Any]) -> str:
    expected = torch.tensor([[4.0, 0.0, -8.0], [1.0, 2.0, -3.0]])
    found = expected + torch.tensor([[0.0, 0.02, 0.01], [0.0, 0.0, -0.05]])  # the largest logit is off too
    value = value_of(answer, "parity_error", found, expected)
    size = torch.as_tensor(value).numel()
    need(size == 1, f"return one number for all logits, the worst; yours returned {size}")
    value, difference = float(value), (found - expected).abs()
    need(math.isfinite(value), "each logit is divided by its own size, and one may be 0: divide by the largest one")
    need(not is_close(value, 0.05), "that is in logits: divide by the largest logit, so that networks compare")
    need(
        not is_close(value, 0.02 / 8),
        "the sign stays: a difference of -0.05 is worse than one of 0.02, take abs() first",
    )
    need(value != 0, "differences cancel or only classes are compared: take the largest difference of the logits")
    means = (difference.mean(), difference.mean() / expected.abs().max(), difference.mean() / expected.abs().mean())
    need(not any(is_close(value, float(m)) for m in means), "that is a mean: one wrong logit in a million must show")
    need(
        not is_close(value, 0.05 / 4), "divide by the largest logit in size: here it is -8, so take abs() before max()"
    )
    need(
        not is_close(value, 0.05 / 7.99),
        "the largest *expected* logit divides: what was found may be wrong, so it is no measure",
    )
    need(
        is_close(value, 0.05 / 8), f"the largest difference is 0.05, the largest logit 8: 0.00625; yours is {value:.5f}"
    )
    broken = float(value_of(answer, "parity_error", torch.full((2, 3), math.nan), expected))
    need(math.isnan(broken) or broken > 1, "logits of NaN get a small error: they must never pass for equal")
    return "the largest difference over the largest logit, as labkit's parity has it"


@checker("e7.2")
def _decision(answer: Callable[..., str]) -> str:
    wrong = str(value_of(answer, "decision", 1.0, 0.25, 0.3))
    need("faster" not in wrong, "a runtime that is 30 % off in its logits is called faster: look at the parity first")
    need(wrong == "wrong answers", f'a parity error above the tolerance is "wrong answers"; got {wrong!r}')
    broken = str(value_of(answer, "decision", 1.0, 0.25, math.nan))
    hint = "a parity error of NaN passes: every comparison with NaN is false, so ask `not error <= tolerance`"
    need(broken == "wrong answers", hint)
    slow = str(value_of(answer, "decision", 1.0, 2.0, 1e-6))
    need(slow != "0.5x faster", "half as fast is called 0.5x faster: print a slow-down as a slow-down")
    need(slow != "0.5x slower", "a slow-down of 2 is printed as 0.5x: below 1 print 1 / speed-up")
    need(slow != "2.0x faster", "twice the time is called faster: the speed-up is baseline over time, not the reverse")
    need(slow == "2.0x slower", f'2 ms against 1 ms of the baseline is "2.0x slower"; got {slow!r}')
    fast = str(value_of(answer, "decision", 1.0, 0.25, 1e-6))
    need(fast == "4.0x faster", f'0.25 ms against 1 ms of the baseline is "4.0x faster"; got {fast!r}')
    close = str(value_of(answer, "decision", 3.0, 1.5, 1e-3))
    need(close == "wrong answers", f"by default 1e-3 is above the tolerance, which is 1e-4; got {close!r}")
    allowed = str(value_of(answer, "decision", 3.0, 1.5, 1e-3, 1e-2))
    need(allowed != "wrong answers", "an error of 1e-3 is within a tolerance of 1e-2: compare with the argument")
    need(allowed == "2.0x faster", f'1.5 ms against 3 ms of the baseline is "2.0x faster"; got {allowed!r}')
    equal = str(value_of(answer, "decision", 2.0, 2.0, 0.0))
    need(equal == "1.0x faster", f'in equal times the speed-up is 1: "1.0x faster", as labkit prints it; got {equal!r}')
    return "wrong answers first, then the speed-up, and a slow-down by its name"
