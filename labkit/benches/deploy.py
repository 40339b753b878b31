"""A searched network in everything that can run it on this device, at several batch sizes."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from labkit.benches.record import Bench, Saved, Verdicts, option
from labkit.data import ImageSet
from labkit.deploy.export import RuntimeRow, benchmark, speedup_text
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import macs_per_ms
from labkit.networks.complexity import count
from labkit.networks.supernet import Network
from labkit.runtimes.base import Preparation
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.registry import runtime, runtimes
from labkit.system import storage
from labkit.system.device import threads
from labkit.system.errors import InputError, damaged

KIND, SCHEMA = "deploy bench", 1
BATCH_SIZES = (1, 64)


@dataclass(frozen=True)
class Race:
    """The times of every runtime in every precision, for one network and one batch size.

    Attributes:
        space, architecture: The network.
        batch_size: Images of a call.
        rows: One for each runtime and precision.
        floor_ms: Time of its arithmetic at the best rate of the device, `latency.macs_per_ms`.
    """

    space: str
    architecture: str
    batch_size: int
    rows: tuple[RuntimeRow, ...]
    floor_ms: float | None = None

    def fastest(self, precision: str) -> RuntimeRow | None:
        """Return the fastest compiled runtime of a precision among those that compute the same.

        Args:
            precision: Such as "fp32" or "int8".

        Returns:
            Its row; None where there is none.
        """
        fit = [r for r in self.rows if runtime(r.name).deploys and r.precision == precision and r.computes_the_same]
        return max(fit, key=lambda row: row.speedup or 0.0, default=None)

    def row(self, name: str, precision: str) -> RuntimeRow | None:
        """Return the timed row of a runtime.

        Args:
            name: Of the runtime.
            precision: Such as "fp32".

        Returns:
            The row; None where it was not timed.
        """
        return next((r for r in self.rows if (r.name, r.precision) == (name, precision) and r.measurement), None)


def race(
    network: Network,
    data: ImageSet,
    conditions: TimingConditions = TimingConditions(seconds=0.5),
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    engines: str | Path | None = None,
    on_race: Callable[[Race], None] | None = None,
) -> tuple[Race, ...]:
    """Time a network in every runtime, in turn on test images, with the parity of each.

    A runtime that is not installed, or not for this device, is one row with the reason.

    Args:
        network: Trained.
        data: Test images are timed; training images calibrate eight bits.
        conditions: The device, threads and time for each; runtimes, precisions and batch sizes vary.
        batch_sizes: Images of a call, a race each.
        engines: A folder that keeps TensorRT engines for the next time.
        on_race: Called with each new race.

    Returns:
        One race for each batch size.

    Raises:
        InputError: A batch size below 1.
    """
    if min(batch_sizes, default=0) < 1:
        raise InputError(f"batches have at least one image; got {list(batch_sizes)}")
    channels, height, width = data.test.pixels.shape[1:]
    image = (channels, height, width)
    model = onnx_bytes(network, torch.zeros(2, *image))
    device = conditions.device
    macs, rates, races = count(network, image).macs, [macs_per_ms(device)], []
    preparation = Preparation(onnx_model=model, calibration=data.train, engines=engines)
    for batch_size in batch_sizes:
        rows = benchmark(
            network,
            data.test,
            replace(conditions, batch_size=batch_size),
            runtimes=_for(torch.device(device).type),
            precisions=None,
            preparation=preparation,
        )
        rates.append(macs_per_ms(device))  # what disturbs the machine makes it slower only: the best moment counts
        floor_ms = batch_size * macs / max(rates)
        races.append(Race(network.space.name, str(network.architecture), batch_size, rows, floor_ms))
        if on_race is not None:
            on_race(races[-1])
    return tuple(races)


def to_text(races: Sequence[Race]) -> str:
    """Describe races: the rows, the floor, and the fastest runtime of each precision.

    Args:
        races: The races.

    Returns:
        Lines of text.
    """
    lines = []
    for one in races:
        lines += [f"{one.space} {one.architecture}, batch {one.batch_size}", *(f"  {row}" for row in one.rows)]
        eager = one.row("torch", "fp32")
        if one.floor_ms is not None and eager is not None and eager.measurement is not None:
            times = eager.measurement.measured_ms / one.floor_ms
            lines.append(
                f"  its arithmetic at the rate of a large convolution in fp32: {one.floor_ms:.2g} ms, {times:.1f}x"
            )
        for precision in ("fp32", "int8"):
            best, layout = one.fastest(precision), one.row("torch-channels-last", "fp32")
            if best is None or best.speedup is None:
                continue
            compared = f"{speedup_text(best.speedup)} than eager"
            if layout is not None and layout.speedup is not None:
                compared += f", {speedup_text(best.speedup / layout.speedup)} than channels last"
            lines.append(f"  {precision}: {best.label} is {compared}")
    return "\n".join(lines)


def to_json(races: Sequence[Race]) -> list[dict[str, Any]]:
    """Return one JSON object for each row of each race, so that a file of them has a line a row.

    Args:
        races: The races.

    Returns:
        JSON objects.
    """
    names = ("space", "architecture", "batch_size", "floor_ms")
    return [{**{name: getattr(one, name) for name in names}, **row.to_json()} for one in races for row in one.rows]


@dataclass(frozen=True)
class DeployBench(Bench[Race]):
    """A network in all that can run it here, in every precision. A subclass says which network."""

    kind, schema, row = KIND, SCHEMA, Race
    device: str = option("cpu", "cpu or cuda")
    batch_sizes: tuple[int, ...] = option(BATCH_SIZES, "images of a call")
    threads: int = option(2, "cores that a network may use")
    seconds: float = option(0.5, "for each thing timed")

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"a network runs on at least one thread; got {self.threads}")

    @abstractmethod
    def network(self) -> tuple[Network, ImageSet]:
        """Return the trained network and its images."""

    def device_used(self) -> str:
        return self.device

    def run(self, done: Sequence[Race], on_row: Callable[[Race], None]) -> Sequence[Race]:
        network, images = self.network()
        with threads(self.threads):
            conditions = TimingConditions(device=self.device, seconds=self.seconds)
            return race(network, images, conditions, batch_sizes=self.batch_sizes, on_race=on_row)

    def verdicts(self, rows: Sequence[Race]) -> Verdicts:
        same = all(row.computes_the_same for one in rows for row in one.rows if row.available)
        return (("every runtime computes the same", same),)

    def to_json(self, rows: Sequence[Race]) -> dict[str, Any]:
        return {"rows": to_json(rows)}

    def line(self, row: Race) -> str:
        return to_text([row])

    def text(self, rows: Sequence[Race]) -> str:
        return to_text(rows)


@dataclass(frozen=True)
class _Place:
    """What the rows of one race share on the disk."""

    space: str
    architecture: str
    batch_size: int
    floor_ms: float | None


def load(source: str | Path = "mobile-tiny") -> tuple[tuple[Race, ...], dict[str, Any]]:
    """The races of a bench that was saved, and its provenance: a file, or the name of a shipped one.

    Args:
        source: Of several devices the first by name; "gpu-nvidia-h200/mobile-tiny" names the device too.

    Raises:
        InputError: There is no such file, or it is damaged.
    """
    path = Path(source)
    if not path.exists() and path.suffix != ".json":
        shipped = {f"{file.parent.name}/{file.stem}": file for file in (storage.DATA / "deploy").glob("*/*.json")}
        path = shipped.get(storage.find_for_device(sorted(shipped), path.as_posix()) or "", path)
    value = storage.read_json(path, KIND, SCHEMA)
    says = f"{path} is a damaged {KIND}"
    saved = storage.as_record(value, Saved[dict[str, Any]], says)
    places = storage.as_record(value, _Places, says).rows
    with damaged(path, "make it again"):
        rows = [RuntimeRow.from_json(row) for row in saved.rows]
    races = (
        Race(one.space, one.architecture, one.batch_size, tuple(row for _, row in of), one.floor_ms)
        for one, of in groupby(zip(places, rows), key=itemgetter(0))
    )
    return tuple(races), saved.made


@dataclass(frozen=True)
class _Places:
    rows: tuple[_Place, ...]


def _for(device: str) -> tuple[str, ...]:
    """Runtimes for this kind of device, and those that say why they are not here."""
    return tuple(entry.name for entry in runtimes() if device in entry.devices or entry.deploys)
