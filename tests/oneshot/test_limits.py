"""A policy held at a limit: on costs that are known, where the cost falls with time and where it rises."""

from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit.estimators.gradient_estimators import Unas
from labkit.estimators.tilting import most_undecided, tilt
from labkit.latency.distribution import LatencyDistribution, LatencyModel
from labkit.oneshot.config import WORTH, SearchConfig, default_weights
from labkit.oneshot.controllers import Controller
from labkit.oneshot.limits import USED, Mean, expected_ms, least_entropy
from labkit.oneshot.proposals import just_inside

STEPS = 120


def moved(space, table, config, cost, *, noise=0.0, measured_ms=None, seed=0, steps=STEPS):
    """A controller after so many moves down the cost, with noise that is each step's own; expected ms on the way."""
    controller, generator = Controller(space, config, steps), torch.Generator().manual_seed(seed)
    expected = []
    for _ in range(steps):
        weather = noise * torch.randn(space.mask.shape, generator=generator)
        now = lambda w, weather=weather: cost(w) + (w * weather.to(w)).sum((-1, -2))
        gradient = Unas()(now, controller.dist, 1, generator, now).gradient
        controller.move(gradient, table, measured_ms, generator)
        expected.append((measured_ms or table)(controller.dist.probs()[None]).item())
    return controller, expected


