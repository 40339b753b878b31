"""The checkers of the notebooks' exercises, by number: each compares an answer with the library's own."""

import copy
import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from labkit import spaces
from labkit.checks import CHECKERS as CHECKERS
from labkit.checks import Wrong, checker
from labkit.estimator_bench import Problem, toy_network, toy_space
from labkit.estimators import exact_gradient
from labkit.networks import MixedOp, Network
from labkit.pareto import Frontier, Point
from labkit.spaces import Architecture, Edge


def _need(condition: bool, hint: str) -> None:
    if not condition:
        raise Wrong(hint)


def _function(answer: Any, name: str) -> None:
    _need(callable(answer), f"hand over the function itself, `{name}`, without calling it; got {answer!r}")


def _empty(found: Any) -> bool:
    return found is None or found is ...


# --- 00 start here --------------------------------------------------------------------------------------


def _six_points() -> tuple[Point, ...]:
    """Two equal errors, one point that is worse than others in everything, and round numbers to compare with."""
    costs = ((0.30, 0.10), (0.20, 0.20), (0.10, 0.28), (0.10, 0.25), (0.12, 0.30), (0.05, 0.90), (0.35, 0.50))
    architectures = iter(spaces.five_layer())
    return tuple(Point(next(architectures), error, ms) for error, ms in costs)


def _a_point(found: Any, name: str) -> Point:
    _need(not _empty(found), f"`{name}` returned None: return one of the points")
    _need(not isinstance(found, list | tuple), f"`{name}` returned a {type(found).__name__}: return one point")
    _need(isinstance(found, Point), f"return the point itself; `{name}` returned {type(found).__name__} {found!r}")
    return found


@checker("e0.1")
def _within(answer: Callable[[tuple[Point, ...], float], Point | None]) -> str:
    _function(answer, "within")
    points = _six_points()
    for max_ms in (0.95, 0.30, 0.20):
        found, right = _a_point(answer(points, max_ms), "within"), Frontier.of(points).best(max_ms)
        inside = [p for p in points if p.latency_ms <= max_ms]
        _need(
            found.latency_ms <= max_ms,
            f"a budget of {max_ms} ms got a point of {found.latency_ms} ms: leave out those that take too long",
        )
        _need(
            max_ms != 0.20 or found.error == right.error,
            "a point that takes exactly `max_ms` is within the budget: compare with <=",
        )
        if found.error > right.error:
            _need(
                found != max(inside, key=lambda p: p.error),
                "that is the point with the largest error: error is a cost, so smaller is better",
            )
            _need(
                found.latency_ms != min(p.latency_ms for p in inside),
                "that is the fastest point: within the budget nobody asks how fast, only how accurate",
            )
            _need(
                found.latency_ms != max(p.latency_ms for p in inside),
                "that is the slowest point within the budget: slow is not the same as accurate, so look at the error",
            )
        _need(
            found.error == right.error,
            f"within {max_ms} ms a point has error {right.error}; yours has {found.error}",
        )
        _need(found == right, "of two points with the same error the faster one is better: compare (error, latency_ms)")
    try:
        nothing = answer(points, 0.05)
    except ValueError:
        raise Wrong("no point is within 0.05 ms, and then `min` of nothing raises: return None in that case") from None
    _need(nothing is None, f"no point is within 0.05 ms: return None; yours returned {nothing!r}")
    return "you chose as Frontier.best does, for every budget tried"


