"""A scene refuses what cannot be drawn, and survives JSON."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import labkit as lk
from labkit.system.errors import InputError
from labkit.widgets import explorer
from labkit.widgets.explorer import Scene, ScenePoint


def test_a_scene_survives_json(scene):
    assert Scene.from_json(json.loads(json.dumps(scene.to_json()))) == scene


def test_numpy_numbers_become_json(scene):
    point = replace(scene.points[0], error=np.float32(0.5), parts_ms=tuple(map(np.float64, scene.points[0].parts_ms)))
    json.dumps(explorer.for_browser(replace(scene, points=(point,))))


GOOD = ScenePoint(("conv3x3", "conv5x5"), 0.5, 1.0, (0.3, 0.5))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": ()}, "at least one layer"),
        ({"points": ()}, "at least one point"),
        ({"overhead_ms": -0.1}, "overhead_ms"),
        ({"overhead_ms": math.nan}, "overhead_ms"),
        ({"points": (replace(GOOD, ops=("conv3x3",)),)}, "1 ops for 2 layers"),
        ({"points": (GOOD, replace(GOOD, parts_ms=(0.8,)))}, "point 1 has 1 parts_ms for 2 layers"),
        ({"points": (replace(GOOD, error=8.3),)}, "fraction"),
        ({"points": (replace(GOOD, error=math.nan),)}, "fraction"),
        ({"points": (replace(GOOD, error=None),)}, "fraction"),
        ({"points": (replace(GOOD, parts_ms=(0.9, -0.1)),)}, "none negative"),
        ({"points": (replace(GOOD, ms=0.0),)}, "positive latency"),
        ({"points": (replace(GOOD, ms=math.inf),)}, "positive latency"),
        ({"points": (replace(GOOD, ms=1.1),)}, "make ms their sum"),
    ],
)
def test_bad_scenes_are_refused(change, words):
    good = {"title": "t", "layers": ("a", "b"), "points": (GOOD,), "overhead_ms": 0.2}
    Scene(**good, error_from="e", latency_from="l", card="c")
    with pytest.raises(InputError, match=words) as refusal:
        Scene(**{**good, **change}, error_from="e", latency_from="l", card="c")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: [],
        lambda value: {**value, "kind": "table"},
        lambda value: {**value, "schema": 0},
        lambda value: {key: value[key] for key in value if key != "card"},
        lambda value: {**value, "ops": []},
        lambda value: {**value, "points": [[0.5]]},
        lambda value: {**value, "layers": None},
    ],
)
def test_damaged_json_is_refused(scene, damage):
    with pytest.raises(InputError, match="make it again"):
        Scene.from_json(damage(scene.to_json()))


def test_the_same_parts_in_another_order_take_exactly_as_long():
    """Else two equal latencies differ in their last bit, and the step between them is as steep as 1e13."""
    space = lk.spaces.five_layer()
    table = lk.LatencyTable.load("five_layer-torch-b1")
    points = [lk.Point(a, i / 1_000, table.table_ms(a)) for i, a in enumerate(space)]
    ms = {}
    for point in explorer.scene_of(points, table, "t").points:
        ms.setdefault(tuple(sorted(point.parts_ms)), set()).add(point.ms)
    assert max(map(len, ms.values())) == 1


def test_a_scene_of_points_has_the_parts_of_their_table(space, table):
    points = [lk.Point(a, i / 1_000, table.table_ms(a), "test images") for i, a in enumerate(space)][:5]
    scene = explorer.scene_of(points, table, "five")
    assert (scene.title, scene.error_from, scene.overhead_ms) == ("five", "test images", table.overhead_ms)
    for point, drawn in zip(points, scene.points, strict=True):
        assert (drawn.ops, drawn.error) == (point.architecture.ops, point.error)
        assert drawn.parts_ms == table.parts_ms(point.architecture)
        assert drawn.ms == pytest.approx(point.latency_ms)
    with pytest.raises(InputError, match="at least one point"):
        explorer.scene_of([], table, "none")


@pytest.mark.parametrize(("ms", "decimals"), [(0.2, 3), (2.0, 2), (20.0, 1), (200.0, 0), (2_000.0, 0)])
def test_the_slowest_point_has_three_digits(ms, decimals, plain_scene):
    """A part as long as the whole needs no more."""
    assert plain_scene((0.1, ms)).decimals == decimals


def test_small_parts_have_two_digits():
    point = ScenePoint(("a", "b", "c"), 0.1, 20.0, (0.011, 0.012, 19.977))
    assert Scene("t", ("x", "y", "z"), (point,), 0.0, "e", "l", "c").decimals == 3
