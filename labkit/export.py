"""Leave PyTorch: an ONNX file, proof that it computes the same, and what it costs in each runtime."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labkit import storage
from labkit.cards import Measurement
from labkit.data import Images, standardise
from labkit.errors import InputError
from labkit.latency import card_of, rotating
from labkit.networks import Network
from labkit.onnx_models import onnx_bytes
from labkit.runtimes import Run, prepare, runtime
from labkit.stopwatch import time_interleaved

BASELINE = "torch"
TOLERANCE = 1e-4  # relative, float32
PARITY_BATCHES = (1, 2, 5)


@dataclass(frozen=True)
class RuntimeRow:
    """One runtime's line in a benchmark. Without a measurement, `reason` says why and how to get one."""

    name: str
    available: bool
    reason: str | None = None
    parity_error: float | None = None  # largest difference from eager float32, over the largest logit
    measurement: Measurement | None = None
    speedup: float | None = None  # over eager; below 1 is a slow-down

    def to_json(self) -> dict[str, Any]:
        measured = self.measurement.to_json() if self.measurement else {}
        return {
            "name": self.name,
            "available": self.available,
            "reason": self.reason,
            "parity_error": self.parity_error if self.parity_error != math.inf else None,  # JSON has no infinity
            "best_ms": measured.get("best_ms"),
            "median_ms": measured.get("median_ms"),
            "spread_ms": measured.get("spread_ms"),
            "n": measured.get("n"),
            "speedup": self.speedup,
            "card": measured.get("card"),
        }

    def __str__(self) -> str:
        if self.measurement is None:
            return f"{self.name:20} {self.reason}"
        timing = self.measurement.timing
        change = "baseline" if self.name == BASELINE else speedup_text(self.speedup)
        return (
            f"{self.name:20} best {timing.text('best')}, median {timing.text('median')} "
            f"(spread {timing.spread_ms:.1g} ms), {change}, parity {self.parity_error:.0e}"
        )


def speedup_text(speedup: float) -> str:
    """`1.8x faster`, or `1.3x slower`: a slow-down is never printed as a speed-up."""
    return f"{speedup:.1f}x faster" if speedup >= 1 else f"{1 / speedup:.1f}x slower"


def to_onnx(network: Network, path: str | Path, *, exporter: str = "dynamo") -> Path:
    """Write `network` in eval mode as one checked ONNX file: weights inside, dynamic batch, no paths of this machine.

    Input `images` (B, C, H, W) float32 as `data.standardise` makes them; output `logits` (B, classes).
    """
    import onnx

    content = onnx_bytes(network, torch.zeros(2, *network.space.image), exporter=exporter)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    return storage.write_atomically(path, lambda file: file.write_bytes(content))


@torch.no_grad()
def parity(network: Network, run: Run, images: Images) -> float:
    """Largest difference of `run`'s logits from eager float32 over the largest logit, on images at batch 1, 2 and 5.

    NaN or infinite logits give infinity.
    """
    network.eval()
    worst = 0.0
    for size in PARITY_BATCHES:
        x = standardise(images.pixels[:size])
        expected = network(x)
        difference = ((run(x) - expected).abs().max() / expected.abs().max()).item()
        worst = max(worst, difference if math.isfinite(difference) else math.inf)
    return worst


def benchmark(
    network: Network,
    images: Images,
    *,
    runtimes: Sequence[str] = ("torch", "torch-channels-last", "onnxruntime", "tensorrt"),
    batch_size: int = 1,
    seconds: float = 0.5,
    onnx_model: bytes | None = None,
) -> tuple[RuntimeRow, ...]:
    """Every runtime in turn with the others on the same real images, so that all meet the same disturbances.

    The baseline, eager PyTorch in NCHW, is always timed and is the first row. A runtime that is not available here is
    a row with the reason.
    """
    if batch_size < 1 or batch_size > len(images):
        raise InputError(f"a batch of 1 to {len(images)} images (all there are) can be timed; got {batch_size}")
    names = list(dict.fromkeys((BASELINE, *runtimes)))
    known = {name: runtime(name) for name in names}
    runs: dict[str, Run] = {}
    batches = _batches(images, batch_size)
    for name in names:
        if known[name].available:
            runs[name] = prepare(network, name, batches[0], onnx_model=onnx_model)
    timings = time_interleaved([rotating(run, batches) for run in runs.values()], seconds=seconds)
    measured = {
        name: Measurement(timing, card_of(name, batch_size, network.space.image)) for name, timing in zip(runs, timings)
    }
    rows = []
    for name in names:
        if name not in runs:
            rows.append(RuntimeRow(name, False, known[name].reason))
            continue
        speedup = measured[name].speedup_over(measured[BASELINE])
        difference = parity(network, runs[name], images)
        reason = "its logits are not finite" if difference == math.inf else None
        rows.append(RuntimeRow(name, True, reason, difference, measured[name], speedup))
    return tuple(rows)


def _batches(images: Images, size: int, n: int = 4) -> Tensor:
    """(n, size, C, H, W) standardised images, taken round and round."""
    index = torch.arange(n * size) % len(images)
    return standardise(images.pixels[index]).reshape(n, size, *images.pixels.shape[1:])
