"""TensorRT engines: one code path for TensorRT 10 and 11 and for TensorRT-RTX.

Networks are strongly typed: the precision is that of the ONNX model. TensorRT-RTX builds without a GPU; TensorRT needs
one to build, and both need one to run. Their packages are imported when they are used, not before.
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
REFUSED = {  # a part of a parse error -> what it means
    "type Int32 but must have type FP8": "it was quantised for ONNX Runtime; quantise it with the recipe 's8s8'",
    "Plugin not found": "there is no such operator",
}


@dataclass(frozen=True)
class Profile:
    """The batch sizes that an engine takes.

    Attributes:
        least: smallest batch.
        best: batch at which it is fastest.
        most: largest batch.

    Raises:
        InputError: the sizes are not in this order, or below 1.
    """

    least: int = 1
    best: int = 1
    most: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            raise InputError(f"a profile is 1 <= least <= best <= most; got {self.least}, {self.best}, {self.most}")

    def check(self, batch: int) -> None:
        """Check that the engine takes a batch.

        Args:
            batch: number of images.

        Raises:
            InputError: the batch is too small or too large.
        """
        if not self.least <= batch <= self.most:
            raise InputError(
                f"this engine takes batches of {self.least} to {self.most} images; got {batch}: build it with another "
                f"profile"
            )


@dataclass(frozen=True)
class Settings:
    """What an engine depends on besides its model, its flavour and its GPU.

    Attributes:
        profile: the batch sizes that it takes.
        tf32: whether float32 products may be rounded to TensorFloat-32.
        optimisation_level: of the builder, 0 to 5.
        workspace_bytes: memory that the builder may use.
    """

    profile: Profile = Profile()
    tf32: bool = False
    optimisation_level: int = 3
    workspace_bytes: int = 1 << 30


@dataclass(frozen=True, eq=False)
class Engine:
    """A built engine. Its plan runs only under the flavour, version and GPU that built it.

    Attributes:
        plan: the serialised engine.
        flavour: "tensorrt" or "tensorrt-rtx".
        version: of that package.
        settings: that it was built with.
        seconds: that the build took.
        layers: of the network, before fusion.
        timing_cache: makes a later build for the same version and GPU faster.
        kept: whether it was read from a folder.
    """

    plan: bytes
    flavour: str
    version: str
    settings: Settings
    seconds: float
    layers: int
    timing_cache: bytes = field(default=b"", repr=False)
    kept: bool = False


def installed() -> dict[str, str]:
    """The versions of the installed flavours by name; their packages are not imported."""
    found = {}
    for package in FLAVOURS:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def unavailable(flavour: str) -> str | None:
    """Say what is missing to run engines here.

    Args:
        flavour: "tensorrt" or "tensorrt-rtx".

    Returns:
        The reason, with the remedy; None where engines can run.
    """
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
    """Import the Python module of a flavour.

    Args:
        flavour: "tensorrt" or "tensorrt-rtx".

    Returns:
        The module.

    Raises:
        InputError: there is no such flavour, or it cannot be imported. The message names the remedy.
    """
    if flavour not in FLAVOURS:
        raise InputError(f"TensorRT comes as {' or '.join(FLAVOURS)}; got {flavour!r}")
    try:
        return importlib.import_module(FLAVOURS[flavour])
    except (ImportError, OSError) as problem:
        raise InputError(f"{flavour} cannot be imported ({problem}): {EXTRAS[flavour]}") from None


def buildable(flavour: str) -> Any:
    """Import the module of a flavour and check that it can build engines here.

    Args:
        flavour: "tensorrt" or "tensorrt-rtx".

    Returns:
        The module.

    Raises:
        InputError: it cannot be imported, or needs a GPU.
    """
    trt = module(flavour)
    if flavour == "tensorrt" and _capability() is None:  # its Builder is null without CUDA
        raise InputError("tensorrt builds engines on an NVIDIA GPU that torch can use; tensorrt-rtx builds without one")
    return trt


def build(
    model: bytes, settings: Settings = Settings(), *, flavour: str = "tensorrt-rtx", timing: bytes = b""
) -> Engine:
    """Build an engine of an ONNX model.

    Args:
        model: the serialised model, with the input `images` (B, C, H, W) and a dynamic batch.
        settings: the batch sizes and options.
        flavour: "tensorrt" or "tensorrt-rtx".
        timing: the timing cache of an earlier build for the same version and GPU, which makes this one faster.

    Returns:
        The engine.

    Raises:
        InputError: the flavour cannot build here, or refuses the model.
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
    model: bytes, settings: Settings, folder: str | Path, *, flavour: str = "tensorrt-rtx", rebuild: bool = False
) -> Engine:
    """Read an engine from a folder, or build it where no whole one of this model, version, GPU and settings is there.

    Processes may share the folder: files appear whole or not at all.

    Args:
        model: the serialised ONNX model.
        settings: the batch sizes and options.
        folder: where engines are kept.
        flavour: "tensorrt" or "tensorrt-rtx".
        rebuild: build it in any case, and replace the one that is kept.

    Returns:
        The engine. A folder that cannot be written causes a warning only.

    Raises:
        InputError: the flavour cannot build here, or refuses the model.
    """
    folder = Path(folder)
    identity = {"model": hashlib.sha256(model).hexdigest(), **_platform(flavour), "settings": asdict(settings)}
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    kept = None if rebuild else _read(folder / f"{key}.engine", folder / f"{key}.json", settings)
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
    """Load an engine from a folder onto the GPU, see `cached`. One that does not load there is built again, once.

    Args:
        model: the serialised ONNX model.
        settings: the batch sizes and options.
        folder: where engines are kept.
        device: a CUDA device.
        flavour: "tensorrt" or "tensorrt-rtx".

    Returns:
        A function of images (B, C, H, W) that gives logits (B, classes) in float32.

    Raises:
        InputError: the engine cannot be built or loaded here.
    """
    engine = cached(model, settings, folder, flavour=flavour)
    try:
        return EngineRun(engine, device)
    except InputError:
        if not engine.kept:
            raise
    return EngineRun(cached(model, settings, folder, flavour=flavour, rebuild=True), device)


