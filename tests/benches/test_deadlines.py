"""The deadline bench on a made-up tabular: every method is judged by what the table says."""

import json
from dataclasses import asdict, replace

import pytest
import torch

import labkit as lk
from labkit.benches import deadlines, record
from labkit.benches.tabular.table import TabularBenchmark, Timed
from labkit.latency.cards import Card, Timing
from labkit.oneshot.config import SearchConfig
from labkit.system import storage
from labkit.system.errors import InputError


@pytest.fixture(scope="module")
def known(box):
    cost, ms, parts = box
    card = Card("none", "onnxruntime", (), "float32", "NCHW", 1, cost.space.image, 1, "best")
    timings = tuple(Timing(x, x, 0.0, 15) for x in ms.values.tolist())
    timed = Timed("onnxruntime-b1", card, timings, tuple(parts.values.tolist()))
    error = cost.values[:, None].expand(-1, 3)
    return TabularBenchmark(cost.space, error, error, (), torch.zeros(243, 3), (timed,), {}, {})


@pytest.fixture(scope="module")
def rows(known):
    return deadlines.measure(known, at=(0.3, 0.8), seeds=2, steps=100)


def test_what_is_counted_is_what_the_table_says(known, box, rows):
    cost, ms, _ = box
    assert [(row.method, row.quantile) for row in rows] == [
        (method, quantile) for quantile in (0.3, 0.8) for method in deadlines.METHODS
    ]
    for row in rows:
        assert row.deadline_ms == pytest.approx(ms.values.quantile(row.quantile).item())
        best = cost.values[ms.values <= row.deadline_ms].min().item()
        found = [known.space.architecture(name.split("-")) for name in row.found if name]
        in_time = [a for a in found if ms.of(a) <= row.deadline_ms]
        assert row.in_time == len(in_time) / 2
        assert row.near_best == sum(cost.of(a) - best <= 0.01 for a in in_time) / 2
        assert row.worst_gap == pytest.approx(max((cost.of(a) - best for a in in_time), default=0))


def test_the_deadline_is_kept_and_the_front_counted(known, rows):
    over = deadlines.summaries(known, rows)
    kept = over[0]
    assert kept.method == "deadline" and kept.in_time == 1.0
    front = {str(p.architecture) for p in known.frontier()}
    by_deadline = {name for row in rows if row.method == "deadline" for name in row.found}
    assert kept.reached == len(front & by_deadline) / len(front)
    text = deadlines.to_text(rows, over)
    assert "deadline: in time 100.0 %" in text and text.count("(0.30)") == 1


def test_the_bar_is_of_the_deadline_alone():
    of = lambda method, in_time, near: deadlines.Summary(method, in_time, near, 0.5)
    assert deadlines.passed([of("deadline", 0.98, 0.9), of("hinge", 0.1, 0.1)])
    assert not deadlines.passed([of("deadline", 0.97, 1.0), of("hinge", 1.0, 1.0)])
    assert not deadlines.passed([of("deadline", 1.0, 0.89)])


def test_wrong_quantiles_and_seeds_are_refused(known):
    for wrong in ({"at": (0.0,)}, {"at": (0.5, 1.0)}, {"seeds": 0}):
        with pytest.raises(InputError, match="quantiles between 0 and 1"):
            deadlines.measure(known, **wrong)
    assert deadlines.quantiles(2) == (0.25, 0.75)


def test_every_method_of_a_seed_is_run_with_that_seed(known, monkeypatch):
    """A fake descent writes down its generator: each seed once a deadline for the hinge, and once a corner swept."""
    seeds, weights = [], []

    def fake(cost, dist, estimator, *, generator, **how):
        seeds.append(generator.initial_seed())
        weights.append(cost)
        return known.space[generator.initial_seed()]

    monkeypatch.setattr(deadlines, "descend", fake)
    box = deadlines._BlackBoxes(known, None, 3, 2)
    corners = len(box.weights)
    rows = deadlines.measure(known, at=(0.2, 0.9), seeds=3, steps=3, draws=2)
    assert seeds == [seed for seed in range(3) for _ in range(corners)] + 2 * [0, 1, 2]
    ms = dict(zip(map(str, known.space), known.ms().tolist()))
    for row in rows:
        if row.method == "hinge":
            names = [str(known.space[seed]) for seed in range(3)]
            assert row.found == tuple(name if ms[name] <= row.deadline_ms else "" for name in names)


