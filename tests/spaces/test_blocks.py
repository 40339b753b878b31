"""Blocks compared with those of torchvision, which others wrote: values, gradients and parameters."""

import pytest
import torch
from torch import nn

import labkit as lk
from labkit.spaces.blocks import Bottleneck, FusedMBConv, MBConv, Residual, SqueezeExcite, two_convolutions

lk.data.import_torchvision()
ops = pytest.importorskip("torchvision.ops")
models = pytest.importorskip("torchvision.models")


def same(ours, theirs, x):
    """Whether two modules have parameters of the same shapes, and with the same values compute the same."""
    ours, theirs = ours.double(), theirs.double()
    mine, other = ([t for name, t in m.state_dict().items() if "num_batches" not in name] for m in (ours, theirs))
    assert [t.shape for t in mine] == [t.shape for t in other]
    draw = torch.Generator().manual_seed(0)
    for a, b in zip(mine, other):
        value = 0.2 + torch.rand(a.shape, generator=draw, dtype=torch.float64)
        value = value * torch.where(torch.rand(a.shape, generator=draw) < 0.5, -1.0, 1.0) if a.ndim == 4 else value
        a.copy_(value), b.copy_(value)
    ours.eval(), theirs.eval()
    x = x.double().requires_grad_()
    y, expected = ours(x), theirs(x)
    torch.testing.assert_close(y, expected)
    toward = torch.randn(y.shape, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(torch.autograd.grad(y, x, toward)[0], torch.autograd.grad(expected, x, toward)[0])


@pytest.fixture
def x(generator):
    return torch.randn(3, 16, 8, 8, generator=generator)


def shortcut(i, o, stride):
    if (i, stride) == (o, 1):
        return None
    return nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))


@pytest.mark.parametrize(("out", "stride"), [(16, 1), (16, 2), (32, 1), (32, 2)])
def test_a_residual_block_is_that_of_resnet(x, out, stride):
    same(Residual(16, out, stride), models.resnet.BasicBlock(16, out, stride, shortcut(16, out, stride)), x)


@pytest.mark.parametrize(("out", "stride"), [(16, 1), (32, 2)])
def test_a_bottleneck_is_that_of_resnet(x, out, stride):
    theirs = models.resnet.Bottleneck(16, out // 4, stride, shortcut(16, out, stride), base_width=128)
    same(Bottleneck(16, out, stride), theirs, x)


def test_the_comparison_sees_a_late_stride_and_a_missing_relu(x):
    block = models.resnet.BasicBlock(16, 32, 2, shortcut(16, 32, 2))
    with pytest.raises(AssertionError):
        same(Residual(16, 32, 2, late=True), block, x)
    ours = Residual(16, 16, 1)
    ours.activation = nn.Identity()
    with pytest.raises(AssertionError):
        same(ours, models.resnet.BasicBlock(16, 16), x)


def test_squeeze_excite_is_that_of_mobilenet_v3(generator):
    x = torch.randn(3, 64, 5, 5, generator=generator)
    theirs = ops.SqueezeExcitation(64, 16, scale_activation=nn.Hardsigmoid)
    same(SqueezeExcite(64), theirs, x)
    factor = SqueezeExcite(16).eval().factor(x[:, :16])
    assert factor.shape == (3, 16, 1, 1) and 0 <= factor.min() and factor.max() <= 1
    assert SqueezeExcite(16).factor[1].out_channels == 8, "of few channels as many as a vector register takes"


@pytest.mark.parametrize(("out", "stride"), [(16, 1), (24, 2)])
def test_an_inverted_bottleneck_is_that_of_mobilenet_v2(x, out, stride):
    same(MBConv(16, out, stride, kernel=3, expansion=6), models.mobilenetv2.InvertedResidual(16, out, stride, 6), x)


@pytest.mark.parametrize(("out", "stride"), [(16, 1), (24, 2)])
def test_a_fused_bottleneck_is_that_of_efficientnet_v2(x, out, stride):
    """With ReLU in place of its SiLU."""
    config = models.efficientnet.FusedMBConvConfig(4, 3, stride, 16, out, 1)
    theirs = models.efficientnet.FusedMBConv(config, 0.0, nn.BatchNorm2d)
    theirs.block[0][2] = nn.ReLU()
    same(FusedMBConv(16, out, stride, kernel=3, expansion=4), theirs, x)


def test_squeeze_excite_stands_before_the_projection(generator):
    for make in (MBConv, FusedMBConv):
        block = make(16, 16, 1, kernel=3, expansion=4, squeeze=True)
        assert isinstance(block.body[-2], SqueezeExcite) and block.body[-2].factor[1].in_channels == 64
        assert not any(isinstance(m, SqueezeExcite) for m in make(16, 16, 1, kernel=3, expansion=4).modules())


def test_widths_between_the_convolutions_of_a_block():
    inner = lambda times: Residual(16, 32, 2, inner=times).body[0][0].out_channels
    assert [inner(times) for times in (0.5, 1, 2)] == [16, 32, 64]
    first, _, _, second = list(two_convolutions(3, 24, 2))[:4]
    assert (first.out_channels, first.stride, second.stride) == (12, (1, 1), (2, 2))
