"""Which operations earn a place in a space: what each takes in several runtimes, and the capacity that it has for it.

An operation is dominated where another one is faster in every runtime and has no less capacity: no fewer parameters,
no fewer multiplications, and no smaller part of the map that an output sees. No search needs it there.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import nn

from labkit import spaces
from labkit.benches import record
from labkit.benches.record import Bench, Saved, Verdicts, option
from labkit.latency.cards import Timing, statistic_of
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import card_of, rotating
from labkit.latency.stopwatch import NoisyMachine, time_interleaved
from labkit.networks.complexity import count
from labkit.networks.supernet import operation, seeded
from labkit.runtimes.base import Preparation
from labkit.runtimes.registry import prepare, usable
from labkit.spaces import Edge, SearchSpace
from labkit.system.device import threads
from labkit.system.errors import InputError

KIND, SCHEMA = "operation bench", 1
IMAGES = 64  # for `reach`: of one alone an activation may hide some of what an output depends on
MARGIN = 0.05  # that a dominated operation is slower by, at least: two timings of one thing differ by less
Place = tuple[int, int, int, tuple[int, int]]  # channels before and after, stride, height and width


@dataclass(frozen=True)
class Row:
    """An operation at one place of a space, timed by itself on one core.

    Attributes:
        op: its name.
        in_channels, out_channels, stride: of the place.
        size: height and width in pixels of what it reads.
        candidate: whether the space offers it there; else it was timed in addition.
        parameters: trainable numbers.
        macs: multiply-accumulates for one image.
        reach: height and width in pixels of what the middle of its output depends on.
        timings: by runtime, of one call.
    """

    op: str
    in_channels: int
    out_channels: int
    stride: int
    size: tuple[int, int]
    candidate: bool
    parameters: int
    macs: int
    reach: int
    timings: dict[str, Timing]

    @property
    def place(self) -> Place:
        """Channels before and after, stride, and size of what is read."""
        return self.in_channels, self.out_channels, self.stride, self.size

    @property
    def ms(self) -> dict[str, float]:
        """Milliseconds of a call, by runtime."""
        return {name: timing.ms(statistic_of("cpu")) for name, timing in self.timings.items()}

    def dominates(self, other: "Row") -> bool:
        """Whether it is faster than `other` in every runtime, by more than `MARGIN`, and has no less capacity."""
        capacity = lambda row: (row.parameters, row.macs, row.reach)
        faster = all(self.ms[name] * (1 + MARGIN) < ms for name, ms in other.ms.items())
        return self.place == other.place and faster and all(a >= b for a, b in zip(capacity(self), capacity(other)))


def dominated(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Each row that another one dominates, with the one that is fastest of those, in the mean over the runtimes."""
    relative = lambda row, other: sum(other.ms[name] / ms for name, ms in row.ms.items())
    found = []
    for row in rows:
        if better := [other for other in rows if other.dominates(row)]:
            found.append((row, min(better, key=lambda other: relative(row, other))))
    return found


