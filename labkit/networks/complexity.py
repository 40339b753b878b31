"""Complexity of a network: parameters, multiply-accumulates and activations. It is no measure of latency."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Complexity:
    """Counts for one image. Batch norm, pooling and activation functions have no macs and activations, as is usual.

    Attributes:
        parameters: number of trainable parameters.
        macs: multiply-accumulates of convolutions and linear layers.
        activations: number of outputs of those layers (Radosavovic et al., Designing Network Design Spaces, 2020).
    """

    parameters: int
    macs: int
    activations: int


@torch.no_grad()
def count(network: nn.Module, image: tuple[int, int, int] = (3, 32, 32)) -> Complexity:
    """Count the complexity of a network in a forward pass of one image of zeros, in eval mode.

    Args:
        network: any module with parameters; its mode is restored.
        image: channels, height and width in pixels.

    Returns:
        The counts.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    seen = {"macs": 0, "activations": 0}

    def note(layer: nn.Conv2d | nn.Linear, _: tuple[Tensor, ...], out: Tensor) -> None:
        numbers = out[0].numel()
        fan_in = layer.weight[0].numel()  # a convolution's weight is (out, in / groups, height, width)
        seen["macs"] += numbers * fan_in
        seen["activations"] += numbers

    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    handles = [layer.register_forward_hook(note) for layer in layers]
    was_training = network.training
    try:
        network.eval()(torch.zeros(1, *image, device=device))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return Complexity(sum(p.numel() for p in network.parameters()), **seen)
