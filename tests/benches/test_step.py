"""The step bench: both steps follow the same gradients, and what is counted is what there is."""

from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit import cli
from labkit.benches import step as step_bench
from labkit.benches.step import Growth, ObviousStep, OurStep, Row, fewer, growth, peak_bytes, shorter, step_macs
from labkit.estimators.gradient_estimators import Unas
from labkit.latency.cards import Timing
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.task_cost import TaskCost
from labkit.system.errors import InputError


@pytest.mark.parametrize("name", ["five_layer", "mobile-tiny"])
def test_both_follow_the_same_gradients(name, data, make_table):
    """In float64, from the same draw: the architecture's and every weight's."""
    space, config = lk.spaces.by_name(name), SearchConfig(batch_size=8)
    supernet = lk.Supernet(space).double()
    batches = [
        tuple(t.double() if t.is_floating_point() else t for t in next(part.batches(8)))
        for part in (data.train, data.valid)
    ]
    obvious = ObviousStep(supernet, data, config, make_table(space))
    obvious.dist.double()
    obvious.gradients(*batches)
    ours = TaskCost(supernet, list(supernet.parameters()), *batches, config)
    dist, generator = lk.ArchDistribution(space).double(), torch.Generator().manual_seed(config.seed)
    estimate = Unas()(ours, dist, 1, generator)
    close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    close(estimate.gradient, obvious.architecture)
    for mine, theirs in zip(ours.weight_gradients, obvious.weights, strict=True):
        close(mine, theirs)
    assert obvious.architecture.abs().max() > 1e-3
    again = ObviousStep(supernet, data, replace(config, seed=1), make_table(space))
    again.dist.double()
    again.gradients(*batches)
    assert not torch.allclose(again.architecture, obvious.architecture), "another draw, another gradient"


def test_a_step_moves_logits_and_weights(space, data, table):
    supernet, config = lk.Supernet(space), SearchConfig(batch_size=8, latency_weight=1.0)
    for step in (ObviousStep(supernet, data, config, table), OurStep(supernet, data, config, table)):
        step()
        owner = getattr(step, "run", step)
        dist = owner.controllers[0].dist if step is not owner else owner.dist
        assert dist.logits.abs().max() > 0
        before, after = dict(supernet.named_parameters()), dict(owner.supernet.named_parameters())
        assert all(not torch.equal(before[name], after[name]) for name in before)


def test_peak_memory_is_what_was_held_at_once():
    def call():
        first = torch.zeros(1_000, 1_000)  # 4 MB
        second = first + 1  # 8 MB
        del first
        return second * 2  # 8 MB

    assert 8_000_000 <= peak_bytes(call) < 8_100_000


def test_the_floor_counts_every_candidate(space):
    macs = lambda supernet: lk.networks.complexity.count(lk.derive(supernet.space, supernet.space[0])).macs
    one, two = (lk.Supernet(fewer(space, n)) for n in (1, 2))
    assert step_macs(one) == 7 * macs(one), "one candidate: two passes forward, and five times the work of one"
    small = replace(space, name="small", slots=tuple(slot[1:2] for slot in space.slots))
    mixed = macs(one) + macs(lk.Supernet(small)) - lk.networks.complexity.count(lk.derive(space, space[242])).macs
    assert step_macs(two) == 5 * mixed + mixed, "both, with what is fixed counted once"
    with pytest.raises(InputError, match="at least one candidate"):
        fewer(space, 0)


def test_a_shorter_chain_keeps_its_first_layers_and_has_a_head_of_its_own(space):
    kept = shorter(space, 3)
    assert kept.slots == space.slots[:3] and kept.edges == space.edges[:5], "the stem, two layers, a pooling, a layer"
    assert lk.derive(kept, kept[0])(torch.zeros(2, *kept.image)).shape == (2, kept.classes)
    assert shorter(space, 5).edges == space.edges
    mobile = lk.spaces.mobile()
    assert [step_macs(lk.Supernet(shorter(mobile, n))) for n in (2, 4)] < [step_macs(lk.Supernet(mobile))] * 2
    assert step_macs(lk.Supernet(shorter(mobile, 2))) < step_macs(lk.Supernet(shorter(mobile, 4)))
    for n in (0, 6):
        with pytest.raises(InputError, match=f"five_layer has 1 to 5 layers to keep; got {n}"):
            shorter(space, n)