@checker("e0.2")
def _cheapest(answer: Callable[[tuple[Point, ...], float], Point]) -> str:
    _function(answer, "cheapest")
    points = _six_points()
    found = {weight: _a_point(answer(points, weight), "cheapest") for weight in (0.0, 0.2, 0.5, 10.0)}
    right = {weight: min(points, key=lambda p: p.error + weight * p.latency_ms) for weight in found}
    _need(
        found[0.0] != max(points, key=lambda p: p.error),
        "you returned the largest total: both terms are costs, so take the smallest",
    )
    _need(
        found[0.0] != min(points, key=lambda p: p.latency_ms),
        "with weight 0 you chose the fastest point: the weight multiplies the latency, not the error",
    )
    _need(len(set(found.values())) > 1, "another weight changes nothing: add `latency_weight * latency_ms`, in ms")
    _need(
        found[10.0] == right[10.0],
        "at weight 10 latency should rule and does not: the weight is error *fraction* per ms, so no percent",
    )
    for weight, point in found.items():
        _need(
            point == right[weight],
            f"at weight {weight} the total of {right[weight].error} + {weight} * {right[weight].latency_ms} is smaller "
            f"than that of your point ({point.error}, {point.latency_ms} ms)",
        )
    return "the weight is a price: at 0 accuracy alone counts, at 10 the fastest wins"


# --- 01 search spaces -----------------------------------------------------------------------------------


@checker("e1.1")
def _size(answer: Callable[[tuple[tuple[str, ...], ...]], int]) -> str:
    _function(answer, "size")
    equal, unequal = (("a", "b", "c"),) * 5, (("a", "b"), ("a", "b", "c", "d"), ("c",), ("a", "b", "c"))
    found = answer(equal)
    _need(not _empty(found), "`size` returned None: replace that line by a product over the slots")
    _need(found != 3 + 3 + 3 + 3 + 3, "that is the sum, 15: each choice in one slot goes with each choice in the next")
    _need(found != 5**3, "that is 5**3: one factor a *slot*, each the number of its candidates, is 3**5")
    _need(found == 243, f"five slots of three candidates give 3 * 3 * 3 * 3 * 3 = 243; yours gives {found}")
    found = answer(unequal)
    _need(
        found not in (len(slot) ** len(unequal) for slot in unequal),
        "one power is right only while all slots are alike: multiply the lengths one by one",
    )
    right = math.prod(len(slot) for slot in unequal)
    _need(found == right, f"slots with 2, 4, 1 and 3 candidates give 2 * 4 * 1 * 3 = {right}; yours gives {found}")
    return "the same as space.size, for equal and for unequal slots"


@checker("e1.2")
def _neighbours(answer: Callable[[Any, Architecture], list[Architecture]]) -> str:
    _function(answer, "neighbours")
    for space in (spaces.five_layer(), spaces.mobile("tiny")):
        (start,) = space.sample(1, torch.Generator().manual_seed(1))
        found = answer(space, start)
        _need(not _empty(found), "`neighbours` returned None: build a list of architectures and return it")
        found = list(found)
        _need(
            bool(found), "`neighbours` returned an empty list: go through the slots, and in each through the candidates"
        )
        _need(
            all(isinstance(a, Architecture) for a in found),
            f"each neighbour is an architecture, as space.architecture(names) makes it; got {found[0]!r}",
        )
        _need(start not in found, "an architecture is not its own neighbour: skip the candidate that the slot has now")
        _need(len(set(found)) == len(found), "some architecture is in the list twice")
        apart = {sum(a != b for a, b in zip(one.ops, start.ops)) for one in found}
        right = sum(len(slot) - 1 for slot in space.slots)
        _need(
            apart == {1} or len(found) <= right,
            f"there are {right} neighbours and you return {len(found)} architectures: exactly one slot may differ",
        )
        _need(
            apart == {1},
            f"a neighbour differs in exactly one slot; yours differ in up to {max(apart)}: start afresh from the "
            "given architecture for each change",
        )
        changed = {s for one in found for s, (a, b) in enumerate(zip(one.ops, start.ops)) if a != b}
        _need(
            len(changed) == len(space.slots),
            f"only {len(changed)} of the {len(space.slots)} slots of {space.name} ever change",
        )
        _need(
            len(found) == right,
            f"{space.name}: {len(found)} neighbours of {right}; every *other* candidate of a slot gives one",
        )
    return "10 neighbours among the 243, and every one-slot change in mobile-tiny too"


# --- 02 the supernet ------------------------------------------------------------------------------------


