"""The ranking bench: whom it draws, that no training is lost or made twice, and how judges are held against truth."""

import json
from dataclasses import asdict, replace

import pytest

import labkit as lk
from labkit.benches import ranking
from labkit.benches.proxies import naswot, synflow
from labkit.benches.ranking import Band, Trained
from labkit.networks.complexity import count
from labkit.networks.supernet import derive
from labkit.networks.training import TrainConfig, error, train
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.evaluation import evaluate
from labkit.oneshot.searching import train_shared
from labkit.system.errors import InputError

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=1, batch_size=16, evaluation_images=50, calibration_images=32
)
ONE = TrainConfig(epochs=1, batch_size=64)


@pytest.fixture
def band(table):
    low, high = table.range_ms()
    return Band(low + 0.6 * (high - low), 0.9)


@pytest.fixture
def networks(space, table, band):
    return ranking.drawn(space, table, band, 12)


def test_every_other_network_is_in_the_band(space, table, band, networks):
    assert len(set(networks)) == 12
    inside = [band.holds(table.table_ms(a)) for a in networks]
    assert all(inside[::2]) and not all(inside[1::2])
    assert ranking.drawn(space, table, band, 8) == networks[:8], "more networks begin with the same"
    assert ranking.drawn(space, table, band, 8, seed=1) != networks[:8]
    with pytest.raises(InputError, match="0 of 4 networks found: too few take"):
        ranking.drawn(space, table, Band(0.5 * table.range_ms()[0]), 4)
    for wrong in ((0.0, 0.5), (1.0, 1.0), (1.0, 0.0)):
        with pytest.raises(InputError, match="a band is below a deadline"):
            Band(*wrong)


def test_a_stopped_ranking_goes_on_and_trains_nobody_twice(space, data, table, networks, tmp_path, monkeypatch):
    asked, log = [], tmp_path / "rows.jsonl"

    def fake(job, space, images, config):
        asked.append((str(job.architecture), job.seed))
        assert images is data and config == ONE
        return {"valid_accuracy": 0.75, "test_accuracy": 0.625}

    monkeypatch.setattr(ranking, "train_row", fake)

    def stop(row):
        if len(asked) == 7:
            raise KeyboardInterrupt

    ask = lambda **more: ranking.train_missing(networks[:4], space, data, table, ONE, log, **more)
    with pytest.raises(KeyboardInterrupt):
        ask(on_row=stop)
    assert len(log.read_text().splitlines()) == 8, "what it is of, and seven rows: the last one too"
    with log.open("a") as file:
        file.write('{"ops": "cut sho')  # by a kill
    rows = ask()
    assert asked == [(str(a), seed) for seed in (0, 1) for a in networks[:4]]
    assert [(row.ops, row.seed, row.valid_error, row.test_error) for row in rows] == [(*x, 0.25, 0.375) for x in asked]
    assert rows[0].ms == pytest.approx(table.table_ms(networks[0]), abs=1e-6)
    assert ask() == rows and len(asked) == 8
    assert len(ranking.train_missing(networks[:2], space, data, table, ONE, log, seeds=1)) == 2
    with pytest.raises(InputError, match=r"of another ranking \(training differ\)"):
        ranking.train_missing(networks, space, data, table, replace(ONE, epochs=2), log)


def test_a_row_is_what_a_training_of_ones_own_gives(space, data, table, networks, tmp_path):
    (row,) = ranking.train_missing(networks[:1], space, data, table, ONE, tmp_path / "r.jsonl", seeds=1)
    with lk.networks.parallel.one_thread():
        network = derive(space, networks[0], seed=0)
        train(network, data, ONE)
    assert row.test_error == pytest.approx(error(network, data.test), abs=1e-6)
    assert row.valid_error == pytest.approx(error(network, data.valid), abs=1e-6) and row.cpu_seconds > 0


