"""The controls are the networks of their articles: by counts that are published or another library's."""

import pytest
import torch

from labkit.networks.complexity import count
from labkit.networks.controls import FAMILIES, MOBILENET, RESNET, Control
from labkit.system.errors import InputError

IMAGE = (3, 32, 32)


def test_resnet20_is_that_of_the_article():
    """0.27 M parameters; by hand: stem, three stages of three blocks, two projections, a linear layer."""
    conv = lambda i, o, k: i * o * k * k + 2 * o  # and its batch norm
    by_hand = conv(3, 16, 3) + 6 * conv(16, 16, 3)
    for wide in (32, 64):
        by_hand += conv(wide // 2, wide, 3) + 5 * conv(wide, wide, 3) + conv(wide // 2, wide, 1)
    by_hand += 64 * 10 + 10
    found = count(Control(RESNET, 3, 4).build(IMAGE, 10), IMAGE)
    assert found.parameters == by_hand == 272_474
    assert 40.5e6 < found.macs < 41.5e6, "41 M in the literature"
    assert len([m for m in Control(RESNET, 3, 4).build().modules() if isinstance(m, torch.nn.Conv2d)]) == 19 + 2


def test_mobilenetv2_is_that_of_torchvision():
    from labkit.data import import_torchvision

    import_torchvision()
    models = pytest.importorskip("torchvision.models")
    theirs = models.mobilenet_v2(num_classes=10)
    ours = Control(MOBILENET, 1.0, 20)
    assert ours.width == 1.0
    image = (3, 96, 96)  # above 64 pixels the strides are the published ones
    assert count(ours.build(image, 10), image) == count(theirs, image)
    assert count(Control(MOBILENET, 1.0, 18).build(IMAGE, 10), IMAGE).parameters < count(theirs, IMAGE).parameters


@pytest.mark.parametrize("family", FAMILIES)
def test_a_control_grows_with_width_and_depth_and_classifies(family):
    known = FAMILIES[family]
    image = (3, 16, 16)
    macs = lambda depth, steps: count(Control(family, depth, steps).build(image, 7), image).macs
    assert macs(known.depths[0], 2) < macs(known.depths[0], 6) < macs(known.depths[2], 6)
    small = Control(family, known.depths[0], 1).build((1, 24, 40), 7).eval()
    assert small(torch.randn(2, 1, 24, 40)).shape == (2, 7)
    large = Control(family, known.depths[0], 1).build((3, 96, 96), 7).eval()
    assert large(torch.randn(2, 3, 96, 96)).shape == (2, 7)


def test_weights_are_those_of_the_seed_and_leave_the_global_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, same, other = (Control(RESNET, 1, 2).build(seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["0.0.weight"], other["0.0.weight"])


@pytest.mark.parametrize("control", [Control(RESNET, 3, 6), Control(MOBILENET, 0.35, 7), Control(MOBILENET, 2.0, 60)])
def test_a_control_is_read_back_from_its_text(control):
    assert Control.parse(str(control)) == control


def test_words_of_a_control():
    assert (
        str(Control(RESNET, 1, 6)) == "resnet-1x24" and Control(RESNET, 1, 6).described() == "ResNet, 3 blocks, 24 wide"
    )
    assert str(Control(MOBILENET, 0.1, 7)) == "mobilenetv2-0.1x0.35"
    assert Control(MOBILENET, 0.1, 7).described() == "MobileNetV2, 7 blocks, 0.35 x its widths"
    assert Control(MOBILENET, 1.0, 20).described() == "MobileNetV2, 17 blocks, 1 x its widths"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vgg-1x24", "controls are resnet, mobilenetv2; got 'vgg'"),
        ("resnet-one", "such as resnet-1x24; got 'resnet-one'"),
        ("resnet-1xinf", "such as resnet-1x24"),
        ("resnet-4x16", "a depth of 1, 2, 3, 5, 7, 9, 18"),
        ("resnet-1x1e9", "a width from 4 to 256"),
        ("mobilenetv2-1x0", "a width from 0.05 to 3"),
    ],
)
def test_what_is_no_control_is_refused(text, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        Control.parse(text)
