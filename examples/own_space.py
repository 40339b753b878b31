"""A search space of your own: three layers, each plain, with squeeze-and-excitation, or pooling."""

import own_op  # noqa: F401 (registers se3x3)

import labkit as lk
from labkit.spaces import Edge, SearchSpace


@lk.register_space("three-layers")
def three_layers(classes: int = 10) -> SearchSpace:
    stem = Edge(3, 16, stride=2, fixed="conv3x3")
    layers = (Edge(16, 16, slot=0), Edge(16, 16, stride=2, slot=1), Edge(16, 16, slot=2))
    slots = (("conv3x3", "se3x3", "maxpool3x3"),) * 3
    return SearchSpace("three-layers", slots, (stem, *layers), (3, 32, 32), classes, head="average")


if __name__ == "__main__":
    lk.checks.check_space("three-layers")
    print(f"{lk.spaces.by_name('three-layers').size} architectures")
