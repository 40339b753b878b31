"""Every estimator against the gradient enumerated exactly, on a toy that is not linear in the op weights."""

import math

import pytest
import torch

import labkit as lk
from labkit.benches.estimators import NoCorrection, toy_network, toy_space
from labkit.estimators.costs import TabularCost
from labkit.estimators.gradient_estimators import (
    ESTIMATORS,
    ClosedForm,
    DartsSoftmax,
    FittedUnas,
    GumbelSoftmax,
    Rebar,
    Reinforce,
    StraightThrough,
    Unas,
    exact_gradient,
)
from labkit.spaces import Edge, SearchSpace
from labkit.system.errors import InputError

DRAWS, TIMES = 200, 1_000  # 2e5 samples for each estimator


@pytest.fixture(scope="module")
def toy():
    """Three layers of four operations: 64 architectures. Returns the distribution and the cost (N, S, K) -> N."""
    dist = lk.ArchDistribution(toy_space()).double()
    with torch.no_grad():
        dist.logits.copy_(0.5 * torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    return dist, toy_network(residual=False)


def largest_z(estimator, dist, cost, control=None):
    """Largest deviation of the mean estimate from the exact gradient over all logits, in standard errors."""
    generator = torch.Generator().manual_seed(1)
    gradients = torch.stack([estimator(cost, dist, DRAWS, generator, control).gradient for _ in range(TIMES)])
    deviation = gradients.mean(0) - exact_gradient(cost, dist)
    return (deviation.abs() / (gradients.std(0) / TIMES**0.5)).max().item()


def bad_control(weights):
    """Differentiable, and of no use: unbiasedness must not depend on it."""
    return (weights * torch.arange(12.0, dtype=weights.dtype).reshape(3, 4).cos()).sum((-1, -2)).square()


def wrong_table(weights):
    """Linear in the op weights, and wrong."""
    return (weights * torch.arange(12.0, dtype=weights.dtype).reshape(3, 4).sin()).sum((-1, -2))


UNBIASED = {
    "reinforce, no baseline": (Reinforce(baseline="none"), None),
    "reinforce, running mean": (Reinforce(), None),
    "reinforce, leave one out": (Reinforce("leave-one-out"), None),
    "rebar": (Rebar(), None),
    "rebar, scale 0.5": (Rebar(scale=0.5), None),
    "unas, control = cost": (Unas(), None),
    "unas, a control of no use": (Unas(), bad_control),
    "unas, fitted scale": (FittedUnas(), None),
    "unas, fitted scale, a control of no use": (FittedUnas(), bad_control),
    "closed form, a control of no use": (ClosedForm(), wrong_table),
}


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_estimators_agree_with_the_exact_gradient(toy, name):
    dist, cost = toy
    estimator, control = UNBIASED[name]
    assert largest_z(estimator, dist, cost, control) < 4


@pytest.mark.parametrize(
    "estimator",
    [NoCorrection(), GumbelSoftmax(), StraightThrough()],
    ids=["no correction", "gumbel", "straight-through"],
)
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


@pytest.mark.parametrize(
    ("estimator", "asked"),
    [
        *((make(), 0 if name in ("gumbel", "straight-through", "darts") else 1) for name, make in ESTIMATORS.items()),
        (ClosedForm(), 1),
        (NoCorrection(), 1),
    ],
    ids=[*ESTIMATORS, "closed form", "no correction"],
)
def test_a_draw_asks_the_cost_once(toy, estimator, asked):
    """A measured cost is dear, and the same architecture costs something else the next time."""
    dist, _ = toy
    draws, answers, noise = [], [], torch.Generator().manual_seed(0)

    def measured(z):
        if z.requires_grad:
            return wrong_table(z)  # REBAR's control, which is the cost on relaxed weights
        draws.append(len(z))
        answers.append(torch.rand(len(z), generator=noise, dtype=z.dtype))
        return answers[-1]

    control = None if isinstance(estimator, Rebar) else wrong_table
    found = estimator(measured, dist, 4, torch.Generator().manual_seed(0), control)
    assert draws == [4] * asked
    assert not asked or found.cost == answers[0].mean().item()


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
    with pytest.raises(InputError, match="a baseline is one of none, running-mean, leave-one-out; got 'best'"):
        Reinforce(baseline="best")
    with pytest.raises(InputError, match="at least 2 draws"):
        Reinforce("leave-one-out")(cost, dist, 1, torch.Generator())
    with pytest.raises(InputError, match="linear in each slot"):
        ClosedForm()(cost, dist, 1, torch.Generator())


def test_darts_is_off_for_certain_on_the_toy_and_exact_on_a_table(toy):
    dist, cost = toy
    exact = exact_gradient(cost, dist)
    biased = DartsSoftmax()(cost, dist, 1, torch.Generator()).gradient
    assert (biased - exact).norm() > 0.1 * exact.norm()
    torch.testing.assert_close(
        DartsSoftmax()(wrong_table, dist, 1, torch.Generator()).gradient, exact_gradient(wrong_table, dist)
    )


def test_the_fitted_scale_is_the_one_of_least_variance(toy):
    """Against a scan over constant scales, each measured on its own."""
    dist, cost = toy

    def variance(estimator):
        generator = torch.Generator().manual_seed(0)
        return torch.stack([estimator(cost, dist, 100, generator).gradient for _ in range(300)]).var(0).sum().item()

    fitted, generator = FittedUnas(), torch.Generator().manual_seed(1)
    assert fitted.scale == 1.0, "the paper's, until something is known"
    for _ in range(400):
        fitted(cost, dist, 100, generator)
    scanned = {scale / 10: variance(Unas(scale=scale / 10)) for scale in range(0, 16)}
    best = min(scanned, key=scanned.get)
    assert abs(fitted.scale - best) < 0.15
    assert variance(Unas(scale=fitted.scale)) < 1.02 * min(scanned.values())


def test_the_scale_of_a_call_knows_nothing_of_its_own_draw(toy):
    """Else it would be a bias: the first call is plain UNAS."""
    dist, cost = toy
    seed = lambda: torch.Generator().manual_seed(3)
    first, plain = FittedUnas()(cost, dist, 50, seed()), Unas()(cost, dist, 50, seed())
    torch.testing.assert_close(first.gradient, plain.gradient)


def test_the_closed_form_has_no_variance_when_the_table_is_exact(toy):
    dist, _ = toy
    estimates = [ClosedForm()(wrong_table, dist, 3, torch.Generator().manual_seed(i), wrong_table) for i in range(5)]
    exact = exact_gradient(wrong_table, dist)
    assert all(torch.allclose(e.gradient, exact, atol=1e-12, rtol=0) for e in estimates)


def test_a_control_that_is_not_multilinear_makes_the_closed_form_biased(toy):
    """The negative control of its requirement: a hinge at the mean of a table."""
    dist, cost = toy
    hinge = lambda weights: (wrong_table(weights) - 0.4).clamp_min(0)
    assert largest_z(ClosedForm(), dist, cost, hinge) > 10


def test_a_wrong_surrogate_changes_the_variance_and_never_the_mean(toy):
    """A random latency table as the control of a measured latency."""
    dist, _ = toy
    true = torch.randn(3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    measured = lambda z: (z * true).sum((-1, -2)) + 0.3 * (z[:, 0, 0] * z[:, 1, 1])  # not quite additive
    table = lambda w: (w * true).sum((-1, -2))
    assert largest_z(Unas(), dist, measured, table) < 4 and largest_z(Unas(), dist, measured, wrong_table) < 4

    def variance(control):
        generator = torch.Generator().manual_seed(0)
        return torch.stack([Unas()(measured, dist, 5, generator, control).gradient for _ in range(500)]).var(0).sum()

    assert variance(table) < 0.3 * variance(wrong_table)


# --- closed forms at the size of a real space ---------------------------------------------------------------


@pytest.fixture(scope="module")
def paper_size():
    """21 layers as in the ProxylessNAS space, 15 of 7 candidates and 6 of 6, at random logits."""
    blocks = ("mb3e3", "mb3e6", "mb5e3", "mb5e6", "mb7e3", "mb7e6")
    slots = (("skip", *blocks),) * 15 + (blocks,) * 6
    edges = (Edge(3, 8, fixed="conv3x3"), *(Edge(8, 8, slot=s) for s in range(21)))
    space = SearchSpace("chain", slots, edges, (3, 8, 8), 10, "flat")
    dist = lk.ArchDistribution(space).double()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        dist.logits.copy_(torch.randn(dist.logits.shape, generator=noise, dtype=torch.float64))
    return dist, torch.rand(dist.logits.shape, generator=noise, dtype=torch.float64)


def test_a_linear_cost_over_21_layers_has_the_gradient_of_its_mean(paper_size):
    """E[sum theta z] = sum theta p, whose slope is p (theta - mean of theta) slot by slot: no enumeration needed."""
    dist, theta = paper_size
    linear = lambda weights: (weights * theta).sum((-1, -2))
    p = dist.probs().detach()
    exact = p * (theta - (p * theta).sum(-1, keepdim=True))
    generator = torch.Generator().manual_seed(1)
    torch.testing.assert_close(ClosedForm()(linear, dist, 2, generator, linear).gradient, exact)
    for estimator, control in ((Unas(), linear), (Unas(), lambda w: (w * theta.flip(0)).sum((-1, -2)))):
        gradients = torch.stack([estimator(linear, dist, 200, generator, control).gradient for _ in range(300)])
        z = (gradients.mean(0) - exact) / (gradients.std(0) / 300**0.5).clamp_min(1e-12)
        assert z[dist.mask].abs().max() < 4.5, "141 logits"


def test_tables_of_a_small_space_are_their_own_expectation():
    """The multilinear extension on probabilities is the enumerated mean, and its slope the enumerated gradient."""
    space = lk.spaces.five_layer()
    generator = torch.Generator().manual_seed(0)
    cost = TabularCost(space, torch.rand(243, generator=generator, dtype=torch.float64))
    dist = lk.ArchDistribution(space).double()
    with torch.no_grad():
        dist.logits.copy_(torch.randn(5, 3, generator=generator, dtype=torch.float64))
    z = torch.stack([space.encode(a) for a in space]).double()
    probability = (z * dist.log_probs()).sum((-1, -2)).exp()
    mean = cost(dist.probs()[None])[0]
    assert math.isclose(mean.item(), (probability * cost.values).sum().item(), rel_tol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(mean, dist.logits)[0], exact_gradient(cost, dist))
    assert torch.equal(cost(z), cost.values), "on one-hot weights the entry itself, bit for bit"
