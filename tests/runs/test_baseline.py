"""Verdicts with planted errors, a call that is killed and resumed, and one tiny run that is real."""

import json
from dataclasses import replace
from statistics import median

import pytest
from scipy.stats import ttest_rel

import labkit as lk
from labkit import plots
from labkit.latency.cards import Card
from labkit.networks.controls import Control
from labkit.runs import baseline, reporting
from labkit.runs.baseline import CANDIDATE, CHOSEN, DEADLINE, EQUAL_COST, OWN, RANDOM, BaselinesRequest, Row, baselines
from labkit.runs.run import load, save
from labkit.system.errors import InputError

SHORT = lk.SearchConfig(
    mixture_steps=2, weight_steps=1, joint_steps=2, batch_size=16, evaluation_images=50, calibration_images=32
)
REQUEST = BaselinesRequest(workers=1, training=lk.TrainConfig(epochs=1, batch_size=32))


@pytest.fixture(scope="module")
def images():
    return lk.data.glyphs(300, 100, 200, seed=1)


@pytest.fixture(scope="module")
def saved(space, table, images, tmp_path_factory):
    """A run without a limit."""
    return searched(space, table, images, tmp_path_factory.mktemp("run"), SHORT)


def searched(space, table, images, folder, config):
    save(lk.search(lk.Supernet(space), images, table, config), folder, images, table)
    return load(folder)


@pytest.fixture
def run(saved, tmp_path):
    return replace(saved, folder=tmp_path)


def limited(run, ops, deadline_ms):
    """The run as if it had chosen `ops` within a deadline."""
    architecture = run.space.architecture(ops)
    point = replace(run.result.point, architecture=architecture, latency_ms=run.table.table_ms(architecture))
    config = replace(run.result.config, deadline_ms=deadline_ms)
    return replace(run, result=replace(run.result, point=point, config=config))


class Fake:
    """A trainer and a stopwatch of made-up numbers: errors are `of[group]`, what a seed adds to all, and a little."""

    def __init__(self, monkeypatch, **of):
        self.of, self.trained, self.timings = of, [], 0
        self.stop_after = self.of.pop("stop_after", None)
        monkeypatch.setattr(baseline, "train_one", self.train_one)
        monkeypatch.setattr(baseline._Stopwatch, "times", lambda _, control: control.steps / 6 * control.depth)
        monkeypatch.setattr(baseline._Stopwatch, "in_turn", self.in_turn)

    def train_one(self, job, space, data, config):
        if len(self.trained) == self.stop_after:
            raise KeyboardInterrupt
        self.trained.append(job.key)
        names = {RANDOM: "random", CANDIDATE: "candidate", EQUAL_COST: "equal_cost"}
        own = (sum(map(ord, str(job.network))) * (job.seed + 3)) % 7 * 1e-4
        wrong = self.of.get(names.get(job.group, job.group), 0.4) + 0.02 * job.seed + own
        return Row(*job.key, wrong + 0.01, None if job.group == CANDIDATE else wrong, 10.0)

    def in_turn(self, names):
        self.timings += 1
        card = Card("d", "torch", (("torch", "0"),), "float32", "NCHW", 1, (3, 32, 32), 1, "best")
        return tuple(baseline.Timed(name, 0.1 + len(name) / 1e5, 0.001) for name in names), card


def scaled(table, factor):
    """The table of a device that is so many times slower."""
    slower = lambda t: replace(t, best_ms=factor * t.best_ms, median_ms=factor * t.median_ms)
    parts = lambda several: tuple((name, slower(t)) for name, t in several)
    return replace(table, floor=slower(table.floor), fixed=parts(table.fixed), slots=tuple(map(parts, table.slots)))


