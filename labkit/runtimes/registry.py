"""Ways to run a network: PyTorch eager, compiled or as a CUDA graph, ONNX Runtime, OpenVINO, TensorRT; and why not.

Nothing heavy is imported until a runtime is asked for by name.
"""

import copy
import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from labkit.data import import_torchvision
from labkit.runtimes import tensorrt_engines
from labkit.runtimes.cuda_graphs import Recording
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.quantisation import quantised
from labkit.system.errors import InputError, in_one_line, unknown

Run = Callable[[Tensor], Tensor]  # images (B, C, H, W) -> class logits (B, classes) in float32
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
EIGHT_BITS = {  # runtime -> dtype -> how the model is quantised for it
    "onnxruntime": {"int8": "u8s8"},
    "openvino": {"int8": "u8s8"},  # takes s8s8 too, in 1.3 times the time
    "tensorrt": {"int8": "s8s8", "float8": "fp8"},
    "tensorrt-rtx": {"int8": "s8s8", "float8": "fp8"},
}
ON_CPU = ("onnxruntime", "openvino")  # of those
BY_HINT = {"openvino": ("bfloat16",)}  # the runtime is told so; the model stays float32
COMPILERS = ("torch-compile", "torch-aot")  # on a GPU one of them has been seen to end the process
GRAPH = "-cuda-graph"  # ends the name of a runtime whose kernels are launched as one
MOST_COMPILED = 64  # networks, shapes and precisions: all share one `forward`, and beyond this many none is compiled
REFUSED = "export the network anew, or take another runtime"
_FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Runtime:
    """A runtime and whether it can be used here; `reason` says what is missing and how to get it."""

    name: str
    available: bool
    version: str | None = None
    reason: str | None = None
    layout: str = "NCHW"
    dtypes: tuple[str, ...] = ("float32",)
    devices: tuple[str, ...] = ("cpu",)


def runtimes() -> tuple[Runtime, ...]:
    """Every runtime that labkit knows, the baseline first. Never raises."""
    return (
        _torch("torch"),
        _torch("torch-channels-last", layout="channels_last"),
        _torch("torch-compile", layout="channels_last", reason=_no_compiler()),
        _torch("torch-aot", layout="channels_last", reason=_no_compiler()),
        _torch("torch-cuda-graph", layout="channels_last", reason=_no_cuda(), devices=("cuda",)),
        _package("onnxruntime", "pip install onnxruntime", ("float32", "float16", "int8")),
        _package("openvino", "pip install labkit[openvino]", ("float32", "bfloat16", "int8")),
        *(_tensorrt(flavour, ending) for flavour in tensorrt_engines.FLAVOURS for ending in ("", GRAPH)),
    )


def runtime(name: str) -> Runtime:
    """The runtime called `name`, available here or not; InputError for an unknown one."""
    known = {entry.name: entry for entry in runtimes()}
    if name not in known:
        raise unknown("runtimes are", name, known)
    return known[name]


def usable(name: str, dtype: str = "float32", device: str | torch.device = "cpu") -> Runtime:
    """The runtime `name`, when it is here and takes that dtype and device; else InputError with the remedy."""
    chosen, kind = runtime(name), torch.device(device).type
    if not chosen.available:
        raise InputError(f"the runtime {name} cannot be used here: {chosen.reason}")
    if dtype not in chosen.dtypes:
        raise InputError(f"the runtime {name} takes {', '.join(chosen.dtypes)}; got {dtype!r}")
    if kind not in chosen.devices:
        there = ", ".join(entry.name for entry in runtimes() if kind in entry.devices)
        raise InputError(f"the runtime {name} runs on {' or '.join(chosen.devices)}; got {kind!r}, for which: {there}")
    return chosen


def loaded(name: str, dtype: str = "float32", device: str | torch.device = "cpu") -> Runtime:
    """`usable`, and its package is imported: one that is installed and does not load is refused with the remedy."""
    chosen, family = usable(name, dtype, device), name.removesuffix(GRAPH)
    if family in tensorrt_engines.FLAVOURS:
        tensorrt_engines.module(family)
    elif family in EIGHT_BITS:
        with in_one_line(f"{name} is installed and does not load", f"pip install --force-reinstall {name}"):
            importlib.import_module(name)
    return chosen


