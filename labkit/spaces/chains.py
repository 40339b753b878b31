"""Spaces in which every layer reads the layer before it: the reference article's, and MobileNetV2-like ones."""

from labkit.spaces.search_space import Edge, SearchSpace
from labkit.system.errors import InputError

# Width and stride of each layer.
MOBILE_TINY: tuple[tuple[int, int], ...] = (
    (24, 1),
    (24, 1),
    (32, 2),
    (32, 1),
    (32, 1),
    (64, 2),
    (64, 1),
    (64, 1),
)

# The widths of ProxylessNAS-GPU (Cai, Zhu, Han, ICLR 2019), in which UNAS searched (Vahdat et al. 2020, section 4.2).
MOBILE_FULL = tuple(
    (width, stride if first else 1)
    for width, stride, layers in ((32, 2, 4), (56, 2, 4), (112, 2, 4), (128, 1, 4), (256, 2, 4), (432, 1, 1))
    for first in [True] + [False] * (layers - 1)
)


def five_layer(classes: int = 10) -> SearchSpace:
    """Make the reference article's space: five layers, each a 5x5 convolution, a 3x3 convolution or max pooling.

    It has 3**5 = 243 architectures for 32x32 images. The stem halves the resolution to 16x16 with 16 channels; average
    pooling halves it after layers 2 and 4. The head reads the flattened 4x4 map: with a global average instead,
    the same network's accuracy varied by 40 points between seeds.

    Args:
        classes: number of classes of the images.

    Returns:
        The space.
    """
    slots = (("conv5x5", "conv3x3", "maxpool3x3"),) * 5
    width, halve = 16, Edge(16, 16, 2, fixed="avgpool")
    layers = [Edge(width, width, slot=s) for s in range(5)]
    edges = (Edge(3, width, 2, fixed="conv3x3"), *layers[:2], halve, *layers[2:4], halve, layers[4])
    return SearchSpace("five_layer", slots, edges, (3, 32, 32), classes, "flat")


def mobile(size: str = "tiny", classes: int = 10) -> SearchSpace:
    """Make a MobileNetV2-like chain, as in ProxylessNAS: MBConv of kernel 3, 5 or 7 and expansion 3 or 6.

    A layer that changes neither width nor resolution may also be skipped.

    Args:
        size: "tiny": eight searched layers for 32x32 images on a CPU, 6**3 * 7**5 = 3,630,312 architectures; "full":
            the 21 layers of the paper's space for 224x224 images, 6**6 * 7**15 = 2.2e17, too large to train here.
        classes: number of classes of the images.

    Returns:
        The space.

    Raises:
        InputError: there is no such size.
    """
    if size not in ("tiny", "full"):
        raise InputError(f"mobile has the sizes 'tiny' and 'full'; got {size!r}")
    blocks = tuple(f"mb{kernel}e{expansion}" for kernel in (3, 5, 7) for expansion in (3, 6))
    layers: tuple[tuple[int, int], ...]
    image: tuple[int, int, int]
    if size == "tiny":
        layers, image, head, stem = MOBILE_TINY, (3, 32, 32), "pooled", [Edge(3, 16, 2, fixed="conv3x3")]
    else:
        stem = [Edge(3, 40, 2, fixed="stem3x3"), Edge(40, 24, 1, fixed="mb3e1")]
        layers, image, head = MOBILE_FULL, (3, 224, 224), "pooled-wide"
    slots, edges, width = [], stem, stem[-1].out_channels
    for slot, (out, stride) in enumerate(layers):
        keeps = (out, stride) == (width, 1)
        slots.append(("skip", *blocks) if keeps else blocks)
        edges.append(Edge(width, out, stride, slot=slot))
        width = out
    return SearchSpace(f"mobile-{size}", tuple(slots), tuple(edges), image, classes, head)
