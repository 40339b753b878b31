"""The second stage of a search: who is proposed, who is trained for how long, and what it is charged."""

from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit.networks.parallel import one_thread
from labkit.networks.supernet import weights_hash
from labkit.networks.training import TrainConfig
from labkit.oneshot import selection
from labkit.oneshot.config import SearchConfig, SelectionConfig
from labkit.oneshot.selection import select
from labkit.oneshot.surrogate import Surrogate
from labkit.system import storage

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=4, batch_size=16, evaluation_images=50, calibration_images=32
)
SHORT = SelectionConfig(scan=6, entrants=4, images=64, rungs=3, final=None)
WHOLE = TrainConfig(epochs=2, batch_size=64)


@pytest.fixture(scope="module")
def supernet(space):
    return lk.Supernet(space)


@pytest.fixture
def taught(monkeypatch, space):
    """Training and counting errors replaced: true errors by the order of the space, and a log of who learned what."""
    log = []

    def train(network, data, config, **_):
        log.append((network.architecture, len(data.train)))

    def train_all(jobs, space, images, config, workers, test=False):
        assert not test, "test images are not for choosing by"
        for job in reversed(jobs):  # as they are finished, in any order
            log.append((job.architecture, len(images.train)))
            yield {"ops": str(job.architecture), "valid_accuracy": 1 - space.index(job.architecture) / 1000}

    monkeypatch.setattr(selection, "train", train)
    monkeypatch.setattr(selection, "train_all", train_all)
    monkeypatch.setattr(selection, "error", lambda network, images: space.index(network.architecture) / 1000)
    return log


def test_halves_for_twice_as_long_and_takes_the_best(supernet, data, table, space, taught):
    found = lk.search(supernet, data, table, TINY)
    (chosen,) = select([found], data, table, SHORT)
    lengths = [images for _, images in taught]
    assert lengths == [64] * 4 + [128] * 2 + [256]
    assert {a for a, n in taught if n == 256} <= {a for a, n in taught if n == 128} <= {a for a, n in taught if n == 64}
    best = min((a for a, _ in taught), key=space.index)
    assert chosen.architecture == best and chosen.point.error_from == "short training"
    assert {p.architecture for p in chosen.evaluated} == {a for a, _ in taught}
    # The search has judged one of the six.
    charged = 5 * (50 + 32) + 3 * sum(lengths) + len(taught) * len(data.valid)
    assert chosen.passes == found.passes + charged and chosen.selection == SHORT
    assert chosen.seconds > found.seconds and found.selection is None


def test_latency_counts_and_a_deadline_holds(supernet, data, table, space, taught):
    low, high = table.range_ms()
    fast = lk.search(supernet, data, table, replace(TINY, latency_weight=1e3))
    (chosen,) = select([fast], data, table, replace(SHORT, scan=243))
    assert chosen.architecture == min(space, key=table.table_ms)
    hurried = lk.search(supernet, data, table, replace(TINY, deadline_ms=low + 0.2 * (high - low)))
    (chosen,) = select([hurried], data, table, SHORT)
    assert all(table.table_ms(a) <= hurried.config.deadline_ms for a, _ in taught[-7:])
    assert chosen.point.latency_ms <= hurried.config.deadline_ms


def test_results_of_a_sweep_send_on_different_networks(supernet, data, table, space, taught):
    """Two that want the same six: all six are trained, not the four that either would send on alone."""
    found = lk.sweep(supernet, data, table, (0.0, 0.0), TINY)
    same = tuple(replace(result, logits=found[0].logits, point=found[0].point) for result in found)
    both = select(same, data, table, SHORT)
    assert [images for _, images in taught] == [64] * 6 + [128] * 4 + [256] * 2
    assert len(set(taught)) == 12, "none is trained twice for as long"
    assert both[0].architecture == both[1].architecture == min((a for a, _ in taught), key=space.index)
    assert sum(b.passes - f.passes for b, f in zip(both, same)) == 5 * 82 + 3 * 1408 + 12 * len(data.valid)


