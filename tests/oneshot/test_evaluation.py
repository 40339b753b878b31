"""Errors of architectures on shared weights."""

from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit import SearchConfig, evaluate
from labkit.networks.training import error
from labkit.system.errors import InputError

TINY = SearchConfig(
    mixture_steps=3, weight_steps=2, joint_steps=3, batch_size=16, evaluation_images=100, calibration_images=64
)


def test_judging_equals_the_derived_network_with_its_own_statistics(space, data, table, generator):
    """The tree of shared beginnings against one network at a time."""
    supernet = lk.search(lk.Supernet(space), data, table, replace(TINY, mixture_steps=30)).supernet
    wanted = space.sample(5, generator)
    config = replace(TINY, calibration_images=128, evaluation_images=300)
    for point in evaluate(supernet, wanted, data, table, config):
        network = lk.derive(supernet, point.architecture)
        for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.momentum = 1.0
        with torch.no_grad():
            network.train()(next(data.train.batches(128))[0])
        assert point.error == pytest.approx(error(network, data.valid[:300]), abs=2 / 300)


def test_judging_with_running_averages_is_the_derived_network_as_it_is(space, data, table, generator):
    supernet = lk.search(lk.Supernet(space), data, table, replace(TINY, mixture_steps=30)).supernet
    config = replace(TINY, evaluation_images=300)
    points = evaluate(supernet, space.sample(5, generator), data, table, config, statistics="running")
    for point in points:
        assert point.error == pytest.approx(
            error(lk.derive(supernet, point.architecture), data.valid[:300]), abs=2 / 300
        )
    with pytest.raises(InputError, match="'re-estimated' or 'running'; got 'old'"):
        evaluate(supernet, space, data, table, config, statistics="old")
