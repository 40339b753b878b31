"""Spaces by name and as records: the same space comes back, another one is refused."""

import json
from dataclasses import replace

import pytest

import labkit as lk
from labkit.spaces import OPS, SPACES, Edge, SearchSpace, by_name, from_record, record, register_space


def written(space):
    return json.loads(json.dumps(record(space)))


def own_space(name="mine", op="conv3x3", classes=10):
    edges = (Edge(3, 8, 2, fixed="conv3x3"), Edge(8, 8, slot=0))
    return SearchSpace(name, ((op, "conv5x5"),), edges, (3, 32, 32), classes, "average")


@pytest.fixture
def mine():
    register_space("mine", lambda classes=10: own_space(classes=classes))
    yield own_space()
    SPACES.remove("mine")


@pytest.mark.parametrize("name", ["five_layer", "mobile-tiny", "mobile-full", "cells-tiny", "cells-cifar"])
def test_a_built_in_space_is_its_name(name):
    space = by_name(name, classes=7)
    assert space.name == name and space.classes == 7
    value = written(space)
    assert value == {"name": name, "classes": 7, "digest": space.digest}
    assert from_record(value) == space == from_record(value, imports=False)


def test_a_registered_space_names_its_module(mine):
    value = written(mine)
    assert "definition" not in value
    assert [(part["kind"], part["name"], part["module"]) for part in value["parts"]] == [("space", "mine", __name__)]
    assert from_record(value) == mine
    SPACES.remove("mine")
    try:
        with pytest.raises(lk.InputError, match="the space 'mine' was registered by module"):
            from_record(value, imports=False)
    finally:
        register_space("mine", lambda classes=10: own_space(classes=classes))


def test_a_space_of_ones_own_is_written_in_full():
    space = own_space("nameless")
    value = written(space)
    assert value["definition"]["slots"] == [["conv3x3", "conv5x5"]] and "parts" not in value
    assert from_record(value) == space == from_record(value, imports=False)


def test_a_space_that_only_shares_a_name_is_written_in_full(mine):
    other = replace(mine, head="flat")
    assert "definition" in written(other) and from_record(written(other)) == other


def test_operations_of_ones_own_are_named():
    OPS.register("own3x3", OPS["conv3x3"])
    try:
        value = written(own_space("nameless", "own3x3"))
        assert [part["name"] for part in value["parts"]] == ["own3x3"]
    finally:
        OPS.remove("own3x3")
    with pytest.raises(lk.InputError, match="operation 'own3x3' was registered by module"):
        from_record(value, imports=False)


def test_a_changed_space_is_refused_unless_that_does_not_matter(mine):
    value = written(mine) | {"digest": "0" * 12}
    with pytest.raises(lk.InputError, match=rf"space mine has changed \(digest 0{{12}} then, {mine.digest} now\)"):
        from_record(value)
    assert from_record(value, same=False) == mine


def test_a_record_of_a_stranger_imports_nothing():
    value = written(own_space("nameless"))
    value["definition"]["slots"][0][0] = "json:loads"
    with pytest.raises(lk.InputError, match="json:loads would have to be imported: register its parts first"):
        from_record(value, imports=False)
    with pytest.raises(lk.InputError, match="os:getcwd would have to be imported"):
        from_record({"name": "os:getcwd", "classes": 10, "digest": ""}, imports=False)


def test_a_name_is_to_give_a_space():
    with pytest.raises(lk.InputError, match=r"spaces are five_layer, .*; got 'five_layers'; did you mean five_layer\?"):
        by_name("five_layers")
    register_space("wrong", lambda classes=10: classes)
    try:
        with pytest.raises(lk.InputError, match="the space wrong must be a function that returns a SearchSpace; it"):
            by_name("wrong")
    finally:
        SPACES.remove("wrong")


def test_a_taken_name_is_kept():
    with pytest.raises(lk.InputError, match="the space 'five_layer' is registered already"):
        register_space("five_layer", own_space)
    assert by_name("five_layer") == lk.spaces.five_layer()
