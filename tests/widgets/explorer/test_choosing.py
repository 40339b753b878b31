"""What a weight, a target or a deadline chooses, against brute force."""

import itertools
import math

import numpy as np
import pytest

from labkit.system.errors import InputError
from labkit.widgets import explorer
from labkit.widgets.explorer import choosing


@pytest.mark.parametrize("seed", range(3))
def test_choose_is_the_brute_force_argmin(seed, plain_scene):
    rng = np.random.default_rng(seed)
    pairs = [(round(e, 1), round(t, 1)) for e, t in zip(rng.uniform(0, 1, 60), rng.uniform(0.1, 2, 60))]  # many ties
    scene = plain_scene(*pairs)
    for weight, target in itertools.product((0, 0.1, 0.5, 1, 3, 100), (None, 0, 0.3, 1, 5)):
        costs = [e + weight * (t if target is None else max(0, t - target)) for e, t in pairs]
        least = [i for i, cost in enumerate(costs) if cost == min(costs)]
        fastest = [i for i in least if pairs[i][1] == min(pairs[j][1] for j in least)]
        assert explorer.choose(scene, weight, target) == fastest[0]


def test_an_infinite_weight_makes_the_target_a_deadline(plain_scene):
    scene = plain_scene((0.9, 1), (0.2, 3), (0.2, 2), (0.1, 5))
    for deadline, chosen in ((0.5, 0), (1, 0), (2, 2), (3, 2), (4.9, 2), (5, 3), (9, 3)):
        assert explorer.choose(scene, math.inf, deadline) == chosen
    assert explorer.describe(scene, 2, math.inf, 3).startswith("deadline 3.0")
    assert ", which none meets: 1.0" in explorer.describe(scene, 0, math.inf, 0.5)
    assert "Marked, deadline 3.0" in explorer.static_picture(scene, math.inf, 3)


def test_ties_go_to_the_faster_then_to_the_earlier(plain_scene):
    assert explorer.choose(plain_scene((0.2, 2), (0.2, 1), (0.2, 1)), 0) == 1


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, "0.1", None])
def test_a_weight_is_a_finite_number_from_0(scene, weight):
    with pytest.raises(InputError, match="latency weight"):
        explorer.choose(scene, weight)


@pytest.mark.parametrize("target", [-1, math.nan, "fast"])
def test_a_target_is_a_finite_number_from_0(scene, target):
    with pytest.raises(InputError, match="target"):
        explorer.choose(scene, 1, target)


@pytest.mark.parametrize("seed", range(5))
def test_frontier_is_what_no_point_beats(seed, additive_scene):
    scene = additive_scene(seed, layers=4)

    def beaten(p):
        return any(q.error <= p.error and q.ms <= p.ms and (q.error, q.ms) != (p.error, p.ms) for q in scene.points)

    expected = {i for i, point in enumerate(scene.points) if not beaten(point)}
    found = explorer.frontier(scene)
    assert set(found) == expected and len(found) == len(expected)
    assert [scene.points[i].ms for i in found] == sorted(scene.points[i].ms for i in found)


@pytest.mark.parametrize("seed", range(5))
def test_reachable_is_what_a_dense_sweep_of_weights_chooses(seed, additive_scene):
    scene = additive_scene(seed, layers=4)
    swept = {explorer.choose(scene, weight) for weight in (0, *np.geomspace(1e-4, 1e4, 4000))}
    found = explorer.reachable(scene)
    assert swept == set(found)
    assert set(found) < set(explorer.frontier(scene))  # these scenes have dents


def test_a_point_in_a_dent_and_one_on_an_edge_are_not_reachable(plain_scene):
    assert explorer.reachable(plain_scene((0.9, 1), (0.7, 2), (0.1, 3))) == (0, 2)
    assert explorer.reachable(plain_scene((0.75, 1), (0.5, 2), (0.25, 3))) == (0, 2)
    assert explorer.reachable(plain_scene((0.75, 1), (0.25, 2), (0.125, 3))) == (0, 1, 2)


