"""Named choices over a picture: options, errors, text alternatives."""

import ipywidgets
import nbformat
import pytest
from matplotlib.figure import Figure

import labkit.widgets as widgets
from labkit import plots
from labkit.system.errors import InputError


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
    control = widgets.switch("height", [1, 2], figure, alt=lambda option: f'a line of "height" {option}')
    assert '<img alt="a line of &quot;height&quot; 1"' in control.html
    assert "<img" in control._repr_mimebundle_()[0]["text/html"]
    assert 'alt="a line"' in widgets.switch("height", [1], figure, alt="a line").html
    assert 'alt="its axes"' in widgets.switch("height", [1], lambda _: figure(1).axes[0], alt="its axes").html
    assert 'alt="a picture"' in widgets.switch("height", [1], lambda _: plots.picture(figure(1), "a picture")).html


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


def test_setting_a_switch_draws_and_an_unknown_option_is_refused():
    control = widgets.switch("runtime", {"one": 1, "two": 2}, draw)
    control.set("runtime", 2)
    assert control.value == 2 and control.html == "<p>2</p>"
    with pytest.raises(InputError, match="runtime is one of one, two; got 3"):
        control.value = 3
    assert control.html == "<p>2</p>"
