"""A search told again from its log: every step, to scrub through. replay.js draws it.

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
        """The most probable operation of each slot after step `step`; the first of equals."""
        return tuple(slot[int(p[: len(slot)].argmax())] for slot, p in zip(self.slots, self.probs[step]))

    def drawn(self, step: int) -> tuple[str, ...] | None:
        """What the step trained and judged on one-hot; None where there was no such sample."""
        sampled = self.history[step].get("sampled")
        return None if sampled is None else tuple(slot[k] for slot, k in zip(self.slots, sampled))

    def words(self, step: int) -> str:
        """One sentence on the step."""
        row = self.history[step]
        expected = "" if row["expected_ms"] is None else f", {row['expected_ms']:.3f} ms expected"
        drawn = "" if row.get("drawn_ms") is None else f", {row['drawn_ms']:.3f} ms drawn"
        return f"Step {step + 1} of {len(self.history)}, {row['phase']}: loss {row['loss']:.2f} nats{expected}{drawn}."

    def for_browser(self) -> dict[str, Any]:
        """What replay.js draws from."""
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
    """The replay of a search's `history` in its space."""
    return Replay(space.slots, space.slot_names, tuple(history))
