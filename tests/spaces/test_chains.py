"""Spaces in which every layer reads the one before it."""

import labkit as lk


def test_sizes():
    assert lk.spaces.five_layer().size == 3**5 == len(list(lk.spaces.five_layer())) == len(lk.spaces.five_layer())
    assert lk.spaces.mobile("tiny").size == 6**3 * 7**5


def test_five_layer_architectures_are_all_different(space):
    assert len(set(space)) == 243
