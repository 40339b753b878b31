import json
import warnings

import pytest

from labkit.course import headless, lesson
from labkit.course.exercises.checkers import CHECKERS, Wrong
from labkit.latency.stopwatch import NoisyMachine
from labkit.system.errors import InputError


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "progress.json"))


@pytest.fixture
def exercise(monkeypatch):
    def evaluate(answer):
        if answer != 42:
            raise Wrong("look at the question again")
        return "that is it"

    monkeypatch.setitem(CHECKERS, "e0.0", evaluate)
    return "e0.0"


def test_check_answers_and_remembers(exercise, tmp_path):
    right, wrong = lesson.check(exercise, 42), lesson.check(exercise, 41)
    assert right.passed and right.message == "that is it"
    assert not wrong.passed and "look at" in repr(wrong) and "not yet" in wrong._repr_html_()
    assert json.loads((tmp_path / "progress.json").read_text()) == {"checks": {"e0.0": False}}


def test_a_verdict_escapes_its_message_and_sets_code_off():
    html = lesson.Verdict("e0.0", False, "`min` of <nothing>")._repr_html_()
    assert "<code>min</code> of &lt;nothing&gt;" in html and "✗ not yet (e0.0)" in html and "#B34700" in html
    assert "✓ right (e0.0)" in lesson.Verdict("e0.0", True, "yes")._repr_html_()


def test_check_never_raises_for_an_answer(monkeypatch, exercise):
    monkeypatch.setitem(CHECKERS, exercise, lambda answer: answer())
    verdict = lesson.check(exercise, lambda: 1 / 0)
    assert not verdict.passed and "ZeroDivisionError" in verdict.message


def test_an_unknown_exercise_is_refused():
    with pytest.raises(InputError, match=r"got 'e9\.9'"):
        lesson.check("e9.9", None)


def test_a_prediction_is_kept_and_revealed(capsys):
    box = lesson.predict("p1", "Faster?", ["yes", "no"])
    lesson.reveal("p1", "yes, by half")
    box.children[1].value = "no"
    lesson.reveal("p1", "yes, by half")
    assert capsys.readouterr().out.splitlines() == [
        "You made no prediction. The run says: yes, by half.",
        "You predicted: no. The run says: yes, by half.",
    ]


@pytest.mark.parametrize("content", ["{cut", "[]", ""])
def test_a_damaged_progress_file_is_no_obstacle(content, exercise):
    lesson.progress_file().write_text(content)
    assert lesson.check(exercise, 42).passed


def test_a_folder_that_cannot_be_written_is_no_obstacle(exercise, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LABKIT_PROGRESS", str(tmp_path / "file" / "progress.json"))
    assert lesson.check(exercise, 42).passed


def test_start_says_what_this_machine_is(capsys):
    lesson.start("03", seed=7)
    said = capsys.readouterr().out
    assert "notebook 03, seed 7" in said and " thread" in said


def test_a_noisy_machine_is_a_note_and_other_warnings_stay_as_they_are(capsys, monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    lesson.start("04")
    noisy = warnings.formatwarning(NoisyMachine("the machine is not quiet"), NoisyMachine, "stopwatch.py", 1)
    assert noisy == "note: the machine is not quiet\n"
    assert "stopwatch.py:1: UserWarning: other" in warnings.formatwarning("other", UserWarning, "stopwatch.py", 1)


def test_copies_of_the_course_stay_when_it_is_copied_again(tmp_path):
    copies = lesson.copy_notebooks(tmp_path / "work")
    assert [copy.read_bytes() for copy in copies] == [path.read_bytes() for path in headless.notebooks()]
    copies[0].write_text("my notes")
    copies[1].unlink()
    assert lesson.copy_notebooks(tmp_path / "work") == copies
    assert copies[0].read_text() == "my notes" and copies[1].exists()