def a_row(origin="a", candidates=7, slots=8, batch_size=64, ms=10.0, floor_ms=5.0):
    timing = Timing(ms, ms, 0.0, 8)
    return Row(f"{origin}-cut", origin, candidates, slots, batch_size, 2, timing, timing, 1, 1, floor_ms)


def test_growth_follows_one_axis_at_a_time():
    whole = a_row(ms=80.0, floor_ms=20.0)
    rows = [whole, a_row(slots=2, ms=20.0), a_row(slots=4, ms=40.0), a_row(candidates=2, ms=40.0), a_row("b", ms=1.0)]
    candidates, layers = growth(rows)
    (batch_size,) = growth([whole, a_row(batch_size=32, ms=20.0)])
    assert layers == Growth("a", "slots", (2, 4, 8), (20.0, 40.0, 80.0), (4.0, 8.0, 4.0))
    assert layers.power == pytest.approx(1), "in proportion to the layers"
    assert (candidates.along, candidates.at, candidates.ms) == ("candidates", (2, 7), (40.0, 80.0))
    assert batch_size.at == (32, 64) and batch_size.power == pytest.approx(2)
    assert "a, layers 2, 4, 8: 20, 40, 80 ms, 4.0, 8.0, 4.0 times the floor, as power 1.00" in step_bench.to_text(rows)
    assert not growth([whole]) and not growth([whole, a_row(slots=2, batch_size=32)]), "two axes at once tell nothing"


def test_rows_of_a_measurement(space, data, make_table):
    rows = step_bench.measure({fewer(space, 2): "five_layer"}, data, make_table, batch_sizes=(4,), seconds=0.05)
    (row,) = rows
    assert (row.space, row.origin, row.candidates, row.slots, row.batch_size) == ("five_layer-2", "five_layer", 2, 5, 4)
    assert row.speedup > 0 and row.memory > 0 and row.floor_ms > 0
    assert "five_layer-2" in step_bench.to_text(rows) and step_bench.to_json(rows)[0]["batch_size"] == 4
    with pytest.raises(InputError, match="at least 2 images"):
        step_bench.measure({space: "five_layer"}, data, make_table, batch_sizes=(1,))


def test_the_command_cuts_the_space_both_ways_and_tells_how_a_step_grows(monkeypatch, tmp_path, capsys):
    once = lambda calls, **how: [(call(), Timing(4.0, 4.0, 0.0, 8))[1] for call in calls]
    monkeypatch.setattr(step_bench, "time_interleaved", once)  # each step is made, and no time taken over its time
    monkeypatch.setattr(step_bench, "macs_per_ms", lambda device: 1e7)
    out = tmp_path / "step.json"
    typed = "bench step --spaces five_layer --batch-sizes 2 --candidates 1 --layers 2 --seconds 0.01 --threads 1"
    assert cli.main([*typed.split(), "--out", str(out)]) == 0
    found = lk.system.storage.read_json(out, step_bench.KIND, step_bench.SCHEMA)
    assert [row["space"] for row in found["rows"]] == ["five_layer", "five_layer-1", "five_layer-2-layers"]
    for row in found["rows"]:
        assert row["origin"] == "five_layer"
        assert row["to_the_floor"] == pytest.approx(4 / row["floor_ms"], abs=1e-3)
    assert [(line["along"], line["at"]) for line in found["growth"]] == [("candidates", [1, 3]), ("slots", [2, 5])]
    assert "five_layer, layers 2, 5: " in capsys.readouterr().out


def test_the_shipped_steps_are_as_fast_as_is_said():
    """Of mobile-tiny with 64 images: twice as fast as the obvious step on two cores, three times on a GPU."""
    for name, least in (("step", 2), ("step-h200", 3)):
        file = lk.system.storage.DATA / "results" / f"{name}.json"
        found = lk.system.storage.read_json(file, step_bench.KIND, step_bench.SCHEMA)
        (row,) = [r for r in found["rows"] if (r["space"], r["batch_size"]) == ("mobile-tiny", 64)]
        assert row["obvious"]["best_ms"] / row["ours"]["best_ms"] == pytest.approx(row["speedup"], abs=1e-3)
        assert row["speedup"] > least and row["our_bytes"] / row["obvious_bytes"] < 0.7
