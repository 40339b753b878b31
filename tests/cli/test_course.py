"""`doctor`, `run` and `notebooks`: their output and what they refuse."""

import json

import pytest


def test_doctor(run):
    code, text, _ = run("doctor")
    assert code == 0 and 5 <= len(text.splitlines()) <= 14
    code, text, _ = run("doctor", "--json")
    value = json.loads(text)
    assert code == 0 and value["schema"] == 1 and value["passed"] is True
    assert {finding["level"] for finding in value["findings"]} <= {"ok", "note"}


def test_doctor_fails_when_the_course_cannot_run(run, monkeypatch):
    monkeypatch.setattr("labkit.cli.doctor._installed", lambda name: name != "papermill")
    code, text, _ = run("doctor")
    assert code == 1 and "missing papermill: python lab.py setup" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["notebooks", "check", "99"], "takes no numbers; got ['99']"),
        (["run", "", "--out", "OUT"], "no notebook ''"),
        (["run", "99", "--out", "OUT"], "no notebook '99'; there are: 00_start_here"),
        (["run", "06", "-p", "SPEED=3", "--out", "OUT"], "SPEED"),
        (["run", "06", "-p", "SPEED", "--out", "OUT"], "a parameter is NAME=VALUE"),
        (["run", "all", "-p", "SEED=1", "--out", "OUT"], "takes no -p"),
        (["run", "06", "--out", "FILE/below"], "cannot write to the folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(refused, arguments, says):
    assert says in refused(*arguments)


@pytest.mark.parametrize(
    ("function", "command", "says"),
    [
        ("course.doctor", "doctor", "the same command starts over"),
        ("course.run", "run all --out OUT", "the same command starts over"),
    ],
)
def test_an_interrupt_says_what_the_same_command_does(interrupted, function, command, says):
    assert interrupted(function, command) == says
