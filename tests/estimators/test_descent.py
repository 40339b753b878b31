"""Descent on costs that are looked up, with and without a deadline, against what enumeration says."""

from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit.estimators import descent
from labkit.estimators.costs import Deadline, DualWeight, TabularCost
from labkit.estimators.descent import descend_in_time, most_probable_in_time
from labkit.estimators.gradient_estimators import GumbelSoftmax, Reinforce, Unas, exact_gradient
from labkit.oneshot.config import SearchConfig
from labkit.system.errors import InputError

# --- the deadline ---------------------------------------------------------------------------------------------


def test_late_is_beyond_the_deadline_and_nearly_late_follows_it():
    deadline, ms = Deadline(2.0), torch.tensor([1.0, 2.0, 2.0001, 9.0])
    assert deadline.late(ms).tolist() == [0, 0, 1, 1]
    assert deadline.nearly_late(ms, 0.1).tolist() == pytest.approx([4.54e-5, 0.5, 0.50025, 1], rel=1e-3)
    for bad in ({"deadline_ms": 0}, {"deadline_ms": float("nan")}, {"deadline_ms": 1, "allowed": 1.0}):
        with pytest.raises(InputError):
            Deadline(**bad)


def test_being_late_gets_dearer_only_while_too_many_are():
    dual = DualWeight(weight=0.1, rate=0.5)
    dual.update(late=0.25, allowed=0.05)
    assert dual.weight == pytest.approx(0.2)
    for _ in range(20):
        dual.update(late=0.0, allowed=0.05)
    assert dual.weight == 0.0


