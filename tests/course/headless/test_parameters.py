"""Parameters of a notebook: what it has, and texts read as the types of the defaults."""

from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from labkit.course import headless
from labkit.course.headless import parameters
from labkit.system.errors import InputError


def notebook(code, tag="parameters"):
    made = new_notebook(cells=[new_code_cell(code)])
    made.cells[0].metadata["tags"] = [tag]
    return made


def test_defaults_are_what_is_written_out():
    code = 'A = 1\nB: float = 0.5\nC = "a=b"  # no, a "#"\nD = (1, None)\nE = A + 1\nF, G = 1, 2\nprint(A)'
    assert headless.parameter_defaults(new_code_cell(code)) == {
        "A": 1, "B": 0.5, "C": "a=b", "D": (1, None), "E": headless.NOT_LITERAL,
    }  # fmt: skip
    with pytest.raises(SyntaxError):
        headless.parameter_defaults(new_code_cell("A = "))


@pytest.mark.parametrize(
    ("default", "given", "value"),
    [
        ("1", "7", 7), ("0.5", "1e-5", 1e-5), ("0.5", 2, 2.0), ("True", "no", False), ("False", "1", True),
        ("'a'", "7", "7"), ("(1,)", "[2, 3]", (2, 3)), ("[1]", (2,), [2]), ("None", "cpu", "cpu"), ("None", "3", 3),
        ("None", True, True), ("1 + 1", "7", 7), ("'a'", Path("x/y"), str(Path("x/y"))),
    ],
)  # fmt: skip
def test_what_is_given_has_the_type_of_the_default(default, given, value):
    (found,) = parameters.parameter_values(notebook(f"X = {default}"), {"X": given}, True, "n").values()
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("default", "given"),
    [
        ("1", "one"),
        ("1", "1.5"),
        ("1", True),
        ("0.5", "x"),
        ("True", "maybe"),
        ("(1,)", "3"),
        ("'a'", 3),
        ("1", "True"),
    ],
)
def test_another_type_is_refused(default, given):
    with pytest.raises(InputError, match=r"parameter X takes \w+, such as .*; got"):
        parameters.parameter_values(notebook(f"X = {default}"), {"X": given}, True, "n")


def test_fast_is_set_where_the_notebook_has_it():
    both = notebook("FAST = True\nSEED = 0")
    assert parameters.parameter_values(both, {}, False, "n") == {"FAST": False}
    assert parameters.parameter_values(both, {"FAST": "yes", "SEED": "3"}, False, "n") == {"FAST": True, "SEED": 3}
    assert parameters.parameter_values(notebook("SEED = 0"), {}, False, "n") == {}


def test_an_unknown_parameter_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="n has no parameter SED; it has SEED"):
        parameters.parameter_values(notebook("SEED = 0"), {"SED": 1}, True, "n")
    with pytest.raises(InputError, match="n has no cell tagged `parameters`, so it takes none; got SEED"):
        parameters.parameter_values(notebook("SEED = 0", "setup"), {"SEED": 1}, True, "n")
