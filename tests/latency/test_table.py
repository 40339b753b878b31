"""A latency table: sums of parts against recomputations, files on disk, and what is refused."""

import dataclasses
import json
import math

import pytest
import torch

import labkit as lk
from labkit.latency import table as latency
from labkit.latency.cards import Timing
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import measure
from labkit.latency.table import LatencyTable, shipped_table, shipped_tables
from labkit.runtimes.registry import RUNTIMES
from labkit.spaces import Edge, SearchSpace


def test_table_is_the_sum_of_its_parts(space, table):
    for architecture in list(space)[::40]:
        expected = table.floor.best_ms + sum(t.best_ms - table.floor.best_ms for _, t in table.fixed)
        for slot, op in zip(table.slots, architecture.ops):
            expected += dict(slot)[op].best_ms - table.floor.best_ms
        assert table.table_ms(architecture) == pytest.approx(expected)
        assert table(space.encode(architecture)[None].double()).item() == pytest.approx(expected)


def test_table_of_probabilities_is_the_mean_over_the_space(space, table):
    p = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p /= p.sum(-1, keepdim=True)
    mean = sum(
        math.prod(p[s, slot.index(op)].item() for s, (slot, op) in enumerate(zip(space.slots, a.ops)))
        * table.table_ms(a)
        for a in space
    )
    assert table(p[None]).item() == pytest.approx(mean)


def test_the_same_parts_in_another_order_tie_exactly(space):
    """Layers 1 and 2 do the same work, and so do 3 and 4: sums that differ in the last bit would not be equal."""
    table = LatencyTable.load("five_layer-torch-b1")
    for architecture in space:
        first, second, third, fourth, last = architecture.ops
        turned = space.architecture((second, first, fourth, third, last))
        assert table.table_ms(architecture) == table.table_ms(turned)


def test_range(space, table):
    every = [table.table_ms(a) for a in space]
    assert table.range_ms() == pytest.approx((min(every), max(every)))


def test_json_round_trip(tmp_path, table, space):
    table.save(tmp_path / "t.json")
    loaded = LatencyTable.load(tmp_path / "t.json")
    assert loaded.card.origin == "recorded" and loaded.card.differences(table.card) == ()
    assert all(loaded.table_ms(a) == table.table_ms(a) for a in list(space)[::9])
    loaded.check(space)


@pytest.mark.parametrize("ms", [0, -0.1, "NaN", "Infinity", None])
def test_a_table_with_impossible_milliseconds_is_refused(tmp_path, table, ms):
    value = table.to_json()
    value["slots"][2][1]["best_ms"] = float(ms) if isinstance(ms, str) else ms
    (tmp_path / "t.json").write_text(json.dumps(value))
    with pytest.raises(
        lk.InputError, match=r"positive number of milliseconds|damaged or truncated JSON|Expected `float`, got `null`"
    ):
        LatencyTable.load(tmp_path / "t.json")


def test_a_table_of_another_protocol_is_refused(tmp_path, table):
    value = table.to_json()
    value["card"]["protocol"] = 1
    (tmp_path / "t.json").write_text(json.dumps(value))
    with pytest.raises(lk.InputError, match=r"timed by protocol 1, and this labkit times by 2.*measure it again"):
        LatencyTable.load(tmp_path / "t.json")


@pytest.mark.parametrize("key", ["card", "floor", "slots", "space_digest"])
def test_a_table_with_a_part_missing_is_refused(table, key):
    value = table.to_json()
    del value[key]
    with pytest.raises(lk.InputError, match="damaged"):
        LatencyTable.from_json(value)


def test_a_missing_entry_is_an_error_with_the_known_ones_named(table):
    nearest = r"no 'conv9x9' in slot 0 of five_layer; nearest: conv5x5 or conv3x3 \(of conv5x5, conv3x3, maxpool3x3\)"
    with pytest.raises(lk.InputError, match=nearest):
        table.table_ms(lk.Architecture("five_layer", ("conv9x9",) * 5))


def test_a_table_of_another_space_is_refused(table):
    with pytest.raises(lk.InputError, match="is of five_layer"):
        table.check(lk.spaces.mobile())
    with pytest.raises(lk.InputError, match="is of five_layer"):
        table.check(lk.spaces.five_layer(classes=26))
    swapped = dataclasses.replace(table, slots=(table.slots[0][::-1], *table.slots[1:]))
    with pytest.raises(lk.InputError, match="slot 0 of the latency table has maxpool3x3, conv3x3, conv5x5 where"):
        swapped.check(lk.spaces.five_layer())
    with pytest.raises(lk.InputError, match="slot 4 of the latency table has nothing where"):
        dataclasses.replace(table, slots=table.slots[:-1]).check(lk.spaces.five_layer())
    with pytest.raises(lk.InputError, match="got an architecture of mobile-tiny"):
        table.table_ms(lk.spaces.mobile().sample(1, torch.Generator())[0])


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_a_measured_table_orders_what_is_measured_whole(space, runtime):
    """All three 5x5 networks are slower than all-pooling ones by a wide margin on either runtime."""
    conditions = TimingConditions(runtime=runtime, seconds=0.03)
    table = LatencyTable.measure(space, conditions)
    table.check(space)
    assert table.card.runtime == runtime and table.card.origin == "measured" and table.card.batch_size == 1
    ends = [space.architecture([op] * 5) for op in ("maxpool3x3", "conv5x5")]
    fast, slow = measure([lk.derive(space, a) for a in ends], dataclasses.replace(conditions, seconds=0.1))
    assert fast.measured_ms < slow.measured_ms and table.table_ms(ends[0]) < table.table_ms(ends[1])
    assert 0.2 < table.table_ms(ends[1]) / slow.measured_ms < 5


