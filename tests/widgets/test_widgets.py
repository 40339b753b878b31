"""Every control over everything a reader can choose, without a browser; `browser/` has the drawing."""

import json

import ipywidgets
import nbformat
import pytest
import torch
from matplotlib.figure import Figure

import labkit as lk
import labkit.widgets as widgets
from labkit import plots
from labkit.latency.flips import Flips, Side
from labkit.oneshot import replays
from labkit.system.errors import InputError
from labkit.widgets import explorer
from labkit.widgets.explorer import Scene, ScenePoint


def small_scene() -> Scene:
    """Four points on the frontier, of which the second lies in a dent, and one beaten."""
    pairs = ((0.9, 1.0), (0.8, 2.0), (0.2, 3.0), (0.1, 5.0), (0.95, 4.0))
    points = tuple(ScenePoint((f"op{i}",), error, ms, (ms,)) for i, (error, ms) in enumerate(pairs))
    return Scene("Small", ("only",), points, 0.0, "made up", "made up", "none")


@pytest.fixture
def explored() -> widgets.Explorer:
    return widgets.explore(small_scene())


# ---- the explorer --------------------------------------------------------------------------------------


def test_the_selection_follows_the_weight(explored):
    for weight in (0, 0.2, 3):
        explored.weight = weight
        assert explored.selection == explorer.choose(explored.scene, weight)
        assert explored.architecture == (f"op{explored.selection}",)
    assert widgets.explore(explored.scene, weight=0).architecture == ("op3",)


def test_the_selection_follows_the_target(explored):
    explored.weight, explored.target_ms, explored.mode = 10, 2.0, "target"
    assert explored.selection == 1  # the point in the dent, which no weight chooses
    explored.mode = "weight"
    assert explored.selection == 0


def test_a_selection_by_hand_stays_until_another_mode(explored):
    explored.selection = 4
    assert explored.mode == "hand" and explored.architecture == ("op4",)
    explored.weight = 0
    assert explored.selection == 4
    explored.mode = "weight"
    assert explored.selection == 3


def test_what_the_browser_sends_is_taken_as_it_is(explored):
    explored.set_state({"weight": 0.0, "target_ms": 2.0, "mode": "hand", "selection": 1})
    assert (explored.mode, explored.selection, explored.weight) == ("hand", 1, 0.0)
    explored.set_state({"weight": 100.0, "target_ms": 2.0, "mode": "weight", "selection": 0})
    assert (explored.mode, explored.selection, explored.weight) == ("weight", 0, 100.0)


@pytest.mark.parametrize(("name", "value"), [("weight", -1), ("target_ms", -1), ("selection", 5), ("selection", -1)])
def test_impossible_values_are_refused(explored, name, value):
    with pytest.raises(InputError):
        setattr(explored, name, value)
    with pytest.raises(InputError):
        widgets.explore(explored.scene, weight=-1)


def test_the_explorer_leaves_a_picture(explored):
    data, _ = explored._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "<img" in data["text/html"] and 'alt="Small' in data["text/html"]
    explored.selection = 4
    assert "by hand" in explored.picture()
    explored.mode = "target"
    assert "target" in explored.picture()


def test_driving_the_explorer_leaves_it_as_it_was(explored):
    explored.selection = 1
    widgets.check_all(explored)
    assert (explored.mode, explored.selection) == ("hand", 1)


# ---- the switch ----------------------------------------------------------------------------------------


def draw(option) -> str:
    if option == "bad":
        raise KeyError("no <such> thing")
    return f"<p>{option}</p>"


def test_a_few_options_are_a_named_list():
    control = widgets.switch("runtime", ["torch", "onnx"], draw)
    assert control.value == "torch" and control.html == "<p>torch</p>"
    assert control.children[0].description == "runtime"
    control.value = "onnx"
    assert control.html == "<p>onnx</p>" and control.errors == ()


def test_many_options_get_a_slider_beside_the_list():
    control = widgets.switch("weight", range(30), draw, value=7)
    listed, slider = control.children[0].children
    assert listed.description == "weight"
    slider.index = 29
    assert control.value == 29 and control.html == "<p>29</p>"
    listed.value = 3
    assert slider.index == 3 and control.html == "<p>3</p>"
    widgets.check_all(control)