@checker("e2.1")
def _mixture(answer: Callable[[Tensor, nn.ModuleList, Tensor], Tensor]) -> str:
    _function(answer, "mixture")
    generator = torch.Generator().manual_seed(0)
    mixed = MixedOp(("conv5x5", "conv3x3", "maxpool3x3"), Edge(4, 4, slot=0)).eval()
    x, weights = torch.randn(3, 4, 8, 8, generator=generator), torch.rand(3, 3, generator=generator)
    with torch.no_grad():
        found = answer(x, mixed.ops, weights)
        _need(
            not _empty(found),
            "`mixture` returned None: return the sum of the candidates' outputs, each times its weight",
        )
        _need(isinstance(found, Tensor), f"`mixture` returned {type(found).__name__}; return one tensor")
        _need(
            found.shape == x.shape,
            f"three images of shape {tuple(x.shape)} went in and {tuple(found.shape)} came out: sum over the "
            "candidates only, and give each weight three more axes",
        )
        outputs = torch.stack([op(x) for op in mixed.ops])  # (K, B, C, H, W)
        share = lambda w: (w.T[..., None, None, None] * outputs).sum(0)
        wrong = (
            (outputs.sum(0), "the weights are not used: this is the plain sum of the outputs"),
            (outputs.mean(0), "this is the mean of the outputs: each must count by its weight"),
            (share(weights) / len(mixed.ops), "this is the weighted sum divided by the number of candidates: only sum"),
            (share(weights.softmax(-1)), "take the weights as they are: whoever made them has applied the softmax"),
            (
                share(weights / weights.sum(-1, keepdim=True)),
                "take the weights as they are, without making them sum to 1",
            ),
            (share(weights[:1].expand_as(weights)), "every image gets the weights of the first: weights[:, k] is (B,)"),
            (share(weights.T), "weights[k] is the row of image k: candidate k's weights are weights[:, k]"),
            (
                share(nn.functional.one_hot(weights.argmax(-1), 3).float()),
                "only the candidate with the largest weight is counted: a mixture runs them all",
            ),
        )
        for value, hint in wrong:
            _need(not torch.allclose(found, value, atol=1e-5), hint)
        right = mixed(x, weights, [True] * 3, False)
        _need(torch.allclose(found, right, atol=1e-5), "the result is not the sum over k of weights[:, k] * ops[k](x)")
    return "the same as labkit's MixedOp, image by image"


