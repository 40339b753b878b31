"""Code whose failure no runner can see is named before the run."""

import ast

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit.course import headless


def problems(*cells):
    return headless.code_problems(new_notebook(cells=[new_markdown_cell("# Title"), *map(new_code_cell, cells)]))


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("input('who?')", "`input who?` waits for an answer; write it in Python"),
        ("breakpoint()", "`breakpoint` waits for an answer; write it in Python"),
        ("subprocess.Popen(['ls'])", "`subprocess.Popen` hides a failure; write it in Python"),
        ("!ls -l", "`get_ipython().system ls -l` a shell command's failure is invisible; write it in Python"),
        ("%time 1", "unknown or banned magic %time; only %matplotlib, %config may be used"),
        ("os.system('ls', 'x')", "`os.system ls` hides a failure; write it in Python"),
        ("subprocess.run(['ls'])", "`subprocess.run` without `check=True` hides a failure"),
        ("for x in", "SyntaxError: invalid syntax"),
    ],
)
def test_each_fault_is_named_with_its_place(code, problem):
    assert problems("1", code) == (f"Title, at `{code}`: {problem}",)


@pytest.mark.parametrize(
    "code",
    ["%matplotlib inline", "subprocess.run(['ls'], check=False)", "my.input()", "await task()", "os.path.join('a')"],
)
def test_what_is_no_fault_passes(code):
    assert problems(code) == ()


def test_every_fault_is_listed():
    assert len(problems("input()\nos.system('x')", "%pip install x")) == 3


def test_calls_are_found_by_their_dotted_name():
    tree = ast.parse("a.b(c(1))[0].d()")
    assert sorted(name for name, _ in headless.calls(tree)) == ["a.b", "a.b(c(1))[0].d", "c"]
