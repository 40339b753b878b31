"""Export a network to one ONNX model, with its weights, a dynamic batch and no path of this machine."""

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from labkit.data import import_torchvision
from labkit.system.errors import InputError, in_one_line


class _Half(nn.Module):
    """A network in half precision with images and logits in float32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.half()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.half()).float()


def onnx_bytes(network: nn.Module, example: Tensor, *, exporter: str = "dynamo", dtype: str = "float32") -> bytes:
    """Export a network in eval mode to one ONNX model with its weights inside and a dynamic batch.

    Stack traces and paths that the exporter writes into the model are removed, so equal networks give equal bytes.

    Args:
        network: the network; it is not changed.
        example: images (B, C, H, W); B of at least 2 lets the batch be dynamic.
        exporter: "dynamo", the default of torch, 2 to 8 seconds; or "torchscript", deprecated there but
            some twenty times faster, for the many small networks of a latency table.
        dtype: "float32", or "float16" for weights and arithmetic in half precision; images and logits stay float32.
            Not "bfloat16": the exporter folds batch norm into float32 weights, which no runtime takes together with
            bfloat16.

    Returns:
        The serialised model.

    Raises:
        InputError: the network has no ONNX form, a weight is not finite, or the exporter or dtype is unknown.
    """
    model = onnx_model(network, example, exporter=exporter, dtype=dtype)
    _strip(model)
    return model.SerializeToString(deterministic=True)


def onnx_model(network: nn.Module, example: Tensor, *, exporter: str = "dynamo", dtype: str = "float32") -> Any:
    """Export a network to ONNX with the names of its modules.

    Args:
        network: the network; it is not changed.
        example: images (B, C, H, W).
        exporter: "dynamo" or "torchscript"; see `onnx_bytes`.
        dtype: "float32" or "float16"; see `onnx_bytes`.

    Returns:
        An `onnx.ModelProto`, in which each node says which module it comes from.

    Raises:
        InputError: the network has no ONNX form, a weight is not finite, or the exporter or dtype is unknown.
    """
    import onnx

    if dtype not in ("float32", "float16"):
        raise InputError(f"an ONNX model is exported in float32 or float16; got {dtype!r}")
    wrong = [name for name, value in network.state_dict().items() if not value.isfinite().all()]
    if wrong:
        raise InputError(f"{wrong[0]} of the network is not finite: it was not trained, or training diverged")
    network, example = copy.deepcopy(network).eval().cpu(), example.detach().cpu().contiguous()
    if dtype == "float16":
        network = _Half(network)
    if example.shape[0] < 2:
        example = example.expand(2, *example.shape[1:]).contiguous()
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"]}
    with _quiet(), in_one_line("this network has no ONNX form", "replace what has none, or take a runtime of PyTorch"):
        if exporter == "dynamo":
            import_torchvision()  # torch.onnx imports it if it is installed, and a CPU-only torch needs our guard
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.onnx.export(network, (example,), dynamic_shapes=shapes, dynamo=True, verbose=False, **names)
            assert program is not None
            model = program.model_proto
            _pool_whole_maps(model)
        elif exporter == "torchscript":
            buffer = io.BytesIO()
            axes = {"images": {0: "batch"}, "logits": {0: "batch"}}
            old: Any = torch.onnx.export  # its types know no buffer, which the old exporter takes
            old(network, (example,), buffer, dynamic_axes=axes, dynamo=False, **names)
            model = onnx.load_from_string(buffer.getvalue())
        else:
            raise InputError(f"an exporter is 'dynamo' or 'torchscript'; got {exporter!r}")
    return model


def _pool_whole_maps(model) -> None:
    """Replace the mean over a whole feature map by average pooling, for which runtimes have a faster kernel.

    In ONNX Runtime and OpenVINO a searched network with 32 images is up to 7 % faster for it.
    """
    import onnx

    graph, whole = model.graph, onnx.TensorProto.INT64
    values = {part.name: onnx.numpy_helper.to_array(part) for part in graph.initializer if part.data_type == whole}
    maps = (*graph.input, *graph.value_info)
    sides = {part.name: [d.dim_value for d in part.type.tensor_type.shape.dim][2:] for part in maps}
    freed = set()
    for node in graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in values:
            continue
        axes, side = values[node.input[1]] % 4, sides.get(node.input[0], [])
        kept = all(a.i for a in node.attribute if a.name == "keepdims")
        if sorted(axes.tolist()) == [2, 3] and len(side) == 2 and all(side) and kept:  # 0 is a side not known yet
            freed.add(node.input[1])
            node.op_type = "AveragePool"
            del node.input[1:], node.attribute[:]
            node.attribute.append(onnx.helper.make_attribute("kernel_shape", side))
    freed -= {name for node in graph.node for name in node.input}
    for part in [part for part in graph.initializer if part.name in freed]:
        graph.initializer.remove(part)


def _strip(model) -> None:
    """Remove everything that names files of this machine."""
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
    """Silence the exporters, which warn of their own deprecations and of packages that are not needed here."""
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
