"""The deadline bench on a made-up tabular: every method is judged by what the table says."""

import json
from dataclasses import asdict

import pytest
import torch

from labkit.benches import deadlines
from labkit.benches.tabular.table import TabularBenchmark, Timed
from labkit.latency.cards import Card, Timing
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
    box = deadlines._Box(known, None, 3, 2)
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
