"""A private, offline place to run in."""

import json
import os
import sys
from pathlib import Path

import pytest

from labkit.course import headless

pytestmark = pytest.mark.notebooks


def test_a_sandbox_is_private_and_goes_away():
    with headless.sandbox() as box:
        kernel = json.loads((box.folder / "jupyter" / "kernels" / "python3" / "kernel.json").read_text())
        assert kernel["argv"][0] == sys.executable
        own = ("JUPYTER_PATH", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        assert all(Path(box.environment[name]).is_relative_to(box.folder) for name in own)
        assert box.environment["LABKIT_OFFLINE"] == "1"
        assert box.environment["PYTHONPATH"].split(os.pathsep)[0] == str(headless.OFFLINE)
        assert box.environment["PATH"] == os.environ["PATH"], "the rest is inherited"
    assert not box.folder.exists()


def test_what_ended_a_thread_is_read_from_its_log():
    with headless.sandbox() as box:
        assert box.thread_problems() == ()
        lines = ["thread 'a' raised KeyError: 1", "thread 'b' raised ValueError: two\n lines"]
        Path(box.environment["LABKIT_THREAD_LOG"]).write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert box.thread_problems() == (lines[0], "thread 'b' raised ValueError: two lines")
