"""Claims come from strangers: nothing is imported for them, and damage is said in a line."""

import sys

import pytest

import labkit as lk
from labkit.runs.claims import NOT_CHECKED, STATEMENTS, Effort, statement
from labkit.runs.reporting import Claim, verify


@pytest.fixture
def about(space):
    return {"space": lk.spaces.record(space), "ops": list(space[0].ops)}


def test_each_claim_makes_a_sentence_of_its_value(about, space):
    network = lk.derive(space, space[0])
    size = lk.networks.count(network, space.image)
    value = {**about, "parameters": size.parameters, "macs": size.macs, "activations": size.activations}
    said = statement("complexity", value)
    assert f"{size.parameters:,} parameters" in said.sentence()
    assert said.check(Effort()) == ("reproduced", "counted again")
    assert statement("complexity", {**value, "macs": 1}).check(Effort())[0] == "drifted"


@pytest.mark.parametrize(
    "space",
    [
        {"name": "antigravity:fly", "classes": 10, "digest": "x"},
        {"name": "five_layer", "classes": 10, "digest": "x", "parts": [
            {"kind": "operation", "name": "o", "module": "antigravity", "defined": "antigravity:o"}]},
        {"name": "s", "classes": 10, "digest": "x", "definition": {
            "name": "s", "slots": [["antigravity:fly"]], "edges": [], "image": [3, 8, 8], "classes": 2, "head": "flat",
        }},
    ],
)  # fmt: skip
def test_no_module_is_imported_for_a_claim(space):
    sys.modules.pop("antigravity", None)
    (verdict,) = verify([Claim("space", "strange", {"space": space, "ops": ["conv3x3"]})])
    assert verdict.outcome in (NOT_CHECKED, "drifted") and "antigravity" not in sys.modules
    images = {"made_by": {"name": "antigravity:fly", "arguments": {}}, "digest": "x", "images": "x"}
    (verdict,) = verify([Claim("images", "the images are x (x)", images)])
    assert verdict.outcome == NOT_CHECKED and "antigravity" not in sys.modules


def test_required_claims_are_those_of_every_report():
    assert [name for name, kind in STATEMENTS.items() if kind.required] == [
        "images", "space", "complexity", "table", "search",
    ]  # fmt: skip