@checker("e2.2")
def _fresh_statistics(answer: Callable[[nn.Module, Tensor], nn.Module]) -> str:
    _function(answer, "fresh_statistics")
    space, generator = spaces.five_layer(), torch.Generator().manual_seed(0)
    network = Network(space, space.architecture("conv3x3-maxpool3x3-conv3x3-maxpool3x3-conv3x3")).train()
    first, second = 3 + 2 * torch.randn(2, 16, *space.image, generator=generator)
    with torch.no_grad():
        network(first)  # statistics of other images, to be forgotten
    wanted, before = copy.deepcopy(network), copy.deepcopy(network.state_dict())
    for norm in _norms(wanted):
        norm.momentum = 1.0
    with torch.no_grad():
        wanted(second)
    found = answer(network, second)
    _need(not _empty(found), "`fresh_statistics` returned None: return the network when its statistics are new")
    _need(isinstance(found, nn.Module), f"return the network; got {type(found).__name__}")
    weights = [name for name, _ in network.named_parameters()]
    _need(
        all(torch.equal(found.state_dict()[name], before[name]) for name in weights),
        "the weights have changed: re-estimating reads images forward only, without an optimiser",
    )
    old, new, right = (
        torch.cat([n.running_mean for n in _norms(net)]) for net in (_loaded(wanted, before), found, wanted)
    )
    _need(not torch.equal(new, old), "the statistics are as before: batch norm updates them in train mode only")
    _need(bool(new.abs().max() > 0), "the statistics are reset, but no images have gone through the network since")
    _need(
        not torch.allclose(new, 0.9 * old + 0.1 * right, atol=1e-4),
        "a tenth is new and nine tenths are the old statistics: set each norm's momentum to 1.0 before the pass",
    )
    _need(
        not torch.allclose(new, 0.1 * right, atol=1e-4),
        "after a reset one pass at the usual momentum moves a tenth of the way: set momentum to 1.0 (or None)",
    )
    _need(torch.allclose(new, right, atol=1e-4), "the running means are not those of the images that were given")
    _need(
        not found.training, "the network is left in train mode: end with eval(), or judging will use batch statistics"
    )
    return "the running statistics are those of the given images, and the network is ready to be judged"


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def _loaded(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    twin = copy.deepcopy(network)
    twin.load_state_dict(state)
    return twin


# --- 03 gradient estimators -----------------------------------------------------------------------------


def _slopes(surrogate: Any, leaves: tuple[Tensor, ...]) -> list[Tensor]:
    """Derivatives of the sum of (N,) surrogates, or of N times their mean, in what they were made of."""
    _need(not _empty(surrogate), "your function returned None: return the surrogate, one value a draw")
    _need(isinstance(surrogate, Tensor), f"return a tensor of N values; got {type(surrogate).__name__}")
    n = len(leaves[0])
    _need(surrogate.shape in ((n,), ()), f"{n} draws give {n} surrogates; yours has the shape {tuple(surrogate.shape)}")
    _need(surrogate.requires_grad, "the surrogate has no gradient at all: `detach` only what stands before log_prob")
    total = surrogate.sum() if surrogate.ndim else n * surrogate
    slopes = torch.autograd.grad(total, leaves, allow_unused=True)
    return [torch.zeros(n, dtype=leaf.dtype) if slope is None else slope for slope, leaf in zip(slopes, leaves)]


def _like(found: Tensor, wanted: Tensor | float) -> bool:
    return torch.allclose(found, torch.as_tensor(wanted, dtype=found.dtype).expand_as(found))


Surrogate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # of value, log_prob, soft_cost and given_cost, (N,)


@checker("e3.1")
def _unas_surrogate(answer: Surrogate) -> str:
    """The terms one by one, so that a hint can name the one that is amiss, and the mean against the exact gradient."""
    _function(answer, "unas_surrogate")
    try:
        _three_terms(answer)
    except Wrong as hint:
        raise Wrong(f"{hint}{_found_mean(answer)}") from None
    return f"the three terms are those of labkit's Unas{_found_mean(answer)}"


def _found_mean(answer: Surrogate, calls: int = 200, draws: int = 200) -> str:
    """What an enumerated gradient says of a surrogate; nothing where it has no gradient to compare."""
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
    said = f"the mean of {calls * draws:,} draws is {off:.0%} off an exact gradient"
    if ((mean - exact).abs() > 4 * noise).any():
        return f" ({said}, and chance makes {chance:.0%}: biased)"
    return f" ({said}, as chance alone makes it: unbiased)"


def _three_terms(answer: Surrogate) -> None:
    generator = torch.Generator().manual_seed(0)
    value, log_prob, soft, given = torch.rand(4, 6, generator=generator, dtype=torch.float64) + torch.tensor(
        [[2.0], [-5.0], [1.0], [1.5]], dtype=torch.float64
    )
    leaves = tuple(leaf.requires_grad_() for leaf in (log_prob, soft, given))
    score, pathwise, correction = _slopes(answer(value, *leaves), leaves)
    value, log_prob, soft, given = (t.detach() for t in (value, *leaves))
    _need(not _like(score, 0.0), "term (i) is missing: log_prob must appear, or the true cost has no say")
    _need(
        not (_like(score, value) and _like(pathwise, 0.0) and _like(correction, 0.0)),
        "this is REINFORCE: subtract the control from the value, then add terms (ii) and (iii) to stay unbiased",
    )
    _need(not _like(score, value), "term (i) lacks the control: it is (value - soft_cost) that multiplies log_prob")
    _need(not _like(score, value + soft), "the control is added to the value in term (i): it must be subtracted")
    _need(not _like(score, soft - value), "term (i) has the wrong sign: a costly architecture would become more likely")
    _need(
        _like(score, value - soft) or _like(score, value - given), "what multiplies log_prob is not value - soft_cost"
    )
    _need(
        not (_like(pathwise, 1 - log_prob) or _like(correction, -1 - log_prob)),
        "a gradient flows through the factor of log_prob: detach (value - soft_cost)",
    )
    _need(not _like(pathwise, 0.0), "term (iii), the pathwise one, is missing: add soft_cost")
    _need(not _like(correction, 0.0), "term (ii), the correction, is missing: without it the estimate is biased")
    _need(not _like(correction, 1.0), "the correction has the wrong sign: the paths' slopes are subtracted")
    _need(_like(pathwise, 1.0), "soft_cost must enter with the factor 1")
    _need(_like(correction, -1.0), "given_cost must enter with the factor -1")


@checker("e3.2")
def _leave_one_out(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    _function(answer, "leave_one_out")
    value = torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0], dtype=torch.float64)
    log_prob = torch.linspace(-5.0, -3.0, 5, dtype=torch.float64).requires_grad_()
    (factor,) = _slopes(answer(value, log_prob), (log_prob,))
    n = len(value)
    others = (value.sum() - value) / (n - 1)
    _need(not _like(factor, value), "there is no baseline yet: subtract from each value the mean of the *other* values")
    _need(
        not _like(factor, value - value.mean()),
        "a draw's own value is in its baseline: that shrinks the gradient by 1/N, a bias; leave it out",
    )
    _need(
        not _like(factor, value - (value.sum() - value) / n),
        "the others are N - 1 values, but their sum is divided by N",
    )
    _need(not _like(factor, value + others), "the baseline is added: subtract it")
    _need(not _like(factor, others - value), "the sign is turned round: value minus baseline, not baseline minus value")
    _need(_like(factor, value - others), "what multiplies log_prob is not the value minus the mean of the other values")
    return "unbiased, needs no memory and nothing of the cost: a rival to take seriously"


