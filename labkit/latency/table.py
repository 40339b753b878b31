"""A latency table: the milliseconds of an architecture as a sum of its parts.

A latency is `measured_ms`, of the whole network timed end to end, or `table_ms`, a sum of parts. Both have a card.
"""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from labkit.latency.cards import PROTOCOL, Card, Timing, statistic_of
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import card_of, random_batches, rotating
from labkit.latency.stopwatch import time_interleaved
from labkit.networks.supernet import operation
from labkit.runtimes.base import Preparation
from labkit.runtimes.registry import prepare, usable
from labkit.spaces import Architecture, Edge, SearchSpace, Term, gated
from labkit.spaces.ops import HEADS
from labkit.system import storage
from labkit.system.device import ieee_float32
from labkit.system.errors import InputError, damaged, meant

REPEATS = 32  # of a part in a CUDA graph: kernels of 2 us then take longer than the 20 us of launching a graph


@dataclass(frozen=True)
class EdgeTimings:
    """Timings of the operations on one edge of a cell.

    Attributes:
        terms: say when the edge runs and which slot chooses its operation.
        ops: pairs of operation and timing.
    """

    terms: tuple[Term, ...]
    ops: tuple[tuple[str, Timing], ...]


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds that each candidate adds in each slot: latency as a linear function of the op weights.

    In a cell the time of an operation depends on its edge, so the timings are in `edges`, and latency is linear in
    each slot and bilinear in pairs of slots. Either way `table(probabilities)` is the expected latency under the
    distribution, so a table can be a control variate for a measurement. The timing of a part includes the cost of an
    empty call (`floor`), which is subtracted from each part and counted once.

    In shapes: N architectures, S slots, K candidates, E edges.

    Attributes:
        space: name of the search space.
        space_digest: digest of its definition.
        card: conditions of the timings.
        floor: timing of an empty network.
        fixed: pairs of name and timing of stem, pooling between layers, and head.
        slots: for each slot, pairs of candidate and timing; in a cell the timing is None.
        edges: of a cell, every edge with a choice; else ().
    """

    space: str
    space_digest: str
    card: Card
    floor: Timing
    fixed: tuple[tuple[str, Timing], ...]
    slots: tuple[tuple[tuple[str, Timing | None], ...], ...]
    edges: tuple[EdgeTimings, ...] = ()

    @classmethod
    @ieee_float32()
    def measure(
        cls,
        space: SearchSpace,
        conditions: TimingConditions = TimingConditions(seconds=0.1),
        *,
        engines: str | Path | None = None,
    ) -> "LatencyTable":
        """Time every distinct part of `space` here and now.

        The kernels of a single part take less time than the launch of a CUDA graph, so only the launches would be
        timed. A graph therefore holds its part `REPEATS` times.

        Args:
            space: whose parts are timed.
            conditions: under what, and for how long each part.
            engines: a folder that keeps TensorRT engines for the next time.

        Returns:
            A table with the card of this machine.

        Raises:
            InputError: the runtime cannot be used here under these conditions.
        """
        chosen = usable(conditions.runtime, conditions.dtype, conditions.device)
        parts: dict[str, tuple[nn.Module, tuple[int, int, int]]] = {}
        sizes = space.sizes()
        for edge, size in zip(space.edges, sizes):
            fixed_op = (edge.fixed,) if edge.fixed else ()
            for name in fixed_op if edge.op_slot is None else space.slots[edge.op_slot]:
                parts[_key(name, edge, size)] = (operation(name, edge), (edge.in_channels, *size))
        width = space.edges[-1].out_channels
        parts["head"] = (HEADS.find(space.head)(width, sizes[-1], space.classes), (width, *sizes[-1]))
        (first, (module, shape)), *_ = parts.items()
        if repeated := chosen.repeats:
            parts["floor"] = (module, shape)  # twice as often; see `_of_one`
        else:
            parts["floor"] = (nn.Identity(), (space.edges[0].out_channels, *sizes[1]))

        with conditions.threads_set():
            calls = []
            for key, (module, shape) in parts.items():
                repeats = (2 * REPEATS if key == "floor" else REPEATS) if repeated else 1
                calls.append(_call(module, random_batches(conditions, shape), conditions, engines, repeats))
            timings = time_interleaved(
                calls, device=conditions.device, seconds=conditions.seconds, rounds=conditions.rounds
            )
            card = card_of(conditions, space.image)
        timed = dict(zip(parts, timings))
        if repeated:
            timed = _of_one(timed, first, statistic_of(conditions.device))

        each = list(zip(space.edges, sizes))
        fixed = [(e.fixed, timed[_key(e.fixed, e, size)]) for e, size in each if e.fixed]
        of_ops = lambda e, size: tuple((name, timed[_key(name, e, size)]) for name in space.slots[e.op_slot])
        slots: list[tuple[tuple[str, Timing | None], ...]] = []
        for s, slot in enumerate(space.slots):
            several = [dict(of_ops(e, size)) for e, size in each if e.slot == s]  # edges that share the decision
            of_op = lambda name, several=several: _together([one[name] for one in several], timed["floor"])
            slots.append(tuple((name, of_op(name) if several else None) for name in slot))
        edges = tuple(EdgeTimings(e.terms, of_ops(e, size)) for e, size in each if e.terms)
        fixed.append(("head", timed["head"]))
        return cls(space.name, space.digest, card, timed["floor"], tuple(fixed), tuple(slots), edges)

    def _ms(self, timing: Timing | None) -> float:
        if timing is None:
            return 0.0
        return max(0.0, timing.ms(self.card.statistic) - self.floor.ms(self.card.statistic))

    @cached_property
    def overhead_ms(self) -> float:
        """Milliseconds that every architecture takes: one call, the stem, the fixed layers and the head."""
        return self.floor.ms(self.card.statistic) + sum(self._ms(timing) for _, timing in self.fixed)

    @cached_property
    def matrix(self) -> Tensor:
        """(S, K) float64 milliseconds; 0 where a slot has no such candidate, and in a cell."""
        width = max(len(slot) for slot in self.slots)
        rows = [[self._ms(timing) for _, timing in slot] + [0.0] * (width - len(slot)) for slot in self.slots]
        return torch.tensor(rows, dtype=torch.float64)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Names of the slots, as in `SearchSpace.slot_names`."""
        return tuple(f"{'slot' if self.edges else 'layer'} {s + 1}" for s in range(len(self.slots)))

    @cached_property
    def edge_matrix(self) -> Tensor:
        """(E, K) float64 milliseconds of each operation on each edge of a cell; 0 where there is no k-th."""
        width = self.matrix.shape[1]
        rows = [[self._ms(timing) for _, timing in e.ops] + [0.0] * (width - len(e.ops)) for e in self.edges]
        return torch.tensor(rows, dtype=torch.float64).reshape(len(self.edges), width)

    def __call__(self, weights: Tensor) -> Tensor:
        """Add up the parts.

        Args:
            weights: op weights (N, S, K): one-hot, relaxed or probabilities.

        Returns:
            Milliseconds (N,), differentiable in the weights.
        """
        ms = (weights * self.matrix.to(weights)).sum((-1, -2)) + self.overhead_ms
        if self.edges:
            ms = ms + (gated(weights, [e.terms for e in self.edges]) * self.edge_matrix.to(weights)).sum((-1, -2))
        return ms

    def parts_ms(self, architecture: Architecture) -> tuple[float, ...]:
        """Look up the milliseconds of each slot.

        Args:
            architecture: of the space of this table.

        Returns:
            Milliseconds that each of S slots adds; in a cell only slots of operations add any.

        Raises:
            InputError: the architecture is of another space, or has an operation that the table lacks.
        """
        if architecture.space != self.space or len(architecture.ops) != len(self.slots):
            raise InputError(
                f"this table is of {self.space}; got an architecture of {architecture.space}: {architecture}"
            )
        parts = []
        for s, (slot, op) in enumerate(zip(self.slots, architecture.ops)):
            known = dict(slot)
            if op not in known:
                near = difflib.get_close_matches(op, known, n=2, cutoff=0) or list(known)
                raise InputError(
                    f"the table has no {op!r} in slot {s} of {self.space}; nearest: {' or '.join(near)} "
                    f"(of {', '.join(known)})"
                )
            parts.append(self._ms(known[op]))
        for edge in self.edges:
            for term in edge.terms:
                if self.slots[term.gate][term.choice][0] == architecture.ops[term.gate]:
                    parts[term.ops] += self._ms(dict(edge.ops)[architecture.ops[term.ops]])
        return tuple(parts)

    def table_ms(self, architecture: Architecture) -> float:
        """Add up the parts of an architecture.

        Args:
            architecture: of the space of this table.

        Returns:
            Milliseconds; not a measurement of the whole network.

        Raises:
            InputError: the architecture is of another space, or has an operation that the table lacks.
        """
        return math.fsum((self.overhead_ms, *self.parts_ms(architecture)))  # the same parts in any order tie exactly

    @cached_property
    def parts(self) -> tuple[tuple[tuple[int, ...], Tensor], ...]:
        """The independent terms of the sum: pairs of slots and milliseconds.

        In a chain a term is one slot with the milliseconds (K,) of its candidates. In a cell it is a slot of inputs
        and a slot of operations with the milliseconds (K, K) of each pair of choices. Choices in different terms are
        independent, so the range of latencies, and their distribution under a policy, follow from the terms.
        """
        together: dict[tuple[int, int], Tensor] = {}  # of a cell: input and operation
        for edge, row in zip(self.edges, self.edge_matrix):
            for term in edge.terms:
                sizes = len(self.slots[term.gate]), len(edge.ops)
                of_pair = together.setdefault((term.gate, term.ops), torch.zeros(sizes).double())
                of_pair[term.choice] += row[: len(edge.ops)]
        in_pairs = {slot for pair in together for slot in pair}
        alone = [((s,), self.matrix[s, : len(slot)]) for s, slot in enumerate(self.slots) if s not in in_pairs]
        return (*alone, *together.items())

    def range_ms(self) -> tuple[float, float]:
        """The `table_ms` of the fastest and of the slowest architecture."""
        ends = [(ms.min().item(), ms.max().item()) for _, ms in self.parts]
        low, high = (sum(end) for end in zip(*ends))
        return self.overhead_ms + low, self.overhead_ms + high

    def check_deadline(self, deadline_ms: float) -> None:
        """Check that an architecture can meet a deadline by this table.

        Args:
            deadline_ms: milliseconds.

        Raises:
            InputError: even the fastest architecture takes longer.
        """
        fastest, _ = self.range_ms()
        if deadline_ms < (1 - 1e-6) * fastest:  # equal ones may differ in their last bits
            raise InputError(
                f"no architecture of {self.space} takes at most {deadline_ms:g} ms: the fastest takes "
                f"{math.ceil(1e4 * fastest) / 1e4:.4f} ms by the table; set a later deadline"
            )

    def check(self, space: SearchSpace) -> None:
        """Check that this table is of a space.

        Args:
            space: the space that it must be of, candidate by candidate.

        Raises:
            InputError: it is of another space.
        """
        if (self.space, self.space_digest) != (space.name, space.digest):
            raise InputError(
                f"the latency table is of {self.space} ({self.space_digest}), the search of {space.name} "
                f"({space.digest}): measure a table for this space"
            )
        nothing: Any = ()
        for s, (slot, wanted) in enumerate(zip_longest(self.slots, space.slots, fillvalue=nothing)):
            if (found := tuple(op for op, _ in slot)) != wanted:
                raise InputError(
                    f"slot {s} of the latency table has {', '.join(found) or 'nothing'} where {space.name} has "
                    f"{', '.join(wanted) or 'nothing'}, in this order: measure it again"
                )

    def to_json(self) -> dict[str, Any]:
        """The table as a value for JSON, which `from_json` reads."""
        return {
            "kind": "latency table",
            "schema": 1,
            "space": self.space,
            "space_digest": self.space_digest,
            "card": self.card.to_json(),
            "floor": asdict(self.floor),
            "fixed": [{"op": name, **asdict(timing)} for name, timing in self.fixed],
            "slots": [[{"op": name, **(asdict(timing) if timing else {})} for name, timing in s] for s in self.slots],
            **({"edges": [asdict(edge) for edge in self.edges]} if self.edges else {}),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "LatencyTable":
        """Read a table; its numbers are recorded, no longer measured here and now.

        Args:
            value: a value that `to_json` gave, also after JSON: a file of its own, or a part of the file of a run, a
                study or a comparison.

        Returns:
            The table.

        Raises:
            InputError: something is missing or wrong.
        """
        read = storage.as_record(value, _TableFile, "a latency table is damaged")
        cell = bool(read.edges)
        timing = lambda row: None if cell and "best_ms" not in row else Timing.from_json(row)
        named = lambda row: storage.as_record(row.get("op"), str, "an operation of a latency table has no name")
        return cls(
            read.space,
            read.space_digest,
            Card.from_json(read.card).recorded(),
            read.floor,
            tuple((named(row), Timing.from_json(row)) for row in read.fixed),
            tuple(tuple((named(row), timing(row)) for row in slot) for slot in read.slots),
            read.edges,
        )

    def save(self, path: str | Path) -> Path:
        """Write the table as JSON, which `load` reads.

        Args:
            path: of the file.

        Returns:
            The path.
        """
        return storage.write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "LatencyTable":
        """Read a table that `save` wrote, or a shipped one.

        Args:
            path: of the file; a name without .json is looked up among the shipped tables, see `shipped_table`.

        Returns:
            The table, with the origin "recorded".

        Raises:
            InputError: there is no such table, or it is damaged or of another protocol.
        """
        path = Path(path)
        if not path.exists() and path.suffix != ".json":
            path = shipped_table(path.as_posix())
        value = storage.read_json(path, "latency table", 1)
        with damaged(path, "measure it again, or bring that file back"):
            table = cls.from_json(value)
        if table.card.protocol != PROTOCOL:
            raise InputError(
                f"{path} was timed by protocol {table.card.protocol}, and this labkit times by {PROTOCOL}: such "
                f"numbers do not compare; measure it again (python -m labkit latency build)"
            )
        return table


class _TableFile(msgspec.Struct):
    """A table as its file has it, where a timing stands beside the name of its operation."""

    space: str
    space_digest: str
    card: dict[str, Any]
    floor: Timing
    fixed: list[dict[str, Any]]
    slots: list[list[dict[str, Any]]]
    edges: tuple[EdgeTimings, ...] = ()


def shipped_tables() -> dict[str, Path]:
    """The files of the shipped tables by name, such as "cpu-amd-epyc-2-cores/five_layer-torch-b1"."""
    folder = storage.DATA / "latency"
    files = [path for path in sorted(folder.glob("*/*.json")) if "." not in path.stem]  # reports and builds under way
    return {f"{path.parent.name}/{path.stem}": path for path in files}


def shipped_table(name: str) -> Path:
    """Find a shipped table.

    Args:
        name: such as "five_layer-torch-b1", which is taken from the first device by name that has it; or with its
            device, such as "cpu-intel-xeon-2-cores/five_layer-torch-b32".

    Returns:
        The file.

    Raises:
        InputError: there is no table of this name.
    """
    tables = shipped_tables()
    found = storage.find_for_device(tables, name)
    if found is None:
        short = {known.partition("/")[2] for known in tables}
        raise InputError(
            f"no latency table is called {name!r}; shipped: {', '.join(tables) or 'none'}; or name a file"
            f"{meant(name, sorted(short | set(tables)))}"
        )
    return tables[found]


def _call(
    part: nn.Module, batches: Tensor, conditions: TimingConditions, engines: str | Path | None, repeats: int
) -> Callable[[], Tensor]:
    """A call of one part on its batches, as it is timed."""
    how = Preparation(conditions.dtype, "torchscript", engines=engines, repeats=repeats)
    return rotating(prepare(part, conditions.runtime, batches[0], how), batches)


def _of_one(timed: dict[str, Timing], first: str, statistic: str) -> dict[str, Timing]:
    """Timings of a part once. `timed["floor"]` is the first part `2 * REPEATS` times, and becomes the launch cost."""
    once, twice = timed[first], timed["floor"]
    fixed = lambda one, two: max(1e-6, 2 * one - two)
    best, median = fixed(once.best_ms, twice.best_ms), fixed(once.median_ms, twice.median_ms)
    floor = Timing(best, median, once.spread_ms + twice.spread_ms, once.n)
    return {key: timing.of_one(REPEATS, floor.ms(statistic)) for key, timing in timed.items()} | {"floor": floor}


def _key(name: str, edge: Edge, size: tuple[int, int]) -> str:
    return f"{name} {edge.in_channels}->{edge.out_channels} /{edge.stride} @{size[0]}x{size[1]}"


def _together(timings: Sequence[Timing], floor: Timing) -> Timing:
    """Parts that run one after the other, as a single part: the cost of the call, which each includes, counts once."""
    if len(timings) == 1:
        return timings[0]
    again = len(timings) - 1
    return Timing(
        max(1e-6, sum(t.best_ms for t in timings) - again * floor.best_ms),
        max(1e-6, sum(t.median_ms for t in timings) - again * floor.median_ms),
        sum(t.spread_ms for t in timings),
        min(t.n for t in timings),
    )
