"""The sampler against the laws that it must obey (unit: probability)."""

import math

import pytest
import torch

import labkit as lk


@pytest.fixture
def dist():
    dist = lk.ArchDistribution(lk.spaces.mobile()).double()
    with torch.no_grad():
        dist.logits.copy_(torch.randn(dist.logits.shape, generator=torch.Generator().manual_seed(1)))
    return dist


def test_frequencies_match_the_probabilities_down_to_one_in_ten_thousand():
    dist = lk.ArchDistribution(lk.spaces.five_layer()).double()
    p = torch.tensor([1 - 1.1e-3, 1e-3, 1e-4], dtype=torch.float64)
    with torch.no_grad():
        dist.logits.copy_(p.log().expand(5, 3))
    n = 400_000
    seen = dist.sample(n, 0.4, torch.Generator().manual_seed(0)).hard.sum((0, 1)) / (5 * n)
    z = (seen - p) / (p * (1 - p) / (5 * n)).sqrt()
    assert z.abs().max() < 4


def test_soft_and_soft_given_hard_are_equal_in_value(dist, generator):
    sample = dist.sample(2_000, 0.4, generator)
    assert (sample.soft - sample.soft_given_hard).abs().max() < 1e-12
    assert torch.equal(sample.soft_given_hard.argmax(-1), sample.hard.argmax(-1))


def test_candidates_that_a_slot_lacks_are_never_drawn(dist, generator):
    sample = dist.sample(2_000, 5.0, generator)
    assert sample.hard[:, ~dist.mask].sum() == 0 and sample.soft[:, ~dist.mask].sum() == 0


def conditional_by_hand(logits, mask, noise, k, tau):
    """Relaxed sample from conditional noise v and winner k, both held fixed (reference: Tucker et al., appendix B)."""
    p = logits.masked_fill(~mask, -1e9).log_softmax(-1).exp()
    first = -noise.gather(-1, k).log()
    others = -(-noise.log() / p - noise.gather(-1, k).log()).log()
    return (others.scatter(-1, k, -first.log()) / tau).softmax(-1)


def test_gradients_match_central_differences_at_fixed_noise():
    """Both Jacobians, with u fixed for one and (v, k) fixed for the other."""
    space, tau, step = lk.spaces.five_layer(), 0.7, 1e-6
    dist = lk.ArchDistribution(space).double()
    with torch.no_grad():
        dist.logits.copy_(torch.randn(5, 3, generator=torch.Generator().manual_seed(2)))
    seed = lambda: torch.Generator().manual_seed(5)
    sample = dist.sample(1, tau, seed())
    e = torch.empty(1, 5, 3, dtype=torch.float64).exponential_(generator=seed())  # the noise that `sample` drew
    k = sample.hard.argmax(-1, keepdim=True)
    p = dist.probs().detach()
    first = (e / p).gather(-1, k)
    v = torch.exp(-(e - p * first)).scatter(-1, k, torch.exp(-first))

    def soft(logits):
        return ((logits.log_softmax(-1) - e.log()) / tau).softmax(-1)

    def given(logits):
        return conditional_by_hand(logits, dist.mask, v, k, tau)

    logits = dist.logits.detach()
    torch.testing.assert_close(soft(logits), sample.soft.detach())
    torch.testing.assert_close(given(logits), sample.soft_given_hard.detach())
    for function, ours in ((soft, sample.soft), (given, sample.soft_given_hard)):
        (gradient,) = torch.autograd.grad(ours[..., 0].sum(), dist.logits, retain_graph=True)
        for s in range(5):
            for c in range(3):
                bump = torch.zeros_like(logits)
                bump[s, c] = step
                slope = (function(logits + bump) - function(logits - bump))[..., 0].sum() / (2 * step)
                assert math.isclose(gradient[s, c], slope, rel_tol=1e-5, abs_tol=1e-8)


def test_shifting_a_slot_changes_nothing(dist, generator):
    sample = dist.sample(50, 0.4, generator)
    for value in (sample.soft.square().sum(), sample.soft_given_hard.square().sum(), sample.log_prob.sum()):
        (gradient,) = torch.autograd.grad(value, dist.logits, retain_graph=True)
        assert gradient.sum(-1).abs().max() < 1e-9 * max(1.0, gradient.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_stay_finite(dtype, generator):
    dist = lk.ArchDistribution(lk.spaces.mobile()).to(dtype)
    with torch.no_grad():
        dist.logits[:, 0], dist.logits[:, 1] = 30.0, -30.0
    sample = dist.sample(1_000, 0.1, generator)
    for value in (sample.soft, sample.soft_given_hard, sample.log_prob):
        (gradient,) = torch.autograd.grad(value.sum(), dist.logits, retain_graph=True)
        assert value.isfinite().all() and gradient.isfinite().all()


def test_log_probabilities_of_a_whole_space_sum_to_one(space):
    dist = lk.ArchDistribution(space).double()
    with torch.no_grad():
        dist.logits.normal_(generator=torch.Generator().manual_seed(0))
    z = torch.stack([space.encode(a) for a in space]).double()
    log_p = (z * dist.log_probs()).sum((-1, -2))
    assert math.isclose(log_p.exp().sum().item(), 1, rel_tol=1e-12)
    assert math.isclose(dist.entropy().item(), -(log_p.exp() * log_p).sum().item(), rel_tol=1e-10)
    assert dist.mode() == list(space)[log_p.argmax()]


def test_a_seed_decides_the_draw(dist):
    draw = lambda seed: dist.sample(10, 0.4, torch.Generator().manual_seed(seed)).hard
    assert torch.equal(draw(3), draw(3)) and not torch.equal(draw(3), draw(4))
