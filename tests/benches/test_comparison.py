"""A comparison of searches: equal cost, pairs of the same seed, and rows that outlive a kill."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import labkit as lk
from labkit import stats
from labkit.benches import comparison
from labkit.benches.comparison import OURS, SCAN, SCRATCH, Row, compare
from labkit.benches.comparison import run as making
from labkit.benches.tabular import table as tabular
from labkit.cli import main
from labkit.networks import parallel
from labkit.networks.training import TrainConfig
from labkit.oneshot.config import SearchConfig, SelectionConfig

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=4, batch_size=16, judge_images=50, calibration_images=32
)
SHORT = SelectionConfig(scan=4, entrants=2, images=64, rungs=2, final=None)
ONCE = TrainConfig(epochs=1, batch_size=64)
WEIGHTS = (0.0, 2.0)


@pytest.fixture(scope="module")
def known(space, data, table):
    """Errors and latencies made up for the test, with a seed's deviation each."""
    draw = torch.Generator().manual_seed(0)
    error = torch.rand(243, 3, generator=draw, dtype=torch.float64) * 0.1 + torch.linspace(0.05, 0.6, 243)[:, None]
    timings = tuple(lk.Timing(x, x, 0.0, 5) for x in torch.linspace(0.1, 0.9, 243).tolist())
    timed = tabular.Timed("torch-b1", table.card, timings, tuple(t.best_ms for t in timings))
    recipe = {"data": data.card(), "training": {"epochs": 1}}
    seconds = torch.full((243, 3), 0.5, dtype=torch.float64)
    return tabular.TabularBenchmark(space, error, error, (), seconds, (timed,), recipe, {})


@pytest.fixture(scope="module")
def found(space, data, table, known, tmp_path_factory):
    out = tmp_path_factory.mktemp("c") / "c.json"
    return compare(
        space, data, table, WEIGHTS, out, config=TINY, selection=SHORT, training=ONCE, seeds=2, tabular=known
    ), out


def test_every_method_has_a_row_a_seed_and_none_spends_more_than_ours(found, space):
    rows = {(row.method, row.seed): row for row in found[0].rows}
    methods = ["sweep", OURS, "random, selected", "random", "evolution", "local-search", SCRATCH, SCAN]
    assert set(rows) == set(itertools.product(methods, (0, 1)))
    for seed in (0, 1):
        budget = rows[OURS, seed].passes
        assert rows["sweep", seed].passes < budget and rows[SCAN, seed].judged == space.size
        for method in ("random", "evolution", "local-search"):
            assert budget - 82 < rows[method, seed].passes <= budget
        assert rows[SCRATCH, seed].seconds == pytest.approx(rows[OURS, seed].seconds, abs=0.1)
    assert all(len(row.ops) == len(WEIGHTS) for row in found[0].rows)


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


