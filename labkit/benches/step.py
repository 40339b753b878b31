"""How fast is a step of the search, compared with the same mathematics written the obvious way, and with a lower bound?

A full UNAS step: two one-hot passes forward, two relaxed passes forward and backward (a training and a validation
batch), an update of the logits and an update of the weights.
"""

import copy
import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from labkit import spaces
from labkit.benches import record
from labkit.benches.record import Bench, option
from labkit.data import ImageSet, ShuffledBatches, glyphs
from labkit.estimators.costs import generalisation_loss
from labkit.estimators.distributions import ArchDistribution
from labkit.latency.cards import Timing
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import macs_per_ms
from labkit.latency.stopwatch import time_interleaved
from labkit.latency.table import LatencyTable
from labkit.networks.complexity import count
from labkit.networks.supernet import MixedOp, Supernet, frozen_statistics, seeded
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.run import TEMPERATURE, SearchRun
from labkit.spaces import SearchSpace
from labkit.spaces.depthwise import DepthwiseConv2d
from labkit.system import malloc
from labkit.system.device import threads
from labkit.system.errors import InputError

KIND, SCHEMA = "step bench", 1
AXES = {"candidates": "candidates a slot, at most", "slots": "layers", "batch_size": "batch size"}  # of a Row
RECORDED_BY = 64  # steps, after which hardly a candidate has not been drawn: a one-hot pass records what it meets


