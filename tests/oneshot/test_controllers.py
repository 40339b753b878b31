"""What several distributions learn from each other's draws, against enumerated gradients."""

import pytest
import torch

from labkit.estimators.distributions import ArchDistribution
from labkit.estimators.gradient_estimators import exact_gradient
from labkit.oneshot.additive import AdditiveControl
from labkit.oneshot.controllers import cosine, shared


@pytest.fixture
def dists(space, generator):
    made = [ArchDistribution(space).double() for _ in range(3)]
    for dist in made:
        dist.logits.data = torch.randn(dist.logits.shape, generator=generator, dtype=torch.float64)
    return made


def test_each_takes_its_own_gradient_in_the_mean_over_turns(box, dists, generator):
    cost, values = box[0], torch.randn(5, 3, generator=generator, dtype=torch.float64)  # a control that is all wrong
    exact = [exact_gradient(cost, dist) for dist in dists]
    turns = [shared(gradient, mine, dists, values) for mine, gradient in enumerate(exact)]
    for taken, own in zip(zip(*turns), exact):
        torch.testing.assert_close(torch.stack(taken).mean(0), own, rtol=0, atol=1e-12)
    once = torch.stack([turn[0] for turn in turns[:1]]).mean(0)
    assert (once - exact[0]).abs().max() > 0.1, "one turn alone is not that: the comparison can fail"


def test_an_additive_cost_is_learned_and_needs_no_more_draws(space, dists, generator):
    values = torch.rand(5, 3, generator=generator, dtype=torch.float64)
    cost = lambda weights: (weights * values).sum((-1, -2))
    control = AdditiveControl(space, decay=1.0, ridge=1e-6)
    for architecture in space.sample(400, generator):
        z = space.encode(architecture)
        control.learn(z.argmax(-1).tolist(), cost(z.double()).item())
    for i, taken in enumerate(shared(exact_gradient(cost, dists[0]), 0, dists, control.values())):
        torch.testing.assert_close(taken, exact_gradient(cost, dists[i]), rtol=0, atol=0.02)


def test_a_cosine_falls_from_one_to_its_end():
    assert [cosine(done, 0.2) for done in (0.0, 1.0)] == pytest.approx([1.0, 0.2])
    assert cosine(0.5, 0.2) == pytest.approx(0.6) and cosine(0.25, 0.0) == pytest.approx(0.5 + 0.5 * 0.5**0.5)
