"""Two architectures that change places, in the widget."""

import pytest

import labkit.widgets as widgets
from labkit.latency.reversals import RankReversals, Side


def test_the_flip_explorer_knows_whether_two_swap():
    made = RankReversals(
        ("w", "x", "y"), (Side("left", "a card", (1.0, 2.0, 3.0)), Side("right", "another", (2.0, 8.0, 1.0)))
    )
    widget = widgets.ReversalExplorer(made)
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


def test_the_flip_explorer_begins_with_the_two_fastest_of_the_left():
    made = RankReversals(
        ("w", "x", "y"), (Side("left", "a card", (3.0, 1.0, 2.0)), Side("right", "another", (1.0, 2.0, 3.0)))
    )
    widget = widgets.ReversalExplorer(made)
    assert widget.chosen == ("x", "y") and (widget.left, widget.right) == (0, 1)
    assert not widget.swapped, "x is the faster on both sides"
    assert widget.data == made.for_browser()
    widget.left = 1
    assert not widget.swapped, "one table against itself"
