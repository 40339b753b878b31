"""A depthwise convolution with a fast weight gradient on a CPU, where training a mobile network spends most time.

oneDNN has a fast kernel for the weight gradient of depthwise 3x3 only. From 5x5 on it pads every channel to a block of
sixteen and does sixteen times the arithmetic. The same sum is a forward depthwise convolution in which every channel of
every image is a group and the gradient of the output is the kernel; that one is fast at any size.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

SLOW_FROM = 5  # kernel size
IMAGES_AT_ONCE = 16  # so that what is copied stays in the processor's cache


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with one filter a channel, without bias, padded to keep the size; same values and gradients.

    Args:
        channels: number of input and output channels.
        kernel: height and width of the filters in pixels, odd.
        stride: of the convolution, in pixels.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1):
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve images.

        Args:
            x: (B, C, H, W).

        Returns:
            (B, C, ceil(H / stride), ceil(W / stride)).
        """
        learns = torch.is_grad_enabled() and self.weight.requires_grad and not torch.compiler.is_compiling()
        slow = self.kernel_size[0] >= SLOW_FROM and x.device.type == "cpu"
        if not (learns and slow):
            return super().forward(x)
        return _Depthwise.apply(x, self.weight, self.stride[0])


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        in_x, in_weight, _ = ctx.needs_input_grad
        pad, groups, stride = weight.shape[-1] // 2, len(weight), ctx.stride
        to_x = conv2d_input(x.shape, weight, gradient, stride, pad, 1, groups) if in_x else None
        return to_x, weight_gradient(x, gradient, weight.shape[-1], stride) if in_weight else None, None


def weight_gradient(x: Tensor, gradient: Tensor, kernel: int, stride: int = 1) -> Tensor:
    """Compute the weight gradient of a depthwise convolution from the gradient of its output.

    Args:
        x: images (B, C, H, W).
        gradient: (B, C, H / stride, W / stride), of the output.
        kernel: height and width of the filters in pixels, odd.
        stride: of the convolution, in pixels.

    Returns:
        The gradient (C, 1, kernel, kernel) of the weight.
    """
    parts = zip(x.split(IMAGES_AT_ONCE), gradient.split(IMAGES_AT_ONCE))
    return reduce(torch.add, (_of_each_image(*part, kernel, stride).sum(0) for part in parts))[:, None]


def _of_each_image(x: Tensor, gradient: Tensor, kernel: int, stride: int) -> Tensor:
    """(B, C, kernel, kernel). The place in the kernel is the output's; a stride spreads the gradient out."""
    images, channels = x.shape[:2]
    groups = images * channels
    as_images, as_kernels = x.reshape(1, groups, *x.shape[2:]), gradient.reshape(groups, 1, *gradient.shape[2:])
    each = F.conv2d(as_images, as_kernels, None, 1, kernel // 2, stride, groups)[..., :kernel, :kernel]
    return each.reshape(images, channels, kernel, kernel)
