"""The command line, run in this process."""

import signal

import pytest

from labkit.cli import main
from labkit.system.interrupts import Stopped


@pytest.fixture
def run(capsys):
    """`run(*arguments)` gives the exit code, and what was written to stdout and stderr."""

    def run(*arguments):
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def refused(capsys, tmp_path):
    """`refused(*arguments)` gives the message: one line on stderr, nothing on stdout, exit code 2.

    OUT, FILE, CUT and CUTRUN at the start of an argument stand for a path that is not there, an empty file, a truncated
    JSON file and a run's folder with a truncated manifest.
    """
    (tmp_path / "file").write_text("")
    (tmp_path / "cut.json").write_text('{"kind": "latency table", "schema"')
    (tmp_path / "cutrun").mkdir()
    (tmp_path / "cutrun" / "manifest.json").write_text('{"kind": "search run"')
    places = {"OUT": "out", "FILE": "file", "CUTRUN": "cutrun", "CUT": "cut.json"}

    def refused(*arguments):
        for name, place in places.items():
            arguments = [a.replace(name, str(tmp_path / place)) if a.startswith(name) else a for a in arguments]
        try:
            code = main(list(arguments))
        except SystemExit as stop:  # argparse
            code = stop.code
        captured = capsys.readouterr()
        assert code == 2 and captured.out == "" and captured.err.count("\n") == 1, captured.err
        assert captured.err.startswith("labkit: ") and "Traceback" not in captured.err
        return captured.err

    return refused


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def interrupted(request, run, monkeypatch):
    """`interrupted(function, command)` gives what the command says when the function behind its verb is interrupted."""
    by = request.param

    def stopped(*_):
        if by is signal.SIGTERM:
            signal.raise_signal(by)
        raise Stopped("stopped after step 8; of 12", "of the library's call")

    def interrupted(function, command):
        monkeypatch.setattr(f"labkit.cli.{function}", stopped)
        code, text, said = run(*command.split())
        came = "stopped after step 8; of 12" if by is signal.SIGINT else "stopped"
        assert code == 128 + by and text == "" and "library" not in said
        assert said.startswith(f"labkit: {came}; ") and said.endswith("\n")
        return said.removeprefix(f"labkit: {came}; ").rstrip("\n")

    return interrupted
