"""What a finished search is on disk: the one module that knows the layout of a run's folder.

manifest.json          config, point, data, versions, cost
history.parquet        a row a step
weights.safetensors    architecture logits and the trained supernet
latency_table.json     the table that was searched with
network.safetensors    the chosen network, once trained from scratch (`train_chosen`)
trained.json           and its test accuracy
"""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch

import labkit.data
from labkit import spaces
from labkit.system import storage
from labkit.oneshot.baselines import random_search
from labkit.system.device import today
from labkit.data import ImageSet, Recipe
from labkit.estimators.gradient_estimators import ESTIMATORS
from labkit.system.registry import describe, recover
from labkit.system.errors import InputError, damaged
from labkit.oneshot.evaluation import evaluate
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Network, Supernet, derive
from labkit.pareto import Frontier, Point
from labkit.oneshot.config import SearchConfig, SelectionConfig
from labkit.oneshot.searching import SearchResult, sweep
from labkit.spaces import SearchSpace
from labkit.networks.training import TrainConfig, error, train
from labkit.system.device import versions

KIND, SCHEMA = "search run", 4
MANIFEST = {  # what `load` reads of it
    "space": dict, "config": dict, "point": dict, "data": dict, "versions": dict, "selection": dict | None,
    "parts": list, "method": str, "first_weights": str, "date": str, "passes": float, "seconds": float, "threads": int,
}  # fmt: skip
LEFT = (  # by a run and by what was done with it; checkpoints are not among them, for a search goes on from those
    "history.parquet", "weights.safetensors", "latency_table.json", "network.safetensors", "trained.json",
    "network.onnx", "export.json", "closed_loop.json", "closed_loop.png",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Run:
    """A search read back from its folder."""

    folder: Path
    space: SearchSpace
    result: SearchResult
    table: LatencyTable
    data: dict[str, Any]  # the card of the image set, and the name that makes it again
    versions: dict[str, str]  # what computed it
    date: str
    threads: int
    device: str  # of the weights: "cpu" or "cuda"

    def image_set(self, *, download: bool = False) -> ImageSet:
        """The image set of the search, made again; refused when it is not the same to the pixel."""
        if self.data["made_by"] is None:
            raise InputError(
                f"the search was given images that no registered function made ({self.data['name']}): pass them as "
                f"data=, or make them by a function under labkit.register_data"
            )
        images = labkit.data.made_again(Recipe(**self.data["made_by"]), download=download)
        self.check_images(images)
        return images

    def check_images(self, images: ImageSet) -> None:
        """Raise InputError unless `images` are those of the search, to the pixel."""
        if images.digest != self.data["digest"]:
            raise InputError(
                f"the images of {images.name} differ from those of the search ({images.digest}, then "
                f"{self.data['digest']}): other files, fonts or versions, or the set was changed after it was made"
            )


def save(
    result: SearchResult,
    folder: str | Path,
    data: ImageSet,
    table: LatencyTable,
) -> Path:
    """Write a run's folder, the manifest last: a folder with a manifest is whole, and of one run.

    An earlier run in it is removed first, the manifest before the rest, with its trained network and its export.
    """
    folder = storage.writable_folder(folder)
    for name in ("manifest.json", *LEFT):
        (folder / name).unlink(missing_ok=True)
    space = result.supernet.space
    tensors = {f"supernet.{name}": tensor for name, tensor in result.supernet.state_dict().items()}
    storage.write_tensors(folder / "weights.safetensors", {"logits": result.logits, **tensors})
    if result.history:
        storage.write_rows(folder / "history.parquet", result.history)
    table.save(folder / "latency_table.json")
    manifest = {
        "kind": KIND,
        "schema": SCHEMA,
        "space": spaces.record(space),
        "data": {**data.card(), "made_by": data.made_by and asdict(data.made_by)},
        "parts": describe(ESTIMATORS.own([result.config.estimator])),
        "config": asdict(result.config),
        "point": result.point.to_json(),
        "method": result.method,
        "besides": list(result.besides),
        "device": next(result.supernet.parameters()).device.type,
        "first_weights": result.first_weights,
        "selection": None if result.selection is None else asdict(result.selection),
        "passes": result.passes,
        "seconds": result.seconds,
        "threads": torch.get_num_threads(),  # the same search on another number ends a rounding away
        "date": today(),
        "versions": versions(),
    }
    storage.write_json(folder / "manifest.json", manifest)
    return folder


def load(folder: str | Path) -> Run:
    """A run that `save` wrote. Whatever does not fit is refused with its file."""
    folder, remedy = Path(folder), "search anew, or bring that file back"
    manifest = storage.read_json(folder / "manifest.json", KIND, SCHEMA)
    with damaged(folder / "manifest.json", remedy):
        storage.check_types(manifest, MANIFEST)
        storage.check_types(manifest["space"], {"name": str, "classes": int, "digest": str})
    try:
        space = spaces.of_record(manifest["space"])
        recover(manifest["parts"])
    except InputError as problem:  # a module that is not here: nothing is damaged
        raise InputError(f"{folder}: {problem}") from None
    with damaged(folder / "manifest.json", remedy):
        hints = get_type_hints(SearchConfig)
        storage.check_types(manifest["config"], {name: hints[name] for name in manifest["config"] if name in hints})
        config = SearchConfig(**manifest["config"])
        storage.check_types(manifest["point"], {"error": float, "latency_ms": float})
        point = Point.from_json(manifest["point"])
        space.check(point.architecture)
        data, besides = manifest["data"], manifest.get("besides", [])  # earlier ones lack it
        storage.check_types(data, {"digest": str, "name": str, "made_by": dict | None})
        if data["made_by"] is not None:
            Recipe(**data["made_by"])
        storage.check_types({"besides": besides}, {"besides": list})
        selection = manifest["selection"] and SelectionConfig.from_json(manifest["selection"])
        device = manifest.get("device", "cpu")  # and this
        if device not in ("cpu", "cuda"):
            raise InputError(f"a device is cpu or cuda; got {device!r}")
    tensors, supernet = storage.read_tensors(folder / "weights.safetensors"), Supernet(space)
    with damaged(folder / "weights.safetensors", remedy):
        logits = tensors.pop("logits")
        if logits.shape != space.mask.shape or not logits.is_floating_point():
            shape = tuple(space.mask.shape)
            raise InputError(f"logits should be {shape} floats; got {tuple(logits.shape)} of {logits.dtype}")
        if wrong := [name for name, tensor in {"logits": logits, **tensors}.items() if not tensor.isfinite().all()]:
            raise InputError(f"numbers of {wrong[0]} are not finite")
        supernet.load_state_dict({name.removeprefix("supernet."): tensor for name, tensor in tensors.items()})
    rows = folder / "history.parquet"
    history = tuple(storage.read_rows(rows)) if rows.exists() else ()
    with damaged(rows, remedy):
        for row in history:
            storage.check_types(row, {"step": int, "phase": str, "loss": float, "probs": list})
            if len(row["probs"]) != space.mask.numel():
                raise InputError(f"step {row['step']} should have {space.mask.numel()} probabilities")
    with damaged(folder / "latency_table.json", remedy):
        table = LatencyTable.load(folder / "latency_table.json")
        table.check(space)
    result = SearchResult(
        config, point, logits, history, supernet, manifest["passes"], manifest["seconds"], (), manifest["method"],
        manifest["first_weights"], selection, tuple(besides),
    )  # fmt: skip
    return Run(folder, space, result, table, data, manifest["versions"], manifest["date"], manifest["threads"], device)


def train_chosen(
    run: Run, data: ImageSet, config: TrainConfig, *, device: str = "cpu", progress: bool = False
) -> tuple[Network, float]:
    """The chosen architecture trained from scratch on `device`, and its test accuracy; read back when that was done.

    The network comes back on the CPU. Training anew removes the `network.onnx` of the one before.
    """
    weights, record = run.folder / "network.safetensors", run.folder / "trained.json"
    network = derive(run.space, run.result.architecture, seed=config.seed)
    wanted = {"architecture": run.result.architecture.to_json(), "config": asdict(config), "data": data.digest}
    if record.exists():
        done = storage.read_json(record, "trained network", 1)
        if {key: done.get(key) for key in wanted} == wanted:
            network.load_state_dict(storage.read_tensors(weights))
            return network.eval(), done["test_accuracy"]
    there = data.to(device)
    train(network.to(device), there, config, progress=progress)
    accuracy = 1 - error(network, there.test)
    for stale in (record, run.folder / "network.onnx"):  # they would vouch for weights that are not their own
        stale.unlink(missing_ok=True)
    storage.write_tensors(weights, network.cpu().state_dict())
    storage.write_json(record, {"kind": "trained network", "schema": 1, **wanted, "test_accuracy": accuracy})
    return network.eval(), accuracy


def trained_by(run: Run) -> TrainConfig | None:
    """What `train_chosen` last trained the run's network by; None where it has not."""
    record = run.folder / "trained.json"
    if not record.exists():
        return None
    with damaged(record, "remove it, and the network is trained anew"):
        return TrainConfig(**storage.read_json(record, "trained network", 1)["config"])

