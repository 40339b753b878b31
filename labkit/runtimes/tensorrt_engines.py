"""TensorRT engines: one code path for TensorRT 10 and 11 and for TensorRT-RTX.

Networks are strongly typed: the precision is the ONNX model's own, the builder is given none. TensorRT-RTX builds
without a GPU; TensorRT needs one to build, and both need one to run. Nothing here is imported before it is asked for.
"""

import hashlib
import importlib
import importlib.metadata
import json
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labkit.system import storage
from labkit.system.device import capability, device_name, driver
from labkit.system.errors import InputError

FLAVOURS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}  # package -> module
EXTRAS = {
    "tensorrt": "pip install labkit[tensorrt] (3.7 GB, from NVIDIA's index)",
    "tensorrt-rtx": "pip install labkit[rtx] (91 MB; its engines run on RTX GPUs)",
}
RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))  # 9.0, the H100 and H200, is not among them
REFUSED = {  # what a parse error means in practice
    "type Int32 but must have type FP8": "it was quantised for ONNX Runtime; quantise it with the recipe 's8s8'",
    "Plugin not found": "there is no such operator",
}


@dataclass(frozen=True)
class Profile:
    """The batch sizes that an engine takes: it is fastest at `best`."""

    least: int = 1
    best: int = 1
    most: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            raise InputError(f"a profile is 1 <= least <= best <= most; got {self.least}, {self.best}, {self.most}")

    def check(self, batch: int) -> None:
        """Refuse a batch that the engine does not take."""
        if not self.least <= batch <= self.most:
            raise InputError(
                f"this engine takes batches of {self.least} to {self.most} images; got {batch}: build it with another "
                f"profile"
            )


@dataclass(frozen=True)
class Settings:
    """What an engine depends on besides its model, its flavour and its GPU."""

    profile: Profile = Profile()
    tf32: bool = False  # off: float32 means float32
    optimisation_level: int = 3
    workspace_bytes: int = 1 << 30


@dataclass(frozen=True, eq=False)
class Engine:
    """A built engine. Its plan runs only under the flavour, version and GPU that built it."""

    plan: bytes
    flavour: str
    version: str
    settings: Settings
    seconds: float  # of building
    layers: int  # of the network, before fusion
    timing_cache: bytes = field(default=b"", repr=False)
    kept: bool = False  # whether it was read from a folder


def installed() -> dict[str, str]:
    """Flavour -> version, of those installed; looked up, not imported."""
    found = {}
    for package in FLAVOURS:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def unavailable(flavour: str) -> str | None:
    """Why engines of `flavour` cannot run here; None where they can."""
    missing = []
    if flavour not in installed():
        missing.append(f"the package ({EXTRAS[flavour]})")
    capability = _capability()
    if capability is None:
        missing.append("an NVIDIA GPU that torch can use")
    elif flavour == "tensorrt-rtx" and capability not in RTX_CAPABILITIES:
        have = ".".join(map(str, capability))
        missing.append(f"an RTX GPU (compute capability 7.5, 8.0, 8.6, 8.9 or 12; here {have})")
    return f"{flavour} needs {' and '.join(missing)}" if missing else None


def module(flavour: str) -> Any:
    """The Python module of a flavour; InputError with the remedy where it cannot be imported."""
    if flavour not in FLAVOURS:
        raise InputError(f"TensorRT comes as {' or '.join(FLAVOURS)}; got {flavour!r}")
    try:
        return importlib.import_module(FLAVOURS[flavour])
    except (ImportError, OSError) as problem:
        raise InputError(f"{flavour} cannot be imported ({problem}): {EXTRAS[flavour]}") from None


def buildable(flavour: str) -> Any:
    """The module of a flavour that can build here; else InputError with what is missing."""
    trt = module(flavour)
    if flavour == "tensorrt" and _capability() is None:  # its Builder is null without CUDA
        raise InputError("tensorrt builds engines on an NVIDIA GPU that torch can use; tensorrt-rtx builds without one")
    return trt


