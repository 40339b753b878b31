"""Counts of a network (unit: numbers, multiply-accumulates for one image)."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import labkit as lk
from labkit import complexity


def test_a_convolution_and_a_linear_layer_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(512, 10))
    counted = complexity.count(network, (3, 16, 16))
    assert counted.parameters == 8 * 3 * 9 + 2 * 8 + 512 * 10 + 10
    assert counted.macs == 8 * 8 * 8 * 3 * 9 + 512 * 10
    assert counted.activations == 8 * 8 * 8 + 10


@pytest.mark.parametrize("name", lk.spaces.SPACES)
def test_multiply_accumulates_are_half_of_what_torch_counts_as_operations(name):
    space = lk.spaces.by_name(name)
    for architecture in space.sample(5, torch.Generator().manual_seed(0)):
        network = lk.derive(space, architecture).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, *space.image))
        assert complexity.count(network, space.image).macs * 2 == counter.get_total_flops()


def test_counting_leaves_the_network_as_it_was():
    network = lk.derive(lk.spaces.five_layer(), lk.spaces.five_layer()[0]).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    complexity.count(network)
    assert network.training and not any(m._forward_hooks for m in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