def test_scenes_with_one_winner(plain_scene):
    for scene in (plain_scene((0.5, 1)), plain_scene((0.5, 1), (0.5, 1)), plain_scene((0.0, 1), (0.9, 2))):
        assert explorer.frontier(scene) == explorer.reachable(scene) == (0,)
        assert {explorer.choose(scene, weight) for weight in explorer.weight_stops(scene)} == {0}
        assert len(explorer.weight_stops(scene)) > 30
        assert "alt=" in explorer.static_picture(scene)


@pytest.mark.parametrize("n", [2, 5, 61, 200])
@pytest.mark.parametrize("seed", range(3))
def test_every_reachable_point_has_a_stop(seed, n, additive_scene):
    scene = additive_scene(seed)
    stops = explorer.weight_stops(scene, n)
    assert stops[0] == 0 and list(stops) == sorted(set(stops))
    assert {explorer.choose(scene, weight) for weight in stops} == set(explorer.reachable(scene))
    assert len(stops) <= n + len(explorer.reachable(scene))
    fast, slow = (scene.points[i] for i in explorer.reachable(scene)[:2])
    first = abs(
        (slow.error - fast.error) / (slow.ms - fast.ms)
    )  # the weight at which the choice changes for the last time
    if n > 2:
        top = min(max(4 * first, 1.1 * explorer.filling_weight(scene)), 16 * first)
        assert stops[-1] == pytest.approx(top, rel=0.06), "the slider ends not far beyond"


def test_a_hair_thin_interval_has_a_stop(plain_scene):
    scene = plain_scene((0.9, 1), (0.5, 2), (0.1 + 1e-9, 3), (0.05, 4))
    assert len(explorer.reachable(scene)) == 4
    assert {explorer.choose(scene, w) for w in explorer.weight_stops(scene, 10)} == {0, 1, 2, 3}


def test_too_few_stops(scene):
    with pytest.raises(InputError, match="at least 2"):
        explorer.weight_stops(scene, 1)


def test_a_heavy_target_fills_the_dents_and_a_light_one_does_not(scene):
    edge, enough = explorer.frontier(scene), explorer.filling_weight(scene)
    found = [explorer.choose(scene, 1.001 * enough, scene.points[i].ms) for i in edge]
    assert tuple(found) == edge
    light = explorer.weight_stops(scene)[1]
    assert {explorer.choose(scene, light, scene.points[i].ms) for i in edge} < set(edge)


def test_the_default_weight_is_a_stop_that_chooses_the_middle(scene):
    points = explorer.reachable(scene)
    assert explorer.default_weight(scene) in explorer.weight_stops(scene)
    assert explorer.choose(scene, explorer.default_weight(scene)) == points[len(points) // 2]


def test_a_choice_in_words(plain_scene):
    scene = plain_scene((0.0834, 0.2312), (0.5, 0.1))
    assert explorer.describe(scene, 0, 0.1) == "weight 0.10: 0.231 ms, error 8.3 %"
    assert explorer.describe(scene, 0, 0.1, 0.25) == "weight 0.10, target 0.250 ms: 0.231 ms, error 8.3 %"
    assert explorer.describe(scene, 0) == "by hand: 0.231 ms, error 8.3 %"


@pytest.mark.parametrize(
    ("weight", "text"), [(0, "0.0"), (0.1, "0.10"), (0.032, "0.032"), (0.0315, "0.0315"), (1.5, "1.5"), (240, "240")]
)
def test_weights_keep_two_digits(weight, text):
    assert explorer.weight_text(weight) == text


def test_the_default_target_is_the_latency_of_the_middle_of_the_frontier(scene):
    times = sorted(scene.points[i].ms for i in explorer.frontier(scene))
    assert explorer.default_target(scene) == times[len(times) // 2]


def test_the_filling_weight_is_the_steepest_step(plain_scene):
    """By hand: steps of 0.2 in 1 ms, 0.5 in 2 ms and 0.05 in 1 ms."""
    scene = plain_scene((0.9, 1.0), (0.7, 2.0), (0.2, 4.0), (0.15, 5.0))
    assert explorer.filling_weight(scene) == pytest.approx(0.25)
    assert explorer.filling_weight(plain_scene((0.5, 1.0))) == 0


def test_numbers_are_rounded_to_significant_digits():
    assert [choosing.rounded(0.012346, d) for d in (1, 2, 4)] == [0.01, 0.012, 0.01235] and choosing.rounded(0, 2) == 0
