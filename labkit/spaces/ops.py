"""Candidate operations of search spaces, and heads of networks.

Every entry of `OPS` builds a module from `(in_channels, out_channels, stride)` that maps images
(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride)).
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from labkit.spaces.blocks import RELU6, Bottleneck, FusedMBConv, MBConv, Residual, conv_bn, two_convolutions
from labkit.spaces.depthwise import DepthwiseConv2d
from labkit.system.errors import InputError
from labkit.system.registry import Registry


def _check_width(in_channels: int, out_channels: int) -> None:
    if in_channels != out_channels:
        raise InputError(
            f"pooling keeps the width; got {in_channels} -> {out_channels} channels: widen with a convolution before it"
        )


def max_pool(in_channels: int, out_channels: int, stride: int, *, kernel: int) -> nn.Module:
    """Make max pooling over `kernel` x `kernel` pixels, padded.

    Args:
        in_channels: width of the input.
        out_channels: width of the output, the same.
        stride: in pixels.
        kernel: height and width of the window in pixels, odd.

    Returns:
        The module.

    Raises:
        InputError: the widths differ.
    """
    _check_width(in_channels, out_channels)
    return nn.MaxPool2d(kernel, stride, kernel // 2)


def average_pool(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Make average pooling over `stride` x `stride` pixels, without overlap.

    Args:
        in_channels: width of the input.
        out_channels: width of the output, the same.
        stride: of the windows, and their size, in pixels.

    Returns:
        The module.

    Raises:
        InputError: the widths differ.
    """
    _check_width(in_channels, out_channels)
    return nn.AvgPool2d(stride, stride)


