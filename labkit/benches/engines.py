"""What TensorRT builds of a searched network in each precision, how long that takes, and what it refuses.

TensorRT-RTX builds on any machine, also where no engine can run. This is no statement about speed: milliseconds, and
the layers after fusion, need the GPU.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from labkit.benches import record
from labkit.benches.record import Bench, Verdicts, option
from labkit.data import Images, glyphs, standardise
from labkit.networks.supernet import Network, derive
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.quantisation import CALIBRATION, RECIPES, quantised
from labkit.runtimes.tensorrt_engines import Settings, build, module
from labkit.spaces import five_layer, mobile
from labkit.system.errors import InputError

KIND, SCHEMA = "engine bench", 1
MODELS = ("fp32", "fp16", *RECIPES)


@dataclass(frozen=True)
class Build:
    """The result of building one model. A refused one has a reason and nothing else.

    Attributes:
        space, architecture: The network.
        model: One of `MODELS`.
        flavour, version: Of TensorRT.
        onnx_bytes: Size of what went in.
        plan_bytes: Size of the engine.
        layers: Of the network, before fusion.
        seconds: Of the build.
        refused: The reason; None where an engine was built.
    """

    space: str
    architecture: str
    model: str
    flavour: str
    version: str | None = None
    onnx_bytes: int | None = None
    plan_bytes: int | None = None
    layers: int | None = None
    seconds: float | None = None
    refused: str | None = None

    def __str__(self) -> str:
        name = f"{self.space:12} {self.model:5}"
        if self.plan_bytes is None or self.onnx_bytes is None:
            return f"{name} refused: {self.refused}"
        return (
            f"{name} {self.plan_bytes / 1024:6.0f} KiB from {self.onnx_bytes / 1024:5.0f} KiB of ONNX, "
            f"{self.layers:3} layers, built in {self.seconds:.1f} s ({self.flavour} {self.version})"
        )


def builds(
    network: Network, images: Images, *, models: Sequence[str] = MODELS, flavour: str = "tensorrt-rtx"
) -> tuple[Build, ...]:
    """Build one network in several precisions.

    Args:
        network: The network.
        images: They calibrate the models of eight bits.
        models: Of `MODELS`.
        flavour: "tensorrt-rtx" or "tensorrt".

    Returns:
        One build for each model.

    Raises:
        InputError: A model that is not known.
    """
    unknown = [model for model in models if model not in MODELS]
    if unknown:
        raise InputError(f"models are {', '.join(MODELS)}; got {unknown[0]!r}")
    ranges = standardise(images.pixels[:CALIBRATION])
    full = onnx_bytes(network, ranges[:2])
    rows = []
    for name in models:
        if name in RECIPES:
            model = quantised(full, ranges, name)
        else:
            model = full if name == "fp32" else onnx_bytes(network, ranges[:2], dtype="float16")
        about = (network.space.name, str(network.architecture), name, flavour)
        try:
            engine = build(model, Settings(), flavour=flavour)
        except InputError as problem:
            rows.append(Build(*about, onnx_bytes=len(model), refused=str(problem)))
            continue
        seconds = round(engine.seconds, 2)
        rows.append(Build(*about, engine.version, len(model), len(engine.plan), engine.layers, seconds))
    return tuple(rows)


def as_expected(rows: Iterable[Build]) -> bool:
    """Return whether everything is built except the model that is quantised for ONNX Runtime.

    Args:
        rows: The builds.

    Returns:
        True also requires that the refusal names the remedy.
    """
    return all("s8s8" in (row.refused or "") if row.model == "u8s8" else row.refused is None for row in rows)


@dataclass(frozen=True)
class EngineBench(Bench[Build]):
    """What TensorRT builds in each precision, and what it refuses."""

    kind, schema, row = KIND, SCHEMA, Build
    flavour: str = option("tensorrt-rtx", "tensorrt-rtx, which needs no GPU for it, or tensorrt")

    def __post_init__(self) -> None:
        module(self.flavour)

    def networks(self) -> Sequence[tuple[Network, Images]]:
        """Return the networks with the images that calibrate them: a random network a space."""
        images, draw = glyphs(1_000, 100, 100), torch.Generator().manual_seed(0)
        made = (five_layer(), mobile("tiny"))
        return [(derive(space, space.sample(1, draw)[0]), images.train) for space in made]

    def run(self, done: Sequence[Build], on_row: Callable[[Build], None]) -> Sequence[Build]:
        rows = []
        for network, images in self.networks():
            for row in builds(network, images, flavour=self.flavour):
                rows.append(row)
                on_row(row)
        return rows

    def verdicts(self, rows: Sequence[Build]) -> Verdicts:
        return (("everything is built but the model that is quantised for ONNX Runtime", as_expected(rows)),)

    def text(self, rows: Sequence[Build]) -> str:
        return "\n".join(map(str, rows))


def to_json(rows: Iterable[Build]) -> list[dict[str, Any]]:
    """Return the builds as JSON has them.

    Args:
        rows: The builds.

    Returns:
        JSON objects.
    """
    return [asdict(row) for row in rows]


def load(source: str | Path = "engines") -> tuple[tuple[Build, ...], dict[str, Any]]:
    """Read the builds of a saved bench, and its provenance.

    Args:
        source: A file, or the name of a shipped result.

    Returns:
        The builds and the provenance.
    """
    saved = record.load(EngineBench, source)
    return saved.rows, saved.made