def worst_z(estimator, box, calls=100, draws=2_000):
    """Of P(late) estimated with the smooth deadline of a sum of parts as its control: standard errors off."""
    _, ms, parts = box
    deadline = Deadline(ms.values.median().item())
    dist = lk.ArchDistribution(ms.space).double()
    with torch.no_grad():
        dist.logits.copy_(0.5 * torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    late, nearly = (lambda z: deadline.late(ms(z))), (lambda w: deadline.nearly_late(parts(w), 0.02))
    generator = torch.Generator().manual_seed(0)
    found = torch.stack([estimator(late, dist, draws, generator, nearly).gradient for _ in range(calls)])
    off = found.mean(0) - exact_gradient(late, dist)
    return (off / (found.std(0) / calls**0.5)).abs().max().item(), found.var(0).sum().item()


def test_the_probability_of_being_late_has_an_unbiased_gradient(box):
    z, variance = worst_z(Unas(0.4), box)
    plain_z, plain_variance = worst_z(Reinforce("none"), box)
    assert z < 4 and plain_z < 4
    assert variance < plain_variance, "the smooth deadline is worth having"
    assert worst_z(GumbelSoftmax(0.4), box)[0] > 10, "negative control: the smooth deadline alone is another question"


# --- descent --------------------------------------------------------------------------------------------------


def test_what_is_found_is_in_time_and_nearly_the_best_that_is(box):
    """Three deadlines, three seeds: always in time, within a point of the best in eight of nine, never two off."""
    cost, ms, parts = box
    gaps = []
    for share in (0.1, 0.5, 0.9):
        deadline = Deadline(ms.values.quantile(share).item())
        best = cost.values[ms.values <= deadline.deadline_ms].min().item()
        for seed in range(3):
            dist, generator = lk.ArchDistribution(cost.space).double(), torch.Generator().manual_seed(seed)
            found = descend_in_time(
                cost, ms, deadline, dist, steps=200, draws=16, generator=generator, latency_control=parts
            )
            assert found.latency_ms == ms.of(found.architecture) <= deadline.deadline_ms
            assert found.cost == cost.of(found.architecture)
            gaps.append(found.cost - best)
    assert sum(gap <= 0.01 for gap in gaps) >= 8 and max(gaps) <= 0.02, gaps


@pytest.fixture(scope="module")
def trap():
    """A cost that two slots lower together and raise alone: from the middle, each does best to leave."""
    space = lk.spaces.five_layer()
    by_count = torch.tensor([0.05, 0.25, 0.0], dtype=torch.float64)
    cost = by_count[[sum(name == "conv5x5" for name in a.ops[:2]) for a in space]]
    return TabularCost(space, cost), TabularCost(space, torch.ones_like(cost))


def test_what_was_drawn_is_not_forgotten(trap):
    cost, ms = trap
    found = [
        descend_in_time(
            cost, ms, Deadline(2.0), lk.ArchDistribution(cost.space).double(), steps=60, draws=16,
            generator=torch.Generator().manual_seed(seed), finalists=4,
        )
        for seed in range(3)
    ]  # fmt: skip
    assert all(cost.regret(f.most_probable) == 0.05 for f in found), "the distribution alone ends in the other corner"
    assert all(cost.regret(f.architecture) == f.cost == 0 for f in found)
    assert all(f.evaluated < 243 for f in found), "and it did not ask for all of them"


def test_a_stopwatch_is_not_asked_again_of_what_was_seen_late(trap):
    """Nearly everything drawn is late: at the end only the most probable, and what was never timed, are timed."""
    cost, _ = trap
    pools = lambda z: 1.0 + z[..., 2].sum(-1)
    asked = []

    def watch(z):
        asked.append(len(z))
        return pools(z)

    found = descend_in_time(
        cost, watch, Deadline(1.5), lk.ArchDistribution(cost.space).double(), steps=60, draws=16,
        generator=torch.Generator().manual_seed(0), latency_control=pools, finalists=4,
    )  # fmt: skip
    assert found.latency_ms == 1.0
    alone = [n for n in asked if n == 1]  # during the descent 16 at a time
    assert len(alone) < found.evaluated / 2


def test_a_noisy_box_is_remembered_by_its_means(trap):
    cost, _ = trap
    said = iter([[0.2, 0.5], [0.4, 0.1]])
    box = descent.Remembered(lambda z: torch.tensor(next(said)), cost.space)
    first, second = cost.space[0], cost.space[1]
    z = torch.stack([cost.space.encode(first), cost.space.encode(second)])
    assert box(z).tolist() == pytest.approx([0.2, 0.5]) and list(box.cheapest()) == [first, second]
    box(z.flip(0))  # the second says .4, the first .1
    assert box.means == pytest.approx({first: 0.15, second: 0.45}) and len(box.means) == 2


def test_without_a_price_the_deadline_is_not_found(box):
    """Negative control: the dual weight is what moves the distribution into time."""
    cost, ms, parts = box
    deadline = Deadline(ms.values.quantile(0.1).item())
    late = {}
    for rate in (0.0, 0.02):
        dist = lk.ArchDistribution(cost.space).double()
        late[rate] = descend_in_time(
            cost, ms, deadline, dist, steps=100, draws=16, generator=torch.Generator().manual_seed(0),
            latency_control=parts, dual=DualWeight(rate=rate),
        ).late  # fmt: skip
    assert late[0.02] < 0.2 < 0.9 < late[0.0]


def test_a_deadline_that_nothing_meets_says_how_fast_the_fastest_is(box):
    _, ms, _ = box
    dist = lk.ArchDistribution(ms.space)
    with pytest.raises(InputError, match=f"fastest of the most probable 243 takes {ms.values.min():.3g} ms"):
        most_probable_in_time(dist, ms, Deadline(1e-3))


def test_an_estimator_that_never_measures_is_refused(box):
    cost, ms, _ = box
    with pytest.raises(InputError, match="never evaluates the black box"):
        descend_in_time(
            cost, ms, Deadline(1.0), lk.ArchDistribution(cost.space), steps=1, draws=2,
            generator=torch.Generator(), estimator=GumbelSoftmax,
        )  # fmt: skip


def test_the_most_probable_in_time_come_in_order(box):
    _, ms, _ = box
    dist = lk.ArchDistribution(ms.space).double()
    with torch.no_grad():
        dist.logits.copy_(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)))
    deadline = Deadline(ms.values.median().item())
    found = most_probable_in_time(dist, ms, deadline, 7)
    log_p = torch.stack([(ms.space.encode(a).double() * dist.log_probs()).sum() for a in ms.space])
    order = [i for i in log_p.argsort(descending=True).tolist() if ms.values[i] <= deadline.deadline_ms][:7]
    assert found == [(ms.space[i], ms.values[i].item()) for i in order]
    assert len(most_probable_in_time(dist, ms, deadline, 10_000)) == int((ms.values <= deadline.deadline_ms).sum())