# --- 04 latency -----------------------------------------------------------------------------------------


def _value(function: Any, name: str, *arguments: Any) -> Any:
    """What a learner's function returns; a hint where there is no function, or nothing comes back."""
    _function(function, name)
    value = function(*arguments)
    _need(value is not None and value is not ..., f"`{name}` returns nothing yet: write its body and `return`")
    return value


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _is(value: Any, expected: float) -> bool:
    """Whether a number, or a tensor of one, is `expected` but for rounding."""
    return math.isclose(_number(value), expected, rel_tol=1e-5, abs_tol=1e-7)


@checker("e4.1")
def _summarise(answer: Callable[[list[float]], tuple[float, float, float]]) -> str:
    blocks = [0.52, 0.31, 0.33, 0.30, 0.35, 0.32, 3.90]  # not in order, and one disturbed
    value = _value(answer, "summarise", list(blocks))
    _need(isinstance(value, tuple | list) and len(value) == 3, "return three numbers: best, median, spread")
    best, median, spread = map(float, value)
    _need(not _is(best, max(blocks)), "`best` is the slowest block: time is a cost, so take the smallest")
    _need(_is(best, min(blocks)), f"`best` is one of the blocks, the fastest; yours is {best}")
    _need(not _is(median, statistics.mean(blocks)), "`median` is the mean: one disturbed block drags it along")
    _need(not _is(median, blocks[3]), "`median` is the block in the middle of the list: sort the blocks first")
    _need(_is(median, statistics.median(blocks)), f"half of the blocks are below the median, half above; got {median}")
    _need(not _is(spread, max(blocks) - min(blocks)), "`spread` is slowest minus fastest: one bad block decides it")
    deviations = (statistics.stdev(blocks), statistics.pstdev(blocks))
    _need(not any(_is(spread, s) for s in deviations), "`spread` is a standard deviation: one bad block rules it")
    quartiles = [statistics.quantiles(blocks, n=4, method=how) for how in ("inclusive", "exclusive")]
    widths = [high - low for low, _, high in quartiles]
    _need(not any(_is(spread, w / 2) for w in widths), "`spread` is half of what is asked: quartile to quartile")
    _need(any(_is(spread, w) for w in widths), f"`spread` is the third quartile minus the first; yours is {spread}")
    return "one disturbed block in seven moves none of the three"