def reach(module: nn.Module, in_channels: int, size: tuple[int, int]) -> int:
    """Measure how much of what it reads the middle of a module's output depends on.

    Args:
        module: (B, in_channels, *size) to a map.
        in_channels: of what it reads.
        size: height and width of what it reads, in pixels.

    Returns:
        Height in pixels.
    """
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(IMAGES, in_channels, *size, generator=draw).requires_grad_()
    y = module.eval()(x)
    rows, columns = (n // 2 for n in y.shape[2:])
    (gradient,) = torch.autograd.grad(y[:, :, rows, columns].square().sum(), x)
    seen = gradient.abs().amax((0, 1, 3)).nonzero().flatten()
    return int(seen[-1] - seen[0] + 1) if len(seen) else 0


def places(space: SearchSpace) -> dict[Place, tuple[str, ...]]:
    """The distinct places of a space where something is chosen, and all candidates that it offers there."""
    found: dict[Place, dict[str, None]] = {}
    for edge, size in zip(space.edges, space.sizes()):
        if edge.op_slot is not None:
            place = (edge.in_channels, edge.out_channels, edge.stride, size)
            found.setdefault(place, {}).update(dict.fromkeys(space.candidates(edge)))
    return {place: tuple(names) for place, names in found.items()}


@dataclass(frozen=True)
class OpsBench(Bench[Row]):
    """The candidates of a space, and other operations, timed by themselves in several runtimes."""

    kind, schema, row = KIND, SCHEMA, Row
    space: str = option("edge", "a space by name, or module:function")
    ops: tuple[str, ...] = option((), "other operations to time wherever they fit, by name or module:attribute")
    runtimes: tuple[str, ...] = option(("torch", "onnxruntime", "openvino"), "what runs them, names")
    batch_size: int = option(1, "images of a call")
    seconds: float = option(0.05, "for each operation in each runtime")

    def __post_init__(self) -> None:
        if not self.runtimes or self.batch_size < 1:
            raise InputError(f"operations are timed in a runtime on an image; got {self.runtimes}, {self.batch_size}")
        for name in self.runtimes:
            usable(name)
        for name in self.ops:
            spaces.OPS.find(name)

    def about(self) -> dict[str, Any]:
        space = spaces.by_name(self.space)
        conditions = [TimingConditions(runtime=name, batch_size=self.batch_size, threads=1) for name in self.runtimes]
        cards = [card_of(each, space.image).to_json() for each in conditions]
        load = {"load_average": round(os.getloadavg()[0], 2)} if hasattr(os, "getloadavg") else {}
        return {"space": space.name, "space_digest": space.digest, "cards": cards, **load}

    def run(self, done: Sequence[Row], on_row: Callable[[Row], None]) -> Sequence[Row]:
        rows = []
        with threads(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", NoisyMachine)  # how steady it was stands in every row
            for place, candidates in places(spaces.by_name(self.space)).items():
                for row in self._at(place, candidates):
                    rows.append(row)
                    on_row(row)
        return rows

    def _at(self, place: Place, candidates: tuple[str, ...]) -> list[Row]:
        """All that fits at a place, timed in turn."""
        in_channels, out_channels, stride, size = place
        modules: dict[str, nn.Module] = {}
        for name in dict.fromkeys((*candidates, *self.ops)):
            try:
                with seeded(0):
                    modules[name] = operation(name, Edge(in_channels, out_channels, stride, slot=0)).eval()
            except InputError:
                if name in candidates:
                    raise
        draw = torch.Generator().manual_seed(0)
        images = torch.randn(4, self.batch_size, in_channels, *size, generator=draw)
        calls: list[Callable[[], object]] = []
        for module in modules.values():
            made = [prepare(module, name, images[0], Preparation(exporter="torchscript")) for name in self.runtimes]
            calls += [rotating(run, images) for run in made]
        timed = iter(time_interleaved(calls, seconds=self.seconds))
        rows = []
        for name, module in modules.items():
            counts = count(module, (in_channels, *size))
            timings = {runtime: next(timed) for runtime in self.runtimes}
            seen = reach(module, in_channels, size)
            rows.append(Row(name, *place, name in candidates, counts.parameters, counts.macs, seen, timings))
        return rows

    def verdicts(self, rows: Sequence[Row]) -> Verdicts:
        claim = f"no candidate of {self.space} is slower in every runtime than an operation of no less capacity"
        return ((claim, not any(row.candidate for row, _ in dominated(rows))),)

    def derived(self, rows: Sequence[Row]) -> dict[str, Any]:
        timings = [timing for row in rows for timing in row.timings.values()]
        lost = [{"op": row.op, "place": row.place, "by": by.op} for row, by in dominated(rows)]
        return {"steady": round(sum(t.steady for t in timings) / len(timings), 3), "dominated": lost}

    def line(self, row: Row) -> str:
        return f"{_where(row)}: {_figures(row)}"

    def text(self, rows: Sequence[Row]) -> str:
        return to_text(rows)


def to_text(rows: Sequence[Row]) -> str:
    """A table a place, the fastest in the last runtime but one first; what is dominated says by what."""
    lost, lines = {(row.place, row.op): by.op for row, by in dominated(rows)}, []
    for _, group in groupby(rows, key=lambda row: row.place):
        of_place = list(group)
        names = list(of_place[0].timings)
        lines.append(f"{_where(of_place[0])}; us in {', '.join(names)}; MMACs; 1,000 parameters; pixels seen")
        for row in sorted(of_place, key=lambda row: row.ms[names[min(1, len(names) - 1)]]):
            by = f"  slower everywhere than {name}" if (name := lost.get((row.place, row.op))) else ""
            lines.append(f"  {_figures(row)}{'' if row.candidate else '  not offered'}{by}")
    return "\n".join(lines)


def _where(row: Row) -> str:
    return f"{row.in_channels} to {row.out_channels} channels, stride {row.stride}, {row.size[0]}x{row.size[1]}"


def _figures(row: Row) -> str:
    times = " ".join(f"{1e3 * ms:7.1f}" for ms in row.ms.values())
    return f"{row.op:11} {times}  {row.macs / 1e6:6.2f} {row.parameters / 1e3:6.1f} {row.reach:2}"


def load(source: str | Path = "ops-edge") -> Saved[Row]:
    """The rows of a bench that was saved, and its provenance.

    Args:
        source: a file, or the name of a shipped one.

    Raises:
        InputError: There is no such file, or it is damaged.
    """
    return record.load(OpsBench, source)