class ObviousStep:
    """The oracle: the formula as it stands, every candidate run and added in turn, in PyTorch's own layout.

    So both relaxed passes are held until L_gen is known, and the gradient of the weights is a backward pass of its own.
    One call is one step; `architecture` and `weights` are the gradients that it followed.
    """

    def __init__(self, supernet: Supernet, data: ImageSet, config: SearchConfig, table: LatencyTable):
        self.supernet, self.config, self.table = plain(supernet), config, table
        self.parameters = list(self.supernet.parameters())
        self.dist = ArchDistribution(supernet.space).to(self.parameters[0])
        self.optimizer = torch.optim.AdamW(self.parameters, config.weight_lr, weight_decay=config.weight_decay)
        self.logit_optimizer = torch.optim.Adam(self.dist.parameters(), config.logit_lr)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.train_batches = ShuffledBatches(data.train, config.batch_size, self.generator, data.augment)
        self.valid_batches = ShuffledBatches(data.valid, config.batch_size, self.generator)
        self.steps = 0

    def __call__(self) -> None:
        """Take one step."""
        with seeded(self.config.seed + self.steps):
            train, valid = next(self.train_batches), next(self.valid_batches)
        self.gradients(train, valid)
        (latency,) = torch.autograd.grad(
            self.config.latency_cost(self.table(self.dist.probs()[None])).sum(), self.dist.logits
        )
        self.dist.logits.grad = self.architecture + self.config.nats_per_error * latency
        self.logit_optimizer.step()
        for parameter, gradient in zip(self.parameters, self.weights):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimizer.step()
        self.steps += 1

    def gradients(self, train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> None:
        """Set `architecture` (S, K), in nats, and `weights`, one a parameter, from two batches.

        Args:
            train: Images and labels of a training batch.
            valid: Images and labels of a validation batch.
        """
        self.supernet.train()
        sample = self.dist.sample(1, TEMPERATURE, self.generator)
        with torch.no_grad(), frozen_statistics(self.supernet):
            drawn = generalisation_loss(
                self._loss(train, sample.hard), self._loss(valid, sample.hard), self.config.gap_weight
            )
        # Equal in value to the relaxed sample; its gradient is that of the estimator's two pathwise terms.
        at = sample.soft - sample.soft_given_hard + sample.soft_given_hard.detach()
        train_loss = self._loss(train, at)
        with frozen_statistics(self.supernet):
            valid_loss = self._loss(valid, at)
        relaxed = generalisation_loss(train_loss, valid_loss, self.config.gap_weight)
        surrogate = ((drawn - relaxed).detach() * sample.log_prob + relaxed).sum()
        (self.architecture,) = torch.autograd.grad(surrogate, self.dist.logits, retain_graph=True)
        self.weights = torch.autograd.grad(train_loss, self.parameters)

    def _loss(self, batch: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self._forward(images, weights[0]), labels)

    def _forward(self, x: Tensor, weights: Tensor) -> Tensor:
        relaxed = weights.requires_grad
        for edge, module in zip(self.supernet.space.edges, self.supernet.body):
            if isinstance(module, MixedOp):
                each = zip(weights[edge.slot], module.ops)
                x = reduce(torch.add, [w * op(x) for w, op in each if relaxed or w != 0])
            else:
                x = module(x)
        return self.supernet.head(x)


def plain(supernet: Supernet) -> Supernet:
    """Copy a supernet with PyTorch's own convolutions in place of ours.

    Args:
        supernet: It is left as it is.

    Returns:
        The copy; it shares no parameter with the original.
    """
    supernet = copy.deepcopy(supernet)
    for name, ours in list(supernet.named_modules()):
        if isinstance(ours, DepthwiseConv2d):
            channels, size, stride = ours.in_channels, ours.kernel_size[0], ours.stride[0]
            theirs = nn.Conv2d(channels, channels, size, stride, size // 2, groups=channels, bias=False)
            theirs.weight = ours.weight
            supernet.set_submodule(name, theirs)
    return supernet


class OurStep:
    """A joint step of `searching.search`: on a GPU it is replayed from recordings."""

    def __init__(self, supernet: Supernet, data: ImageSet, config: SearchConfig, table: LatencyTable):
        endless = replace(config, mixture_steps=0, weight_steps=0, joint_steps=10**9)
        self.run = SearchRun(supernet, data, endless, table)

    def __call__(self) -> None:
        """Take one step."""
        self.run.advance(self.run.step + 1)


@dataclass(frozen=True)
class Row:
    """One comparison under one set of conditions.

    Attributes:
        space: Name of the space.
        origin: Name of the space that it is cut from, see `cuts`; its own where it is whole.
        candidates: Of a slot, at most.
        slots: Layers with a choice.
        batch_size: Images of a step.
        threads: Of PyTorch.
        obvious, ours: Milliseconds of a step.
        obvious_bytes, our_bytes: Allocated at most at one time during a step, beyond what was there before.
        floor_ms: The arithmetic of the convolutions alone, at the best rate of the machine.
    """

    space: str
    origin: str
    candidates: int
    slots: int
    batch_size: int
    threads: int
    obvious: Timing
    ours: Timing
    obvious_bytes: int
    our_bytes: int
    floor_ms: float

    @property
    def speedup(self) -> float:
        """How many of our steps fit into an obvious one."""
        return self.obvious.best_ms / self.ours.best_ms

    @property
    def memory(self) -> float:
        """What ours allocates as a share of what the obvious one does."""
        return self.our_bytes / self.obvious_bytes

    @property
    def to_the_floor(self) -> float:
        """Our time as a multiple of the floor."""
        return self.ours.best_ms / self.floor_ms


def cuts(
    over: Sequence[SearchSpace], candidates: Sequence[int] = (), layers: Sequence[int] = ()
) -> dict[SearchSpace, str]:
    """The spaces, then the last one with fewer candidates and with fewer layers.

    Args:
        over: The whole spaces.
        candidates: Of a slot at most, a cut each (`fewer`).
        layers: With a choice, a cut each (`shorter`).

    Returns:
        Each space, and the name of the one that it is cut from: its own where it is whole.

    Raises:
        InputError: `over` is empty, or a cut is larger than the space.
    """
    if not over:
        raise InputError("a step is one of a search in some space: name at least one")
    last = over[-1]
    cut = [*(fewer(last, n) for n in candidates), *(shorter(last, n) for n in layers)]
    return {space: space.name for space in over} | dict.fromkeys(cut, last.name)


def measure(
    over: Mapping[SearchSpace, str],
    data: ImageSet,
    table_of: Callable[[SearchSpace], LatencyTable],
    *,
    batch_sizes: Sequence[int] = (64,),
    seconds: float = 10.0,
    device: str | torch.device = "cpu",
    on_row: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Time both steps in turn, for every space and batch size.

    PyTorch returns freed memory to the system, and our step keeps it (`malloc.keep_freed`). That cannot be undone
    inside a process, so the obvious step keeps it too: the ratio does not contain what this saves.

    Args:
        over: Spaces and their origins, see `cuts`; chains, as the obvious step is written for a chain.
        data: Images for the batches.
        table_of: Returns the latency table of a space.
        batch_sizes: Images of a step, at least 2.
        seconds: For each step timed.
        device: "cpu" or "cuda".
        on_row: Called with each new row.

    Returns:
        All rows.

    Raises:
        InputError: A batch is too small, or a space consists of cells.
    """
    if not batch_sizes or min(batch_sizes) < 2:
        raise InputError(f"a step needs batches of at least 2 images; got {list(batch_sizes)}")
    if cells := [space.name for space in over if not space.is_chain]:
        raise InputError(f"the step written the obvious way is that of a chain; got {', '.join(cells)}")
    malloc.keep_freed()
    data, rate, rows = data.to(device), macs_per_ms(device), []
    for space, batch_size in itertools.product(over, batch_sizes):
        config, supernet = SearchConfig(batch_size=batch_size, latency_weight=0.0), Supernet(space).to(device)
        steps = [make(supernet, data, config, table_of(space)) for make in (ObviousStep, OurStep)]
        recorded = torch.device(device).type == "cuda"
        # Recordings are made in the first steps and keep memory from then on, so on a GPU those steps are what counts.
        first = [peak_bytes(partial(_steps, step, n), device) for step, n in zip(steps, (2, RECORDED_BY)) if recorded]
        obvious, ours = time_interleaved(steps, device=device, seconds=seconds, rounds=8)
        obvious_bytes, our_bytes = first or [peak_bytes(step, device) for step in steps]
        rows.append(
            Row(
                space=space.name,
                origin=over[space],
                candidates=space.mask.shape[1],
                slots=len(space.slots),
                batch_size=batch_size,
                threads=torch.get_num_threads(),
                obvious=obvious,
                ours=ours,
                obvious_bytes=obvious_bytes,
                our_bytes=our_bytes,
                floor_ms=batch_size * step_macs(supernet) / rate,
            )
        )
        on_row(rows[-1])
    return rows


def _steps(step: Callable[[], None], n: int) -> None:
    for _ in range(n):
        step()


class _Mixture(nn.Module):
    """The supernet as a network of images alone, so that its work can be counted."""

    def __init__(self, supernet: Supernet):
        super().__init__()
        self.supernet = supernet

    def forward(self, x: Tensor) -> Tensor:
        weights = self.supernet.space.mask.float() / self.supernet.space.mask.sum(-1, keepdim=True)
        return self.supernet(x, weights[None])


def step_macs(supernet: Supernet) -> float:
    """Count the multiply-accumulates of a step for one image: two one-hot passes, and the relaxed ones with their
    gradients.

    In the backward pass a layer does its work again for the gradient of its input, and again for that of its weights;
    the validation pass needs only the first. A one-hot pass is counted as its share of the candidates.

    Args:
        supernet: It is left as it is.

    Returns:
        A number of multiply-accumulates.
    """
    mixed = count(_Mixture(copy.deepcopy(supernet).cpu()), supernet.space.image).macs
    return mixed * (3 + 2) + 2 * mixed / supernet.mixed_passes


def peak_bytes(call: Callable[[], object], device: str | torch.device = "cpu") -> int:
    """Measure how far the memory of tensors rises during a call.

    Args:
        call: What is run.
        device: "cpu" or "cuda".

    Returns:
        Bytes beyond what was allocated before.
    """
    if torch.device(device).type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        call()
    events = [event for event in prof.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(changes), default=0)


@dataclass(frozen=True)
class Growth:
    """The growth of our step's time along one axis, all else the same.

    Attributes:
        origin: Name of the space.
        along: A key of `AXES`.
        at: Rising values of the axis.
        ms: A time each.
        to_the_floor: Time as a multiple of the floor, each.
    """

    origin: str
    along: str
    at: tuple[int, ...]
    ms: tuple[float, ...]
    to_the_floor: tuple[float, ...]

    @property
    def power(self) -> float:
        """The gradient of a line through the logarithms: 1 is proportional, less has a constant cost."""
        return float(np.polyfit(np.log(self.at), np.log(self.ms), 1)[0])

    def __str__(self) -> str:
        listed = lambda values, form: ", ".join(format(value, form) for value in values)
        return (
            f"{self.origin}, {AXES[self.along]} {listed(self.at, 'd')}: {listed(self.ms, '.0f')} ms, "
            f"{listed(self.to_the_floor, '.1f')} times the floor, as power {self.power:.2f}"
        )


def growth(rows: Sequence[Row]) -> tuple[Growth, ...]:
    """Find the rows that differ along one axis alone.

    Args:
        rows: Rows of the bench.

    Returns:
        One growth for each space, axis and setting of the other axes.
    """
    found = []
    for along in AXES:
        fixed = [name for name in ("origin", "threads", *AXES) if name != along]
        lines: dict[tuple, dict[int, Row]] = {}
        for row in rows:
            lines.setdefault(tuple(getattr(row, name) for name in fixed), {})[getattr(row, along)] = row
        for (origin, *_), line in lines.items():
            if len(line) > 1:
                at, along_it = zip(*sorted(line.items()))
                ms = tuple(row.ours.best_ms for row in along_it)
                found.append(Growth(origin, along, at, ms, tuple(row.to_the_floor for row in along_it)))
    return tuple(found)


def to_text(rows: Sequence[Row]) -> str:
    """Describe each row, and how the time grows along each axis.

    Args:
        rows: Rows of the bench.

    Returns:
        Lines of text.
    """
    lines = [f"{'space':14} slots  most candidates  batch  obvious ms   ours ms  faster  memory  to the floor"]
    for r in rows:
        lines.append(
            f"{r.space:14} {r.slots:5}  {r.candidates:15}  {r.batch_size:5}  {r.obvious.best_ms:10.0f}  "
            f"{r.ours.best_ms:8.0f}  {r.speedup:5.2f}x  {r.memory:5.2f}x  {r.to_the_floor:11.1f}x"
        )
    return "\n".join([*lines, *map(str, growth(rows))])


def fewer(space: SearchSpace, candidates: int) -> SearchSpace:
    """Return the same space with fewer candidates a slot.

    Args:
        space: The whole space.
        candidates: Of a slot, at most.

    Returns:
        A space with a name of its own.

    Raises:
        InputError: No candidate is left.
    """
    if candidates < 1:
        raise InputError(f"a slot keeps at least one candidate; got {candidates}")
    return replace(space, name=f"{space.name}-{candidates}", slots=tuple(slot[:candidates] for slot in space.slots))


def shorter(space: SearchSpace, layers: int) -> SearchSpace:
    """Return the same chain with its head after fewer layers.

    It keeps the first layers, which are narrower and see more pixels: that is part of the floor, so the ratio to the
    floor compares better than the time.

    Args:
        space: The whole space.
        layers: With a choice.

    Returns:
        A space with a name of its own.

    Raises:
        InputError: The space does not have so many layers.
    """
    if not 1 <= layers <= len(space.slots):
        raise InputError(f"{space.name} has 1 to {len(space.slots)} layers to keep; got {layers}")
    slots = space.slots[:layers]
    edges = itertools.takewhile(lambda edge: edge.slot is None or edge.slot < layers, space.edges)
    return replace(space, name=f"{space.name}-{layers}-layers", slots=slots, edges=tuple(edges))


@dataclass(frozen=True)
class StepBench(Bench[Row]):
    """A step of the search, compared with the same one written the obvious way."""

    kind, schema, row = KIND, SCHEMA, Row
    spaces: tuple[str, ...] = option(("five_layer", "mobile-tiny"), "names with commas between")
    batch_sizes: tuple[int, ...] = option((64,), "images of a step")
    candidates: tuple[int, ...] = option(
        (), "also the last space with at most N candidates a slot", several=True, metavar="N"
    )
    layers: tuple[int, ...] = option((), "also the last space with its first N layers", several=True, metavar="N")
    device: str = option("cpu", "cpu or cuda")
    threads: int = option(2, "cores that a step may use")
    seconds: float = option(10.0, "for each step timed")

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"a step runs on at least one thread; got {self.threads}")

    def device_used(self) -> str:
        return self.device

    def run(self, done: Sequence[Row], on_row: Callable[[Row], None]) -> Sequence[Row]:
        chosen = [spaces.by_name(name) for name in self.spaces]
        many = max(1_000, 2 * max(self.batch_sizes))
        with threads(self.threads):
            over, images = cuts(chosen, self.candidates, self.layers), glyphs(many, many, 10, seed=0)
            how: dict[str, Any] = {"batch_sizes": self.batch_sizes, "seconds": self.seconds, "device": self.device}
            return measure(over, images, _quick_table, on_row=on_row, **how)

    def derived(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {"growth": [asdict(one) | {"power": round(one.power, 3)} for one in growth(rows)]}

    def to_json(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {"rows": to_json(rows)}

    def line(self, row: Row) -> str:
        return to_text([row]).splitlines()[1]

    def text(self, rows: Sequence[Row]) -> str:
        return to_text(rows)


def _quick_table(space: SearchSpace) -> LatencyTable:
    """Any table will do for a step, so a machine that is not quiet is no reason for a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LatencyTable.measure(space, TimingConditions(seconds=0.002))


def to_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the rows as JSON has them, with the ratios of each.

    Args:
        rows: Rows of the bench.

    Returns:
        JSON objects.
    """
    ratios = lambda row: {name: round(getattr(row, name), 3) for name in ("speedup", "memory", "to_the_floor")}
    return [asdict(row) | ratios(row) for row in rows]


load = record.loader(StepBench, "step")
"""Read the rows of a saved bench: a file, or the name of a shipped result."""
