"""A space of what runs fast on a CPU: plain residual convolutions beside fused and inverted bottlenecks."""

from labkit.spaces.search_space import Edge, SearchSpace
from labkit.system.errors import InputError

STEMS = ("conv3x3", "conv5x5", "twice3x3")
DOWN = ("conv3x3", "res3half", "res3", "res3late", "fused3e2", "fused3e4", "mb5e3")  # halves the resolution
PLAIN = ("skip", "bottle3", "res3half", "res3", "res3wide", "fused3e2", "fused3e4")
KEEP = {  # width and resolution
    "early": (*PLAIN, "mb3e2", "mb5e3"),
    "middle": (*PLAIN, "res3se", "mb5e4", "mb7e3"),
    "late": (*PLAIN, "res3se", "mb5e3", "mb5e6", "mb5e4se"),
}
SIZES = {  # side in pixels, head, channels of the stem, stages: channels, layers that keep them, key of KEEP
    "tiny": (32, "pooled", 24, ((24, 2, "early"), (48, 2, "middle"), (96, 2, "late"))),
    "small": (32, "pooled-256", 40, ((40, 3, "early"), (80, 3, "middle"), (160, 3, "late"))),
    "large": (128, "pooled-256", 24, ((32, 2, "early"), (48, 2, "early"), (96, 3, "middle"), (192, 2, "late"))),
}


def edge(size: str = "tiny", classes: int = 10, *, side: int | None = None) -> SearchSpace:
    """Describe a chain of stages whose blocks a CPU runs at a high rate: many multiplications in few dense layers.

    A slot chooses one operation between fixed widths, so what a stage may vary is put into its operations:

    - block: plain residual (`res3`, He et al. 2016) and bottleneck (`bottle3`), fused inverted bottleneck
      (`fused3e2`, Tan and Le 2021), inverted bottleneck (`mb5e3`, Sandler et al. 2018);
    - width: the channels inside a block, half to twice those of the stage (`res3half`, `res3wide`), or an expansion
      of 2, 3, 4 or 6. The width between blocks is fixed, or blocks would not fit one after the other;
    - depth: each layer that keeps width and resolution may be `skip`;
    - kernel: 3, 5 or 7 in depthwise convolutions, where it is cheap. A plain residual block sees 5x5 pixels already;
    - resolution: the stem and the first block of a stage halve it, either at once, or after a convolution that sees
      the larger map (`twice3x3`, `res3late`);
    - squeeze-excite (`...se`) in the middle and the last stage. It costs five calls whatever the map, so in the first
      stage, where blocks have few parameters, it costs most for what it adds.

    The head begins with a 1x1 convolution: inverted bottlenecks end without an activation, and a mean over the map of
    what is linear would leave their last layer without a use.

    Every candidate was timed in eager PyTorch, ONNX Runtime and OpenVINO before it was admitted (`labkit bench ops`).
    One that is slower in all three than another with no fewer parameters, multiplications and pixels seen is left out.

    Args:
        size: "tiny", 1.4e8 architectures for 32x32 images, about .03 to .5 ms in ONNX Runtime on one core; "small",
            wider and deeper, up to 2 ms; "large", four stages for 128x128 images, .2 to 4 ms.
        classes: of the images.
        side: height and width of the images in pixels, a multiple of 8, of 32 for "large"; by default the size's own.

    Returns:
        The space, called "edge", "edge-small" or "edge-large"; with another side "edge-64px" and the like.

    Raises:
        InputError: There is no such size, or the side does not fit.
    """
    if size not in SIZES:
        raise InputError(f"edge has the sizes {', '.join(SIZES)}; got {size!r}")
    usual, head, width, stages = SIZES[size]
    side, name = usual if side is None else side, "edge" if size == "tiny" else f"edge-{size}"
    halvings = 1 + len({channels for channels, _, _ in stages} - {width})
    if side < 2 ** (halvings + 1) or side % 2**halvings:
        raise InputError(
            f"{name} halves the resolution {halvings} times: its side is a multiple of {2**halvings}, at "
            f"least {2 ** (halvings + 1)}; got {side}"
        )
    slots: list[tuple[str, ...]] = [STEMS]
    edges = [Edge(3, width, 2, slot=0)]
    for channels, layers, place in stages:
        if channels != width:
            slots.append(DOWN)
            edges.append(Edge(width, channels, 2, slot=len(edges)))
            width = channels
        for _ in range(layers):
            slots.append(KEEP[place])
            edges.append(Edge(width, width, slot=len(edges)))
    called = name if side == usual else f"{name}-{side}px"
    return SearchSpace(called, tuple(slots), tuple(edges), (3, side, side), classes, head)
