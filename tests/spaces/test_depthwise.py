"""Depthwise convolutions: the same values and gradients as PyTorch's own, whichever way they are come by."""

import pytest
import torch
from torch import nn

from labkit.networks.supernet import seeded
from labkit.spaces.depthwise import IMAGES_AT_ONCE, DepthwiseConv2d, weight_gradient

LAYOUTS = {"rows first": torch.contiguous_format, "channels last": torch.channels_last}


def pair(channels, kernel, stride):
    """Ours and PyTorch's, of the same first weights."""
    with seeded(0):
        ours = DepthwiseConv2d(channels, kernel, stride)
    with seeded(0):
        theirs = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
    return ours.double(), theirs.double()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", [4, 7, 16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_values_and_gradients_are_those_of_pytorch(kernel, stride, side, layout, generator):
    ours, theirs = pair(6, kernel, stride)
    assert torch.equal(ours.weight, theirs.weight) and ours.state_dict().keys() == theirs.state_dict().keys()
    x = torch.randn(IMAGES_AT_ONCE + 3, 6, side, side, generator=generator, dtype=torch.double)
    x = x.to(memory_format=LAYOUTS[layout]).requires_grad_()
    y, expected = ours(x), theirs(x)
    assert torch.equal(y, expected)
    gradient = torch.randn(y.shape, generator=generator, dtype=torch.double)
    for mine, other in zip(
        torch.autograd.grad(y, [x, ours.weight], gradient), torch.autograd.grad(expected, [x, theirs.weight], gradient)
    ):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_the_differences_of_values(stride, generator):
    """Against finite differences, which know nothing of any convolution's way back."""
    ours, _ = pair(2, 5, stride)
    x = torch.randn(3, 2, 6, 6, generator=generator, dtype=torch.double, requires_grad=True)

    def convolved(x, weight):
        return torch.func.functional_call(ours, {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(convolved, (x, ours.weight))


def test_the_comparison_sees_a_kernel_turned_around(generator):
    x, gradient = torch.randn(2, 4, 3, 8, 8, generator=generator, dtype=torch.double)
    there, back = weight_gradient(x, gradient, 5), weight_gradient(gradient, x, 5)
    torch.testing.assert_close(there, back.flip(-1, -2))  # what is seen from the other side
    assert (there - back).abs().max() > 1


def test_only_what_is_asked_for_is_worked_out(generator):
    ours, theirs = pair(4, 7, 1)
    x = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.double, requires_grad=True)
    ours.weight.requires_grad_(False)
    (to_x,) = torch.autograd.grad(ours(x).sum(), [x])
    torch.testing.assert_close(to_x, torch.autograd.grad(theirs(x).sum(), [x])[0])
    assert type(ours(x).grad_fn) is type(theirs(x).grad_fn), "nothing is kept for weights that do not learn"
    with torch.no_grad():
        assert ours(x).grad_fn is None


def test_an_exported_network_has_plain_convolutions():
    ours, _ = pair(4, 7, 1)
    program = torch.export.export(ours.float().train(), (torch.zeros(2, 4, 8, 8),))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called == ["aten.conv2d.default"]
