"""A search replayed from its log, step by step; replay.js draws it.

In shapes: T steps, S slots, K candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from labkit.spaces import SearchSpace
from labkit.system.errors import InputError

MODULE = Path(__file__).with_name("replay.js")


@dataclass(frozen=True, eq=False)
class Replay:
    """The log of a search (`SearchResult.history`) over the slots of its space."""

    slots: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]  # S, of the slots
    history: tuple[Mapping[str, Any], ...]  # T

    def __post_init__(self) -> None:
        if not self.history:
            raise InputError("a replay needs the log of at least one step; this search has none")
        width = len(self.slots) * max(map(len, self.slots))
        if any(len(row["probs"]) != width for row in self.history):
            raise InputError(f"the log is not of this space, which has {width} probabilities a step")

    @cached_property
    def probs(self) -> np.ndarray:
        """(T, S, K) after each step."""
        return np.array([row["probs"] for row in self.history]).reshape(len(self.history), len(self.slots), -1)

    def favourite(self, step: int) -> tuple[str, ...]:
        """The most probable operations after one step.

        Args:
            step: number of the step, from 0.

        Returns:
            One name for each slot; the first of equals.
        """
        return tuple(slot[int(p[: len(slot)].argmax())] for slot, p in zip(self.slots, self.probs[step]))

    def drawn(self, step: int) -> tuple[str, ...] | None:
        """The architecture that a step sampled.

        Args:
            step: number of the step, from 0.

        Returns:
            One name for each slot; None where the step sampled none.
        """
        sampled = self.history[step].get("sampled")
        return None if sampled is None else tuple(slot[k] for slot, k in zip(self.slots, sampled))

    def words(self, step: int) -> str:
        """Describe one step in a sentence.

        Args:
            step: number of the step, from 0.

        Returns:
            The sentence.
        """
        row = self.history[step]
        expected = "" if row["expected_ms"] is None else f", {row['expected_ms']:.3f} ms expected"
        drawn = "" if row.get("drawn_ms") is None else f", {row['drawn_ms']:.3f} ms drawn"
        return f"Step {step + 1} of {len(self.history)}, {row['phase']}: loss {row['loss']:.2f} nats{expected}{drawn}."

    def for_browser(self) -> dict[str, Any]:
        """The data of the widget, as JSON.

        Returns:
            What replay.js reads.
        """
        steps = [
            {
                "phase": row["phase"],
                "loss": row["loss"],
                "probs": self.probs[t].round(3).tolist(),
                "sampled": row.get("sampled"),
                "words": self.words(t),
            }
            for t, row in enumerate(self.history)
        ]
        return {"slots": [list(slot) for slot in self.slots], "names": list(self.names), "steps": steps}


def replay_of(history: Sequence[Mapping[str, Any]], space: SearchSpace) -> Replay:
    """Make a replay of a search.

    Args:
        history: one record for each step, as `SearchResult.history`.
        space: the search space.

    Returns:
        The replay.

    Raises:
        InputError: the history is empty or of another space.
    """
    return Replay(space.slots, space.slot_names, tuple(history))
