"""A finished search on disk. Only this module knows the layout of a run's folder.

manifest.json          config, point, data, versions, cost
history.parquet        one row per step
weights.safetensors    architecture logits and the trained supernet
latency_table.json     the table of the search
network.safetensors    the chosen network, once trained from scratch (`train_chosen`)
trained.json           its recipe and test accuracy
baselines.json         what it was compared with (`baselines`)
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import torch
from torch import Tensor

import labkit.data
from labkit import spaces
from labkit.data import ImageSet, Recipe
from labkit.estimators.gradient_estimators import ESTIMATORS
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Network, Supernet, derive
from labkit.networks.training import TrainConfig, error, train
from labkit.oneshot.config import SearchConfig, SelectionConfig
from labkit.oneshot.searching import SearchResult
from labkit.pareto import Point
from labkit.spaces import Architecture, SearchSpace
from labkit.system import storage
from labkit.system.device import today, versions
from labkit.system.errors import InputError, damaged
from labkit.system.registry import describe, recover

# The files of a run's folder. No other module knows their names.
MANIFEST, HISTORY, WEIGHTS, TABLE = "manifest.json", "history.parquet", "weights.safetensors", "latency_table.json"
NETWORK, TRAINED, ONNX, EXPORT = "network.safetensors", "trained.json", "network.onnx", "export.json"
CLOSED_LOOP, CLOSED_LOOP_PICTURE, REPORT = "closed_loop.json", "closed_loop.png", "report.html"
BASELINES = "baselines.json"
ENGINES, CHECKPOINTS, SELECTION_LOG = "engines", "checkpoints", "selection.jsonl"
# Removed when another run is saved there. Checkpoints are not: a search resumes from those.
RUN_FILES = (HISTORY, WEIGHTS, TABLE, NETWORK, TRAINED, ONNX, EXPORT, CLOSED_LOOP, CLOSED_LOOP_PICTURE, BASELINES)
REMEDY = "search again, or bring that file back"


@dataclass(frozen=True)
class ImagesOf:
    """The images of a search, and how to make them again."""

    name: str
    classes: int
    train: int  # images of the part
    valid: int
    test: int
    seed: int
    digest: str
    made_by: Recipe | None


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`."""

    kind: ClassVar[str] = "search run"
    schema: ClassVar[int] = 5
    space: dict[str, Any]  # `spaces.record`
    data: ImagesOf
    parts: list[dict[str, str]]  # the search's own parts, `system.registry.describe`
    config: SearchConfig
    point: Point
    method: str
    extra_inputs: tuple[str, ...]
    device: Literal["cpu", "cuda"]  # of the weights
    first_weights: str
    selection: SelectionConfig | None
    passes: float
    seconds: float
    threads: int  # the same search on another number ends a rounding away
    date: str
    versions: dict[str, str]


class _Space(msgspec.Struct):
    """What every description of a space has, see `spaces.record`."""

    name: str
    classes: int
    digest: str
    parts: list[dict[str, str]] = []
    definition: dict[str, Any] | None = None


class _Parts(msgspec.Struct):
    """What must be found again before the rest of a manifest can be read."""

    space: dict[str, Any]
    parts: list[dict[str, str]]


class _Step(msgspec.Struct):
    """What every row of the history has."""

    step: int
    phase: str
    loss: float
    probs: list[float]


@dataclass(frozen=True)
class Trained:
    """The content of `trained.json`: recipe of the training, and test accuracy."""

    kind: ClassVar[str] = "trained network"
    schema: ClassVar[int] = 1
    architecture: Architecture
    config: TrainConfig
    data: str  # digest of the images
    test_accuracy: float


@dataclass(frozen=True, eq=False)
class Run:
    """A saved search."""

    folder: Path
    space: SearchSpace
    result: SearchResult
    table: LatencyTable
    data: ImagesOf
    versions: dict[str, str]  # what computed it
    date: str
    threads: int
    device: str  # of the weights: "cpu" or "cuda"

    def image_set(self, *, download: bool = False) -> ImageSet:
        """Make the images of the search again.

        Args:
            download: let torchvision fetch them.

        Returns:
            The image set.

        Raises:
            InputError: no registered function made the images, or a pixel differs.
        """
        if self.data.made_by is None:
            raise InputError(
                f"the search was given images that no registered function made ({self.data.name}): pass them as "
                f"data=, or make them by a function under labkit.register_data"
            )
        images = labkit.data.from_recipe(self.data.made_by, download=download)
        self.check_images(images)
        return images

    def check_images(self, images: ImageSet) -> None:
        """Check that images are those of the search.

        Args:
            images: an image set.

        Raises:
            InputError: a pixel differs.
        """
        if images.digest != self.data.digest:
            raise InputError(
                f"the images of {images.name} differ from those of the search ({images.digest}, then "
                f"{self.data.digest}): other files, fonts or versions, or the set was changed after it was made"
            )