def test_the_last_few_are_trained_in_full(supernet, data, table, space, taught):
    found = lk.search(supernet, data, table, TINY)
    (chosen,) = select([found], data, table, replace(SHORT, rungs=1, finalists=3, final=WHOLE, again=0))
    rung, final = taught[:4], taught[4:]
    assert [n for _, n in rung] == [64] * 4 and [n for _, n in final] == [len(data.train)] * 3
    best = sorted((a for a, _ in rung), key=space.index)
    assert [a for a, _ in reversed(final)] == best[:3] and chosen.architecture == best[0]
    last = {p.architecture: p.error_from for p in chosen.evaluated}
    assert last == dict.fromkeys(best[:3], "trained") | {best[3]: "short training"}
    charged = 5 * (50 + 32) + 3 * (4 * 64 + 3 * 2 * len(data.train)) + 7 * len(data.valid)
    assert chosen.passes == found.passes + charged and chosen.point.error_from == "trained"


def test_the_best_few_are_trained_again_and_the_mean_decides(supernet, data, table, space, monkeypatch):
    """The best of the first training was lucky: with its second it is second."""
    trained, config = [], replace(SHORT, rungs=1, finalists=4, final=WHOLE, again=2)
    by_seed = [(0.10, 0.30), (0.15, 0.16), (0.17, 0.01), (0.40, 0.01)]  # the last two are not among the best two

    def train_all(jobs, space, images, config, workers):
        for job in jobs:
            trained.append(job)
            order = list(dict.fromkeys(j.architecture for j in trained))
            error = by_seed[order.index(job.architecture)][job.seed != TINY.seed]
            yield {"ops": str(job.architecture), "valid_accuracy": 1 - error}

    monkeypatch.setattr(selection, "train_all", train_all)
    monkeypatch.setattr(selection, "train", lambda *_, **__: None)
    monkeypatch.setattr(selection, "error", lambda network, images: 0.5)
    found, rounds = lk.search(supernet, data, table, TINY), []
    (chosen,) = select([found], data, table, config, on_round=lambda number, points: rounds.append(points))
    first, second = trained[:4], trained[4:]
    assert {job.seed for job in first} == {TINY.seed} and len({job.seed for job in second} - {TINY.seed}) == 1
    assert [job.architecture for job in second] == [job.architecture for job in first[:2]]
    assert chosen.architecture == first[1].architecture and chosen.point.error == pytest.approx(0.155)
    assert [round(p.error, 6) for p in rounds[2]] == [0.2, 0.155]
    charged = 5 * (50 + 32) + 3 * (4 * 64 + 6 * 2 * len(data.train)) + 10 * len(data.valid)
    assert chosen.passes == found.passes + charged
    (once,) = select([found], data, table, replace(config, again=0))
    assert len(trained) == 6 + 4 and once.architecture == first[0].architecture, "luck decides"


def test_who_goes_on_hedges_against_stretched_errors(supernet, data, table, space):
    """With errors six times too far apart the true best is at six times the weight; a stretch of 4 comes near it."""
    rng, ms = torch.Generator().manual_seed(0), [table.table_ms(a) for a in space]
    truth = torch.rand(243, generator=rng).mul(0.1).add(0.3 - torch.tensor(ms) / max(ms) * 0.1).tolist()
    points = [lk.Point(a, 6 * e, t) for a, e, t in zip(space, truth, ms)]
    weight = 0.2 / (max(ms) - min(ms))
    found = replace(lk.search(supernet, data, table, TINY), config=replace(TINY, latency_weight=weight))
    cost = lambda p: p.error / 6 + weight * p.latency_ms
    sent_on = lambda of, *stretches: [points[space.index(a)] for a in selection._sent_on([of], [points], 6, stretches)]
    alone, hedged = sent_on(found, 1.0), sent_on(found, 1.0, 2.0, 4.0)
    assert alone == sorted(points, key=lambda p: p.error + weight * p.latency_ms)[:6]
    assert hedged[0] == alone[0] and len(set(hedged)) == 6 and min(map(cost, hedged)) < min(map(cost, alone))
    free = replace(found, config=TINY)
    assert sent_on(free, 1.0, 2.0, 4.0) == sent_on(free, 1.0)


