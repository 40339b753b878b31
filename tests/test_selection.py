"""The second stage of a search: who is proposed, who is trained for how long, and what it is charged."""

from dataclasses import replace

import pytest

import labkit as lk
from labkit import selection
from labkit.networks import weights_hash
from labkit.search_config import SearchConfig, SelectionConfig
from labkit.selection import select

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=4, batch_size=16, judge_images=50, calibration_images=32
)
SHORT = SelectionConfig(scan=6, entrants=4, images=64, rungs=3)


@pytest.fixture(scope="module")
def supernet(space):
    return lk.Supernet(space)


@pytest.fixture
def taught(monkeypatch, space):
    """Training and counting errors replaced: true errors by the order of the space, and a log of who learned what."""
    log = []

    def train(network, data, config, **_):
        log.append((network.architecture, len(data.train)))

    monkeypatch.setattr(selection, "train", train)
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
    assert {p.architecture for p in chosen.judged} == {a for a, _ in taught}
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


def test_a_sweep_trains_what_several_want_once(supernet, data, table, taught):
    found = lk.sweep(supernet, data, table, (0.0, 0.0), TINY)
    same = tuple(replace(result, logits=found[0].logits, point=found[0].point) for result in found)
    both = select(same, data, table, SHORT)
    assert len(taught) == 7 and both[0].architecture == both[1].architecture
    assert sum(b.passes - f.passes for b, f in zip(both, same)) == 5 * 82 + 3 * 768 + 7 * len(data.valid)


@pytest.mark.parametrize("first_weights", ["shared", "fresh"])
def test_it_really_trains(supernet, data, table, first_weights):
    found = lk.search(supernet, data, table, TINY)
    before, rungs = weights_hash(found.supernet), []
    small = SelectionConfig(scan=2, entrants=2, images=128, rungs=2, first_weights=first_weights)
    (chosen,) = select([found], data, table, small, on_rung=lambda rung, points: rungs.append((rung, len(points))))
    assert rungs == [(0, 2), (1, 1)] and 0 < chosen.point.error < 1
    source = found.supernet if first_weights == "shared" else supernet.space
    network = lk.derive(source, chosen.architecture, seed=TINY.seed)
    lk.train(network, replace(data, train=data.train[:256]), small.training)
    assert chosen.point.error == lk.error(network, data.valid)
    assert weights_hash(found.supernet) == before, "what all share is left alone"


def test_what_cannot_be_selected_is_refused(space, supernet, data, table):
    with pytest.raises(lk.InputError, match="at least one search result"):
        select([], data, table)
    apart = [lk.search(supernet, data, table, replace(TINY, seed=seed)) for seed in (0, 1)]
    with pytest.raises(lk.InputError, match="select each by itself"):
        select(apart, data, table)
    with pytest.raises(lk.InputError, match="at least one"):
        SelectionConfig(rungs=0)
    with pytest.raises(lk.InputError, match="shared or fresh; got 'new'"):
        SelectionConfig(first_weights="new")
