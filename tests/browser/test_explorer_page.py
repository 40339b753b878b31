"""The standalone page in Chromium, with the network off: what is drawn is what Python says."""

import base64
import itertools
import math
import statistics

import numpy as np
import pytest

from labkit.widgets import explorer
from labkit.widgets.explorer import Scene, ScenePoint

pytestmark = pytest.mark.browser

OPS = ("conv5x5", "conv3x3", "maxpool3x3")
GENEROUS_MS = 100  # measured: 2 ms on two cores

# Moves the weight slider to a stop as a reader does, and reads what was drawn
DRAG_TO = """(k) => {
  const range = document.querySelector(".lk .weight"), root = document.querySelector(".lk");
  range.value = k;
  range.dispatchEvent(new Event("input"));
  return [+root.dataset.weight, +root.dataset.choice, root.querySelector(".says").textContent];
}"""

# Notes when keys come, when the text has changed, and when that was in a frame
STOPWATCH = """() => {
  window.times = { keys: [], drawn: [], framed: [] };
  window.addEventListener("keydown", (event) => times.keys.push(event.timeStamp), true);
  new MutationObserver(() => {
    times.drawn.push(performance.now());
    requestAnimationFrame(() => setTimeout(() => times.framed.push(performance.now())));
  }).observe(document.querySelector(".lk .says"), { childList: true, characterData: true, subtree: true });
}"""

# Boxes of all words in the pictures, to see that none covers another or is cut off
WORDS = """() => [...document.querySelectorAll(".cloud > svg, .parts > svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim()).map((text) => {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    const inside = left >= frame.left - 1 && right <= frame.right + 1 && bottom <= frame.bottom + 1;
    return { text: text.textContent.trim(), left, right, top, bottom, inside };
  });
})"""


def full_scene() -> Scene:
    """The 243 architectures of the five-layer network, with made-up numbers of the right size."""
    rng = np.random.default_rng(1)
    stretch = rng.uniform(0.7, 1.35, 5)
    ms = [{op: float(t * s) for op, t in zip(OPS, (0.062, 0.038, 0.017))} for s in stretch]
    gain = {"conv5x5": 1.0, "conv3x3": 0.85, "maxpool3x3": 0.0}
    points = []
    for ops in itertools.product(OPS, repeat=5):
        parts = tuple(table[op] for table, op in zip(ms, ops))
        depth = sum(gain[op] * share for op, share in zip(ops, (1.2, 1.1, 0.9, 0.7, 0.6)))
        error = float(0.04 + 0.70 * np.exp(-1.05 * depth) + rng.uniform(0, 0.03))
        points.append(ScenePoint(ops, error, 0.021 + sum(parts), parts))
    layers = tuple(f"layer {i + 1}" for i in range(5))
    card = "some laptop, onnxruntime, float32, batch 1"
    return Scene("Five layers", layers, tuple(points), 0.021, "test images, 3 seeds", "sum of layers", card)


@pytest.fixture(scope="module")
def scene():
    return full_scene()


@pytest.fixture(scope="module")
def address(scene, tmp_path_factory):
    return explorer.to_html(scene, tmp_path_factory.mktemp("page") / "explorer.html").as_uri()


@pytest.fixture
def tab(address, open_tab):
    tab = open_tab(offline=True)
    tab.page.goto(address)
    tab.page.wait_for_selector(".lk[data-choice]")
    yield tab
    assert tab.complaints == []
    assert {url.split(":")[0] for url in tab.requests} <= {"file", "data"}


def test_the_page_chooses_what_python_chooses_at_every_stop(tab, scene):
    stops = explorer.weight_stops(scene)
    assert len(stops) >= 50
    for k, weight in enumerate(stops):
        choice = explorer.choose(scene, weight)
        assert tab.page.evaluate(DRAG_TO, k) == [weight, choice, explorer.describe(scene, choice, weight)]


def test_the_module_chooses_what_python_chooses_for_any_weight_and_target(open_tab, scene):
    module = base64.b64encode(explorer.MODULE.read_bytes()).decode()
    rng = np.random.default_rng(0)
    ms = [point.ms for point in scene.points]
    asked = [(float(w), None) for w in rng.lognormal(0, 3, 50)]
    asked += [(float(w), float(rng.uniform(min(ms), max(ms)))) for w in rng.lognormal(2, 3, 50)]
    asked += [(math.inf, float(t)) for t in (*rng.uniform(0.5 * min(ms), max(ms), 50), min(ms))]
    code = "([url, scene, asked]) => import(url).then((m) => asked.map(([w, t]) => m.choose(scene, w, t)))"
    found = open_tab(offline=True).page.evaluate(
        code, [f"data:text/javascript;base64,{module}", scene.to_json(), asked]
    )
    assert found == [explorer.choose(scene, weight, target) for weight, target in asked]


def test_keys_move_the_choice_and_the_picture_at_once(tab, capsys, tmp_path):
    page = tab.page
    page.evaluate(DRAG_TO, 0)
    page.locator(".lk .weight").focus()
    page.evaluate(STOPWATCH)
    before = page.locator(".lk").screenshot(path=tmp_path / "before.png")
    first, choices = page.locator(".lk").get_attribute("data-choice"), set()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(25)
        choices.add(page.locator(".lk").get_attribute("data-choice"))
    after = page.locator(".lk").screenshot(path=tmp_path / "after.png")
    assert len(choices | {first}) > 3 and before != after
    times = page.evaluate("window.times")
    assert len(times["keys"]) == len(times["drawn"]) == 40
    drawn = [end - start for start, end in zip(times["keys"], times["drawn"])]
    framed = [end - start for start, end in zip(times["keys"], times["framed"])]
    with capsys.disabled():
        print(
            f"\nkey to picture in the DOM: median {statistics.median(drawn):.1f} ms, worst {max(drawn):.1f} ms; "
            f"key to after the frame: median {statistics.median(framed):.1f} ms"
        )
    assert statistics.median(drawn) < GENEROUS_MS


