"""The static picture in a widget's mime bundle."""

from labkit.widgets.base import with_html


def test_the_picture_is_added_to_the_data_and_nothing_is_lost():
    view = {"application/x-view": 1}
    assert with_html(view, "<p>") == ({"application/x-view": 1, "text/html": "<p>"}, {})
    assert with_html((view, {"about": 2}), "<p>") == ({"application/x-view": 1, "text/html": "<p>"}, {"about": 2})
    assert view == {"application/x-view": 1}, "the widget's own bundle stays as it was"


def test_no_bundle_stays_none():
    assert with_html(None, "<p>") is None
