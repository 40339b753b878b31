"""Every estimator against the gradient enumerated exactly, on a toy that is not linear in the op weights."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

import labkit as lk
from labkit.errors import InputError
from labkit.estimators import ESTIMATORS, Estimate, GumbelSoftmax, Rebar, Reinforce, Unas, exact_gradient
from labkit.spaces import Edge, SearchSpace

DRAWS, TIMES = 200, 1_000  # 2e5 samples for each estimator


@pytest.fixture(scope="module")
def toy():
    """Three layers of four operations: 64 architectures. Returns the distribution and the cost (N, S, K) -> N."""
    space = SearchSpace(
        "toy",
        (("skip", "conv3x3", "conv5x5", "maxpool3x3"),) * 3,
        tuple(Edge(4, 4, slot=s) for s in range(3)),
        (4, 8, 8),
        3,
        "flat",
    )
    dist = lk.ArchDistribution(space).double()
    draw = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=draw, dtype=torch.float64)
    with torch.no_grad():
        dist.logits.copy_(0.5 * normal(3, 4))
    matrices, read, x, y = 1.5 * normal(3, 3, 6, 6) / 6**0.5, 2 * normal(6, 3), normal(4, 6), torch.tensor([0, 1, 2, 1])

    def cost(weights):
        """Cross-entropy of a small network whose layers are mixed by `weights`."""
        h = x.expand(len(weights), -1, -1)
        for layer in range(3):
            outputs = [h, *(torch.tanh(h @ matrices[layer, k]) for k in range(3))]
            h = sum(weights[:, layer, k, None, None] * output for k, output in enumerate(outputs))
        losses = F.cross_entropy((h @ read).flatten(0, 1), y.repeat(len(weights)), reduction="none")
        return losses.reshape(len(weights), -1).mean(-1)

    return dist, cost


def largest_z(estimator, dist, cost, control=None):
    """Largest deviation of the mean estimate from the exact gradient over all logits, in standard errors."""
    generator = torch.Generator().manual_seed(1)
    gradients = torch.stack([estimator(cost, dist, DRAWS, generator, control).gradient for _ in range(TIMES)])
    deviation = gradients.mean(0) - exact_gradient(cost, dist)
    return (deviation.abs() / (gradients.std(0) / TIMES**0.5)).max().item()


def bad_control(weights):
    """Differentiable, and of no use: unbiasedness must not depend on it."""
    return (weights * torch.arange(12.0, dtype=weights.dtype).reshape(3, 4).cos()).sum((-1, -2)).square()


UNBIASED = {
    "reinforce, no baseline": (Reinforce(baseline="none"), None),
    "reinforce, running mean": (Reinforce(), None),
    "rebar": (Rebar(), None),
    "rebar, scale 0.5": (Rebar(scale=0.5), None),
    "unas, control = cost": (Unas(), None),
    "unas, a control of no use": (Unas(), bad_control),
}


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_estimators_agree_with_the_exact_gradient(toy, name):
    dist, cost = toy
    estimator, control = UNBIASED[name]
    assert largest_z(estimator, dist, cost, control) < 4


@dataclass(frozen=True)
class WithoutCorrection:
    """Negative control: UNAS without term (ii), the derivative of the conditional relaxation."""

    temperature: float = 0.4

    def __call__(self, cost, dist, n, generator, control=None):
        sample = dist.sample(n, self.temperature, generator)
        with torch.no_grad():
            value = cost(sample.hard)
        relaxed = (control or cost)(sample.soft)
        surrogate = (value - relaxed).detach() * sample.log_prob + relaxed
        (gradient,) = torch.autograd.grad(surrogate.mean(), dist.logits)
        return Estimate(gradient, value.mean().item())


@pytest.mark.parametrize("estimator", [WithoutCorrection(), GumbelSoftmax()], ids=["no correction", "gumbel"])
def test_biased_estimators_fail_the_same_test(toy, estimator):
    dist, cost = toy
    assert largest_z(estimator, dist, cost) > 10


def test_unas_without_a_control_is_reinforce_without_a_baseline(toy):
    dist, cost = toy
    zero = lambda weights: 0 * weights.sum((-1, -2))
    seed = lambda: torch.Generator().manual_seed(3)
    torch.testing.assert_close(
        Unas()(cost, dist, 50, seed(), zero).gradient, Reinforce(baseline="none")(cost, dist, 50, seed()).gradient
    )


def test_unas_with_the_cost_as_control_is_rebar(toy):
    dist, cost = toy
    seed = lambda: torch.Generator().manual_seed(3)
    assert torch.equal(Unas()(cost, dist, 50, seed(), cost).gradient, Rebar()(cost, dist, 50, seed()).gradient)


def test_exact_gradient_matches_central_differences(toy):
    dist, cost = toy
    z = torch.stack([dist.space.encode(a) for a in dist.space]).double()
    values = cost(z)

    def expected(logits):
        return ((z * logits.log_softmax(-1)).sum((-1, -2)).exp() * values).sum()

    ours, step = exact_gradient(cost, dist), 1e-6
    for index in torch.cartesian_prod(torch.arange(3), torch.arange(4)).tolist():
        bump = torch.zeros(3, 4, dtype=torch.float64)
        bump[tuple(index)] = step
        slope = (expected(dist.logits.detach() + bump) - expected(dist.logits.detach() - bump)) / (2 * step)
        assert abs(ours[tuple(index)] - slope) < 1e-8


def test_a_good_control_lowers_the_variance_and_gumbel_has_the_least(toy):
    dist, cost = toy

    def variance(estimator):
        generator = torch.Generator().manual_seed(0)
        return torch.stack([estimator(cost, dist, 5, generator).gradient for _ in range(600)]).var(0).sum().item()

    plain, unas, gumbel = variance(Reinforce(baseline="none")), variance(Unas()), variance(GumbelSoftmax())
    assert gumbel < unas < plain


@pytest.mark.parametrize("name", ESTIMATORS)
def test_all_share_one_signature_and_touch_no_grad(toy, name):
    dist, cost = toy
    gradient, value = ESTIMATORS[name]()(cost, dist, 4, torch.Generator().manual_seed(0))
    assert gradient.shape == dist.logits.shape and gradient.isfinite().all()
    assert isinstance(value, float) and dist.logits.grad is None


def test_running_mean_is_used_before_it_is_updated(toy):
    """Else the baseline would depend on the draw that it is taken off, which is a bias."""
    dist, cost = toy
    estimator, generator = Reinforce(decay=0.0), torch.Generator().manual_seed(0)
    first = estimator(cost, dist, 5, generator)
    plain = Reinforce(baseline="none")(cost, dist, 5, torch.Generator().manual_seed(0))
    assert torch.equal(first.gradient, plain.gradient)
    assert estimator._mean == pytest.approx(first.cost)


def test_wrong_use_is_refused(toy):
    dist, cost = toy
    with pytest.raises(InputError, match="control is the cost itself"):
        Rebar()(cost, dist, 1, torch.Generator(), control=cost)
    with pytest.raises(InputError, match="'none' or 'running-mean'; got 'best'"):
        Reinforce(baseline="best")
