"""Checks for a user's own parts: each raises `CheckFailed`, which names the rule that the part breaks.

They follow scikit-learn's `check_estimator`. The built-in parts pass them in the tests.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import data, spaces
from labkit.blackbox import METHODS, Goal
from labkit.estimators import ESTIMATORS, ArchDistribution, Estimate, Estimator, TabularCost, exact_gradient
from labkit.networks import Supernet, count, derive
from labkit.runtimes import Runtime, prepare
from labkit.spaces import OPS, Choices, Edge, SearchSpace
from labkit.system.errors import InputError

SHAPES = ((8, 8, 1), (8, 16, 1), (8, 8, 2), (8, 16, 2))  # in_channels, out_channels, stride of an operation
MAPS = ((8, 8), (12, 8))  # height and width of its input in pixels
TOLERANCE = 1e-5  # relative, of logits that should be equal
STANDARD_ERRORS = 5.0  # largest deviation of the mean of an unbiased estimator: exceeded once in a million
REPEATS = 600  # estimates in a mean


class CheckFailed(AssertionError):
    """A part breaks a rule on which the library relies. The message names the rule."""


def check_op(op: str | Callable[[int, int, int], nn.Module]) -> None:
    """Check an operation of a search space.

    It must build a module for some widths and strides (it may refuse others by `InputError`), whose output has the
    promised shape. In eval mode the module must be deterministic and treat images independently. In train mode all
    its parameters must receive gradients. It must not change its input, and must allow a deep copy.

    Args:
        op: a registered name, or (in_channels, out_channels, stride) -> module.

    Raises:
        CheckFailed: it breaks a rule.
        InputError: there is no operation of this name.
    """
    make = OPS.find(op) if isinstance(op, str) else op
    built = 0
    for shape in SHAPES:
        try:
            module = make(*shape)
        except InputError:
            continue
        built += 1
        for size in MAPS:
            _check_module(module, shape, size)
    _require(built > 0, f"an operation builds a module for at least one of {SHAPES} (widths and stride)")


def _check_module(module: nn.Module, shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    where = f"with widths {shape[0]} and {shape[1]}, stride {shape[2]}, on maps of {size[0]}x{size[1]}"
    _require(isinstance(module, nn.Module), f"an operation is an nn.Module; got {type(module).__name__}")
    x = torch.randn(4, shape[0], *size, generator=torch.Generator().manual_seed(0))
    wanted = (4, shape[1], *(math.ceil(side / shape[2]) for side in size))
    module = copy.deepcopy(module).train()
    before, read = x.clone(), x.clone().requires_grad_()
    y = module(read)
    _require(tuple(y.shape) == wanted, f"the output {where} has the shape {wanted}; got {tuple(y.shape)}")
    _require(bool(y.isfinite().all()), f"the output {where} is finite")
    _require(torch.equal(read.detach(), before), f"the input is left as it is, as other edges read it too ({where})")
    if y.requires_grad:
        (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward()
    idle = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    _require(not idle, f"every parameter receives a gradient {where}; {', '.join(idle)} does not")
    module.eval()
    with torch.no_grad():
        first, again = module(x), module(x)
        _require(torch.equal(first, again), f"in eval mode the output {where} is the same for the same images")
        alone = torch.cat([module(image[None]) for image in x])
    _require(_near(alone, first), f"in eval mode an image's output {where} does not depend on the others of its batch")


def check_space(space: str | SearchSpace) -> None:
    """Check a search space: every candidate of every slot fits its edges, and the space can be written and read.

    Args:
        space: a registered name, `module:function`, or a space.

    Raises:
        CheckFailed: it breaks a rule.
        InputError: there is no space of this name.
    """
    space = spaces.by_name(space) if isinstance(space, str) else space
    _require(isinstance(space, SearchSpace), f"a space is a SearchSpace; got {type(space).__name__}")
    kept = json.loads(json.dumps(spaces.record(space)))
    _require(spaces.from_record(kept) == space, "a space is the same after it was written as JSON and read back")
    generator = torch.Generator().manual_seed(0)
    dealt = space.deal(generator)  # every candidate of every slot at least once
    images = torch.randn(2, *space.image, generator=generator)
    supernet = _built(lambda: Supernet(space), "its supernet").eval()
    for architecture in dealt:
        _require(
            space.decode(space.encode(architecture)) == architecture, f"{architecture} is the same after its encoding"
        )
        _require(space.architecture(str(architecture)) == architecture, f"{architecture} is the same after its text")
        network = _built(partial(derive, supernet, architecture), f"the network of {architecture}").eval()
        with torch.no_grad():
            logits = _built(partial(network, images), f"a pass of {architecture}")
            _require(
                tuple(logits.shape) == (2, space.classes),
                f"the logits of {architecture} have the shape {(2, space.classes)}; got {tuple(logits.shape)}",
            )
            mixed = supernet(images, space.encode(architecture)[None])
        _require(_near(mixed, logits), f"the supernet computes for {architecture} what its own network computes")
        _require(count(network, space.image).parameters >= 0, f"{architecture} can be counted")


def check_estimator(estimator: str | Callable[[], Estimator]) -> None:
    """Check a gradient estimator on a small space whose exact gradient is known.

    It must return a finite gradient of the shape of the logits, repeat itself for the same draws, leave `.grad` alone,
    save and load its state, and be what its class attributes say: only a `relaxes` estimator evaluates relaxed
    weights; one that does not need a gradient takes a cost without one; the mean of an `unbiased` one agrees with the
    exact gradient within five standard errors, also with a control that misleads.

    Args:
        estimator: a registered name, or a function without arguments that makes one, such as its class.

    Raises:
        CheckFailed: it breaks a rule.
        InputError: there is no estimator of this name.
    """
    make = ESTIMATORS.find(estimator) if isinstance(estimator, str) else estimator
    made = make()
    _require(isinstance(made, Estimator), f"an estimator is a subclass of Estimator; got {type(made).__name__}")
    problem = _Problem(blind=not made.needs_gradient)
    n = max(2, made.least_draws)
    control = None if made.refuses_control else problem.control
    first = problem.estimate(make(), n, 0, control)
    _require(isinstance(first, Estimate), f"an estimator returns an Estimate; got {type(first).__name__}")
    shape = tuple(problem.dist.logits.shape)
    _require(tuple(first.gradient.shape) == shape, f"the gradient has the shape {shape} of the logits")
    _require(bool(first.gradient.isfinite().all()) and math.isfinite(first.cost), "gradient and mean cost are finite")
    _require(problem.dist.logits.grad is None, "an estimator leaves the `.grad` of the logits alone")
    again = problem.estimate(make(), n, 0, control)
    _require(torch.equal(first.gradient, again.gradient), "a fresh estimator repeats itself for the same generator")
    problem.queried.clear()
    problem.estimate(make(), n, 1, control)
    relaxed = any(not bool(((weights == 0) | (weights == 1)).all()) for weights in problem.queried)
    rule = "evaluates relaxed weights" if made.relaxes else "does not evaluate relaxed weights"
    _require(relaxed == made.relaxes, f"an estimator with relaxes={made.relaxes} {rule}")
    _check_state(make, problem, n, control)
    if made.unbiased:
        _check_unbiased(make, problem, n, control, "with a control that follows the cost")
        if not made.refuses_control:
            _check_unbiased(make, problem, n, problem.misleading, "with a control that misleads")


class _Problem:
    """A table of costs over three slots with interactions, and controls of it that are linear in each slot."""

    def __init__(self, blind: bool):
        self.blind, self.queried = blind, []  # type: tuple[bool, list[Tensor]]
        slots = (("skip", "conv3x3"), ("skip", "conv3x3", "conv5x5"), ("conv3x3", "conv5x5"))
        edges = tuple(Edge(3, 3, slot=s) for s in range(3))
        space = SearchSpace("three slots", slots, edges, (3, 8, 8), 2, "average")
        draw = torch.Generator().manual_seed(3)
        noise = lambda: torch.randn(space.size, generator=draw, dtype=torch.float64)
        values = noise()
        self.table = TabularCost(space, values)
        self.control = self._recording(TabularCost(space, values + 0.5 * noise()))
        self.misleading = self._recording(TabularCost(space, -values + noise()))
        self.dist = ArchDistribution(space)
        with torch.no_grad():
            self.dist.logits.copy_(0.7 * torch.randn(self.dist.logits.shape, generator=draw))

    def _recording(self, control: TabularCost) -> Callable[[Tensor], Tensor]:
        def queried(weights: Tensor) -> Tensor:
            self.queried.append(weights.detach().clone())
            return control(weights)

        return queried

    def cost(self, weights: Tensor) -> Tensor:
        self.queried.append(weights.detach().clone())
        return self.table(weights.detach() if self.blind else weights)

    def estimate(self, estimator: Estimator, n: int, seed: int, control: Callable[[Tensor], Tensor] | None) -> Estimate:
        return estimator(self.cost, self.dist, n, torch.Generator().manual_seed(seed), control)


def _check_state(make: Callable[[], Estimator], problem: _Problem, n: int, control: Any) -> None:
    one = make()
    problem.estimate(one, n, 1, control)
    other = make()
    try:
        other.load_state(json.loads(json.dumps(one.state())))
    except (TypeError, ValueError, KeyError) as failed:
        raise CheckFailed(f"the state of an estimator is JSON, which a fresh one loads; got {failed}") from None
    a, b = (problem.estimate(estimator, n, 2, control).gradient for estimator in (one, other))
    _require(torch.equal(a, b), "an estimator with the state of another one estimates what that one estimates")


def _check_unbiased(make: Callable[[], Estimator], problem: _Problem, n: int, control: Any, where: str) -> None:
    estimator = make()
    rows = torch.stack([problem.estimate(estimator, n, 10 + i, control).gradient for i in range(REPEATS)]).double()
    exact = exact_gradient(problem.table, problem.dist).double()
    off = (rows.mean(0) - exact).abs()
    error = rows.std(0) / math.sqrt(REPEATS)
    worst = (off - STANDARD_ERRORS * error).max().item()
    scores = (off / error.clamp_min(1e-12)).max().item()
    _require(
        worst <= 1e-6,
        f"an estimator with unbiased=True agrees with the exact gradient within {STANDARD_ERRORS:g} standard errors "
        f"{where}; it is {scores:.1f} off in the mean of {REPEATS}",
    )


def check_data(images: str | Callable[..., Any] | data.ImageSet) -> None:
    """Check an image set: 8-bit pixels of one shape, labels of the classes, and the same images from the same seed.

    Args:
        images: a registered name, `module:function`, such a function, or an image set.

    Raises:
        CheckFailed: it breaks a rule.
        InputError: there is no set of this name, its images are not here, or they are no images.
    """
    if isinstance(images, data.ImageSet):
        made = images
    else:
        make = (lambda: data.by_name(images)) if isinstance(images, str) else (lambda: images(seed=0))
        made = make()
        _require(isinstance(made, data.ImageSet), f"an image set is an ImageSet; got {type(made).__name__}")
        _require(make().digest == made.digest, "the same seed makes the same images")
        if made.made_by is not None:
            _require(data.from_recipe(made.made_by).digest == made.digest, "its recipe makes it again")
    for name in ("train", "valid", "test"):  # what an `ImageSet` refuses itself is not asked again
        _require(len(getattr(made, name)) > 0, f"the {name} part has images")
    seen = set(made.train.labels.tolist())
    missing = [str(name) for k, name in enumerate(made.classes) if k not in seen]
    _require(not missing, f"every class has training images; {', '.join(missing)} has none")
    if made.augment is not None:
        some = made.train.pixels[:4]
        changed = made.augment(some.clone())
        _require(
            changed.shape == some.shape and changed.dtype == some.dtype,
            f"augmentation keeps shape and type; got {tuple(changed.shape)} {changed.dtype}",
        )


def check_runtime(runtime: str | Runtime) -> None:
    """Check a runtime: it computes the logits of eager PyTorch for any number of images, and the same ones again.

    Args:
        runtime: a registered name, or a runtime.

    Raises:
        CheckFailed: it breaks a rule.
        InputError: it cannot be used here.
    """
    space = spaces.five_layer()
    for architecture in (space[0], space[space.size - 1]):
        network = derive(space, architecture, seed=1).eval()
        images = torch.randn(8, *space.image, generator=torch.Generator().manual_seed(0))
        run = prepare(network, runtime, images[:1])
        with torch.no_grad():
            wanted = network(images)
        for size in (1, 3, 8):
            got = run(images[:size])
            shape = (size, space.classes)
            _require(tuple(got.shape) == shape, f"logits of {size} images are of shape {shape}; got {tuple(got.shape)}")
            _require(got.dtype == torch.float32, f"logits are float32; got {got.dtype}")
            _require(_near(got, wanted[:size], 1e-3), f"logits of {size} images are those of eager PyTorch")
        first = run(images[:4])
        kept = first.clone()
        run(-images[:4])
        _require(torch.equal(first, kept), "a later call leaves the logits of an earlier one alone")
        _require(_near(run(images[:4]), kept), "the same images get the same logits again")


def check_proposer(proposer: str | Callable[..., Any], *, calls: int = 40) -> None:
    """Check a proposer of black-box search on a small space with two costs.

    It must propose rows of candidates that the slots have, repeat itself for the same trials and seed, leave the
    trials as they are, and name nothing that was evaluated before unless its `repeats` is true.

    Args:
        proposer: a name of `blackbox.METHODS`, or (space, goal, seed) -> proposer.
        calls: of the cost.

    Raises:
        CheckFailed: it breaks a rule.
    """
    make = METHODS[proposer] if isinstance(proposer, str) else proposer
    space = Choices("checked", tuple(tuple(f"c{k}" for k in range(width)) for width in (2, 3, 4, 3, 2)))
    goal = Goal((None, None))
    widths = np.array([len(slot) for slot in space.slots])
    weights = np.random.default_rng(1).random((len(widths), widths.max()))
    made = make(space, goal, 0)
    rows, costs = np.empty((0, len(widths)), dtype=np.int64), np.empty((0, 2))
    proposals: list[Sequence[int]] = []
    while len(rows) < calls:
        given = rows.copy(), costs.copy()
        proposed = np.asarray(made.propose(*given))
        _require(np.array_equal(given[0], rows) and np.array_equal(given[1], costs), "the trials are left as they are")
        _require(
            proposed.ndim == 2 and len(proposed) > 0 and proposed.shape[1] == len(widths),
            f"a proposal is at least one row of {len(widths)} candidates; got the shape {proposed.shape}",
        )
        _require(bool(((proposed >= 0) & (proposed < widths)).all()), "a proposal names candidates that the slots have")
        known = {tuple(row) for row in rows.tolist()}
        for row in proposed.tolist():
            _require(
                getattr(made, "repeats", False) or tuple(row) not in known,
                f"nothing is proposed that was evaluated before, unless `repeats` is true; {row} is",
            )
            known.add(tuple(row))
            proposals.append(tuple(row))
        picked = weights[np.arange(len(widths)), proposed]
        rows = np.concatenate([rows, proposed])
        costs = np.concatenate([costs, np.stack([picked.sum(1), (1 - picked).prod(1)], 1)])
    twin = make(space, goal, 0)
    cut = 0
    while cut < len(rows):
        step = np.asarray(twin.propose(rows[:cut].copy(), costs[:cut].copy()))
        same = np.array_equal(step, rows[cut : cut + len(step)][: len(step)])
        _require(same, "a proposer repeats itself for the same trials and the same seed")
        cut += len(step)


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise CheckFailed(rule)


def _near(found: Tensor, wanted: Tensor, tolerance: float = TOLERANCE) -> bool:
    scale = wanted.abs().max().clamp_min(1e-6)
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= tolerance * scale)


def _built(make: Callable[[], Any], what: str) -> Any:
    """The result of `make`; an error in it is a failed check that names `what`."""
    try:
        return make()
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as problem:
        first = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise CheckFailed(f"{what} can be built and run; got {first}") from problem


__all__ = [
    "CheckFailed", "check_data", "check_estimator", "check_op", "check_proposer", "check_runtime", "check_space",
]  # fmt: skip
