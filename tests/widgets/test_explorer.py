"""The frontier solver against brute force, and what it writes against what a browser needs."""

import base64
import itertools
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from labkit.system.errors import InputError
from labkit.widgets import explorer
from labkit.widgets.explorer import Scene, ScenePoint

OPS = ("conv5x5", "conv3x3", "maxpool3x3")


def additive_scene(seed: int = 0, layers: int = 5) -> Scene:
    """All 3 ** layers architectures: latencies add up, errors nearly so, 4 to 77 % and 0.1 to 0.4 ms."""
    rng = np.random.default_rng(seed)
    times = [dict(zip(OPS, np.sort(rng.uniform(0.015, 0.07, 3))[::-1])) for _ in range(layers)]
    gains = [dict(zip(OPS, np.sort(rng.uniform(0.0, 1.2, 3))[::-1])) for _ in range(layers)]
    points = []
    for ops in itertools.product(OPS, repeat=layers):
        parts = tuple(float(times[l][op]) for l, op in enumerate(ops))  # noqa: E741
        gain = sum(gains[l][op] for l, op in enumerate(ops))  # noqa: E741
        error = float(0.04 + 0.7 * np.exp(-gain) + rng.uniform(0, 0.03))
        points.append(ScenePoint(ops, error, 0.02 + sum(parts), parts))
    names = tuple(f"layer {i + 1}" for i in range(layers))
    return Scene("Five layers", names, tuple(points), 0.02, "test images", "sum of layers", "some laptop, batch 1")


def plain_scene(*pairs: tuple[float, float]) -> Scene:
    """One layer, one point for each (error, ms)."""
    points = tuple(ScenePoint(("conv3x3",), error, ms, (ms,)) for error, ms in pairs)
    return Scene("Plain", ("only",), points, 0.0, "made up", "made up", "none")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return additive_scene()


# ---- choosing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_choose_is_the_brute_force_argmin(seed):
    rng = np.random.default_rng(seed)
    pairs = [(round(e, 1), round(t, 1)) for e, t in zip(rng.uniform(0, 1, 60), rng.uniform(0.1, 2, 60))]  # many ties
    scene = plain_scene(*pairs)
    for weight, target in itertools.product((0, 0.1, 0.5, 1, 3, 100), (None, 0, 0.3, 1, 5)):
        costs = [e + weight * (t if target is None else max(0, t - target)) for e, t in pairs]
        least = [i for i, cost in enumerate(costs) if cost == min(costs)]
        fastest = [i for i in least if pairs[i][1] == min(pairs[j][1] for j in least)]
        assert explorer.choose(scene, weight, target) == fastest[0]


def test_an_infinite_weight_makes_the_target_a_deadline():
    scene = plain_scene((0.9, 1), (0.2, 3), (0.2, 2), (0.1, 5))
    for deadline, chosen in ((0.5, 0), (1, 0), (2, 2), (3, 2), (4.9, 2), (5, 3), (9, 3)):
        assert explorer.choose(scene, math.inf, deadline) == chosen
    assert explorer.describe(scene, 2, math.inf, 3).startswith("deadline 3.0")
    assert ", which none meets: 1.0" in explorer.describe(scene, 0, math.inf, 0.5)
    assert "Marked, deadline 3.0" in explorer.static_picture(scene, math.inf, 3)


def test_ties_go_to_the_faster_then_to_the_earlier():
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
def test_frontier_is_what_no_point_beats(seed):
    scene = additive_scene(seed, layers=4)

    def beaten(p):
        return any(q.error <= p.error and q.ms <= p.ms and (q.error, q.ms) != (p.error, p.ms) for q in scene.points)

    expected = {i for i, point in enumerate(scene.points) if not beaten(point)}
    found = explorer.frontier(scene)
    assert set(found) == expected and len(found) == len(expected)
    assert [scene.points[i].ms for i in found] == sorted(scene.points[i].ms for i in found)


@pytest.mark.parametrize("seed", range(5))
def test_reachable_is_what_a_dense_sweep_of_weights_chooses(seed):
    scene = additive_scene(seed, layers=4)
    swept = {explorer.choose(scene, weight) for weight in (0, *np.geomspace(1e-4, 1e4, 4000))}
    found = explorer.reachable(scene)
    assert swept == set(found)
    assert set(found) < set(explorer.frontier(scene))  # these scenes have dents


def test_a_point_in_a_dent_and_one_on_an_edge_are_not_reachable():
    assert explorer.reachable(plain_scene((0.9, 1), (0.7, 2), (0.1, 3))) == (0, 2)
    assert explorer.reachable(plain_scene((0.75, 1), (0.5, 2), (0.25, 3))) == (0, 2)
    assert explorer.reachable(plain_scene((0.75, 1), (0.25, 2), (0.125, 3))) == (0, 1, 2)


def test_scenes_with_one_winner():
    for scene in (plain_scene((0.5, 1)), plain_scene((0.5, 1), (0.5, 1)), plain_scene((0.0, 1), (0.9, 2))):
        assert explorer.frontier(scene) == explorer.reachable(scene) == (0,)
        assert {explorer.choose(scene, weight) for weight in explorer.weight_stops(scene)} == {0}
        assert len(explorer.weight_stops(scene)) > 30
        assert "alt=" in explorer.static_picture(scene)


