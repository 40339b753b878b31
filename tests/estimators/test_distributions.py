"""The sampler against the laws that it must obey (unit: probability)."""

import itertools
import math

import pytest
import scipy.stats
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


def exponentials(dist, n, seed):
    """The noise that `sample` draws from this seed."""
    return torch.empty(n, *dist.logits.shape, dtype=torch.float64).exponential_(
        generator=torch.Generator().manual_seed(seed)
    )


def test_the_conditional_noise_is_uniform_and_knows_nothing_of_the_winner():
    """v = exp(-noise) given the winner, against U(0, 1): Kolmogorov-Smirnov for each candidate and winner.

    The noise is worked out here from the sample itself, not read from the sampler's inside.
    """
    space = lk.spaces.five_layer()
    dist = lk.ArchDistribution(space).double()
    with torch.no_grad():
        dist.logits.copy_(torch.randn(5, 3, generator=torch.Generator().manual_seed(4)))
    n = 60_000
    hard = dist.sample(n, 0.4, torch.Generator().manual_seed(7)).hard
    e, p = exponentials(dist, n, 7), dist.probs().detach()
    first = (e / p).min(-1, keepdim=True).values
    v = torch.where(hard.bool(), torch.exp(-first), torch.exp(-(e - p * first)))
    for k in range(3):
        won = hard[:, 0, k].bool()
        for candidate in range(3):
            assert scipy.stats.kstest(v[won, 0, candidate].numpy(), "uniform").pvalue > 1e-4


def test_the_conditional_relaxation_has_the_law_of_the_relaxation():
    """z from the distribution, then fresh v: the coordinates of the result follow the law of `soft` (two-sample KS)."""
    space, tau, n = lk.spaces.five_layer(), 0.4, 40_000
    dist = lk.ArchDistribution(space).double()
    with torch.no_grad():
        dist.logits.copy_(torch.randn(5, 3, generator=torch.Generator().manual_seed(4)))
    one, other = (dist.sample(n, tau, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    v = torch.exp(-exponentials(dist, n, 2))
    winner = other.hard.argmax(-1, keepdim=True)
    fresh = conditional_by_hand(dist.logits.detach().expand(n, 5, 3), dist.mask, v, winner, tau)
    assert torch.equal(fresh.argmax(-1, keepdim=True), winner)
    for s in range(5):
        for k in range(3):
            assert scipy.stats.ks_2samp(one.soft.detach()[:, s, k], fresh[:, s, k]).pvalue > 1e-4
    wrong = conditional_by_hand(dist.logits.detach().expand(n, 5, 3), dist.mask, v, winner.roll(1, 0), 0.9 * tau)
    assert scipy.stats.ks_2samp(one.soft.detach()[:, 0, 0], wrong[:, 0, 0]).pvalue < 1e-6, "the test can fail"


def chi_square(seen, p):
    """p-value of counts `seen` under probabilities `p`."""
    return scipy.stats.chisquare(seen.numpy(), (p * seen.sum()).numpy()).pvalue


def test_noise_clamped_at_a_thousandth_is_another_distribution():
    """Clamping the uniform noise to [1e-3, 1 - 1e-3], as some code does, starves rare candidates; ours does not."""
    p, n = torch.tensor([0.99, 0.009, 0.001], dtype=torch.float64), 200_000
    dist = lk.ArchDistribution(lk.spaces.five_layer()).double()
    with torch.no_grad():
        dist.logits.copy_(p.log().expand(5, 3))
    ours = dist.sample(n, 0.4, torch.Generator().manual_seed(0)).hard.sum((0, 1))
    assert chi_square(ours, p) > 1e-3

    u = torch.rand(5 * n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).clamp(1e-3, 1 - 1e-3)
    clamped = torch.bincount((p.log() - (-u.log()).log()).argmax(-1), minlength=3)
    assert chi_square(clamped, p) < 1e-12


def test_softening_mixes_with_the_uniform_distribution(dist):
    """p becomes (p + e) / (1 + K e), over the candidates that a slot has, in value and in slope."""
    soft = lk.ArchDistribution(dist.space, softening=0.08).double()
    with torch.no_grad():
        soft.logits.copy_(dist.logits)
    k = dist.mask.sum(-1, keepdim=True)
    expected = ((dist.probs() + 0.08) / (1 + 0.08 * k)).masked_fill(~dist.mask, 0)
    torch.testing.assert_close(soft.probs(), expected)
    weights = torch.randn(dist.logits.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (ours,) = torch.autograd.grad((soft.log_probs().masked_fill(~dist.mask, 0) * weights).sum(), soft.logits)
    (theirs,) = torch.autograd.grad((expected.masked_fill(~dist.mask, 1).log() * weights).sum(), dist.logits)
    torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        soft.logits[:, 0] = 1_000.0
    assert soft.log_probs().isfinite().all() and soft.probs().max() < 0.8, "never certain, however large the logits"
    with pytest.raises(lk.InputError, match="softening is 0 or more"):
        lk.ArchDistribution(dist.space, softening=-0.1)


def test_architectures_come_by_falling_probability(space):
    """All 243, each once, against a sort of the enumerated probabilities; then a space too large to enumerate."""
    dist = lk.ArchDistribution(space).double()
    with torch.no_grad():
        dist.logits.copy_(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    log_p = {a: (space.encode(a).double() * dist.log_probs()).sum().item() for a in space}
    found = list(dist.by_probability())
    assert len(found) == len(set(found)) == 243
    assert [log_p[a] for a in found] == pytest.approx(sorted(log_p.values(), reverse=True))
    assert found[0] == dist.mode()
    large = lk.ArchDistribution(lk.spaces.mobile("tiny"))
    with torch.no_grad():
        large.logits.copy_(torch.randn(large.logits.shape, generator=torch.Generator().manual_seed(0)))
    first = list(itertools.islice(large.by_probability(), 200))
    assert len(set(first)) == 200 and first[0] == large.mode()
