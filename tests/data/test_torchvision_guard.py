"""torchvision with any torch."""

import torch

from labkit.data import import_torchvision


def test_torchvision_works_beside_this_torch():
    transforms = import_torchvision().transforms
    assert transforms.v2.functional.horizontal_flip(torch.tensor([[[1, 2]]])).tolist() == [[[2, 1]]]
