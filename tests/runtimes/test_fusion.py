"""Where each layer went: against networks whose compiled graph can be said beforehand."""

from collections import Counter

import pytest
import torch
from torch import nn

import labkit as lk
from labkit.runtimes.fusion import Fused, as_html, fused_into, fusions


def folded(network: nn.Module, data) -> nn.Module:
    """With batch norms that are not the identity."""
    with torch.no_grad():
        network.train()(lk.data.standardise(data.train.pixels[:16]))
    return network.eval()


@pytest.fixture(scope="module")
def five(space, data):
    architecture = space.architecture("conv3x3-conv5x5-maxpool3x3-maxpool3x3-conv5x5")
    return folded(lk.derive(space, architecture), data)


@pytest.fixture(scope="module")
def mobile(data):
    space = lk.spaces.mobile()
    return folded(lk.derive(space, space.sample(1, torch.Generator().manual_seed(4))[0]), data)


def test_convolution_norm_and_activation_become_one_node(five):
    rows = {row.layer: row for row in fusions(five, torch.zeros(2, 3, 32, 32))}
    for edge in (0, 1, 2, 7):  # the stem and the three searched convolutions
        parts = [rows[f"body.{edge}.{i}"] for i in range(3)]
        assert [part.kind for part in parts] == ["Conv2d", "BatchNorm2d", "ReLU"]
        assert [part.exported for part in parts] == ["Conv", "Conv", "Relu"], "the norm went into the weights"
        assert {part.operator for part in parts} == {"Conv + Relu"} and len({part.node for part in parts}) == 1
    assert (
        rows["body.4"].operator == rows["body.5"].operator == "MaxPool" and rows["body.4"].node != rows["body.5"].node
    )
    assert rows["head.1"].operator == "Gemm"


def test_every_layer_with_weights_is_found_and_fused_once(five, mobile):
    for network in (five, mobile):
        rows = fusions(network, torch.zeros(2, 3, 32, 32))
        found = Counter(row.layer for row in rows if row.kind != "residual sum")
        wanted = [n for n, m in network.named_modules() if list(m.parameters(recurse=False))]
        assert all(found[name] == 1 for name in wanted), found
        assert not any("Reorder" in row.operator for row in rows), "a change of layout computes nothing"


def test_a_residual_sum_is_fused_into_the_convolution_that_gives_the_summand(mobile):
    rows = fusions(mobile, torch.zeros(2, 3, 32, 32))
    residual = [n for n, m in mobile.named_modules() if getattr(m, "residual", False)]
    sums = [row for row in rows if row.kind == "residual sum"]
    assert residual and [row.layer for row in sums] == residual
    for row in sums:
        assert row.operator == "Conv + Add"
        together = {other.layer for other in fused_into(rows, row.node)}
        assert together == {row.layer, f"{row.layer}.body.2.0", f"{row.layer}.body.2.1"}


def test_a_layer_that_is_fused_into_nothing_stands_alone():
    class Twice(nn.Module):
        """Its convolution is read by two, so the activation cannot be taken into it."""

        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 16, 3), nn.ReLU()

        def forward(self, x):
            y = self.conv(x)
            return (self.act(y) + y.sigmoid()).mean((2, 3))

    rows = {row.layer: row for row in fusions(Twice().eval(), torch.zeros(2, 3, 32, 32))}
    assert rows["conv"].operator == "Conv" and rows["act"].operator == "Relu"


def test_the_view_marks_what_one_node_does(five):
    rows = fusions(five, torch.zeros(2, 3, 32, 32))
    html = as_html(rows, rows[0].node)
    assert "Conv + Relu, does the work of 3: body.0.0, body.0.1, body.0.2." in html
    assert html.count("&rarr;") == 3 and html.count("<tr>") == len(rows) + 1
    with pytest.raises(lk.InputError, match="no layer is fused into a node called 'magic'"):
        as_html(rows, "magic")


def test_names_are_escaped_in_the_view():
    rows = (Fused("<b>", "a & b", "Conv", "n", "Conv + <i>"), Fused("other", "ReLU", "Relu", "m", "Relu"))
    html = as_html(rows, "n")
    cells = [cell.partition("</td>")[0].partition(">")[2] for cell in html.split("<td")[1:]]
    assert cells[:5] == ["&rarr;", "<b>&lt;b&gt;</b>", "<b>a &amp; b</b>", "<b>Conv</b>", "<b>Conv + &lt;i&gt;</b>"]
    assert cells[5:] == ["", "other", "ReLU", "Relu", "Relu"] and "Conv + &lt;i&gt;, does the work of 1: &lt;b" in html
