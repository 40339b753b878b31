"""The additive model of costs, against ridge regression by scikit-learn's closed form and against forgetting."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from labkit.oneshot.additive import AdditiveControl


def sampled(space, n, generator):
    return [space.encode(a).argmax(-1).tolist() for a in space.sample(n, generator)]


def test_without_forgetting_it_is_ridge_regression(space, generator):
    """On costs that are relative to a mean of 0, so that the running mean takes no part."""
    rows = sampled(space, 60, generator)
    rows += rows
    costs = torch.randn(60, generator=generator).tolist()
    costs += [-cost for cost in costs[:0]] + costs
    control = AdditiveControl(space, decay=1.0, ridge=0.5)
    control.level = torch.tensor([1e12, 0.0], dtype=torch.float64)  # a mean that stays 0
    features = np.zeros((len(rows), *space.mask.shape))
    for i, (row, cost) in enumerate(zip(rows, costs)):
        control.learn(row, cost)
        features[i, range(len(row)), row] = 1
    fitted = Ridge(alpha=0.5, fit_intercept=False).fit(features.reshape(len(rows), -1), costs)
    np.testing.assert_allclose(control.values().flatten().numpy(), fitted.coef_, atol=1e-5)
    plain = Ridge(alpha=5.0, fit_intercept=False).fit(features.reshape(len(rows), -1), costs)
    assert np.abs(fitted.coef_ - plain.coef_).max() > 0.01, "negative control: another penalty is seen"


def test_the_mean_forgets_as_it_is_told(space):
    control = AdditiveControl(space, decay=0.5)
    assert control.mean == 0.0
    for cost in (1.0, 2.0, 4.0):
        control.learn([0, 0, 0, 0, 0], cost)
    assert control.mean == pytest.approx((0.25 * 1 + 0.5 * 2 + 4) / 1.75)


def test_old_costs_are_forgotten(space):
    control, ops = AdditiveControl(space), list(space)
    sampled = [space.encode(a).argmax(-1).tolist() for a in (ops[0], ops[-1])]
    for _ in range(300):  # first the one is dear, then the other
        control.learn(sampled[0], 1.0)
        control.learn(sampled[1], 0.0)
    before = control.values().sum(0)
    for _ in range(300):
        control.learn(sampled[0], 0.0)
        control.learn(sampled[1], 1.0)
    assert before[0] > before[-1] and control.values().sum(0)[0] < control.values().sum(0)[-1]


def test_a_control_comes_back_as_it_was(space):
    control, again = AdditiveControl(space), AdditiveControl(space)
    control.learn([0, 1, 2, 0, 1], 0.7)
    again.load(control.tensors())
    assert torch.equal(again.values(), control.values())
