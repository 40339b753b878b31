"""Fusion: which node of a compiled graph does the work of each layer.

The graph is the one that ONNX Runtime writes after its optimisations, so this works wherever the course runs.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from torch import Tensor, nn

from labkit.runtimes.onnx_export import onnx_model
from labkit.system.errors import InputError

SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter writes the modules that a node comes from
LAYOUT = "_nchwc"  # what ONNX Runtime appends to the name of a node that it laid out in blocks of channels
MOVES = ("Reshape", "Flatten", "Transpose", "Cast", "Identity")  # these compute nothing
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
)


@dataclass(frozen=True)
class Fused:
    """A layer of the network, and the compiled node that does its work.

    Attributes:
        layer: path of the module, such as "body.1.0".
        kind: its class, such as "BatchNorm2d", or "residual sum".
        exported: the ONNX operator that it became or was folded into.
        node: name of the compiled node.
        operator: operators of the compiled node, such as "Conv + Relu".
    """

    layer: str
    kind: str
    exported: str
    node: str
    operator: str

    def __str__(self) -> str:
        return f"{self.layer:16} {self.kind:18} -> {self.exported:12} -> {self.operator} ({self.node})"


def fusions(network: nn.Module, example: Tensor) -> tuple[Fused, ...]:
    """Follow each layer into the graph that ONNX Runtime compiles.

    The export folds a batch norm into the weights of the convolution before it. The compilation fuses an activation or
    a residual sum into a convolution.

    Args:
        network: a network in eval mode.
        example: images (B, C, H, W) like those that it will see.

    Returns:
        A row for each layer that computes something, in the order in which they run.

    Raises:
        InputError: the network cannot be exported, or the exporter named none of its layers.
    """
    exported = onnx_model(network, example)
    compiled = _optimised(exported.SerializeToString())
    fusing = _Fusing(exported.graph, compiled.graph)
    modules = dict(network.named_modules())
    rows = []
    for node in exported.graph.node:
        found = None if node.op_type in MOVES else fusing.of(node)
        if found is None:
            continue
        for layer in _layers(node, modules):
            kind = "residual sum" if node.op_type == "Add" else type(modules[layer]).__name__
            rows.append(Fused(layer, kind, node.op_type, found.name, _described(found)))
    if not rows:
        raise InputError("this network has no layer that the exporter named")
    return tuple(rows)


def fused_into(rows: Sequence[Fused], node: str) -> tuple[Fused, ...]:
    """Select the layers that one compiled node does the work of.

    Args:
        rows: all layers, from `fusions`.
        node: name of the compiled node.

    Returns:
        The rows of this node, in their order.
    """
    return tuple(row for row in rows if row.node == node)


def as_html(rows: Sequence[Fused], node: str) -> str:
    """Write a table of the layers as HTML, with those of one compiled node marked by an arrow and in bold.

    Args:
        rows: all layers, from `fusions`.
        node: name of the compiled node.

    Returns:
        A paragraph and a table; names are escaped.

    Raises:
        InputError: no layer is fused into a node of this name.
    """
    together = fused_into(rows, node)
    if not together:
        raise InputError(f"no layer is fused into a node called {node!r}")
    return TEMPLATES.get_template("fusion.html.jinja").render(rows=rows, node=node, together=together)


def _optimised(model: bytes) -> Any:
    """The graph that ONNX Runtime would run on a CPU."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimised.onnx")
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = str(path), 4
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


def _layers(node: Any, modules: dict[str, nn.Module]) -> Iterator[str]:
    """The modules that an exported node stands for: a convolution's own, and the batch norm folded into it."""
    owners = [name.rpartition(".")[0] for name in node.input if name.endswith(".weight")]
    scopes = next((p.value for p in node.metadata_props if p.key == SCOPES), "[]")
    named = [scope for scope in scopes.strip("[]").replace("'", "").split(", ") if scope in modules and scope]
    yield from dict.fromkeys(owner for owner in (*owners, *named[-1:]) if owner in modules)


class _Fusing:
    """Which compiled node does the work of an exported one."""

    def __init__(self, exported: Any, compiled: Any):
        self.compiled = {name: node for node in compiled.node for name in _stands_for(node)}
        self.producers = {tensor: node for node in exported.node for tensor in node.output}
        self.consumers: dict[str, list[Any]] = {}
        for node in exported.node:
            for tensor in node.input:
                self.consumers.setdefault(tensor, []).append(node)

    def of(self, node: Any) -> Any | None:
        """The node that still gives this one's result; else the one that it is fused into.

        A sum is fused into the convolution of a summand, anything else into the node that follows.
        """
        for name in (node.name, node.output[0]):
            if name in self.compiled:
                return self.compiled[name]
        if node.op_type == "Add":
            made = [self.compiled.get(tensor) for tensor in node.input]
            return next((m for m in made if m is not None and m.op_type == "Conv" and len(m.input) == 4), None)
        following = self.consumers.get(node.output[0], [])
        return self.of(following[0]) if len(following) == 1 else None


def _stands_for(node: Any) -> Iterator[str]:
    """Exported names that a compiled node stands for; nodes that only reorder the layout are skipped."""
    if not node.op_type.startswith("Reorder"):
        yield from (node.name.removesuffix(LAYOUT), *node.output)


def _described(node: Any) -> str:
    activation = next((a.s.decode() for a in node.attribute if a.name == "activation" and a.s), "")
    parts = [node.op_type, *(["Add"] if node.op_type == "Conv" and len(node.input) == 4 else []), activation]
    return " + ".join(part for part in parts if part)
