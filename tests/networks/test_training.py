from dataclasses import replace

import pytest
import torch
from torch import nn

import labkit as lk
from labkit.data import Images
from labkit.networks.training import SmallSet, TrainConfig, error, train


def test_error_counts_mistakes():
    class Always3(nn.Module):
        def forward(self, x):
            return torch.eye(10)[torch.full((len(x),), 3)]

    images = Images(torch.zeros(1_003, 3, 4, 4, dtype=torch.uint8), torch.arange(1_003) % 10)
    assert error(Always3(), images) == pytest.approx(1 - 100 / 1_003)


def test_training_learns_and_is_reproducible(space, data):
    architecture = space.architecture(["conv3x3"] * 5)
    config = TrainConfig(epochs=4, batch_size=32, seed=1)
    networks = [lk.derive(space, architecture, seed=1) for _ in range(2)]
    before = error(networks[0], data.test)
    first, again = (train(network, data, config) for network in networks)
    assert first == again and len(first) == 4
    assert before > 0.8 and error(networks[0], data.test) < 0.5 and first[-1]["loss"] < first[0]["loss"] / 1.5


def test_a_training_that_diverged_says_what_to_do(space, data):
    network = lk.derive(space, next(iter(space)))
    with pytest.raises(lk.InputError, match=r"diverged in epoch 0: its loss is nan; repeat it with an lr below 1e\+30"):
        train(network, data, TrainConfig(lr=1e30, epochs=1))


def test_a_small_set_is_learnt_in_smaller_batches(space, data):
    network = lk.derive(space, next(iter(space)))
    with pytest.warns(
        SmallSet, match="a batch of 2000 is more than the 1500 training images of glyphs: batches of 187"
    ):
        assert len(train(network, data, TrainConfig(batch_size=2_000, epochs=1))) == 1
    with pytest.raises(lk.InputError, match="2 images at least; glyphs has 1"):
        train(network, replace(data, train=data.train[:1]), TrainConfig())
    with pytest.raises(lk.InputError, match="at least 1 epoch and 2 images a batch"):
        TrainConfig(epochs=0)