def test_looking_stops_in_a_space_without_end(monkeypatch):
    space = lk.spaces.mobile("tiny")
    monkeypatch.setattr(descent, "LOOK", 50)
    calls = []
    with pytest.raises(InputError, match="most probable 50"):
        most_probable_in_time(
            lk.ArchDistribution(space), lambda z: calls.append(1) or torch.ones(len(z)), Deadline(0.5)
        )
    assert len(calls) == 50


# --- in the search of a supernet --------------------------------------------------------------------------------

TINY = SearchConfig(
    mixture_steps=3,
    weight_steps=2,
    joint_steps=60,
    batch_size=16,
    evaluation_images=100,
    calibration_images=64,
    logit_lr=0.2,
)


def test_a_search_under_a_deadline_keeps_it(space, data, table):
    low, high = table.range_ms()
    config = replace(TINY, deadline_ms=low + 0.3 * (high - low))
    result = lk.search(lk.Supernet(space), data, table, config)
    assert result.point.latency_ms <= config.deadline_ms and result.point in result.evaluated
    assert len(result.evaluated) == 8 and all(p.latency_ms <= config.deadline_ms for p in result.evaluated)
    joint = [row["late"] for row in result.history if row["phase"] == "joint"]
    assert sum(joint[-10:]) < sum(joint[:10]), "being late has become rare"
    assert all(row["late"] is None for row in result.history if row["phase"] != "joint")


def test_a_stopwatch_may_hold_the_deadline(space, data, table):
    """By the stopwatch pooling is slow, whatever the table says: what is chosen must be in time by the stopwatch."""
    watch = lambda z: 1.0 + z[..., 2].sum(-1)
    config = replace(TINY, joint_steps=5, deadline_ms=1.5)
    found = lk.search(lk.Supernet(space), data, table, config, measured_ms=watch)
    assert all("maxpool3x3" not in p.architecture.ops for p in found.evaluated)


def test_random_search_keeps_the_deadline_and_pays_for_nothing_late(space, data, table):
    low, high = table.range_ms()
    config = replace(TINY, deadline_ms=low + 0.3 * (high - low))
    found = lk.random_search(lk.Supernet(space), data, table, config, budget=1e9)
    in_time = [a for a in space if table.table_ms(a) <= config.deadline_ms]
    assert {p.architecture for p in found.evaluated} == set(in_time)
    with pytest.raises(InputError, match="set a later deadline"):
        lk.random_search(lk.Supernet(space), data, table, replace(config, deadline_ms=low / 2), budget=1e9)


def test_the_latency_weight_may_rise_as_published():
    config = replace(TINY, latency_weight=0.4, target_ms=0.3, latency_warmup=4)
    assert [config.latency_cost_at(t).weight for t in (0, 1, 2, 4, 9)] == pytest.approx([0, 0.1, 0.2, 0.4, 0.4])
    assert config.latency_cost_at(1).target_ms == 0.3
    with pytest.raises(InputError, match="warm-up"):
        replace(TINY, latency_warmup=-1)
    with pytest.raises(InputError, match="deadline"):
        replace(TINY, deadline_ms=-1.0)
