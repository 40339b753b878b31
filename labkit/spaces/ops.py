"""Candidate operations: the vocabulary that a search space chooses from.

Every entry of `OPS` builds a module from `(in_channels, out_channels, stride)` that maps images
(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride).
"""

from collections.abc import Callable
from functools import partial
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
    """`kernel` x `kernel`, padded; InputError where the width changes."""
    _check_width(in_channels, out_channels)
    return nn.MaxPool2d(kernel, stride, kernel // 2)


def average_pool(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """`stride` x `stride`, without overlap; InputError where the width changes."""
    _check_width(in_channels, out_channels)
    return nn.AvgPool2d(stride, stride)


def skip(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The input itself; InputError where width or resolution changes."""
    if (in_channels, stride) != (out_channels, 1):
        raise InputError(
            f"skip keeps width and resolution; got {in_channels} -> {out_channels}, stride {stride}: leave it out of "
            f"the candidates of this layer"
        )
    return nn.Identity()


class SeparableConv(nn.Sequential):
    """ReLU, depthwise, 1x1 convolution, batch norm: `times` over, the stride in the first (Liu et al. 2019, DARTS)."""

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
    """ReLU, two 1x1 convolutions of stride 2 on grids a pixel apart, each half of the width, batch norm."""

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
        x = x.relu()
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))


def halve(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """`Halve`; InputError for a stride other than 2."""
    if stride != 2:
        raise InputError(f"halving has stride 2; got {stride}: take relu1x1 where the resolution stays")
    return Halve(in_channels, out_channels)


def identity(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """What it reads; at stride 2 the nearest thing to it."""
    return skip(in_channels, out_channels, stride) if stride == 1 else Halve(in_channels, out_channels)


def average_of_nine(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Of a pixel and its neighbours, those beyond the border left out of the count."""
    _check_width(in_channels, out_channels)
    return nn.AvgPool2d(3, stride, 1, count_include_pad=False)


def relu_conv_bn(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """To a cell's width, of a state that the next cell reads too: so the ReLU is not in place."""
    return nn.Sequential(nn.ReLU(), conv_bn(in_channels, out_channels, stride, kernel=1, activation=None))


OpMaker = Callable[[int, int, int], nn.Module]  # in_channels, out_channels, stride
OPS: Registry[OpMaker] = Registry("operation", "labkit.register_op")


def register_op(name: str, make: OpMaker | None = None, *, replace: bool = False) -> Any:
    """Add an operation to the vocabulary of the search spaces. It works as a call and as a decorator.

    Args:
        name: what a space calls it; no dashes, spaces, commas or colons.
        make: (in_channels, out_channels, stride) -> a module from (B, in_channels, H, W) to
            (B, out_channels, ceil(H / stride), ceil(W / stride)). `labkit.checks.check_op` says whether it is one.
        replace: take the place of an operation of this name.

    Returns:
        `make`, or a decorator for it.

    Raises:
        InputError: the name is taken, or cannot be used.
    """
    return OPS.register(name, make, replace=replace)


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


def flat_head(channels: int, side: int, classes: int) -> nn.Module:
    """Keep the (side, side) map and read every position of it: position matters to the class."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, classes))


def pooled_head(channels: int, side: int, classes: int, *, width: int = 128) -> nn.Module:
    """MobileNetV2's head: a wide 1x1 convolution, the global average, a linear layer."""
    return nn.Sequential(
        conv_bn(channels, width, kernel=1, activation=RELU6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )


def average_head(channels: int, side: int, classes: int) -> nn.Module:
    """The global average, and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


HEADS: Registry[OpMaker] = Registry("head", "labkit.spaces.HEADS.register")  # channels, side, classes
_BUILT_IN_HEADS: dict[str, OpMaker] = {
    "flat": flat_head,
    "pooled": pooled_head,
    "pooled-wide": partial(pooled_head, width=1728),
    "average": average_head,
}
for _name, _make in _BUILT_IN_HEADS.items():
    HEADS.register(_name, _make)
