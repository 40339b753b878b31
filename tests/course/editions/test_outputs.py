"""Which outputs may be stored."""

from nbformat.v4 import new_output

from labkit.course.editions import outputs


def test_printed_text_stays_and_warnings_go():
    text = new_output("stream", name="stdout", text="seen")
    assert outputs.static_output(text) == text
    assert outputs.static_output(new_output("stream", name="stderr", text="a warning")) is None
    assert outputs.static_output(new_output("error", ename="E", evalue="", traceback=[])) is None


def test_a_widget_leaves_its_html_and_nothing_without():
    view = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "Box()"}
    assert outputs.static_output(new_output("display_data", view)) is None
    kept = outputs.static_output(new_output("display_data", {**view, "text/html": "<p>"}))
    assert dict(kept.data) == {"text/html": "<p>", "text/plain": "Box()"}


def test_a_picture_needs_a_text_and_keeps_no_other_metadata():
    data = {"image/png": "aGk=", "text/plain": "<Figure>"}
    assert outputs.static_output(new_output("display_data", data)) is None
    assert outputs.static_output(new_output("display_data", data, metadata={"image/png": {"alt": ""}})) is None
    about = {"image/png": {"alt": "seen", "width": 3}, "isolated": True}
    kept = outputs.static_output(new_output("display_data", data, metadata=about))
    assert dict(kept.data) == data and kept.metadata == {"image/png": {"alt": "seen"}}


def test_plain_text_alone_stays():
    assert outputs.static_output(new_output("display_data", {"text/plain": "2"})).data == {"text/plain": "2"}
