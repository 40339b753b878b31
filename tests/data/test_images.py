"""Batches and augmentation of images."""

import torch

from labkit.data import SIDE, Images, crop_and_flip, standardise
from labkit.networks.supernet import seeded


def test_batches():
    images = Images(torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2), torch.arange(10))
    in_order = [labels.tolist() for _, labels in images.batches(4)]
    assert in_order == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    shuffled = [labels.tolist() for _, labels in images.batches(4, torch.Generator().manual_seed(0))]
    assert [len(batch) for batch in shuffled] == [4, 4] and len({label for batch in shuffled for label in batch}) == 8
    pixels, _ = next(images.batches(4))
    torch.testing.assert_close(pixels[3], standardise(images.pixels[3]))
    assert pixels.dtype == torch.float32 and standardise(torch.tensor([0, 255])).tolist() == [-2.0, 2.0]


def test_augmentation_treats_each_image_on_its_own():
    pixels = torch.randint(0, 256, (1, 3, SIDE, SIDE), dtype=torch.uint8).expand(16, -1, -1, -1)
    changed = crop_and_flip(pixels)
    assert changed.shape == pixels.shape and changed.dtype == torch.uint8
    assert len({tuple(c.flatten().tolist()) for c in changed}) > 8


def test_each_image_is_cropped_and_mirrored_out_of_itself():
    """Against every crop of the padded picture, and its mirror image."""
    with seeded(0):
        pixels = torch.randint(1, 256, (60, 3, SIDE, SIDE), dtype=torch.uint8)
        cropped = crop_and_flip(pixels)
    padded, places = torch.nn.functional.pad(pixels, (4,) * 4), set()
    for i, changed in enumerate(cropped):
        crops = padded[i].unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # (3, 9, 9, SIDE, SIDE)
        ways = {False: crops, True: crops.flip(-1)}
        same = {m: (crop == changed[:, None, None]).all(-1).all(-1).all(0).nonzero() for m, crop in ways.items()}
        ((mirrored, where),) = ((m, at) for m, at in same.items() if len(at))
        places.add((mirrored, *where[0].tolist()))
    assert {mirrored for mirrored, *_ in places} == {False, True}
    assert {top for _, top, _ in places} > {0, 4, 8} < {left for *_, left in places}, "from border to border"
