"""Choices that make a network: edges between states, from the image to a fixed head.

An edge either carries a fixed operation or takes the operation chosen in its *slot*; edges that share a slot share one
decision. In a cell an edge's weight is a sum of *terms*: an operation's slot counts where an input's slot chose it.
In shapes, N is a number of architectures, S that of slots, E that of edges with a choice, K the largest number of
candidates that a slot has.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from labkit.spaces.choices import Architecture, Choices
from labkit.spaces.ops import HEADS, OPS
from labkit.system.errors import InputError


@dataclass(frozen=True)
class Term:
    """A share of an edge's weight: what slot `ops` chose, where slot `gate` chose its candidate number `choice`."""

    ops: int
    gate: int
    choice: int


@dataclass(frozen=True)
class Edge:
    """Where an operation sits, and the slot that chooses it, or the fixed operation it is, or its terms in a cell."""

    in_channels: int
    out_channels: int
    stride: int = 1
    slot: int | None = None
    fixed: str | None = None
    terms: tuple[Term, ...] = ()
    sources: tuple[int, ...] = ()  # states that it reads, side by side; 0 is the image. None named: the newest
    target: int | None = None  # state that it adds to; None: a new one

    def __post_init__(self) -> None:
        if (self.slot is not None) + (self.fixed is not None) + bool(self.terms) != 1:
            raise InputError(f"an edge has either a slot, or a fixed operation, or terms; got {self}")

    @property
    def op_slot(self) -> int | None:
        """A slot whose candidates are this edge's; None where it has no choice."""
        return self.terms[0].ops if self.terms else self.slot


@dataclass(frozen=True)
class Step:
    """An edge on the way from the image to the head."""

    sources: tuple[int, ...]  # states that it reads
    target: int
    done: tuple[int, ...]  # states that nobody reads after it


@dataclass(frozen=True)
class SearchSpace(Choices):
    """Choices that make a network: `edges` that the slots fill, in the order in which they run; the stem first."""

    edges: tuple[Edge, ...]
    image: tuple[int, int, int]  # channels, height, width
    classes: int
    head: str  # a name in ops.HEADS

    def __post_init__(self) -> None:
        super().__post_init__()
        for registry, name in (*((OPS, op) for op in self.operations), (HEADS, self.head)):
            try:
                registry.find(name)
            except InputError as problem:
                raise InputError(f"space {self.name}: {problem}") from None
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

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that name this exact space: a table of another one is refused by it."""
        value = asdict(self)
        for edge in value["edges"]:  # a chain's digest is what it was before there were cells
            for name, absent in (("terms", ()), ("sources", ()), ("target", None)):
                if edge[name] == absent:
                    del edge[name]
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]

    def candidates(self, edge: Edge) -> tuple[str, ...]:
        """The names of the operations that `edge` may be: those of its slot, or its one fixed operation."""
        return (edge.fixed,) if edge.fixed is not None else self.slots[cast(int, edge.op_slot)]

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of all operations that an edge may be, each once."""
        of_ops = {edge.slot for edge in self.edges if edge.slot is not None}
        of_ops |= {term.ops for edge in self.edges for term in edge.terms}
        named = [op for slot in sorted(of_ops) for op in self.slots[slot]]
        return tuple(dict.fromkeys(named + [edge.fixed for edge in self.edges if edge.fixed]))

    @cached_property
    def route(self) -> tuple[Step, ...]:
        """Where each edge reads and writes."""
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
        """Places in `edges` of those with a choice."""
        return tuple(i for i, edge in enumerate(self.edges) if edge.op_slot is not None)

    @property
    def is_chain(self) -> bool:
        """Whether each choice is the operation of one layer; not so in cells."""
        return not any(edge.terms or edge.sources for edge in self.edges)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """What each slot is called in figures: a layer of a chain, where a slot of cells is a choice among many."""
        return tuple(f"{'layer' if self.is_chain else 'slot'} {s + 1}" for s in range(len(self.slots)))

    def edge_weights(self, weights: Tensor) -> Tensor:
        """(N, E, K) of op weights (N, S, K): of every operation on every edge with a choice, differentiable."""
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
        """Operations that `architecture` puts on an edge of a cell, and how often each: by one term, or by two."""
        ops = architecture.ops
        taken = [ops[t.ops] for t in edge.terms if ops[t.gate] == self.slots[t.gate][t.choice]]
        return {name: taken.count(name) for name in self.candidates(edge) if name in taken}

    def chances(self) -> Iterator[float]:
        """Of every operation on every edge with a choice, how likely a uniform architecture runs it."""
        for edge in (self.edges[i] for i in self.chosen_edges):
            candidates = len(self.candidates(edge))
            unused = math.prod(1 - 1 / (candidates * len(self.slots[t.gate])) for t in edge.terms)
            yield from [1 - unused if edge.terms else 1 / candidates] * candidates

    @cached_property
    def pairs(self) -> tuple[tuple[Term, Term], ...]:
        """The two terms of each node of a cell, by one edge each: what may choose the same twice."""
        found = {tuple((t.ops, t.gate) for t in edge.terms): edge.terms for edge in self.edges if len(edge.terms) == 2}
        return tuple(found.values())

    def sides(self) -> tuple[int, ...]:
        """Height (= width) in pixels of each edge's input, then of the head's."""
        of_state, sides = {0: self.image[1]}, []
        for edge, step in zip(self.edges, self.route):
            sides.append(of_state[step.sources[0]])
            of_state[step.target] = math.ceil(sides[-1] / edge.stride)
        return (*sides, of_state[self.route[-1].target])


def gated(weights: Tensor, terms: Sequence[tuple[Term, ...]]) -> Tensor:
    """(N, E, K) of op weights (N, S, K): of each of E edges' operations, by its terms; linear in every slot.

    So with independent slots the mean over architectures is the same function of their probabilities (S, K).
    """
    total = torch.zeros((), device=weights.device, dtype=weights.dtype)
    for one_of_each in zip(*terms):
        ops, gates, choices = zip(*((t.ops, t.gate, t.choice) for t in one_of_each))
        total = total + weights[:, list(ops)] * weights[:, list(gates), list(choices)][..., None]
    return total
