"""Checkers of the exercises of notebook 02, the supernet."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from labkit import spaces
from labkit.course.exercises.answers import empty, is_function, need
from labkit.course.exercises.checkers import checker
from labkit.networks.supernet import MixedOp, Network
from labkit.spaces import Edge


@checker("e2.1")
def _mixture(answer: Callable[[Tensor, nn.ModuleList, Tensor], Tensor]) -> str:
    is_function(answer, "mixture")
    generator = torch.Generator().manual_seed(0)
    mixed = MixedOp(("conv5x5", "conv3x3", "maxpool3x3"), Edge(4, 4, slot=0)).eval()
    x, weights = torch.randn(3, 4, 8, 8, generator=generator), torch.rand(3, 3, generator=generator)
    with torch.no_grad():
        found = answer(x, mixed.ops, weights)
        need(
            not empty(found),
            "`mixture` returned None: return the sum of the candidates' outputs, each times its weight",
        )
        need(isinstance(found, Tensor), f"`mixture` returned {type(found).__name__}; return one tensor")
        need(
            found.shape == x.shape,
            f"three images of shape {tuple(x.shape)} went in and {tuple(found.shape)} came out: sum over the "
            "candidates only, and give each weight three more axes",
        )
        outputs = torch.stack([op(x) for op in mixed.ops])  # (K, B, C, H, W)
        share = lambda w: (w.T[..., None, None, None] * outputs).sum(0)
        wrong = (
            (outputs.sum(0), "the weights are not used: this is the plain sum of the outputs"),
            (outputs.mean(0), "this is the mean of the outputs: each must count by its weight"),
            (share(weights) / len(mixed.ops), "this is the weighted sum divided by the number of candidates: only sum"),
            (share(weights.softmax(-1)), "take the weights as they are: whoever made them has applied the softmax"),
            (
                share(weights / weights.sum(-1, keepdim=True)),
                "take the weights as they are, without making them sum to 1",
            ),
            (share(weights[:1].expand_as(weights)), "every image gets the weights of the first: weights[:, k] is (B,)"),
            (share(weights.T), "weights[k] is the row of image k: candidate k's weights are weights[:, k]"),
            (
                share(nn.functional.one_hot(weights.argmax(-1), 3).float()),
                "only the candidate with the largest weight is counted: a mixture runs them all",
            ),
        )
        for value, hint in wrong:
            need(not torch.allclose(found, value, atol=1e-5), hint)
        right = mixed(x, weights, [True] * 3, False)
        need(torch.allclose(found, right, atol=1e-5), "the result is not the sum over k of weights[:, k] * ops[k](x)")
    return "the same as labkit's MixedOp, image by image"


@checker("e2.2")
def _fresh_statistics(answer: Callable[[nn.Module, Tensor], nn.Module]) -> str:
    is_function(answer, "fresh_statistics")
    space, generator = spaces.five_layer(), torch.Generator().manual_seed(0)
    network = Network(space, space.architecture("conv3x3-maxpool3x3-conv3x3-maxpool3x3-conv3x3")).train()
    first, second = 3 + 2 * torch.randn(2, 16, *space.image, generator=generator)
    with torch.no_grad():
        network(first)  # statistics of other images, to be forgotten
    wanted, before = copy.deepcopy(network), copy.deepcopy(network.state_dict())
    for norm in _norms(wanted):
        norm.momentum = 1.0
    with torch.no_grad():
        wanted(second)
    found = answer(network, second)
    need(not empty(found), "`fresh_statistics` returned None: return the network when its statistics are new")
    need(isinstance(found, nn.Module), f"return the network; got {type(found).__name__}")
    weights = [name for name, _ in network.named_parameters()]
    need(
        all(torch.equal(found.state_dict()[name], before[name]) for name in weights),
        "the weights have changed: re-estimating reads images forward only, without an optimiser",
    )
    old, new, right = (
        torch.cat([n.running_mean for n in _norms(net) if n.running_mean is not None])
        for net in (_loaded(wanted, before), found, wanted)
    )
    need(not torch.equal(new, old), "the statistics are as before: batch norm updates them in train mode only")
    need(bool(new.abs().max() > 0), "the statistics are reset, but no images have gone through the network since")
    need(
        not torch.allclose(new, 0.9 * old + 0.1 * right, atol=1e-4),
        "a tenth is new and nine tenths are the old statistics: set each norm's momentum to 1.0 before the pass",
    )
    need(
        not torch.allclose(new, 0.1 * right, atol=1e-4),
        "after a reset one pass at the usual momentum moves a tenth of the way: set momentum to 1.0 (or None)",
    )
    need(torch.allclose(new, right, atol=1e-4), "the running means are not those of the images that were given")
    need(
        not found.training,
        "the network is left in train mode: end with eval(), or evaluation will use batch statistics",
    )
    return "the running statistics are those of the given images, and the network is ready to be evaluated"


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def _loaded(network: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    twin = copy.deepcopy(network)
    twin.load_state_dict(state)
    return twin
