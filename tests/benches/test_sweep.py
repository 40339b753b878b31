"""The sweep bench: what is run, how it is judged, and that nothing is run twice."""

import json
from dataclasses import asdict, replace

import pytest

import labkit as lk
from labkit.benches import sweep
from labkit.benches.sweep import Row
from labkit.benches.tabular.table import TabularBenchmark, Timed
from labkit.networks.complexity import Complexity
from labkit.oneshot.config import SearchConfig
from labkit.system import storage
from labkit.system.errors import InputError

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=4, batch_size=16, evaluation_images=50, calibration_images=32
)


@pytest.fixture
def known(space, data, table, box):
    """A tabular that was never trained."""
    errors, ms = box[0].values[:, None].expand(-1, 3), [table.table_ms(a) for a in space]
    timed = Timed("torch-b1", table.card, tuple(replace(table.floor, best_ms=x, median_ms=x) for x in ms), tuple(ms))
    none = (Complexity(0, 0, 0),) * space.size
    return TabularBenchmark(space, errors, errors, none, errors, (timed,), {"data": data.card(), "training": {}}, {})


def test_every_way_is_run_and_none_again(known, data, table):
    saved = []
    rows = sweep.measure(
        known, data, table, TINY, latency_weights=(0.0, 9.0), seeds=2, on_row=lambda rows: saved.append(list(rows))
    )
    assert [(row.way, row.seed) for row in rows] == [(way, seed) for seed in (0, 1) for way in sweep.WAYS]
    alone = lk.search(lk.Supernet(known.space, seed=1), data, table, replace(TINY, seed=1, latency_weight=9.0))
    assert rows[5].architectures[1] == str(alone.architecture) and rows[5].passes == 2 * alone.passes
    by_error = lk.sweep(
        lk.Supernet(known.space, seed=0), data, table, (0.0, 9.0), replace(TINY, seed=0, task_cost="error")
    )
    assert rows[1].architectures == tuple(str(r.architecture) for r in by_error)
    assert [len(rows) for rows in saved] == [1, 2, 3, 4, 5, 6]
    again = sweep.measure(known, data, table, TINY, latency_weights=(0.0, 9.0), seeds=2, done=saved[2])
    assert again[:3] == rows[:3] and [r.architectures for r in again] == [r.architectures for r in rows]
    text = sweep.to_text(known, rows)
    assert "over 2 seeds one sweep reaches" in text


def test_the_exact_front_reaches_all_of_itself(known):
    front = [str(p.architecture) for p in known.frontier()]
    row = lambda *ops: Row("one sweep", 0, (0.0,) * len(ops), ops, 0, 0)
    assert row(*front).share(known) == pytest.approx(1)
    assert 0 < row(front[0], front[1]).share(known) < 0.9
    slowest = max(known.points(), key=lambda p: p.latency_ms)
    assert row(str(slowest.architecture)).share(known) == 0


def test_other_images_and_damaged_files_are_refused(known, data, table):
    with pytest.raises(InputError, match="the tabular benchmark was made on"):
        sweep.measure(known, lk.data.glyphs(64, 64, 64, seed=5), table, TINY)
    with pytest.raises(InputError, match="needs a seed"):
        sweep.measure(known, data, table, TINY, seeds=0)


def test_the_text_says_the_shares_and_the_price_of_one_sweep(known):
    """By hand: one sweep of two weights costs 1,000 passes, and the two searches 3,200 in all."""
    front = [str(p.architecture) for p in known.frontier()]
    one = [Row("one sweep", seed, (0.3, 3.0), (front[0], front[-1]), 1_000 + seed, 7.4) for seed in (0, 1)]
    each = [Row("a search each", seed, (0.3, 3.0), (front[0], front[1]), 3_200.0, 21.0) for seed in (0, 1)]
    lines = sweep.to_text(known, [*one, *each]).splitlines()
    shares = [row.share(known) for row in (*one, *each)]
    assert [float(line[26:40].split("%")[0]) for line in lines[1:5]] == pytest.approx(
        [100 * x for x in shares], abs=0.05
    )
    assert "1,000" in lines[1] and "1,001" in lines[2] and lines[1].endswith(" 7") and lines[3].endswith(" 21")
    price = (2 * 1_000 / 3_200 + 2 * 1_001 / 3_200) / 2
    ratio = shares[0] / shares[2]
    says = (
        f"reaches {ratio:.1%} of what a search each reaches ({ratio:.1%} to {ratio:.1%}), for the cost of {price:.2f}"
    )
    assert says in lines[5] and f"{price:.2f}" == "0.63"


def test_a_damaged_file_names_the_place(tmp_path):
    value = {"kind": sweep.KIND, "schema": sweep.SCHEMA, "made": {}}
    path = storage.write_json(tmp_path / "s.json", value, rows=[{"way": "one sweep", "seed": "x"}])
    with pytest.raises(InputError, match=r"a damaged sweep bench: Expected `int`, got `str` - at `\$.rows\[0\].seed`"):
        sweep.load(path)


def test_the_shipped_rows_are_those_of_the_raw_file():
    raw = json.loads((storage.DATA / "results" / "sweep.json").read_text())["rows"]
    assert [json.loads(json.dumps(asdict(row))) for row in sweep.load()] == raw
