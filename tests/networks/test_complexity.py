"""Counts of a network (unit: numbers, multiply-accumulates for one image)."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import labkit as lk
from labkit.networks import complexity


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


PUBLISHED = {  # layers of ProxylessNAS's space, kernel and expansion; "." is skip
    "UNAS": "5e3 3e3 . . 7e3 . . . 7e3 3e3 3e3 3e3 5e3 3e3 3e3 3e3 7e6 7e3 7e3 7e3 7e6",
    "ProxylessNAS-GPU": "5e3 . . . 7e3 . . 3e3 7e6 . . 5e3 5e6 . 3e3 5e3 7e6 7e6 7e6 5e6 7e6",
}


@pytest.mark.parametrize(
    ("name", "parameters", "millions"), [("UNAS", 5_965_528, 428.02), ("ProxylessNAS-GPU", 7_119_848, 465.26)]
)
def test_published_networks_have_their_published_size(name, parameters, millions):
    """7.1 M parameters and 465 M multiply-accumulates is what Cai et al. (2019) print for theirs."""
    space = lk.spaces.mobile("full", classes=1000)
    ops = ["skip" if layer == "." else f"mb{layer}" for layer in PUBLISHED[name].split()]
    counted = complexity.count(lk.derive(space, space.architecture(ops)), space.image)
    assert counted.parameters == parameters and round(counted.macs / 1e6, 2) == millions


def test_counting_leaves_the_network_as_it_was():
    network = lk.derive(lk.spaces.five_layer(), lk.spaces.five_layer()[0]).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    complexity.count(network)
    assert network.training and not any(m._forward_hooks for m in network.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
