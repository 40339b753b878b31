"""Axes: round ticks inside the span, and a scale that is a straight line."""

import pytest

from labkit.widgets import explorer
from labkit.widgets.explorer.axes import axes_of


@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
def test_axes_have_a_few_ticks_inside_the_span(scale):
    for values in ([0.1 * scale, 0.4 * scale], [scale], [0.0, scale]):
        axis = explorer.Axis.of(values)
        low, high = axis.span
        assert low <= min(values) and max(values) <= high
        assert 2 <= len(axis.ticks) <= 8 and all(low <= v <= high * (1 + 1e-9) for _, v in axis.ticks)
        assert len({text for text, _ in axis.ticks}) == len(axis.ticks)


def test_a_scale_is_a_straight_line_between_its_ends():
    axis = explorer.Axis.of([1.0, 3.0])
    assert axis.span == pytest.approx((0.9, 3.1)), "5 % of room on both sides"
    scale = axis.between(100, 320)
    assert [scale(value) for value in (0.9, 2.0, 3.1)] == pytest.approx([100, 210, 320])
    upside_down = axis.between(320, 100)
    assert upside_down(2.0) == pytest.approx(210) and upside_down(0.9) == pytest.approx(320)


def test_ticks_say_their_values_at_one_two_or_five_times_a_power_of_ten():
    axis = explorer.Axis.of([0.1, 0.4])
    assert axis.ticks == (("0.1", 0.1), ("0.2", 0.2), ("0.3", 0.3), ("0.4", 0.4))
    assert [text for text, _ in explorer.Axis.of([0.1, 0.3]).ticks] == ["0.10", "0.15", "0.20", "0.25", "0.30"]
    assert [text for text, _ in explorer.Axis.of([0.0, 90.0]).ticks] == ["0", "20", "40", "60", "80"]


def test_the_axes_of_a_scene_are_milliseconds_and_percent(plain_scene):
    axes = axes_of(plain_scene((0.1, 1.0), (0.5, 3.0)))
    assert axes["ms"] == explorer.Axis.of([1.0, 3.0]) and axes["error"] == explorer.Axis.of([10.0, 50.0])