def limits(table, *shares):
    low, high = table.range_ms()
    return [low + share * (high - low) for share in shares]


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["deadline_ms", "target_ms"])
def test_where_the_cost_falls_with_time_it_is_used(space, table, kind, noise):
    falls = lambda w: -3 * table(w)
    for limit_ms in limits(table, 0.1, 0.3, 0.5, 0.7, 0.9):
        controller, expected = moved(space, table, SearchConfig(**{kind: limit_ms}), falls, noise=noise)
        after = expected[STEPS // 4 :]
        assert all(0.9 * limit_ms <= ms <= limit_ms * 1.01 for ms in after), "from the first quarter on"
        found = just_inside(controller.dist, LatencyModel(table), limit_ms, 8, torch.Generator().manual_seed(0))
        assert len(found) >= 4 and all(0.9 * limit_ms <= table.table_ms(a) <= limit_ms for a in found)
        assert not controller.limit.may_be_faster


def test_a_price_for_being_late_would_drive_a_broad_policy_far_below(space, table):
    """Why there is none: a twentieth of the draws late is far below the limit while a policy is broad."""
    (limit_ms,) = limits(table, 0.4)
    uniform = lk.ArchDistribution(space)
    spread = lambda dist: LatencyDistribution(LatencyModel(table), dist.probs())
    wanted = limit_ms
    while spread(uniform).late(limit_ms) > 0.05:
        wanted -= 0.002
        tilt(uniform, table, wanted)
    assert spread(uniform).mean < 0.85 * limit_ms
    assert expected_ms(limit_ms, spread(uniform), 0.05) == pytest.approx(USED * limit_ms)


def test_a_narrow_policy_is_held_where_few_of_its_draws_are_late(space, table):
    low = table.range_ms()[0]
    dist = lk.ArchDistribution(space)
    dist.logits.data[:, 1] = 5.0
    spread = LatencyDistribution(LatencyModel(table), dist.probs())
    limit_ms = 1.02 * spread.quantile(0.95)
    assert (
        0.95 * limit_ms
        <= limit_ms - (spread.quantile(0.95) - spread.mean)
        == pytest.approx(expected_ms(limit_ms, spread, 0.05))
    )
    assert expected_ms(1.001 * low, spread, 0.05) > low, "near the fastest it is not asked for what none can take"


def test_where_the_cost_rises_with_time_it_may_be_faster(space, table):
    (limit_ms,) = limits(table, 0.7)
    for noise in (0.0, 0.1):
        controller, expected = moved(
            space, table, SearchConfig(deadline_ms=limit_ms), lambda w: 3 * table(w), noise=noise
        )
        assert controller.limit.may_be_faster and expected[-1] < 0.85 * limit_ms
    same = lambda w: 0 * table(w)
    freed = sum(
        moved(space, table, SearchConfig(deadline_ms=limit_ms), same, noise=0.3, seed=s)[0].limit.may_be_faster
        for s in range(10)
    )
    assert freed <= 1, "negative control: noise alone hardly ever frees it"


def test_with_a_price_on_time_it_may_be_faster_at_once(space, table):
    low, high = table.range_ms()
    (limit_ms,) = limits(table, 0.6)
    dear = SearchConfig(deadline_ms=limit_ms, latency_weight=1.0 / (high - low))
    controller, expected = moved(space, table, dear, lambda w: 0 * table(w))
    assert controller.limit.may_be_faster and expected[-1] < 0.8 * limit_ms
    hinge = SearchConfig(target_ms=limit_ms, latency_weight=1.0)
    assert Controller(space, hinge, 10).limit is None, "a target with a weight is a hinge, as published"


def test_beyond_the_slowest_nothing_is_held(space, table):
    _, high = table.range_ms()
    free, held = (
        moved(space, table, SearchConfig(deadline_ms=ms, latency_weight=0.0), lambda w: -table(w))[1]
        for ms in (1.001 * high, 0.99 * high)
    )
    none = moved(space, table, SearchConfig(latency_weight=0.0), lambda w: -table(w))[1]
    assert free == none != held


def test_a_stopwatch_holds_it_where_the_table_is_wrong(space, table):
    """By the stopwatch everything takes longer, and one candidate much longer."""
    beyond = torch.tensor([0.0, 0.02, 0.08])
    watch = lambda w: 1.2 * table(w) + 0.03 + (w * beyond.to(w)).sum((-1, -2))
    z = torch.stack([space.encode(a) for a in space])
    limit_ms = watch(z).quantile(0.5).item()
    config = SearchConfig(deadline_ms=limit_ms)
    controller, expected = moved(space, table, config, lambda w: -3 * watch(w), measured_ms=watch, steps=200)
    assert all(0.9 * limit_ms < ms < 1.1 * limit_ms for ms in expected[100:])
    assert controller.limit.asked == 200, "one measurement a step"
    model = controller.limit.model(table)
    assert (model(z) - watch(z)).abs().mean() < 0.25 * (table(z) - watch(z)).abs().mean()
    by_table = moved(space, table, config, lambda w: -3 * watch(w), steps=200)[0]
    off = watch(by_table.dist.probs()[None]).item() / limit_ms
    assert off > 1.1, "negative control: who follows the table alone is late by the stopwatch"
    with pytest.raises(lk.InputError, match=r"measured_ms of .* is nan"):
        moved(space, table, config, watch, measured_ms=lambda w: torch.full((len(w),), float("nan")), steps=1)


def test_entropy_falls_late_and_is_kept(space, table):
    (limit_ms,) = limits(table, 0.5)
    steep = lambda w: -300 * table(w) * w[..., 0].sum(-1)
    controller = Controller(space, SearchConfig(deadline_ms=limit_ms, logit_lr=1.0), STEPS)
    generator, entropies = torch.Generator().manual_seed(0), []
    for _ in range(STEPS):
        gradient = Unas()(steep, controller.dist, 1, generator, steep).gradient
        controller.move(gradient, table, None, generator)
        entropies.append(controller.dist.entropy().item())
    least = least_entropy(0.5) * most_undecided(lk.ArchDistribution(space), table, USED * limit_ms)
    assert entropies[STEPS // 2 - 1] >= 0.97 * least > 0.6 * entropies[0] > 2 * entropies[-1]
    assert [least_entropy(done) for done in (0.0, 0.5, 1.0, 1.1)] == [1.0, 0.75, 0.0, 0.0]


def test_a_mean_and_its_standard_error():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.3
    mean = Mean()
    for value in values.tolist():
        mean.add(value)
    assert mean.mean == pytest.approx(values.mean().item())
    assert mean.errors == pytest.approx((values.mean() / (values.std() / 50**0.5)).item())
    assert Mean().errors == Mean(1, 2.0).errors == 0.0


# --- no hidden price -------------------------------------------------------------------------------------------


def test_a_default_weight_follows_the_range_and_is_none_under_a_limit():
    plain = SearchConfig()
    for scale in (1.0, 500.0):
        low, high = 0.2 * scale, 0.5 * scale
        assert plain.priced((low, high)).latency_weight * (high - low) == pytest.approx(WORTH)
        assert [w * (high - low) / WORTH for w in default_weights((low, high))] == pytest.approx([0, 0.3, 1, 2, 4, 8])
        for limit in ({"deadline_ms": 1.0}, {"target_ms": 1.0}):
            assert SearchConfig(**limit).priced((low, high)).latency_weight == 0.0
    given = replace(plain, latency_weight=0.7, deadline_ms=1.0)
    assert given.priced((1.0, 2.0)) == given
    assert plain.priced((1.0, 1.0)).latency_weight == 0.0, "where all take as long"
    assert SearchConfig.published().latency_weight == 0.0


def slower(table, times):
    """The same table of a device that is so many times slower."""

    def scaled(value, key=""):
        if isinstance(value, dict):
            return {k: scaled(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [scaled(v, key) for v in value]
        return times * value if key.endswith("_ms") and value is not None else value

    return lk.LatencyTable.from_json(scaled(table.to_json()))


@pytest.mark.parametrize("limit", [{}, {"deadline_ms": 0.5}, {"target_ms": 0.5}])
def test_what_is_chosen_does_not_depend_on_how_fast_the_device_is(space, data, table, limit):
    """B7.2: with a price a millisecond a device that takes tens of them chose whatever was fast."""
    low, high = table.range_ms()
    short = {"mixture_steps": 3, "weight_steps": 2, "joint_steps": 40, "batch_size": 16, "logit_lr": 0.2}
    short |= {"evaluation_images": 100, "calibration_images": 64}
    found = []
    for times in (1.0, 500.0):
        own = {key: times * (low + share * (high - low)) for key, share in limit.items()}
        found.append(lk.search(lk.Supernet(space), data, slower(table, times), SearchConfig(**short, **own)))
    assert found[0].architecture == found[1].architecture
    probs = [result.logits.masked_fill(~space.mask, -1e9).softmax(-1) for result in found]
    torch.testing.assert_close(*probs, rtol=0, atol=0.05)
    assert found[1].point.latency_ms == pytest.approx(500 * found[0].point.latency_ms)
    a_price = [
        lk.search(lk.Supernet(space), data, slower(table, times), SearchConfig(**short, latency_weight=0.5))
        for times in (1.0, 500.0)
    ]
    assert a_price[1].architecture == min(space, key=table.table_ms) != a_price[0].architecture, "negative control"
