"""Building blocks of operations: plain, fused and inverted residual blocks, with or without squeeze-excite.

Each maps images (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride).
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from labkit.spaces.depthwise import DepthwiseConv2d

RELU, RELU6 = partial(nn.ReLU, inplace=True), partial(nn.ReLU6, inplace=True)  # in place: a feature map less to write


def conv_bn(
    in_channels: int,
    out_channels: int,
    stride: int = 1,
    *,
    kernel: int,
    activation: Callable[[], nn.Module] | None = RELU,
) -> nn.Sequential:
    """Make a convolution without bias, batch norm and an activation.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        stride: in pixels.
        kernel: height and width of the filters in pixels, odd.
        activation: makes the activation; None for none.

    Returns:
        The three modules in a row.
    """
    return _normed(nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False), activation)


def depthwise_bn(channels: int, stride: int = 1, *, kernel: int) -> nn.Sequential:
    """Make a depthwise convolution, batch norm and ReLU6.

    Args:
        channels: width of input and output.
        stride: in pixels.
        kernel: height and width of the filters in pixels, odd.

    Returns:
        The three modules in a row.
    """
    return _normed(DepthwiseConv2d(channels, kernel, stride), RELU6)


def _normed(conv: nn.Conv2d, activation: Callable[[], nn.Module] | None) -> nn.Sequential:
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(conv.out_channels)]
    return nn.Sequential(*layers) if activation is None else nn.Sequential(*layers, activation())


class SqueezeExcite(nn.Module):
    """Multiply each channel by a factor from 0 to 1, computed by two layers from the channels' means (Hu et al. 2018).

    The factor is a hard sigmoid, as in MobileNetV3: a runtime needs no exponential for it.

    Args:
        channels: width of input and output.
    """

    def __init__(self, channels: int):
        super().__init__()
        squeezed = max(8, channels // 4)
        self.factor = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            RELU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels.

        Args:
            x: (B, channels, H, W).

        Returns:
            (B, channels, H, W).
        """
        return x * self.factor(x)


class _Inverted(nn.Module):
    """A body, to whose output the input is added where width and resolution stay."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, *body: nn.Module):
        super().__init__()
        self.body = nn.Sequential(*body)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Run the block.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            (B, out_channels, H / stride, W / stride).
        """
        return x + self.body(x) if self.residual else self.body(x)


class MBConv(_Inverted):
    """Inverted residual block (Sandler et al., MobileNetV2, 2018): expand, depthwise, project.

    The input is added where the block changes neither width nor resolution. Without expansion there is no first part.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        stride: of the depthwise convolution, in pixels.
        kernel: height and width of its filters in pixels, odd.
        expansion: width inside the block, as a multiple of `in_channels`.
        squeeze: squeeze and excite after the depthwise convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, kernel: int, expansion: int, squeeze: bool = False
    ):
        middle = in_channels * expansion
        parts: list[nn.Module] = [conv_bn(in_channels, middle, kernel=1, activation=RELU6)] if expansion > 1 else []
        parts.append(depthwise_bn(middle, stride, kernel=kernel))
        parts += [SqueezeExcite(middle)] if squeeze else []
        parts.append(conv_bn(middle, out_channels, kernel=1, activation=None))
        super().__init__(in_channels, out_channels, stride, *parts)


class FusedMBConv(_Inverted):
    """Inverted residual block whose expansion and depthwise convolution are one plain convolution (EfficientNetV2).

    It has more multiplications than `MBConv`, in fewer and denser layers (Tan, Le, ICML 2021).

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        stride: of the first convolution, in pixels.
        kernel: height and width of its filters in pixels, odd; that convolution is plain, so its work grows with
            the square of the kernel and with both widths.
        expansion: width inside the block, as a multiple of `in_channels`.
        squeeze: squeeze and excite after the first convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, kernel: int, expansion: int, squeeze: bool = False
    ):
        middle = in_channels * expansion
        super().__init__(
            in_channels,
            out_channels,
            stride,
            conv_bn(in_channels, middle, stride, kernel=kernel),
            *([SqueezeExcite(middle)] if squeeze else []),
            conv_bn(middle, out_channels, kernel=1, activation=None),
        )


class _Shortcut(nn.Module):
    """A body and a shortcut around it, added up, then ReLU, which inverted bottlenecks do not have at their end.

    The shortcut is a 1x1 convolution where the shape changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *body: nn.Module):
        super().__init__()
        self.body = nn.Sequential(*body)
        keeps = (in_channels, stride) == (out_channels, 1)
        self.shortcut = (
            nn.Identity() if keeps else conv_bn(in_channels, out_channels, stride, kernel=1, activation=None)
        )
        self.activation = RELU()

    def forward(self, x: Tensor) -> Tensor:
        """Run the block.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            (B, out_channels, H / stride, W / stride).
        """
        return self.activation(self.body(x) + self.shortcut(x))


class Residual(_Shortcut):
    """Plain residual block (He et al., ResNet, 2016): two 3x3 convolutions.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        stride: of the block, in pixels.
        inner: channels between the two, as a multiple of `out_channels`.
        late: the second convolution has the stride, so that the first one sees the larger map.
        squeeze: squeeze and excite before the sum.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        inner: float = 1,
        late: bool = False,
        squeeze: bool = False,
    ):
        middle = round(inner * out_channels)
        first, second = (1, stride) if late else (stride, 1)
        super().__init__(
            in_channels,
            out_channels,
            stride,
            conv_bn(in_channels, middle, first, kernel=3),
            conv_bn(middle, out_channels, second, kernel=3, activation=None),
            *([SqueezeExcite(out_channels)] if squeeze else []),
        )


class Bottleneck(_Shortcut):
    """Residual bottleneck (He et al., 2016): 1x1 to half of the width, a 3x3 convolution, 1x1 back.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        stride: of the 3x3 convolution, in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        middle = out_channels // 2
        super().__init__(
            in_channels,
            out_channels,
            stride,
            conv_bn(in_channels, middle, kernel=1),
            conv_bn(middle, middle, stride, kernel=3),
            conv_bn(middle, out_channels, kernel=1, activation=None),
        )


def two_convolutions(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Make a 3x3 convolution of half the width on the whole map, and a second one with the stride.

    Args:
        in_channels: width of the input.
        out_channels: width of the output, even.
        stride: of the second convolution, in pixels.

    Returns:
        The two convolutions, each with batch norm and ReLU.
    """
    return nn.Sequential(
        *conv_bn(in_channels, out_channels // 2, kernel=3), *conv_bn(out_channels // 2, out_channels, stride, kernel=3)
    )
