"""The gate itself: every planted fault is caught with a message that names it, and a clean notebook passes."""

import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labkit.course import headless
from labkit.course.headless import running
from labkit.system.errors import InputError
from labkit.system.storage import writable_folder

pytestmark = pytest.mark.notebooks


@dataclass(frozen=True)
class Fault:
    name: str
    cells: tuple[str, ...]
    message: str  # part of the problem or of the InputError
    tags: tuple[str, ...] = ()  # of the last cell
    arguments: dict[str, Any] = field(default_factory=dict)  # of `headless.run`


# The table of what papermill and nbval each let through, row by row, and a few more.
FAULTS = (
    Fault("exception", ("1 / 0",), "ZeroDivisionError: division by zero"),
    Fault("assert", ("assert 1 == 2, 'unequal'",), "AssertionError: unequal"),
    Fault(
        "interact",
        ("from ipywidgets import interact\ninteract(lambda n: 1 / (n - n), n=(1, 3));",),
        "widget's callback raised ZeroDivisionError",
    ),
    Fault(
        "interactive_output",
        (
            "import ipywidgets as w\ns = w.IntSlider()\nw.interactive_output(lambda n: {}[n], {'n': s})",
            "print('later cells run')",
        ),
        "widget's callback raised KeyError: 0",
    ),
    Fault(
        "output_widget",
        ("import ipywidgets as w\nout = w.Output()\nwith out:\n    raise ValueError('within')",),
        "widget's callback raised ValueError: within",
    ),
    Fault("raises_exception", ("1 / 0",), "ZeroDivisionError", tags=("raises-exception",)),
    Fault("skipped", ("1", "2"), "1 of 2 code cells did not run", tags=("skip-execution",)),
    Fault("magic", ("%nosuchmagic",), "%nosuchmagic"),
    Fault("shell", ("!exit 3",), "shell command's failure is invisible"),
    Fault("shell_value", ("files = !ls nowhere",), "shell command's failure is invisible"),
    Fault("bash", ("%%bash\nexit 3",), "run_cell_magic bash"),
    Fault("pip", ("%pip install anything",), "%pip"),
    Fault("os_system", ("import os\nos.system('exit 3')",), "os.system"),
    Fault("subprocess", ("import subprocess\nsubprocess.run(['ls', 'x'])",), "without `check=True`"),
    Fault("syntax", ("for x in",), "SyntaxError"),
    Fault("input", ("name = input('who? ')",), "`input who? ` waits for an answer"),
    Fault("hidden_input", ("import builtins\ngetattr(builtins, 'input')()",), "StdinNotImplementedError"),
    Fault(
        "thread",
        (
            "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='worker')\nt.start(); t.join()",
            "2",
        ),
        "thread 'worker' raised ZeroDivisionError: division by zero",
    ),
    Fault("sys_exit", ("1", "import sys\nsys.exit(0)", "3"), "1 of 3 code cells did not run"),
    Fault("killed", ("1", "import os\nos._exit(0)", "3"), "at `import os`: the kernel died"),
    Fault(
        "endless",
        ("while True: pass",),
        "at `while True: pass`: ran past the limit of 3 s for one cell",
        arguments={"cell_timeout": 3},
    ),
    Fault(
        "deaf",
        ("import time\nwhile True:\n    try:\n        time.sleep(1)\n    except KeyboardInterrupt:\n        pass",),
        "at `import time`: still running at the limit of 8 s",
        arguments={"total_timeout": 8},
    ),
    Fault(
        "address",
        ("import socket\nsocket.create_connection(('192.0.2.1', 80), 5)",),
        "labkit is offline (LABKIT_OFFLINE=1): refused to reach '192.0.2.1'",
    ),
    Fault(
        "host",
        ("import socket\nsocket.create_connection(('example.org', 443), 5)",),
        "labkit is offline (LABKIT_OFFLINE=1): refused to reach 'example.org'",
    ),
    Fault("empty", (), "no code cell ran"),
    Fault("blank", ("  \n",), "no code cell ran"),
    Fault("mistyped", ("SEED = 0",), "no parameter SED; it has SEED", ("parameters",), {"parameters": {"SED": 1}}),
    Fault("no_parameters", ("SEED = 0",), "no cell tagged `parameters`", (), {"parameters": {"SEED": 1}}),
    Fault(
        "wrong_type",
        ("SEED = 0",),
        "SEED takes int, such as 0; got 'one'",
        ("parameters",),
        {"parameters": {"SEED": "one"}},
    ),
)


