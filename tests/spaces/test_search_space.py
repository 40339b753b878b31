import pytest

import labkit as lk
from labkit.spaces import Edge, SearchSpace


def test_digest_names_the_exact_space():
    assert lk.spaces.five_layer().digest == lk.spaces.five_layer().digest
    assert lk.spaces.five_layer(classes=26).digest != lk.spaces.five_layer().digest


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
