"""Provenance: what a latency was measured on, with what, and how. No number travels without its card."""

import datetime
import math
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from labkit.errors import InputError

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


def statistic_of(device: str | torch.device) -> str:
    """What stands for a latency: the best block of a CPU, which other programs can only slow down; a GPU's median."""
    return "median" if torch.device(device).type == "cuda" else "best"


def capability(device: str | torch.device = "cpu") -> str:
    """The instruction set that torch uses, such as AVX512; a GPU's compute capability, such as 9.0."""
    if torch.device(device).type == "cuda":
        return "{}.{}".format(*torch.cuda.get_device_capability(device))
    return torch.backends.cpu.get_cpu_capability()


def driver(device: str | torch.device = "cpu") -> str:
    """The version of a GPU's driver; "" for a CPU, or where nvidia-smi does not tell."""
    if torch.device(device).type != "cuda":
        return ""
    return _first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


def observed(device: str | torch.device = "cpu") -> str:
    """A GPU's clocks, temperature and what slows it down, as nvidia-smi tells them now; "" for a CPU."""
    device = torch.device(device)
    if device.type != "cuda":
        return ""
    wanted = "clocks.sm,clocks.mem,temperature.gpu,clocks_throttle_reasons.active"
    which = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    found = _first_line("nvidia-smi", "-i", which, f"--query-gpu={wanted}", "--format=csv,noheader,nounits").split(", ")
    if len(found) != 4:
        return ""
    sm, memory, celsius, throttled = found
    return f"SM {sm} MHz, memory {memory} MHz, {celsius} C, throttle reasons {throttled}"


@cache
def git_state() -> str:
    """The commit of these files, with "+" behind it when they were changed since; "" outside a git checkout."""
    here = Path(__file__)
    git = ("git", "-C", str(here.parent))
    if not _first_line(*git, "ls-files", here.name):  # installed inside a checkout of something else
        return ""
    changed = _first_line(*git, "status", "--porcelain", "--", ".")
    return _first_line(*git, "rev-parse", "--short=10", "HEAD") + "+" * bool(changed)


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().split("\n")[0]


def today() -> str:
    return datetime.date.today().isoformat()


def in_sittings(before: dict[str, Any], rows: int, made: dict[str, Any]) -> dict[str, Any]:
    """What makes a file that another run began: its command, machine, versions and day.

    Under "earlier" is each other command, machine or version that made rows before, and how many there were by then.
    """
    if not made:
        return before
    alike = lambda one: {key: value for key, value in one.items() if key not in ("date", "earlier")}
    earlier = [*before.get("earlier", ())]
    if alike(before) != alike(made):
        earlier.append({key: value for key, value in before.items() if key != "earlier"} | {"rows": rows})
    return made | ({"earlier": earlier} if earlier else {})
