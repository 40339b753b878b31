"""Registries: names that are taken, parts by module, and parts that go to another process."""

import json
import sys

import pytest

from labkit.system import registry
from labkit.system.errors import InputError
from labkit.system.registry import Own, Registry


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRIES", {})
    return Registry("tool", "labkit.register_tool")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user, with a function, that registers nothing; it is forgotten afterwards."""
    (tmp_path / "mine_of_test.py").write_text("def saw(): return 'saw'\nhammer = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "mine_of_test"
    sys.modules.pop("mine_of_test", None)


def test_a_part_is_registered_by_call_and_by_decorator(tools):
    assert tools.register("saw", 1) == 1

    @tools.register("drill")
    def drill():
        return "drill"

    assert drill() == "drill" and tools["drill"] is drill, "the decorator gives the function back"
    assert list(tools) == ["saw", "drill"] and len(tools) == 2 and "saw" in tools
    assert tools.find("saw") == 1 and tools.name_of(drill) == "drill"
    tools.remove("saw")
    assert list(tools) == ["drill"]
    with pytest.raises(InputError, match="tools are drill; got 'saw'"):
        tools.remove("saw")


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a:b", "a\n", 3])
def test_a_name_that_cannot_be_typed_is_refused(tools, name):
    with pytest.raises(InputError, match="names of tools have no spaces, commas or colons; got"):
        tools.register(name, 1)


def test_only_names_of_operations_have_no_dash(tools):
    tools.register("a-b", 1)
    with pytest.raises(InputError, match="'-', which joins the names; got 'a-b'"):
        Registry("operation", "labkit.register_op").register("a-b", 1)


def test_a_taken_name_says_who_has_it_and_how_to_replace_it(tools):
    part = object()
    tools.register("saw", part)
    tools.register("saw", part)
    message = f"tool 'saw' is registered already, by {__name__}: .* replace=True to labkit.register_tool"
    with pytest.raises(InputError, match=message):
        tools.register("saw", object())
    assert tools["saw"] is part
    other = tools.register("saw", object(), replace=True)
    assert tools["saw"] is other


def test_an_unknown_part_lists_what_there_is(tools):
    with pytest.raises(InputError, match=r"^tools are none; got 'saw' \(an own one is added by labkit.register_tool"):
        tools.find("saw")
    tools.register("hammer", 1)
    with pytest.raises(InputError, match=r"tools are hammer; got 'hamer'; did you mean hammer\?"):
        tools.find("hamer")


def test_module_and_attribute_name_a_part(tools, module):
    saw = tools.find(f"{module}:saw")
    assert saw() == "saw" and tools.module(f"{module}:saw") == module
    assert tools.name_of(saw) == f"{module}:saw"
    with pytest.raises(InputError, match=f"module {module} has no 'sow', expected a tool; did you mean saw?"):
        tools.find(f"{module}:sow")
    with pytest.raises(InputError, match=r"the tool no_such_module:saw cannot be imported .*PYTHONPATH"):
        tools.find("no_such_module:saw")


def test_a_part_without_a_name_is_registered_by_where_it_stands(tools):
    assert tools.name_of(json.dumps) == "json:dumps" and tools["json:dumps"] is json.dumps
    assert tools.module("json:dumps") == "json"
    with pytest.raises(InputError, match=r"this tool has no name: register it by labkit\.register_tool"):
        tools.name_of(lambda: 1)


def test_own_parts_are_those_of_other_packages(tools):
    part = object()
    tools.register("saw", part)
    tools._parts["built-in"], tools._modules["built-in"] = object(), "labkit.spaces.ops"
    assert tools.is_own("saw") and not tools.is_own("built-in")
    own = Own("tool", "saw", __name__, part, __name__)
    assert tools.own() == (own,) == tools.own(["saw", "built-in"]) and tools.own(["built-in"]) == ()
    assert registry.own_parts() == (own,)


def test_another_process_adopts_own_parts(tools):
    registry.adopt((Own("tool", "saw", "elsewhere", 5, "json"),))
    assert tools["saw"] == 5 and tools.module("saw") == "elsewhere"


def test_described_parts_are_found_again(tools, module):
    saw = tools.find(f"{module}:saw")
    tools.register("mine", saw)
    tools._modules["mine"] = module
    described = json.loads(json.dumps(registry.describe(tools.own())))
    assert described[1] == {"kind": "tool", "name": "mine", "module": module, "defined": f"{module}:saw"}
    tools._parts.clear()
    with pytest.raises(InputError, match="tool 'mine' was registered by module mine_of_test: register it by"):
        registry.recover(described[1:], imports=False)
    registry.recover(described)
    assert tools["mine"] is saw and tools[f"{module}:saw"] is saw
    registry.recover(described, imports=False)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"module": "__main__"}, "registered by a script or a notebook: register it by labkit.register_tool"),
        ({"module": "no_such_module"}, r"by module no_such_module, which cannot be imported \(No module named"),
        ({"kind": "toy"}, "parts are tool; got 'toy'"),
    ],
)
def test_a_part_that_is_not_found_says_where_it_was(tools, changes, message):
    row = {"kind": "tool", "name": "saw", "module": "json", "defined": "", **changes}
    with pytest.raises(InputError, match=message):
        registry.recover([row])


def test_modules_with_parts_are_imported_or_named(module):
    registry.import_parts(module)
    assert module in sys.modules
    with pytest.raises(InputError, match="module no_such_module cannot be imported"):
        registry.import_parts("no_such_module")
