"""The bench of operations: who dominates whom by figures, how far an output sees, and what is kept."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import labkit as lk
from labkit.benches import ops as ops_bench
from labkit.benches import record
from labkit.benches.ops import OpsBench, Row, dominated, places, reach
from labkit.latency.cards import Timing
from labkit.networks.complexity import count
from labkit.networks.supernet import seeded
from labkit.spaces import Edge, SearchSpace
from labkit.system.errors import InputError

RUNTIMES = ("torch", "onnxruntime")


def timing(ms):
    return Timing(ms, 1.1 * ms, 0.01 * ms, 15)


def row(op, *ms, parameters=100, macs=1_000, reach=3, candidate=True, size=(8, 8)):
    timings = {name: timing(one) for name, one in zip(("torch", "onnxruntime", "openvino"), ms)}
    return Row(op, 4, 4, 1, size, candidate, parameters, macs, reach, timings)


@pytest.fixture
def clocked(monkeypatch):
    """Milliseconds from a list in place of a clock: those of the calls in their order, for ever again."""
    asked = []

    def pretend(ms):
        def timed(calls, *, seconds):
            asked.append((len(calls), seconds))
            assert all(torch.is_tensor(call()) for call in calls)
            return [timing(ms[i % len(ms)]) for i in range(len(calls))]

        monkeypatch.setattr(ops_bench, "time_interleaved", timed)
        return asked

    return pretend


# --- who dominates ----------------------------------------------------------------------------------------------


def test_a_slower_one_of_no_more_capacity_is_dominated():
    better, worse = row("better", 1, 2, 3), row("worse", 1.1, 2.2, 3.3)
    assert better.dominates(worse) and not worse.dominates(better) and not better.dominates(better)
    assert dominated([worse, better]) == [(worse, better)]


@pytest.mark.parametrize(
    "change",
    [
        {"ms": (1.1, 2.2, 2.9)},  # faster in one runtime
        {"ms": (1.1, 2.2, 3.1)},  # level in one, within what two timings differ by
        {"parameters": 101},
        {"macs": 1_001},
        {"reach": 5},
        {"size": (16, 16)},  # elsewhere
    ],
)
def test_one_that_is_better_in_anything_is_not(change):
    ms = change.pop("ms", (1.1, 2.2, 3.3))
    assert dominated([row("better", 1, 2, 3), row("other", *ms, **change)]) == []


def test_of_several_that_dominate_the_fastest_is_named():
    rows = [row("slow", 4, 4), row("middle", 2, 2), row("fast", 1, 1, parameters=500)]
    assert [(lost.op, by.op) for lost, by in dominated(rows)] == [("slow", "fast"), ("middle", "fast")]


# --- what is counted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "stride", "pixels"),
    [
        ("skip", 1, 1),
        ("conv3x3", 1, 3),
        ("conv5x5", 1, 5),
        ("res3", 1, 5),
        ("mb7e3", 1, 7),
        ("fused3e2", 1, 3),
        ("dil3x3", 1, 5),
        ("res3", 2, 7),  # the second convolution steps over two pixels of the first one's input
        ("res3late", 2, 5),
        ("mb5e4se", 1, 16),  # the mean of the whole map
    ],
)
def test_how_far_an_output_sees(op, stride, pixels):
    assert reach(lk.spaces.OPS[op](8, 8, stride), 8, (16, 16)) == pixels


def test_reach_sees_a_dead_border():
    conv = nn.Conv2d(4, 4, 5, 1, 2)
    with torch.no_grad():
        conv.weight[..., 0, :] = 0
        conv.weight[..., -1, :] = 0
    assert reach(conv, 4, (16, 16)) == 3


def test_what_depends_on_nothing_reaches_nowhere_and_one_dead_image_hides_nothing():
    with seeded(0):
        conv = nn.Conv2d(4, 4, 3, 1, 1)
    assert reach(nn.Sequential(conv, nn.Threshold(1e9, 0.0)), 4, (16, 16)) == 0
    with torch.no_grad():
        conv.bias.fill_(-1.0)  # few images pass the activation
    assert reach(nn.Sequential(conv, nn.ReLU()), 4, (16, 16)) == 3


def test_places_are_each_once_with_all_candidates():
    edges = (Edge(3, 8, 2, fixed="conv3x3"), Edge(8, 8, slot=0), Edge(8, 8, slot=1), Edge(8, 16, 2, slot=2))
    slots = (("skip", "res3"), ("skip", "mb3e3"), ("conv3x3",))
    space = SearchSpace("places", slots, edges, (3, 16, 16), 2, "average")
    assert places(space) == {(8, 8, 1, (8, 8)): ("skip", "res3", "mb3e3"), (8, 16, 2, (8, 8)): ("conv3x3",)}
    assert len(places(lk.spaces.edge())) == 6 and len(places(lk.spaces.five_layer())) == 3


# --- a run ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bench():
    return OpsBench(space="five_layer", ops=("res3", "halve"), runtimes=RUNTIMES, seconds=0.25)


def test_a_run_times_what_fits_in_turn_and_is_read_back(bench, clocked, tmp_path, monkeypatch):
    asked, seen = clocked([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), []
    monkeypatch.setattr(ops_bench.os, "getloadavg", lambda: (0.256, 1, 1))
    out = tmp_path / "ops.json"
    outcome = record.record(bench, out, made={"command": "c"}, on_row=seen.append)
    assert asked == [(4 * 2, 0.25)] * 3, "three operations and one more, in both runtimes; halve has stride 2"
    first, *_, last = outcome.rows
    assert list(outcome.rows) == seen and len(seen) == 12
    assert [r.op for r in seen[:4]] == ["conv5x5", "conv3x3", "maxpool3x3", "res3"]
    assert [r.candidate for r in seen[:4]] == [True, True, True, False]
    assert first.ms == {"torch": 1.0, "onnxruntime": 2.0} and last.ms == {"torch": 7.0, "onnxruntime": 8.0}
    assert (first.parameters, first.macs, first.reach) == (25 * 16 * 16 + 32, 25 * 16 * 16 * 16**2, 5)
    assert (seen[2].parameters, seen[2].macs, seen[2].reach) == (0, 0, 3)
    assert [r.size for r in seen[::4]] == [(16, 16), (8, 8), (4, 4)]
    saved = ops_bench.load(out)
    assert saved.rows == outcome.rows
    assert saved.made["load_average"] == 0.26 and saved.made["space_digest"] == lk.spaces.five_layer().digest
    cards = saved.made["cards"]
    assert [card["runtime"] for card in cards] == list(RUNTIMES) and {card["threads"] for card in cards} == {1}


def test_the_verdict_is_about_candidates_only(bench, clocked):
    clocked([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 9.0, 9.0])
    outcome = record.record(bench)
    by = {(lost["op"], lost["place"][3][0]): lost["by"] for lost in outcome.value["dominated"]}
    assert by["conv3x3", 16] == by["maxpool3x3", 16] == "conv5x5" and not outcome.passed
    clocked([3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 9.0, 9.0])
    good = record.record(bench)
    assert {(lost["op"], lost["by"]) for lost in good.value["dominated"]} == {("res3", "conv5x5")}
    assert good.passed and good.value["steady"] == 1.0, "the space does not offer it"
    offered = [replace(one, candidate=True) for one in good.rows]
    assert not bench.verdicts(offered)[0][1]


def test_the_text_has_every_figure(bench):
    rows = [row("slow", 0.010, 0.040, candidate=False), row("quick", 0.0054, 0.0206, macs=2_340_000, parameters=5_600)]
    header, first, second = bench.text(rows).splitlines()
    assert header.startswith("4 to 4 channels, stride 1, 8x8; us in torch, onnxruntime")
    assert first.split() == ["quick", "5.4", "20.6", "2.34", "5.6", "3"]
    assert second.split()[:3] == ["slow", "10.0", "40.0"] and second.endswith(
        "not offered  slower everywhere than quick"
    )
    assert bench.line(rows[1]).split(": ")[1].split() == first.split()


def test_a_request_that_cannot_be_met_is_refused():
    with pytest.raises(InputError, match="did you mean res3"):
        OpsBench(ops=("res33",))
    with pytest.raises(InputError, match="runtimes are"):
        OpsBench(runtimes=("magic",))
    with pytest.raises(InputError, match=r"timed in a runtime on an image; got .*, 0"):
        OpsBench(batch_size=0)
    with pytest.raises(InputError, match="spaces are"):
        record.record(OpsBench(space="nowhere", runtimes=("torch",)))


def test_no_shipped_candidate_is_dominated_in_the_record():
    saved = ops_bench.load()
    space = lk.spaces.edge()
    assert saved.made["space_digest"] == space.digest and saved.made["load_average"] > 0
    timed = {(one.place, one.op) for one in saved.rows if one.candidate}
    assert timed == {(place, op) for place, names in places(space).items() for op in names}, "every one was timed"
    assert all(set(one.timings) == {"torch", "onnxruntime", "openvino"} for one in saved.rows)
    lost = [row for row, _ in dominated(saved.rows)]
    assert lost and not any(one.candidate for one in lost)
    for one in saved.rows[::7]:
        module = lk.spaces.OPS[one.op](one.in_channels, one.out_channels, one.stride)
        size = count(module, (one.in_channels, *one.size))
        assert (one.parameters, one.macs) == (size.parameters, size.macs)