CLEAN = (
    """
FAST, LATER = True, None
FAST = True
SEED = 0  # a comment
RATE = 0.5
OUT = "a=b"
COLOUR = "#fff"
NAMES = ("a", "b")
DEVICE = None
""",
    """
import os, socket, sys, threading
from ipywidgets import IntSlider, Output, interact
server = socket.create_server(("localhost", 0))
socket.create_connection(server.getsockname()).close()
server.close()
thread = threading.Thread(target=print)
thread.start()
thread.join()
out = Output()
with out:
    print("seen")
interact(lambda n: n, n=IntSlider());
""",
    """
assert (FAST, SEED, RATE, OUT) == (False, 7, 1e-05, "x=1 # y"), (FAST, SEED, RATE, OUT)
assert (COLOUR, list(NAMES), DEVICE) == ("#fff", ["c"], "cpu"), (COLOUR, NAMES, DEVICE)
assert os.environ["MPLBACKEND"].endswith("inline")
print("python:", sys.executable, "folder:", os.getcwd())
""",
)


GIVEN = {"FAST": "false", "SEED": "7", "RATE": "1e-5", "OUT": "x=1 # y", "NAMES": "['c']", "DEVICE": "cpu"}


def write(path: Path, cells: tuple[str, ...], tags: tuple[str, ...] = (), kernelspec=None) -> Path:
    """A notebook that looks as if it had run before, so that nothing old may count."""
    stale = new_output("error", ename="OldError", evalue="of an earlier run", traceback=[])
    notebook = new_notebook(cells=[new_markdown_cell("# A title"), *map(new_code_cell, cells)])
    for cell in notebook.cells[1:]:
        cell.execution_count, cell.outputs = 7, [stale]
    notebook.cells[-1].metadata["tags"] = list(tags)
    if kernelspec:
        notebook.metadata["kernelspec"] = kernelspec
    nbformat.write(notebook, path)
    return path


