"""Search spaces and architectures, as plain data.

A space is a chain of edges from a fixed stem to a fixed head. An edge either carries a fixed operation
or takes the operation chosen in its *slot*; edges that share a slot share one decision. In shapes, S is
the number of slots and K the largest number of candidates that a slot has.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator
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
class Edge:
    """Where an operation sits, and either the slot that chooses it or the fixed operation it is."""

    in_channels: int
    out_channels: int
    stride: int = 1
    slot: int | None = None
    fixed: str | None = None

    def __post_init__(self) -> None:
        if (self.slot is None) == (self.fixed is None):
            raise InputError(f"an edge has either a slot or a fixed operation; got {self}")


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
    """Choices that make a network: the chain of `edges` that the slots fill. The first edge is the stem."""

    edges: tuple[Edge, ...]
    image: tuple[int, int, int]  # channels, height, width
    classes: int
    head: str  # a name in ops.HEADS

    def __post_init__(self) -> None:
        super().__post_init__()
        named = [op for slot in self.slots for op in slot] + [e.fixed for e in self.edges if e.fixed]
        unknown = sorted(set(named) - set(OPS))
        if unknown or self.head not in HEADS:
            raise InputError(
                f"space {self.name} names unknown operations {unknown or [self.head]}; known: {', '.join(OPS)}"
            )
        used = {edge.slot for edge in self.edges if edge.slot is not None}
        if used != set(range(len(self.slots))):
            raise InputError(f"space {self.name}: edges use slots {sorted(used)} of {len(self.slots)}")

    def sides(self) -> tuple[int, ...]:
        """Height (= width) in pixels of each edge's input, then of the head's."""
        sides = [self.image[1]]
        for edge in self.edges:
            sides.append(math.ceil(sides[-1] / edge.stride))
        return tuple(sides)


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


SPACES = {"five_layer": five_layer, "mobile-tiny": mobile, "mobile-full": partial(mobile, "full")}


def by_name(name: str, classes: int = 10) -> SearchSpace:
    """The space that is called `name` on the command line and in saved files."""
    if name not in SPACES:
        raise InputError(f"spaces are {', '.join(SPACES)}; got {name!r}")
    return SPACES[name](classes=classes)