@checker("e4.2")
def _sum_of_parts(answer: Callable[[Tensor, float, Tensor], Tensor]) -> str:
    matrix = torch.tensor([[0.5, 0.2, 0.1], [0.7, 0.3, 0.4]], dtype=torch.float64)
    one_hot = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)  # 0.2 and 0.7
    value = _value(answer, "sum_of_parts", matrix, 1.0, one_hot)
    size = torch.as_tensor(value).numel()
    _need(size == 1, f"one architecture takes one number of milliseconds; yours returned {size}: add up the slots too")
    _need(not _is(value, 0.9), "the overhead is missing: every architecture pays for stem, pooling, head and the call")
    _need(not _is(value, 2.9), "the overhead is paid once a slot: the whole network pays it once")
    _need(not _is(value, 3.2), "all candidates are added up: the weights say which one of each slot runs")
    _need(not _is(value, 1.45), "that is the mean over the slots: the layers run one after the other, so add them")
    _need(_is(value, 1.9), f"0.2 and 0.7 ms of parts and 1 ms of overhead make 1.9 ms; yours makes {float(value):.3f}")
    probabilities = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], dtype=torch.float64)
    value = float(_value(answer, "sum_of_parts", matrix, 1.0, probabilities))
    hint = f"probabilities give the mean latency, 1.78 ms, not {value:.2f}: use the weights as they are, no argmax"
    _need(_is(value, 1.78), hint)
    return "one formula serves an architecture, a relaxed sample and a whole distribution"


# --- 05 the search --------------------------------------------------------------------------------------


@checker("e5.1")
def _generalisation_loss(answer: Callable[[Tensor, Tensor, float], Tensor]) -> str:
    train, valid = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (2.0, 3.0))
    value = _value(answer, "l_gen", train, valid, 0.25)
    _need(not _is(value, 3.25), "you start from L_valid: L_gen is L_train plus the weighted gap")
    _need(not _is(value, 3.0), "the gap counts in full: multiply it by `gap_weight`")
    _need(not _is(value, 2.75), "that is a mixture of the two losses: it is the *gap* between them that is weighted")
    _need(not _is(value, 0.25), "that is the gap alone: add L_train, or nothing learns to classify")
    _need(not _is(value, 1.75), "the gap is subtracted: it is a cost, so add it")
    _need(
        _is(value, 2.25), f"L_train 2, L_valid 3, gap weight 0.25: 2 + 0.25 * 1 = 2.25; yours is {_number(value):.3f}"
    )
    lucky = _number(_value(answer, "l_gen", valid, train, 0.25))  # validation is the better one
    _need(not _is(lucky, 2.75), "a validation loss below the training loss is rewarded: the gap is an absolute value")
    _need(not _is(lucky, 3.0), "a validation loss below the training loss costs nothing: the gap is an absolute value")
    _need(_is(lucky, 3.25), f"L_train 3, L_valid 2 give 3.25; yours is {lucky:.3f}")
    wide = _number(_value(answer, "l_gen", train, valid + 1, 0.25))  # a gap of 2
    _need(not _is(wide, 3.0), "the gap is squared: the published loss takes its absolute value")
    _need(_is(wide, 2.5), f"L_train 2, L_valid 4 give 2.5; yours is {wide:.3f}")
    _need(isinstance(value, Tensor) and value.requires_grad, "the gradient is lost: no float(), .item() or detach()")
    slopes = torch.autograd.grad(value, (train, valid), allow_unused=True)
    _need(all(s is not None for s in slopes), "the gradient of one of the losses is lost: do not detach it")
    _need(_is(slopes[0], 0.75) and _is(slopes[1], 0.25), "the value is right and its gradient is not: detach nothing")
    return "the same as labkit's generalisation_loss, and so is its gradient"