def prepare(
    network: nn.Module,
    name: str,
    example: Tensor,
    *,
    dtype: str = "float32",
    exporter: str = "dynamo",
    onnx_model: bytes | None = None,
    calibration: Tensor | None = None,
    engines: str | Path | None = None,
    repeats: int = 1,
) -> Run:
    """`network` in eval mode, ready to run under the runtime `name`. The network itself is left alone.

    Args:
        example: images like those it will see, on the device it will run on.
        dtype: of weights and arithmetic; images may come in any, logits leave in float32.
        exporter: how runtimes that need ONNX get it; see `onnx_models.onnx_bytes`.
        onnx_model: the network exported in float32, where there already is one.
        calibration: real images (N, C, H, W), as the network sees them: eight bits take their ranges from them.
        engines: a folder that keeps TensorRT engines for the next time.
        repeats: of the work in a CUDA graph, one after the other; other runtimes do it once.
    """
    chosen = loaded(name, dtype, example.device)
    if name.removesuffix(GRAPH) in EIGHT_BITS:
        example = example.float() if name in ON_CPU else example  # what the model is made to read
        model = in_precision(
            network, name, dtype, example, exporter=exporter, onnx_model=onnx_model, calibration=calibration
        )
        if name == "onnxruntime":
            return _onnxruntime_run(model)
        if name == "openvino":
            return _openvino_run(model, "bf16" if dtype == "bfloat16" else "f32")
        return _tensorrt_run(model, name, example, engines, repeats)
    placed = {"dtype": DTYPES[dtype], "memory_format": _FORMATS[chosen.layout]}
    network = _placed(network, example.device, **placed)
    if name == "torch-cuda-graph":
        return _cuda_graph_run(network, placed, repeats)
    if name == "torch-aot":
        return _ahead_of_time_run(network, example, placed)
    if name == "torch-compile":
        # Weights become constants, so convolution and batch norm are folded into one as the other compilers do.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_COMPILED)
        network = torch.compile(network, options={"freezing": True})

    @torch.no_grad()  # not inference mode: `freezing` asks for this one
    def compiled(images: Tensor) -> Tensor:
        return network(images.to(**placed)).float()

    @torch.inference_mode()
    def eager(images: Tensor) -> Tensor:
        return network(images.to(**placed)).float()

    return compiled if name == "torch-compile" else eager


def in_precision(
    network: nn.Module,
    name: str,
    dtype: str,
    example: Tensor,
    *,
    exporter: str = "dynamo",
    onnx_model: bytes | None = None,
    calibration: Tensor | None = None,
) -> bytes:
    """`network` in ONNX with the precision in the model itself, as the runtime `name` takes it; see `prepare`."""
    eight_bits = EIGHT_BITS[name.removesuffix(GRAPH)]
    known = ("float32", "float16", *BY_HINT.get(name, ()), *eight_bits)
    if dtype not in known:
        raise InputError(f"{name} takes {', '.join(known)}; got {dtype!r}")
    if dtype == "float16":
        return onnx_bytes(network, example, exporter=exporter, dtype=dtype)
    model = onnx_model or onnx_bytes(network, example, exporter=exporter)
    recipe = eight_bits.get(dtype)
    if recipe is None:
        return model
    if calibration is None:
        raise InputError(f"{dtype} takes its ranges from real images: pass calibration=, such as 256 training images")
    return quantised(model, calibration, recipe, seven_bit_weights=name in ON_CPU)


# --- PyTorch ------------------------------------------------------------------------------------------------


class _Widen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


def _placed(network: nn.Module, device: torch.device, *, dtype: torch.dtype, memory_format: torch.memory_format):
    """A copy in eval mode, there and so. Below float32, batch norm and the head keep float32.

    They cost next to nothing, and bfloat16 has eight bits: statistics and logits rounded to them cost a third to two
    thirds of a small network's parity.
    """
    ours = copy.deepcopy(network).eval().to(device, dtype=dtype, memory_format=memory_format)
    if dtype == torch.float32:
        return ours
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) or name == "head":
            ours.get_submodule(name).float().load_state_dict(module.state_dict())
    if hasattr(ours, "head"):
        ours.head = nn.Sequential(_Widen(), ours.head)
    return ours


def _torch(name: str, *, layout: str = "NCHW", reason: str | None = None, devices=("cpu", "cuda")) -> Runtime:
    return Runtime(name, reason is None, torch.__version__, reason, layout, tuple(DTYPES), devices)


