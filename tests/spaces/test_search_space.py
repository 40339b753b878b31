import json

import pytest
import torch

import labkit as lk
from labkit.spaces import Architecture, Edge, SearchSpace
from labkit.spaces.ops import OPS


@pytest.fixture(params=["five_layer", "mobile-tiny", "cells-tiny"])
def any_space(request):
    return lk.spaces.by_name(request.param)


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


def test_sizes():
    assert lk.spaces.five_layer().size == 3**5 == len(list(lk.spaces.five_layer())) == len(lk.spaces.five_layer())
    assert lk.spaces.mobile("tiny").size == 6**3 * 7**5


def test_five_layer_architectures_are_all_different(space):
    assert len(set(space)) == 243


def test_encode_and_decode_are_inverse(any_space, generator):
    for architecture in any_space.sample(20, generator):
        weights = any_space.encode(architecture)
        assert weights.shape == any_space.mask.shape
        assert weights.sum() == len(any_space.slots) and (weights.sum(-1) == 1).all()
        assert any_space.decode(weights) == architecture


def test_decode_never_picks_a_candidate_that_a_slot_lacks():
    space = lk.spaces.mobile()
    weights = torch.arange(7.0).expand(8, 7)
    assert space.decode(weights) in space


def test_json_and_text_round_trips(any_space, generator):
    for architecture in any_space.sample(5, generator):
        assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
        assert any_space.architecture(str(architecture)) == architecture


@pytest.mark.parametrize(
    ("ops", "says"),
    [
        ("conv9x9-conv3x3-conv3x3-conv3x3-conv3x3", "slot 0 of five_layer offers conv5x5, conv3x3, maxpool3x3; got"),
        ("conv3x3", "has 5 slots; conv3x3 fills 1"),
        ([], "has 5 slots"),
    ],
)
def test_wrong_architectures_are_refused(space, ops, says):
    with pytest.raises(lk.InputError, match=says):
        space.architecture(ops)


def test_an_architecture_of_another_space_is_refused(space):
    stranger = lk.spaces.mobile().sample(1, torch.Generator())[0]
    assert stranger not in space and "text" not in space
    with pytest.raises(lk.InputError, match="one of mobile-tiny"):
        space.encode(stranger)


@pytest.mark.parametrize("value", [{}, {"space": "five_layer"}, [], None])
def test_damaged_json_is_refused(value):
    with pytest.raises(lk.InputError, match="an architecture is"):
        Architecture.from_json(value)


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


def test_an_index_is_the_place_in_the_iteration(space):
    every = list(space)
    for i in (0, 1, 17, len(every) - 1):
        assert space[i] == every[i] and space.index(every[i]) == i
    assert [space.index(a) for a in every] == list(range(len(space)))
    mobile = lk.spaces.mobile()  # slots of unequal width
    for i, a in zip(range(5_000), mobile):
        assert mobile.index(a) == i
    assert mobile.index(mobile[3_630_311]) == 3_630_311
    with pytest.raises(IndexError, match="243 architectures; got index 243"):
        space[243]


def test_a_deal_uses_every_candidate_equally_often():
    """Seven architectures where slots have seven candidates: each once; where they have six, one of them twice."""
    space = lk.spaces.mobile()
    for seed in range(3):
        dealt = space.deal(torch.Generator().manual_seed(seed))
        assert len(dealt) == 7 and all(a in space for a in dealt)
        for s, slot in enumerate(space.slots):
            times = sorted(sum(a.ops[s] == op for a in dealt) for op in slot)
            assert times == ([1] * 7 if len(slot) == 7 else [1] * 5 + [2])
    assert space.deal(torch.Generator().manual_seed(0)) != space.deal(torch.Generator().manual_seed(1))
