"""The steps of a search."""

from dataclasses import replace

import pytest
import torch

import labkit as lk
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


def moved(before, after):
    """Candidates with weights of each slot: whether they have changed."""
    pairs = [
        (a, b) for old, new in zip(before.body, after.body) if hasattr(old, "ops") for a, b in zip(old.ops, new.ops)
    ]
    return [
        any(not torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters()))
        for a, b in pairs
        if list(a.parameters())
    ]


@pytest.mark.parametrize(
    ("estimator", "weights_on", "all_learn"),
    [
        ("unas", "auto", True),
        ("unas", "one-hot", False),
        ("reinforce", "auto", False),
        ("reinforce", "relaxed", True),
        ("darts", "one-hot", False),
    ],
)
def test_weights_learn_on_what_was_asked_for(space, data, table, estimator, weights_on, all_learn):
    config = replace(TINY, mixture_steps=0, weight_steps=0, joint_steps=1, estimator=estimator, weights_on=weights_on)
    supernet = lk.Supernet(space)
    after = lk.search(supernet, data, table, config).supernet
    assert all(moved(supernet, after)) is all_learn and any(moved(supernet, after))
    only_weights = replace(config, weight_steps=1, joint_steps=0)
    assert all(moved(supernet, lk.search(supernet, data, table, only_weights).supernet)) is all_learn


def test_fair_steps_learn_as_passes_apart_do(space, data, table):
    """The mean gradient of the architectures dealt: every candidate moves, though each pass runs one."""
    supernet = lk.Supernet(SMALL).double()
    task = TaskCost(supernet, list(supernet.parameters()), batch(12, 0), None, SearchConfig(gap_weight=0.0))
    dealt = torch.stack([SMALL.encode(a) for a in SMALL.deal(torch.Generator().manual_seed(0))]).double()
    together = task.gradients_on_each(dealt)
    assert len(dealt) == 3 and task.passes == 3 * 3 * 12
    apart = [task.gradients_on(z[None]) for z in dealt]
    for mine, *theirs in zip(together, *apart):
        torch.testing.assert_close(mine, sum(g for g in theirs if g is not None) / 3)
    config = replace(TINY, mixture_steps=0, weight_steps=1, joint_steps=0, weights_on="fair")
    supernet = lk.Supernet(space)
    assert all(moved(supernet, lk.search(supernet, data, table, config).supernet))


def test_averaged_weights_are_the_mean_of_the_last_steps(space, data, table):
    config = replace(TINY, weight_average=0.5)
    run = lk.oneshot.run.SearchRun(lk.Supernet(space), data, config, table)
    seen = []
    while run.step < config.steps:
        run.advance(run.step + 1)
        seen.append([p.detach().clone() for p in run.supernet.parameters()])
    for mine, *theirs in zip(run.learnt.parameters(), *seen[4:]):
        torch.testing.assert_close(mine, torch.stack(theirs).mean(0))
    result = lk.search(lk.Supernet(space), data, table, config)
    for mine, theirs in zip(result.supernet.parameters(), run.learnt.parameters()):
        assert torch.equal(mine, theirs), "and they are what is judged and returned"


def test_learning_rates_end_where_they_are_told(space, data, table):
    config = replace(TINY, joint_steps=8, weight_lr_end=0.25, logit_lr_end=0.5)
    run = lk.oneshot.run.SearchRun(lk.Supernet(space), data, config, table)
    weights, logits = [], []
    while run.step < config.steps:
        run.advance(run.step + 1)
        weights.append(run.optimizer.param_groups[0]["lr"])
        logits.append(run.controllers[0].optimizer.param_groups[0]["lr"])
    falling = logits[4:]
    assert falling[0] == config.logit_lr and falling == sorted(falling, reverse=True)
    assert config.logit_lr * 0.5 < falling[-1] < config.logit_lr * 0.54
    assert weights[1] == config.weight_lr and config.weight_lr * 0.25 < weights[-1] < config.weight_lr * 0.3
    assert lk.oneshot.controllers.cosine(1.0, 0.25) == pytest.approx(0.25)


def test_a_supernet_in_eval_mode_is_searched_like_one_in_training(space, data, table):
    found = [
        lk.search(mode(lk.Supernet(space)), data, table, TINY) for mode in (torch.nn.Module.train, torch.nn.Module.eval)
    ]
    assert [torch.equal(a, b) for a, b in zip(*(each.supernet.state_dict().values() for each in found))].count(
        False
    ) == 0
    assert torch.equal(found[0].logits, found[1].logits)
