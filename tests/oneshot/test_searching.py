"""The loop's parts against what they must equal, and the whole on data that can be learned in seconds."""

import copy
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

import labkit as lk
from labkit import SearchConfig, evaluate
from labkit.estimators.costs import LatencyCost, generalisation_loss
from labkit.estimators.gradient_estimators import ESTIMATORS, Unas, exact_gradient
from labkit.networks.supernet import frozen_statistics
from labkit.oneshot.baselines import random_search
from labkit.oneshot.run import SearchRun
from labkit.oneshot.searching import planned_passes, train_shared
from labkit.oneshot.task_cost import TaskCost, latency_gradient
from labkit.system.errors import InputError

TINY = SearchConfig(
    mixture_steps=3, weight_steps=2, joint_steps=3, batch_size=16, evaluation_images=100, calibration_images=64
)


@pytest.fixture
def batches(data):
    return next(data.train.batches(16)), next(data.valid.batches(16))


def test_relaxed_cost_has_the_value_and_slope_of_the_generalisation_loss(space, batches):
    """And its by-product is the weight gradient of the training loss alone: all against plain autograd, in float64."""
    supernet = lk.Supernet(space).double()
    (xt, yt), (xv, yv) = [(x.double(), y) for x, y in batches]
    parameters = list(supernet.parameters())
    weights = torch.rand(1, 5, 3, dtype=torch.float64).softmax(-1).requires_grad_()

    task = TaskCost(supernet, parameters, (xt, yt), (xv, yv), SearchConfig())
    value = task(weights)
    (slope,) = torch.autograd.grad(value.sum(), weights)

    supernet.train()
    with frozen_statistics(supernet):
        train, valid = F.cross_entropy(supernet(xt, weights), yt), F.cross_entropy(supernet(xv, weights), yv)
    expected = generalisation_loss(train, valid, 0.5)
    torch.testing.assert_close(value.item(), expected.item())
    torch.testing.assert_close(slope, torch.autograd.grad(expected, weights, retain_graph=True)[0])
    for ours, theirs in zip(task.weight_gradients, torch.autograd.grad(train, parameters)):
        torch.testing.assert_close(ours, theirs)


def test_error_as_the_cost_is_counted_and_its_control_is_cross_entropy(space, batches):
    supernet, z = lk.Supernet(space).double(), space.encode(space[7])[None].double()
    batches = [(x.double(), y) for x, y in batches]
    parameters, relaxed = list(supernet.parameters()), torch.full((1, 5, 3), 1 / 3, dtype=torch.float64)
    in_error = TaskCost(supernet, parameters, *batches, SearchConfig(task_cost="error", nats_per_error=4.0))
    in_nats = TaskCost(supernet, parameters, *batches, SearchConfig())
    supernet.train()
    with torch.no_grad(), frozen_statistics(supernet):
        train, valid = ((supernet(x, z).argmax(-1) != y).double().mean().item() for x, y in batches)
    assert 0 < train != valid and in_error(z).item() == pytest.approx(train + 0.5 * abs(valid - train))
    gradients = []
    for task in (in_error, in_nats):
        at = relaxed.clone().requires_grad_()
        gradients.append((task(at), torch.autograd.grad(task(at).sum(), at)[0]))
    torch.testing.assert_close(4 * gradients[0][0], gradients[1][0])
    torch.testing.assert_close(4 * gradients[0][1], gradients[1][1])
    for a, b in zip(in_error.weight_gradients, in_nats.weight_gradients):
        torch.testing.assert_close(a, b)  # the weights learn as ever


def test_one_hot_cost_moves_no_running_statistics(space, batches):
    supernet = lk.Supernet(space)
    before = copy.deepcopy(supernet.state_dict())
    task = TaskCost(supernet, list(supernet.parameters()), *batches, SearchConfig())
    with torch.no_grad():
        task(space.encode(next(iter(space)))[None])
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())


@pytest.mark.parametrize("target", [None, 0.25])
def test_latency_gradient_points_at_the_exact_one(space, table, target):
    dist, cost = lk.ArchDistribution(space).double(), LatencyCost(2.0, target)
    exact = exact_gradient(lambda w: cost(table(w)), dist)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([latency_gradient(Unas(), dist, cost, table, None, generator) for _ in range(300)])
    if target is None:
        torch.testing.assert_close(draws[0], exact)
        assert draws.std(0).max() == 0, "closed form: no noise"
    else:
        z = (draws.mean(0) - exact) / (draws.std(0) / 300**0.5)
        assert z.abs().max() < 4 and exact.abs().max() > 0


