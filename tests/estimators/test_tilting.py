"""The nearest policy of an expected latency, against a solver that knows nothing of tilting."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

import labkit as lk
from labkit.estimators.tilting import most_undecided, ms_gradient, tilt


def policy(space, seed=0, spread=1.0):
    dist = lk.ArchDistribution(space).double()
    dist.logits.data = spread * torch.randn(
        dist.logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return dist


def solved(dist, ms, expected_ms, least_entropy=None):
    """The least KL(q || p) over all factorised q with that expected latency, by sequential quadratic programming."""
    mask, p = dist.mask.numpy(), dist.probs().detach().numpy()[dist.mask.numpy()]

    def full(q):
        weights = np.zeros(mask.shape)
        weights[mask] = q
        return weights

    entropy = lambda q: -np.sum(q * np.log(np.maximum(q, 1e-300)))
    constraints = [
        {"type": "eq", "fun": lambda q: full(q).sum(1) - 1},
        {"type": "eq", "fun": lambda q: 100 * (ms(torch.from_numpy(full(q))[None]).item() - expected_ms)},
    ]
    if least_entropy is not None:
        constraints.append({"type": "ineq", "fun": lambda q: entropy(q) - least_entropy})
    found = minimize(
        lambda q: np.sum(q * np.log(np.maximum(q, 1e-300) / p)), 0.5 * p + 0.5 / 3, bounds=[(1e-9, 1)] * len(p),
        constraints=constraints, method="SLSQP", options={"maxiter": 500, "ftol": 1e-12},
    )  # fmt: skip
    assert found.success, found.message
    return torch.from_numpy(full(found.x)), found.fun


@pytest.mark.parametrize("share", [0.15, 0.5, 0.8])
def test_it_is_the_nearest_of_that_expectation(space, table, share):
    low, high = table.range_ms()
    wanted, dist, p = low + share * (high - low), policy(space), policy(space).probs().detach()
    q, least_kl = solved(dist, table, wanted)
    tilt(dist, table, wanted)
    assert table(dist.probs()[None]).item() == pytest.approx(wanted, rel=1e-9)
    torch.testing.assert_close(dist.probs().detach(), q, rtol=0, atol=2e-4)
    end = table.matrix.argmin(-1) if table(p[None]).item() > wanted else table.matrix.argmax(-1)
    corner = torch.nn.functional.one_hot(end, 3).double()
    part = (wanted - table(p[None])) / (table(corner[None]) - table(p[None]))
    mixed = (1 - part) * p + part * corner
    assert table(mixed[None]).item() == pytest.approx(wanted)
    assert (mixed * (mixed / p).log()).sum() > 1.02 * least_kl, "negative control: another way there is farther"


def test_with_an_entropy_it_is_the_nearest_of_both(space, table):
    wanted, dist = sum(table.range_ms()) / 2, policy(space, 1, spread=2.0)
    alone = policy(space, 1, spread=2.0)
    tilt(alone, table, wanted)
    least = alone.entropy().item() + 1.0
    q, _ = solved(dist, table, wanted, least)
    tilt(dist, table, wanted, least_entropy=least)
    assert dist.entropy().item() == pytest.approx(least, abs=1e-3)
    assert table(dist.probs()[None]).item() == pytest.approx(wanted, rel=1e-9)
    torch.testing.assert_close(dist.probs().detach(), q, rtol=0, atol=2e-3)
    assert (alone.probs() - q).abs().max() > 0.1, "negative control: the tilt alone is another policy"


def test_the_most_undecided_is_what_a_solver_finds(space, table):
    wanted = 0.7 * table.range_ms()[0] + 0.3 * table.range_ms()[1]
    uniform = lk.ArchDistribution(space).double()
    _, least_kl = solved(uniform, table, wanted)  # KL to the uniform is its entropy less that of q
    assert most_undecided(uniform, table, wanted) == pytest.approx(uniform.entropy().item() - least_kl, abs=1e-5)
    asked = most_undecided(uniform, table, wanted) + 1.0
    dist = policy(space, spread=3.0)
    tilt(dist, table, wanted, least_entropy=asked)
    assert dist.entropy().item() == pytest.approx(asked - 1.0, abs=1e-4), "where more is asked, the most there is"


def test_a_faster_policy_may_be_left_alone(space, table):
    low, high = table.range_ms()
    dist = policy(space)
    before, expected = dist.probs().detach(), table(dist.probs()[None]).item()
    tilt(dist, table, expected + 0.05 * (high - low), at_most=True)
    torch.testing.assert_close(dist.probs().detach(), before)
    tilt(dist, table, expected - 0.05 * (high - low), at_most=True)
    assert table(dist.probs()[None]).item() == pytest.approx(expected - 0.05 * (high - low))


def test_what_no_policy_takes_becomes_the_nearest_and_logits_stay_finite(space, table):
    for wanted, end in zip((0.5 * table.range_ms()[0], 2 * table.range_ms()[1]), table.range_ms()):
        dist = policy(space)
        tilt(dist, table, wanted)
        assert table(dist.probs()[None]).item() == pytest.approx(end, rel=1e-6) and dist.logits.isfinite().all()
    flat = lambda weights: weights.sum((-1, -2)) * 0 + 1.0
    dist = policy(space)
    before = dist.probs().detach()
    tilt(dist, flat, 0.5)
    torch.testing.assert_close(dist.probs().detach(), before), "where all take as long, nothing moves"


def test_softened_probabilities_keep_to_it(space, table):
    wanted = sum(table.range_ms()) / 2
    dist = lk.ArchDistribution(space, softening=0.08).double()
    dist.logits.data = policy(space).logits.data
    tilt(dist, table, wanted)
    assert table(dist.probs()[None]).item() == pytest.approx(wanted, rel=1e-6)


def test_in_cells_the_slopes_follow_the_policy():
    """Latency is a product of slots there: the nearest is where the gradient is that of the policy itself."""
    space = lk.spaces.cells("tiny")
    table = lk.LatencyTable.measure(space, lk.TimingConditions(seconds=0.001, rounds=2))
    dist = policy(space)
    old, expected = dist.logits.detach().clone(), table(dist.probs()[None]).item()
    wanted = table.range_ms()[0] + 0.7 * (expected - table.range_ms()[0])
    tilt(dist, table, wanted)
    assert table(dist.probs()[None]).item() == pytest.approx(wanted, rel=1e-6)
    moved = (old - dist.logits.detach()).masked_fill(~space.mask, 0.0)
    along = ms_gradient(dist, table)
    multiple = (moved * along).sum() / (along * along).sum()
    assert (moved - multiple * along).abs().max() < 1e-3 * moved.abs().max(), "stationary: along its own gradient"
    first = ms_gradient(policy(space), table)
    assert (moved - (moved * first).sum() / (first * first).sum() * first).abs().max() > 1e-2 * moved.abs().max()
