"""The explorer without a browser: choices, modes, refusals; `browser/` has the drawing."""

import pytest

import labkit as lk
import labkit.widgets as widgets
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


def test_a_deadline_is_met_or_the_fastest_is_chosen(explored):
    explored.mode = "deadline"
    for deadline, chosen in ((5.0, 3), (4.9, 2), (2.0, 1), (0.5, 0)):
        explored.target_ms = deadline
        assert explored.selection == chosen and explored.point.error == small_scene().points[chosen].error
    assert "deadline 0.5" in explored.picture()


def test_the_explorer_is_named_in_the_faces():
    assert lk.widgets.explorer.Scene is Scene and lk.widgets.explore is widgets.explore
    assert "explorer" in dir(lk.widgets)