def outcome(fault: Fault, folder: Path) -> str:
    """What the run had against the notebook, in one text; empty if nothing."""
    notebook = write(folder / f"{fault.name}.ipynb", fault.cells, fault.tags)
    try:
        report = headless.run(notebook, folder / "out", **fault.arguments)
    except InputError as problem:
        return str(problem)
    assert report.passed == (not report.problems)
    return "\n".join(report.problems)


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """All the selected faults, two at a time: nearly all of a run is waiting for two processes to start."""
    folder = tmp_path_factory.mktemp("faults")
    selected = [item.callspec.params.get("fault") for item in request.session.items if hasattr(item, "callspec")]
    with ThreadPoolExecutor(2) as pool:
        futures: dict[str, Future[str]] = {
            fault.name: pool.submit(outcome, fault, folder) for fault in FAULTS if fault in selected
        }
        yield futures


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught_by_name(fault, outcomes):
    found = outcomes[fault.name].result()
    assert fault.message in found
    assert "OldError" not in found


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A notebook with all that may be done, a foreign kernel in its metadata and every kind of parameter."""
    folder = tmp_path_factory.mktemp("clean")
    foreign = {"name": "julia-1.9", "display_name": "Julia", "language": "julia"}
    path = write(folder / "01_clean.ipynb", CLEAN, kernelspec=foreign)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)
    return headless.run(path, folder / "out", GIVEN), folder


def test_a_clean_notebook_passes(clean):
    report, _ = clean
    assert report.problems == () and report.passed
    assert report.notebook == "01_clean"
    assert report.cells == 4  # the injected parameters are a cell too
    assert report.seconds > 0 and 20 < report.peak_rss_mb < 2000
    assert "01_clean" in str(report) and "passed" in str(report)


def test_the_kernel_is_this_python_and_works_beside_its_output(clean):
    _, folder = clean
    written = nbformat.read(folder / "out" / "01_clean.ipynb", as_version=4)
    printed = written.cells[-1].outputs[0].text
    assert printed.strip() == f"python: {sys.executable} folder: {(folder / 'out').resolve()}"
    assert written.metadata.kernelspec.name == "python3"


def test_no_kernelspec_and_no_parameters_runs(tmp_path):
    report = headless.run(write(tmp_path / "plain.ipynb", ("1 + 1",)), tmp_path / "out")
    assert report.problems == () and report.cells == 1


def test_an_old_result_does_not_outlive_a_refusal(tmp_path):
    notebook = write(tmp_path / "a.ipynb", ("!ls",))
    old = write(tmp_path / "out.ipynb", ("1",)).rename(writable_folder(tmp_path / "out") / "a.ipynb")
    assert not headless.run(notebook, tmp_path / "out").passed
    assert not old.exists()


def test_only_a_kernel_that_did_not_start_is_tried_again(tmp_path, monkeypatch):
    notebook = write(tmp_path / "a.ipynb", ("1",))
    tries = []

    def fails(log):
        def run(*_):
            tries.append(log)
            return headless.Ended(1, 0.1, 0.0, log)

        return run

    monkeypatch.setattr(running, "supervise", fails("RuntimeError: Kernel died before replying to kernel_info"))
    assert "the kernel died" in headless.run(notebook, tmp_path / "out").problems[0]
    assert len(tries) == 2
    monkeypatch.setattr(running, "supervise", fails("OSError: anything else"))
    assert not headless.run(notebook, tmp_path / "out").passed
    assert len(tries) == 3


def test_run_all_goes_on_after_a_failure(tmp_path):
    for name in ("01_b", "00_a", "helper"):
        write(tmp_path / f"{name}.ipynb", ("!ls",))
    heard = []
    reports = headless.run_all(tmp_path / "out", on_report=heard.append, folder=tmp_path)
    assert [report.notebook for report in reports] == ["00_a", "01_b"] and heard == reports
    with pytest.raises(InputError, match="found none"):
        headless.run_all(tmp_path / "out", folder=tmp_path / "out")


@pytest.mark.parametrize("wanted", ["06", "6", 6, "06_frontier", "frontier", "06_frontier.ipynb"])
def test_find(wanted, tmp_path):
    for name in ("05_search", "06_frontier"):
        write(tmp_path / f"{name}.ipynb", ("1",))
    assert headless.find(wanted, tmp_path) == tmp_path / "06_frontier.ipynb"
    assert headless.find(tmp_path / "05_search.ipynb") == tmp_path / "05_search.ipynb"
    with pytest.raises(InputError, match="no notebook '77'; there are: 05_search, 06_frontier"):
        headless.find("77", tmp_path)


def test_what_cannot_be_read_or_written_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no notebook can be read"):
        headless.run(tmp_path / "missing.ipynb", tmp_path / "out")
    broken = tmp_path / "broken.ipynb"
    for text in ("{", "[]", "{}", '{"nbformat": 4}'):
        broken.write_text(text)
        with pytest.raises(InputError, match="is not a notebook"):
            headless.run(broken, tmp_path / "out")
    notebook = write(tmp_path / "a.ipynb", ("1",))
    with pytest.raises(InputError, match="is the notebook itself"):
        headless.run(notebook, tmp_path)
