"""A corrected table against planted milliseconds, and against the recorded whole networks of shipped tables."""

import numpy as np
import pytest
import torch

from labkit import spaces
from labkit.latency import TimingConditions, additivity, calibrated
from labkit.latency.additivity import Timed
from labkit.latency.build import load_networks
from labkit.latency.calibration import report_of
from labkit.latency.distribution import LatencyDistribution, LatencyModel
from labkit.latency.predictors import ScaledSum
from labkit.latency.table import LatencyTable
from labkit.system.errors import InputError


def timed(space, ms, architectures):
    return [Timed(a, ms(a), ms(a)) for a in architectures]


def test_a_planted_scale_constant_and_candidate_are_recovered(space, table):
    """1.4 times the sum, .05 ms more, and .03 ms more for each pooling layer, which the parts do not show."""
    true = lambda a: 1.4 * table.table_ms(a) + 0.05 + 0.03 * a.ops.count("maxpool3x3")
    order = torch.randperm(space.size, generator=torch.Generator().manual_seed(0)).tolist()
    fit, test = ([space[i] for i in part] for part in (order[:60], order[60:]))
    corrected = calibrated(table, space, timed(space, true, fit))
    off = lambda t: max(abs(t.table_ms(a) / true(a) - 1) for a in test)
    assert off(corrected) < 2e-3 < 0.02 < off(table)
    scaled = ScaledSum.fit(table, fit, [true(a) for a in fit])
    encoded = torch.stack([space.encode(a) for a in test]).double()
    assert float(np.abs(scaled(encoded).numpy() / [true(a) for a in test] - 1).max()) > 10 * off(corrected)
    assert corrected.card.origin == "predicted" and corrected.card.differences(table.card) == ()


def test_the_table_is_itself_where_the_sums_are_right(space, table):
    corrected = calibrated(table, space, timed(space, table.table_ms, list(space)[::4]))
    for a in list(space)[::17]:
        assert corrected.table_ms(a) == pytest.approx(table.table_ms(a), rel=1e-4)
    assert corrected.range_ms() == pytest.approx(table.range_ms(), rel=1e-4)


def test_the_distribution_and_the_file_are_those_of_a_table(space, table, tmp_path):
    true = lambda a: 0.7 * table.table_ms(a) + 0.02
    corrected = calibrated(table, space, timed(space, true, list(space)[::3]))
    probs = torch.full((5, 3), 1 / 3, dtype=torch.float64)
    every = np.mean([corrected.table_ms(a) for a in space])
    assert LatencyDistribution(LatencyModel(corrected), probs).mean == pytest.approx(every, rel=1e-9)
    again = LatencyTable.load(corrected.save(tmp_path / "t.json"))
    assert again.table_ms(space[7]) == pytest.approx(corrected.table_ms(space[7]), rel=1e-6)


def test_no_candidate_becomes_negative(space, table):
    """Pooling costs less than its part, down to less than nothing: the slot is shifted, and the sums are kept."""
    true = lambda a: table.table_ms(a) + 0.3 - 0.05 * a.ops.count("maxpool3x3")
    corrected = calibrated(table, space, timed(space, true, list(space)))
    assert (corrected.matrix >= 0).all()
    assert corrected.table_ms(space[100]) == pytest.approx(true(space[100]), rel=5e-3)


def test_cells_are_scaled():
    """Its milliseconds lie on edges, not in slots: a scale and a constant are all that is corrected."""
    space = spaces.by_name("cells-tiny")
    table = LatencyTable.measure(space, TimingConditions(seconds=0.001, rounds=2))
    true = lambda a: 2 * table.table_ms(a) + 0.1
    corrected = calibrated(table, space, timed(space, true, space.sample(40, torch.Generator().manual_seed(0))))
    for a in space.sample(5, torch.Generator().manual_seed(1)):
        assert corrected.table_ms(a) == pytest.approx(true(a), rel=1e-3)


@pytest.mark.parametrize("name", ["five_layer-torch-b1", "mobile-tiny-onnxruntime-b32", "mobile-tiny-torch-b1"])
def test_shipped_tables_predict_networks_that_were_left_out(name):
    """Fitted to the first half of the recorded networks, compared with the first measurement of the others."""
    table = LatencyTable.load(f"cpu-amd-epyc-2-cores/{name}")
    space = spaces.by_name(table.space)
    rows = load_networks(report_of(f"cpu-amd-epyc-2-cores/{name}"), space)
    fit, test = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    measured = np.array([t.measured_ms for t in test])
    within = lambda t: additivity.score("", np.array([t.table_ms(r.architecture) for r in test]), measured).within_10
    assert within(calibrated(table, space, fit)) >= 0.9 > 0.6 > within(table)


def test_too_few_networks_or_another_space_are_refused(space, table):
    with pytest.raises(InputError, match="at least 10 timed networks"):
        calibrated(table, space, timed(space, table.table_ms, list(space)[:9]))
    with pytest.raises(InputError):
        calibrated(table, spaces.by_name("mobile-tiny"), [])
    with pytest.raises(InputError, match="no latency table is called"):
        report_of("nothing")
