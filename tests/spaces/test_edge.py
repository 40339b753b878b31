"""The space for a CPU: its size, its costs by hand, one network in every form, and what the ranges of it are."""

import copy
import math
import subprocess
import sys

import pytest
import torch
from torch import nn

import labkit as lk
from labkit import checks
from labkit.deploy import parity
from labkit.networks import complexity
from labkit.runtimes import prepare
from labkit.runtimes.base import Preparation
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.spaces.edge import KEEP, SIZES


@pytest.fixture(scope="module")
def edge():
    return lk.spaces.edge()


@pytest.fixture(scope="module")
def every(edge):
    """Architectures in which every candidate of every slot is chosen once at least."""
    return edge.deal(torch.Generator().manual_seed(0))


def spread(supernet):
    """Batch norm that does something, so that a branch that is lost is seen."""
    draw = torch.Generator().manual_seed(1)
    for norm in (m for m in supernet.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor, low in ((norm.running_mean, -0.3), (norm.running_var, 0.5), (norm.weight.data, 0.7)):
            tensor.copy_(low + 0.6 * torch.rand(tensor.shape, generator=draw))
    return supernet.eval()


# --- what it is -------------------------------------------------------------------------------------------------


def test_it_has_more_than_a_hundred_million_architectures(edge):
    assert edge.size == 3 * 9**2 * (7 * 10**2) * (7 * 11**2) == 144_074_700 > 1e8
    assert lk.spaces.edge("small").size == 3 * 9**3 * (7 * 10**3) * (7 * 11**3)
    assert lk.spaces.edge("large").size == 3 * (7 * 9**2) ** 2 * (7 * 10**3) * (7 * 11**2)


def test_digests_name_the_space(edge):
    assert edge.digest == lk.spaces.by_name("edge").digest == "0700e6f7b125"
    others = {lk.spaces.by_name("edge", 7).digest, lk.spaces.edge(side=64).digest, lk.spaces.edge("small").digest}
    assert len(others | {edge.digest}) == 4


@pytest.mark.parametrize("name", ["edge", "edge-small", "edge-large"])
def test_it_comes_through_the_same_door(name):
    space = lk.spaces.by_name(name, 7)
    assert space.name == name and space.classes == 7 and space.is_chain
    kept = lk.spaces.record(space)
    assert "definition" not in kept and lk.spaces.from_record(kept) == space
    odd = lk.spaces.edge("small", side=96)
    assert odd.name == "edge-small-96px" and lk.spaces.from_record(lk.spaces.record(odd)) == odd


def test_stages_halve_the_map_and_widen():
    assert [h for h, _ in lk.spaces.edge().sizes()] == [32, 16, 16, 16, 8, 8, 8, 4, 4, 4]
    large = lk.spaces.edge("large", side=224)
    assert [w for _, w in large.sizes()] == [224, 112, 56, 56, 56, 28, 28, 28, 14, 14, 14, 14, 7, 7, 7]
    assert [edge.out_channels for edge in large.edges] == [24] + [32] * 3 + [48] * 3 + [96] * 4 + [192] * 3


def test_only_a_layer_that_keeps_its_shape_may_be_skipped(edge):
    for e in edge.edges:
        assert ("skip" in edge.candidates(e)) == ((e.in_channels, e.stride) == (e.out_channels, 1))
    assert not any(op.endswith("se") for op in KEEP["early"])
    assert {op[-1] for op in KEEP["middle"] if op.startswith(("mb", "fused"))} == {"2", "3", "4"}


@pytest.mark.parametrize(
    ("size", "side", "says"),
    [
        ("huge", None, "edge has the sizes tiny, small, large; got 'huge'"),
        ("tiny", 36, "edge halves the resolution 3 times: its side is a multiple of 8, at least 16; got 36"),
        ("tiny", 8, "at least 16; got 8"),
        ("large", 40, "edge-large halves the resolution 5 times: its side is a multiple of 32, at least 64; got 40"),
    ],
)
def test_what_does_not_fit_is_refused(size, side, says):
    with pytest.raises(lk.InputError, match=says):
        lk.spaces.edge(size, side=side)
    assert lk.spaces.edge("tiny", side=16).sizes()[-1] == (2, 2) and set(SIZES) == {"tiny", "small", "large"}


# --- what it costs ----------------------------------------------------------------------------------------------


def by_hand(op, i, o, stride, side):
    """Multiply-accumulates of an operation, from its formula alone."""
    before, after = side**2, math.ceil(side / stride) ** 2
    shortcut = 0 if (i, stride) == (o, 1) else i * o * after
    excite = lambda channels: 2 * channels * max(8, channels // 4)
    if op == "skip":
        return 0
    if op in ("conv3x3", "conv5x5"):
        return int(op[4]) ** 2 * i * o * after
    if op == "twice3x3":
        return 9 * i * (o // 2) * before + 9 * (o // 2) * o * after
    if op == "bottle3":
        return i * (o // 2) * before + 9 * (o // 2) ** 2 * after + (o // 2) * o * after + shortcut
    squeezed = op.endswith("se")
    if op.startswith("res3"):
        inner = {"half": o // 2, "wide": 2 * o}.get(op[4:], o)
        first = before if op == "res3late" else after
        return 9 * i * inner * first + 9 * inner * o * after + shortcut + squeezed * excite(o)
    middle = i * int(op.removesuffix("se")[-1])
    if op.startswith("fused3"):
        return 9 * i * middle * after + middle * o * after + squeezed * excite(middle)
    kernel = int(op[2])
    return i * middle * before + kernel**2 * middle * after + middle * o * after + squeezed * excite(middle)


@pytest.mark.parametrize("name", ["edge", "edge-small", "edge-large"])
def test_multiplications_are_those_of_the_formulas(name):
    space = lk.spaces.by_name(name)
    for architecture in space.deal(torch.Generator().manual_seed(3)):
        each = zip(architecture.ops, space.edges, space.sizes())
        expected = sum(by_hand(op, e.in_channels, e.out_channels, e.stride, side) for op, e, (side, _) in each)
        head = 128 if name == "edge" else 256
        expected += space.edges[-1].out_channels * head * space.sizes()[-1][0] ** 2 + head * 10
        assert complexity.count(lk.derive(space, architecture), space.image).macs == expected, str(architecture)


def test_the_formulas_see_another_kernel_and_another_order(edge):
    assert by_hand("mb5e3", 24, 24, 1, 16) != by_hand("mb7e3", 24, 24, 1, 16)
    assert by_hand("res3", 24, 48, 2, 16) < by_hand("res3late", 24, 48, 2, 16)
    spoilt = edge.architecture("conv3x3-skip-skip-conv3x3-skip-skip-conv3x3-skip-mb5e3")
    right = edge.architecture("conv3x3-skip-skip-conv3x3-skip-skip-conv3x3-skip-mb5e6")
    assert complexity.count(lk.derive(edge, spoilt)) != complexity.count(lk.derive(edge, right))


def test_the_plain_network_that_it_is_measured_by_is_in_it(edge):
    """Three residual blocks of 24, 48 and 96 channels: parameters by hand, batch norm with them."""
    plain = lk.derive(edge, edge.architecture("conv3x3-res3-skip-res3-skip-skip-res3-skip-skip"))
    norm = lambda channels: 2 * channels
    parameters = 27 * 24 + norm(24) + 2 * (9 * 24 * 24 + norm(24)) + 96 * 128 + norm(128) + 128 * 10 + 10
    for i, o in ((24, 48), (48, 96)):
        parameters += 9 * i * o + 9 * o * o + i * o + 3 * norm(o)
    assert complexity.count(plain).parameters == parameters


# --- one network in every form ----------------------------------------------------------------------------------


def test_the_supernet_computes_what_each_network_computes(edge, every):
    supernet, images = spread(lk.Supernet(edge)), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    seen = []
    for architecture in every:
        network = lk.derive(supernet, architecture)
        with torch.no_grad():
            logits = network(images)
            assert torch.equal(supernet(images, edge.encode(architecture)[None]), logits)
        seen.append(logits)
    assert len({tuple(logits.flatten().tolist()) for logits in seen}) == len(every), "each computes something else"


def test_relaxed_weights_mix_the_operations_of_a_slot(edge, generator):
    supernet = spread(lk.Supernet(edge)).double()
    x = torch.randn(2, 24, 16, 16, generator=generator, dtype=torch.float64)
    weights = torch.rand(1, len(KEEP["early"]), generator=generator, dtype=torch.float64)
    mixed = supernet.body[1]
    expected = sum(w * op(x) for w, op in zip(weights[0], mixed.ops))
    torch.testing.assert_close(mixed(x, weights, [True] * len(KEEP["early"]), False), expected)


def test_gradients_reach_every_weight(edge, every):
    images, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    for architecture in every:
        network = lk.derive(edge, architecture).train()
        nn.functional.cross_entropy(network(images), labels).backward()
        silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not silent, f"{architecture}: {silent}"


def test_gradients_are_the_differences_of_values(edge):
    """In float64, along one direction of all weights, against a finite difference."""
    architecture = edge.architecture("twice3x3-bottle3-mb5e3-res3late-res3se-fused3e2-res3half-mb5e4se-res3wide")
    network = spread(lk.derive(edge, architecture)).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = lambda net: net(images).square().mean()
    loss(network).backward()
    draw = torch.Generator().manual_seed(1)
    directions = [torch.randn(p.shape, generator=draw, dtype=torch.float64) for p in network.parameters()]
    slope = sum((p.grad * d).sum() for p, d in zip(network.parameters(), directions)).item()

    def moved(by):
        other = copy.deepcopy(network)
        with torch.no_grad():
            for p, d in zip(other.parameters(), directions):
                p.add_(by * d)
            return loss(other).item()

    step = 1e-9  # no activation changes sides within it
    assert slope == pytest.approx((moved(step) - moved(-step)) / (2 * step), rel=1e-6) and abs(slope) > 1e-6


@pytest.fixture(scope="module")
def exported(edge):
    """A network with a block of each kind, and its ONNX model."""
    architecture = edge.architecture("twice3x3-bottle3-mb5e3-res3late-res3se-fused3e2-res3half-mb5e4se-res3wide")
    network = spread(lk.derive(edge, architecture))
    return network, onnx_bytes(network, torch.zeros(2, 3, 32, 32))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_exported_network_computes_the_same(exported, data, runtime):
    network, model = exported
    if runtime == "openvino":
        pytest.importorskip("openvino")
    run = prepare(network, runtime, torch.zeros(1, 3, 32, 32), Preparation(onnx_model=model))
    assert parity(network, run, data.test[:70]) < 1e-4
    assert parity(network, lambda x: 1.05 * run(x), data.test[:70]) > 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_the_public_check_passes(size):
    checks.check_space(lk.spaces.edge(size, side=64 if size == "large" else None))


def test_a_table_of_it_adds_up(edge, make_table):
    table = make_table(edge)
    table.check(edge)
    architecture = edge[edge.size // 3]
    assert table.table_ms(architecture) == pytest.approx(table(edge.encode(architecture)[None].double()).item())


def test_a_sweep_goes_through_select_in_processes_to_a_saved_run(edge, make_table, tmp_path):
    data, table = lk.data.glyphs(200, 60, 60, seed=0), make_table(edge)
    short = {"mixture_steps": 1, "weight_steps": 1, "joint_steps": 1, "batch_size": 8, "calibration_images": 16}
    config = lk.SearchConfig(evaluation_images=20, finalists=2, **short)
    found = lk.sweep(lk.Supernet(edge), data, table, (0.0, 3.0), config)
    once = lk.TrainConfig(epochs=1, batch_size=64)
    stages = lk.SelectionConfig(scan=2, entrants=2, images=64, training=once, finalists=1, final=once, again=0)
    chosen = lk.select(found, data, table, stages, workers=2)
    assert len(chosen) == 2 and all(result.architecture in edge for result in chosen)
    lk.runs.save(chosen[0], tmp_path / "run", data, table)
    code = "import labkit as lk; run = lk.runs.load('run'); print(run.space.name, run.result.architecture)"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["edge", str(chosen[0].architecture)]
