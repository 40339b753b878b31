"""Glyphs: letters drawn from a seed."""

import pytest
import torch

import labkit as lk
from labkit.data import SIDE, glyphs


def check_shapes(images):
    for part in (images.train, images.valid, images.test):
        assert part.pixels.shape[1:] == (3, SIDE, SIDE) and part.pixels.dtype == torch.uint8
        assert part.labels.dtype == torch.int64 and part.labels.max() < len(images.classes)


def test_glyphs_come_from_the_seed():
    small = lambda seed: glyphs(40, 20, 20, seed=seed)
    check_shapes(small(0))
    assert small(0).digest == small(0).digest != small(1).digest
    assert {part: small(0).card()[part] for part in ("train", "valid", "test")} == {
        "train": 40,
        "valid": 20,
        "test": 20,
    }


def test_glyphs_can_be_told_apart_by_something_simple():
    """Nearest class mean beats chance on clean glyphs and noise alone does not: the labels belong to the pictures."""
    images = glyphs(800, 10, 400, noise=0.0, texture=0.0)

    def ink(part):
        grey = part.pixels.float().mean(1)
        return (grey - grey.flatten(1).median(1).values[:, None, None]).abs().flatten(1)

    means = torch.stack([ink(images.train)[images.train.labels == c].mean(0) for c in range(10)])
    guess = torch.cdist(torch.nn.functional.normalize(ink(images.test)), torch.nn.functional.normalize(means)).argmin(1)
    accuracy = (guess == images.test.labels).float().mean()
    shuffled = (guess == images.test.labels.roll(1)).float().mean()
    assert accuracy > 0.25 and shuffled < 0.2


def test_clutter_lies_at_the_edges_and_leaves_letters_alone():
    plain, among = (glyphs(200, 1, 1, noise=0.0, texture=0.0, clutter=n).train for n in (0, 3))
    assert plain.labels.equal(among.labels)
    changed = (plain.pixels != among.pixels).any(1).float().mean(0)
    edges = torch.ones(SIDE, SIDE, dtype=torch.bool)
    edges[6:-6, 6:-6] = False
    assert changed[edges].mean() > 0.1 > 5 * changed[12:20, 12:20].mean()


def test_letters_are_moved_as_torch_moves_them():
    maps = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(0))
    there = torch.nn.functional.affine_grid(maps, (50, 1, 32, 32), align_corners=False)
    assert torch.allclose(lk.data.generated._grid(maps), there, atol=1e-6)
    exact = torch.nn.functional.affine_grid(maps.double(), (50, 1, 32, 32), align_corners=False)
    assert (lk.data.generated._grid(maps) - exact).abs().max() < 1e-6


def test_letters_turn_as_far_as_they_are_told():
    straight, turned = (
        glyphs(200, 1, 1, noise=0.0, texture=0.0, turn=turn).train.pixels.float() for turn in (0.0, 3.1)
    )
    assert (straight - turned).abs().mean() > 5
    assert straight.equal(glyphs(200, 1, 1, noise=0.0, texture=0.0, turn=0.0).train.pixels.float())


def test_glyphs_any_letters():
    assert glyphs(30, 10, 10, letters="xyz").classes == ("x", "y", "z")
    with pytest.raises(lk.InputError, match="two different letters"):
        glyphs(10, 10, 10, letters="aa")
    with pytest.raises(lk.InputError, match="every part needs an image"):
        glyphs(10, 0, 10)
    with pytest.raises(lk.InputError, match="none of these is negative"):
        glyphs(10, 10, 10, clutter=-1)
