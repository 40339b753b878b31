"""Independent choices and the architectures that they make, as plain data. No network is needed.

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
    """One candidate for every slot, by name: what is searched, saved, compared and built.

    It has names rather than indices, so that a reordered list of candidates cannot change its meaning. Its text joins
    the names by "-".

    Attributes:
        space: name of its space.
        ops: (S,) names of the candidates, operations in a search space.
    """

    space: str
    ops: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join(self.ops)

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as JSON values."""
        return {"space": self.space, "ops": list(self.ops)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Architecture:
        """Read an architecture that `to_json` wrote.

        Args:
            value: JSON values.

        Returns:
            The architecture. Whether it belongs to a space is not checked: see `Choices.check`.

        Raises:
            InputError: a key is missing or of a wrong type.
        """
        try:
            return cls(str(value["space"]), tuple(str(op) for op in value["ops"]))
        except (KeyError, TypeError) as problem:
            raise InputError(f'an architecture is {{"space": name, "ops": [names]}}; got {value!r}') from problem


@dataclass(frozen=True)
class Choices:
    """Slots, each with the names of its candidates: a space of anything that consists of independent choices.

    `Choices("compiler", (("gcc", "clang"), ("O1", "O2", "O3")))` is a space of six. Iterate over a space for its
    architectures; `len` gives their number.

    Attributes:
        name: name of the space.
        slots: (S,) the candidates of each slot: different names without a hyphen, at least one a slot.

    Raises:
        InputError: the slots are not of this form.
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
        object.__setattr__(self, "slots", tuple(map(tuple, self.slots)))  # lists are taken too, as JSON has them
        if not self.slots or not all(self.slots):
            raise InputError(f"space {self.name} needs a slot, and every slot a candidate; got {self.slots}")
        for s, slot in enumerate(self.slots):
            if len(set(slot)) < len(slot) or not all(isinstance(op, str) and op and "-" not in op for op in slot):
                raise InputError(f"slot {s} of {self.name} needs different names without a hyphen; got {slot}")

    @property
    def size(self) -> int:
        """Number of architectures in the space."""
        return math.prod(len(slot) for slot in self.slots)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Architecture]:
        return (Architecture(self.name, ops) for ops in itertools.product(*self.slots))

    def __getitem__(self, index: int) -> Architecture:
        """The architecture at place `index` of the iteration."""
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} has {self.size} architectures; got index {index}")
        ops = []
        for slot in reversed(self.slots):
            index, k = divmod(index, len(slot))
            ops.append(slot[k])
        return Architecture(self.name, tuple(reversed(ops)))

    def index(self, architecture: Architecture) -> int:
        """Return the place of an architecture in the iteration.

        Args:
            architecture: one of this space.

        Returns:
            Its index, from 0.

        Raises:
            InputError: it does not belong to this space.
        """
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
        """Twelve hex digits of a hash of the space, by which records of another space are refused."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def architecture(self, ops: str | Iterable[str]) -> Architecture:
        """Make an architecture of this space.

        Args:
            ops: one name for each slot, or the text that `str(architecture)` prints.

        Returns:
            The architecture.

        Raises:
            InputError: a name is missing, or is no candidate of its slot.
        """
        architecture = Architecture(self.name, tuple(ops.split("-") if isinstance(ops, str) else ops))
        self.check(architecture)
        return architecture

    def check(self, architecture: Architecture) -> None:
        """Check that an architecture belongs to this space.

        Args:
            architecture: what to check.

        Raises:
            InputError: it does not. The message names the first difference.
        """
        if architecture.space != self.name:
            raise InputError(f"an architecture of {self.name} is needed; got one of {architecture.space}")
        if len(architecture.ops) != len(self.slots):
            raise InputError(f"{self.name} has {len(self.slots)} slots; {architecture} fills {len(architecture.ops)}")
        for s, (slot, op) in enumerate(zip(self.slots, architecture.ops)):
            if op not in slot:
                raise InputError(f"slot {s} of {self.name} offers {', '.join(slot)}; got {op!r}")

    def encode(self, architecture: Architecture) -> Tensor:
        """Encode an architecture as one-hot op weights.

        Args:
            architecture: one of this space.

        Returns:
            (S, K) float32 on the CPU: 1 for the chosen candidates, 0 elsewhere.

        Raises:
            InputError: it does not belong to this space.
        """
        import torch

        self.check(architecture)
        weights = torch.zeros(self.mask.shape)
        for s, (slot, op) in enumerate(zip(self.slots, architecture.ops)):
            weights[s, slot.index(op)] = 1.0
        return weights

    def decode(self, weights: Tensor) -> Architecture:
        """Return the architecture of the largest weight in every slot, of equal ones the first.

        Args:
            weights: (S, K) op weights, logits or probabilities, on any device.

        Returns:
            The architecture.
        """
        best = weights.detach().cpu().masked_fill(~self.mask, -math.inf).argmax(-1).tolist()
        return Architecture(self.name, tuple(slot[k] for slot, k in zip(self.slots, best)))

    def sample(self, n: int, generator: torch.Generator) -> list[Architecture]:
        """Draw architectures, uniform and independent.

        Args:
            n: number of architectures.
            generator: on the CPU.

        Returns:
            (n,) architectures, possibly repeated.
        """
        import torch

        draws = [torch.randint(len(slot), (n,), generator=generator).tolist() for slot in self.slots]
        return [Architecture(self.name, tuple(slot[k] for slot, k in zip(self.slots, row))) for row in zip(*draws)]

    def deal(self, generator: torch.Generator) -> list[Architecture]:
        """Draw K architectures that use every candidate of every slot (strict fairness; Chu et al. 2021, FairNAS).

        Each slot's candidates are shuffled independently. In a slot with fewer than K candidates some are used more
        often than others, by one at most.

        Args:
            generator: on the CPU.

        Returns:
            (K,) architectures.
        """
        import torch

        rows = self.mask.shape[1]
        dealt = []
        for slot in self.slots:
            rounds = [torch.randperm(len(slot), generator=generator) for _ in range(math.ceil(rows / len(slot)))]
            dealt.append(torch.cat(rounds)[:rows].tolist())
        return [Architecture(self.name, tuple(slot[k] for slot, k in zip(self.slots, row))) for row in zip(*dealt)]