def save(
    result: SearchResult,
    folder: str | Path,
    data: ImageSet,
    table: LatencyTable,
) -> Path:
    """Write a run's folder. The manifest comes last: a folder with a manifest is complete, and holds a single run.

    An earlier run in the folder is removed first, with its trained network and its export.

    Args:
        result: of a search.
        folder: of the run; made if it does not exist.
        data: images of the search.
        table: latency table of the search.

    Returns:
        The folder.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = storage.writable_folder(folder)
    for name in (MANIFEST, *RUN_FILES):
        (folder / name).unlink(missing_ok=True)
    space = result.supernet.space
    tensors = {f"supernet.{name}": tensor for name, tensor in result.supernet.state_dict().items()}
    storage.write_tensors(folder / WEIGHTS, {"logits": result.logits, **tensors})
    if result.history:
        storage.write_rows(folder / HISTORY, result.history)
    table.save(folder / TABLE)
    manifest = Manifest(
        space=spaces.record(space),
        data=ImagesOf(**data.card(), made_by=data.made_by),
        parts=describe(ESTIMATORS.own([result.config.estimator])),
        config=result.config,
        point=result.point,
        method=result.method,
        extra_inputs=result.extra_inputs,
        device="cuda" if next(result.supernet.parameters()).is_cuda else "cpu",
        first_weights=result.first_weights,
        selection=result.selection,
        passes=result.passes,
        seconds=result.seconds,
        threads=torch.get_num_threads(),
        date=today(),
        versions=versions(),
    )
    storage.write_record(folder / MANIFEST, manifest)
    return folder


def load(folder: str | Path) -> Run:
    """Read a run.

    Args:
        folder: that `save` wrote.

    Returns:
        The run.

    Raises:
        InputError: a file is missing or damaged, or a module that holds an own part cannot be imported. The message
            names it.
    """
    folder = Path(folder)
    value = storage.read_json(folder / MANIFEST, Manifest.kind, Manifest.schema)
    damaged_manifest = f"{folder / MANIFEST} is damaged"
    found = storage.as_record(value, _Parts, damaged_manifest)  # first, for the config may name an own part
    storage.as_record(found.space, _Space, damaged_manifest)
    try:
        space = spaces.from_record(found.space)
        recover(found.parts)
    except InputError as problem:  # a module that is not here: nothing is damaged
        raise InputError(f"{folder}: {problem}") from None
    with damaged(folder / MANIFEST, REMEDY):
        manifest = storage.as_record(value, Manifest, damaged_manifest)
        if strange := set(value["config"]) - {field.name for field in fields(SearchConfig)}:
            raise InputError(f"this version knows no setting {', '.join(sorted(strange))} of a search")
        space.check(manifest.point.architecture)
    supernet, logits = _weights(folder / WEIGHTS, space)
    history = _history(folder / HISTORY, space)
    with damaged(folder / TABLE, REMEDY):
        table = LatencyTable.load(folder / TABLE)
        table.check(space)
    result = SearchResult(
        manifest.config, manifest.point, logits, history, supernet, manifest.passes, manifest.seconds, (),
        manifest.method, manifest.first_weights, manifest.selection, manifest.extra_inputs,
    )  # fmt: skip
    threads, device = manifest.threads, manifest.device
    return Run(folder, space, result, table, manifest.data, manifest.versions, manifest.date, threads, device)


def _weights(path: Path, space: SearchSpace) -> tuple[Supernet, Tensor]:
    """The trained supernet and the logits (S, K)."""
    tensors, supernet = storage.read_tensors(path), Supernet(space)
    with damaged(path, REMEDY):
        logits = tensors.pop("logits")
        if logits.shape != space.mask.shape or not logits.is_floating_point():
            shape = tuple(space.mask.shape)
            raise InputError(f"logits should be {shape} floats; got {tuple(logits.shape)} of {logits.dtype}")
        if wrong := [name for name, tensor in {"logits": logits, **tensors}.items() if not tensor.isfinite().all()]:
            raise InputError(f"numbers of {wrong[0]} are not finite")
        supernet.load_state_dict({name.removeprefix("supernet."): tensor for name, tensor in tensors.items()})
    return supernet, logits


def _history(path: Path, space: SearchSpace) -> tuple[dict[str, Any], ...]:
    """A record a step; () of a search that kept none."""
    history = tuple(storage.read_rows(path)) if path.exists() else ()
    with damaged(path, REMEDY):
        for row in history:
            step = storage.as_record(row, _Step, f"{path} is damaged")
            if len(step.probs) != space.mask.numel():
                raise InputError(f"step {step.step} should have {space.mask.numel()} probabilities")
    return history


def train_chosen(
    run: Run, data: ImageSet, config: TrainConfig, *, device: str = "cpu", progress: bool = False
) -> tuple[Network, float]:
    """Train the chosen architecture from scratch, or read back an earlier training with the same recipe and images.

    A new training removes the `network.onnx` of the one before.

    Args:
        run: a saved search.
        data: images of the search.
        config: recipe.
        device: where to train, "cpu" or "cuda".
        progress: show a progress bar.

    Returns:
        The network, on the CPU, and its test accuracy as a fraction.
    """
    weights, record = run.folder / NETWORK, run.folder / TRAINED
    network = derive(run.space, run.result.architecture, seed=config.seed)
    if (done := trained(run)) is not None and (done.architecture, done.config, done.data) == (
        run.result.architecture,
        config,
        data.digest,
    ):
        network.load_state_dict(storage.read_tensors(weights))
        return network.eval(), done.test_accuracy
    there = data.to(device)
    train(network.to(device), there, config, progress=progress)
    accuracy = 1 - error(network, there.test)
    for stale in (record, run.folder / ONNX):  # they would vouch for weights that are not their own
        stale.unlink(missing_ok=True)
    storage.write_tensors(weights, network.cpu().state_dict())
    storage.write_record(record, Trained(run.result.architecture, config, data.digest, accuracy))
    return network.eval(), accuracy


def trained(run: Run) -> Trained | None:
    """The record of the last training of the chosen network.

    Args:
        run: a saved search.

    Returns:
        The record; None without a training.

    Raises:
        InputError: the record is damaged.
    """
    record = run.folder / TRAINED
    if not record.exists():
        return None
    with damaged(record, "remove it, and the network is trained again"):
        return storage.read_record(record, Trained)


def trained_by(run: Run) -> TrainConfig | None:
    """The recipe of the last training of the chosen network.

    Args:
        run: a saved search.

    Returns:
        The recipe; None without a training.
    """
    done = trained(run)
    return None if done is None else done.config