def test_a_table_of_openvino_in_bfloat16(space):
    conditions = TimingConditions(runtime="openvino", dtype="bfloat16", seconds=0.005, rounds=2)
    table = LatencyTable.measure(space, conditions)
    assert table.card.dtype == "bfloat16" and table.overhead_ms > 0


def test_shipped_tables_load_and_fit_their_spaces():
    tables = shipped_tables()
    assert {"five_layer-torch-b1", "mobile-tiny-onnxruntime-b32"} <= {name.split("/")[1] for name in tables}
    for name, path in tables.items():
        table = LatencyTable.load(path)
        table.check(lk.spaces.by_name(table.space))
        assert table.card.origin == "recorded" and shipped_table(name) == path
        assert LatencyTable.load(name).to_json() == table.to_json(), "its device may be named"
        assert shipped_table(name.split("/")[1]).parent.name <= path.parent.name, "of several devices the first"
        assert path.with_suffix(".additivity.json").exists(), "how far to trust it"
    with pytest.raises(lk.InputError, match="no latency table is called 'nonsense'"):
        LatencyTable.load("nonsense")


def test_a_gpus_recorded_sums_order_networks_as_measuring_again_does():
    """Of CUDA graphs, whose parts are timed many times over in one graph; eager ones are mostly Python."""
    names = [n for n in latency.shipped_tables() if n.startswith("gpu-") and "cuda-graph" in n]
    assert len(names) >= 10
    for name in names:
        of = {score.name: score for score in lk.latency.additivity.recorded(name)}
        assert of["sum of parts"].spearman > 0.98 and of["scaled sum"].within_5 == 1.0, name


def test_a_part_many_times_over_in_one_call_is_put_back_to_once():
    """Calls that take 3 ms and 2 ms a time: 67 ms for 32 times, 131 for 64."""
    timing = lambda times: Timing.of([3 + 2 * times] * 4 + [3.3 + 2.2 * times])
    timed = {"stem": timing(32), "conv": Timing.of([3 + 32 * 0.5] * 5), "floor": timing(64)}
    once = latency._of_one(timed, "stem", "best")
    assert once["floor"].best_ms == pytest.approx(3) == once["floor"].median_ms
    assert once["stem"].best_ms == pytest.approx(5) and once["conv"].median_ms == pytest.approx(3.5)
    assert once["stem"].median_within == pytest.approx(timing(32).median_within * 67 / 32 / 5)


@pytest.mark.parametrize(
    ("runtime", "repeats"), [("tensorrt-cuda-graph", 32), ("torch-cuda-graph", 32), ("openvino", 1)]
)
def test_a_part_is_repeated_where_one_launch_would_outlast_it(space, monkeypatch, tmp_path, runtime, repeats):
    asked = []
    monkeypatch.setattr(latency, "usable", lambda name, *_: RUNTIMES[name])
    monkeypatch.setattr(latency, "prepare", lambda part, name, x, how: asked.append(how) or torch.relu)
    monkeypatch.setattr(latency, "_of_one", lambda timed, first, statistic: timed)
    LatencyTable.measure(space, TimingConditions(runtime=runtime, seconds=0.001, rounds=2), engines=tmp_path)
    assert [how.repeats for how in asked] == [repeats] * (len(asked) - 1) + [2 * repeats if repeats > 1 else 1]
    assert {how.engines for how in asked} == {tmp_path}


@pytest.fixture
def clocked(monkeypatch):
    """A clock by which every part takes 1 ms and nothing takes 0.1, and what each call read."""
    read = []

    def time_interleaved(calls, **_):
        return [Timing(1.0, 1.0, 0.01, 3)] * (len(calls) - 1) + [Timing(0.1, 0.1, 0.01, 3)]

    def random_batches(conditions, shape):
        read.append(shape)
        return torch.zeros(4, 1, *shape)

    monkeypatch.setattr(latency, "time_interleaved", time_interleaved)
    monkeypatch.setattr(latency, "random_batches", random_batches)
    return read


def test_edges_that_share_a_slot_are_counted_each(clocked):
    """Three layers, whether they choose by themselves or together: the same network, the same milliseconds."""
    found = []
    for slots in ((0, 1, 2), (0, 0, 0), (0, 1, 0)):
        edges = (Edge(3, 16, 2, fixed="conv3x3"), *(Edge(16, 16, slot=k) for k in slots))
        choices = (("conv3x3", "maxpool3x3"),) * len(set(slots))
        space = SearchSpace("shared", choices, edges, (3, 32, 32), 10, "average")
        table = LatencyTable.measure(space)
        found.append(table.table_ms(space[0]))
        assert table(space.encode(space[0])[None].double()).item() == pytest.approx(found[-1])
    assert found == pytest.approx([0.1 + 5 * 0.9] * 3)


@pytest.mark.parametrize("image", [(3, 32, 64), (3, 64, 32), (1, 28, 36)])
def test_what_is_timed_has_the_height_and_the_width_of_the_space(clocked, image):
    edges = (Edge(image[0], 8, 2, fixed="conv3x3"), Edge(8, 8, slot=0), Edge(8, 16, 2, slot=1))
    space = SearchSpace("own", (("conv3x3", "conv5x5"),) * 2, edges, image, 10, "flat")
    table = LatencyTable.measure(space)
    height, width = image[1:]
    assert set(clocked) == {
        image, (8, height // 2, width // 2), (16, height // 4, width // 4)
    } and table.card.input_shape == image  # fmt: skip
