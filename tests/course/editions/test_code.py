"""What a cell may not do or show, cell by cell."""

import pytest
from nbformat.v4 import new_code_cell

from labkit.course.editions import code


def problems(text):
    return list(code.code_problems("here", new_code_cell(text)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x = 1\n" * 26, "here: 26 lines of code; at most 25, the rest belongs in the package"),
        ("# solution", "here: a `# solution` or `# stub:` mark outside a cell tagged exercise"),
        ('x = "ftp://example.org"', "here: an address in code; nothing is fetched, and links belong in Markdown"),
        ('x = "~/data"', "here: the absolute path '~/data'"),
        ('x = "/tmp"', "here: the absolute path '/tmp'"),
        ("import requests", "here: imports requests; nothing is fetched"),
        ("from http import client", "here: imports http.client; nothing is fetched"),
        ("cifar(download=True)", "here: `cifar` downloads"),
    ],
)
def test_each_fault_is_named_with_its_place(text, problem):
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\n" * 25,
        'x = "a/b"',
        'f"{folder}/a/b"',
        "import requests_mock_of_ours",
        "cifar(download=False)",
        "for x in",
    ],
)
def test_what_is_no_fault_passes(text):
    """A syntax error is reported by the headless gate, once."""
    assert problems(text) == []


def test_images_without_text_are_counted():
    text = '<img src="a"> <img alt="" src="b"> <img alt="seen" src="c"> ![](d) ![seen](e)'
    assert list(code.alt_problems("here", text)) == [
        "here: an <img> without alt text",
        "here: an <img> without alt text",
        "here: a Markdown image without alt text",
    ]