def test_costs_and_regrets_are_those_of_the_truth(found, known):
    made = found[0]
    costs = made.costs(SCAN, known)
    error, ms = known.error, known.ms()
    for seed, w in itertools.product((0, 1), (0, 1)):
        (row,) = (row for row in made.rows if (row.method, row.seed) == (SCAN, seed))
        i = known.space.index(known.space.architecture(row.ops[w]))
        assert costs[seed, w] == pytest.approx((error[i] + WEIGHTS[w] * ms[i]).item())
    least = [(error + w * ms).min().item() for w in WEIGHTS]
    assert comparison.regrets(made, SCAN, known) == pytest.approx(costs - np.array(least))
    assert (comparison.regrets(made, OURS, known) >= 0).all()


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
    assert timeless(resumed.rows) == timeless(found[0].rows), "as if it had not been stopped"
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
    comparison.save(replace(found[0], rows=found[0].rows[:-1], made=made), out)

    def go_on(made):
        asked = {"config": TINY, "selection": SHORT, "training": ONCE, "tabular": known, "seeds": 2}
        return compare(space, data, table, WEIGHTS, out, made=made, **asked).made

    assert go_on(made | {"date": "2026-01-02"}) == made | {"date": "2026-01-02"}, "another day is no other maker"
    comparison.save(replace(found[0], rows=found[0].rows[:-1], made=made), out)
    second = {"command": "second", "device": "b", "date": "2026-01-03"}
    assert go_on(second) == second | {"earlier": [made | {"rows": len(found[0].rows) - 1}]}
    third = go_on({"command": "third"})
    assert [(e["command"], e["rows"]) for e in third["earlier"]] == [
        ("first", len(found[0].rows) - 1), ("second", len(found[0].rows)),
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
    with pytest.raises(lk.InputError, match="networks that 'sweep' chose are not trained yet: go on"):
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


# --- the statistics -----------------------------------------------------------------------------------------


def test_sign_flips_against_all_flips_by_hand():
    differences = np.array([0.4, 0.1, 0.3, -0.05, 0.2, 0.25])
    means = [np.mean(differences * np.array(signs)) for signs in itertools.product((1, -1), repeat=6)]
    by_hand = np.mean(np.abs(means) >= abs(differences.mean()) - 1e-12)
    assert stats.sign_flips(differences) == pytest.approx(by_hand)
    assert stats.sign_flips(np.zeros(4)) == 1.0
    assert stats.sign_flips(np.ones(6)) == pytest.approx(2 / 64)


@pytest.fixture(scope="module")
def shipped():
    return tabular.load()


@pytest.mark.parametrize("stretch", [1.0, 6.0, 1 / 3])
def test_who_stretches_errors_realises_another_weight(shipped, stretch):
    """Choosing by enumeration as if errors were `stretch` times as large."""
    weights = [stretch * 0.2 * 1.2**i for i in range(20)]
    chosen = [shipped.as_cost(latency_weight=w / stretch).best() for w in weights]
    shares = [shipped.realised_weight(a) / w for a, w in zip(chosen, weights)]
    assert np.exp(np.log(shares).mean()) == pytest.approx(1 / stretch, rel=0.15)


def test_steering_tells_choices_that_follow_the_weight_from_those_that_do_not(shipped):
    weights = [0.2 * 1.2**i for i in range(20)]
    best = [str(shipped.as_cost(latency_weight=w).best()) for w in weights]
    followed = comparison.steering(shipped, [(weights, best)] * 3)
    assert followed.slope == pytest.approx(1, abs=0.15) and followed.low == followed.high == followed.slope
    assert "slope of" in str(followed)
    same = comparison.steering(shipped, [(weights, [best[10]] * 20)])
    assert same.slope == pytest.approx(0, abs=1e-9)
    back = comparison.steering(shipped, [(weights, best[::-1])])
    assert back.slope == pytest.approx(-1, abs=0.15)


def test_the_ends_of_the_front_tell_no_weight(shipped):
    front = [p.architecture for p in shipped.frontier()]
    assert shipped.realised_weight(front[0]) is shipped.realised_weight(front[-1]) is None
    ends = ((0.0, 5.0), (str(front[0]), str(front[-1])))
    assert comparison.steering(shipped, [ends]) is None


def test_the_expected_best_against_all_draws_by_hand():
    costs = np.array([0.3, 0.1, 0.25, 0.7, 0.4, 0.4])
    for n in (1, 2, 4, 6):
        by_hand = np.mean([min(draw) for draw in itertools.combinations(costs, n)])
        assert stats.expected_best(costs, n) == pytest.approx(by_hand)


def test_the_band_covers_and_narrows():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = stats.band(rng.normal(1.0, 1.0, 20), resamples=400)
        covered += low <= 1.0 <= high
    assert 0.86 <= covered / 200 <= 0.99
    assert np.ptp(stats.band(rng.normal(size=200))) < np.ptp(stats.band(rng.normal(size=10)))


def made_up(space, table, ours, theirs, known):
    """A comparison whose choices cost so much more than the best, one number a seed."""
    by_cost = [str(a) for a in known.space]
    pick = lambda rank: (by_cost[rank],)
    rows = [Row(OURS, s, pick(r), 1, 1, 1.0) for s, r in enumerate(ours)]
    rows += [Row("random", s, pick(r), 1, 1, 1.0) for s, r in enumerate(theirs)]
    return comparison.Comparison(space, table, (0.0,), {}, {}, tuple(rows))


def test_verdicts_tell_better_from_worse_from_not_shown(space, table, known):
    error = torch.linspace(0.1, 0.6, 243, dtype=torch.float64)
    sure = replace(known, test_error=error[:, None].expand(-1, 3))
    verdict = lambda ours, theirs: comparison.verdicts(made_up(space, table, ours, theirs, sure), sure)[0]
    better = verdict([1, 2, 3, 1, 2, 3], [11, 13, 15, 14, 16, 19])
    assert better.better and "beats random: yes" in str(better) and 0 < better.low <= better.gain <= better.high
    assert "no, it is worse" in str(verdict([11, 13, 15, 14, 16, 19], [1, 2, 3, 1, 2, 3]))
    assert "not shown" in str(verdict([5, 9, 2, 8, 1, 7], [6, 8, 3, 7, 2, 6]))
    drawn = comparison.drawn(made_up(space, table, [1, 2, 3, 1, 2, 3], [11, 13, 15, 14, 16, 19], sure), sure)
    assert drawn[4] == ("ours beats random at equal\ncost: yes, p = 0.031, n = 6",)
    unpaired = verdict([1, 100, 200, 50, 150, 240], [3, 102, 202, 52, 152, 242])
    assert unpaired.better, "pairs of a seed, so what the seeds differ by does not hide it"


def test_the_bars_on_true_regret_are_judged_weight_by_weight_and_over_all(space, table, known):
    """Of four architectures the error is 0, 0.5, 2 and 3 points above the least, of all others far above it."""
    error = torch.full((243,), 0.9, dtype=torch.float64)
    error[:4] = torch.tensor([0.1, 0.105, 0.12, 0.13], dtype=torch.float64)
    sure = replace(known, test_error=error[:, None].expand(-1, 3))
    held = lambda ranks: [holds for _, holds in comparison.bars(made_up(space, table, ranks, [0], sure), sure)]
    assert held([1] * 9 + [2]) == [True, True]
    assert held([0, 0, 2, 2, 2]) == [False, False], "a median of two points"
    assert held([0] * 8 + [3] * 2) == [False, False], "a 90th percentile of three"
    good, bad = (str(space[i]) for i in (1, 2))
    rows = tuple(Row(OURS, seed, (good, good, bad), 1, 1, 1.0) for seed in range(3))
    several = comparison.Comparison(space, table, (0.0, 1e-9, 2e-9), {}, {}, rows)
    text = comparison.to_text(several, sure)
    assert [holds for _, holds in comparison.bars(several, sure)] == [True, True, False, True]
    assert "FAIL weight 2e-09, sweep, selected: true regret 2.00 points in the median, at most 1; 2.00 at the" in text
    assert "ok   all weights, sweep, selected: true regret 0.50 points" in text
    assert comparison.bars(replace(several, rows=()), sure) == ()


def test_the_text_says_what_was_made_when_with_what_and_how_far_seeds_lie_apart(shipped):
    found = comparison.load("five_layer-comparison")
    latency = shipped.latency_like(found.table.card).name
    text = comparison.to_text(found, shipped, latency).split("\n")
    assert text[0].startswith("five_layer on glyphs-hard, 10 seeds, latencies of AMD EPYC, onnxruntime, float32")
    sittings = (*found.made["earlier"], found.made)
    for line, made in zip(text[1:], sittings):
        assert line.startswith(f"made {made['date']} on {made['device']} ")
    assert not text[1 + len(sittings)].startswith("made")
    assert "torch 2.13.0+cpu" in text[1]
    regrets = 100 * comparison.regrets(found, OURS, shipped, latency)
    (line,) = (line for line in text if line.startswith(OURS) and "+-" in line)
    for mean, sd in zip(regrets.mean(0), regrets.std(0, ddof=1)):
        assert f"{mean:.2f} +- {sd:.2f}" in line
    assert [line[:4] for line in text if "true regret" in line] == ["ok  "] * 5


def test_of_a_comparison_that_is_under_way_there_is_told_what_there_is(space, table, known):
    told = lambda ours, theirs: comparison.to_text(made_up(space, table, ours, theirs, known), known)
    one = told([1], [2])
    assert one.count("\n") == 7 and "a verdict takes two seeds, and there is 1" in one and "beats" not in one
    uneven = told([1, 2, 3], [2])
    assert "random has 1 of 3 seeds, and no verdict" in uneven and "beats" not in uneven
    whole = told([1, 2], [2, 4])
    assert "beats random" in whole and "no verdict" not in whole
    with pytest.raises(lk.InputError, match="at least 2 of them; got 1"):
        stats.band(np.array([0.1]))


def test_what_cannot_be_compared_is_refused(space, data, table, known, tmp_path):
    ask = lambda **more: compare(
        space, data, table, WEIGHTS, tmp_path / "c.json", training=ONCE, **{"seeds": 2, "tabular": known} | more
    )
    with pytest.raises(lk.InputError, match="two seeds"):
        ask(seeds=1)
    other = replace(known, recipe={"data": {"name": "other", "digest": "x"}})
    with pytest.raises(lk.InputError, match="the tabular benchmark was made on other"):
        ask(tabular=other)


def test_a_study_whose_every_training_was_tested_still_loads_and_lacks_nothing():
    """As the shipped one of mobile-tiny: its baseline from scratch had tested what it did not choose, too."""
    found = comparison.load("mobile-tiny-comparison")
    assert not found.missing() and found.costs(SCRATCH).shape == (6, 4)


def test_the_command_refuses_what_it_cannot_do(capsys, tmp_path):
    ask = ["compare", "--fast", "--data", "digits", "--table", "five_layer-torch-b1", "--out", str(tmp_path / "c.json")]
    assert main([*ask, "--seeds", "1"]) == 2
    assert "two seeds" in capsys.readouterr().err
    assert main([*ask, "--seeds", "2", "--baselines", "magic"]) == 2
    assert "baselines are random-selected" in capsys.readouterr().err