def test_a_measured_latency_is_minimised_without_bias(space, table):
    """The black box differs from the table that controls it, and the gradient is the black box's."""
    dist, cost = lk.ArchDistribution(space).double(), LatencyCost(1.0)
    odd = torch.rand(5, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def measured(weights):
        assert not weights.requires_grad, "a stopwatch sees one-hot weights only"
        return table(weights) + (weights * odd).sum((-1, -2)) ** 2

    exact = exact_gradient(measured, dist)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([latency_gradient(Unas(), dist, cost, table, measured, generator) for _ in range(6_000)])
    z = (draws.mean(0) - exact) / (draws.std(0) / 6_000**0.5)
    assert z.abs().max() < 4


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_searches_and_a_seed_decides(space, data, table, estimator):
    several = {"architectures": 2} if estimator == "reinforce-leave-one-out" else {}
    supernet, config = lk.Supernet(space, seed=0), replace(TINY, estimator=estimator, latency_weight=0.5, **several)
    before = copy.deepcopy(supernet.state_dict())
    first, again = (lk.search(supernet, data, table, config) for _ in range(2))
    assert torch.equal(first.logits, again.logits) and first.point == again.point
    assert [row["phase"] for row in first.history] == ["mixture"] * 3 + ["uniform"] * 2 + ["joint"] * 3
    assert first.logits.abs().max() > 0 and first.point.latency_ms == table.table_ms(first.architecture)
    assert all(torch.equal(before[k], v) for k, v in supernet.state_dict().items()), (
        "the supernet passed in is left alone"
    )
    other = lk.search(supernet, data, table, replace(config, seed=1))
    assert not torch.equal(first.logits, other.logits)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_asks_the_stopwatch_or_is_refused_at_once(space, data, table, estimator):
    asked = []

    def watch(weights):
        asked.append(len(weights))
        return table(weights)

    config = replace(TINY, estimator=estimator, architectures=2, latency_weight=0.5)
    run = partial(lk.search, lk.Supernet(space), data, table, config, measured_ms=watch)
    if estimator in ("rebar", "gumbel", "straight-through", "darts"):
        first = []
        refused = f"{estimator} follows the gradient .* take one of unas, unas-fitted, rei"
        with pytest.raises(lk.InputError, match=refused):
            run(on_step=first.append)
        assert not asked and not first
    else:
        run()
        assert len(asked) == TINY.joint_steps


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_estimator_keeps_a_deadline(space, data, table, estimator):
    settings = {"estimator": estimator, "architectures": 2, "deadline_ms": sum(table.range_ms()) / 2}
    found = lk.search(lk.Supernet(space), data, table, replace(TINY, **settings))
    assert found.point.latency_ms <= settings["deadline_ms"]


def test_a_great_latency_weight_finds_the_fastest_architecture(space, data, table):
    config = replace(TINY, latency_weight=100.0, joint_steps=60, logit_lr=0.3)
    fastest = min(space, key=table.table_ms)
    assert lk.search(lk.Supernet(space), data, table, config).architecture == fastest


def test_a_target_stops_paying_for_speed(space, data, table):
    low, high = table.range_ms()
    target = low + 0.6 * (high - low)
    config = replace(TINY, latency_weight=100.0, target_ms=target, joint_steps=80, logit_lr=0.3)
    point = lk.search(lk.Supernet(space), data, table, config).point
    assert low < point.latency_ms <= target * 1.02


@pytest.mark.parametrize(("sample", "moved"), [("one-hot", 1), ("relaxed", 3)])
def test_shared_weights_train_on_the_samples_asked_for(space, data, sample, moved):
    """One step: of each slot's candidates the one drawn has moved, or all of them (pooling has nothing to move)."""
    total, before = 0, lk.Supernet(space, seed=0)
    config = replace(TINY, mixture_steps=0, weight_steps=1, joint_steps=0)
    after = train_shared(before, data, config, sample=sample)
    for old, new in zip(before.body, after.body):
        if not hasattr(old, "ops"):
            continue
        with_weights = [k for k, op in enumerate(old.ops) if list(op.parameters())]
        changed = [
            any(not torch.equal(a, b) for a, b in zip(old.ops[k].parameters(), new.ops[k].parameters()))
            for k in with_weights
        ]
        assert sum(changed) <= moved if moved == 1 else all(changed)
        total += sum(changed)
    assert total > 0
    with pytest.raises(InputError, match="relaxed, one-hot, fair, distilled; got 'hard'"):
        train_shared(before, data, config, sample="hard")


def test_random_search_costs_what_a_search_costs(space, data, table):
    config = replace(TINY, joint_steps=20)
    found, baseline = (
        lk.search(lk.Supernet(space), data, table, config),
        random_search(lk.Supernet(space), data, table, config),
    )
    assert found.passes == planned_passes(lk.Supernet(space), config)
    each = config.calibration_images + config.evaluation_images
    assert found.passes - each < baseline.passes <= found.passes
    assert len({p.architecture for p in baseline.evaluated}) == len(baseline.evaluated)
    assert baseline.point in baseline.evaluated


def test_random_search_scans_a_space_that_it_can_afford(space, data, table):
    baseline = random_search(lk.Supernet(space), data, table, TINY, budget=1e9)
    assert len(baseline.evaluated) == 243 == len({p.architecture for p in baseline.evaluated})
    assert baseline.point == min(baseline.evaluated, key=lambda p: p.error)


def test_a_sweep_of_one_is_a_search_to_the_bit(space, data, table):
    (swept,) = lk.sweep(lk.Supernet(space), data, table, (0.5,), TINY)
    alone = lk.search(lk.Supernet(space), data, table, replace(TINY, latency_weight=0.5))
    assert torch.equal(swept.logits, alone.logits) and swept.history == alone.history
    assert (swept.method, swept.passes, swept.point) == ("search", alone.passes, alone.point)


def test_a_deadline_that_nobody_meets_is_refused_before_any_step(space, data, table, monkeypatch):
    fastest, slowest = table.range_ms()
    early = replace(TINY, deadline_ms=0.99 * fastest)
    supernet, known = lk.Supernet(space), f"the fastest takes {math.ceil(1e4 * fastest) / 1e4:.4f} ms by the table"
    half = lambda weights: table(weights) / 2
    assert (
        lk.search(supernet, data, table, replace(TINY, deadline_ms=fastest + 1e-4)).point.latency_ms <= fastest + 1e-4
    )
    assert lk.search(supernet, data, table, early, measured_ms=half).point.latency_ms > early.deadline_ms
    monkeypatch.setattr(SearchRun, "_next", lambda run: pytest.fail("a step was made"))
    with pytest.raises(lk.InputError, match=known):
        lk.search(supernet, data, table, early)
    with pytest.raises(lk.InputError, match=known):
        lk.random_search(supernet, data, table, early)
    with pytest.raises(lk.InputError, match=known):
        lk.sweep(supernet, data, table, (0.0,), TINY, deadlines_ms=(slowest, 0.99 * fastest))


def test_a_sweep_costs_two_searches_and_moves_with_the_objective(space, data, table):
    config = replace(TINY, joint_steps=60, logit_lr=0.3)
    fastest, slowest = table.range_ms()
    middle = (fastest + slowest) / 2
    free, some, dear, target, deadline = lk.sweep(
        lk.Supernet(space),
        data,
        table,
        (0.0, 10.0, 100.0),
        replace(config, finalists=2),
        targets_ms=(middle,),
        deadlines_ms=(middle,),
    )
    found = (free, some, dear, target, deadline)
    judging = 2 * (config.calibration_images + config.evaluation_images)  # by the deadline's finalists
    assert sum(f.passes for f in found) - judging < 2 * planned_passes(lk.Supernet(space), config)
    assert dear.architecture == min(space, key=table.table_ms)
    assert dear.point.latency_ms < free.point.latency_ms and deadline.point.latency_ms <= middle
    assert target.config.target_ms == middle and deadline.config.deadline_ms == middle
    assert {f.method for f in found} == {"sweep"}
    moves = [[r["step"] for r in f.history if r["phase"] == "joint"] for f in found]
    assert sorted(step for steps in moves for step in steps) == list(range(len(free.history) - 24, 125)), (
        "one draws a step"
    )
    assert {len(steps) for steps in moves} == {24}
    with pytest.raises(lk.InputError, match="latency weights, targets or deadlines"):
        lk.sweep(lk.Supernet(space), data, table, (), config)


def test_search_finds_what_can_be_learned(space, data, table):
    """A short live search must land among the better half of its own supernet's ranking."""
    config = SearchConfig.fast(seed=0, mixture_steps=100, joint_steps=60)
    result = lk.search(lk.Supernet(space, seed=0), data, table, config)
    errors = sorted(p.error for p in evaluate(result.supernet, space, data, table, config))
    assert errors[0] < 0.6, "the shared weights left the plateau"
    assert result.point.error <= errors[121]


def test_wrong_ingredients_are_refused(space, data, table, make_table):
    with pytest.raises(lk.InputError, match="measure a table for this space"):
        lk.search(lk.Supernet(lk.spaces.mobile()), data, table, TINY)
    many = lk.spaces.five_layer(classes=26)
    with pytest.raises(lk.InputError, match="10 classes, the space 26"):
        lk.search(lk.Supernet(many), data, make_table(many), TINY)
    with pytest.raises(lk.InputError, match="a batch of 1000 needs"):
        lk.search(lk.Supernet(space), data, table, replace(TINY, batch_size=1_000))
