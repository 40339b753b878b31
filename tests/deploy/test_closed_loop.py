"""Three clocks for the same networks, with made-up times where the answer must be known."""

import json
import types
from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit import plots
from labkit.deploy import closed_loop
from labkit.deploy.closed_loop import ClosedLoop, along_the_frontier, validate
from labkit.pareto import Point
from labkit.runtimes.fusion import fusions

CONFIG = lk.SearchConfig(evaluation_images=100, calibration_images=64)


def measured(ms: float, spread: float = 0.0, runtime: str = "onnxruntime", batch_size: int = 1) -> lk.Measurement:
    timing = lk.Timing(best_ms=ms, median_ms=ms, spread_ms=spread, n=10)
    return lk.Measurement(
        timing, lk.latency.card_of(lk.TimingConditions(runtime=runtime, batch_size=batch_size), (3, 32, 32))
    )


def a_loop(space, table, compiled, spread=0.0, errors=(0.5, 0.4, 0.3, 0.2)) -> ClosedLoop:
    points = tuple(Point(space[i], error, ms) for i, (error, ms) in enumerate(zip(errors, table)))
    clocks = [tuple(measured(ms, spread, name) for ms in compiled) for name in ("torch", "onnxruntime")]
    return ClosedLoop(points, *clocks, clocks[0][0].card)


def test_a_table_that_is_right_misleads_nobody(space):
    loop = a_loop(space, (1, 2, 3, 4), (10, 20, 30, 40))
    assert loop.agreement("table", "compiled").tau == 1 and loop.misled == ()
    assert loop.measured_frontier == loop.predicted_frontier == (0, 1, 2, 3)
    assert "the table misled in no pair" in closed_loop.to_text(loop)


def test_where_the_table_misled_is_named_worst_first(space):
    loop = a_loop(space, (1, 2, 3, 4), (10, 40, 30, 20))
    assert loop.misled == ((1, 3), (1, 2), (2, 3))
    assert loop.agreement("table", "compiled").tau == pytest.approx(0)
    assert loop.predicted_frontier == (0, 1, 2, 3) and loop.measured_frontier == (0, 3), (
        "what is slower and worse has left the frontier"
    )
    text = closed_loop.to_text(loop)
    assert "misled in 3 pairs" in text and "40.000 and 20.000 ms in onnxruntime" in text
    assert "frontier: 4 by the table, 2 by onnxruntime, 2 on both" in text
    value = json.loads(json.dumps(loop.to_json()))
    assert value["frontier_compiled"] == [0, 3] and value["architectures"][1]["compiled_ms"] == 40
    assert plots.picture(plots.closed_loop(loop), "a figure").png


def test_a_difference_within_the_spread_is_no_mistake(space):
    assert a_loop(space, (1, 2, 3, 4), (10.2, 10.1, 30, 40), spread=0.1).misled == ()
    assert a_loop(space, (1, 2, 3, 4), (10.2, 10.1, 30, 40), spread=0.01).misled == ((0, 1),)


def test_the_architectures_lie_along_the_frontier_and_the_chosen_one_is_among_them(space, data, table):
    supernet = lk.Supernet(space)
    slow = max(space, key=table.table_ms)
    points = along_the_frontier(supernet, data, table, CONFIG, slow, 20)
    assert len(points) == 20 == len({p.architecture for p in points}) and slow in {p.architecture for p in points}
    assert [p.latency_ms for p in points] == sorted(p.latency_ms for p in points)
    judged = lk.evaluate(supernet, space, data, table, CONFIG)
    assert set(lk.Frontier.of(judged)) <= set(points), "the whole frontier, then what lies next to it"
    with pytest.raises(lk.InputError, match="at least 3 architectures; got 2"):
        along_the_frontier(supernet, data, table, CONFIG, slow, 2)


def test_a_space_too_large_to_evaluate_is_sampled_around_the_chosen_one(make_table):
    space = lk.spaces.mobile()
    chosen = space.sample(1, torch.Generator().manual_seed(1))[0]
    judged = closed_loop._to_evaluate(space, chosen, 0)
    assert len(judged) == closed_loop.SCAN == len(set(judged)) and judged[0] == chosen
    near = sum(sum(a != b for a, b in zip(other.ops, chosen.ops)) == 1 for other in judged)
    assert near >= sum(len(slot) - 1 for slot in space.slots), "every neighbour"


