"""One way to run a network: PyTorch, channels-last PyTorch, ONNX Runtime. What is available, and why not.

Nothing heavy is imported until a runtime is asked for by name.
"""

import copy
import importlib.metadata
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.data import import_torchvision
from labkit.errors import InputError

Run = Callable[[Tensor], Tensor]  # images (B, C, H, W) -> class logits (B, classes)


@dataclass(frozen=True)
class Runtime:
    """A runtime and whether it can be used here; `reason` says what is missing and how to get it."""

    name: str
    available: bool
    version: str | None = None
    reason: str | None = None
    layout: str = "NCHW"


def runtimes() -> tuple[Runtime, ...]:
    """Every runtime that labkit knows, the baseline first. Never raises."""
    return (
        Runtime("torch", True, torch.__version__),
        Runtime("torch-channels-last", True, torch.__version__, layout="channels_last"),
        _onnxruntime(),
        _tensorrt(),
    )


def runtime(name: str) -> Runtime:
    known = {entry.name: entry for entry in runtimes()}
    if name not in known:
        raise InputError(f"runtimes are {', '.join(known)}; got {name!r}")
    return known[name]


def prepare(
    network: nn.Module, name: str, example: Tensor, *, exporter: str = "dynamo", onnx_model: bytes | None = None
) -> Run:
    """`network` in eval mode, ready to run under the runtime `name`. The network itself is left alone.

    Args:
        example: images like those it will see, on the device it will run on.
        exporter: how runtimes that need ONNX get it; see `onnx_bytes`.
        onnx_model: the exported network, where there already is one.
    """
    chosen = runtime(name)
    if not chosen.available:
        raise InputError(f"the runtime {name} cannot be used here: {chosen.reason}")
    network = copy.deepcopy(network).eval()
    if name == "onnxruntime":
        return _onnxruntime_run(onnx_model or onnx_bytes(network, example, exporter=exporter))
    network = network.to(example.device, memory_format=_FORMATS[chosen.layout])

    @torch.inference_mode()
    def run(images: Tensor) -> Tensor:
        return network(images.contiguous(memory_format=_FORMATS[chosen.layout]))

    return run


_FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def onnx_bytes(network: nn.Module, example: Tensor, *, exporter: str = "dynamo") -> bytes:
    """`network` in eval mode as one ONNX model with its weights inside and a dynamic batch.

    Stack traces and paths that the exporter writes into the model are taken out, so equal networks give equal bytes.

    Args:
        example: images (B, C, H, W); B of at least 2 lets the batch be dynamic.
        exporter: "dynamo", the default of torch, 2 to 8 seconds; or "torchscript", deprecated there but
            some twenty times faster, for the many small networks of a latency table.
    """
    import onnx

    network, example = copy.deepcopy(network).eval().cpu(), example.detach().cpu().contiguous()
    if example.shape[0] < 2:
        example = example.expand(2, *example.shape[1:]).contiguous()
    names = {"input_names": ["images"], "output_names": ["logits"]}
    with _quiet():
        if exporter == "dynamo":
            import_torchvision()  # torch.onnx imports it if it is installed, and a CPU-only torch needs our guard
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(network, (example,), dynamic_shapes=shapes, dynamo=True, verbose=False, **names)
            model = program.model_proto
        elif exporter == "torchscript":
            import io

            buffer = io.BytesIO()
            axes = {"images": {0: "batch"}, "logits": {0: "batch"}}
            torch.onnx.export(network, (example,), buffer, dynamic_axes=axes, dynamo=False, **names)
            model = onnx.load_from_string(buffer.getvalue())
        else:
            raise InputError(f"an exporter is 'dynamo' or 'torchscript'; got {exporter!r}")
    _strip(model)
    return model.SerializeToString(deterministic=True)


def _strip(model) -> None:
    """Take out what names this machine's files."""
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    for part in model.graph.initializer:
        part.doc_string = ""
        del part.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters warn of their own deprecations and of packages that are not needed here."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


def _onnxruntime() -> Runtime:
    version = _version("onnxruntime")
    if version is None:
        return Runtime("onnxruntime", False, reason="onnxruntime is not installed: pip install onnxruntime")
    return Runtime("onnxruntime", True, version)


def _onnxruntime_run(model: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # every runtime gets the same threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return run


def _tensorrt() -> Runtime:
    """TensorRT is named with what it lacks; a package is looked up, never imported, to find out."""
    installed = [(name, _version(name)) for name in ("tensorrt", "tensorrt-rtx") if _version(name)]
    missing = []
    if not installed:
        missing.append("the package (pip install labkit[tensorrt]: 3.7 GB, from NVIDIA's index)")
    if not torch.cuda.is_available():
        missing.append("an NVIDIA GPU that torch can use")
    if not missing:
        missing.append("labkit's engine builder, which this version does not have yet")
    return Runtime("tensorrt", False, installed[0][1] if installed else None, "TensorRT needs " + " and ".join(missing))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
