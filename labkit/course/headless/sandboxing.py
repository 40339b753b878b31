"""A private, offline place to run in."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labkit.system.storage import write_text

OFFLINE = Path(__file__).resolve().parent / "offline"  # its sitecustomize.py closes the network
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


_KERNEL_SETTINGS = """\
import json, os, threading

c = get_config()
c.IPKernelApp.log_level = 40  # the kernel warns about TCP at every start
c.HistoryManager.enabled = False

# Settings are read in the kernel's own process before any cell runs, and leave no name among the learner's.
usual = threading.excepthook

def record(problem):
    if problem.exc_type is not SystemExit:
        name = problem.thread.name if problem.thread else "?"
        line = f"thread {name!r} raised {problem.exc_type.__name__}: {problem.exc_value}"
        with open(os.environ["LABKIT_THREAD_LOG"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\\n")
    usual(problem)

threading.excepthook = record
"""


@dataclass(frozen=True)
class Sandbox:
    """A private place for processes.

    Attributes:
        folder: removed afterwards.
        environment: variables of the processes that run in it.
    """

    folder: Path  # removed afterwards
    environment: dict[str, str]  # for the processes that run in it

    def thread_problems(self) -> tuple[str, ...]:
        """Read the exceptions that ended a thread in a kernel: nothing else reports them.

        Returns:
            One line an exception.
        """
        log = Path(self.environment["LABKIT_THREAD_LOG"])
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return tuple(" ".join(json.loads(line).split()) for line in lines)


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Make a place where `python3` is this interpreter, no setting of the user's counts and only loopback answers.

    It is for a process that will start kernels: papermill, nbval, JupyterLab.

    Yields:
        The folder and the environment.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        kernel = {
            **KERNELSPEC,
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        }
        write_text(folder / "jupyter" / "kernels" / "python3" / "kernel.json", json.dumps(kernel))
        write_text(folder / "ipython" / "profile_default" / "ipython_kernel_config.py", _KERNEL_SETTINGS)
        yield Sandbox(folder, {**os.environ, **_settings(folder)})


def _settings(folder: Path) -> dict[str, str]:
    return {
        "LABKIT_OFFLINE": "1",
        "LABKIT_THREAD_LOG": str(folder / "threads.jsonl"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])),
        "JUPYTER_PATH": str(folder / "jupyter"),  # comes before any other place a kernel is looked for
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger's warning about frozen modules
    }
