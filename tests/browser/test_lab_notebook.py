"""Notebooks in JupyterLab in Chromium: Run All, then drag the explorer by its keys."""

import shutil
from pathlib import Path

import nbformat
import pytest

from labkit.widgets import explore
from labkit.widgets.explorer import Scene, ScenePoint

pytestmark = [pytest.mark.browser, pytest.mark.notebooks]

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
PAIR = (("conv3x3", 0.1), ("maxpool3x3", 0.7))
SOURCES = (
    """
import numpy as np
from labkit import widgets
from labkit.widgets.explorer import Scene, ScenePoint

rng = np.random.default_rng(0)
points = []
for i in range(20):
    ops = tuple(rng.choice(["conv5x5", "conv3x3", "maxpool3x3"], 3).tolist())
    parts = tuple(rng.uniform(0.02, 0.1, 3).tolist())
    error = 0.02 / sum(parts) + 0.1 * float(rng.uniform())
    points.append(ScenePoint(ops, error, 0.02 + sum(parts), parts))
scene = Scene("Twenty points", ("stem", "middle", "head"), tuple(points), 0.02, "made up", "made up", "no device")
chosen = widgets.explore(scene)
chosen
""",
    """
switch = widgets.switch("runtime", ["torch", "onnxruntime"], lambda name: f"<p>drawn by {name}</p>")
switch
""",
    "print('python has', chosen.selection, chosen.architecture)",
    """
from labkit.latency.reversals import RankReversals, Side

labels = tuple(f"net{i}" for i in range(30))
up, down = tuple(1.0 + i for i in range(30)), tuple(40.0 - i for i in range(30))
reversals = widgets.ReversalExplorer(RankReversals(labels, (Side("cpu", "made up", up), Side("gpu", "made up", down))))
reversals
""",
    "print('reversals', reversals.chosen, reversals.swapped)",
    """
from labkit.oneshot.replays import Replay

slots = (("a", "b"), ("a", "b"))
row = lambda t: {"phase": "joint", "loss": 2 - t, "expected_ms": 0.1, "sampled": [0, 1], "probs": [1 - t, t, 0.5, 0.5]}
replay = widgets.Replayer(Replay(slots, ("layer 1", "layer 2"), tuple(row(t / 10) for t in range(11))))
replay
""",
    "print('replay', replay.step, replay.architecture)",
)


@pytest.fixture(scope="module")
def tiny(lab):
    """A notebook of our own in the lab's folder: an explorer, a switch, and a cell that reads the choice."""
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in SOURCES]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=PYTHON), lab.folder / "tiny.ipynb")
    return "tiny.ipynb"


def drag(tab, tmp_path) -> str:
    """Press keys on the first explorer's slider until the choice has moved; the choice it came to."""
    page, root = tab.page, tab.page.locator(".lk").first
    root.wait_for(timeout=30_000)
    root.scroll_into_view_if_needed()
    root.locator(".weight").focus()
    page.keyboard.press("Home")
    first, before = root.get_attribute("data-choice"), root.screenshot(path=tmp_path / "before.png")
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    last, after = root.get_attribute("data-choice"), root.screenshot(path=tmp_path / "after.png")
    assert last != first and after != before
    return last


def check_nothing_failed(tab, tmp_path) -> None:
    tab.page.screenshot(path=tmp_path / "end.png", full_page=True)
    errors = tab.page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
    assert errors.all_text_contents() == []
    assert tab.foreign() == []


def test_drag_in_a_notebook_and_use_the_choice_in_the_next_cell(lab, tiny, open_tab, run_all, tmp_path):
    tab = open_tab(1200, 1400)
    run_all(tab, lab, tiny)
    choice = drag(tab, tmp_path)
    tab.page.wait_for_timeout(500)  # a choice is told to Python 150 ms after the last key
    cell = tab.page.locator(".jp-CodeCell", has_text="python has").first
    cell.locator(".cm-content").click()
    tab.page.keyboard.press("Alt+Enter")  # runs it and opens a new cell below
    cell.locator(".jp-OutputArea-output", has_text=f"python has {choice} (").wait_for(timeout=20_000)
    assert tab.page.locator(".lk").get_attribute("data-choice") == choice  # no echo has moved it back
    tab.page.keyboard.type("chosen.selection = 0")  # into the new cell: Python may choose as well
    tab.page.keyboard.press("Shift+Enter")
    tab.page.locator(".lk[data-choice='0'][data-mode=hand]").wait_for(timeout=20_000)
    check_nothing_failed(tab, tmp_path)