def test_the_baselines_lie_just_inside_the_deadline_or_near_the_own_ms(saved):
    (own,) = baseline.targets(saved)
    ms = saved.table.table_ms(saved.result.architecture)
    slow = replace(saved, table=scaled(saved.table, 10))
    assert baseline.targets(slow)[0].high_ms == pytest.approx(11 * ms), "a share of what it takes, on any device"
    assert (own.name, own.times) == (OWN, 1.0) and (own.low_ms, own.high_ms) == pytest.approx((0.9 * ms, 1.1 * ms))
    used = limited(saved, saved.result.architecture.ops, ms / 0.95)
    (inside,) = baseline.targets(used)
    assert (inside.name, inside.times) == (DEADLINE, 1.0)
    assert (inside.low_ms, inside.high_ms) == pytest.approx((0.9 * ms / 0.95, ms / 0.95))
    wasted = limited(saved, saved.result.architecture.ops, 2 * ms)
    inside, own = baseline.targets(wasted)
    assert inside.times == pytest.approx(2) and inside.low_ms == pytest.approx(1.8 * ms) and own.name == OWN
    assert (own.low_ms, own.high_ms) == pytest.approx((0.9 * ms, 1.1 * ms))
    assert str(inside).startswith("just inside the deadline of") and str(own).startswith("at the choice's own")


def test_a_target_with_a_latency_weight_is_no_deadline(saved):
    priced = replace(saved.result.config, target_ms=0.5, latency_weight=0.3)
    (only,) = baseline.targets(replace(saved, result=replace(saved.result, config=priced)))
    assert only.name == OWN
    alone = replace(saved.result.config, target_ms=0.5, latency_weight=0.0)
    names = {target.name for target in baseline.targets(replace(saved, result=replace(saved.result, config=alone)))}
    assert DEADLINE in names


def test_random_networks_are_inside_differ_and_do_not_depend_on_later_seeds(saved):
    (target,) = baseline.targets(saved)
    few, many = (baseline.drawn(saved, target, 2, seeds) for seeds in (2, 4))
    assert few == many[:2]
    every = [a for several in many for a in several]
    inside = [a for a in saved.space if target.low_ms <= saved.table.table_ms(a) <= target.high_ms]
    assert set(every) <= set(inside) and saved.result.architecture not in every
    assert len(every) == 8 == len(set(every))
    crowded = baseline.drawn(saved, replace(target, low_ms=min(map(saved.table.table_ms, inside))), 150, 3)
    assert all(set(several) <= set(inside) - {saved.result.architecture} for several in crowded)
    allof = baseline.drawn(saved, target, 150, 1)[0]
    assert set(allof) == set(inside) - {saved.result.architecture}, "all there are"


def test_random_networks_are_uniform_among_those_inside(saved):
    (target,) = baseline.targets(saved)
    inside = [a for a in saved.space if target.low_ms <= saved.table.table_ms(a) <= target.high_ms]
    firsts = [baseline.drawn(saved, target, 1, 1, first=seed)[0][0] for seed in range(600)]
    expected = 600 / (len(inside) - 1)
    counts = [firsts.count(a) for a in inside if a != saved.result.architecture]
    chi2 = sum((n - expected) ** 2 / expected for n in counts)
    degrees = len(inside) - 2
    assert chi2 < degrees + 4 * (2 * degrees) ** 0.5


def test_a_planted_worse_choice_loses_first_and_a_better_one_wins(run, images, monkeypatch):
    Fake(monkeypatch, chosen=0.40, random=0.38, resnet=0.45, mobilenetv2=0.4005)
    found = baselines(run, REQUEST, data=images)
    answers = [(one.group, one.answer) for one in found.comparisons]
    assert answers == [(RANDOM, "worse"), ("mobilenetv2", "not shown"), ("resnet", "better")]
    assert found.verdict == ("The choice is worse than 1 of 3 baselines, not shown to differ from 1, better than 1.")
    lost, _, won = map(str, found.comparisons)
    assert lost.startswith("The choice is worse than the median of 3 random networks at the choice's own")
    assert "points more test error (+" in lost and "p = 0.0" in lost and "3 seeds" in lost
    assert won.startswith("The choice is better than the ResNet, ") and "less test error (-" in won
    text = baseline.to_text(found)
    assert (
        text.index("is worse than the median") < text.index("No difference") < text.index("is better than the ResNet")
    )


def test_a_choice_like_the_others_shows_nothing(run, images, monkeypatch):
    Fake(monkeypatch)
    found = baselines(run, REQUEST, data=images)
    assert {one.answer for one in found.comparisons} == {"not shown"}


