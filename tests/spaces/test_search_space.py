import hashlib
import json
from dataclasses import asdict, replace

import pytest
import torch

import labkit as lk
from labkit.spaces import Edge, SearchSpace


def test_digest_names_the_exact_space():
    assert lk.spaces.five_layer().digest == lk.spaces.five_layer().digest
    assert lk.spaces.five_layer(classes=26).digest != lk.spaces.five_layer().digest


def test_digest_is_a_hash_of_all_that_an_edge_has():
    space = lk.spaces.five_layer()
    value = asdict(space)
    value["edges"] = [
        {k: v for k, v in edge.items() if k not in ("terms", "sources", "target")} for edge in value["edges"]
    ]
    assert space.digest == hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
    first, *others = space.edges
    for changes in ({"sources": (0,)}, {"target": 1}, {"stride": 1}, {"fixed": "stem3x3"}):
        assert replace(space, edges=(replace(first, **changes), *others)).digest != space.digest, changes
    cells = lk.spaces.cells()
    edge = next(edge for edge in cells.edges if edge.terms)
    other = replace(edge, terms=(edge.terms[1], edge.terms[0]))
    swapped = tuple(other if e is edge else e for e in cells.edges)
    assert replace(cells, edges=swapped).digest != cells.digest, "the order of terms counts"


def test_unknown_names_are_refused():
    with pytest.raises(lk.InputError, match=r"spaces are five_layer, mobile-tiny, .*cells-tiny, .*; got 'imagenet'"):
        lk.spaces.by_name("imagenet")
    with pytest.raises(lk.InputError, match="'tiny'"):
        lk.spaces.mobile("huge")
    with pytest.raises(lk.InputError, match=r"space x: operations are .* did you mean conv5x5"):
        SearchSpace("x", (("conv9x9",),), (Edge(3, 3, slot=0),), (3, 8, 8), 2, "flat")
    with pytest.raises(lk.InputError, match="either a slot, or a fixed"):
        Edge(3, 3)


def test_sizes_follow_the_strides(space):
    assert space.sizes() == tuple((n, n) for n in (32, 16, 16, 16, 8, 8, 8, 4, 4))


def chain(*edges, slots=(("conv3x3", "conv5x5"),), image=(3, 32, 32), classes=10, head="average"):
    return SearchSpace("own", slots, edges, image, classes, head)


STEM, CHOICE = Edge(3, 8, 2, fixed="conv3x3"), Edge(8, 8, slot=0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: chain(STEM, CHOICE, image=(3, 32)), "1 to 4 channels, a height and a width in pixels; got (3, 32)"),
        (lambda: chain(STEM, CHOICE, image=(5, 32, 32)), "1 to 4 channels"),
        (lambda: chain(STEM, CHOICE, image=(3, 32.0, 32)), "1 to 4 channels"),
        (lambda: chain(STEM, CHOICE, image=(3, 0, 32)), "1 to 4 channels"),
        (lambda: chain(STEM, CHOICE, image=(1, 28, 28)), "edge 1 of 2 reads 1 channels and has in_channels=3"),
        (lambda: chain(STEM, CHOICE, classes=0), "at least 2 classes; got 0"),
        (lambda: chain(STEM, CHOICE, classes=True), "at least 2 classes; got True"),
        (lambda: chain(STEM, Edge(8, 8, slot=0, sources=(7,))), "edge 2 of 2 reads state 7, which no earlier edge"),
        (lambda: chain(STEM, Edge(16, 8, slot=0)), "edge 2 of 2 reads 8 channels and has in_channels=16"),
        (lambda: chain(STEM, Edge(8, 8, 0, slot=0)), "a stride and a width of at least 1; got 0, 8"),
        (lambda: chain(STEM, Edge(8, 8, slot=0), Edge(8, 16, fixed="conv3x3", target=2)), "adds (16, 16, 16) to a"),
        (lambda: chain(STEM, Edge(11, 8, slot=0, sources=(0, 1))), "edge 2 of 2 reads states of other sizes"),
        (lambda: chain(STEM, Edge(8, 16, slot=0), slots=(("conv3x3", "skip"),)), "skip keeps width and resolution"),
        (lambda: chain(), "at least one edge"),
        (lambda: replace(lk.spaces.five_layer(), image=(3, 30, 30)), "avgpool turns (16, 15, 15) into (16, 7, 7)"),
        (lambda: replace(lk.spaces.cells("tiny"), image=(3, 30, 30)), "identity does not fit: RuntimeError Sizes of"),
    ],
)
def test_a_geometry_that_cannot_be_built_is_refused_with_its_reason(make, says):
    with pytest.raises(lk.InputError) as refused:
        make()
    assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("image", [(3, 32, 48), (3, 48, 32), (3, 31, 45), (3, 33, 32)])
def test_images_that_are_not_square_are_what_is_built_counted_and_run(image):
    space = replace(lk.spaces.mobile(), image=image)
    network, x = lk.derive(space, space[5]).eval(), torch.randn(2, *image)
    seen = []
    for module in network.body:
        module.register_forward_hook(lambda _, read, __: seen.append(tuple(read[0].shape[2:])))
    network.head.register_forward_hook(lambda _, read, __: seen.append(tuple(read[0].shape[2:])))
    assert network(x).shape == (2, 10) and tuple(seen) == space.sizes()


def test_a_flat_head_reads_a_map_that_is_not_square():
    space = replace(lk.spaces.five_layer(), image=(3, 32, 48))
    assert space.sizes()[-1] == (4, 6) and lk.derive(space, space[0]).eval()(torch.zeros(1, 3, 32, 48)).shape == (1, 10)


def test_lists_are_taken_as_tuples():
    asked = SearchSpace("own", [["conv3x3", "conv5x5"]], [STEM, CHOICE], [3, 32, 32], 10, "average")
    assert asked == chain(STEM, CHOICE) and asked.digest == chain(STEM, CHOICE).digest


def test_one_to_four_channels_are_read():
    for channels in (1, 2, 3, 4):
        space = chain(Edge(channels, 8, 2, fixed="conv3x3"), CHOICE, image=(channels, 28, 20))
        assert lk.derive(space, space[1]).eval()(torch.zeros(2, channels, 28, 20)).shape == (2, 10)


def test_an_operation_that_ignores_its_stride_is_named():
    lk.register_op("flatstride", lambda i, o, s: torch.nn.Conv2d(i, o, 3, 1, 1))
    try:
        with pytest.raises(
            lk.InputError, match=r"edge 2 of 2: flatstride turns \(8, 16, 16\) into \(8, 16, 16\) at st"
        ):
            chain(STEM, Edge(8, 8, 2, slot=0), slots=(("conv3x3", "flatstride"),))
    finally:
        lk.spaces.OPS.remove("flatstride")
