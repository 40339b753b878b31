"""What a network costs on paper: parameters, multiply-accumulates, activations. Not milliseconds."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Complexity:
    """Counts for one image. Batch norm, pooling and activation functions count nothing, as is usual."""

    parameters: int  # trainable numbers
    macs: int  # multiply-accumulates of convolutions and linear layers
    activations: int  # numbers that those layers put out (Radosavovic et al., Designing Network Design Spaces, 2020)


@torch.no_grad()
def count(network: nn.Module, image: tuple[int, int, int] = (3, 32, 32)) -> Complexity:
    """Count `network` by sending one image (C, H, W) of zeros through it, in eval mode."""
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
