"""Provenance: where, with what and how a latency was measured. Every latency has such a card."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import torch

from labkit.latency.conditions import TimingConditions
from labkit.system import storage
from labkit.system.errors import InputError

ORIGINS = ("measured", "recorded", "predicted")  # here and now; on another machine or day; by a model
PROTOCOL = 2  # of stopwatch.time_interleaved; numbers of another protocol are not compared
NOT_CONDITIONS = ("date", "origin", "git", "observed")  # two measurements that differ only here may be compared

R = TypeVar("R", "Card", "Timing")


@dataclass(frozen=True)
class Card:
    """The conditions of a measurement, schema version 1.

    Attributes:
        device: the name that its maker gives it.
        runtime: the name of a runtime, or of something that labkit does not know.
        versions: pairs of package and version.
        dtype: of weights and arithmetic.
        layout: "NCHW" or "channels_last".
        batch_size: images in a call.
        input_shape: channels, height and width of an image.
        threads: cores that a network could use.
        statistic: which figure counts, "best" or "median".
        capability: of the device: the instruction set, or the compute capability.
        driver: of a GPU.
        tf32: whether a GPU may round float32 products to TensorFloat-32.
        transfers: whether images came from the host's memory and logits went back there.
        protocol: version of the way to time.
        git: the commit of labkit that measured, with "+" when its files were changed.
        observed: clocks, temperature and throttling of a GPU right after the last timing.
        date: of the measurement.
        origin: "measured" here and now, "recorded" on another machine or day, or "predicted" by a model.

    Raises:
        InputError: the origin or the statistic is none of these.
    """

    device: str
    runtime: str
    versions: tuple[tuple[str, str], ...]
    dtype: str
    layout: str
    batch_size: int
    input_shape: tuple[int, ...]
    threads: int
    statistic: str
    capability: str = ""
    driver: str = ""
    tf32: bool = False
    transfers: bool = False
    protocol: int = PROTOCOL
    git: str = ""
    observed: str = ""
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
        """Compare the conditions of two cards.

        Args:
            other: another card.

        Returns:
            Names of the conditions that differ, without date, origin, commit and clocks; () when the numbers can be
            compared.
        """
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
        """The same card with the origin "recorded", as it is read back from a file."""
        return replace(self, origin="recorded") if self.origin == "measured" else self

    def to_json(self) -> dict[str, Any]:
        """The card as a value for JSON, which `from_json` reads."""
        return {**asdict(self), "versions": dict(self.versions), "input_shape": list(self.input_shape)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Card":
        """Read a card.

        Args:
            value: a value that `to_json` gave, also after JSON.

        Returns:
            The card.

        Raises:
            InputError: a condition is missing, unknown or wrong.
        """
        says = "a latency card is damaged"
        value = storage.as_record(value, dict[str, Any], says)
        if strange := sorted(set(value) - {field.name for field in fields(cls)}):
            raise InputError(f"{says}, or of a newer version: it has {', '.join(strange)}, which is not known here")
        versions = storage.as_record(value.get("versions"), dict[str, str], f"{says}: versions")
        return _whole(value | {"versions": sorted(versions.items())}, cls, says)


@dataclass(frozen=True)
class Timing:
    """Repeated timings of one call, in milliseconds, over blocks of calls.

    Attributes:
        best_ms: of the fastest block.
        median_ms: of the blocks.
        spread_ms: interquartile range over the blocks.
        n: number of blocks.
        quartiles_ms: the first and the third quartile; None where only their distance was kept.
        cv: standard deviation over mean.
        best_within: relative width of the 95 % interval of the best.
        median_within: half the relative width of the 95 % interval of the median.

    Raises:
        InputError: the best or the median is not a positive number.
    """

    best_ms: float
    median_ms: float
    spread_ms: float
    n: int
    quartiles_ms: tuple[float, float] | None = None
    cv: float | None = None
    best_within: float | None = None
    median_within: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("best_ms", self.best_ms), ("median_ms", self.median_ms)):
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise InputError(f"a timing's {name} is a positive number of milliseconds; got {value!r}")
        widths = (self.cv, self.best_within, self.median_within, *(self.quartiles_ms or ()))
        for value in (self.spread_ms, *(width for width in widths if width is not None)):
            if not math.isfinite(value):
                raise InputError(f"the spread of a timing is a finite number; got {value!r}")

    @classmethod
    def of(cls, blocks_ms: Sequence[float]) -> "Timing":
        """Summarise the timings of blocks.

        In a resample with replacement the best is the lowest, the second or the third of the blocks with a chance of
        95 %. The interval of the median follows from the binomial law of the blocks below it.

        Args:
            blocks_ms: milliseconds of a call in each block, at least two.

        Returns:
            Best, median, quartiles and their uncertainties.
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
        """Read a timing.

        Args:
            row: the fields of a timing; others are ignored.

        Returns:
            The timing.

        Raises:
            InputError: a field is missing or wrong.
        """
        return _whole(row, cls, "a timing is damaged")

    def of_one(self, repeats: int, fixed_ms: float) -> "Timing":
        """Convert the timing of repeated work to that of doing it once: subtract the fixed cost, divide, add it again.

        Args:
            repeats: how often each timed call did its work.
            fixed_ms: milliseconds that a call takes besides, however often it does its work.

        Returns:
            The timing of a call that does its work once.
        """
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
        """Select the figure of a statistic.

        Args:
            statistic: "best" or "median".

        Returns:
            Milliseconds of a call.
        """
        return self.best_ms if statistic == "best" else self.median_ms

    def within(self, statistic: str) -> float:
        """Estimate the uncertainty of `ms(statistic)`.

        Args:
            statistic: "best" or "median".

        Returns:
            The relative uncertainty; spread over median where no interval was kept.
        """
        known = self.best_within if statistic == "best" else self.median_within
        return self.spread_ms / self.median_ms if known is None else known

    def text(self, statistic: str) -> str:
        """Write milliseconds with no more digits than their uncertainty supports, such as `0.21 ms`.

        Args:
            statistic: "best" or "median".

        Returns:
            The text.
        """
        ms = self.ms(statistic)
        unsure = max(self.within(statistic), 1e-3) * ms
        return f"{ms:.{max(0, min(6, math.ceil(-math.log10(2 * unsure))))}f} ms"