def test_without_a_kernel_the_static_picture_shows(lab, open_tab, tmp_path):
    points = tuple(ScenePoint((op,), error, 1.0 - error, (1.0 - error,)) for op, error in PAIR)
    scene = Scene("Two", ("only",), points, 0.0, "made up", "made up", "no device")
    data, metadata = explore(scene)._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    cell = nbformat.v4.new_code_cell("explore(scene)", outputs=[output], execution_count=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=PYTHON), lab.folder / "stored.ipynb")
    tab = open_tab(1200, 1400)
    tab.page.goto(lab.address("stored.ipynb"), wait_until="domcontentloaded")
    picture = tab.page.get_by_role("img", name="Two: latency against error of 2 architectures")
    picture.wait_for(timeout=60_000)
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 0
    tab.page.screenshot(path=tmp_path / "stored.png")
    assert tab.foreign() == []


def test_a_switch_has_a_name_and_redraws(lab, tiny, open_tab, run_all, tmp_path):
    tab = open_tab(1200, 1400)
    run_all(tab, lab, tiny)
    tab.page.get_by_text("drawn by torch").wait_for()
    tab.page.get_by_role("combobox", name="runtime").select_option("onnxruntime")
    tab.page.get_by_text("drawn by onnxruntime").wait_for(timeout=20_000)
    check_nothing_failed(tab, tmp_path)


def test_two_architectures_are_dragged_by_keys_and_by_pointer(lab, tiny, open_tab, run_all, tmp_path):
    tab = open_tab(1200, 1800)
    run_all(tab, lab, tiny)
    root = tab.page.locator(".lk-reversals")
    root.scroll_into_view_if_needed()
    root.get_by_text("They swap: A is faster under cpu, B under gpu.").wait_for()
    root.get_by_role("slider", name="A").focus()
    tab.page.keyboard.press("ArrowRight")  # a shortcut of JupyterLab's too
    assert root.get_attribute("data-choice").startswith("net1 ")
    tab.page.keyboard.press("End")
    root.get_by_text("They swap: B is faster under cpu, A under gpu.").wait_for()
    assert root.get_attribute("data-choice") == "net29 net1"
    handle, plot = root.locator("rect.dot-b").first.bounding_box(), root.locator("svg").bounding_box()
    tab.page.mouse.move(handle["x"] + 4, handle["y"] + 4)
    tab.page.mouse.down()
    tab.page.mouse.move(handle["x"] + 4, plot["y"] + plot["height"] / 2, steps=5)
    tab.page.mouse.up()
    assert root.get_attribute("data-choice") in {f"net29 net{i}" for i in range(12, 17)}, "half-way down"
    root.get_by_label("right").select_option("cpu")
    root.get_by_text("No swap: B is faster on both.").wait_for()
    root.screenshot(path=tmp_path / "reversals.png")
    check_nothing_failed(tab, tmp_path)


def test_a_search_is_scrubbed_and_played(lab, tiny, open_tab, run_all, tmp_path):
    tab = open_tab(1200, 1800)
    run_all(tab, lab, tiny)
    root = tab.page.locator(".lk-replay")
    root.scroll_into_view_if_needed()
    root.get_by_text("Step 11 of 11, joint: loss 1.00 nats, 0.100 ms expected.").wait_for()
    width = lambda: [float(bar.get_attribute("width")) for bar in root.locator(".share").all()[:2]]
    assert width()[0] == 0 < width()[1]
    root.get_by_role("slider", name="step").focus()
    tab.page.keyboard.press("Home")
    root.get_by_text("Step 1 of 11, joint: loss 2.00 nats").wait_for()
    assert width()[1] == 0 < width()[0]
    tab.page.keyboard.press("ArrowRight")
    root.get_by_text("Step 2 of 11").wait_for()
    root.get_by_role("button", name="play").click()
    root.get_by_text("Step 11 of 11").wait_for(timeout=10_000)
    root.get_by_role("button", name="play").wait_for()  # it stops by itself
    root.screenshot(path=tmp_path / "replay.png")
    check_nothing_failed(tab, tmp_path)


def test_drag_in_the_notebook_of_the_frontier(lab, open_tab, run_all, tmp_path):
    found = sorted(NOTEBOOKS.glob("06_*.ipynb"))
    if not found:
        pytest.skip(f"there is no 06_*.ipynb in {NOTEBOOKS.name}/ yet")
    shutil.copy(found[0], lab.folder)  # autosave must not touch the original
    tab = open_tab(1200, 1400)
    run_all(tab, lab, found[0].name, limit_s=180)
    drag(tab, tmp_path)
    check_nothing_failed(tab, tmp_path)