def test_names_may_differ_from_values():
    control = widgets.switch("network", {"the first": 1, "the second": 2}, draw, value=2)
    assert control.html == "<p>2</p>"


def test_the_first_error_is_the_cells():
    with pytest.raises(KeyError):
        widgets.switch("runtime", ["bad"], draw)


def test_a_later_error_is_shown_and_recorded():
    control = widgets.switch("runtime", ["good", "bad"], draw)
    control.value = "bad"
    assert 'role="alert"' in control.html and "&lt;such&gt;" in control.html
    (error,) = control.errors
    assert error["output_type"] == "error" and error["ename"] == "KeyError"
    control.value = "good"
    assert control.html == "<p>good</p>" and len(control.errors) == 1


def test_check_all_raises_what_a_callback_would_hide():
    control = widgets.switch("runtime", ["good", "bad"], draw)
    with pytest.raises(KeyError):
        control.check_all()
    with pytest.raises(KeyError):
        widgets.check_all(ipywidgets.VBox([ipywidgets.Label("text"), control]))
    assert control.html == "<p>good</p>"


def figure(option) -> Figure:
    made = Figure(figsize=(2, 1))
    made.subplots().plot([0, option])
    return made


def test_a_figure_becomes_an_image_with_its_text():
    control = widgets.switch("slope", [1, 2], figure, alt=lambda option: f'a line of "slope" {option}')
    assert '<img alt="a line of &quot;slope&quot; 1"' in control.html
    assert "<img" in control._repr_mimebundle_()[0]["text/html"]
    assert 'alt="a line"' in widgets.switch("slope", [1], figure, alt="a line").html
    assert 'alt="its axes"' in widgets.switch("slope", [1], lambda _: figure(1).axes[0], alt="its axes").html
    assert 'alt="a picture"' in widgets.switch("slope", [1], lambda _: plots.picture(figure(1), "a picture")).html


@pytest.mark.parametrize(
    ("options", "render", "value", "words"),
    [
        ([], draw, None, "at least one option"),
        (["a", "b"], draw, "c", "one of a, b"),
        (["a"], lambda option: None, None, "NoneType"),
        ([1], figure, None, "alt="),
    ],
)
def test_bad_switches_are_refused(options, render, value, words):
    with pytest.raises(InputError, match=words):
        widgets.switch("thing", options, render, value)


# ---- several controls over one picture -------------------------------------------------------------------

PAIR = {"letter": ["a", "b", "c"], "number": {"one": 1, "two": 2}}


def test_switches_draw_from_all_their_options_in_order():
    drawn = []
    both = widgets.switches(PAIR, lambda letter, number: drawn.append((letter, number)) or f"{letter}{number}")
    assert both.html == "a1" and both.values == {"letter": "a", "number": 1}
    both.set("number", 2)
    both.set("letter", "c")
    assert both.html == "c2" and drawn == [("a", 1), ("a", 2), ("c", 2)]
    assert [box.description for box in both.children[0].children] == ["letter", "number"]
    assert widgets.switches(PAIR, lambda *chosen: f"{chosen}", {"number": 2}).html == "('a', 2)"


def test_switches_are_checked_in_every_option_of_each():
    drawn = []
    widgets.switches(PAIR, lambda *chosen: drawn.append(chosen) or "").check_all()
    assert sorted(drawn[1:]) == sorted(set(drawn)) == [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 2)]
    three = PAIR | {"last": range(9)}
    widgets.switches(three, lambda *chosen: drawn.append(chosen) or "").check_all()
    assert {chosen[2] for chosen in drawn if len(chosen) == 3} == set(range(9))


def test_bad_switches_of_several_are_refused():
    with pytest.raises(InputError, match="letter, number; got 'colour'"):
        widgets.switches(PAIR, lambda *_: "", {"colour": 1})
    with pytest.raises(InputError, match="number is one of one, two; got 3"):
        widgets.switches(PAIR, lambda *_: "").set("number", 3)


