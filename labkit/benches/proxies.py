"""Proxies that train nothing: scores of an untrained network, in one or two passes.

Shapes: N images, A activations of a network.
"""

import copy
import math

import torch
from torch import Tensor, nn

ACTIVATIONS = (nn.ReLU, nn.ReLU6)


def synflow(network: nn.Module, image: tuple[int, int, int]) -> float:
    """Synaptic flow: sum of |weight x gradient of R|, where R is what absolute weights make of an image of ones.

    Tanaka et al. 2020, as a proxy by Abdelfattah et al. 2021: no data, no labels. Batch norm and activations are left
    out, so the network is linear in each layer and every layer has the same flow, R.

    Args:
        network: untrained; left as it is.
        image: its channels, height and width.

    Returns:
        The natural logarithm of the score, as it grows with the product of the layers.
    """
    plain = copy.deepcopy(network).double().eval()
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, (*ACTIVATIONS, nn.BatchNorm2d)):
                setattr(module, name, nn.Identity())
    weights = [p for p in plain.parameters() if p.dim() > 1]
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.copy_(parameter.abs() if parameter.dim() > 1 else torch.zeros_like(parameter))
    flow = plain(torch.ones(1, *image, dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(flow, weights)
    return math.log(sum((w * g).abs().sum().item() for w, g in zip(weights, gradients)) or 5e-324)


@torch.no_grad()
def naswot(network: nn.Module, images: Tensor) -> float:
    """How differently an untrained network switches for different images (Mellor et al. 2021, without training).

    The kernel counts the activations that are both on or both off in two images; its log-determinant is large where
    images are told apart. Batch norm by the statistics of these images.

    Args:
        network: untrained; left as it is.
        images: (N, C, H, W) as the network takes them.

    Returns:
        The log-determinant of the (N, N) kernel; -inf where two images switch alike.
    """
    watched = copy.deepcopy(network).train()
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)

    def note(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        on = (out > 0).flatten(1).double()
        kernel.add_(on @ on.T + (1 - on) @ (1 - on).T)

    for module in watched.modules():
        if isinstance(module, ACTIVATIONS):
            module.register_forward_hook(note)
    watched(images)
    sign, logarithm = torch.linalg.slogdet(kernel)
    return logarithm.item() if sign > 0 else -math.inf