@checker("e5.2")
def _latency_cost(answer: Callable[[Tensor, float, float], Tensor]) -> str:
    ms = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    value = _value(answer, "hinge", ms, 0.1, 0.5)
    _need(isinstance(value, Tensor), f"three latencies as a tensor cost a tensor of three; got {type(value).__name__}")
    value, over = value.to(torch.float64), ms - 0.5
    _need(value.shape == ms.shape, f"three latencies have three costs; yours has the shape {tuple(value.shape)}")
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
        _need(not _like(value, other), hint)
    _need(_like(value, 0.1 * over.clamp_min(0)), f"0.2, 0.5 and 0.9 ms cost 0, 0 and 0.04; yours {value.tolist()}")
    return "the same as labkit's LatencyCost with a target"


# --- 06 the frontier ------------------------------------------------------------------------------------


@checker("e6.1")
def _non_dominated(answer: Callable[[list[tuple[float, float]]], list[tuple[float, float]]]) -> str:
    front = [(0.30, 0.2), (0.20, 0.4), (0.10, 0.9)]
    weakly = [(0.30, 0.3), (0.20, 0.5)]  # each equal to a frontier point in one cost and worse in the other
    points = [front[1], weakly[0], (0.35, 0.8), front[2], front[0], weakly[1]]
    value = _value(answer, "non_dominated", list(points))
    _need(isinstance(value, list | tuple | set), f"return the points that are kept; got {type(value).__name__}")
    kept = [tuple(point) if isinstance(point, list | tuple) else point for point in value]
    _need(bool(kept), "nothing is left: a point does not beat itself, nor one with the same two costs")
    _need(all(isinstance(p, tuple) for p in kept), f"return points (error, ms), not {type(kept[0]).__name__}s")
    _need(set(kept) <= set(points), "a point came back that was not given")
    _need(set(kept) != set(points), "every point is kept: leave out those that some other point beats")
    _need((0.35, 0.8) not in kept or front[0] in kept, "the worst are kept: both are costs, so smaller is better")
    _need(set(kept) != {front[0], front[2]}, "only the two extremes are kept: the compromise between them counts too")
    _need(len(set(kept)) > 1, "only one point is kept: a frontier is all that no other point beats")
    hint = "equal in one cost and worse in the other is beaten: no worse in both, better in at least one"
    _need(not set(kept) & set(weakly), hint)
    _need((0.35, 0.8) not in kept, "(0.35, 0.8) is kept and (0.30, 0.2) beats it in both costs")
    _need(set(kept) == set(front), f"of six points {front} are beaten by none; you kept {kept}")
    twins = list(_value(answer, "non_dominated", [(0.1, 0.2), (0.1, 0.2), (0.3, 0.4)]))
    _need(len(twins) != 1, "of two equal points one is dropped: neither beats the other, so both stay")
    _need(len(twins) == 2, f"two equal points and one that both beat: two stay, and {len(twins)} stayed")
    return "the same points as labkit's Frontier keeps"


@checker("e6.2")
def _hypervolume(answer: Callable[[list[tuple[float, float]], tuple[float, float]], float]) -> str:
    stairs, worst = [(0.6, 1.0), (0.4, 2.0), (0.1, 5.0)], (0.9, 8.0)  # (error, ms), fastest first
    value = float(_value(answer, "hypervolume", list(stairs), worst))
    heights, widths = [worst[0] - error for error, _ in stairs], [1.0, 3.0, 3.0]
    left = [worst[0], *(error for error, _ in stairs)]
    _need(value >= 0, "the area is negative: take the worse cost minus the better one")
    _need(
        not _is(value, sum(h * (worst[1] - ms) for h, (_, ms) in zip(heights, stairs))),
        "the rectangles overlap: each step ends where the next, slower point begins",
    )
    _need(not _is(value, sum(h * w for h, w in zip(heights[:-1], widths))), "the last step, up to worst ms, is missing")
    _need(
        not _is(value, sum(error * w for (error, _), w in zip(stairs, widths))),
        "that is the area under the staircase: the dominated area lies above it, up to the worst error",
    )
    slanted = sum((h + max(0, n)) / 2 * w for h, n, w in zip(heights, [*heights[1:], heights[-1]], widths))
    _need(not _is(value, slanted), "between two points the frontier is a step, not a slope: nothing lies on the slope")
    _need(
        not _is(value, sum((worst[0] - e) * w for e, w in zip(left[1:-1], widths[1:]))),
        "each step has the height of the point at its left end, the one that is there already",
    )
    _need(not _is(value, max(h * (worst[1] - ms) for h, (_, ms) in zip(heights, stairs))), "that is one rectangle only")
    right = sum(h * w for h, w in zip(heights, widths))
    _need(_is(value, right), f"three steps of 0.3 x 1, 0.5 x 3 and 0.8 x 3 make {right:.1f}; yours make {value:.3f}")
    return "the same area as labkit's Frontier.hypervolume"


