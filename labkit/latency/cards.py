"""Provenance: what a latency was measured on, with what, and how. No number travels without its card."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch

from labkit.latency.conditions import TimingConditions
from labkit.system.errors import InputError

ORIGINS = ("measured", "recorded", "predicted")  # here and now; on another machine or day; by a model
PROTOCOL = 2  # of stopwatch.time_interleaved; a number taken another way is another number
NOT_CONDITIONS = ("date", "origin", "git", "observed")  # two measurements that differ only here may be compared


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
    capability: str = ""  # of the device: instruction set, or compute capability
    driver: str = ""  # of a GPU
    tf32: bool = False  # whether a GPU may round float32 products to TensorFloat-32
    transfers: bool = False  # whether the images came from the host's memory and the logits went back there
    protocol: int = PROTOCOL
    git: str = ""  # commit of labkit that measured, with "+" when its files were changed
    observed: str = ""  # of a GPU: clocks, temperature and throttling right after the last timing
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

    def conditions(self, **changes: Any) -> TimingConditions:
        """The timing conditions that repeat this measurement, on a CPU for as long as is usual.

        Args:
            changes: fields of `TimingConditions` that differ, such as `device` and `seconds`.

        Returns:
            The runtime, dtype, batch size, threads and transfers of this card, with `changes`.
        """
        same = {name: getattr(self, name) for name in ("runtime", "dtype", "batch_size", "threads", "transfers")}
        return TimingConditions(**(same | changes))

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
    quartiles_ms: tuple[float, float] | None = None  # None where only their distance was kept
    cv: float | None = None  # standard deviation over mean
    best_within: float | None = None  # relative width of the 95 % interval of the best
    median_within: float | None = None  # half of that of the median

    def __post_init__(self) -> None:
        for name, value in (("best_ms", self.best_ms), ("median_ms", self.median_ms)):
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise InputError(f"a timing's {name} is a positive number of milliseconds; got {value!r}")

    @classmethod
    def of(cls, blocks_ms: Sequence[float]) -> "Timing":
        """Summarise at least two blocks.

        In a resample with replacement the best is the lowest, the second or the third of the blocks with a chance of
        95 %; the median's interval is that of the binomial law of the blocks below it.
        """
        ordered = sorted(blocks_ms)
        n, median = len(ordered), statistics.median(ordered)
        low, _, high = statistics.quantiles(ordered, n=4)
        reach = 0.98 * math.sqrt(n)  # of the ranks around the middle: 1.96 standard deviations of a fair coin's heads
        left, right = max(0, math.floor(n / 2 - reach)), min(n - 1, math.ceil(n / 2 + reach))
        return cls(
            ordered[0],
            median,
            high - low,
            n,
            (low, high),
            statistics.stdev(ordered) / statistics.fmean(ordered),
            ordered[min(2, n - 1)] / ordered[0] - 1,
            (ordered[right] - ordered[left]) / 2 / median,
        )

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Timing":
        quartiles = row.get("quartiles_ms")
        extra = {name: row.get(name) for name in ("cv", "best_within", "median_within")}
        quartiles = None if quartiles is None else tuple(quartiles)
        return cls(row["best_ms"], row["median_ms"], row["spread_ms"], row["n"], quartiles, **extra)

    def of_one(self, repeats: int, fixed_ms: float) -> "Timing":
        """Of one call, where each timed call did its work `repeats` times and had to do what takes `fixed_ms` once."""
        one = lambda ms: fixed_ms + (ms - fixed_ms) / repeats
        relative = lambda width, ms: None if width is None else width * ms / repeats / one(ms)
        return Timing(
            one(self.best_ms),
            one(self.median_ms),
            self.spread_ms / repeats,
            self.n,
            self.quartiles_ms and tuple(map(one, self.quartiles_ms)),
            relative(self.cv, self.median_ms),
            relative(self.best_within, self.best_ms),
            relative(self.median_within, self.median_ms),
        )

    @property
    def steady(self) -> bool:
        """Whether the middle half of the blocks lies within 10 % of the median."""
        return self.spread_ms <= 0.1 * self.median_ms

    def ms(self, statistic: str) -> float:
        """Milliseconds by "best", or else the median."""
        return self.best_ms if statistic == "best" else self.median_ms

    def within(self, statistic: str) -> float:
        """Relative uncertainty of `ms(statistic)`; that of the spread where no better one was kept."""
        known = self.best_within if statistic == "best" else self.median_within
        return self.spread_ms / self.median_ms if known is None else known

    def text(self, statistic: str) -> str:
        """`0.21 ms`: no more digits than the uncertainty supports, so that noise does not pass for precision."""
        ms = self.ms(statistic)
        unsure = max(self.within(statistic), 1e-3) * ms
        return f"{ms:.{max(0, min(6, math.ceil(-math.log10(2 * unsure))))}f} ms"


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


def statistic_of(device: str | torch.device) -> str:
    """What stands for a latency: the best block of a CPU, which other programs can only slow down; a GPU's median."""
    return "median" if torch.device(device).type == "cuda" else "best"