def _no_compiler() -> str | None:
    """Why torch.compile cannot work here; None where it can. It writes C++ for a CPU and Triton for a GPU."""
    wanted = [os.environ.get("CXX", ""), "g++", "clang++", "cl"]
    if not any(shutil.which(compiler) for compiler in wanted if compiler):
        return "torch.compile needs a C++ compiler: install g++ or clang++, or name one in CXX"
    if torch.cuda.is_available() and importlib.util.find_spec("triton") is None:
        return "torch.compile needs triton on a GPU: pip install triton"
    return None


def _no_cuda() -> str | None:
    return None if torch.cuda.is_available() else "a CUDA graph needs an NVIDIA GPU that torch can use"


def _ahead_of_time_run(network: nn.Module, example: Tensor, placed: dict) -> Run:
    """Compiled to a library of its own by AOTInductor: half a minute, once; then no Python between the kernels."""
    import_torchvision()  # the compiler imports it if it is installed, and a CPU-only torch needs our guard
    example = example.to(**placed)
    if len(example) < 2:  # a batch of one would be taken for a constant
        example = example.expand(2, *example.shape[1:]).contiguous(memory_format=placed["memory_format"])
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch", max=4_096)},))
        path = str(Path(folder, "network.pt2"))
        torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs={"freezing": True})
        compiled = torch._inductor.aoti_load_package(path)

    @torch.no_grad()
    def run(images: Tensor) -> Tensor:
        return compiled(images.to(**placed)).float()

    return run


def _cuda_graph_run(network: Run, placed: dict, repeats: int) -> Run:
    """All kernels of a pass, launched as one: what is left of a small network's time when launching costs nothing.

    It is recorded for each shape of images when that is first seen.
    """
    recordings: dict[torch.Size, Recording] = {}

    def work(images: Tensor) -> Tensor:
        for _ in range(repeats):
            logits = network(images)
        return logits.float()

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        if images.shape not in recordings:
            example = images.to(copy=True, **placed)
            recordings[images.shape] = Recording(work, [example])
        return recordings[images.shape](images).clone()  # the next replay writes over it

    return run


# --- runtimes that read ONNX --------------------------------------------------------------------------------


def _package(name: str, remedy: str, dtypes: tuple[str, ...]) -> Runtime:
    version = _version(name)
    reason = None if version else f"{name} is not installed: {remedy}"
    return Runtime(name, version is not None, version, reason, dtypes=dtypes)


def _onnxruntime_run(model: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # every runtime gets the same threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Else the threads of a session go on spinning after a run, and slow down whatever is timed in turn with it.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    with in_one_line("onnxruntime refuses this ONNX model", REFUSED):
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.float().numpy()})[0])

    return run


def _openvino_run(model: bytes, precision: str) -> Run:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,  # else it takes bfloat16 by itself where the processor has it
    }
    core = openvino.Core()
    with in_one_line("openvino refuses this ONNX model", REFUSED):
        request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()

    def run(images: Tensor) -> Tensor:  # tensors handed over by us: a dictionary of arrays costs 30 us a call
        pixels = images.float().contiguous().numpy()
        request.set_input_tensor(openvino.Tensor(pixels, shared_memory=True))
        request.infer(share_outputs=True)
        return torch.from_numpy(request.get_output_tensor().data.copy())

    return run


def _tensorrt(flavour: str, ending: str) -> Runtime:
    reason, version = tensorrt_engines.unavailable(flavour), _version(flavour)
    dtypes = ("float32", "float16", "int8", "float8")
    return Runtime(flavour + ending, reason is None, version, reason, dtypes=dtypes, devices=("cuda",))


def _tensorrt_run(model: bytes, name: str, example: Tensor, engines: str | Path | None, repeats: int) -> Run:
    flavour, batch = name.removesuffix(GRAPH), example.shape[0]
    settings = tensorrt_engines.Settings(tensorrt_engines.Profile(1, batch, max(64, batch)))
    if engines is None:
        run = tensorrt_engines.EngineRun(tensorrt_engines.build(model, settings, flavour=flavour), example.device)
    else:
        run = tensorrt_engines.ready(model, settings, engines, example.device, flavour=flavour)
    return _cuda_graph_run(run, {"dtype": torch.float32}, repeats) if name.endswith(GRAPH) else run


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
