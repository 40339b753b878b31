"""Plain controls of the field, in any size: a ResNet as for CIFAR, and MobileNetV2. A search has to beat them."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from labkit.networks.supernet import seeded
from labkit.spaces.blocks import RELU6, MBConv, Residual, conv_bn
from labkit.system.errors import InputError, unknown

SMALL_IMAGE = 64  # pixels of a side up to which the resolution falls late, as is usual on CIFAR
EXPANSION = 6  # of an inverted residual block
# Width, blocks and stride of each stage of MobileNetV2 (Sandler et al. 2018, table 2), after the first block of 16.
STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
FIRST, STEM, HEAD = 16, 32, 1280


@dataclass(frozen=True)
class Family:
    """The sizes that a kind of network comes in.

    Attributes:
        depths: numbers that say how many blocks there are, the smallest network first; see `Control`.
        step: of the width; widths are multiples of it.
        most: the largest width, in steps.
        published: the width in the article.
        title: what it is called in a sentence.
    """

    depths: tuple[float, ...]
    step: float
    most: int
    published: float
    title: str


RESNET, MOBILENET = "resnet", "mobilenetv2"
FAMILIES: Mapping[str, Family] = {
    RESNET: Family((1, 2, 3, 5, 7, 9, 18), 4, 64, 16, "ResNet"),
    MOBILENET: Family((0.1, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0), 0.05, 60, 1.0, "MobileNetV2"),
}


@dataclass(frozen=True, order=True)
class Control:
    """One size of a plain network: data from which it is built.

    Attributes:
        family: a key of `FAMILIES`.
        depth: of a ResNet the blocks a stage; of MobileNetV2 a multiple of the blocks of each stage.
        steps: the width, in steps of the family.
    """

    family: str
    depth: float
    steps: int

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise unknown("controls are", self.family, FAMILIES)
        known = FAMILIES[self.family]
        if self.depth not in known.depths or not 1 <= self.steps <= known.most:
            depths, widest = ", ".join(f"{depth:g}" for depth in known.depths), known.most * known.step
            raise InputError(
                f"a {self.family} has a depth of {depths} and a width from {known.step:g} to {widest:g}; "
                f"got {self.depth:g} and {self.steps * known.step:g}"
            )

    @property
    def width(self) -> float:
        """Channels of a ResNet's first stage; MobileNetV2's multiple of its published widths."""
        return round(self.steps * FAMILIES[self.family].step, 6)

    def __str__(self) -> str:
        return f"{self.family}-{self.depth:g}x{self.width:g}"

    @classmethod
    def parse(cls, text: str) -> "Control":
        """Make a control from the text that `str(control)` prints.

        Args:
            text: such as "resnet-2x24".

        Returns:
            The control.

        Raises:
            InputError: it is none, or of a size that its family does not have.
        """
        family, _, size = text.partition("-")
        if family not in FAMILIES:
            raise unknown("controls are", family, FAMILIES)
        try:
            depth, width = map(float, size.split("x"))
            steps = round(width / FAMILIES[family].step)
        except (ValueError, OverflowError):
            raise InputError(f"a control is written FAMILY-DEPTHxWIDTH, such as resnet-1x24; got {text!r}") from None
        return cls(family, depth, steps)

    def described(self) -> str:
        """The control in a few words, such as "ResNet, 3 blocks, 24 wide"."""
        title = FAMILIES[self.family].title
        if self.family == RESNET:
            return f"{title}, {3 * int(self.depth)} blocks, {self.width:g} wide"
        blocks = 1 + sum(_times(n, self.depth) for _, n, _ in STAGES)
        return f"{title}, {blocks} blocks, {self.width:g} x its widths"

    def build(self, image: tuple[int, int, int] = (3, 32, 32), classes: int = 10, seed: int = 0) -> nn.Module:
        """The network with fresh weights.

        Args:
            image: channels, height and width of an image.
            classes: of the images.
            seed: of the weights.

        Returns:
            A module from images (B, C, H, W) to logits (B, classes).
        """
        channels, small = image[0], max(image[1:]) <= SMALL_IMAGE
        with seeded(seed):
            if self.family == RESNET:
                return ResNet(int(self.depth), int(self.width), channels, classes, small=small)
            return MobileNetV2(self.width, self.depth, channels, classes, small=small)


class ResNet(nn.Sequential):
    """The ResNet for CIFAR (He et al. 2016, section 4.2): three stages of `blocks` blocks, widths w, 2w and 4w.

    Larger images are first brought down to a quarter of their side, as the article does on ImageNet.
    """

    def __init__(self, blocks: int, width: int, channels: int = 3, classes: int = 10, *, small: bool = True):
        stem: list[nn.Module] = [conv_bn(channels, width, 1 if small else 2, kernel=3 if small else 7)]
        if not small:
            stem.append(nn.MaxPool2d(3, 2, 1))
        body, before = [], width
        for stage in range(3):
            for block in range(blocks):
                out = width << stage
                body.append(Residual(before, out, 2 if stage and not block else 1))
                before = out
        super().__init__(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


class MobileNetV2(nn.Sequential):
    """MobileNetV2 (Sandler et al. 2018), its widths times `width` and the blocks of a stage times `depth`.

    On small images the stem and the first stage keep the resolution, as is usual on CIFAR. The last layers shrink with
    the rest: at their published width they would be most of a small network.
    """

    def __init__(self, width: float, depth: float, channels: int = 3, classes: int = 10, *, small: bool = True):
        first = _wide(FIRST, width)
        stem = _wide(STEM, width)
        body: list[nn.Module] = [MBConv(stem, first, 1, kernel=3, expansion=1)]
        before = first
        for stage, (wide, times, stride) in enumerate(STAGES):
            for block in range(_times(times, depth)):
                by = 1 if block or (small and not stage) else stride
                body.append(MBConv(before, _wide(wide, width), by, kernel=3, expansion=EXPANSION))
                before = _wide(wide, width)
        last = _wide(HEAD, width)
        super().__init__(
            conv_bn(channels, stem, 1 if small else 2, kernel=3, activation=RELU6),
            *body,
            conv_bn(before, last, kernel=1, activation=RELU6),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(last, classes),
        )


def _wide(channels: int, width: float) -> int:
    """Channels times the width, a multiple of four."""
    return max(4, 4 * round(channels * width / 4))


def _times(blocks: int, depth: float) -> int:
    return max(1, round(blocks * depth))
