"""Rank reversals: pairs of architectures that several latency tables put in opposite orders.

The ranks, 0 for the fastest, are computed here once; reversals.js draws them and lets the user drag two architectures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labkit.latency.table import LatencyTable
from labkit.spaces import Architecture
from labkit.system.errors import InputError

MODULE = Path(__file__).with_name("reversals.js")
LARGEST = 500  # architectures: more lines cannot be distinguished


@dataclass(frozen=True)
class Side:
    """The latencies of every architecture under one table.

    Attributes:
        name: of the table.
        card: the conditions of its milliseconds, in words.
        ms: milliseconds of each architecture.
    """

    name: str
    card: str
    ms: tuple[float, ...]

    @property
    def places(self) -> list[int]:
        """The rank of each architecture, 0 for the fastest; of equal ones the earlier comes first."""
        order = np.argsort(self.ms, kind="stable")
        places = np.empty(len(order), int)
        places[order] = np.arange(len(order))
        return places.tolist()


@dataclass(frozen=True)
class RankReversals:
    """The same architectures under several tables.

    Attributes:
        labels: a label for each of N architectures, 2 to 500.
        sides: at least two tables, each with N latencies.

    Raises:
        InputError: there are too few or too many architectures, or too few tables, or numbers that do not match.
    """

    labels: tuple[str, ...]
    sides: tuple[Side, ...]

    def __post_init__(self) -> None:
        if len(self.sides) < 2 or len(self.labels) < 2:
            raise InputError("ranks are compared between two tables or more, of two architectures or more")
        if len(self.labels) > LARGEST:
            raise InputError(f"at most {LARGEST} architectures can be drawn side by side; got {len(self.labels)}")
        for side in self.sides:
            if len(side.ms) != len(self.labels):
                raise InputError(f"{side.name} has {len(side.ms)} latencies for {len(self.labels)} architectures")

    @property
    def architectures(self) -> int:
        """How many architectures there are."""
        return len(self.labels)

    def swaps(self, left: int, right: int, a: int, b: int) -> bool:
        """Compare the order of two architectures under two tables.

        Args:
            left: index of the first table.
            right: index of the second table.
            a: index of one architecture.
            b: index of the other architecture.

        Returns:
            Whether a is the faster under one table and b under the other.
        """
        one, other = (self.sides[side].ms[a] - self.sides[side].ms[b] for side in (left, right))
        return one * other < 0

    def share(self, left: int, right: int) -> float:
        """Count the rank reversals between two tables.

        Args:
            left: index of the first table.
            right: index of the second table.

        Returns:
            The share of all pairs that swap, from 0 to 1.
        """
        signs = [np.sign(np.subtract.outer(self.sides[side].ms, self.sides[side].ms)) for side in (left, right)]
        pairs = self.architectures * (self.architectures - 1)
        return float((signs[0] * signs[1] < 0).sum() / pairs)

    def widest(self, left: int, right: int) -> tuple[int, int]:
        """Find the pair with the widest rank reversal.

        Args:
            left: index of the first table.
            right: index of the second table.

        Returns:
            Indices (a, b): a is faster under the left table and b under the right one, and the lesser of their two
            ratios of milliseconds is the largest. (0, 1) where no pair swaps.
        """
        one, other = (np.log(np.divide.outer(self.sides[side].ms, self.sides[side].ms)) for side in (left, right))
        gain = np.minimum(-one, other)  # a is faster on the left by -one, slower on the right by `other`
        a, b = np.unravel_index(gain.argmax(), gain.shape)
        return (int(a), int(b)) if gain[a, b] > 0 else (0, 1)

    def words(self, left: int, right: int, a: int, b: int) -> str:
        """Describe two architectures under two tables in one sentence.

        Args:
            left: index of the first table.
            right: index of the second table.
            a: index of the architecture that is called A.
            b: index of the architecture that is called B.

        Returns:
            The sentence.
        """
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
        """The value that reversals.js draws: labels, and for each table its name, card, milliseconds and ranks."""
        sides = [
            {"name": s.name, "card": s.card, "ms": [round(ms, 6) for ms in s.ms], "places": s.places}
            for s in self.sides
        ]
        return {"labels": list(self.labels), "sides": sides}


def rank_reversals(
    tables: Mapping[str, LatencyTable], architectures: Sequence[Architecture], labels: Sequence[str]
) -> RankReversals:
    """Compare the order of architectures under several latency tables.

    Sums that differ by their rounding only are equal.

    Args:
        tables: a name for each table.
        architectures: of the space of the tables.
        labels: one for each architecture.

    Returns:
        The `table_ms` of each architecture under each table.

    Raises:
        InputError: an architecture is of another space, or the numbers do not match.
    """
    ms = lambda table: tuple(round(table.table_ms(a), 9) for a in architectures)
    sides = (Side(name, str(table.card), ms(table)) for name, table in tables.items())
    return RankReversals(tuple(labels), tuple(sides))
