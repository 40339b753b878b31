"""Operations of the search spaces."""

import pytest

import labkit as lk
from labkit.spaces.ops import OPS


@pytest.mark.parametrize(
    ("op", "shape", "says"),
    [
        ("maxpool3x3", (4, 8, 1), "pooling keeps the width; got 4 -> 8 channels: widen"),
        ("avgpool", (4, 8, 2), "pooling keeps the width"),
        ("skip", (4, 4, 2), "got 4 -> 4, stride 2: leave it out"),
        ("halve", (4, 4, 1), "halving has stride 2; got 1: take relu1x1"),
        ("halve", (4, 5, 2), "got 5 channels: ask for an even number"),
    ],
)
def test_an_operation_where_it_cannot_be_says_what_to_do(op, shape, says):
    with pytest.raises(lk.InputError, match=says):
        OPS[op](*shape)
