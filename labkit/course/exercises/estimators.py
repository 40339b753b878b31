"""Checkers of the exercises of notebook 03, gradient estimators."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from labkit.benches.estimators import Problem, toy_network, toy_space
from labkit.course.exercises.answers import alike, empty, is_function, need
from labkit.course.exercises.checkers import Wrong, checker
from labkit.estimators.gradient_estimators import exact_gradient


def _gradients(surrogate: Any, leaves: tuple[Tensor, ...]) -> list[Tensor]:
    """Derivatives of the sum of (N,) surrogates, or of N times their mean, in what they were made of."""
    need(not empty(surrogate), "your function returned None: return the surrogate, one value a draw")
    need(isinstance(surrogate, Tensor), f"return a tensor of N values; got {type(surrogate).__name__}")
    n = len(leaves[0])
    need(surrogate.shape in ((n,), ()), f"{n} draws give {n} surrogates; yours has the shape {tuple(surrogate.shape)}")
    need(surrogate.requires_grad, "the surrogate has no gradient at all: `detach` only what stands before log_prob")
    total = surrogate.sum() if surrogate.ndim else n * surrogate
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    return [
        torch.zeros(n, dtype=leaf.dtype) if gradient is None else gradient for gradient, leaf in zip(gradients, leaves)
    ]


Surrogate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of value, log_prob, soft_cost and given_cost, (N,)


@checker("e3.1")
def _unas_surrogate(answer: Surrogate) -> str:
    """The terms one by one, so that a hint can name the one that is amiss, and the mean against the exact gradient."""
    is_function(answer, "unas_surrogate")
    try:
        _three_terms(answer)
    except Wrong as hint:
        raise Wrong(f"{hint}{_found_mean(answer)}") from None
    return f"the three terms are those of labkit's Unas{_found_mean(answer)}"


def _found_mean(answer: Surrogate, calls: int = 200, draws: int = 200) -> str:
    """The surrogate's mean compared with an enumerated gradient; nothing where it has no gradient."""
    toy = toy_network(residual=False)
    dist = Problem("exercise", toy_space(), toy, toy).dist()
    generator = torch.Generator().manual_seed(0)
    estimates = []
    for _ in range(calls):
        sample = dist.sample(draws, 0.4, generator)
        try:
            found = answer(toy(sample.hard), sample.log_prob, toy(sample.soft), toy(sample.soft_given_hard)).mean()
            estimates.append(torch.autograd.grad(found, dist.logits)[0])
        except (RuntimeError, AttributeError, TypeError):  # no tensor, no gradient, or other shapes
            return ""
    exact, mean = exact_gradient(toy, dist), torch.stack(estimates).mean(0)
    noise = torch.stack(estimates).std(0) / calls**0.5
    off, chance = ((x.norm() / exact.norm()).item() for x in (mean - exact, noise))
    mean_text = f"the mean of {calls * draws:,} draws is {off:.0%} off an exact gradient"
    if ((mean - exact).abs() > 4 * noise).any():
        return f" ({mean_text}, and chance makes {chance:.0%}: biased)"
    return f" ({mean_text}, as chance alone makes it: unbiased)"


def _three_terms(answer: Surrogate) -> None:
    generator = torch.Generator().manual_seed(0)
    value, log_prob, soft, given = torch.rand(4, 6, generator=generator, dtype=torch.float64) + torch.tensor(
        [[2.0], [-5.0], [1.0], [1.5]], dtype=torch.float64
    )
    leaves = tuple(leaf.requires_grad_() for leaf in (log_prob, soft, given))
    score, pathwise, correction = _gradients(answer(value, *leaves), leaves)
    value, log_prob, soft, given = (t.detach() for t in (value, *leaves))
    need(not alike(score, 0.0), "term (i) is missing: log_prob must appear, or the true cost has no say")
    need(
        not (alike(score, value) and alike(pathwise, 0.0) and alike(correction, 0.0)),
        "this is REINFORCE: subtract the control from the value, then add terms (ii) and (iii) to stay unbiased",
    )
    need(not alike(score, value), "term (i) lacks the control: it is (value - soft_cost) that multiplies log_prob")
    need(not alike(score, value + soft), "the control is added to the value in term (i): it must be subtracted")
    need(not alike(score, soft - value), "term (i) has the wrong sign: a costly architecture would become more likely")
    need(alike(score, value - soft) or alike(score, value - given), "what multiplies log_prob is not value - soft_cost")
    need(
        not (alike(pathwise, 1 - log_prob) or alike(correction, -1 - log_prob)),
        "a gradient flows through the factor of log_prob: detach (value - soft_cost)",
    )
    need(not alike(pathwise, 0.0), "term (iii), the pathwise one, is missing: add soft_cost")
    need(not alike(correction, 0.0), "term (ii), the correction, is missing: without it the estimate is biased")
    need(not alike(correction, 1.0), "the correction has the wrong sign: the paths' gradients are subtracted")
    need(alike(pathwise, 1.0), "soft_cost must enter with the factor 1")
    need(alike(correction, -1.0), "given_cost must enter with the factor -1")


@checker("e3.2")
def _leave_one_out(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    is_function(answer, "leave_one_out")
    value = torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0], dtype=torch.float64)
    log_prob = torch.linspace(-5.0, -3.0, 5, dtype=torch.float64).requires_grad_()
    (factor,) = _gradients(answer(value, log_prob), (log_prob,))
    n = len(value)
    others = (value.sum() - value) / (n - 1)
    need(not alike(factor, value), "there is no baseline yet: subtract from each value the mean of the *other* values")
    need(
        not alike(factor, value - value.mean()),
        "a draw's own value is in its baseline: that shrinks the gradient by 1/N, a bias; leave it out",
    )
    need(
        not alike(factor, value - (value.sum() - value) / n),
        "the others are N - 1 values, but their sum is divided by N",
    )
    need(not alike(factor, value + others), "the baseline is added: subtract it")
    need(not alike(factor, others - value), "the sign is turned round: value minus baseline, not baseline minus value")
    need(alike(factor, value - others), "what multiplies log_prob is not the value minus the mean of the other values")
    return "unbiased, needs no memory and nothing of the cost: a baseline to take seriously"
