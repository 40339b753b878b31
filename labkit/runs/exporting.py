"""From a run to a deployed network: train the choice, write ONNX and engines, check, time, and close the loop."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit import plots
from labkit.data import ImageSet
from labkit.deploy import closed_loop
from labkit.deploy.compiling import first_usable, model_for
from labkit.deploy.export import BASELINE, LAYOUT, RuntimeRow, benchmark, to_onnx
from labkit.deploy.precisions import PRECISIONS
from labkit.latency.conditions import TimingConditions
from labkit.networks.supernet import Network
from labkit.networks.training import TrainConfig
from labkit.runs.run import CLOSED_LOOP, CLOSED_LOOP_PICTURE, ENGINES, EXPORT, ONNX, Run, train_chosen
from labkit.runtimes import tensorrt_engines
from labkit.runtimes.base import Preparation
from labkit.runtimes.registry import loaded, runtime
from labkit.system import storage
from labkit.system.errors import InputError, unknown

KIND, SCHEMA = "export", 1
LOOP_KIND, LOOP_SCHEMA = "closed loop", 1
AUTO = "auto"  # the runtime that is usually the best on the device


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What an export trains, writes and times."""

    runtimes: tuple[str, ...] = ("torch", "torch-channels-last", "onnxruntime", "tensorrt")
    precisions: tuple[str, ...] = ("fp32",)  # each runtime in each
    batch_size: int | None = None  # images at a time; None: 1, and the table's in the closed loop
    training: TrainConfig | None = None  # of the chosen network; None: six epochs from the seed of the search
    device: str = "cpu"  # or "cuda": where it is trained and timed
    engine: str | None = None  # build engines too: "tensorrt" or "tensorrt-rtx"
    validate_in: str | None = None  # the runtime in which the loop is closed; "auto" for the usual best
    architectures: int = 20  # timed when the loop is closed

    def __post_init__(self) -> None:
        if not self.runtimes or not self.precisions:
            raise InputError("at least one runtime and one precision, such as --runtimes torch --precisions fp32")
        for name in self.runtimes:
            runtime(name)
        for precision in self.precisions:
            if precision not in PRECISIONS:
                raise unknown("precisions are", precision, PRECISIONS)
        if self.engine is not None:
            tensorrt_engines.buildable(self.engine)
        if self.validate_in is not None:
            loaded(self.deployed_in, device=self.device)
        if self.batch_size is not None and self.batch_size < 1:
            raise InputError(f"batches have at least one image; got {self.batch_size}")
        if self.architectures < 3:
            raise InputError(f"a rank agreement needs at least 3 architectures; got {self.architectures}")

    @property
    def deployed_in(self) -> str:
        """The runtime in which the loop is closed."""
        return first_usable("float32", self.device) if self.validate_in in (None, AUTO) else str(self.validate_in)


@dataclass(frozen=True)
class BuiltEngine:
    """A TensorRT engine of the chosen network, kept in the run's folder."""

    precision: str
    flavour: str
    version: str
    bytes: int
    layers: int
    seconds: float  # that it took to build

    def __str__(self) -> str:
        return (
            f"engine {self.precision}: {self.bytes / 1024:.0f} KiB by {self.flavour} {self.version}, from "
            f"{self.layers} layers in {self.seconds:.1f} s, kept in {ENGINES}"
        )


@dataclass(frozen=True)
class Exported:
    """The result of an export."""

    run: Run
    network: Network
    data: str  # digest of the images
    tested: int  # test images
    test_accuracy: float  # trained from scratch, a fraction
    onnx: Path
    rows: tuple[RuntimeRow, ...]
    engines: tuple[BuiltEngine, ...] = ()
    loop: closed_loop.ClosedLoop | None = None
    also: tuple[str, ...] = field(default=())  # what was left out, in words

    @property
    def passed(self) -> bool:
        """Whether every runtime that is here computes what eager PyTorch computes."""
        return all(row.computes_the_same for row in self.rows if row.available)

    def to_json(self) -> dict[str, Any]:
        """The content of `export.json`.

        Returns:
            A JSON object.
        """
        return {
            "schema": SCHEMA,
            "architecture": list(self.run.result.architecture.ops),
            "data": self.data,
            "test_accuracy": self.test_accuracy,
            "onnx": str(self.onnx),
            "runtimes": [row.to_json() for row in self.rows],
            "passed": self.passed,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.run.result.architecture}",
            f"test accuracy {100 * self.test_accuracy:.2f} % over {self.tested} images, trained from scratch",
            f"{self.onnx}",
            *map(str, self.engines),
            *map(str, self.rows),
            *self.also,
        ]
        return "\n".join(lines)


