"""The supernet bench: what is scanned, and how it is held against the tabular benchmark."""

from dataclasses import asdict, replace

import pytest
import torch

import labkit as lk
from labkit.benches import supernet as supernet_bench
from labkit.benches.supernet import Scan
from labkit.benches.tabular.table import TabularBenchmark
from labkit.networks.complexity import Complexity
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.evaluation import evaluate
from labkit.oneshot.searching import train_shared
from labkit.system import storage
from labkit.system.errors import InputError

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=1, batch_size=16, evaluation_images=50, calibration_images=32
)


@pytest.fixture
def known(space, data):
    """A tabular that was never trained: the errors rise from 0 to 0.9 in the order of the space."""
    errors = torch.linspace(0, 0.9, space.size, dtype=torch.float64)[:, None].expand(-1, 3)
    none = (Complexity(0, 0, 0),) * space.size
    return TabularBenchmark(space, errors, errors, none, errors, (), {"data": data.card(), "training": {}}, {})


def test_every_way_is_scanned_for_every_seed_as_judging_does(known, space, data, table):
    scans = supernet_bench.measure(known, data, TINY, seeds=2)
    ways = [(scan.seed, scan.sample, scan.statistics) for scan in scans]
    assert ways == [(s, t, b) for s in (0, 1) for t in ("one-hot", "relaxed") for b in ("running", "re-estimated")]
    config = replace(TINY, seed=1)
    supernet = train_shared(lk.Supernet(space, seed=1), data, config, sample="relaxed")
    assert scans[-1].errors == pytest.approx([p.error for p in evaluate(supernet, space, data, table, config)])
    assert len({scan.errors for scan in scans}) == len(scans)


def test_ways_at_equal_cost_and_what_was_scanned_is_kept(known, data, monkeypatch):
    config = replace(TINY, weight_average=0.5, joint_steps=4)
    ask = lambda **more: supernet_bench.measure(
        known, data, config, seeds=1, samples=("relaxed", "one-hot", "fair", "distilled"),
        statistics=("re-estimated",), equal_cost=True, **more,
    )  # fmt: skip
    scans = ask()
    assert [(s.sample, s.weights) for s in scans] == [
        (sample, weights) for sample in ("relaxed", "one-hot", "fair", "distilled") for weights in ("last", "averaged")
    ]
    assert all(s.passes == pytest.approx(scans[0].passes, rel=0.02) for s in scans)
    assert len({s.errors for s in scans}) == 8
    one, longer = (
        supernet_bench.weights_alone(config, f"relaxed{x}", 0, lk.Supernet(known.space), False) for x in ("", "*3")
    )
    assert longer.weight_steps == 3 * one.weight_steps and longer.mixture_steps == one.mixture_steps
    with pytest.raises(InputError, match=r"such as relaxed\*3; got 'relaxed\*a'"):
        supernet_bench.weights_alone(config, "relaxed*a", 0, lk.Supernet(known.space), False)
    monkeypatch.setattr(supernet_bench, "SearchRun", None)
    assert ask(done=scans) == scans
    text = supernet_bench.to_text(known, [*scans, *(replace(s, seed=1) for s in scans)])
    assert "distilled            averaged  re-estimated  mean" in text


def test_agreement_is_with_the_truth_and_inside_its_top_quarter(known):
    errors = known.error.tolist()
    assert Scan("one-hot", "running", 0, tuple(errors)).agreement(known).tau == pytest.approx(1)
    assert Scan("one-hot", "running", 0, tuple(errors[::-1])).agreement(known).tau == pytest.approx(-1)
    turned = [*errors[:61][::-1], *errors[61:]]  # the best 61 the wrong way round, the others right
    scan = Scan("one-hot", "running", 0, tuple(turned))
    assert scan.agreement(known, top=True).tau == pytest.approx(-1) and scan.agreement(known).tau > 0.8
    with pytest.raises(InputError, match="3 errors, the tabular benchmark 243"):
        Scan("one-hot", "running", 0, (1.0, 2.0, 3.0)).agreement(known)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"samples": ("relaxed", "hard")}, "weights learn on"),
        ({"statistics": ("old",)}, "statistics are running and re-estimated; got 'old'"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_trained(known, data, monkeypatch, asked, says):
    monkeypatch.setattr(supernet_bench, "SearchRun", None)
    with pytest.raises(InputError, match=says):
        supernet_bench.measure(known, data, TINY, **asked)


def test_other_images_are_refused(known):
    other = lk.data.glyphs(64, 64, 64, seed=5)
    with pytest.raises(InputError, match="the tabular benchmark was made on"):
        supernet_bench.measure(known, other, TINY)


def test_scans_come_back_from_a_file(tmp_path, known):
    scan = Scan("relaxed", "running", 2, tuple(known.error.tolist()))
    value = {"kind": supernet_bench.KIND, "schema": supernet_bench.SCHEMA, "made": {}}
    storage.write_json(tmp_path / "a.json", value, rows=[asdict(scan)])
    assert supernet_bench.load(tmp_path / "a.json") == (scan,)
    assert "relaxed              last      running          2   1.00 (1.00 to 1.00)" in supernet_bench.to_text(
        known, [scan]
    )
    storage.write_json(tmp_path / "b.json", value, rows=[{"seed": 1}])
    with pytest.raises(InputError, match="damaged supernet bench"):
        supernet_bench.load(tmp_path / "b.json")
