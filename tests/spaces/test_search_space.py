import hashlib
import json
from dataclasses import asdict, replace

import pytest

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


def test_sides_follow_the_strides(space):
    assert space.sides() == (32, 16, 16, 16, 8, 8, 8, 4, 4)
