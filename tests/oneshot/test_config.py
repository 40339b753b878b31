"""Settings of a search and of its second stage."""

import json
from dataclasses import asdict

import pytest

import labkit as lk
from labkit.networks.training import TrainConfig
from labkit.oneshot.config import SearchConfig, SelectionConfig


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"estimator": "magic"}, "estimators are unas"),
        ({"task_cost": "accuracy"}, "a task costs cross-entropy or error; got 'accuracy'"),
        ({"latency_weight": -1.0}, "at least 0"),
        ({"target_ms": 0.0}, "positive number of milliseconds"),
        ({"joint_steps": -1}, "at least 0"),
    ],
)
def test_wrong_configs_are_refused(changes, says):
    with pytest.raises(lk.InputError, match=says):
        SearchConfig(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gap": "mean"}, "a gap is batch or paired"),
        ({"weights_on": "soft"}, "weights learn on auto, relaxed, one-hot"),
        ({"architectures": 3}, "a divisor of 128; got 3"),
        ({"architectures": 0}, "a divisor of 128; got 0"),
        ({"estimator": "reinforce-leave-one-out"}, "at least 2 architectures; got 1"),
        ({"estimator": "gumbel", "control_scale": 0.5}, "only unas and rebar have a control to scale; got 'gumbel'"),
        ({"softening": -0.1}, "softening at least 0"),
        ({"control_scale": float("nan")}, "a finite number"),
        ({"weight_average": 1.5}, "a share of the steps, from 0 to 1; got 1.5"),
        ({"logit_lr_end": 0.0}, "above 0 and at most 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, says):
    with pytest.raises(lk.InputError, match=says):
        SearchConfig(**changes)


def test_its_configuration_outlives_a_run():
    for config in (SelectionConfig(), SelectionConfig.fast()):
        assert SelectionConfig.from_json(json.loads(json.dumps(asdict(config)))) == config


def test_what_suits_a_space_is_the_defaults_but_for_a_dearer_one():
    assert SearchConfig.preset("five_layer", seed=3) == SearchConfig(seed=3)
    assert SelectionConfig.preset("five_layer") == SelectionConfig()
    mobile = SearchConfig.preset("mobile-tiny", latency_weight=0.5)
    assert mobile == SearchConfig(batch_size=64, latency_weight=0.5)
    assert SearchConfig.preset("mobile-tiny", batch_size=32).batch_size == 32, "what is asked for wins"
    assert SearchConfig.preset("mobile-tiny", fast=True).joint_steps == SearchConfig.fast().joint_steps
    trained = {"rungs": 0, "finalists": 10, "surrogate": 14, "again": 2}
    for space in ("mobile-tiny", "edge"):
        assert SelectionConfig.preset(space) == SelectionConfig(**trained, final=TrainConfig(epochs=10))


def test_of_two_limits_the_earlier_one_holds():
    both = SearchConfig(deadline_ms=2.0, target_ms=1.5)
    assert both.limit_ms == 1.5 and SearchConfig(deadline_ms=1.0, target_ms=1.5).limit_ms == 1.0
    priced = SearchConfig(deadline_ms=2.0, target_ms=1.5, latency_weight=0.1)
    assert priced.limit_ms == 2.0, "a target with a weight is a price"
    assert SearchConfig(latency_weight=0.1).limit_ms is None and SearchConfig(target_ms=1.5).limit_ms == 1.5
