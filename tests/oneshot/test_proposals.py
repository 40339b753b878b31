"""Architectures that a policy proposes just inside a limit, against an enumeration."""

import torch

import labkit as lk
from labkit.estimators.tilting import tilt
from labkit.latency.distribution import LatencyModel
from labkit.oneshot.limits import USED
from labkit.oneshot.proposals import just_inside


def test_half_are_the_most_probable_inside_and_half_are_drawn(space, table):
    limit_ms = sum(table.range_ms()) / 2
    dist = lk.ArchDistribution(space).double()
    dist.logits.data = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    tilt(dist, table, USED * limit_ms)
    found = just_inside(dist, LatencyModel(table), limit_ms, 8, torch.Generator().manual_seed(0))
    chance = {a: (space.encode(a) * dist.log_probs()).sum().item() for a in space}
    inside = [
        a for a in sorted(chance, key=chance.get, reverse=True) if 0.9 * limit_ms <= table.table_ms(a) <= limit_ms
    ]
    assert found[:4] == inside[:4] and len(set(found)) == 8 and set(found) <= set(inside)
    assert found != inside[:8], "the others are drawn"
    narrow = lk.ArchDistribution(space).double()
    narrow.logits.data = 8 * dist.logits.data
    for n in range(1, len(inside) + 1):
        found = just_inside(narrow, LatencyModel(table), limit_ms, n, torch.Generator().manual_seed(0))
        assert len(found) == n and all(table.table_ms(a) <= limit_ms for a in found), "one is drawn over and over"
    everyone = just_inside(dist, LatencyModel(table), limit_ms, 243, torch.Generator().manual_seed(0))
    assert set(everyone) == set(inside)