def test_judges_are_what_they_are_called(space, data, table, networks):
    of = lambda way, seed=0: ranking.score(way, seed, networks, space, data, table, TINY, ONE).values
    assert of("table-ms") == pytest.approx([-table.table_ms(a) for a in networks], abs=1e-6)
    counts = [count(derive(space, a)) for a in networks]
    assert of("macs") == tuple(-float(c.macs) for c in counts)
    assert of("parameters") == tuple(-float(c.parameters) for c in counts)
    supernet = train_shared(lk.Supernet(space, seed=1), data, replace(TINY, seed=1), sample="one-hot")
    assert of("shared:one-hot", 1) == pytest.approx([p.error for p in evaluate(supernet, networks, data, table, TINY)])
    short = ranking.score("short:1", 0, networks[:1], space, data, table, TINY, replace(ONE, epochs=9))
    network = derive(space, networks[0], seed=0)
    train(network, data, ONE)
    assert short.values == pytest.approx((error(network, data.valid),), abs=1e-6)
    batch = next(data.valid.batches(64))[0]
    assert of("naswot", 2) == pytest.approx([-naswot(derive(space, a, seed=2), batch) for a in networks])
    assert of("synflow") == pytest.approx([-synflow(derive(space, a), space.image) for a in networks])
    for wrong in ("magic", "short:0", "short:x", "surrogate:1"):
        with pytest.raises(InputError, match="networks are ranked by"):
            of(wrong)
    with pytest.raises(InputError, match="weights learn on"):
        of("shared:magic")


def test_a_surrogate_sees_others_only_and_pays_for_them(space, data, table, networks):
    errors = {str(a): 0.3 + 0.1 * sum(op == "maxpool3x3" for op in a.ops) for a in networks}
    rows = [Trained(name, 0, 0.1, error, 0.5, 50.0) for name, error in errors.items()]  # test errors are not for it
    ask = lambda n, rows: ranking.score(f"surrogate:{n}", 1, networks, space, data, table, TINY, ONE, rows)
    found = ask(10, rows)
    assert 500 < found.cpu_seconds < 600
    assert ranking.agreements(found.values, errors, networks, set())["all"].tau > 0.6
    wrong = [replace(row, valid_error=9.0) if row.ops == str(networks[3]) else row for row in rows]
    assert ask(11, wrong).values[3] == ask(11, rows).values[3], "its own error is not among what it saw"
    with pytest.raises(InputError, match="surrogate of 12 networks needs as many others"):
        ask(12, rows)


def test_agreement_is_told_over_all_and_within_the_band(networks):
    """A judge that only tells who is inside: tau is .52 of its ties over all, and nothing within."""
    inside = {str(a) for a in networks[::2]}
    truth = {str(a): (0.1 if str(a) in inside else 0.5) + 0.01 * i for i, a in enumerate(networks)}
    knows = [float(str(a) not in inside) for a in networks]
    told = ranking.agreements(knows, truth, networks, inside)
    assert told["all"].tau == pytest.approx(36 / (36 * 66) ** 0.5) and told["all"].n == 12
    assert told["band"].tau == 0.0 and told["band"].n == 6
    exact = ranking.agreements(list(truth.values()), truth, networks, inside)
    assert exact["all"].tau == exact["band"].tau == 1.0
    few = {name: truth[name] for name in list(truth)[:2]}
    assert ranking.agreements(knows, few, networks, inside) == {"all": None, "band": None}


def test_the_text_counts_what_was_trained(networks, table, band):
    rows = [
        Trained(str(a), seed, table.table_ms(a), 0.0, 0.3 + 0.01 * i + 0.001 * seed, 10.0)
        for seed in (0, 1)
        for i, a in enumerate(networks[: 8 - 2 * seed])
    ]
    score = ranking.Score("backwards", 0, tuple(float(-i) for i in range(12)), 5.0)
    lines = ranking.to_text([score], rows, networks, table, band).splitlines()
    inside = sum(band.holds(table.table_ms(a)) for a in networks[:8])
    assert lines[0] == f"8 networks trained, {inside} of them in the band" and 4 <= inside < 8
    assert lines[2].split()[5:] == ["0", "80", *"1.00 (1.00 to 1.00)".split(), *"1.00 (1.00 to 1.00)".split()]
    assert "-1.00 (-1.00 to -1.00)" in lines[-1] and len(lines) == 5


def test_the_bench_asks_for_its_file(tmp_path):
    with pytest.raises(InputError, match="needs --trained"):
        ranking.RankingBench()
    with pytest.raises(InputError, match="6 networks and a seed"):
        ranking.RankingBench(trained="x", networks=2)
    bench = ranking.RankingBench(trained=str(tmp_path / "x"), networks=8)
    assert json.loads(json.dumps(asdict(bench.band))) == {"deadline_ms": 0.18, "share": 0.93}
