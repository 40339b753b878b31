"""A process that cannot outlive its limit."""

import os
import sys

import psutil
import pytest

from labkit.course import headless
from labkit.course.headless import supervising

pytestmark = pytest.mark.notebooks


def test_nothing_outlives_its_limit(tmp_path):
    """A grandchild in a session of its own, as a kernel is, goes too."""
    grandchild = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = (
        "import subprocess, time\n"
        f"print(subprocess.Popen({grandchild}, start_new_session=True).pid, flush=True)\n"
        "time.sleep(600)"
    )
    with headless.sandbox() as box:
        ended = headless.supervise([sys.executable, "-c", child], box.environment, tmp_path, 3)
    assert ended.code is None and 3 <= ended.seconds < 60
    assert not psutil.pid_exists(int(ended.log)) or psutil.Process(int(ended.log)).status() == "zombie"


def test_the_end_of_a_process_is_reported(tmp_path):
    code = "import os, sys; print(os.getcwd(), os.environ['WORD']); print('told', file=sys.stderr); sys.exit(3)"
    environment = {**os.environ, "WORD": "passed on"}
    ended = headless.supervise([sys.executable, "-c", code], environment, tmp_path, 60)
    assert ended.code == 3 and ended.log == f"{tmp_path.resolve()} passed on\ntold\n"
    assert 0 < ended.seconds < 60 and ended.peak_rss_mb == 0, "no kernel ran below it"


def test_only_kernels_count_for_the_memory():
    assert supervising._kernel_mb(psutil.Process()) == 0
    gone = psutil.Process()
    gone.cmdline = lambda: ["python", "-m", "ipykernel_launcher"]
    assert supervising._kernel_mb(gone) == pytest.approx(gone.memory_info().rss / 2**20, rel=0.2)
