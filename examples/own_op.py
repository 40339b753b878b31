"""An operation of your own: a convolution whose channels are weighed by what the whole map shows."""

from torch import nn

import labkit as lk


@lk.register_op("se3x3")
class SqueezeExcite(nn.Module):
    """3x3 convolution, then squeeze-and-excitation (Hu et al., 2018) with a fourth of the channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.body = nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())
        few = max(1, out_channels // 4)
        layers = nn.Conv2d(out_channels, few, 1), nn.ReLU(), nn.Conv2d(few, out_channels, 1), nn.Sigmoid()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), *layers)

    def forward(self, x):
        x = self.body(x)
        return x * self.gate(x)


if __name__ == "__main__":
    lk.checks.check_op("se3x3")
    print("se3x3 is an operation")
