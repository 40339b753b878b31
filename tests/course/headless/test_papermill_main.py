"""papermill with its two repairs, and nothing imported before them."""

import asyncio
import subprocess
import sys
from importlib.metadata import version
from queue import Empty

import pytest

from labkit.course.headless import papermill_main


class Channel:
    """A socket on which a message is there from the `ready`-th look on."""

    def __init__(self, ready):
        self.looks, self.ready, self.socket = [], ready, self

    async def poll(self, milliseconds):
        self.looks.append(milliseconds)
        return len(self.looks) >= self.ready

    async def _recv(self):
        return {"content": "here"}


def test_a_message_is_asked_for_again_and_again():
    channel = Channel(3)
    assert asyncio.run(papermill_main.get_msg(channel)) == {"content": "here"}
    assert channel.looks == [200, 200, 200], "at most 0.2 s each"


def test_no_message_within_the_time_is_empty():
    with pytest.raises(Empty):
        asyncio.run(papermill_main.get_msg(Channel(10**9), timeout=0.01))
    assert asyncio.run(papermill_main.get_msg(Channel(1), timeout=0)) == {"content": "here"}, "one look at least"


def test_the_module_imports_no_notebook_library_before_its_repairs():
    """Else jsonschema has built its grammar already, 1.5 s before every run."""
    code = f"import sys, {papermill_main.__name__}; print(sorted({{'jsonschema', 'nbformat'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.notebooks
def test_it_takes_the_command_line_of_papermill():
    line = [sys.executable, "-m", papermill_main.__name__, "--version"]
    assert version("papermill") in subprocess.run(line, capture_output=True, text=True, check=True).stdout
    done = subprocess.run([*line[:-1], "--no-such-option"], capture_output=True, text=True)
    assert done.returncode == 2 and "--no-such-option" in done.stderr
