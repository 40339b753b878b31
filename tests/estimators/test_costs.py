import pytest
import torch

from labkit.estimators.costs import LatencyCost, TabularCost, generalisation_loss
from labkit.spaces import Edge, SearchSpace, five_layer
from labkit.system.errors import InputError


def test_generalisation_loss():
    train, valid = torch.tensor(1.0), torch.tensor(1.6)
    assert generalisation_loss(train, valid, 0.5) == pytest.approx(1.3)
    assert generalisation_loss(valid, train, 0.5) == pytest.approx(1.9)
    assert generalisation_loss(train, valid, 0.0) == train


def test_latency_cost():
    ms = torch.tensor([0.5, 2.0])
    assert LatencyCost(0.1)(ms).tolist() == pytest.approx([0.05, 0.2])
    assert LatencyCost(0.1, target_ms=1.5)(ms).tolist() == pytest.approx([0.0, 0.05])
    assert LatencyCost(0.1).linear and not LatencyCost(0.1, 1.0).linear


@pytest.mark.parametrize(("weight", "target"), [(-0.1, None), (float("nan"), None), (0.1, 0.0), (0.1, float("inf"))])
def test_impossible_costs_are_refused(weight, target):
    with pytest.raises(InputError, match="latency"):
        LatencyCost(weight, target)


def test_a_tabular_cost_on_relaxed_weights_is_the_sum_over_all_architectures():
    """Against the sum written out, on a space whose slots differ in width."""
    slots = (("conv3x3", "conv5x5", "maxpool3x3"), ("conv3x3", "maxpool3x3"), ("conv3x3", "conv5x5", "skip"))
    space = SearchSpace("uneven", slots, tuple(Edge(4, 4, slot=s) for s in range(3)), (4, 8, 8), 3, "flat")
    generator = torch.Generator().manual_seed(0)
    cost = TabularCost(space, torch.rand(space.size, generator=generator, dtype=torch.float64))
    weights = torch.rand(5, 3, 3, generator=generator, dtype=torch.float64) * space.mask
    z = torch.stack([space.encode(a) for a in space]).double()
    by_hand = (torch.einsum("nsk,ask->nas", weights, z).prod(-1) * cost.values).sum(-1)
    torch.testing.assert_close(cost(weights), by_hand)
    assert torch.equal(cost(z), cost.values)
    worst = space[int(cost.values.argmax())]
    assert cost.regret(worst) == pytest.approx((cost.values.max() - cost.values.min()).item())
    assert cost.of(cost.best()) == cost.values.min()


@pytest.mark.parametrize("values", [torch.zeros(242), torch.full((243,), float("nan"))])
def test_a_tabular_cost_needs_a_finite_number_for_each(values):
    with pytest.raises(InputError, match="243 finite numbers"):
        TabularCost(five_layer(), values)
