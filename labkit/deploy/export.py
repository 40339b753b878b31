"""Export a network to ONNX, check that each runtime computes the same, and time it there."""

import copy
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from labkit.data import Images, standardise
from labkit.deploy.precisions import EIGHT_BIT, PRECISIONS, TOLERANCES
from labkit.latency.cards import Card, Measurement, Timing
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import card_of, rotating
from labkit.latency.stopwatch import time_interleaved
from labkit.networks.supernet import Network
from labkit.runtimes.base import Preparation, Run, Runtime
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.registry import prepare, usable
from labkit.runtimes.registry import runtime as runtime_called
from labkit.system import processes, storage
from labkit.system.device import ieee_float32
from labkit.system.errors import InputError

BASELINE, LAYOUT = "torch", "torch-channels-last"
PARITY_IMAGES, PARITY_BATCHES = 10, (1, 2, 5)
ACCURACY_IMAGES, ACCURACY_DROP = 1_000, 0.01  # images that accuracy is counted on, and the largest drop allowed
_TRIED: WeakKeyDictionary[Network, dict] = WeakKeyDictionary()  # (compiler, precision) -> reason against it, or None


@dataclass(frozen=True)
class RuntimeRow:
    """A runtime in one precision in a benchmark.

    Attributes:
        name: of the runtime.
        available: whether it was timed.
        reason: why there is no measurement and how to get one, or what is wrong with the logits; None otherwise.
        parity_error: largest difference of the logits from eager float32, over the largest logit.
        measurement: of whole batches.
        speedup: over eager float32; below 1 the runtime is slower.
        precision: fp32, fp16, bf16, int8 or fp8.
        accuracy_drop: fraction of test images lost against eager float32; None where it was not counted.
    """

    name: str
    available: bool
    reason: str | None = None
    parity_error: float | None = None
    measurement: Measurement | None = None
    speedup: float | None = None
    precision: str = "fp32"
    accuracy_drop: float | None = None

    @property
    def label(self) -> str:
        """The runtime, and the precision where that is not float32."""
        return self.name if self.precision == "fp32" else f"{self.name} {self.precision}"

    @property
    def computes_the_same(self) -> bool:
        """Whether the parity error is within the tolerance of the precision, and accuracy drops by at most a point."""
        near = self.parity_error is not None and self.parity_error <= TOLERANCES[self.precision]
        return near and (self.accuracy_drop is None or self.accuracy_drop <= ACCURACY_DROP)

    def to_json(self) -> dict[str, Any]:
        """The row as a value for JSON, which `from_json` reads; an infinite parity error becomes None."""
        unmeasured = dict.fromkeys(("best_ms", "median_ms", "spread_ms", "n", "card"))
        return {
            "name": self.name,
            "precision": self.precision,
            "available": self.available,
            "reason": self.reason,
            "parity_error": self.parity_error if self.parity_error != math.inf else None,  # JSON has no infinity
            "accuracy_drop": self.accuracy_drop,
            "speedup": self.speedup,
            **(self.measurement.to_json() if self.measurement else unmeasured),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RuntimeRow":
        """Read a row; its measurement is recorded, no longer made here and now.

        Args:
            value: a value that `to_json` gave.

        Returns:
            The row.

        Raises:
            KeyError: a field is missing.
            InputError: the card or the timing is damaged.
        """
        measured = None
        if value["card"] is not None:
            measured = Measurement(Timing.from_json(value), Card.from_json(value["card"]).recorded())
        plain = ("name", "available", "reason", "parity_error", "speedup", "precision", "accuracy_drop")
        return cls(measurement=measured, **{name: value[name] for name in plain})

    def __str__(self) -> str:
        if self.measurement is None:
            return f"{self.label:25} {self.reason}"
        timing = self.measurement.timing
        change = "baseline" if self.label == BASELINE or self.speedup is None else speedup_text(self.speedup)
        lost = "" if self.accuracy_drop is None else f", accuracy {-100 * self.accuracy_drop:+.1f} points"
        return (
            f"{self.label:25} best {timing.text('best')}, median {timing.text('median')} "
            f"(spread {timing.spread_ms:.1g} ms), {change}, parity {self.parity_error:.0e}{lost}"
        )


def speedup_text(speedup: float) -> str:
    """Write a speed-up in words, such as "1.8x faster" or "1.3x slower".

    Args:
        speedup: how many times faster, above 0.

    Returns:
        The text; a slow-down is never printed as a speed-up.
    """
    return f"{speedup:.1f}x faster" if speedup >= 1 else f"{1 / speedup:.1f}x slower"


def to_onnx(network: Network, path: str | Path, *, exporter: str = "dynamo") -> Path:
    """Write a network in eval mode as one checked ONNX file.

    The file holds the weights, takes batches of any size, and names no path of this machine. Its input is `images`
    (B, C, H, W) in float32 as `data.standardise` makes them, its output is `logits` (B, classes).

    Args:
        network: the network, in any mode.
        path: of the file.
        exporter: "dynamo" or "torchscript"; see `runtimes.onnx_export.onnx_bytes`.

    Returns:
        The path.

    Raises:
        InputError: the network cannot be exported.
    """
    import onnx

    content = onnx_bytes(network, torch.zeros(2, *network.space.image), exporter=exporter)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    return storage.write_atomically(path, lambda file: file.write_bytes(content))


@torch.no_grad()
def parity(network: Network, run: Run, images: Images) -> float:
    """Compare the logits of a prepared network with those of eager float32.

    Args:
        network: the network.
        run: the same network prepared for a runtime, a function of images on the CPU.
        images: real images, of which the first ten are used, in batches of 1, 2 and 5.

    Returns:
        The largest difference over the largest logit; infinity for logits that are not finite.
    """
    x, worst = standardise(images.pixels[:PARITY_IMAGES]), 0.0
    expected = prepare(network, BASELINE, x)(x)
    for size in PARITY_BATCHES:
        found = torch.cat([run(batch) for batch in x.split(size)])
        difference = ((found - expected).abs().max() / expected.abs().max()).item()
        worst = max(worst, difference if math.isfinite(difference) else math.inf)
    return worst


@torch.no_grad()
def accuracy_drop(network: Network, run: Run, images: Images) -> float:
    """Compare the accuracy of a prepared network with that of eager float32 on the same images.

    Only images that exactly one of them classifies correctly add to the uncertainty.

    Args:
        network: the network.
        run: the same network prepared for a runtime, a function of images on the CPU.
        images: labelled images.

    Returns:
        The accuracy of eager float32 minus that of `run`, as fractions; below 0 `run` is more accurate.
    """
    network, lost = copy.deepcopy(network).eval(), 0
    for x, y in images.batches(64):  # which every engine takes
        lost += ((network(x).argmax(-1) == y).sum() - (run(x).argmax(-1) == y).sum()).item()
    return lost / len(images)


@ieee_float32()
def benchmark(
    network: Network,
    images: Images,
    conditions: TimingConditions = TimingConditions(seconds=0.5),
    *,
    runtimes: Sequence[str | Runtime] = ("torch", "torch-channels-last", "onnxruntime", "tensorrt"),
    precisions: Sequence[str] | None = ("fp32",),
    baselines: Sequence[str] = (),
    preparation: Preparation = Preparation(),
) -> tuple[RuntimeRow, ...]:
    """Time a network in every runtime and precision, in turn on the same real images, and check what it computes.

    The baseline, eager PyTorch in NCHW and float32, is always timed and is the first row. A runtime that is not
    available here, not in that precision or not for this network gives a row with the reason. For eight bits the
    accuracy drop is counted on the first `ACCURACY_IMAGES` images.

    Args:
        network: the network, in any mode.
        images: test images; at least as many as a batch has.
        conditions: under what, and for how long each. The runtime and the dtype are those of each row.
        runtimes: names of runtimes, or runtimes.
        precisions: of each runtime, such as "fp32" and "int8"; None for all that the runtime takes.
        baselines: runtimes that are timed in float32 whatever the precisions, such as "torch-channels-last": they show
            what a compiled runtime gains by the layout alone.
        preparation: the ONNX model, calibration images other than `images`, and folder of engines, if there are any.

    Returns:
        The baseline, then a row for each pair of runtime and precision.

    Raises:
        InputError: a runtime or a precision is unknown, or there are too few images.
    """
    device, batch_size = torch.device(conditions.device), conditions.batch_size
    if batch_size > len(images):
        raise InputError(f"a batch of 1 to {len(images)} images (all there are) can be timed; got {batch_size}")
    wanted = _wanted(runtimes, precisions, baselines)
    batches = _batches(images, batch_size).to(device)
    with conditions.threads_set():
        runs, reasons = _prepared(network, wanted, batches[0], preparation, images)
        calls = [rotating(run, batches) for run in runs.values()]
        timings = time_interleaved(calls, device=device, seconds=conditions.seconds, rounds=conditions.rounds)
        measured = {key: _measured(timing, key, conditions, images) for key, timing in zip(runs, timings)}
        eager = measured[BASELINE, "fp32"]
        rows = []
        for name, precision in wanted:
            if (run := runs.get((name, precision))) is None:
                rows.append(RuntimeRow(name, False, reasons[name, precision], precision=precision))
                continue
            measurement = measured[name, precision]
            row = RuntimeRow(name, True, None, None, measurement, measurement.speedup_over(eager), precision)
            rows.append(_checked(row, network, _on_host(run, device), images))
    return tuple(rows)


def _wanted(
    runtimes: Sequence[str | Runtime], precisions: Sequence[str] | None, baselines: Sequence[str]
) -> list[tuple[str, str]]:
    """Pairs of runtime and precision, each once, the baselines first."""
    for precision in precisions or ():
        if precision not in PRECISIONS:
            raise InputError(f"precisions are {', '.join(PRECISIONS)}; got {precision!r}")
    names = [runtime_called(entry).name for entry in runtimes]
    pairs = [(name, p) for name in names for p in (_precisions(name) if precisions is None else precisions)]
    return list(dict.fromkeys([*((name, "fp32") for name in (BASELINE, *baselines)), *pairs]))


def _prepared(
    network: Network, wanted: Sequence[tuple[str, str]], example: Tensor, preparation: Preparation, images: Images
) -> tuple[dict[tuple[str, str], Run], dict[tuple[str, str], str]]:
    """The network in each runtime and precision that takes it, and the reason for each that does not."""
    runs: dict[tuple[str, str], Run] = {}
    reasons: dict[tuple[str, str], str] = {}
    tried = standardise(images.pixels[: max(PARITY_BATCHES)])
    lost = _lost_on_gpu(network, wanted, tried) if example.device.type == "cuda" else {}
    for name, precision in wanted:
        how = replace(preparation, dtype=PRECISIONS[precision])
        try:
            usable(name, how.dtype, example.device)
        except InputError as problem:
            entry, kind = runtime_called(name), example.device.type
            elsewhere = f"runs on {' or '.join(entry.devices)}, not on {kind}" if kind not in entry.devices else None
            reasons[name, precision] = entry.reason or elsewhere or str(problem)
            continue
        if reason := lost.get((name, precision)):
            reasons[name, precision] = reason
            continue
        try:
            runs[name, precision] = prepare(network, name, example, how)
        except InputError as problem:  # the others are timed all the same
            reasons[name, precision] = str(problem)
    return runs, reasons


def _measured(timing: Timing, key: tuple[str, str], conditions: TimingConditions, images: Images) -> Measurement:
    """The timing with its card."""
    # The shape is that of the images: a network that pools takes other sizes than those of its space.
    channels, height, width = images.pixels.shape[1:]
    own = replace(conditions, runtime=key[0], dtype=PRECISIONS[key[1]], transfers=False)
    return Measurement(timing, card_of(own, (channels, height, width)))


def _checked(row: RuntimeRow, network: Network, run: Run, images: Images) -> RuntimeRow:
    """The row with its parity, and with its accuracy drop where it has eight bits."""
    difference = parity(network, run, images)
    reason = "its logits are not finite" if difference == math.inf else None
    drop = accuracy_drop(network, run, images[:ACCURACY_IMAGES]) if row.precision in EIGHT_BIT else None
    return replace(row, reason=reason, parity_error=difference, accuracy_drop=drop)


def _on_host(run: Run, device: torch.device) -> Run:
    return lambda images: run(images.to(device)).cpu()


def _lost_on_gpu(
    network: Network, wanted: Iterable[tuple[str, str]], images: Tensor
) -> dict[tuple[str, str], str | None]:
    """`_lost` of each compiler in each precision of `wanted`, tried side by side, and once for a network."""
    tried = _TRIED.setdefault(network, {})
    risky = lambda name: runtime_called(name).needs_trial and runtime_called(name).available
    new = [(name, precision) for name, precision in wanted if risky(name) and (name, precision) not in tried]
    with ThreadPoolExecutor(max(1, len(new))) as threads:
        tried |= zip(new, threads.map(lambda pair: _lost(network, pair[0], pair[1], images), new))
    return tried


def _lost(network: Network, name: str, precision: str, images: Tensor) -> str | None:
    """Why a compiler would end this process, from a trial in another one; None where it would not."""
    try:
        lives = processes.runs_in_subprocess(_trial, network, name, precision, images)
    except Exception as problem:  # whatever a compiler raises is its row's reason, and the others are timed
        return f"compiling it failed: {type(problem).__name__} {str(problem).splitlines()[0][:200]}"
    if lives:
        return None
    # Seen on a machine whose CXX named a compiler that links libstdc++ into each library: two of them in a process,
    # and the loaded one crashed in std::regex.
    remedy = "; name another C++ compiler in CXX" if name == "torch-aot" else ""
    return f"compiling or running it ended a process of its own: the other rows were timed without it{remedy}"


@ieee_float32()
def _trial(network: Network, name: str, precision: str, images: Tensor) -> None:
    """Compile and run at every batch size that parity looks at."""
    images = images.cuda()
    run = prepare(network, name, images, Preparation(PRECISIONS[precision]))
    for size in PARITY_BATCHES:
        run(images[:size])
    torch.cuda.synchronize()


def _precisions(name: str) -> tuple[str, ...]:
    """All precisions that a runtime takes; fp32 alone where it is not available, for a row with the reason."""
    entry = runtime_called(name)
    return tuple(p for p, dtype in PRECISIONS.items() if dtype in entry.dtypes) if entry.available else ("fp32",)


def _batches(images: Images, size: int, n: int = 4) -> Tensor:
    """Standardised images (n, size, C, H, W), repeated where there are too few."""
    index = torch.arange(n * size) % len(images)
    return standardise(images.pixels[index]).reshape(n, size, *images.pixels.shape[1:])
