"""Independent choices and what is put together from them, as plain data. No network is needed.

In shapes, S is the number of slots, K the largest number of candidates that a slot has.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labkit.system.errors import InputError

if TYPE_CHECKING:  # the functions that return tensors import torch themselves: choices are plain data
    import torch
    from torch import Tensor


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
    def from_json(cls, value: dict[str, Any]) -> Architecture:
        try:
            return cls(str(value["space"]), tuple(str(op) for op in value["ops"]))
        except (KeyError, TypeError) as problem:
            raise InputError(f'an architecture is {{"space": name, "ops": [names]}}; got {value!r}') from problem


@dataclass(frozen=True)
class Choices:
    """Slots, each with the names of its candidates: whatever is put together from independent choices.

    `Choices("compiler", (("gcc", "clang"), ("O1", "O2", "O3")))` is a space of six. Iterate over a space for its
    architectures, `len` it for their number.
    """

    name: str
    slots: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        # Iterating over either would give letters, or names of slots, as candidates.
        if isinstance(self.slots, str | Mapping) or any(isinstance(slot, str) for slot in self.slots):
            raise InputError(
                f"slots of {self.name} are a tuple of names each, without a name of their own: write "
                f'(("gcc", "clang"), ("O2",)); got {self.slots!r}'
            )
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
        import torch

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
        import torch

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
        import torch

        draws = [torch.randint(len(slot), (n,), generator=generator).tolist() for slot in self.slots]
        return [Architecture(self.name, tuple(slot[k] for slot, k in zip(self.slots, row))) for row in zip(*draws)]

    def deal(self, generator: torch.Generator) -> list[Architecture]:
        """As many architectures as a slot has candidates at most, in which every slot's come up equally often.

        Each slot's candidates are shuffled; where there are fewer, some come up once more (Chu et al. 2021, FairNAS).
        """
        import torch

        rows = self.mask.shape[1]
        dealt = []
        for slot in self.slots:
            rounds = [torch.randperm(len(slot), generator=generator) for _ in range(math.ceil(rows / len(slot)))]
            dealt.append(torch.cat(rounds)[:rows].tolist())
        return [Architecture(self.name, tuple(slot[k] for slot, k in zip(self.slots, row))) for row in zip(*dealt)]
