"""What made a file."""

import shlex
import sys

from labkit.cli.records import provenance, typed
from labkit.system.device import device_name, today, versions


def test_the_command_can_be_typed_again(monkeypatch):
    words = ["labkit", "search", "--out", "a folder", "--set", "x=$HOME"]
    monkeypatch.setattr(sys, "argv", words)
    assert typed().startswith("python -m labkit search --out ")
    assert shlex.split(typed()) == ["python", "-m", "labkit", *words[1:]]


def test_provenance_names_machine_versions_and_day(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["labkit", "doctor"])
    made = {"command": "python -m labkit doctor", "device": device_name(), "versions": versions(), "date": today()}
    assert provenance() == made
