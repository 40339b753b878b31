"""What all verbs share: one line for a wrong request, text that suits the terminal, tracebacks of defects."""

import json
import os
import subprocess
import sys

import pytest

from labkit.cli import main


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serch"], "did you mean search?"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "the following arguments are required: VERB"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(refused, arguments, says):
    assert says in refused(*arguments)


def test_what_is_printed_suits_the_terminal_and_a_reader_may_go(tmp_path):
    """A name outside ASCII on a terminal that knows no other, and a pipe whose reader has seen enough."""
    path = tmp_path / "é.json"
    path.write_text("{}")
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "labkit", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, env=ascii_only, timeout=120)
    assert done.returncode in (0, 1) and json.loads(done.stdout)
    code = f"import labkit.cli as c; c._say({str(path)!r}); c._say('x' * 10**6)"
    one = subprocess.run([sys.executable, "-c", code], capture_output=True, env=ascii_only, timeout=120)
    assert one.returncode == 0 and b"\\xe9.json" in one.stdout
    gone = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$0" | head -c 1', code], capture_output=True, timeout=120
    )
    assert b"Error" not in gone.stderr, gone.stderr


def test_a_defect_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("labkit.cli.doctor.examine", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_parts_of_the_working_folder_are_imported_before_a_verb_runs(run, refused, tmp_path, monkeypatch):
    (tmp_path / "mine_of_this_test.py").write_text("import labkit\n\nlabkit.seen = 'mine'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("labkit.seen", "", raising=False)
    code, *_ = run("doctor", "--op", "mine_of_this_test")
    import labkit

    assert code in (0, 1) and labkit.seen == "mine"
    assert "no_such_module" in refused("doctor", "--op", "no_such_module")