# --- 07 deploy ------------------------------------------------------------------------------------------


@checker("e7.1")
def _parity_error(answer: Callable[[Tensor, Tensor], Any]) -> str:
    expected = torch.tensor([[4.0, 0.0, -8.0], [1.0, 2.0, -3.0]])
    found = expected + torch.tensor([[0.0, 0.02, 0.0], [0.0, 0.0, -0.05]])
    value = _value(answer, "parity_error", found, expected)
    size = torch.as_tensor(value).numel()
    _need(size == 1, f"return one number for all logits, the worst; yours returned {size}")
    value, difference = float(value), (found - expected).abs()
    _need(math.isfinite(value), "each logit is divided by its own size, and one may be 0: divide by the largest one")
    _need(not _is(value, 0.05), "that is in logits: divide by the largest logit, so that networks compare")
    _need(not _is(value, 0.02 / 8), "the sign stays: a difference of -0.05 is worse than one of 0.02, take abs() first")
    _need(value != 0, "differences cancel or only classes are compared: take the largest difference of the logits")
    means = (difference.mean(), difference.mean() / expected.abs().max(), difference.mean() / expected.abs().mean())
    _need(not any(_is(value, float(m)) for m in means), "that is a mean: one wrong logit in a million must show")
    _need(not _is(value, 0.05 / 4), "divide by the largest logit in size: here it is -8, so take abs() before max()")
    _need(_is(value, 0.05 / 8), f"the largest difference is 0.05, the largest logit 8: 0.00625; yours is {value:.5f}")
    broken = float(_value(answer, "parity_error", torch.full((2, 3), math.nan), expected))
    _need(math.isnan(broken) or broken > 1, "logits of NaN get a small error: they must never pass for equal")
    return "the largest difference over the largest logit, as labkit's parity has it"


@checker("e7.2")
def _decision(answer: Callable[[float, float, float], str]) -> str:
    wrong = str(_value(answer, "decision", 1.0, 0.25, 0.3))
    _need("faster" not in wrong, "a runtime that is 30 % off in its logits is called faster: look at the parity first")
    _need(wrong == "wrong answers", f'a parity error above the tolerance is "wrong answers"; got {wrong!r}')
    broken = str(_value(answer, "decision", 1.0, 0.25, math.nan))
    hint = "a parity error of NaN passes: every comparison with NaN is false, so ask `not error <= tolerance`"
    _need(broken == "wrong answers", hint)
    slow = str(_value(answer, "decision", 1.0, 2.0, 1e-6))
    _need(slow != "0.5x faster", "half as fast is called 0.5x faster: print a slow-down as a slow-down")
    _need(slow != "0.5x slower", "a slow-down of 2 is printed as 0.5x: below 1 print 1 / speed-up")
    _need(slow != "2.0x faster", "twice the time is called faster: the speed-up is baseline over time, not the reverse")
    _need(slow == "2.0x slower", f'2 ms against 1 ms of the baseline is "2.0x slower"; got {slow!r}')
    fast = str(_value(answer, "decision", 1.0, 0.25, 1e-6))
    _need(fast == "4.0x faster", f'0.25 ms against 1 ms of the baseline is "4.0x faster"; got {fast!r}')
    return "wrong answers first, then the speed-up, and a slow-down by its name"
