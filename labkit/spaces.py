"""Search spaces and architectures, as plain data.

A space is edges between states, from the image to a fixed head: a chain, or cells whose nodes choose what they read. An
edge either carries a fixed operation or takes the operation chosen in its *slot*; edges that share a slot share one
decision. In a cell an edge's weight is a sum of *terms*: an operation's slot counts where an input's slot chose it.
In shapes, S is the number of slots, E that of edges with a choice, K the largest number of candidates that a slot has.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from labkit.errors import InputError
from labkit.ops import HEADS, OPS


@dataclass(frozen=True)
class Architecture:
    """One operation name a slot: what is searched, saved, compared and built.

    Names rather than indices: a reordered list of candidates cannot change what an architecture means.
    """

    space: str
    ops: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join(self.ops)

    def to_json(self) -> dict[str, Any]:
        return {"space": self.space, "ops": list(self.ops)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Architecture":
        try:
            return cls(str(value["space"]), tuple(str(op) for op in value["ops"]))
        except (KeyError, TypeError) as problem:
            raise InputError(f'an architecture is {{"space": name, "ops": [names]}}; got {value!r}') from problem


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
class Choices:
    """Slots, each with the names of its candidates: whatever is put together from independent choices.

    `Choices("compiler", (("gcc", "clang"), ("O1", "O2", "O3")))` is a space of six. Iterate over a space for its
    architectures, `len` it for their number.
    """

    name: str
    slots: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if not self.slots or not all(self.slots):
            raise InputError(f"space {self.name} needs a slot, and every slot a candidate; got {self.slots}")
        for s, slot in enumerate(self.slots):
            if len(set(slot)) < len(slot) or not all(isinstance(op, str) and op and "-" not in op for op in slot):
                raise InputError(f"slot {s} of {self.name} needs different names without a hyphen; got {slot}")

    @property
    def size(self) -> int:
        """How many architectures the space holds."""
        return math.prod(len(slot) for slot in self.slots)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Architecture]:
        return (Architecture(self.name, ops) for ops in itertools.product(*self.slots))

    def __getitem__(self, index: int) -> Architecture:
        """The architecture that iteration meets at `index`."""
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} has {self.size} architectures; got index {index}")
        ops = []
        for slot in reversed(self.slots):
            index, k = divmod(index, len(slot))
            ops.append(slot[k])
        return Architecture(self.name, tuple(reversed(ops)))

    def index(self, architecture: Architecture) -> int:
        """Where iteration meets `architecture`."""
        self.check(architecture)
        place = 0
        for slot, op in zip(self.slots, architecture.ops):
            place = place * len(slot) + slot.index(op)
        return place

    def __contains__(self, architecture: object) -> bool:
        try:
            self.check(architecture)  # type: ignore[arg-type]
        except (InputError, AttributeError):
            return False
        return True

    @cached_property
    def mask(self) -> Tensor:
        """(S, K) bool, true where slot s has a k-th candidate."""
        width = max(len(slot) for slot in self.slots)
        return torch.tensor([[k < len(slot) for k in range(width)] for slot in self.slots])

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that name this exact space: a table of another one is refused by it."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def architecture(self, ops: str | Iterable[str]) -> Architecture:
        """A checked architecture from its names, or from the text that `str(architecture)` prints."""
        architecture = Architecture(self.name, tuple(ops.split("-") if isinstance(ops, str) else ops))
        self.check(architecture)
        return architecture

    def check(self, architecture: Architecture) -> None:
        """Raise InputError unless `architecture` belongs to this space."""
        if architecture.space != self.name:
            raise InputError(f"an architecture of {self.name} is needed; got one of {architecture.space}")
        if len(architecture.ops) != len(self.slots):
            raise InputError(f"{self.name} has {len(self.slots)} slots; {architecture} fills {len(architecture.ops)}")
        for s, (slot, op) in enumerate(zip(self.slots, architecture.ops)):
            if op not in slot:
                raise InputError(f"slot {s} of {self.name} offers {', '.join(slot)}; got {op!r}")

    def encode(self, architecture: Architecture) -> Tensor:
        """One-hot weights (S, K), float32."""
        self.check(architecture)
        weights = torch.zeros(self.mask.shape)
        for s, (slot, op) in enumerate(zip(self.slots, architecture.ops)):
            weights[s, slot.index(op)] = 1.0
        return weights

    def decode(self, weights: Tensor) -> Architecture:
        """The architecture with the largest weight of (S, K) in every slot; the first one of equals."""
        best = weights.detach().cpu().masked_fill(~self.mask, -math.inf).argmax(-1).tolist()
        return Architecture(self.name, tuple(slot[k] for slot, k in zip(self.slots, best)))

    def sample(self, n: int, generator: torch.Generator) -> list[Architecture]:
        """`n` architectures, uniform and independent."""
        draws = [torch.randint(len(slot), (n,), generator=generator).tolist() for slot in self.slots]
        return [Architecture(self.name, tuple(slot[k] for slot, k in zip(self.slots, row))) for row in zip(*draws)]

    def deal(self, generator: torch.Generator) -> list[Architecture]:
        """As many architectures as a slot has candidates at most, in which every slot's come up equally often.

        Each slot's candidates are shuffled; where there are fewer, some come up once more (Chu et al. 2021, FairNAS).
        """
        rows = self.mask.shape[1]
        dealt = []
        for slot in self.slots:
            rounds = [torch.randperm(len(slot), generator=generator) for _ in range(math.ceil(rows / len(slot)))]
            dealt.append(torch.cat(rounds)[:rows].tolist())
        return [Architecture(self.name, tuple(slot[k] for slot, k in zip(self.slots, row))) for row in zip(*dealt)]


@dataclass(frozen=True)
class SearchSpace(Choices):
    """Choices that make a network: `edges` that the slots fill, in the order in which they run; the stem first."""

    edges: tuple[Edge, ...]
    image: tuple[int, int, int]  # channels, height, width
    classes: int
    head: str  # a name in ops.HEADS

    def __post_init__(self) -> None:
        super().__post_init__()
        of_ops = {edge.slot for edge in self.edges} | {term.ops for edge in self.edges for term in edge.terms}
        named = [op for slot in of_ops - {None} for op in self.slots[slot]] + [e.fixed for e in self.edges if e.fixed]
        unknown = sorted(set(named) - set(OPS))
        if unknown or self.head not in HEADS:
            raise InputError(
                f"space {self.name} names unknown operations {unknown or [self.head]}; known: {', '.join(OPS)}"
            )
        used = {edge.slot for edge in self.edges if edge.slot is not None}
        used |= {slot for edge in self.edges for term in edge.terms for slot in (term.ops, term.gate)}
        if used != set(range(len(self.slots))):
            raise InputError(f"space {self.name}: edges use slots {sorted(used)} of {len(self.slots)}")
        if len({len(self.edges[i].terms) for i in self.chosen_edges}) != 1:
            raise InputError(f"space {self.name}: every edge with a choice has the same number of terms")
        for edge in self.edges:
            for term in edge.terms:
                if self.slots[term.ops] != self.slots[edge.op_slot] or term.choice >= len(self.slots[term.gate]):
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
        return not any(edge.terms or edge.sources for edge in self.edges)

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
        return self.mask[[self.edges[i].op_slot for i in self.chosen_edges]]

    def chosen(self, edge: Edge, architecture: Architecture) -> dict[str, int]:
        """Operations that `architecture` puts on an edge of a cell, and how often each: by one term, or by two."""
        ops = architecture.ops
        taken = [ops[t.ops] for t in edge.terms if ops[t.gate] == self.slots[t.gate][t.choice]]
        return {name: taken.count(name) for name in self.slots[edge.op_slot] if name in taken}

    def chances(self) -> Iterator[float]:
        """Of every operation on every edge with a choice, how likely a uniform architecture runs it."""
        for edge in (self.edges[i] for i in self.chosen_edges):
            candidates = len(self.slots[edge.op_slot])
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


def five_layer(classes: int = 10) -> SearchSpace:
    """The reference article's example: five layers, each a 5x5 convolution, a 3x3 convolution or max pooling.

    3**5 = 243 architectures on 32x32 images. The stem halves the resolution to 16x16 with 16 channels; average
    pooling halves it after layers 2 and 4. The head reads the flattened 4x4 map: with a global average instead,
    the same network's accuracy varied by 40 points between seeds.
    """
    slots = (("conv5x5", "conv3x3", "maxpool3x3"),) * 5
    width, halve = 16, Edge(16, 16, 2, fixed="avgpool")
    layers = [Edge(width, width, slot=s) for s in range(5)]
    edges = (Edge(3, width, 2, fixed="conv3x3"), *layers[:2], halve, *layers[2:4], halve, layers[4])
    return SearchSpace("five_layer", slots, edges, (3, 32, 32), classes, "flat")


MOBILE_TINY = (
    (24, 1),
    (24, 1),
    (32, 2),
    (32, 1),
    (32, 1),
    (64, 2),
    (64, 1),
    (64, 1),
)  # width, stride of a layer


# The widths of ProxylessNAS-GPU (Cai, Zhu, Han, ICLR 2019), in which UNAS searched (Vahdat et al. 2020, section 4.2).
MOBILE_FULL = tuple(
    (width, stride if first else 1)
    for width, stride, layers in ((32, 2, 4), (56, 2, 4), (112, 2, 4), (128, 1, 4), (256, 2, 4), (432, 1, 1))
    for first in [True] + [False] * (layers - 1)
)


def mobile(size: str = "tiny", classes: int = 10) -> SearchSpace:
    """A MobileNetV2-like chain (the shape of the ProxylessNAS space): MBConv of kernel 3, 5 or 7, expansion 3 or 6.

    A layer that changes neither width nor resolution may also be skipped. `"tiny"`: eight searched layers for
    32x32 images on a CPU, 6**3 * 7**5 = 3,630,312 architectures. `"full"`: the 21 layers of the paper's space for
    224x224 images, 6**6 * 7**15 = 2.2e17; too large to train here, and what closed forms and tables are tested on.
    """
    if size not in ("tiny", "full"):
        raise InputError(f"mobile has the sizes 'tiny' and 'full'; got {size!r}")
    blocks = tuple(f"mb{kernel}e{expansion}" for kernel in (3, 5, 7) for expansion in (3, 6))
    if size == "tiny":
        layers, image, head, stem = MOBILE_TINY, (3, 32, 32), "pooled", [Edge(3, 16, 2, fixed="conv3x3")]
    else:
        stem = [Edge(3, 40, 2, fixed="stem3x3"), Edge(40, 24, 1, fixed="mb3e1")]
        layers, image, head = MOBILE_FULL, (3, 224, 224), "pooled-wide"
    slots, edges, width = [], stem, stem[-1].out_channels
    for slot, (out, stride) in enumerate(layers):
        keeps = (out, stride) == (width, 1)
        slots.append(("skip", *blocks) if keeps else blocks)
        edges.append(Edge(width, out, stride, slot=slot))
        width = out
    return SearchSpace(f"mobile-{size}", tuple(slots), tuple(edges), image, classes, head)


CELL_OPS = ("identity", "sep3x3", "maxpool3x3", "dil3x3", "sep5x5", "avgpool3x3", "sep7x7")
CELLS = {  # cells, nodes of one, width of the first, operations
    "tiny": (4, 2, 8, CELL_OPS[:4]),
    "cifar": (8, 4, 16, CELL_OPS),
    "cifar-deep": (20, 4, 36, CELL_OPS),  # in which what the other one found is trained
}


def cells(size: str = "tiny", classes: int = 10) -> SearchSpace:
    """Cells in which every node reads two states: UNAS's form of the DARTS space (Liu, Simonyan, Yang, ICLR 2019).

    Two kinds of cell, each chosen once for the whole network: normal ones, and two that halve the resolution and double
    the width, a third and two thirds of the way. A cell reads the two before it (s0, s1). Each of its nodes adds up two
    operations, and four slots say which: two for what is read (s0, s1, or an earlier node n0, n1, ...) and two for the
    operations. So each node has two inputs without a rule of thumb after the search (Vahdat et al. 2020).

    Auxiliary heads, drop path and cutout, with which the published networks were trained, are not here.

    `"tiny"`: four cells of two nodes, 9,216 architectures a kind and 8.5e7 in all, for a CPU. `"cifar"`: the published
    search space, 6.9e21. `"cifar-deep"`: the same choices in 20 cells of width 36, where what was found is trained.
    """
    if size not in CELLS:
        raise InputError(f"cells have the sizes {', '.join(CELLS)}; got {size!r}")
    count, nodes, width, ops = CELLS[size]
    kinds = ("normal", "reduction")
    inputs = [("s0", "s1", *(f"n{k}" for k in range(node))) for node in range(nodes)]
    slots = [slot for _ in kinds for node in range(nodes) for slot in (inputs[node], inputs[node], ops, ops)]
    edges = [Edge(3, 3 * width, fixed="convbn3x3", sources=(0,), target=1)]
    before, widths, halved, newest = (1, 1), (3 * width, 3 * width), False, 1
    for cell in range(count):
        halves = cell in (count // 3, 2 * count // 3)
        width *= 1 + halves
        states = [newest + 1, newest + 2]
        for state, source, wide, fixed in zip(states, before, widths, ("halve" if halved else "relu1x1", "relu1x1")):
            edges.append(Edge(wide, width, 2 if fixed == "halve" else 1, fixed=fixed, sources=(source,), target=state))
        for node in range(nodes):
            first = 4 * (nodes * halves + node)  # of the node's slots: two inputs, two operations
            into = states[-1] + 1
            for choice, source in enumerate(states):
                terms = tuple(Term(first + 2 + which, first + which, choice) for which in (0, 1))
                stride = 2 if halves and choice < 2 else 1
                edges.append(Edge(width, width, stride, terms=terms, sources=(source,), target=into))
            states.append(into)
        newest = states[-1] + 1
        edges.append(Edge(nodes * width, nodes * width, fixed="identity", sources=tuple(states[2:]), target=newest))
        before, widths, halved = (before[1], newest), (widths[1], nodes * width), halves
    return SearchSpace(f"cells-{size}", tuple(slots), tuple(edges), (3, 32, 32), classes, "average")


SPACES = {
    "five_layer": five_layer,
    "mobile-tiny": mobile,
    "mobile-full": partial(mobile, "full"),
    **{f"cells-{size}": partial(cells, size) for size in CELLS},
}


def by_name(name: str, classes: int = 10) -> SearchSpace:
    """The space that is called `name` on the command line and in saved files."""
    if name not in SPACES:
        raise InputError(f"spaces are {', '.join(SPACES)}; got {name!r}")
    return SPACES[name](classes=classes)
