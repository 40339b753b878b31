"""Messages of one line: names that are meant, damaged files, and errors of other libraries."""

import pytest

from labkit.system.errors import InputError, damaged, in_one_line, meant, unknown

KNOWN = ("five_layer", "mobile-tiny")


def test_an_unknown_name_gets_the_names_and_the_nearest():
    problem = unknown("spaces are", "mobil-tiny", KNOWN)
    assert isinstance(problem, InputError) and isinstance(problem, ValueError)
    assert str(problem) == "spaces are five_layer, mobile-tiny; got 'mobil-tiny'; did you mean mobile-tiny?"
    assert str(unknown("spaces are", "zzz", KNOWN)) == "spaces are five_layer, mobile-tiny; got 'zzz'"
    assert str(unknown("spaces are", 3, ())) == "spaces are none; got 3"


@pytest.mark.parametrize("got, near", [("five_layers", "five_layer"), ("mobile", "mobile-tiny"), ("cells", None)])
def test_only_a_near_name_is_meant(got, near):
    assert meant(got, KNOWN) == (f"; did you mean {near}?" if near else "")
    assert meant(got, iter(KNOWN)) == meant(got, KNOWN), "names may come from an iterator"


@pytest.mark.parametrize(
    "raised, message",
    [
        (KeyError("rows"), "t.json is damaged (lacks 'rows'): measure it again"),
        (TypeError("a\nb   c"), "t.json is damaged (a b c): measure it again"),
        (ValueError("x" * 400), f"t.json is damaged ({'x' * 300}): measure it again"),
        (InputError("no such space"), "t.json: no such space; measure it again"),
        (InputError("t.json lacks a card"), "t.json lacks a card"),
    ],
)
def test_a_damaged_file_is_named_with_the_remedy_in_one_line(raised, message):
    with pytest.raises(InputError) as caught, damaged("t.json", "measure it again"):
        raise raised
    assert str(caught.value) == message


def test_a_defect_is_no_damaged_file():
    with pytest.raises(ZeroDivisionError), damaged("t.json", "measure it again"):
        1 / 0  # noqa: B018


def test_another_librarys_error_becomes_one_line_about_what_began_it():
    with pytest.raises(InputError) as caught, in_one_line("this model does not load", "export it again"):
        try:
            raise OSError("Exception from src/core.cpp:12\n\n  a node has no name\nand more")
        except OSError as problem:
            raise RuntimeError("loading failed") from problem
    assert str(caught.value) == "this model does not load (a node has no name): export it again"
    assert isinstance(caught.value.__cause__, RuntimeError), "the traceback is kept"
    with pytest.raises(InputError, match=r"^it fails \(RuntimeError\): stop$"), in_one_line("it fails", "stop"):
        raise RuntimeError
    with pytest.raises(InputError, match=r"^as it is$"), in_one_line("it fails", "stop"):
        raise InputError("as it is")
    with pytest.raises(KeyboardInterrupt), in_one_line("it fails", "stop"):
        raise KeyboardInterrupt
    with in_one_line("it fails", "stop"):
        pass
