"""Runtimes that read ONNX on a CPU: ONNX Runtime and OpenVINO."""

import functools
import importlib
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from labkit.runtimes.base import REFUSED, Preparation, Run, Runtime, version_of
from labkit.system.errors import in_one_line


class _OnnxEngine(Runtime):
    """A runtime that reads ONNX and whose package has its name."""

    remedy: ClassVar[str]  # how to install it
    reads_float32: ClassVar[bool] = True
    deploys: ClassVar[bool] = True

    @property
    def version(self) -> str | None:
        return version_of(self.name)

    @property
    def reason(self) -> str | None:
        return None if self.version else f"{self.name} is not installed: {self.remedy}"

    def load(self) -> None:
        with in_one_line(f"{self.name} is installed and does not load", f"pip install --force-reinstall {self.name}"):
            importlib.import_module(self.name)

    def prepare(self, network: nn.Module, example: Tensor, how: Preparation) -> Run:
        return self._run(self.model(network, example.float(), how), how.dtype)

    def _run(self, model: bytes, dtype: str) -> Run:
        raise NotImplementedError


class OnnxRuntime(_OnnxEngine):
    """ONNX Runtime on the CPU."""

    name = "onnxruntime"
    remedy: ClassVar[str] = "pip install onnxruntime"
    dtypes = ("float32", "float16", "int8")
    eight_bits: ClassVar[Mapping[str, str]] = {"int8": "u8s8"}
    preference = 0

    def _run(self, model: bytes, dtype: str) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # every runtime gets the same threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Else the threads of a session spin after a run, and slow down what is timed in turn with it.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        with in_one_line("onnxruntime refuses this ONNX model", REFUSED):
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

        def run(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {"images": images.float().numpy()})[0])

        return run


class OpenVino(_OnnxEngine):
    """OpenVINO on the CPU."""

    name = "openvino"
    remedy: ClassVar[str] = "pip install labkit[openvino]"
    dtypes = ("float32", "bfloat16", "int8")
    eight_bits: ClassVar[Mapping[str, str]] = {"int8": "u8s8"}  # it takes s8s8 too, in 1.3 times the time
    preference = 1

    def _run(self, model: bytes, dtype: str) -> Run:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # Else it takes bfloat16 by itself where the processor has it. The model stays float32 either way.
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == "bfloat16" else "f32",
        }
        core = _openvino_core()
        with in_one_line("openvino refuses this ONNX model", REFUSED):
            compiled = core.compile_model(core.read_model(model), "CPU", settings)
        shape, own = [side.get_length() for side in list(compiled.output(0).partial_shape)[1:]], threading.local()

        def run(images: Tensor) -> Tensor:  # tensors handed over by us: a dictionary of arrays costs 30 us a call
            if not len(images):  # the request would keep what it computed before
                return torch.empty(0, *shape)
            request = getattr(own, "request", None)
            if request is None:  # one a thread: a request holds the images and the logits of one call
                request = own.request = compiled.create_infer_request()
            pixels = images.float().contiguous().numpy()
            request.set_input_tensor(openvino.Tensor(pixels, shared_memory=True))
            request.infer(share_outputs=True)
            return torch.from_numpy(request.get_output_tensor().data.copy())

        return run


@functools.cache
def _openvino_core() -> Any:
    """The only OpenVINO core of this process.

    Each core sets a stack for signals in the thread that compiles, and removes it when it is collected. Two of them
    leave a removed stack behind, and the next Ctrl-C ends the process with a segmentation fault (OpenVINO 2026.4).
    """
    import openvino

    return openvino.Core()
