"""What became of each layer: the node of a compiled graph that swallowed it.

Read from the graph that ONNX Runtime leaves after its optimisations, so it holds wherever the course runs.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from labkit.runtimes.onnx_export import onnx_model
from labkit.system.errors import InputError

SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter notes the modules that a node comes from
LAYOUT = "_nchwc"  # what ONNX Runtime appends to the name of a node that it laid out in blocks of channels
ROOM = "style='padding:2px 10px'"  # between the columns of the table: a notebook leaves none
MOVES = ("Reshape", "Flatten", "Transpose", "Cast", "Identity")  # these compute nothing


@dataclass(frozen=True)
class Fused:
    """A layer of the network, and the node that does its work after compilation."""

    layer: str  # the module's path, such as body.1.0
    kind: str  # its class, such as BatchNorm2d
    exported: str  # the ONNX operator that it became or was folded into
    node: str  # name of the compiled node
    operator: str  # of the compiled node, with what it does besides: "Conv + Relu"

    def __str__(self) -> str:
        return f"{self.layer:16} {self.kind:18} -> {self.exported:12} -> {self.operator} ({self.node})"


def fusions(network: nn.Module, example: Tensor) -> tuple[Fused, ...]:
    """A row for each layer that computes something, in the order in which they run.

    A batch norm is folded into the weights of the convolution before it when the network is exported; an activation or
    a residual sum is swallowed by a convolution when the graph is compiled.
    """
    exported = onnx_model(network, example)
    compiled = _optimised(exported.SerializeToString())
    swallowing = _Swallowing(exported.graph, compiled.graph)
    modules = dict(network.named_modules())
    rows = []
    for node in exported.graph.node:
        found = None if node.op_type in MOVES else swallowing.of(node)
        if found is None:
            continue
        for layer in _layers(node, modules):
            kind = "residual sum" if node.op_type == "Add" else type(modules[layer]).__name__
            rows.append(Fused(layer, kind, node.op_type, found.name, _described(found)))
    if not rows:
        raise InputError("this network has no layer that the exporter named")
    return tuple(rows)


def swallowed(rows: tuple[Fused, ...], node: str) -> tuple[Fused, ...]:
    """The layers whose work the compiled node called `node` does."""
    return tuple(row for row in rows if row.node == node)


def as_html(rows: tuple[Fused, ...], node: str) -> str:
    """A table of the layers, those that the compiled node called `node` swallowed marked by an arrow and in bold."""
    together = swallowed(rows, node)
    if not together:
        raise InputError(f"no layer is swallowed by a node called {node!r}")
    lines = []
    for row in rows:
        cells = [row.layer, row.kind, row.exported, row.operator]
        marked = row.node == node
        text = "".join(f"<td {ROOM}>{'<b>' * marked}{escape(cell)}{'</b>' * marked}</td>" for cell in cells)
        lines.append(f"<tr><td>{'&rarr;' * marked}</td>{text}</tr>")
    names = ", ".join(row.layer for row in together)
    says = f"One node of the compiled graph, {together[0].operator}, does the work of {len(together)}: {names}."
    head = "".join(f"<th {ROOM}>{name}</th>" for name in ("", "layer", "PyTorch", "exported as", "compiled into"))
    return f"<p>{escape(says)}</p><table><tr>{head}</tr>{''.join(lines)}</table>"


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


class _Swallowing:
    """Which compiled node does the work of an exported one."""

    def __init__(self, exported: Any, compiled: Any):
        self.compiled = {name: node for node in compiled.node for name in _stands_for(node)}
        self.producers = {tensor: node for node in exported.node for tensor in node.output}
        self.consumers: dict[str, list[Any]] = {}
        for node in exported.node:
            for tensor in node.input:
                self.consumers.setdefault(tensor, []).append(node)

    def of(self, node: Any) -> Any | None:
        """The node that still gives this one's result; else one that takes it in: a sum its summand's convolution,
        anything else the node that follows.
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
    """Names of the exported nodes and tensors that a compiled node is. One that only changes the layout is none."""
    if not node.op_type.startswith("Reorder"):
        yield from (node.name.removesuffix(LAYOUT), *node.output)


def _described(node: Any) -> str:
    activation = next((a.s.decode() for a in node.attribute if a.name == "activation" and a.s), "")
    parts = [node.op_type, *(["Add"] if node.op_type == "Conv" and len(node.input) == 4 else []), activation]
    return " + ".join(part for part in parts if part)
