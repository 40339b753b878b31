"""What a step follows, in every form of the generalisation loss and with any number of architectures a batch."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import labkit as lk
from labkit.estimators.gradient_estimators import GumbelSoftmax, Unas
from labkit.networks.supernet import frozen_statistics
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.task_cost import TaskCost
from labkit.spaces import Edge, SearchSpace

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=4, batch_size=16, evaluation_images=50, calibration_images=32
)
EDGES = (Edge(3, 4, 4, fixed="conv3x3"), Edge(4, 4, slot=0), Edge(4, 4, slot=1))
SMALL = SearchSpace("small", (("conv3x3", "conv5x5", "skip"), ("conv3x3", "maxpool3x3")), EDGES, (3, 8, 8), 4, "flat")


def batch(images, seed, space=SMALL):
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randn(images, *space.image, generator=draw, dtype=torch.float64)
    return pixels, torch.randint(space.classes, (images,), generator=draw)


def by_hand(supernet, train, valid, weights, config):
    """L_gen (N,) as the formula stands, and L_train: one graph, no shortcut."""
    supernet.train()
    rows = weights.repeat_interleave(len(train[1]) // len(weights), 0)
    with frozen_statistics(supernet):
        t, v = (F.cross_entropy(supernet(x, rows), y, reduction="none") for x, y in (train, valid))
    t, v = (x.reshape(len(weights), -1) for x in (t, v))
    if config.gap == "paired":
        return (t + config.gap_weight * (v - t).abs()).mean(1), t.mean()
    return t.mean(1) + config.gap_weight * (v.mean(1) - t.mean(1)).abs(), t.mean()


@pytest.mark.parametrize("gap_weight", [0.0, 0.5])
@pytest.mark.parametrize("gap", ["batch", "paired"])
@pytest.mark.parametrize("architectures", [1, 4, 12])
def test_value_slope_and_weight_gradients_are_autograds(architectures, gap, gap_weight):
    config = SearchConfig(gap=gap, gap_weight=gap_weight, architectures=architectures, batch_size=12)
    supernet, train, valid = lk.Supernet(SMALL).double(), batch(12, 0), batch(12, 1)
    draw = torch.Generator().manual_seed(2)
    logits = torch.rand(architectures, 2, 3, generator=draw, dtype=torch.float64)
    weights = logits.masked_fill(~SMALL.mask, -1e9).softmax(-1).requires_grad_()
    task = TaskCost(supernet, list(supernet.parameters()), train, valid, config)
    value = task(weights)
    ours = torch.autograd.grad(value.mean(), weights)[0]
    expected, learnt = by_hand(supernet, train, valid, weights, config)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(ours, torch.autograd.grad(expected.mean(), weights, retain_graph=True)[0])
    for mine, theirs in zip(task.weight_gradients, torch.autograd.grad(learnt, list(supernet.parameters()))):
        torch.testing.assert_close(mine, theirs)
    hard = torch.stack([SMALL.encode(a) for a in list(SMALL)[:1] * architectures]).double()
    torch.testing.assert_close(task(hard), by_hand(supernet, train, valid, hard, config)[0].detach())


@pytest.mark.parametrize("gap_weight", [0.0, 0.5])
def test_a_step_knows_both_losses_of_what_it_drew_and_of_the_relaxed_pass(gap_weight):
    supernet, parts = lk.Supernet(SMALL).double(), (batch(6, 0), batch(6, 1))
    config = SearchConfig(gap_weight=gap_weight, architectures=2, batch_size=6)
    task = TaskCost(supernet, list(supernet.parameters()), *parts, config)
    hard = torch.stack([SMALL.encode(SMALL[k]) for k in (0, 4)]).double()
    relaxed = (0.5 * hard + 0.1).requires_grad_()
    assert not task.drawn_losses and not task.relaxed_losses
    task(hard), task(relaxed)
    seen = parts if gap_weight else parts[:1]
    with frozen_statistics(supernet), torch.no_grad():
        each = lambda weights, x, y: F.cross_entropy(
            supernet(x, weights.repeat_interleave(3, 0)), y, reduction="none"
        ).reshape(2, 3)
        drawn, mixed = (torch.stack([each(w, *part).mean(1) for part in seen], 1) for w in (hard, relaxed))
    torch.testing.assert_close(torch.tensor(task.drawn_losses, dtype=torch.float64), drawn)
    assert task.relaxed_losses == pytest.approx(mixed.mean(0).tolist()) and task.loss == task.relaxed_losses[0]


def test_a_gap_of_pairs_is_a_spread_and_one_of_batches_is_not():
    """Of two independent Exp(1) losses, whose means do not differ, |difference| is 1 in the mean over pairs."""
    task = TaskCost(lk.Supernet(SMALL), [], batch(2, 0), batch(2, 1), SearchConfig(gap="paired", gap_weight=1.0))
    losses = [torch.empty(1, 200_000).exponential_(generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    assert task._gen(losses).item() == pytest.approx(2.0, abs=0.02)
    task.paired = False
    assert task._gen(losses).item() == pytest.approx(1.0, abs=0.02)


def without_batch_norm(supernet):
    supernet = copy.deepcopy(supernet)
    for name, module in list(supernet.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            supernet.set_submodule(name, nn.Identity())
    return supernet.double()


@pytest.mark.parametrize(("architectures", "gap"), [(1, "batch"), (2, "batch"), (6, "paired")])
def test_the_gradient_is_unbiased_for_any_number_of_architectures(architectures, gap):
    """Against all architectures of every share of the batch, enumerated; batch norm, through which shares meet, is out.

    The relaxed path alone, as a control, must fail.
    """
    config = SearchConfig(gap=gap, architectures=architectures, batch_size=6)
    supernet, train, valid = without_batch_norm(lk.Supernet(SMALL, seed=1)), batch(6, 0), batch(6, 1)
    supernet.requires_grad_(False)
    for parameter in supernet.parameters():
        parameter.mul_(3.0)  # far from linear
    dist = lk.ArchDistribution(SMALL, softening=0.05).double()
    with torch.no_grad():
        dist.logits.copy_(torch.tensor([[0.5, -0.5, 0.2], [0.3, -0.3, 0.0]]))
    every = torch.stack([SMALL.encode(a) for a in SMALL]).double()
    cost = torch.stack([by_hand(supernet, train, valid, z.expand(architectures, -1, -1), config)[0] for z in every])
    p = (every * dist.log_probs()).sum((-1, -2)).exp()
    exact = torch.autograd.grad((p[:, None] * cost).sum(0).mean(), dist.logits)[0]

    task = TaskCost(supernet, [], train, valid, config)
    generator = torch.Generator().manual_seed(3)
    z = {}
    for estimator in (Unas(), GumbelSoftmax()):
        draws = torch.stack([estimator(task, dist, architectures, generator).gradient for _ in range(800)])
        error = (draws.mean(0) - exact) / (draws.std(0) / len(draws) ** 0.5).clamp_min(1e-12)
        z[type(estimator).__name__] = error[SMALL.mask].abs().max().item()
    assert z["Unas"] < 4 < z["GumbelSoftmax"], z


def test_a_distilled_step_learns_half_from_the_mixture():
    supernet, (images, labels) = lk.Supernet(SMALL).double(), batch(12, 0)
    parameters = list(supernet.parameters())
    task = TaskCost(supernet, parameters, (images, labels), None, SearchConfig(gap_weight=0.0))
    z, mixture = SMALL.encode(SMALL[1])[None].double(), lk.ArchDistribution(SMALL).double().probs().detach()[None]
    ours = task.gradients_on(z, mixture)
    assert task.passes == 12 * (3 + 2.5)  # 3 and 2 candidates: two and a half architectures' work forward
    with torch.no_grad(), frozen_statistics(supernet):
        soft = supernet(images, mixture).softmax(-1)
    logits = supernet(images, z)
    by_hand = 0.5 * F.cross_entropy(logits, labels) - 0.5 * (soft * logits.log_softmax(-1)).sum(-1).mean()
    for mine, theirs in zip(ours, torch.autograd.grad(by_hand, parameters, allow_unused=True)):
        if theirs is not None:
            torch.testing.assert_close(mine, theirs)
    assert task.loss == pytest.approx(F.cross_entropy(logits, labels).item())


def test_softened_probabilities_give_no_candidate_up(space, data, table):
    """At most (1 + e) / (1 + 3 e) of three; unsoftened ones pass that."""
    config = replace(TINY, joint_steps=40, logit_lr=0.5, latency_weight=50.0)
    most = {}
    for softening in (0.0, 0.08):
        found = lk.search(lk.Supernet(space), data, table, replace(config, softening=softening))
        most[softening] = max(found.history[-1]["probs"])
    assert most[0.08] <= 1.08 / 1.24 + 1e-6 < most[0.0]


def test_a_control_at_scale_0_is_reinforce_without_a_baseline(space, data, table):
    unas, plain = (
        lk.search(lk.Supernet(space), data, table, replace(TINY, weights_on="one-hot", **changes))
        for changes in ({"control_scale": 0.0}, {"estimator": "reinforce-no-baseline"})
    )
    first = len(unas.history) - TINY.joint_steps
    assert unas.history[first]["sampled"] == plain.history[first]["sampled"]
    torch.testing.assert_close(
        torch.tensor(unas.history[first]["probs"]), torch.tensor(plain.history[first]["probs"]), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("space_name", ["cifar", "imagenet"])
def test_the_published_settings_search_and_cost_what_was_planned(space, data, table, space_name):
    short = {"batch_size": 16, "weight_steps": 2, "joint_steps": 4, "evaluation_images": 50, "calibration_images": 32}
    short |= {"architectures": 16} if space_name == "cifar" else {}
    config = SearchConfig.published(space_name, **short)
    assert (config.gap, config.mixture_steps, config.clip) == ("paired", 0, 5.0)
    found = lk.search(lk.Supernet(space), data, table, config)
    planned = lk.oneshot.searching.planned_passes(lk.Supernet(space), config)
    assert found.passes == pytest.approx(planned, rel=0.05 if space_name == "cifar" else 1e-9)
    whole = SearchConfig.published(space_name)
    assert whole.weight_lr * whole.weight_lr_end == pytest.approx(1e-4)
    assert whole.logit_lr * whole.logit_lr_end == pytest.approx(3e-4)
    with pytest.raises(lk.InputError, match="published settings are cifar and imagenet; got 'mnist'"):
        SearchConfig.published("mnist")
