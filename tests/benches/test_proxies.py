"""Proxies, against what they are on networks small enough to write out."""

import math

import pytest
import torch
from torch import nn

import labkit as lk
from labkit.benches.proxies import naswot, synflow
from labkit.networks.supernet import derive


def test_the_flow_of_a_linear_network_is_that_of_each_layer():
    """By hand: R = |W2| |W1| 1 summed, and each of the two layers has that flow."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU6(), nn.Linear(3, 2))
    first, second = (network[i].weight.detach().double().abs() for i in (1, 3))
    flow = (second @ first @ torch.ones(4).double()).sum().item()
    assert synflow(network, (1, 2, 2)) == pytest.approx(math.log(2 * flow))
    before = [p.clone() for p in network.parameters()]
    synflow(network, (1, 2, 2))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters())), "left as it is"
    with torch.no_grad():
        network[1].weight.mul_(-3)
    assert synflow(network, (1, 2, 2)) == pytest.approx(math.log(6 * flow)), "signs do not count, sizes do"


def test_the_kernel_counts_what_switches_alike():
    """Three images through two units: on-on, on-off, off-on. Two share nothing, each shares one with the first."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        network[1].weight.copy_(torch.eye(2))
    images = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])
    kernel = torch.tensor([[2.0, 1, 1], [1, 2, 0], [1, 0, 2]])
    assert naswot(network, images) == pytest.approx(kernel.logdet().item())
    assert naswot(network, images[[0, 0, 1]]) == -math.inf, "two that switch alike"


def test_networks_of_the_spaces_have_both():
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for space in (lk.spaces.mobile("tiny"), lk.spaces.five_layer()):
        small, large = space[0], space[space.size - 1]
        found = [(synflow(derive(space, a), space.image), naswot(derive(space, a), images)) for a in (small, large)]
        assert torch.tensor(found).isfinite().all() and found[0] != found[1]