def build(
    model: bytes, settings: Settings = Settings(), *, flavour: str = "tensorrt-rtx", timing: bytes = b""
) -> Engine:
    """Build an engine of an ONNX `model` with the input `images` (batch, C, H, W) and a dynamic batch.

    Args:
        timing: the timing cache of an earlier build for the same version and GPU; it makes this one faster.
    """
    trt = buildable(flavour)
    started, log = time.perf_counter(), _log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_strongly_typed(trt))
    _parse(trt, network, model, log)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else the inspector names no layer
    config.builder_optimization_level = settings.optimisation_level
    (config.set_flag if settings.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    if flavour == "tensorrt":  # TensorRT-RTX keeps none: it tunes where it runs
        config.set_timing_cache(config.create_timing_cache(timing), ignore_mismatch=False)
    _add_profile(builder, network, config, settings.profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise InputError(f"{flavour} {trt.__version__} could not build the engine: {log.first_error()}")
    cache = config.get_timing_cache() if flavour == "tensorrt" else None
    return Engine(
        bytes(plan),
        flavour,
        trt.__version__,
        settings,
        time.perf_counter() - started,
        network.num_layers,
        bytes(cache.serialize()) if cache else b"",
    )


def cached(
    model: bytes, settings: Settings, folder: str | Path, *, flavour: str = "tensorrt-rtx", anew: bool = False
) -> Engine:
    """The engine of `model` from `folder`, built when it is not there, was cut short, or is of another model, version,
    GPU, driver or setting. Processes may share the folder: files appear whole or not at all.

    Args:
        anew: build it in any case, and replace the one that is kept.
    """
    folder = Path(folder)
    identity = {"model": hashlib.sha256(model).hexdigest(), **_platform(flavour), "settings": asdict(settings)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    kept = None if anew else _read(folder / f"{key}.engine", folder / f"{key}.json", settings)
    if kept is not None:
        return kept
    where = hashlib.sha256(json.dumps(_platform(flavour), sort_keys=True).encode()).hexdigest()[:16]
    timing = folder / f"{where}.timing"
    engine = build(model, settings, flavour=flavour, timing=timing.read_bytes() if timing.exists() else b"")
    record = {"kind": "engine", "schema": 1, **identity, "plan": hashlib.sha256(engine.plan).hexdigest()}
    record |= {"seconds": engine.seconds, "layers": engine.layers}
    try:
        storage.write_atomically(folder / f"{key}.engine", lambda file: file.write_bytes(engine.plan))
        storage.write_json(folder / f"{key}.json", record)
        if engine.timing_cache:
            storage.write_atomically(timing, lambda file: file.write_bytes(engine.timing_cache))
    except (OSError, InputError) as problem:  # a full disk costs a build the next time, not the engine
        warnings.warn(f"the engine could not be kept in {folder}: {problem}", stacklevel=2)
    return engine


def ready(
    model: bytes, settings: Settings, folder: str | Path, device: str | torch.device, *, flavour: str = "tensorrt-rtx"
) -> "EngineRun":
    """The engine of `cached` on the GPU. A kept one that does not load there is built anew, once."""
    engine = cached(model, settings, folder, flavour=flavour)
    try:
        return EngineRun(engine, device)
    except InputError:
        if not engine.kept:
            raise
    return EngineRun(cached(model, settings, folder, flavour=flavour, anew=True), device)


class EngineRun:
    """An engine on the GPU: images (B, C, H, W) -> logits (B, classes) in float32, both there."""

    def __init__(self, engine: Engine, device: str | torch.device = "cuda"):
        if (reason := unavailable(engine.flavour)) is not None:  # asked before a Runtime, which crashes without CUDA
            raise InputError(f"this engine cannot run here: {reason}")
        trt = module(engine.flavour)
        self.engine, self.device, self._log = engine, torch.device(device), _log(trt)
        self._runtime = trt.Runtime(self._log)
        self._loaded = self._runtime.deserialize_cuda_engine(engine.plan)
        if self._loaded is None:
            origin = (
                "for another version, GPU or driver; build it anew"
                if engine.kept
                else "just now; install one that fits this GPU and its driver, or take another runtime"
            )
            raise InputError(
                f"the engine does not load ({self._log.first_error()}): {engine.flavour} {engine.version} built it "
                f"{origin}"
            )
        self._context = self._loaded.create_execution_context()
        self._stream = torch.cuda.Stream(self.device)  # TensorRT would synchronise on the default one
        self._dtypes = {name: _torch_dtype(trt, self._loaded.get_tensor_dtype(name)) for name in ("images", "logits")}

    def __call__(self, images: Tensor) -> Tensor:
        self.engine.settings.profile.check(images.shape[0])
        images = images.to(self.device, self._dtypes["images"]).contiguous()
        if not self._context.set_input_shape("images", tuple(images.shape)):
            raise InputError(f"this engine does not take images of shape {tuple(images.shape)}")
        shape = tuple(self._context.get_tensor_shape("logits"))
        logits = torch.empty(shape, dtype=self._dtypes["logits"], device=self.device)
        self._context.set_tensor_address("images", images.data_ptr())
        self._context.set_tensor_address("logits", logits.data_ptr())
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise RuntimeError(f"the engine did not run: {self._log.first_error()}")
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
        return logits.float()

    def layers(self) -> list[dict[str, Any]]:
        """What the engine is made of after fusion, by its inspector: a record a layer."""
        trt = module(self.engine.flavour)
        text = self._loaded.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        layers = json.loads(text).get("Layers", [])
        return [layer if isinstance(layer, dict) else {"Name": layer} for layer in layers]


def _capability() -> tuple[int, int] | None:
    """Of the GPU; None where there is none that answers."""
    try:
        return torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    except (RuntimeError, AssertionError):
        return None


def _log(trt: Any) -> Any:
    """A logger that keeps what TensorRT says, rather than print it."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

        def first_error(self) -> str:
            return self.errors[0] if self.errors else "it gave no reason"

    return Log()


def _strongly_typed(trt: Any) -> int:
    """TensorRT 10 has to be asked for it; TensorRT 11 and RTX know nothing else."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(trt: Any, network: Any, model: bytes, log: Any) -> None:
    nodes = _nodes(model)
    parser = trt.OnnxParser(network, log)
    if parser.parse(model):
        return
    first = parser.get_error(0)
    text = " ".join(first.desc().split()).split(" [checkMacros")[0]  # the rest only says that there is no GPU
    meaning = next((f": {said}" for sign, said in REFUSED.items() if sign in text), "")
    at = f"node {first.node()}, {nodes[first.node()]}," if 0 <= first.node() < len(nodes) else "a node"
    raise InputError(f"TensorRT refuses {at} of this ONNX model{meaning} ({text[:300]})")


def _nodes(model: bytes) -> list[str]:
    """The operators of an ONNX model; InputError where it is none."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_from_string(model).graph
    except DecodeError:
        graph = onnx.GraphProto()
    if not graph.output:
        raise InputError("this is not an ONNX model, or one that was cut short: export the network anew")
    return [node.op_type for node in graph.node]


def _add_profile(builder: Any, network: Any, config: Any, profile: Profile) -> None:
    made = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        shape = tuple(tensor.shape)
        if shape[0] == -1:
            made.set_shape(tensor.name, *((size, *shape[1:]) for size in (profile.least, profile.best, profile.most)))
    if config.add_optimization_profile(made) < 0:
        raise InputError(f"TensorRT refuses the profile {profile.least} / {profile.best} / {profile.most}")


def _platform(flavour: str) -> dict[str, Any]:
    """What an engine is tied to. Built without a GPU, it is tied to none."""
    gpu = None
    if _capability() is not None:
        gpu = [device_name("cuda"), capability("cuda"), driver("cuda")]
    return {"flavour": flavour, "version": module(flavour).__version__, "gpu": gpu}


def _read(plan: Path, record: Path, settings: Settings) -> Engine | None:
    """A kept engine, when both of its files are whole."""
    try:
        value, content = storage.read_json(record, "engine", 1), plan.read_bytes()
        if hashlib.sha256(content).hexdigest() != value["plan"]:
            return None
        about = value["flavour"], value["version"], settings, value["seconds"], value["layers"]
        return Engine(content, *about, kept=True)
    except (InputError, OSError, KeyError):
        return None


def _torch_dtype(trt: Any, dtype: Any) -> torch.dtype:
    known = {
        trt.DataType.FLOAT: torch.float32,
        trt.DataType.HALF: torch.float16,
        trt.DataType.BF16: torch.bfloat16,
    }
    if dtype not in known:
        raise InputError(f"an engine's images and logits are floats; this one has {dtype}")
    return known[dtype]