def test_a_target_finds_points_that_no_weight_chooses(tab, scene):
    page, root = tab.page, tab.page.locator(".lk")
    page.get_by_label("weight and target").check()
    page.get_by_role("textbox", name="weight (error per ms)").fill(str(2 * explorer.filling_weight(scene)))
    page.get_by_label("target or deadline (ms)").focus()
    page.keyboard.press("Home")
    found = set()
    for _ in range(300):
        weight, target = (float(root.get_attribute(f"data-{name}")) for name in ("weight", "target"))
        choice = int(root.get_attribute("data-choice"))
        assert choice == explorer.choose(scene, weight, target)
        found.add(choice)
        page.keyboard.press("ArrowRight")
    assert found - set(explorer.reachable(scene)) and found <= set(explorer.frontier(scene))


def test_a_deadline_chooses_the_most_accurate_in_time(tab, scene):
    page, root = tab.page, tab.page.locator(".lk")
    page.get_by_role("radio", name="deadline").check()
    assert page.get_by_label("weight (error per ms)").first.is_hidden()
    page.get_by_label("target or deadline (ms)").focus()
    page.keyboard.press("Home")
    found = set()
    for _ in range(300):
        deadline, choice = float(root.get_attribute("data-target")), int(root.get_attribute("data-choice"))
        in_time = [point.error for point in scene.points if point.ms <= deadline]
        point = scene.points[choice]
        if in_time:
            assert point.ms <= deadline and point.error == min(in_time)
            found.add(choice)
        else:
            assert "which none meets" in page.locator(".says").inner_text()
        assert page.locator(".says").inner_text() == explorer.describe(scene, choice, math.inf, deadline)
        page.keyboard.press("ArrowRight")
    assert found <= set(explorer.frontier(scene)) and found - set(explorer.reachable(scene))


def test_a_click_and_the_keys_choose_by_hand(tab, scene):
    page, root = tab.page, tab.page.locator(".lk")
    page.get_by_label("hand: click a point").check()
    page.get_by_label("along the frontier").focus()
    page.keyboard.press("Home")
    walked = [int(root.get_attribute("data-choice"))]
    for _ in explorer.frontier(scene)[1:]:
        page.keyboard.press("ArrowRight")
        walked.append(int(root.get_attribute("data-choice")))
    assert tuple(walked) == explorer.frontier(scene)
    page.get_by_label("weight", exact=True).check()
    slowest = max(range(len(scene.points)), key=lambda i: scene.points[i].ms)  # alone at the right
    x, y = slowest_on_screen(page)
    page.mouse.click(x, y)
    assert root.get_attribute("data-mode") == "hand"
    assert int(root.get_attribute("data-choice")) == slowest
    assert page.locator(".says").text_content() == explorer.describe(scene, slowest)


def slowest_on_screen(page):
    """The right end of the cloud of dominated points, in page coordinates."""
    return page.evaluate("""() => {
      const svg = document.querySelector(".cloud svg").getBoundingClientRect();
      const places = [...document.querySelector(".dominated").getAttribute("d").matchAll(/M(\\S+) (\\S+)h/g)];
      const [x, y] = places.map((m) => [+m[1], +m[2]]).sort((a, b) => b[0] - a[0])[0];
      return [svg.left + x, svg.top + y];
    }""")


def test_it_speaks(tab, scene):
    page = tab.page
    _, _, words = page.evaluate(DRAG_TO, 20)
    slider = page.get_by_role("slider", name="weight (error per ms)")
    assert slider.get_attribute("aria-valuetext") == words
    heard = page.get_by_role("status")
    page.wait_for_function("words => document.querySelector('[role=status]').textContent.startsWith(words)", arg=words)
    page.evaluate(DRAG_TO, 45)
    assert heard.text_content().startswith(words)  # a reader who drags on is not talked to
    page.wait_for_timeout(400)
    assert " was " in heard.text_content()  # and then hears which layers changed
    page.get_by_text("Frontier as a table").click()
    page.get_by_role("row").first.wait_for()
    assert page.get_by_role("row").count() == 1 + len(explorer.frontier(scene))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [700, 800, 1100])
def test_no_words_overlap_or_are_cut(address, open_tab, tmp_path, width, theme):
    page = open_tab(width, offline=True, color_scheme=theme).page
    page.goto(address)
    page.wait_for_selector(".lk[data-choice]")
    for k in (0, 30, 60):
        page.evaluate(DRAG_TO, min(k, page.evaluate("+document.querySelector('.lk .weight').max")))
        words = page.evaluate(WORDS)
        assert [word["text"] for word in words if not word["inside"]] == []
        overlapping = [
            (a["text"], b["text"])
            for a, b in itertools.combinations(words, 2)
            if a["left"] < b["right"] and b["left"] < a["right"] and a["top"] < b["bottom"] and b["top"] < a["bottom"]
        ]
        assert overlapping == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.screenshot(path=tmp_path / f"{width}-{theme}.png", full_page=True)
