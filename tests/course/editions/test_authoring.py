"""What an author writes: a stub and an answer in each exercise."""

import pytest

from labkit.course import editions
from labkit.course.editions import authoring
from labkit.system import storage
from labkit.system.errors import InputError


def test_a_blank_without_a_stub_is_an_ellipsis(root, SOURCE, put):
    source = put(root, SOURCE.replace("    # stub: if not waits:\n    # stub:     return 0.0\n", ""))
    ((stub, _),) = editions.exercise_cells(source)
    assert stub.endswith("    # write your code here\n    ...")


@pytest.mark.parametrize("source", editions.sources(storage.NOTEBOOKS.parent), ids=lambda path: path.stem)
def test_every_exercise_compiles_as_a_stub_and_as_an_answer(source):
    found = editions.exercise_cells(source)
    assert found
    for stub, answer in found:
        compile(stub, f"{source.stem} stub", "exec")
        compile(answer, f"{source.stem} answer", "exec")
        assert stub != answer


def test_what_is_outside_the_marks_stays_in_both():
    text = "a = 1\n# stub: b = ...\n# solution\nb = 2\n# end solution\nc = 3"
    assert authoring.stub_and_answer(text) == ("a = 1\n# write your code here\nb = ...\nc = 3", "a = 1\nb = 2\nc = 3")


@pytest.mark.parametrize(
    ("text", "mark"),
    [("a = 1\n# solution\nb = 2", "# end solution"), ("a = 1\n# stub: b = ...", "# solution")],
)
def test_a_missing_mark_is_named(text, mark):
    with pytest.raises(InputError, match=f"lacks its `{mark}` line: `a = 1`"):
        authoring.stub_and_answer(text)


def test_a_source_that_cannot_be_read_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no notebook source can be read at"):
        authoring.read_source(tmp_path / "missing.py")


def test_sources_come_in_teaching_order(tmp_path):
    folder = storage.writable_folder(tmp_path / "notebooks" / "src")
    for name in ("10_last.py", "02_second.py", "helper.py", "01_first.py"):
        (folder / name).write_text("", encoding="utf-8")
    assert [path.name for path in editions.sources(tmp_path)] == ["01_first.py", "02_second.py", "10_last.py"]
