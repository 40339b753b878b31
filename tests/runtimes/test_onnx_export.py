"""Networks as ONNX models: what they hold, and what is refused."""

import math
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

import labkit as lk
from labkit.runtimes.onnx_export import onnx_bytes


class Means(torch.nn.Module):
    """Means over a whole map, which pooling is, and others, which it is not."""

    def forward(self, x):
        whole = x.mean((2, 3), keepdim=True).flatten(1) + torch.nn.functional.adaptive_avg_pool2d(2 * x, 1).flatten(1)
        return whole + x.mean((-1, -2)) + x.mean((1, 3)).mean(-1, keepdim=True) + x.mean(1, keepdim=True).amax((2, 3))


def test_the_mean_over_a_whole_map_is_a_pooling_and_no_other_mean_is():
    x = torch.randn(5, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    content = onnx_bytes(Means(), x)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    pools = [node for node in model.graph.node if node.op_type == "AveragePool"]
    assert {tuple(node.attribute[0].ints) for node in pools} == {(6, 8)} and len(pools) == 2
    assert len([node for node in model.graph.node if node.op_type == "ReduceMean"]) == 4
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for images in (x, x[:1]):
        (found,) = session.run(None, {"images": images.numpy()})
        assert torch.allclose(torch.from_numpy(found), Means()(images), atol=1e-6)


def test_equal_networks_give_equal_bytes(space):
    network = lk.derive(space, next(iter(space)))
    for exporter in ("torchscript", "dynamo"):
        first, again = (onnx_bytes(network, torch.zeros(2, 3, 32, 32), exporter=exporter) for _ in range(2))
        assert first == again
        assert b"/" + Path(__file__).parts[1].encode() + b"/" not in first, "no path of this machine is in the file"


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_only_the_batch_is_free(space, exporter):
    """Both ends are named, and every other side is a number."""
    content = onnx_bytes(lk.derive(space, space[7]), torch.zeros(2, 3, 32, 32), exporter=exporter)
    graph = onnx.load_from_string(content).graph
    (images,), (logits,) = graph.input, graph.output
    sides = lambda value: [side.dim_value or side.dim_param for side in value.type.tensor_type.shape.dim]
    assert (images.name, sides(images)[1:]) == ("images", [3, 32, 32]) and isinstance(sides(images)[0], str)
    assert (logits.name, sides(logits)[1:]) == ("logits", [10]) and sides(logits)[0] == sides(images)[0]


def test_weights_that_are_no_numbers_are_not_exported(space):
    network = lk.derive(space, next(iter(space)))
    with torch.no_grad():
        network.head[1].weight[0, 0] = math.nan
    with pytest.raises(lk.InputError, match=r"head\.1\.weight of the network is not finite"):
        onnx_bytes(network, torch.zeros(2, 3, 32, 32))


class Eigenvalues(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.eigvals(x[:, 0]).real


class Branch(torch.nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


@pytest.mark.parametrize(("network", "why"), [(Eigenvalues(), "linalg_eig"), (Branch(), "data-dependent expression")])
def test_what_has_no_onnx_form_is_said_in_one_line(network, why):
    with pytest.raises(lk.InputError, match=f"this network has no ONNX form .*{why}.*: replace what has none") as found:
        onnx_bytes(network, torch.randn(2, 3, 8, 8))
    assert "\n" not in str(found.value)