@dataclass(frozen=True)
class Measurement:
    """A timing with its card.

    Attributes:
        timing: repeated timings of a call.
        card: their conditions.
    """

    timing: Timing
    card: Card

    @property
    def measured_ms(self) -> float:
        """Milliseconds end to end, in contrast to the `table_ms` of a sum of parts."""
        return self.timing.ms(self.card.statistic)

    def speedup_over(self, baseline: "Measurement") -> float:
        """Compare with a baseline, from which runtime, versions, layout and dtype may differ.

        Args:
            baseline: a measurement under the same other conditions.

        Returns:
            How many times faster this is than the baseline; below 1 it is slower.

        Raises:
            InputError: another condition differs.
        """
        allowed = {"runtime", "versions", "layout", "dtype"}
        unlike = [name for name in self.card.differences(baseline.card) if name not in allowed]
        if unlike:
            raise InputError(f"these latencies do not compare: their cards differ in {', '.join(unlike)}")
        return baseline.measured_ms / self.measured_ms

    def to_json(self) -> dict[str, Any]:
        """The timing and the card as one value for JSON."""
        return {**asdict(self.timing), "card": self.card.to_json()}


def statistic_of(device: str | torch.device) -> str:
    """Choose the figure that counts as the latency on a device.

    On a CPU it is the best block, for other programs can only slow it down. On a GPU it is the median.

    Args:
        device: "cpu" or "cuda".

    Returns:
        "best" or "median".
    """
    return "median" if torch.device(device).type == "cuda" else "best"


def _whole(value: Any, record: type[R], says: str) -> R:
    """A record with all that was written of it: a field with a default is not left out either."""
    if isinstance(value, dict) and (lacking := [f.name for f in fields(record) if f.name not in value]):
        raise InputError(f"{says}: it lacks {', '.join(lacking)}")
    return storage.as_record(value, record, says)