def export(
    run: Run,
    request: ExportRequest = ExportRequest(),
    *,
    data: ImageSet | None = None,
    download: bool = False,
    progress: bool = False,
) -> Exported:
    """Train the chosen network, write `network.onnx` and `export.json`, and time it in each runtime.

    Args:
        run: a saved search. An earlier training with the same recipe is read back.
        request: what to write and to time.
        data: the images of the search, where no registered function makes them again.
        download: let torchvision fetch the images.
        progress: show a progress bar while it trains.

    Returns:
        The network, its accuracy and its timings.

    Raises:
        InputError: the images are not those of the search, or something cannot be exported or loaded.
    """
    data = _images(run, data, download)
    training = request.training or TrainConfig(epochs=6, seed=run.result.config.seed)
    network, accuracy = train_chosen(run, data, training, device=request.device, progress=progress)
    path = to_onnx(network, run.folder / ONNX)
    eager = (BASELINE, LAYOUT)
    compared = eager if set(request.runtimes) - set(eager) else ()  # so that no layout is mistaken for magic
    rows = benchmark(
        network,
        data.test,
        TimingConditions(device=request.device, batch_size=request.batch_size or 1, seconds=0.5),
        runtimes=request.runtimes,
        precisions=request.precisions,
        baselines=compared,
        preparation=Preparation(onnx_model=path.read_bytes(), calibration=data.train),
    )
    untimed = ("compiled eager, torch-compile: not timed",) if "torch-compile" not in request.runtimes else ()
    asked = lambda row: row.name in request.runtimes and row.precision in request.precisions
    exported = Exported(
        run,
        network,
        data.digest,
        len(data.test),
        accuracy,
        path,
        tuple(row for row in rows if row.label in compared or asked(row)),
        _engines(run, request, network, data),
        also=untimed if compared else (),
    )
    storage.write_json(run.folder / EXPORT, {"kind": KIND, **exported.to_json()})
    return exported


def close_the_loop(
    run: Run, request: ExportRequest, *, data: ImageSet | None = None, download: bool = False
) -> closed_loop.ClosedLoop:
    """Time architectures along the frontier in the deployed runtime, and compare with the predictions of the table.

    It writes `closed_loop.json` and `closed_loop.png` into the run's folder.

    Args:
        run: a saved search.
        request: its `validate_in`, `batch_size`, `device` and `architectures` are used.
        data: the images of the search, where no registered function makes them again.
        download: let torchvision fetch the images.

    Returns:
        The comparison.

    Raises:
        InputError: the images are not those of the search, or the runtime cannot be used here.
    """
    data, result = _images(run, data, download), run.result
    points = closed_loop.along_the_frontier(
        result.supernet, data, run.table, result.config, result.architecture, request.architectures
    )
    batch_size = request.batch_size or run.table.card.batch_size
    conditions = TimingConditions(runtime=request.deployed_in, device=request.device, batch_size=batch_size)
    loop = closed_loop.validate(run.space, points, run.table, conditions, chosen=result.architecture)
    storage.write_json(run.folder / CLOSED_LOOP, {"kind": LOOP_KIND, "schema": LOOP_SCHEMA, **loop.to_json()})
    drawn = plots.picture(plots.closed_loop(loop), closed_loop.to_text(loop))
    storage.write_atomically(run.folder / CLOSED_LOOP_PICTURE, lambda file: file.write_bytes(drawn.png))
    return loop


def _engines(run: Run, request: ExportRequest, network: Network, data: ImageSet) -> tuple[BuiltEngine, ...]:
    """An engine for each precision, kept in the run's folder; none where none was asked for."""
    if request.engine is None:
        return ()
    batch = request.batch_size or 1
    settings = tensorrt_engines.Settings(tensorrt_engines.Profile(1, batch, max(64, batch)))
    built = []
    for precision in request.precisions:
        model = model_for(network, request.engine, precision, data.train)
        engine = tensorrt_engines.cached(model, settings, run.folder / ENGINES, flavour=request.engine)
        seconds = round(engine.seconds, 2)
        size = len(engine.plan)
        built.append(BuiltEngine(precision, engine.flavour, engine.version, size, engine.layers, seconds))
    return tuple(built)


def _images(run: Run, data: ImageSet | None, download: bool) -> ImageSet:
    if data is None:
        return run.image_set(download=download)
    run.check_images(data)
    return data
