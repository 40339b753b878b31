"""Provenance: what a latency was measured on, with what, and how. No number travels without its card."""

import datetime
import math
import platform
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch

from labkit.errors import InputError

ORIGINS = ("measured", "recorded", "predicted")  # here and now; on another machine or day; by a model
PROTOCOL = 1  # of latency.time_call; a number taken another way is another number
NOT_CONDITIONS = ("date", "origin")  # two measurements that differ only here may be compared


@dataclass(frozen=True)
class Card:
    """The conditions of a measurement, schema version 1."""

    device: str  # as the maker calls it
    runtime: str  # a name in runtimes.RUNTIMES
    versions: tuple[tuple[str, str], ...]  # package, version
    dtype: str
    layout: str  # "NCHW" or "channels_last"
    batch_size: int
    input_shape: tuple[int, ...]  # of one image: C, H, W
    threads: int
    statistic: str  # which figure stands for the number: "best" or "median"
    protocol: int = PROTOCOL
    date: str = ""
    origin: str = "measured"

    def __post_init__(self) -> None:
        if self.origin not in ORIGINS:
            raise InputError(f"a card's origin is one of {', '.join(ORIGINS)}; got {self.origin!r}")
        if self.statistic not in ("best", "median"):
            raise InputError(f"a card's statistic is 'best' or 'median'; got {self.statistic!r}")

    def __str__(self) -> str:
        return (
            f"{self.device}, {self.runtime}, {self.dtype}, batch {self.batch_size}, "
            f"{self.threads} thread{'s' * (self.threads != 1)}, {self.statistic}, {self.origin} {self.date}"
        )

    def differences(self, other: "Card") -> tuple[str, ...]:
        """Names of the conditions in which the two cards differ; () when their numbers compare."""
        names = [f.name for f in fields(self) if f.name not in NOT_CONDITIONS]
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))

    def recorded(self) -> "Card":
        """The same card, read back from a file: no longer measured here and now."""
        return replace(self, origin="recorded") if self.origin == "measured" else self

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "versions": dict(self.versions), "input_shape": list(self.input_shape)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Card":
        try:
            versions = tuple(sorted((str(k), str(v)) for k, v in value["versions"].items()))
            return cls(**{**value, "versions": versions, "input_shape": tuple(value["input_shape"])})
        except (KeyError, TypeError, AttributeError) as problem:
            raise InputError(f"a latency card is damaged: {problem}") from None


@dataclass(frozen=True)
class Timing:
    """Repeated timings of one thing, in milliseconds. Each of the `n` runs is a block of calls."""

    best_ms: float
    median_ms: float
    spread_ms: float  # interquartile range over the blocks
    n: int

    def __post_init__(self) -> None:
        for name, value in (("best_ms", self.best_ms), ("median_ms", self.median_ms)):
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise InputError(f"a timing's {name} is a positive number of milliseconds; got {value!r}")

    @property
    def steady(self) -> bool:
        """Whether the middle half of the blocks lies within 10 % of the median."""
        return self.spread_ms <= 0.1 * self.median_ms

    def ms(self, statistic: str) -> float:
        return self.best_ms if statistic == "best" else self.median_ms


@dataclass(frozen=True)
class Measurement:
    """A timing with its card."""

    timing: Timing
    card: Card

    @property
    def measured_ms(self) -> float:
        """End to end, as opposed to the `table_ms` of a sum of parts."""
        return self.timing.ms(self.card.statistic)

    def speedup_over(self, baseline: "Measurement") -> float:
        """How many times faster than `baseline`; below 1 is a slow-down.

        Runtime, versions, layout and dtype may differ, for they are what is compared; nothing else may.
        """
        allowed = {"runtime", "versions", "layout", "dtype"}
        unlike = [name for name in self.card.differences(baseline.card) if name not in allowed]
        if unlike:
            raise InputError(f"these latencies do not compare: their cards differ in {', '.join(unlike)}")
        return baseline.measured_ms / self.measured_ms

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self.timing), "card": self.card.to_json()}


def device_name(device: str | torch.device = "cpu") -> str:
    """The processor's name, as its maker prints it."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def today() -> str:
    return datetime.date.today().isoformat()
