"""Predictors of whole latencies against planted ones, scikit-learn, and refits by brute force."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

from labkit.latency import additivity, predictors
from labkit.latency.additivity import Timed
from labkit.latency.predictors import PairResidual, Ridge, ScaledSum, SumOfParts
from labkit.system.errors import InputError


@pytest.fixture
def split(space):
    order = torch.randperm(space.size, generator=torch.Generator().manual_seed(1)).tolist()
    return order[:120], order[120:]


def encoded(space, rows):
    return torch.stack([space.encode(space[i]) for i in rows]).double()


def test_ridge_is_that_of_scikit_learn(space, table, split, planted):
    fit, test = split
    ms = planted(space, table, noise=0.03)
    ours = Ridge.fit(space, [space[i] for i in fit], ms[fit].tolist(), penalty=0.1)
    x = encoded(space, fit).flatten(1).numpy()
    scale = np.mean(np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2)
    theirs = SklearnRidge(alpha=0.1 * scale).fit(x, ms[fit].numpy())
    there = theirs.predict(encoded(space, test).flatten(1).numpy())
    assert ours(encoded(space, test)).numpy() == pytest.approx(there, rel=1e-9)


def test_left_out_residuals_are_those_of_refitting_without_the_row(space, table):
    architectures = space.sample(25, torch.Generator().manual_seed(2))
    ms = torch.tensor([table.table_ms(a) for a in architectures], dtype=torch.float64)
    ms = ms * (1 + 0.1 * torch.rand(25, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    x = torch.stack([space.encode(a) for a in architectures]).double().flatten(1)
    found = predictors._ridge(x, ms, (0.3,))
    alpha = 0.3 * np.mean(np.linalg.svd((x - x.mean(0)).numpy(), compute_uv=False) ** 2)
    for row in range(0, 25, 6):
        others = [i for i in range(25) if i != row]
        again = SklearnRidge(alpha=alpha).fit(x[others].numpy(), ms[others].numpy())
        assert found.left_out[row].item() == pytest.approx(
            (ms[row] - again.predict(x[[row]].numpy())[0]).item(), rel=1e-6
        )


def test_the_penalty_is_the_one_that_errs_least_when_left_out(space, table, split, planted):
    fit, _ = split
    ms = planted(space, table, noise=0.2)
    x = encoded(space, fit[:25]).flatten(1)
    chosen = predictors._ridge(x, ms[fit[:25]], predictors.PENALTIES)
    errors = [predictors._ridge(x, ms[fit[:25]], (p,)).left_out.square().sum() for p in predictors.PENALTIES]
    assert chosen.penalty == predictors.PENALTIES[int(torch.stack(errors).argmin())]


def test_a_scaled_sum_is_the_straight_line_of_numpy(space, table, split, planted):
    fit, test = split
    ms = planted(space, table, noise=0.03)
    ours = ScaledSum.fit(table, [space[i] for i in fit], ms[fit].tolist())
    sums = lambda rows: np.array([table.table_ms(space[i]) for i in rows])
    factor, constant = np.polyfit(sums(fit), ms[fit].numpy(), 1)
    assert (ours.factor, ours.constant) == pytest.approx((factor, constant), rel=1e-6)
    assert ours(encoded(space, test)).numpy() == pytest.approx(factor * sums(test) + constant)


def test_a_scaled_sum_takes_out_what_calling_parts_alone_costs(space, table, split):
    """Every part timed alone pays for a call that the whole network saves: a factor and a constant mend that."""
    fit, test = split
    whole = torch.tensor([0.7 * table.table_ms(a) + 0.01 for a in space], dtype=torch.float64)
    architectures, timed = [space[i] for i in fit], whole[fit].tolist()
    worst = lambda p: ((p(encoded(space, test)) - whole[test]).abs() / whole[test]).max().item()
    assert worst(ScaledSum.fit(table, architectures, timed)) < 1e-9
    assert worst(SumOfParts.fit(table, architectures, timed)) > 0.1
    same = ScaledSum.fit(table, [space[0]] * 12, [1.0] * 12)
    assert (same.factor, same.constant) == (0.0, 1.0), "one network says nothing of a factor"


def test_pairs_find_what_neighbours_do_to_each_other_and_a_sum_cannot(space, table, split, planted):
    fit, test = split
    ms = planted(space, table)
    architectures, timed = [space[i] for i in fit], ms[fit].tolist()
    worst = lambda p: ((p(encoded(space, test)) - ms[test]).abs() / ms[test]).max().item()
    assert worst(PairResidual.fit(space, table, architectures, timed)) < 0.01
    assert worst(Ridge.fit(space, architectures, timed)) > 0.02
    assert worst(SumOfParts.fit(table, architectures, timed)) > 0.05


@pytest.mark.parametrize("kind", ["sum", "scaled", "ridge", "pairs"])
def test_nine_new_networks_in_ten_lie_in_the_interval(space, table, split, kind, planted):
    """By the binomial law 90 % of 123 is 111 +- 3.3; four of those are allowed."""
    fit, test = split
    ms = planted(space, table, noise=0.05, pair=0.0)
    architectures, timed = [space[i] for i in fit], ms[fit].tolist()
    predictor = {
        "sum": lambda: SumOfParts.fit(table, architectures, timed),
        "scaled": lambda: ScaledSum.fit(table, architectures, timed),
        "ridge": lambda: Ridge.fit(space, architectures, timed),
        "pairs": lambda: PairResidual.fit(space, table, architectures, timed),
    }[kind]()
    low, high = predictor.interval(encoded(space, test))
    inside = ((low <= ms[test]) & (ms[test] <= high)).double().mean().item()
    assert 0.9 - 4 * (0.09 / 123) ** 0.5 <= inside <= 0.99


def test_predictors_are_differentiable_in_relaxed_weights(space, table, split, planted):
    fit, _ = split
    ms = planted(space, table)
    architectures, timed = [space[i] for i in fit], ms[fit].tolist()
    weights = torch.rand(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for predictor in additivity.predictors(space, table, [Timed(a, t, t) for a, t in zip(architectures, timed)]):
        assert torch.autograd.gradcheck(predictor, weights)


def test_too_few_or_impossible_milliseconds_are_refused(space, table):
    few = [space[i] for i in range(12)]
    with pytest.raises(InputError, match="at least 10 timed networks"):
        Ridge.fit(space, few[:9], [1.0] * 9)
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="positive and finite"):
            SumOfParts.fit(table, few, [1.0] * 11 + [bad])