# ---- stops ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 61, 200])
@pytest.mark.parametrize("seed", range(3))
def test_every_reachable_point_has_a_stop(seed, n):
    scene = additive_scene(seed)
    stops = explorer.weight_stops(scene, n)
    assert stops[0] == 0 and list(stops) == sorted(set(stops))
    assert {explorer.choose(scene, weight) for weight in stops} == set(explorer.reachable(scene))
    assert len(stops) <= n + len(explorer.reachable(scene))


def test_a_hair_thin_interval_has_a_stop():
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


# ---- scenes --------------------------------------------------------------------------------------------


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


# ---- words ---------------------------------------------------------------------------------------------


def test_a_choice_in_words():
    scene = plain_scene((0.0834, 0.2312), (0.5, 0.1))
    assert explorer.describe(scene, 0, 0.1) == "weight 0.10: 0.231 ms, error 8.3 %"
    assert explorer.describe(scene, 0, 0.1, 0.25) == "weight 0.10, target 0.250 ms: 0.231 ms, error 8.3 %"
    assert explorer.describe(scene, 0) == "by hand: 0.231 ms, error 8.3 %"


@pytest.mark.parametrize(
    ("weight", "text"), [(0, "0.0"), (0.1, "0.10"), (0.032, "0.032"), (0.0315, "0.0315"), (1.5, "1.5"), (240, "240")]
)
def test_weights_keep_two_digits(weight, text):
    assert explorer.weight_text(weight) == text


# ---- pages and pictures --------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Counts start tags and keeps the attributes of images."""

    def __init__(self, text: str):
        super().__init__()
        self.count: dict[str, int] = {}
        self.images: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag == "img":
            self.images.append(dict(attrs))


def svg_inside(html: str) -> str:
    (image,) = Tags(html).images
    return base64.b64decode(image["src"].removeprefix("data:image/svg+xml;base64,")).decode()


def test_the_page_is_one_small_file_that_asks_for_nothing(scene, tmp_path):
    path = explorer.to_html(scene, tmp_path / "page.html", weight=1.0)
    text = path.read_text(encoding="utf-8")
    assert len(scene.points) == 243 and path.stat().st_size <= 40 * 1024
    assert explorer.MODULE.read_text(encoding="utf-8") in text
    assert "default-src 'none'" in text
    for written in (text, svg_inside(text)):
        assert set(re.findall(r"https?://[^\s\"'<>]*", written)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(fetch|import|XMLHttpRequest|WebSocket)\b *\(", text)


def test_names_cannot_break_the_page(scene, tmp_path):
    nasty = "</script><img src=x onerror=alert(1)> & \" ' {module} {state}"
    scene = replace(scene, title=nasty, card=nasty, layers=(nasty, *scene.layers[1:]))
    text = explorer.to_html(scene, tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("</script>") == 2 and "<img src=x" not in text
    assert text.count("export function render") == 1


def test_the_module_is_small():
    assert explorer.MODULE.stat().st_size <= 15 * 1024


def test_the_static_picture_speaks(scene):
    html = explorer.static_picture(scene, 1.0)
    tags = Tags(html)
    assert tags.count["figure"] == tags.count["img"] == tags.count["table"] == 1
    assert tags.count["tr"] == len(scene.layers) + 3
    index = explorer.choose(scene, 1.0)
    assert explorer.describe(scene, index, 1.0) in tags.images[0]["alt"]
    assert "some laptop, batch 1" in html
    root = ElementTree.fromstring(svg_inside(html))
    assert root.tag.endswith("svg") and len(root.findall("{*}circle")) == 1


def test_the_static_picture_follows_weight_target_and_hand(scene):
    slowest = explorer.frontier(scene)[-1]
    pictures = {
        explorer.static_picture(scene, 0.0),
        explorer.static_picture(scene, 1e6),
        explorer.static_picture(scene, 1e6, scene.points[slowest].ms),
        explorer.static_picture(scene, selection=5),
    }
    assert len(pictures) == 4


@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
def test_axes_have_a_few_ticks_inside_the_span(scale):
    for values in ([0.1 * scale, 0.4 * scale], [scale], [0.0, scale]):
        axis = explorer.Axis.of(values)
        low, high = axis.span
        assert low <= min(values) and max(values) <= high
        assert 2 <= len(axis.ticks) <= 8 and all(low <= v <= high * (1 + 1e-9) for _, v in axis.ticks)
        assert len({text for text, _ in axis.ticks}) == len(axis.ticks)


def test_the_same_parts_in_another_order_take_exactly_as_long():
    """Else two equal latencies differ in their last bit, and the step between them is as steep as 1e13."""
    import labkit as lk

    space = lk.spaces.five_layer()
    table = lk.LatencyTable.load("five_layer-torch-b1")
    points = [lk.Point(a, i / 1_000, table.table_ms(a)) for i, a in enumerate(space)]
    ms = {}
    for point in explorer.scene_of(points, table, "t").points:
        ms.setdefault(tuple(sorted(point.parts_ms)), set()).add(point.ms)
    assert max(map(len, ms.values())) == 1