def test_comparisons_are_paired_over_seeds_by_the_median(run, images, monkeypatch):
    """The seeds differ by far more than the networks, so a test without pairs could not see the difference."""
    Fake(monkeypatch, chosen=0.40, random=0.404)
    found = baselines(run, replace(REQUEST, seeds=5), data=images)
    (one,) = [c for c in found.comparisons if c.group == RANDOM]
    test_errors = lambda group, seed: [r.test_error for r in found.rows if (r.group, r.seed) == (group, seed)]
    ours = [test_errors(CHOSEN, seed)[0] for seed in range(5)]
    theirs = [median(test_errors(RANDOM, seed)) for seed in range(5)]
    assert all(len(test_errors(RANDOM, seed)) == 3 for seed in range(5))
    gain = sum(theirs) / 5 - sum(ours) / 5
    assert one.gain.mean == pytest.approx(gain) and one.ours == tuple(ours) and one.theirs == tuple(theirs)
    coarse = baseline.paired([b - a for a, b in zip(ours, theirs)], 1 / len(images.test))
    assert one.gain == coarse
    fine = replace(found, tested=10**9)
    (one,) = [c for c in fine.comparisons if c.group == RANDOM]
    assert one.gain.p == pytest.approx(ttest_rel(theirs, ours).pvalue) and one.answer == "better"


def test_a_stopped_call_resumes_and_may_be_asked_for_more(run, images, monkeypatch):
    fake = Fake(monkeypatch, stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        baselines(run, REQUEST, data=images, made={"command": "first", "date": "d"})
    part = baseline.load(run)
    assert [(*row.__dict__.values(),)[:4] for row in part.rows] == fake.trained and len(part.rows) == 4
    assert not part.whole and "not finished" in " ".join(part.lacking) and not part.timed
    rest = Fake(monkeypatch)
    rows = []
    found = baselines(run, REQUEST, data=images, made={"command": "second", "date": "d"}, on_row=rows.append)
    assert not set(rest.trained) & set(fake.trained) and len(rows) == len(rest.trained) == 3 * 6 - 4
    assert found.whole and found.rows[:4] == part.rows and found == baseline.load(run)
    assert found.made == {"command": "second", "date": "d", "earlier": [{"command": "first", "date": "d", "rows": 4}]}
    again = Fake(monkeypatch)
    assert baselines(run, REQUEST, data=images) == found and not again.trained and not again.timings
    more = Fake(monkeypatch)
    grown = baselines(run, replace(REQUEST, seeds=4), data=images)
    assert {key[3] for key in more.trained} == {3} and len(more.trained) == 6 and more.timings == 1
    assert grown.rows[: len(found.rows)] == found.rows


def test_another_request_is_refused(run, images, monkeypatch):
    Fake(monkeypatch)
    baselines(run, REQUEST, data=images)
    for other in (replace(REQUEST, training=lk.TrainConfig(epochs=2)), replace(REQUEST, networks=2)):
        with pytest.raises(InputError, match=r"is of another request .*(training|networks) differ"):
            baselines(run, other, data=images)
    with pytest.raises(InputError, match="the images of glyphs differ"):
        baselines(run, REQUEST, data=lk.data.glyphs(300, 100, 200, seed=2))


@pytest.mark.parametrize("lost", [{"seeds": 2}, {"networks": 0}])
def test_too_few_are_refused(lost):
    with pytest.raises(InputError, match="at least 3 seeds"):
        BaselinesRequest(**lost)
    with pytest.raises(InputError, match="controls are resnet, mobilenetv2; got 'vgg'"):
        BaselinesRequest(controls=("vgg",))


def test_a_record_that_is_damaged_says_where(run, images, monkeypatch):
    Fake(monkeypatch)
    baselines(run, REQUEST, data=images)
    path = run.folder / "baselines.json"
    value = json.loads(path.read_text())
    value["rows"][2]["seed"] = "two"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"damaged baselines: .*rows\[2\]\.seed"):
        baseline.load(run)