def skip(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Make the identity.

    Args:
        in_channels: width of the input.
        out_channels: width of the output, the same.
        stride: 1.

    Returns:
        The module.

    Raises:
        InputError: width or resolution would change.
    """
    if (in_channels, stride) != (out_channels, 1):
        raise InputError(
            f"skip keeps width and resolution; got {in_channels} -> {out_channels}, stride {stride}: leave it out of "
            f"the candidates of this layer"
        )
    return nn.Identity()


class SeparableConv(nn.Sequential):
    """ReLU, depthwise convolution, 1x1 convolution and batch norm, `times` in a row (Liu et al. 2019, DARTS).

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        stride: of the first depthwise convolution, in pixels.
        kernel: height and width of the filters in pixels, odd.
        times: number of repetitions.
        spread: dilation of the depthwise convolutions, in pixels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, kernel: int, times: int = 1, spread: int = 1
    ):
        layers: list[nn.Module] = []
        for step in range(times):
            by, writes = (stride if step == 0 else 1), (out_channels if step == times - 1 else in_channels)
            depthwise = (
                DepthwiseConv2d(in_channels, kernel, by)
                if spread == 1
                else nn.Conv2d(
                    in_channels, in_channels, kernel, by, spread * (kernel // 2), spread, in_channels, bias=False
                )
            )
            # The ReLU is not in place: other edges read the same state.
            layers += [nn.ReLU(), depthwise, nn.Conv2d(in_channels, writes, 1, bias=False), nn.BatchNorm2d(writes)]
        super().__init__(*layers)


class Halve(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2 on grids one pixel apart, each with half of the width, and batch norm.

    Args:
        in_channels: width of the input.
        out_channels: width of the output, even.

    Raises:
        InputError: `out_channels` is odd.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        if out_channels % 2:
            raise InputError(
                f"each of two grids makes half of the width; got {out_channels} channels: ask for an even number"
            )
        half = out_channels // 2
        self.even, self.odd = (nn.Conv2d(in_channels, half, 1, 2, bias=False) for _ in range(2))
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the resolution of images.

        Args:
            x: (B, in_channels, H, W), with even H and W.

        Returns:
            (B, out_channels, H / 2, W / 2).
        """
        x = x.relu()
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))


def halve(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Make `Halve`.

    Args:
        in_channels: width of the input.
        out_channels: width of the output, even.
        stride: 2.

    Returns:
        The module.

    Raises:
        InputError: the stride is not 2, or `out_channels` is odd.
    """
    if stride != 2:
        raise InputError(f"halving has stride 2; got {stride}: take relu1x1 where the resolution stays")
    return Halve(in_channels, out_channels)


def identity(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Make the identity, or at stride 2 `Halve`, which is closest to it.

    Args:
        in_channels: width of the input.
        out_channels: width of the output; at stride 1 the same.
        stride: 1 or 2.

    Returns:
        The module.

    Raises:
        InputError: at stride 1 the widths differ, or at stride 2 `out_channels` is odd.
    """
    return skip(in_channels, out_channels, stride) if stride == 1 else Halve(in_channels, out_channels)


def average_of_nine(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Make average pooling over 3x3 pixels; padding does not count in the average.

    Args:
        in_channels: width of the input.
        out_channels: width of the output, the same.
        stride: in pixels.

    Returns:
        The module.

    Raises:
        InputError: the widths differ.
    """
    _check_width(in_channels, out_channels)
    return nn.AvgPool2d(3, stride, 1, count_include_pad=False)


def relu_conv_bn(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Make ReLU, 1x1 convolution and batch norm.

    Args:
        in_channels: width of the input.
        out_channels: width of the output.
        stride: of the convolution, in pixels.

    Returns:
        The module.
    """
    # The ReLU is not in place: the next cell reads the same state.
    return nn.Sequential(nn.ReLU(), conv_bn(in_channels, out_channels, stride, kernel=1, activation=None))


OpMaker = Callable[[int, int, int], nn.Module]  # in_channels, out_channels, stride
OPS: Registry[OpMaker] = Registry("operation", "labkit.register_op")


def register_op(name: str, make: OpMaker | None = None, *, replace: bool = False) -> Any:
    """Register an operation. It works as a call and as a decorator.

    Args:
        name: what a space calls it; no dashes, spaces, commas or colons.
        make: (in_channels, out_channels, stride) -> a module from (B, in_channels, H, W) to
            (B, out_channels, ceil(H / stride), ceil(W / stride)). `labkit.checks.check_op` says whether it is one.
        replace: replace an operation that has this name already.

    Returns:
        `make`, or a decorator for it.

    Raises:
        InputError: the name is taken, or cannot be used.
    """
    return OPS.register(name, make, replace=replace)


def strided(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return what a stride leaves of a feature map.

    Args:
        size: height and width in pixels.
        stride: in pixels.

    Returns:
        Height and width, rounded up.
    """
    return math.ceil(size[0] / stride), math.ceil(size[1] / stride)


def check_shape(name: str, widths: tuple[int, int, int], size: tuple[int, int]) -> None:
    """Check that an operation maps a feature map to one of the promised shape.

    Args:
        name: of a registered operation.
        widths: in_channels, out_channels and stride.
        size: height and width of its input, in pixels.

    Raises:
        InputError: it cannot be built, does not run, or gives another shape.
    """
    found, wanted = _shape(OPS.find(name), *widths, size), (widths[1], *strided(size, widths[2]))
    if isinstance(found, str):
        raise InputError(f"{name} does not fit: {found}")
    if found != wanted:
        raise InputError(
            f"{name} turns {(widths[0], *size)} into {found} at stride {widths[2]}, which should be {wanted} "
            f"(channels, height, width)"
        )


@cache
def _shape(make: OpMaker, in_channels: int, out_channels: int, stride: int, size: tuple[int, int]) -> Any:
    """The shape that an operation makes of one image, or the reason why it makes none. Nothing is computed."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.device("meta"):
            module = make(in_channels, out_channels, stride).eval()
            return tuple(module(torch.empty(2, in_channels, *size)).shape[1:])
    except InputError as problem:
        return str(problem)
    except Exception:  # whatever an operation needs that has values; it is then run on some
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                module = make(in_channels, out_channels, stride).eval()
                return tuple(module(torch.zeros(2, in_channels, *size)).shape[1:])
        except Exception as problem:
            return f"{type(problem).__name__} {str(problem).splitlines()[0] if str(problem) else ''}".strip()


_BUILT_IN: dict[str, OpMaker] = {
    "conv5x5": partial(conv_bn, kernel=5),
    "conv3x3": partial(conv_bn, kernel=3),
    "twice3x3": two_convolutions,
    "maxpool3x3": partial(max_pool, kernel=3),
    "avgpool": average_pool,
    "skip": skip,
    "stem3x3": partial(conv_bn, kernel=3, activation=RELU6),
    "mb3e1": partial(MBConv, kernel=3, expansion=1),
    **{f"mb{k}e{e}": partial(MBConv, kernel=k, expansion=e) for k in (3, 5, 7) for e in (2, 3, 4, 6)},
    **{f"mb{k}e4se": partial(MBConv, kernel=k, expansion=4, squeeze=True) for k in (3, 5)},
    **{f"fused3e{e}": partial(FusedMBConv, kernel=3, expansion=e) for e in (2, 3, 4, 6)},
    "fused3e2se": partial(FusedMBConv, kernel=3, expansion=2, squeeze=True),
    "res3": Residual,
    "res3half": partial(Residual, inner=0.5),
    "res3wide": partial(Residual, inner=2),
    "res3late": partial(Residual, late=True),
    "res3se": partial(Residual, squeeze=True),
    "bottle3": Bottleneck,
    "convbn3x3": partial(conv_bn, kernel=3, activation=None),
    "relu1x1": relu_conv_bn,
    "halve": halve,
    "identity": identity,
    "avgpool3x3": average_of_nine,
    "sep3x3": partial(SeparableConv, kernel=3, times=2),
    "sep5x5": partial(SeparableConv, kernel=5, times=2),
    "sep7x7": partial(SeparableConv, kernel=7, times=2),
    "dil3x3": partial(SeparableConv, kernel=3, spread=2),
}
for _name, _make in _BUILT_IN.items():
    OPS.register(_name, _make)


def flat_head(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Make the head that reads every position of the last feature map: a linear layer.

    Args:
        channels: width of the feature map.
        size: its height and width in pixels.
        classes: number of classes.

    Returns:
        A module from (B, channels, *size) to (B, classes).
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * math.prod(size), classes))


def pooled_head(channels: int, size: tuple[int, int], classes: int, *, width: int = 128) -> nn.Module:
    """Make MobileNetV2's head: a wide 1x1 convolution, the global average, a linear layer.

    Args:
        channels: width of the feature map.
        size: its height and width in pixels; it does not matter here.
        classes: number of classes.
        width: of the 1x1 convolution.

    Returns:
        A module from (B, channels, *size) to (B, classes).
    """
    return nn.Sequential(
        conv_bn(channels, width, kernel=1, activation=RELU6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )


def average_head(channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Make the head that takes the global average and a linear layer.

    Args:
        channels: width of the feature map.
        size: its height and width in pixels; it does not matter here.
        classes: number of classes.

    Returns:
        A module from (B, channels, *size) to (B, classes).
    """
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


HeadMaker = Callable[[int, tuple[int, int], int], nn.Module]  # channels, (height, width), classes
HEADS: Registry[HeadMaker] = Registry("head", "labkit.spaces.HEADS.register")
_BUILT_IN_HEADS: dict[str, HeadMaker] = {
    "flat": flat_head,
    "pooled": pooled_head,
    "pooled-256": partial(pooled_head, width=256),
    "pooled-wide": partial(pooled_head, width=1728),
    "average": average_head,
}
for _name, _make_head in _BUILT_IN_HEADS.items():
    HEADS.register(_name, _make_head)
