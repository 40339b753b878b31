"""Checkers of the exercises of notebook 05, the search."""

from collections.abc import Callable

import torch
from torch import Tensor

from labkit.course.exercises.answers import alike, is_close, need, number, value_of
from labkit.course.exercises.checkers import checker


@checker("e5.1")
def _generalisation_loss(answer: Callable[[Tensor, Tensor, float], Tensor]) -> str:
    train, valid = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (2.0, 3.0))
    value = value_of(answer, "l_gen", train, valid, 0.25)
    need(not is_close(value, 3.25), "you start from L_valid: L_gen is L_train plus the weighted gap")
    need(not is_close(value, 3.0), "the gap counts in full: multiply it by `gap_weight`")
    need(
        not is_close(value, 2.75), "that is a mixture of the two losses: it is the *gap* between them that is weighted"
    )
    need(not is_close(value, 0.25), "that is the gap alone: add L_train, or nothing learns to classify")
    need(not is_close(value, 1.75), "the gap is subtracted: it is a cost, so add it")
    need(
        is_close(value, 2.25),
        f"L_train 2, L_valid 3, gap weight 0.25: 2 + 0.25 * 1 = 2.25; yours is {number(value):.3f}",
    )
    lucky = number(value_of(answer, "l_gen", valid, train, 0.25))  # validation is the better one
    need(
        not is_close(lucky, 2.75), "a validation loss below the training loss is rewarded: the gap is an absolute value"
    )
    need(
        not is_close(lucky, 3.0),
        "a validation loss below the training loss costs nothing: the gap is an absolute value",
    )
    need(is_close(lucky, 3.25), f"L_train 3, L_valid 2 give 3.25; yours is {lucky:.3f}")
    wide = number(value_of(answer, "l_gen", train, valid + 1, 0.25))  # a gap of 2
    need(not is_close(wide, 3.0), "the gap is squared: the published loss takes its absolute value")
    need(is_close(wide, 2.5), f"L_train 2, L_valid 4 give 2.5; yours is {wide:.3f}")
    need(isinstance(value, Tensor) and value.requires_grad, "the gradient is lost: no float(), .item() or detach()")
    gradients = torch.autograd.grad(value, (train, valid), allow_unused=True)
    need(all(s is not None for s in gradients), "the gradient of one of the losses is lost: do not detach it")
    need(
        is_close(gradients[0], 0.75) and is_close(gradients[1], 0.25),
        "the value is right and its gradient is not: detach nothing",
    )
    return "the same as labkit's generalisation_loss, and so is its gradient"


@checker("e5.2")
def _latency_cost(answer: Callable[[Tensor, float, float], Tensor]) -> str:
    ms = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    value = value_of(answer, "hinge", ms, 0.1, 0.5)
    need(isinstance(value, Tensor), f"three latencies as a tensor cost a tensor of three; got {type(value).__name__}")
    value, over = value.to(torch.float64), ms - 0.5
    need(value.shape == ms.shape, f"three latencies have three costs; yours has the shape {tuple(value.shape)}")
    wrong = (
        (0.1 * ms, "this is the linear cost: the target is not used"),
        (0.1 * over, "being faster than the target is rewarded: the hinge gives nothing below it, so cut off at 0"),
        (0.1 * over.abs(), "being faster than the target is punished: cut off at 0, take no absolute value"),
        (over.clamp_min(0), "the weight is missing: it turns milliseconds into error fraction"),
        (0.1 * over.clamp_min(0) ** 2, "the excess is squared: the published hinge is linear above the target"),
        (0.1 * ms.clamp_max(0.5), "this is cut off *above* the target: only the milliseconds beyond it should cost"),
        (0.1 * (-over).clamp_min(0), "this is the time left before the target: the cost is of the time beyond it"),
        (0.1 * (over > 0).double(), "every excess costs the same: multiply the weight by the milliseconds beyond"),
        (0.1 * ms * (over > 0), "beyond the target *all* milliseconds cost: only those beyond it should"),
    )
    for other, hint in wrong:
        need(not alike(value, other), hint)
    need(alike(value, 0.1 * over.clamp_min(0)), f"0.2, 0.5 and 0.9 ms cost 0, 0 and 0.04; yours {value.tolist()}")
    return "the same as labkit's LatencyCost with a target"