CELL = """
from labkit import widgets
control = widgets.switch("runtime", ["good", "bad"], lambda option: {"good": "<p>fine</p>"}[option])
display(control)
control.value = "bad"
"""


@pytest.mark.notebooks
def test_a_headless_run_saves_the_error_of_a_callback():
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", store_widget_state=True)
    client.execute()
    state = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    outputs = [model["state"].get("outputs", []) for model in state.values() if model["model_name"] == "OutputModel"]
    assert [output["ename"] for found in outputs for output in found] == ["KeyError"]


def test_the_flip_explorer_knows_whether_two_swap():
    made = Flips(("w", "x", "y"), (Side("left", "a card", (1.0, 2.0, 3.0)), Side("right", "another", (2.0, 8.0, 1.0))))
    widget = widgets.FlipExplorer(made)
    assert widget.chosen == ("w", "x") and not widget.swapped
    widget.b = 2
    assert widget.swapped and widget.chosen == ("w", "y")
    assert "They swap: A is faster under left" in widget._repr_mimebundle_()[0]["text/html"]
    with pytest.raises(Exception, match="b is an index, 0 to 2; got 3"):
        widget.b = 3
    with pytest.raises(Exception, match="right is an index, 0 to 1; got 2"):
        widget.right = 2
    widget.check_all()
    assert widget.chosen == ("w", "y")


def a_log(space, steps: int = 6) -> list[dict]:
    """Layer 1 goes from even to its last candidate; the steps from the third on draw an architecture."""
    log = []
    for t in range(steps):
        probs = torch.full(space.mask.shape, 1 / 3)
        probs[0] = torch.tensor([1.0, 1.0, 1.0 + t]) / (3 + t)
        phase = "joint" if t >= 2 else "mixture"
        ms = 0.1 if phase == "joint" else None
        sampled = [2, 0, 1, 0, 1] if phase == "joint" else None
        row = {"phase": phase, "loss": 2.0 - t / 10, "expected_ms": ms, "sampled": sampled}
        log.append({**row, "probs": probs.flatten().tolist()})
    return log


def test_a_replay_says_what_each_step_knew_and_drew(space):
    made = replays.replay_of(a_log(space), space)
    assert made.words(0) == "Step 1 of 6, mixture: loss 2.00 nats."
    assert made.words(5) == "Step 6 of 6, joint: loss 1.50 nats, 0.100 ms expected."
    told = replays.replay_of([{**row, "drawn_ms": 0.2} for row in a_log(space)], space).words(5)
    assert told == "Step 6 of 6, joint: loss 1.50 nats, 0.100 ms expected, 0.200 ms drawn."
    assert made.favourite(5)[0] == space.slots[0][2] and made.favourite(0)[0] == space.slots[0][0]
    assert made.drawn(1) is None
    assert made.drawn(2) == tuple(slot[k] for slot, k in zip(space.slots, (2, 0, 1, 0, 1)))
    browser = json.loads(json.dumps(made.for_browser()))
    assert browser["names"] == [f"layer {s}" for s in range(1, 6)]
    assert browser["steps"][5]["probs"][0] == [0.125, 0.125, 0.75] and browser["steps"][5]["words"] == made.words(5)
    with pytest.raises(InputError, match="at least one step"):
        replays.replay_of([], space)
    with pytest.raises(InputError, match="15 probabilities a step"):
        replays.replay_of([{"probs": [1.0]}], space)


def test_the_replayer_draws_every_step_of_any_space(space):
    wide = lk.spaces.mobile("tiny")
    row = {"phase": "joint", "loss": 1.0, "expected_ms": 0.1, "probs": wide.mask.double().flatten().tolist()}
    for widget in (
        widgets.Replayer(replays.replay_of(a_log(space), space)),
        widgets.Replayer(replays.replay_of([row, row], wide)),  # a log of before the draws were kept
    ):
        last = widget.step
        widget.check_all()
        assert widget.step == last and len(widget.architecture) == len(widget.replay.slots)
        assert widget.replay.words(last) in widget._repr_mimebundle_()[0]["text/html"]
        with pytest.raises(Exception, match=rf"the steps are 0 to {last}; got {last + 1}"):
            widget.step = last + 1
