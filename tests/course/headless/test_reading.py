"""Notebooks on the disk: cells, tags, headings, and the name of a place."""

import ast

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit.course import headless
from labkit.course.headless import reading
from labkit.system.errors import InputError


def test_a_notebook_is_read_and_what_is_none_is_refused(tmp_path):
    made = new_notebook(cells=[new_code_cell("1")])
    nbformat.write(made, tmp_path / "a.ipynb")
    assert headless.read_notebook(tmp_path / "a.ipynb").cells[0].source == "1"
    with pytest.raises(InputError, match=r"no notebook can be read at .*missing.*No such file"):
        headless.read_notebook(tmp_path / "missing.ipynb")
    (tmp_path / "b.ipynb").write_text("[]")
    with pytest.raises(InputError, match="is not a notebook"):
        headless.read_notebook(tmp_path / "b.ipynb")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# One", "One"),
        ("## One\ntext\n### Two", "Two"),
        ("text\n#no heading", None),
        ("# One\n```\n# a comment\n```\ntext", "One"),
        ("", None),
    ],
)
def test_the_last_heading_counts_and_no_comment(text, title):
    assert headless.heading(new_markdown_cell(text)) == title
    assert headless.heading(new_code_cell(text)) is None


def test_cells_come_with_the_heading_that_they_stand_under():
    cells = [
        new_code_cell("0"),
        new_markdown_cell("# A"),
        new_code_cell("1"),
        new_markdown_cell("# B"),
        new_code_cell("2"),
    ]
    found = list(headless.sections(new_notebook(cells=cells)))
    assert [heading for heading, _ in found] == ["", "A", "A", "B", "B"] and [cell for _, cell in found] == cells


def test_a_place_is_the_heading_and_the_first_line():
    assert headless.where("A", new_code_cell("\n\n  x = 1\ny")) == "A, at `x = 1`"
    assert headless.where("", new_code_cell("x" * 99)) == f"the first cells, at `{'x' * 60}`"


def test_magics_are_calls_and_await_may_stand_alone():
    assert "get_ipython().system('ls')" in ast.unparse(headless.parsed(new_code_cell("!ls")))
    headless.parsed(new_code_cell("await task()"))
    with pytest.raises(SyntaxError):
        headless.parsed(new_code_cell("x ="))


def test_empty_cells_and_markdown_are_no_code():
    cells = [new_markdown_cell("x"), new_code_cell("  "), new_code_cell("1")]
    assert reading.code_cells(new_notebook(cells=cells)) == [cells[2]]
    assert headless.tags(cells[0]) == []
    cells[0].metadata["tags"] = ["hint"]
    assert headless.tags(cells[0]) == ["hint"]