def test_a_sweep_chooses_among_all_that_were_trained_and_are_in_time(supernet, data, table, space, taught):
    low, high = table.range_ms()
    deadlines = [low + share * (high - low) for share in (0.3, 0.9)]
    found = lk.sweep(supernet, data, table, (), TINY, deadlines_ms=deadlines)
    chosen = select(found, data, table, SHORT)
    last = {a for a, images in taught if images == 256}
    for result, deadline in zip(chosen, deadlines):
        in_time = [a for a in last if table.table_ms(a) <= deadline]
        assert result.architecture == min(in_time, key=space.index)
        assert {p.architecture for p in result.evaluated} == {a for a, _ in taught}


def test_what_another_selection_has_trained_is_looked_up_and_charged(supernet, data, table, taught):
    found, trained = lk.search(supernet, data, table, TINY), {}
    (first,) = select([found], data, table, SHORT, trained=trained)
    assert len(taught) == len(trained) == 7
    trained |= {key: (error, seconds + 100) for key, (error, seconds) in trained.items()}
    (second,) = select([found], data, table, SHORT, trained=trained)
    assert len(taught) == 7 and (second.point, second.passes) == (first.point, first.passes)
    assert second.seconds > 700, "as if it had trained them itself"


@pytest.mark.parametrize("stop", [1, 4, 5, 7, 8, 9])
def test_a_selection_that_was_stopped_trains_nothing_again(supernet, data, table, taught, monkeypatch, tmp_path, stop):
    config, log = replace(SHORT, rungs=2, finalists=2, final=WHOLE, again=1), tmp_path / "selection.jsonl"
    found = lk.search(supernet, data, table, TINY)
    (whole,) = select([found], data, table, config)
    everything = list(taught)
    taught.clear()
    append = storage.append_line

    def dying(path, row):
        append(path, row)
        if len(storage.read_lines(path)) == 1 + stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(storage, "append_line", dying)
        select([found], data, table, config, log=log)
    (again,) = select([found], data, table, config, log=log)
    assert sorted(map(str, taught)) == sorted(map(str, everything)) and len(taught) == 9
    assert (again.point, again.evaluated, again.passes) == (whole.point, whole.evaluated, whole.passes)
    for other in ({"config": replace(config, entrants=3)}, {"data": lk.data.glyphs(1_500, 500, 500, seed=1)}):
        with pytest.raises(lk.InputError, match=r"is of another selection \((selection|images) differ\)"):
            select([found], **{"data": data, "table": table, "config": config, **other}, log=log)
    append(log, {"round": 9, "ops": str(found.architecture), "error": 0.1, "seconds": 1.0})
    with pytest.raises(lk.InputError, match="is damaged"):
        select([found], data, table, config, log=log)


def test_a_surrogate_chooses_further_networks_and_decides(supernet, data, table, space, taught, monkeypatch, tmp_path):
    """Errors rise along the order of the space, so the first networks are best: the surrogate goes there."""
    config = SelectionConfig(scan=8, rungs=0, finalists=4, final=WHOLE, surrogate=6, batch=4, again=2)
    low, high = table.range_ms()
    found = lk.search(supernet, data, table, replace(TINY, deadline_ms=low + 0.8 * (high - low)))
    rounds = []
    (chosen,) = select([found], data, table, config, on_round=lambda number, points: rounds.append(points))
    order, whole = [a for a, _ in taught], len(data.train)
    assert [images for _, images in taught] == [whole] * 12 and [len(points) for points in rounds] == [10, 2]
    assert len(set(order[:10])) == 10 and len(set(order[10:])) == 2 and set(order[10:]) < set(order[:10])
    assert all(table.table_ms(a) <= found.config.deadline_ms for a in order)
    assert min(map(space.index, order[4:10])) < min(map(space.index, order[:4])), "what it chose is better"
    predicted, _ = Surrogate.of(space, [(a, space.index(a) / 1000) for a in [*order[:10], *order[10:]]]).predict(
        order[10:]
    )
    assert chosen.architecture == order[10 + int(predicted.argmin())]
    assert chosen.point.error == pytest.approx(space.index(chosen.architecture) / 1000)
    scanned = 8 - len({p.architecture for p in found.evaluated})
    charged = max(0, scanned) * (50 + 32) + 12 * (3 * 2 * whole + len(data.valid))
    assert chosen.passes == found.passes + charged

    taught.clear()
    append, log = storage.append_line, tmp_path / "selection.jsonl"

    def dying(path, row):
        append(path, row)
        if len(storage.read_lines(path)) == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(storage, "append_line", dying)
        select([found], data, table, config, log=log)
    (again,) = select([found], data, table, config, log=log)
    assert sorted(str(a) for a, _ in taught) == sorted(map(str, order)) and again.point == chosen.point


