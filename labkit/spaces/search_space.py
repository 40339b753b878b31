"""Search spaces: choices that make a network, with edges between states from the image to a fixed head.

An edge either has a fixed operation or takes the operation chosen in its *slot*; edges that share a slot share one
decision. In a cell the weight of an edge is a sum of *terms*: the weight of an operation's slot, gated by that of an
input's slot.
In shapes, N is a number of architectures, S that of slots, E that of edges with a choice, K the largest number of
candidates that a slot has.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from labkit.spaces.choices import Architecture, Choices
from labkit.spaces.ops import HEADS, OPS, check_shape, strided
from labkit.system.errors import InputError
from labkit.system.registry import Registry


@dataclass(frozen=True)
class Term:
    """A part of an edge's weight: the operation chosen in one slot, if another slot chose this edge.

    Attributes:
        ops: index of the slot that chooses the operation.
        gate: index of the slot that chooses the input.
        choice: index of the candidate of `gate` that stands for this edge.
    """

    ops: int
    gate: int
    choice: int


@dataclass(frozen=True)
class Edge:
    """The place of an operation in a network. It has either a slot, or a fixed operation, or terms.

    Attributes:
        in_channels: width of its input.
        out_channels: width of its output.
        stride: in pixels.
        slot: index of the slot that chooses the operation.
        fixed: name of the fixed operation.
        terms: the terms of its weight, in a cell.
        sources: states that it reads, concatenated; 0 is the image. Empty for the newest state.
        target: state to which its output is added; None for a new state.

    Raises:
        InputError: it has none or several of slot, fixed operation and terms.
    """

    in_channels: int
    out_channels: int
    stride: int = 1
    slot: int | None = None
    fixed: str | None = None
    terms: tuple[Term, ...] = ()
    sources: tuple[int, ...] = ()
    target: int | None = None

    def __post_init__(self) -> None:
        if (self.slot is not None) + (self.fixed is not None) + bool(self.terms) != 1:
            raise InputError(f"an edge has either a slot, or a fixed operation, or terms; got {self}")

    @property
    def op_slot(self) -> int | None:
        """Index of a slot whose candidates are those of this edge; None for a fixed operation."""
        return self.terms[0].ops if self.terms else self.slot


@dataclass(frozen=True)
class Step:
    """The states that an edge reads and writes.

    Attributes:
        sources: states that it reads.
        target: state to which its output is added.
        done: states that no later edge reads.
    """

    sources: tuple[int, ...]
    target: int
    done: tuple[int, ...]


@dataclass(frozen=True)
class SearchSpace(Choices):
    """Choices that make a network.

    Attributes:
        name: name of the space.
        slots: (S,) the candidates of each slot.
        edges: in the order in which they run, the stem first.
        image: channels, height and width in pixels of an image.
        classes: number of classes.
        head: a name in `HEADS`.

    Raises:
        InputError: an operation is not registered, a slot is not used, or the edges of a cell do not fit together.
    """

    edges: tuple[Edge, ...]
    image: tuple[int, int, int]
    classes: int
    head: str

    def __post_init__(self) -> None:
        for name, value in (("edges", tuple(self.edges)), ("image", tuple(self.image))):
            object.__setattr__(self, name, value)  # lists are taken too, as JSON has them
        super().__post_init__()
        named: list[tuple[Registry[Any], str]] = [*((OPS, op) for op in self.operations), (HEADS, self.head)]
        for registry, name in named:
            try:
                registry.find(name)
            except InputError as problem:
                raise InputError(f"space {self.name}: {problem}") from None
        if not self.edges:
            raise InputError(f"space {self.name}: a network has at least one edge")
        used = {edge.slot for edge in self.edges if edge.slot is not None}
        used |= {slot for edge in self.edges for term in edge.terms for slot in (term.ops, term.gate)}
        if used != set(range(len(self.slots))):
            raise InputError(f"space {self.name}: edges use slots {sorted(used)} of {len(self.slots)}")
        if len({len(self.edges[i].terms) for i in self.chosen_edges}) != 1:
            raise InputError(f"space {self.name}: every edge with a choice has the same number of terms")
        for edge in self.edges:
            for term in edge.terms:
                if self.slots[term.ops] != self.candidates(edge) or term.choice >= len(self.slots[term.gate]):
                    raise InputError(f"space {self.name}: the terms of an edge differ in their candidates; got {edge}")
        self._check_geometry()

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits of a hash of the space, by which records of another space are refused."""
        # The fields that only cells need are left out where an edge does not have them, as any further such field must
        # be: it then leaves the digests of other spaces, and so their records, as they are.
        value = asdict(self)
        for edge in value["edges"]:
            for name in ("terms", "sources", "target"):
                if edge[name] in ((), None):
                    del edge[name]
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]

    def candidates(self, edge: Edge) -> tuple[str, ...]:
        """Return the operations that an edge may have.

        Args:
            edge: one of this space.

        Returns:
            Their names: the candidates of its slot, or its fixed operation.
        """
        return (edge.fixed,) if edge.fixed is not None else self.slots[cast(int, edge.op_slot)]

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of all operations that an edge may have, each once."""
        of_ops = {edge.slot for edge in self.edges if edge.slot is not None}
        of_ops |= {term.ops for edge in self.edges for term in edge.terms}
        named = [op for slot in sorted(of_ops) for op in self.slots[slot]]
        return tuple(dict.fromkeys(named + [edge.fixed for edge in self.edges if edge.fixed]))

    @cached_property
    def route(self) -> tuple[Step, ...]:
        """The states that each edge reads and writes, in the order of `edges`."""
        ways, newest = [], 0
        for edge in self.edges:
            target = newest + 1 if edge.target is None else edge.target
            ways.append((edge.sources or (newest,), target))
            newest = max(newest, target)
        last_read = {state: i for i, (sources, _) in enumerate(ways) for state in sources}
        return tuple(
            Step(sources, target, tuple(s for s in dict.fromkeys(sources) if last_read[s] == i))
            for i, (sources, target) in enumerate(ways)
        )

    @cached_property
    def chosen_edges(self) -> tuple[int, ...]:
        """Indices in `edges` of those with a choice."""
        return tuple(i for i, edge in enumerate(self.edges) if edge.op_slot is not None)

    @property
    def is_chain(self) -> bool:
        """Whether each edge reads the one before it, so that a slot is a layer; False for cells."""
        return not any(edge.terms or edge.sources for edge in self.edges)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Names of the slots in figures: "layer 1" and so on in a chain, "slot 1" and so on in cells."""
        return tuple(f"{'layer' if self.is_chain else 'slot'} {s + 1}" for s in range(len(self.slots)))

    def edge_weights(self, weights: Tensor) -> Tensor:
        """Compute the weight of every operation on every edge with a choice, differentiably.

        Args:
            weights: (N, S, K) op weights.

        Returns:
            (N, E, K).
        """
        edges = [self.edges[i] for i in self.chosen_edges]
        if not any(edge.terms for edge in edges):
            slots = [edge.slot for edge in edges]
            return weights if slots == list(range(len(self.slots))) else weights[:, slots]
        return gated(weights, [edge.terms for edge in edges])

    @cached_property
    def edge_mask(self) -> Tensor:
        """(E, K) bool, true where an edge with a choice has a k-th candidate."""
        return self.mask[[slot for edge in self.edges if (slot := edge.op_slot) is not None]]

    def chosen(self, edge: Edge, architecture: Architecture) -> dict[str, int]:
        """Return the operations that an architecture has on an edge of a cell.

        Args:
            edge: an edge with terms.
            architecture: one of this space.

        Returns:
            Number of terms that chose each operation, by name; operations that none chose are left out.
        """
        ops = architecture.ops
        taken = [ops[t.ops] for t in edge.terms if ops[t.gate] == self.slots[t.gate][t.choice]]
        return {name: taken.count(name) for name in self.candidates(edge) if name in taken}

    def chances(self) -> Iterator[float]:
        """Yield for every operation on every edge with a choice the probability that a uniform architecture runs it."""
        for edge in (self.edges[i] for i in self.chosen_edges):
            candidates = len(self.candidates(edge))
            unused = math.prod(1 - 1 / (candidates * len(self.slots[t.gate])) for t in edge.terms)
            yield from [1 - unused if edge.terms else 1 / candidates] * candidates

    @cached_property
    def pairs(self) -> tuple[tuple[Term, Term], ...]:
        """The two terms of each node of a cell, on one of its edges: both may choose the same."""
        found = {tuple((t.ops, t.gate) for t in edge.terms): edge.terms for edge in self.edges if len(edge.terms) == 2}
        return tuple(found.values())

    def for_images(self, image: tuple[int, int, int]) -> "SearchSpace":
        """Make the same choices for images of another size.

        Args:
            image: channels, height and width in pixels.

        Returns:
            The space itself where the size is its own. Else a space whose first edges read so many channels.

        Raises:
            InputError: its operations do not fit images of this size.
        """
        if tuple(image) == self.image:
            return self
        reads = {i for i, step in enumerate(self.route) if step.sources == (0,)}
        edges = (replace(e, in_channels=image[0]) if i in reads else e for i, e in enumerate(self.edges))
        return replace(self, edges=tuple(edges), image=image)

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Return height and width in pixels of the input of each edge, then of the head."""
        of_state, sizes = {0: self.image[1:]}, []
        for edge, step in zip(self.edges, self.route):
            sizes.append(of_state[step.sources[0]])
            of_state[step.target] = strided(sizes[-1], edge.stride)
        return (*sizes, of_state[self.route[-1].target])

    def _check_geometry(self) -> None:
        """Refuse a space one of whose networks could not be built or run, with the reason."""
        wrong = lambda reason: InputError(f"space {self.name}: {reason}")
        if not (len(self.image) == 3 and all(type(n) is int and n > 0 for n in self.image) and self.image[0] <= 4):
            raise wrong(f"an image has 1 to 4 channels, a height and a width in pixels; got {self.image}")
        if type(self.classes) is not int or self.classes < 2:
            raise wrong(f"a classifier needs at least 2 classes; got {self.classes}")
        states: dict[int, tuple[int, int, int]] = {0: self.image}
        for number, (edge, step) in enumerate(zip(self.edges, self.route), 1):
            where = f"edge {number} of {len(self.edges)}"
            if unknown := [s for s in step.sources if s not in states]:
                raise wrong(f"{where} reads state {unknown[0]}, which no earlier edge writes; known are {[*states]}")
            channels, (_, *size) = sum(states[s][0] for s in step.sources), states[step.sources[0]]
            if channels != edge.in_channels:
                raise wrong(f"{where} reads {channels} channels and has in_channels={edge.in_channels}")
            if any([*states[s][1:]] != size for s in step.sources):
                raise wrong(f"{where} reads states of other sizes: {[states[s][1:] for s in step.sources]} pixels")
            if type(edge.stride) is not int or edge.stride < 1 or edge.out_channels < 1:
                raise wrong(f"{where} has a stride and a width of at least 1; got {edge.stride}, {edge.out_channels}")
            made = (edge.out_channels, *strided((size[0], size[1]), edge.stride))
            if states.setdefault(step.target, made) != made:
                raise wrong(f"{where} adds {made} to a state of {states[step.target]} (channels, height, width)")
            for name in self.candidates(edge):
                try:
                    check_shape(name, (edge.in_channels, edge.out_channels, edge.stride), (size[0], size[1]))
                except InputError as problem:
                    raise wrong(f"{where}: {problem}") from None


def gated(weights: Tensor, terms: Sequence[tuple[Term, ...]]) -> Tensor:
    """Compute the weights of the operations of edges of a cell from their terms.

    They are linear in every slot. So with independent slots the mean over architectures is the same function of the
    probabilities (S, K).

    Args:
        weights: (N, S, K) op weights.
        terms: (E,) terms of each edge, the same number for all.

    Returns:
        (N, E, K).
    """
    total = torch.zeros((), device=weights.device, dtype=weights.dtype)
    for one_of_each in zip(*terms):
        ops, gates, choices = zip(*((t.ops, t.gate, t.choice) for t in one_of_each))
        total = total + weights[:, list(ops)] * weights[:, list(gates), list(choices)][..., None]
    return total
