"""Architectures and independent choices, as plain data."""

import json

import pytest
import torch

import labkit as lk
from labkit.spaces import Architecture


@pytest.fixture(params=["five_layer", "mobile-tiny", "cells-tiny"])
def any_space(request):
    return lk.spaces.by_name(request.param)


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