class EngineRun:
    """An engine on the GPU, as a function of images (B, C, H, W) that gives logits (B, classes) in float32.

    Args:
        engine: built for this GPU, version and driver.
        device: a CUDA device.

    Raises:
        InputError: engines cannot run here, or this one does not load.
    """

    def __init__(self, engine: Engine, device: str | torch.device = "cuda"):
        if (reason := unavailable(engine.flavour)) is not None:  # asked before a Runtime, which crashes without CUDA
            raise InputError(f"this engine cannot run here: {reason}")
        trt = module(engine.flavour)
        self.engine, self.device, self._log = engine, torch.device(device), _log(trt)
        self._runtime = trt.Runtime(self._log)
        self._loaded = self._runtime.deserialize_cuda_engine(engine.plan)
        if self._loaded is None:
            origin = (
                "for another version, GPU or driver; build it again"
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
        """Run the engine.

        Args:
            images: of any dtype and device, as many as the profile takes.

        Returns:
            Logits (B, classes) in float32 on the device of the engine.

        Raises:
            InputError: the engine does not take such images.
        """
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
        """The layers of the engine after fusion, a record for each, from its inspector."""
        trt = module(self.engine.flavour)
        text = self._loaded.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        layers = json.loads(text).get("Layers", [])
        return [layer if isinstance(layer, dict) else {"Name": layer} for layer in layers]


def _capability() -> tuple[int, int] | None:
    """The compute capability of the GPU; None without a usable one."""
    try:
        return torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    except (RuntimeError, AssertionError):
        return None


def _log(trt: Any) -> Any:
    """A logger that keeps the errors of TensorRT and prints nothing."""

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
    """The flag that TensorRT 10 needs; TensorRT 11 and RTX have no other mode."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(trt: Any, network: Any, model: bytes, log: Any) -> None:
    nodes = _nodes(model)
    parser = trt.OnnxParser(network, log)
    if parser.parse(model):
        return
    first = parser.get_error(0)
    text = " ".join(first.desc().split()).split(" [checkMacros")[0]  # the rest only says that there is no GPU
    meaning = next((f": {means}" for part, means in REFUSED.items() if part in text), "")
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
        raise InputError("this is not an ONNX model, or one that was cut short: export the network again")
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
    """The version and GPU that an engine depends on; no GPU where it is built without one."""
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
