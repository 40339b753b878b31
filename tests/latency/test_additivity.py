"""Scores of predictions against networks timed end to end, on planted latencies."""

import numpy as np
import pytest
import torch

import labkit as lk
from labkit.latency import additivity
from labkit.latency.additivity import Timed, report, score
from labkit.latency.build import load_networks
from labkit.latency.table import shipped_table
from labkit.system.errors import InputError


@pytest.fixture
def twice(planted):
    """Random networks of planted latencies, each measured twice with the noise given."""

    def of(space, table, n, noise, seed=0):
        draw = torch.Generator().manual_seed(seed)
        exact = planted(space, table)
        off = lambda: 1 + noise * torch.randn((), generator=draw).item()
        chosen = additivity.choose(space, n)
        return [Timed(a, exact[space.index(a)].item() * off(), exact[space.index(a)].item() * off()) for a in chosen]

    return of


def test_the_report_is_of_networks_that_no_predictor_was_fitted_to(space, table, twice):
    timed = twice(space, table, 180, 0.0)
    found = report(space, table, timed)
    assert (found.fitted, found.held_out, found.verdict) == (120, 60, "reached")
    assert found.best.name == "table and pairs" and found.best.within_5 == 1.0
    assert found.ceiling.spearman == pytest.approx(1.0) and found.ceiling.rmse == 0.0
    assert {s.name for s in found.baselines} == {"multiply-accumulates", "parameters", "activations"}
    planted_wrong = [*timed[:-60], *(Timed(t.architecture, 1 / t.measured_ms, 1 / t.again_ms) for t in timed[-60:])]
    assert report(space, table, planted_wrong).verdict == "short", "negative control: other latencies than fitted"


def test_a_noisy_machine_is_told_from_a_bad_table(space, table, twice):
    """With 5 % of noise measuring twice misses the bar, so a predictor may; with 12 % nothing can be judged."""
    found = report(space, table, twice(space, table, 180, 0.05))
    assert found.ceiling.within_10 < 0.95 and found.passed
    found = report(space, table, twice(space, table, 180, 0.12))
    assert found.verdict == "noisy" and not found.passed


def test_scores_are_what_they_are_called():
    measured = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    s = score("x", measured * 1.07, measured)
    assert (s.spearman, s.top_decile, s.within_5, s.within_10) == (pytest.approx(1), 1.0, 0.0, 1.0)
    assert s.rmse == pytest.approx(0.07 * np.sqrt(38.5) / 5.5)
    s = score("macs", -measured, measured, ms=False)
    assert (s.spearman, s.kendall, s.top_decile, s.rmse) == (pytest.approx(-1), pytest.approx(-1), 0.0, None)


def test_a_text_and_a_json_say_the_same(space, table, twice):
    found = report(space, table, twice(space, table, 100, 0.01), held_out=60)
    text, value = additivity.to_text(found), additivity.to_json(found)
    assert value["passed"] == found.passed and f"best: {value['best']}" in text
    assert value["scores"][0]["name"] == "measured again"
    with pytest.raises(InputError, match="at least 10 more"):
        report(space, table, twice(space, table, 65, 0.0), held_out=60)


def test_what_stands_beside_a_shipped_table_follows_from_its_networks():
    name = "five_layer-onnxruntime-b32"
    table, path = lk.LatencyTable.load(name), shipped_table(name)
    space = lk.spaces.five_layer()
    timed = load_networks(path.with_suffix(".additivity.json"), space)
    again = report(space, table, timed)
    recorded = {s.name: s for s in additivity.recorded(name)}
    assert list(recorded) == [s.name for s in (again.ceiling, *again.predictors, *again.baselines)]
    for one in (again.ceiling, *again.predictors):
        assert recorded[one.name].spearman == pytest.approx(one.spearman, abs=1e-3)
        assert recorded[one.name].within_10 == pytest.approx(one.within_10, abs=1e-3)
    with pytest.raises(InputError, match="no latency table is called"):
        additivity.recorded("nonsense")


def test_networks_are_chosen_once_each(space):
    assert len(set(additivity.choose(space, 100))) == 100 and additivity.choose(space, 100) == additivity.choose(
        space, 100
    )
    assert set(additivity.choose(space, 1_000)) == set(space)
    assert len(set(additivity.choose(lk.spaces.mobile("tiny"), 90))) == 90
