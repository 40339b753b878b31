"""Rivals of a search: what they may look at, what they are charged, and that their choice is the cheapest they saw."""

from dataclasses import replace

import pytest

import labkit as lk
from labkit.oneshot.baselines import reuse_search, weight_passes
from labkit.oneshot.config import SearchConfig, SelectionConfig

TINY = SearchConfig(
    mixture_steps=2, weight_steps=3, joint_steps=4, batch_size=16, evaluation_images=50, calibration_images=32
)
WEIGHTS = (0.0, 5.0)


@pytest.fixture(scope="module")
def swept(space, data, table):
    return lk.sweep(lk.Supernet(space), data, table, WEIGHTS, TINY)


def test_weights_are_charged_once_and_by_what_they_learned_from(space, data, table, swept):
    mixed = lk.Supernet(space).mixed_passes
    assert weight_passes(swept) == 16 * 3 * mixed * (2 + 3 + 8)  # the sweep has twice the joint steps
    one_hot = lk.search(lk.Supernet(space), data, table, replace(TINY, estimator="reinforce"))
    assert weight_passes([one_hot]) == 16 * 3 * (2 * mixed + 3 + 4)


@pytest.mark.parametrize("method", ["random", "evolution", "local-search", "model"])
def test_a_rival_on_the_same_weights_pays_for_them_and_for_what_it_judges(data, table, swept, method):
    budget = weight_passes(swept) + 20.5 * 82
    found = reuse_search(swept, data, table, method=method, budget=budget)
    (judged,) = {result.evaluated for result in found}
    assert len(judged) == 20 and len({p.architecture for p in judged}) == 20
    assert sum(result.passes for result in found) == weight_passes(swept) + 20 * 82
    assert 0 < sum(result.seconds for result in found)
    for weight, result in zip(WEIGHTS, found):
        assert result.point == min(judged, key=lambda p, w=weight: p.error + w * p.latency_ms)
        assert result.config.latency_weight == weight and result.method == f"{method}, shared weights"
        assert result.supernet is swept[0].supernet and not result.history
    again = lk.evaluate(swept[0].supernet, [found[0].architecture], data, table, TINY)
    assert again == (found[0].point,)
    other = reuse_search(swept, data, table, method=method, budget=budget, seed=1)
    assert {p.architecture for p in other[0].evaluated} != {p.architecture for p in judged}


def test_random_scans_what_it_can_afford(data, table, swept, space):
    found = reuse_search(swept, data, table, budget=1e9)
    assert {p.architecture for p in found[0].evaluated} == set(space)


def test_one_objective_is_searched_for_itself(space, data, table):
    slow = lk.search(lk.Supernet(space), data, table, replace(TINY, latency_weight=1e3))
    best = min(table.table_ms(a) for a in space)
    (found,) = reuse_search([slow], data, table, method="local-search", budget=weight_passes([slow]) + 60 * 82)
    assert found.point.latency_ms == pytest.approx(best), "latency is all that counts, and it is a sum of parts"


def test_a_deadline_is_kept(space, data, table):
    low, high = table.range_ms()
    config = replace(TINY, deadline_ms=low + 0.3 * (high - low))
    hurried = lk.search(lk.Supernet(space), data, table, config)
    for method in ("random", "evolution"):
        (found,) = reuse_search([hurried], data, table, method=method, budget=weight_passes([hurried]) + 30 * 82)
        assert found.point.latency_ms <= config.deadline_ms


def test_a_second_stage_takes_the_best_that_a_rival_judged(data, table, swept, monkeypatch):
    looked_at = []
    monkeypatch.setattr(
        "labkit.oneshot.selection.train", lambda network, *_, **__: looked_at.append(network.architecture)
    )
    found = reuse_search(swept, data, table, budget=weight_passes(swept) + 40 * 82)
    small = SelectionConfig(scan=6, entrants=4, images=64, final=None)
    lk.select(found, data, table, small)
    cheapest = [sorted(found[0].evaluated, key=lambda p, w=w: p.error + w * p.latency_ms) for w in WEIGHTS]
    six_each = {p.architecture for points in cheapest for p in points[:6]}
    assert {points[0].architecture for points in cheapest} <= set(looked_at) <= six_each
    assert len(looked_at) == len(set(looked_at)) == min(4 * len(WEIGHTS), len(six_each)), "each weight sends on others"


def test_what_cannot_be_searched_is_refused(data, table, swept):
    with pytest.raises(lk.InputError, match="methods are model, policy, random"):
        reuse_search(swept, data, table, method="magic")
    with pytest.raises(lk.InputError, match="no shared weights"):
        reuse_search([], data, table)