def test_equal_cost_trains_as_many_as_the_seconds_pay_and_tests_only_the_best(run, images, monkeypatch):
    monkeypatch.setattr(baseline, "MOST_CANDIDATES", 12)
    costly = replace(run, threads=2, result=replace(run.result, seconds=27.0))  # 54 s of one core; 10 s a training
    fake = Fake(monkeypatch, equal_cost=0.3)
    found = baselines(costly, replace(REQUEST, equal_cost=True), data=images)
    for seed in range(3):
        candidates = [row for row in found.of(CANDIDATE, OWN) if row.seed == seed]
        assert len(candidates) == 5 and all(row.test_error is None for row in candidates)
        (best,) = [row for row in found.of(EQUAL_COST, OWN) if row.seed == seed]
        assert best.network == min(candidates, key=lambda row: row.valid_error).network
    (one,) = [c for c in found.comparisons if c.group == EQUAL_COST]
    assert one.answer == "worse" and "the best of 5 random networks, trained in the seconds of the search" in str(one)
    assert not {row.network for row in found.of(CANDIDATE, OWN)} <= {one.network for one in found.timed}
    assert "54 seconds of one core" in baseline.to_text(found)
    again = Fake(monkeypatch)
    assert baselines(costly, replace(REQUEST, equal_cost=True), data=images) == found and not again.trained
    assert fake.trained


def test_a_stopped_search_at_random_resumes(run, images, monkeypatch):
    monkeypatch.setattr(baseline, "MOST_CANDIDATES", 12)
    costly = replace(run, threads=1, result=replace(run.result, seconds=54.0))
    Fake(monkeypatch, stop_after=18 + 3)
    with pytest.raises(KeyboardInterrupt):
        baselines(costly, replace(REQUEST, equal_cost=True), data=images)
    rest = Fake(monkeypatch)
    found = baselines(costly, replace(REQUEST, equal_cost=True), data=images)
    assert len(found.of(CANDIDATE, OWN)) == 15 and len(rest.trained) == 2 + 10 + 3


def test_a_control_that_does_not_fit_is_said(run, images, monkeypatch):
    Fake(monkeypatch)
    slow = lambda _, control: 0.5 * control.steps if control.family == "resnet" else 9.0
    monkeypatch.setattr(baseline._Stopwatch, "times", slow)
    found = baselines(run, REQUEST, data=images)
    assert {sized.family: sized.control for sized in found.controls} == {"resnet": "resnet-1x8", "mobilenetv2": None}
    assert [c.group for c in found.comparisons].count("mobilenetv2") == 0
    assert "Even the smallest MobileNetV2 is too slow" in baseline.to_text(found)


def test_a_control_that_misses_its_time_is_said(run, images, monkeypatch):
    Fake(monkeypatch)
    found = baselines(run, replace(REQUEST, controls=("resnet",)), data=images)
    own, control = str(run.result.architecture), found.controls[0].control
    timed = lambda ms: replace(found, timed=(baseline.Timed(own, 1.0, 0.0), baseline.Timed(control, ms, 0.0)))
    assert "misses the time that it was sized for by +27%" in " ".join(timed(1.27).lacking)
    assert "misses" not in " ".join((*timed(1.08).lacking, *timed(0.92).lacking))
    late = replace(found, targets=tuple(replace(t, times=1.25) for t in found.targets))
    misses = lambda ms: replace(late, timed=timed(ms).timed).missed.get(("resnet", found.controls[0].target))
    assert misses(1.25) is None and misses(1.5) == pytest.approx(0.2) and misses(1.0) == pytest.approx(-0.2)
    compared = lambda record: [one.group for one in record.comparisons]
    assert "resnet" in compared(timed(1.08)) and "resnet" in compared(found), "before it is timed too"
    assert "resnet" not in compared(timed(1.27)) + compared(timed(0.5)), "neither a strong man nor a straw man"


def test_a_candidate_is_trained_from_another_seed_than_what_is_compared(saved, images):
    wrong = lambda group: baseline.train_one(
        baseline._Job(group, OWN, saved.space[0], 0), saved.space, images, REQUEST.training
    )
    candidate, compared = wrong(CANDIDATE), wrong(EQUAL_COST)
    later = baseline._Job(EQUAL_COST, OWN, saved.space[0], baseline.NEXT_SEED)
    assert candidate.test_error is None and candidate.valid_error != compared.valid_error
    assert candidate.valid_error == baseline.train_one(later, saved.space, images, REQUEST.training).valid_error


