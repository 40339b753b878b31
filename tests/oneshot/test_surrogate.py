"""The network to train next, against brute force, and against random choice on planted errors with training noise."""

import itertools
import statistics

import numpy as np
import pytest
import torch

from labkit import spaces
from labkit.blackbox.model import expected_improvement
from labkit.estimators.distributions import ArchDistribution
from labkit.latency.distribution import LatencyDistribution, LatencyModel
from labkit.latency.table import LatencyTable
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.surrogate import Surrogate, as_rows, at_random, next_networks


@pytest.fixture(scope="module")
def large():
    """A space of 5.7 million networks and a recorded table of it."""
    space = spaces.by_name("mobile-tiny")
    return space, LatencyTable.load("cpu-amd-epyc-2-cores/mobile-tiny-onnxruntime-b1")


def planted(space, seed, noise):
    """True errors of any network, and errors as one training gives them: parts, pairs of neighbours, and noise."""
    draw = np.random.default_rng(seed)
    n, k = len(space.slots), max(map(len, space.slots))
    alone, pairs = draw.normal(0, 0.008, (n, k)), draw.normal(0, 0.004, (n - 1, k, k))
    lucky = np.random.default_rng(seed + 1_000)

    def true(network):
        (row,) = as_rows(space, [network])
        return (
            0.37
            + sum(alone[s, c] for s, c in enumerate(row))
            + sum(pairs[s, a, b] for s, (a, b) in enumerate(itertools.pairwise(row)))
        )

    return true, lambda network: true(network) + lucky.normal(0, noise)


def test_rows_are_indices_of_candidates(space):
    for i in (0, 100, 242):
        assert (as_rows(space, [space[i]])[0] == space.encode(space[i]).argmax(-1).numpy()).all()


def test_the_next_network_is_the_one_of_brute_force(space, table):
    """Over all 243: the largest expected improvement among those in time that are not trained."""
    _, trains = planted(space, 0, 0.002)
    some = space.sample(14, torch.Generator().manual_seed(5))
    trained = [(a, trains(a)) for a in dict.fromkeys(some)]
    surrogate = Surrogate.of(space, trained)
    low, high = table.range_ms()
    for config in (SearchConfig(deadline_ms=low + 0.6 * (high - low)), SearchConfig(latency_weight=0.1)):
        (found,) = next_networks(surrogate, [config], table, 1)
        gains = improvements(surrogate, config, table, [a for a, _ in trained])
        assert found == max((a for a in gains if a not in dict(trained)), key=gains.__getitem__)
        assert gains[found] > 1.2 * statistics.median(gains.values()), "negative control: others are worse"


def improvements(surrogate, config, table, trained):
    """The expected improvement of every network in time, one by one."""
    cost = {a: (config.latency_weight or 0.0) * table.table_ms(a) for a in surrogate.space}
    in_time = [a for a in cost if config.deadline_ms is None or table.table_ms(a) <= config.deadline_ms]
    mean = {a: surrogate.predict([a])[0][0] + cost[a] for a in in_time}
    least = min(mean[a] for a in trained if a in mean)
    return {a: expected_improvement(mean[a], surrogate.predict([a])[1], least)[0] for a in in_time}


def test_a_batch_has_different_networks_in_time_for_each_result_in_turn(large):
    space, table = large
    _, trains = planted(space, 1, 0.005)
    surrogate = Surrogate.of(space, [(a, trains(a)) for a in space.sample(12, torch.Generator().manual_seed(0))])
    configs = [SearchConfig(deadline_ms=0.1), SearchConfig(deadline_ms=0.2)]
    found = next_networks(surrogate, configs, table, 6, seed=3)
    assert len(set(found)) == 6 and found == next_networks(surrogate, configs, table, 6, seed=3)
    for a, config in zip(found, configs * 3):
        assert table.table_ms(a) <= config.deadline_ms
    taken = next_networks(surrogate, configs, table, 1, taken=set(found), seed=3)
    assert not set(taken) & set(found)


def test_random_networks_are_just_inside_each_limit_in_turn_and_uniform(large):
    space, table = large
    configs = [SearchConfig(deadline_ms=0.1), SearchConfig(deadline_ms=0.2)]
    found = at_random(space, configs, table, 40, seed=1)
    assert len(set(found)) == 40 and found == at_random(space, configs, table, 40, seed=1)
    assert found != at_random(space, configs, table, 40, seed=2)
    for a, config in zip(found, configs * 20):
        assert 0.9 * config.deadline_ms <= table.table_ms(a) <= config.deadline_ms
    assert not set(at_random(space, configs, table, 5, taken=set(found), seed=1)) & set(found)
    assert len({a.ops[0] for a in found}) >= 5, "no candidate is left out"


def test_a_network_that_takes_the_limit_to_the_bit_is_in_time(space, table):
    """Only one network is in time, and it takes exactly what is allowed."""
    fastest = min(space, key=table.table_ms)
    trained = [(a, 0.1) for a in space.sample(9, torch.Generator().manual_seed(1)) if a != fastest][:6]
    config = SearchConfig(deadline_ms=table.table_ms(fastest))
    assert next_networks(Surrogate.of(space, trained), [config], table, 2) == [fastest]


def test_nothing_is_chosen_where_everything_is_trained(space, table):
    surrogate = Surrogate.of(space, [(a, 0.1 + 0.001 * i) for i, a in enumerate(space)])
    assert next_networks(surrogate, [SearchConfig()], table, 3) == []


def test_it_beats_random_choice_at_equal_trainings(large):
    """36 trainings under a deadline: 12 random and 24 chosen, against the best of 36 random by their noisy errors."""
    space, table = large
    config, gains = SearchConfig(deadline_ms=0.18), []
    spread = LatencyDistribution(LatencyModel(table), ArchDistribution(space).probs())
    for seed in range(6):
        true, trains = planted(space, seed, 0.008)
        random = spread.draw(space, 36, 0.162, 0.18, torch.Generator().manual_seed(seed))
        luck = {a: trains(a) for a in random}
        trained = [(a, luck[a]) for a in random[:12]]
        while len(trained) < 36:
            more = next_networks(Surrogate.of(space, trained), [config], table, 4, seed=seed)
            trained += [(a, trains(a)) for a in more]
        networks = [a for a, _ in trained]
        predicted, _ = Surrogate.of(space, trained).predict(networks)
        ours = true(networks[int(predicted.argmin())])
        theirs = true(min(random, key=luck.__getitem__))
        gains.append(theirs - ours)
    assert statistics.median(gains) > 0.01 and sum(gain > 0 for gain in gains) >= 5, gains
