"""Templates escape what they are given, and miss no value silently."""

import jinja2
import pytest

from labkit.widgets.explorer.templates import TEMPLATES


def test_what_is_put_in_is_escaped():
    assert TEMPLATES.from_string("<p>{{ x }}</p>").render(x="<b> & '") == "<p>&lt;b&gt; &amp; &#39;</p>"


def test_json_cannot_end_the_script_that_it_stands_in():
    text = TEMPLATES.from_string("{{ x | tojson }}").render(x={"b": "</script>é", "a": 1})
    assert text == '{"b":"\\u003c/script\\u003eé","a":1}', "in the order given, without spaces"
    with pytest.raises(ValueError, match="JSON compliant"):
        TEMPLATES.from_string("{{ x | tojson }}").render(x=float("nan"))


@pytest.mark.parametrize("name", TEMPLATES.list_templates(extensions=["jinja"]))
def test_a_forgotten_value_is_an_error(name):
    with pytest.raises(jinja2.UndefinedError):
        TEMPLATES.get_template(name).render()