def test_the_clocks_are_measured_here(space, table):
    points = [Point(space[i], 0.1, table.table_ms(space[i])) for i in (0, 121, 242)]
    loop = validate(space, points, table, lk.TimingConditions(runtime="onnxruntime", seconds=0.02))
    assert {m.card.runtime for m in loop.eager} == {"torch"}
    assert {m.card.runtime for m in loop.compiled} == {"onnxruntime"}
    assert (loop.ms["compiled"] > 0).all() and loop.table_card == table.card
    with pytest.raises(lk.InputError, match="at least 3 architectures; got 1"):
        validate(space, points[:1], table)


@pytest.fixture
def timed(monkeypatch):
    """The conditions that were asked for, and a millisecond for every network."""
    asked = []

    def measure(networks, conditions, *, image):
        same = {"runtime": conditions.runtime, "batch_size": conditions.batch_size}
        asked.append(tuple(same.values()))
        return [measured(1.0 + i, **same) for i in range(len(networks))]

    monkeypatch.setattr(closed_loop, "measure", measure)
    return asked


def test_other_conditions_than_the_tables_are_said(space, table, timed):
    points = [Point(space[i], 0.1, table.table_ms(space[i])) for i in (0, 121, 242)]
    of_32 = replace(table, card=replace(measured(1.0, runtime="torch").card, batch_size=32))
    loop = validate(space, points, of_32)
    assert timed == [("torch", 32), ("onnxruntime", 32)], "the table's batch"
    assert "batch_size" not in loop.unlike and "runtime" in loop.unlike
    loop = validate(space, points, of_32, lk.TimingConditions(runtime="onnxruntime", batch_size=8))
    text = closed_loop.to_text(loop)
    assert f"table: {of_32.card}" in text and f"onnxruntime: {loop.compiled[0].card}" in text
    assert "these two differ in runtime, versions, batch_size" in text
    assert loop.to_json()["unlike"] == ["runtime", "versions", "batch_size"]
    assert "these two are alike" in closed_loop.to_text(replace(loop, table_card=loop.compiled[0].card))


def test_what_became_of_the_chosen_networks_layers_is_said(space, table, timed, monkeypatch):
    points = [Point(space[i], 0.1, table.table_ms(space[i])) for i in (0, 121, 242)]
    loop = validate(space, points, table, chosen=space[0])
    assert (
        loop.fused == fusions(lk.derive(space, space[0]).eval(), torch.zeros(2, 3, 32, 32)) and not loop.engine_layers
    )
    assert 0 < loop.nodes < len(loop.fused)
    text, value = closed_loop.to_text(loop), json.loads(json.dumps(loop.to_json()))
    assert f"{len(loop.fused)} layers of PyTorch became {loop.nodes} nodes" in text
    assert all(f"  {row}" in text for row in loop.fused)
    assert value["fused"]["nodes"] == loop.nodes and value["fused"]["rows"][0]["layer"] == loop.fused[0].layer
    monkeypatch.setattr(closed_loop, "fusions", lambda network, example: loop.fused)
    monkeypatch.setattr(closed_loop, "onnx_bytes", lambda network, example: b"model")
    monkeypatch.setattr(closed_loop.tensorrt_engines, "build", lambda model, flavour: (model, flavour))
    layers = types.SimpleNamespace(layers=lambda: [{"Name": "conv + relu"}, {"Name": "gemm"}])
    monkeypatch.setattr(closed_loop.tensorrt_engines, "EngineRun", lambda engine, device: layers)
    loop = validate(space, points, table, lk.TimingConditions(runtime="tensorrt-cuda-graph"), chosen=space[0])
    assert loop.to_json()["engine_layers"] == ["conv + relu", "gemm"]
    assert "in tensorrt-cuda-graph they are 2 layers: conv + relu, gemm" in closed_loop.to_text(loop)