def test_the_text_is_the_rows(known, rows):
    lines = deadlines.to_text(rows, deadlines.summaries(known, rows)).splitlines()
    for quantile, line in zip((0.3, 0.8), lines[2:4]):
        of = [row for row in rows if row.quantile == quantile]
        cells = [f"{100 * row.in_time:.0f}, {100 * row.near_best:.0f}" for row in of]
        assert line.split(")")[1].split() == " ".join(cells).split()
        assert line.startswith(f"{of[0].deadline_ms:.3f} ms ({quantile:.2f}")
    asked = [row.evaluated for row in rows if row.evaluated is not None]
    assert lines[-1].endswith(f"the cost of {sum(asked) / len(asked):.0f} of them")


def test_the_shipped_rows_are_those_of_the_raw_file():
    raw = json.loads((storage.DATA / "results" / "deadlines.json").read_text())["rows"]
    assert [json.loads(json.dumps(asdict(row))) for row in deadlines.load()] == raw


# --- searches on shared weights beside the exact table -----------------------------------------------------------

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=40, batch_size=16, evaluation_images=50, calibration_images=32
)


def test_a_search_on_shared_weights_is_counted_as_its_history_says(space, data, table):
    low, high = table.range_ms()
    rows = deadlines.search_under(space, data, table, replace(TINY, seed=3), at=(0.3, 0.7))
    asked = [low + share * (high - low) for share in (0.3, 0.7)]
    found = lk.sweep(lk.Supernet(space, seed=3), data, table, (), replace(TINY, seed=3), deadlines_ms=asked)
    for row, result, deadline_ms in zip(rows, found, asked):
        assert row.found == str(result.architecture) and row.deadline_ms == pytest.approx(deadline_ms, abs=1e-6)
        assert row.used == pytest.approx(result.point.latency_ms / deadline_ms, abs=1e-4)
        ms = [r["expected_ms"] for r in result.history if r["phase"] == "joint"]
        assert row.expected == pytest.approx((min(ms[10:]) / deadline_ms, max(ms[10:]) / deadline_ms), abs=1e-3)
        assert row.held and 0.9 <= row.used <= 1


def test_the_verdict_on_shared_weights_could_have_seen_a_deadline_that_is_not_used():
    row = deadlines.Searched("s", "d", 0, 0.18, "a", 0.175, (0.93, 1.0), 0.5, 10.0)
    assert [holds for _, holds in deadlines.uses_of([row, replace(row, data="e")])] == [True] * 4
    once = [row] * 19 + [replace(row, ms=0.15)]
    assert [holds for _, holds in deadlines.uses_of(once)] == [True] * 2
    assert [holds for _, holds in deadlines.uses_of(once[1:])] == [False, True], "18 of 19 are not nearly all"
    as_before = replace(row, ms=0.1, expected=(0.52, 0.9))
    claims = deadlines.uses_of([row, as_before])
    assert [holds for _, holds in claims] == [False, False] and "50 % choose at 90 to 100 %" in claims[0][0]


def test_a_bench_of_sweeps_is_resumed(tmp_path, space, data, table, monkeypatch):
    asked = []

    def fake(space, images, table, config, *, at):
        asked.append(config.seed)
        return [deadlines.Searched(space.name, images.name, config.seed, 0.1, "a", 0.095, (0.95, 1.0), 0.5, 1.0)]

    monkeypatch.setattr(deadlines, "search_under", fake)
    monkeypatch.setattr(deadlines.image_sets, "by_name", lambda name, **_: data)
    made = deadlines.DeadlineBench(deadlines=1, seeds=0, supernets=1, sets=("glyphs",))
    first = record.record(made, tmp_path / "d.json")
    more = record.record(replace(made, supernets=3), tmp_path / "d.json")
    assert asked == [0, 1, 2] and len(more.rows) == 3 and more.rows[:1] == first.rows and more.passed
    assert "seed 2: 0.100 ms, expected 95 to 100 % of it, chosen 95 %" in more.text
    assert record.load(deadlines.DeadlineBench, tmp_path / "d.json").searched == more.rows