def test_a_training_that_diverges_counts_as_guessing_and_stops_nothing(saved, images):
    job = baseline._Job("resnet", OWN, Control("resnet", 1, 1), 0)
    wild = lk.TrainConfig(epochs=1, batch_size=32, lr=1e30, clip=1e30)
    row = baseline.train_one(job, saved.space, images, wild)
    assert row.diverged and row.test_error == row.valid_error == pytest.approx(0.9)


def test_the_table_and_the_picture_have_the_numbers_of_the_rows(run, images, monkeypatch):
    Fake(monkeypatch, chosen=0.40, random=0.38)
    found = baselines(run, REQUEST, data=images)
    head, ours, *others = baseline.standings(found)
    assert head[0] == "network" and ours[0] == "the choice of the search" and len(others) == 3
    errors = [100 * row.test_error for row in found.of(CHOSEN)]
    mean = sum(errors) / 3
    spread = (sum((x - mean) ** 2 for x in errors) / 2) ** 0.5
    assert ours[3] == f"{mean:.1f} +- {spread:.1f}" and ours[4] == "3" and others[0][4] == "9"
    assert ours[2] == f"{found.ms[str(run.result.architecture)]:.3g}"
    shown = baseline.picture(found)
    assert shown.png.startswith(b"\x89PNG") and found.verdict in shown.alt
    rate = mean / 100
    assert f"200 test images is {100 * (rate * (1 - rate) / 200) ** 0.5:.1f} points" in " ".join(baseline.notes(found))


def test_the_first_screen_of_the_report_says_the_loss_first(run, images, monkeypatch, saved, tmp_path):
    Fake(monkeypatch, chosen=0.40, random=0.38, resnet=0.45, mobilenetv2=0.45)
    found = baselines(run, REQUEST, data=images)
    monkeypatch.setattr(reporting, "_frontier", lambda *_: plots.Picture(b"", "the frontier"))
    page = reporting.report(run, tmp_path / "report.html").read_text()
    assert page.index("Against baselines") < page.index("is worse than the median") < page.index("is better than the")
    assert page.index("is better than the") < page.index("searched in"), "before the facts"
    assert found.verdict in page
    claims = reporting.read(tmp_path / "report.html")
    assert [claim.name for claim in claims].count("baseline") == 3
    assert {one.says for one in claims if one.name == "baseline"} == {str(one) for one in found.comparisons}
    without = reporting.report(saved, tmp_path / "without.html").read_text()
    assert "No baselines were trained" in without and "Against baselines" not in without


def test_a_tiny_run_in_earnest(run, images):
    """Everything real: sized by the stopwatch, trained for an epoch in two processes, timed in turn."""
    request = replace(REQUEST, networks=1, controls=("resnet",), seconds=0.01, workers=2)
    found = baselines(run, request, data=images)
    assert found.whole and len(found.of(CHOSEN)) == len(found.of(RANDOM, OWN)) == 3
    assert all(0 <= row.test_error <= 1 and row.seconds > 0 for row in found.rows)
    assert all(one.ms > 0 for one in found.timed) and found.card["runtime"] == "torch"
    first = found.rows[0]
    network = baseline.network_of(first.network, run.space)
    again = baseline.train_one(
        baseline._Job(first.group, first.target, network, first.seed), run.space, images, REQUEST.training
    )
    assert (again.valid_error, again.test_error) == (first.valid_error, first.test_error), "one thread, one seed"
    claims = [claim for claim in reporting.claims(run) if claim.name in ("baseline", "in turn")]
    compared = [RANDOM] + ["resnet"] * (("resnet", OWN) not in found.missed)  # what missed its time on a busy machine
    assert [claim.name for claim in claims] == ["in turn", *["baseline"] * len(compared)]
    drifted = replace(claims[1], says=claims[1].says + "!")
    assert [v.outcome for v in reporting.verify([claims[1], drifted], full=True)] == ["reproduced", "drifted"]