def test_a_surrogate_of_a_sweep_serves_each_deadline(supernet, data, table, space, taught):
    config = SelectionConfig(scan=6, rungs=0, finalists=2, final=WHOLE, surrogate=4, batch=2, again=0)
    low, high = table.range_ms()
    deadlines = [low + share * (high - low) for share in (0.3, 0.9)]
    chosen = select(lk.sweep(supernet, data, table, (), TINY, deadlines_ms=deadlines), data, table, config)
    assert len(taught) == len(set(taught)) == 2 * 2 + 4
    assert [table.table_ms(a) <= deadlines[0] for a, _ in taught[4:]].count(True) >= 2
    assert all(result.point.latency_ms <= deadline for result, deadline in zip(chosen, deadlines))


@pytest.mark.parametrize("final", [None, WHOLE])
def test_it_really_trains(supernet, data, table, final):
    found = lk.search(supernet, data, table, replace(TINY, seed=3))
    before, rounds = weights_hash(found.supernet), []
    small = SelectionConfig(scan=2, entrants=2, images=128, rungs=2, finalists=1, final=final)
    note = lambda n, points: rounds.append((n, len(points)))
    with one_thread():
        (chosen,) = select([found], data, table, small, workers=1, on_round=note)
        assert rounds == [(0, 2), (1, 1), (2, 1), (3, 1)][: 4 if final else 2] and 0 < chosen.point.error < 1
        part, errors = data if final else replace(data, train=data.train[:256]), []
        for seed in (3, 3 + selection.NEXT_SEED)[: 2 if final else 1]:
            network = lk.derive(supernet.space if final else found.supernet, chosen.architecture, seed=seed)
            lk.train(network, part, replace(final or small.training, seed=seed))
            errors.append(lk.error(network, data.valid))
    assert chosen.point.error == pytest.approx(sum(errors) / len(errors), abs=1e-6)
    assert weights_hash(found.supernet) == before, "what all share is left alone"


def test_what_cannot_be_selected_is_refused(space, supernet, data, table):
    with pytest.raises(lk.InputError, match="at least one search result"):
        select([], data, table)
    apart = [lk.search(supernet, data, table, replace(TINY, seed=seed)) for seed in (0, 1)]
    with pytest.raises(lk.InputError, match="select each by itself"):
        select(apart, data, table)
    for wrong in ({"rungs": 0, "final": None}, {"surrogate": 4, "final": None}):
        with pytest.raises(lk.InputError, match="needs a final training: set `final`"):
            SelectionConfig(**wrong)
    with pytest.raises(lk.InputError, match="at least two finalists"):
        SelectionConfig(surrogate=4, finalists=1)
    with pytest.raises(lk.InputError, match="0 or more; got -1"):
        SelectionConfig(rungs=-1)
    with pytest.raises(lk.InputError, match="at least one"):
        SelectionConfig(finalists=0)
    with pytest.raises(lk.InputError, match=r"0 or more; got 1, 0 and -1"):
        SelectionConfig(again=-1)
    with pytest.raises(lk.InputError, match="factors above 0"):
        SelectionConfig(stretches=(1.0, 0.0))
