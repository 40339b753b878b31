import pytest
import torch

from labkit.errors import InputError
from labkit.objectives import LatencyCost, generalisation_loss


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
