"""The distribution of what a policy's draws take, against enumeration and against many draws."""

import pytest
import torch

import labkit as lk
from labkit.latency.distribution import BINS, LatencyDistribution, LatencyModel


@pytest.fixture
def dist(space):
    made = lk.ArchDistribution(space).double()
    made.logits.data = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return made


def enumerated(dist, ms):
    """Milliseconds and probability of every architecture, written out."""
    z = torch.stack([dist.space.encode(a) for a in dist.space]).double()
    return ms(z), (z * dist.log_probs()).sum((-1, -2)).exp().detach()


def exact(dist, ms, limit_ms):
    times, chances = enumerated(dist, ms)
    return chances[times > limit_ms].sum().item()


def test_the_share_that_is_late_is_what_enumeration_says(dist, table):
    """Within a step of the grid a part: more it cannot be off, and at most times it is not off at all."""
    spread = LatencyDistribution(LatencyModel(table), dist.probs())
    low, high = table.range_ms()
    off = 5 * (high - low) / (BINS - 1)
    equal = 0
    for limit_ms in torch.linspace(low - 0.01, high + 0.01, 97).tolist():
        found = spread.late(limit_ms)
        assert exact(dist, table, limit_ms + off) - 1e-9 <= found <= exact(dist, table, limit_ms - off) + 1e-9
        equal += abs(found - exact(dist, table, limit_ms)) < 1e-9
    assert equal > 70
    assert spread.masses.sum() == pytest.approx(1, abs=1e-12)
    times, chances = enumerated(dist, table)
    assert spread.mean == pytest.approx((times * chances).sum().item(), abs=1e-12) == table(dist.probs()[None]).item()
    ordered = times.sort()
    for share in (0.05, 0.5, 0.95):
        at = int(torch.searchsorted(chances[ordered.indices].cumsum(0), share))
        assert spread.quantile(share) == pytest.approx(ordered.values[at].item(), abs=off)


def test_a_stopwatch_adds_to_candidates(dist, table):
    extra = torch.rand(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = LatencyModel(table, extra, -0.05)
    watch = lambda z: table(z) - 0.05 + (z * extra).sum((-1, -2))
    spread, (low, high) = LatencyDistribution(model, dist.probs()), model.range_ms()
    times, _ = enumerated(dist, watch)
    assert (low, high) == pytest.approx((times.min().item(), times.max().item()))
    middle, off = (low + high) / 2, 5 * (high - low) / (BINS - 1)
    assert exact(dist, watch, middle + off) <= spread.late(middle) <= exact(dist, watch, middle - off)
    assert abs(spread.late(middle) - exact(dist, table, middle)) > 0.05, "negative control: the table says otherwise"


@pytest.fixture(scope="module")
def cells():
    space = lk.spaces.cells("tiny")
    return space, lk.LatencyTable.measure(space, lk.TimingConditions(seconds=0.001, rounds=2))


def test_in_cells_an_input_and_its_operation_go_together(cells):
    """200,000 draws, timed by the table: no more than their own noise away anywhere."""
    space, table = cells
    dist = lk.ArchDistribution(space)
    dist.logits.data = torch.randn(dist.logits.shape, generator=torch.Generator().manual_seed(3))
    spread = LatencyDistribution(LatencyModel(table), dist.probs())
    drawn = dist.sample(200_000, 1.0, torch.Generator().manual_seed(0)).hard
    times = torch.cat([table(part) for part in drawn.split(20_000)]).double()
    assert spread.mean == pytest.approx(table(dist.probs()[None]).item(), rel=1e-5)
    grid, noise = 8 * spread.step, 3 / 200_000**0.5
    for ms in times.quantile(torch.linspace(0.01, 0.99, 50).double()).tolist():
        late = lambda at: (times > at).double().mean().item()
        assert late(ms + grid) - noise <= spread.late(ms) <= late(ms - grid) + noise
    assert times.min() >= spread.low - 1e-4 and times.max() <= table.range_ms()[1] + 1e-4


def frequencies(space, draws):
    place = {a: i for i, a in enumerate(space)}
    return torch.bincount(torch.tensor([place[a] for a in draws]), minlength=space.size).double()


def chi_square(counts, expected):
    kept = expected > 5
    rest = torch.stack([counts[~kept].sum(), expected[~kept].sum().clamp_min(1e-9)])
    square = ((counts[kept] - expected[kept]) ** 2 / expected[kept]).sum() + (rest[0] - rest[1]) ** 2 / rest[1]
    return square.item(), int(kept.sum())


def test_draws_inside_a_band_have_the_policys_law_there(dist, table):
    low, high = table.range_ms()
    band = low + 0.4 * (high - low), low + 0.6 * (high - low)
    spread, generator = LatencyDistribution(LatencyModel(table), dist.probs()), torch.Generator().manual_seed(0)
    draws = [spread.draw(dist.space, 1, *band, generator)[0] for _ in range(4_000)]
    assert all(band[0] <= table.table_ms(a) <= band[1] for a in draws)
    times, chances = enumerated(dist, table)
    inside = chances * ((times >= band[0]) & (times <= band[1]))
    square, kinds = chi_square(frequencies(dist.space, draws), 4_000 * inside / inside.sum())
    assert square < kinds + 4 * (2 * kinds) ** 0.5
    flat = (inside > 0).double()
    square, kinds = chi_square(frequencies(dist.space, draws), 4_000 * flat / flat.sum())
    assert square > 10 * kinds, "negative control: they are not uniform there"


def test_all_that_there_are_in_a_band_and_none_where_none_are(space, dist, table):
    spread, generator = LatencyDistribution(LatencyModel(table), dist.probs()), torch.Generator().manual_seed(0)
    times = sorted(map(table.table_ms, space))
    assert spread.draw(space, 4, 0.5 * times[0], 0.9 * times[0], generator) == []
    found = spread.draw(space, 243, times[0], times[2], generator)
    assert {table.table_ms(a) for a in found} <= set(times[:3]) and len(found) == len(set(found)) <= 3
    certain = torch.zeros(5, 3).double()
    certain[:, 1] = 1
    only = LatencyDistribution(LatencyModel(table), certain)
    ms = table(certain[None]).item()
    assert (only.late(ms * 0.99), only.late(ms * 1.01)) == pytest.approx((1, 0), abs=1e-9)
    assert [set(a.ops) for a in only.draw(space, 5, 0.9 * ms, 1.1 * ms, generator)] == [{space.slots[0][1]}]
