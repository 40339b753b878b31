"""The page is one file that asks for nothing, whatever its names hold."""

import json
import re
from dataclasses import replace

import pytest

from labkit.system.errors import InputError
from labkit.widgets import explorer
from labkit.widgets.explorer import Scene


def test_the_page_is_one_small_file_that_asks_for_nothing(scene, tmp_path, svg_inside):
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


def state_of(page):
    """The JSON that the page's script reads, as a browser would."""
    return json.loads(re.search(r'<script type="application/json" id="state">(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_begins_with_the_choice_of_its_weight(scene, tmp_path):
    state = state_of(explorer.to_html(scene, tmp_path / "page.html", 0.5).read_text(encoding="utf-8"))
    assert (state["weight"], state["mode"]) == (0.5, "weight")
    assert state["selection"] == explorer.choose(scene, 0.5)
    assert state["target_ms"] == explorer.default_target(scene)
    assert Scene.from_json(state["data"]) == scene
    middle = state_of(explorer.to_html(scene, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert middle["weight"] == explorer.default_weight(scene)
    with pytest.raises(InputError, match="latency weight"):
        explorer.to_html(scene, tmp_path / "page.html", -1)


def test_nasty_names_reach_the_browser_as_they_are(scene, tmp_path):
    nasty = "</script><!-- & \" ' \u2028 {{ module }}"
    text = explorer.to_html(replace(scene, title=nasty), tmp_path / "page.html").read_text(encoding="utf-8")
    assert state_of(text)["data"]["title"] == nasty
    assert "<title>&lt;/script&gt;" in text


def test_the_browser_gets_what_a_drag_does_not_change(scene):
    data = explorer.for_browser(scene)
    assert data["stops"] == list(explorer.weight_stops(scene)) and data["decimals"] == scene.decimals
    assert data["frontier"] == list(explorer.frontier(scene)) and data["reachable"] == list(explorer.reachable(scene))
    (low, high), ticks = data["axes"]["ms"]["span"], data["axes"]["ms"]["ticks"]
    assert low <= min(point.ms for point in scene.points) and max(point.ms for point in scene.points) <= high
    assert all(float(text) == pytest.approx(value) for text, value in ticks)
