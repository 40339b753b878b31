"""Two architectures that change places: the same networks ordered by the latencies of several tables.

The places, 0 for the fastest, are worked out here once; flips.js draws them and lets two be dragged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labkit.latency.table import LatencyTable
from labkit.spaces import Architecture
from labkit.system.errors import InputError

MODULE = Path(__file__).with_name("flips.js")
LARGEST = 500  # architectures: more lines cannot be told apart, nor drawn at once


@dataclass(frozen=True)
class Side:
    """One way of timing every architecture."""

    name: str
    card: str  # where its milliseconds are from, in words
    ms: tuple[float, ...]

    @property
    def places(self) -> list[int]:
        """Each architecture's place, the fastest first; of equals the earlier."""
        order = np.argsort(self.ms, kind="stable")
        places = np.empty(len(order), int)
        places[order] = np.arange(len(order))
        return places.tolist()


@dataclass(frozen=True)
class Flips:
    """The same architectures on several sides."""

    labels: tuple[str, ...]  # of the architectures
    sides: tuple[Side, ...]

    def __post_init__(self) -> None:
        if len(self.sides) < 2 or len(self.labels) < 2:
            raise InputError("places change between two tables or more, among two architectures or more")
        if len(self.labels) > LARGEST:
            raise InputError(f"at most {LARGEST} architectures can be drawn side by side; got {len(self.labels)}")
        for side in self.sides:
            if len(side.ms) != len(self.labels):
                raise InputError(f"{side.name} has {len(side.ms)} latencies for {len(self.labels)} architectures")

    @property
    def architectures(self) -> int:
        return len(self.labels)

    def swaps(self, left: int, right: int, a: int, b: int) -> bool:
        """Whether a is the faster on one side and b on the other."""
        one, other = (self.sides[side].ms[a] - self.sides[side].ms[b] for side in (left, right))
        return one * other < 0

    def share(self, left: int, right: int) -> float:
        """Share of all pairs that swap."""
        signs = [np.sign(np.subtract.outer(self.sides[side].ms, self.sides[side].ms)) for side in (left, right)]
        pairs = self.architectures * (self.architectures - 1)
        return float((signs[0] * signs[1] < 0).sum() / pairs)

    def widest(self, left: int, right: int) -> tuple[int, int]:
        """The pair that swaps by most: by the lesser of its two ratios of milliseconds. Two neighbours if none does."""
        one, other = (np.log(np.divide.outer(self.sides[side].ms, self.sides[side].ms)) for side in (left, right))
        gain = np.minimum(-one, other)  # a is faster on the left by -one, slower on the right by `other`
        a, b = np.unravel_index(gain.argmax(), gain.shape)
        return (int(a), int(b)) if gain[a, b] > 0 else (0, 1)

    def words(self, left: int, right: int, a: int, b: int) -> str:
        """One sentence on the two."""
        lead = lambda side: np.sign(self.sides[side].ms[a] - self.sides[side].ms[b])
        if self.swaps(left, right, a, b):
            first, second = ("A", "B") if lead(left) < 0 else ("B", "A")
            return (
                f"They swap: {first} is faster under {self.sides[left].name}, {second} under {self.sides[right].name}."
            )
        faster = lead(left) or lead(right)
        return "No swap: " + (
            f"{'A' if faster < 0 else 'B'} is faster on both." if faster else "they are equally fast."
        )

    def for_browser(self) -> dict[str, Any]:
        """What flips.js draws from."""
        sides = [
            {"name": s.name, "card": s.card, "ms": [round(ms, 6) for ms in s.ms], "places": s.places}
            for s in self.sides
        ]
        return {"labels": list(self.labels), "sides": sides}


def flips_of(tables: Mapping[str, LatencyTable], architectures: Sequence[Architecture], labels: Sequence[str]) -> Flips:
    """The table_ms of `architectures` under each of `tables`; sums that differ by their rounding only are equal."""
    ms = lambda table: tuple(round(table.table_ms(a), 9) for a in architectures)
    sides = (Side(name, str(table.card), ms(table)) for name, table in tables.items())
    return Flips(tuple(labels), tuple(sides))
