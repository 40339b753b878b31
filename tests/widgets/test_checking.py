"""Every widget inside a box is driven, and the first error comes out."""

import ipywidgets
import pytest

import labkit.widgets as widgets


def switch(drawn):
    return widgets.switch(
        "letter", ["a", "b", "bad"], lambda option: drawn.append(option) or {"a": "A", "b": "B"}[option]
    )


def test_widgets_are_found_at_any_depth():
    drawn = []
    control = widgets.switch("letter", ["a", "b"], lambda option: drawn.append(option) or option)
    drawn.clear()
    widgets.check_all(ipywidgets.VBox([ipywidgets.Label("text"), ipywidgets.HBox([control])]))
    assert sorted(set(drawn)) == ["a", "b"]


def test_the_first_error_comes_out():
    control = widgets.switch("letter", ["a", "bad"], {"a": "A"}.__getitem__)
    with pytest.raises(KeyError, match="bad"):
        widgets.check_all(ipywidgets.VBox([control]))


def test_a_widget_without_options_passes():
    widgets.check_all(ipywidgets.Label("text"))
