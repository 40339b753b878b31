"""A comparison of searches: equal cost, pairs of the same seed, and rows that outlive a kill."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

import labkit as lk
from labkit.benches import comparison
from labkit.benches.comparison import OURS, SCAN, SCRATCH, compare
from labkit.benches.comparison import run as making
from labkit.cli import main
from labkit.networks import parallel
from labkit.networks.training import TrainConfig
from labkit.oneshot.config import SearchConfig, SelectionConfig

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=4, batch_size=16, evaluation_images=50, calibration_images=32
)
SHORT = SelectionConfig(scan=4, entrants=2, images=64, rungs=2, final=None)
ONCE = TrainConfig(epochs=1, batch_size=64)
WEIGHTS = (0.0, 2.0)


def test_every_method_has_a_row_a_seed_and_none_spends_more_than_ours(found, space):
    rows = {(row.method, row.seed): row for row in found.rows}
    methods = ["sweep", OURS, "random, selected", "random", "evolution", "local-search", SCRATCH, SCAN]
    assert set(rows) == set(itertools.product(methods, (0, 1)))
    for seed in (0, 1):
        budget = rows[OURS, seed].passes
        assert rows["sweep", seed].passes < budget and rows[SCAN, seed].evaluated == space.size
        for method in ("random", "evolution", "local-search"):
            assert budget - 82 < rows[method, seed].passes <= budget
        assert rows[SCRATCH, seed].seconds == pytest.approx(rows[OURS, seed].seconds, abs=0.1)
    assert all(len(row.ops) == len(WEIGHTS) for row in found.rows)


@pytest.mark.parametrize("estimator", ["reinforce", "gumbel", "rebar"])
def test_another_estimator_gets_as_many_steps_as_cost_the_same(space, data, table, estimator):
    supernet, config = lk.Supernet(space), replace(TINY, joint_steps=40)
    steps = making._joint_steps_at_equal_cost(supernet, data, table, config, estimator)
    joint = lambda c: lk.search(supernet, data, table, replace(c, mixture_steps=0, weight_steps=0)).passes
    assert joint(replace(config, estimator=estimator, joint_steps=steps)) == pytest.approx(joint(config), rel=0.02)
    assert (steps > 40) is (estimator != "rebar")


def test_another_estimator_has_as_many_architectures_and_no_scale(space, data, table):
    config = replace(TINY, joint_steps=10, architectures=4, control_scale=0.5)
    steps = making._joint_steps_at_equal_cost(lk.Supernet(space), data, table, config, "gumbel")
    assert steps >= 10 and making._following(config, "gumbel").architectures == 4


def test_it_goes_on_where_it_was_stopped(found, space, data, table, known, tmp_path, monkeypatch):
    out, noted = tmp_path / "c.json", []

    def stop(row):
        noted.append(row)
        if len(noted) in (1, 3):
            raise KeyboardInterrupt

    again = lambda **more: compare(
        space, data, table, WEIGHTS, out, config=TINY, selection=SHORT, training=ONCE, tabular=known, **more
    )
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            again(seeds=2, on_row=stop)
    resumed = again(seeds=2, on_row=stop)
    timeless = lambda rows: [replace(row, seconds=0.0) for row in rows if row.method != SCRATCH]
    assert timeless(resumed.rows) == timeless(found.rows), "as if it had not been stopped"
    assert len(noted) == len(resumed.rows) and not list(tmp_path.glob("*.checkpoints/*/*"))
    assert again(seeds=2, on_row=stop).rows == resumed.rows and len(noted) == len(resumed.rows)
    swept = []
    monkeypatch.setattr(making, "sweep", lambda *a, **b: swept.append(a[4].estimator) or lk.sweep(*a, **b))
    more = again(seeds=2, estimators=("gumbel",))
    assert more.rows[: len(resumed.rows)] == resumed.rows and more.methods[-1] == "sweep, gumbel"
    assert list(more.estimators.items()) == [("unas", "sweep"), ("gumbel", "sweep, gumbel")]
    assert list(comparison.drawn(more, known, estimators=True)[0]) == ["unas", "gumbel"]
    assert list(comparison.drawn(more, known)[0]) == list(resumed.methods)
    assert swept == ["gumbel"] * 2, "the first sweep is not made again for what does not need it"
    with pytest.raises(lk.InputError, match=r"another comparison \(search differ\)"):
        compare(
            space, data, table, WEIGHTS, out,
            config=replace(TINY, joint_steps=5), selection=SHORT, training=ONCE, tabular=known,
        )  # fmt: skip


def test_the_file_says_which_commands_made_it(found, space, data, table, known, tmp_path):
    out, made = tmp_path / "c.json", {"command": "first", "device": "a", "date": "2026-01-01"}
    comparison.save(replace(found, rows=found.rows[:-1], made=made), out)

    def go_on(made):
        asked = {"config": TINY, "selection": SHORT, "training": ONCE, "tabular": known, "seeds": 2}
        return compare(space, data, table, WEIGHTS, out, made=made, **asked).made

    assert go_on(made | {"date": "2026-01-02"}) == made | {"date": "2026-01-02"}, "another day is no other maker"
    comparison.save(replace(found, rows=found.rows[:-1], made=made), out)
    second = {"command": "second", "device": "b", "date": "2026-01-03"}
    assert go_on(second) == second | {"earlier": [made | {"rows": len(found.rows) - 1}]}
    third = go_on({"command": "third"})
    assert [(e["command"], e["rows"]) for e in third["earlier"]] == [
        ("first", len(found.rows) - 1), ("second", len(found.rows)),
    ]  # fmt: skip
    assert go_on({}) == comparison.load(out).made, "a call that says nothing changes nothing"


def test_without_a_truth_what_was_chosen_is_trained(space, table, tmp_path, monkeypatch):
    images = lk.data.by_name("digits")
    out, reads, batches = tmp_path / "c.json", [], lk.data.Images.batches

    def watched(self, *arguments):
        if self.pixels.data_ptr() == images.test.pixels.data_ptr() and len(self):
            reads.append(self)
        return batches(self, *arguments)

    monkeypatch.setattr(lk.data.Images, "batches", watched)
    in_time = making._in_time
    monkeypatch.setattr(making, "_in_time", lambda jobs, *rest: in_time(jobs[:4], *rest[:-1], float("inf")))

    def stop(row):
        if (row.method, row.seed) == (SCRATCH, 0):
            raise KeyboardInterrupt

    again = lambda **more: compare(
        space, images, table, WEIGHTS, out, config=TINY, selection=SHORT, training=ONCE, seeds=2,
        baselines=("random",), estimators=("gumbel",), workers=1, **more,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        again(on_row=stop)
    begun = comparison.load(out)
    with pytest.raises(lk.InputError, match="networks that 'sweep' chose are not trained yet: resume"):
        begun.costs("sweep")
    text = comparison.to_text(begun)
    assert "chosen networks are not trained yet: what is of seed 0 is left out" in text
    assert "a verdict takes two seeds, and there is none" in text
    before = {row.ops: row for row in begun.trained}
    assert before and not reads and all(row.test_accuracy is None for row in before.values()), "still choosing"
    made = again()
    assert "random, selected" not in made.methods, "it was not asked for"
    chosen = {(ops, row.seed) for row in made.rows for ops in row.ops}
    tested = {row.job: row for row in made.trained if row.test_accuracy is not None}
    assert set(tested) == chosen and len(reads) == len(chosen), "the test part is read once a chosen network"
    assert not made.missing() and len({row.job for row in made.trained}) == len(made.trained)
    assert len(made.trained) > len(chosen), "the baseline from scratch looked at more than it chose"
    (scratch,) = (row for row in made.rows if (row.method, row.seed) == (SCRATCH, 0))
    for ops in scratch.ops:
        assert tested[ops, 0].valid_accuracy == before[ops].valid_accuracy, "the network that was chosen"
    row = made.trained[-1]
    with parallel.one_thread():
        job = parallel.Job(space.architecture(row.ops), row.seed)
        alone = parallel.train_row(job, space, images, ONCE)
    assert alone["test_accuracy"] == row.test_accuracy
    costs = made.costs(OURS)
    (first,) = (r for r in made.rows if (r.method, r.seed) == (OURS, 0))
    wrong = {job: 1 - r.test_accuracy for job, r in tested.items()}
    ms = table.table_ms(space.architecture(first.ops[1]))
    assert costs.shape == (2, 2) and costs[0, 1] == pytest.approx(wrong[first.ops[1], 0] + 2.0 * ms)
    loaded = comparison.load(out)
    assert loaded.rows == made.rows and np.array_equal(loaded.costs(OURS), costs)
    assert "verdicts" not in json.loads(out.read_text()) and "beats random" in comparison.to_text(loaded)


def test_what_cannot_be_compared_is_refused(space, data, table, known, tmp_path):
    ask = lambda **more: compare(
        space, data, table, WEIGHTS, tmp_path / "c.json", training=ONCE, **{"seeds": 2, "tabular": known} | more
    )
    with pytest.raises(lk.InputError, match="two seeds"):
        ask(seeds=1)
    other = replace(known, recipe={"data": {"name": "other", "digest": "x"}})
    with pytest.raises(lk.InputError, match="the tabular benchmark was made on other"):
        ask(tabular=other)


def test_the_command_refuses_what_it_cannot_do(capsys, tmp_path):
    ask = ["compare", "--fast", "--data", "digits", "--table", "five_layer-torch-b1", "--out", str(tmp_path / "c.json")]
    assert main([*ask, "--seeds", "1"]) == 2
    assert "two seeds" in capsys.readouterr().err
    assert main([*ask, "--seeds", "2", "--baselines", "magic"]) == 2
    assert "baselines are random-selected" in capsys.readouterr().err


def test_as_many_networks_are_affordable_as_cores_train_in_the_time(known, space):
    each = known.seconds.median().item()
    for seconds, cores, expected in (
        (10.4 * each, 1, 10),
        (10.4 * each, 2, 20),
        (0.1 * each, 1, 1),
        (1e9, 8, space.size),
    ):
        assert making.affordable(known, seconds, cores) == expected
