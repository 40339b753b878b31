"""Run notebooks with no one watching, and believe the result: papermill behind a gate.

papermill alone passes a notebook whose widget callback raised, whose parameter name was mistyped, that
called `sys.exit(0)` half-way, whose shell command failed or whose thread died. So a run here goes
parameters checked -> banned code refused -> papermill in its own process, offline, under a time limit
-> the written notebook searched for everything papermill passes over.
"""

import ast
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbformat import NotebookNode

from labkit.errors import InputError
from labkit.storage import writable_folder, write_text

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
OFFLINE = Path(__file__).resolve().parent / "static" / "offline"  # its sitecustomize.py closes the network
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
FAST_LIMITS_S = (120, 600)  # one cell, one notebook
FULL_LIMITS_S = (4 * 3600, 12 * 3600)
POLL_S = 0.2
MAGICS = ("matplotlib", "config")  # the only ones that change nothing but how figures look
NOT_LITERAL = object()  # the default of a parameter that only running the notebook could tell


@dataclass(frozen=True)
class RunReport:
    notebook: str  # the file's name without its suffix
    seconds: float  # wall clock, start of papermill and kernel included
    peak_rss_mb: float  # the kernel's resident memory, largest of the samples taken every `POLL_S`
    cells: int  # code cells that ran
    problems: tuple[str, ...]  # one line each; none means passed

    @property
    def passed(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED: " + "; ".join(self.problems)
        return f"{self.notebook}  {self.seconds:.1f} s  {self.peak_rss_mb:.0f} MB  {self.cells} cells  {verdict}"


def find(number_or_name: str | int | Path, folder: Path = NOTEBOOKS) -> Path:
    """The notebook meant by "06", 6, "frontier", "06_frontier" or a path to an .ipynb file."""
    wanted = str(number_or_name)
    if wanted.endswith(".ipynb") and Path(wanted).is_file():
        return Path(wanted)
    known = notebooks(folder)
    for path in known:
        number, _, topic = path.stem.partition("_")
        if wanted.removesuffix(".ipynb") in (path.stem, topic) or wanted.zfill(2) == number:
            return path
    names = ", ".join(path.stem for path in known) or f"none in {folder}"
    raise InputError(f"no notebook {wanted!r}; there are: {names}")


def notebooks(folder: Path = NOTEBOOKS) -> list[Path]:
    """The learner editions of the course, in teaching order."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def run_all(
    out: str | Path,
    fast: bool = True,
    on_report: Callable[[RunReport], object] | None = None,
    folder: Path = NOTEBOOKS,
    cwd: str | Path | None = None,
) -> list[RunReport]:
    """Run every notebook of the course in order; a failure does not stop the later ones."""
    paths = notebooks(folder)
    if not paths:
        raise InputError(f"expected notebooks named NN_topic.ipynb in {folder}, found none")
    reports = []
    for path in paths:
        reports.append(run(path, out, fast=fast, cwd=cwd))
        if on_report is not None:
            on_report(reports[-1])
    return reports


def run(
    notebook: str | Path,
    out: str | Path,
    parameters: Mapping[str, Any] | None = None,
    fast: bool = True,
    cell_timeout: float | None = None,
    total_timeout: float | None = None,
    cwd: str | Path | None = None,
) -> RunReport:
    """Execute `notebook` into `out`/<its name> and say whether all of it worked.

    `parameters` override the cell tagged `parameters`: text is read as the type of the default. `fast` sets
    the parameter FAST where the notebook has one and it is not given. Limits are in seconds. The kernel
    works in `cwd`, by default `out`, so what a notebook writes lies beside its output. What the notebook
    does wrong is in the report; InputError is for what the caller got wrong: no such file or parameter.
    """
    notebook, out = Path(notebook), writable_folder(out).resolve()
    content = read_notebook(notebook)
    target = out / notebook.name
    if target == notebook.resolve():
        raise InputError(f"the output {target} is the notebook itself; name another folder")
    values = _parameter_values(content, parameters or {}, fast, notebook.name)
    target.unlink(missing_ok=True)  # yesterday's result must not stand for today's
    problems = code_problems(content)
    if problems:
        return RunReport(notebook.stem, 0.0, 0.0, 0, problems)
    limits = FAST_LIMITS_S if fast else FULL_LIMITS_S
    cell_s, total_s = cell_timeout or limits[0], total_timeout or limits[1]
    with sandbox() as box:
        source = box.folder / notebook.name
        nbformat.write(_unexecuted(content), source)
        command = _papermill(source, target, values, cell_s, Path(cwd or out).resolve(), box)
        ended = supervise(command, box.environment, box.folder, total_s)
        if _kernel_did_not_start(ended):  # the one failure that says nothing about the notebook
            ended = supervise(command, box.environment, box.folder, total_s)
        cells = _code_cells(_written(target))
        problems = (*_problems(ended, _written(target), cell_s, total_s), *box.thread_problems())
    ran = sum(cell.execution_count is not None for cell in cells)
    return RunReport(notebook.stem, ended.seconds, ended.peak_rss_mb, ran, problems)


# Reading notebooks


def read_notebook(path: str | Path) -> NotebookNode:
    path = Path(path)
    try:
        return nbformat.read(path, as_version=4)
    except OSError as problem:
        raise InputError(f"no notebook can be read at {path} ({problem.strerror or problem})") from None
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError) as problem:  # JSON or not
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise InputError(f"{path} is not a notebook ({reason[:120]})") from None


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def heading(cell: NotebookNode) -> str | None:
    """The text of the last heading in a Markdown cell."""
    if cell.cell_type != "markdown":
        return None
    prose = "".join(cell.source.split("```")[::2])  # a # inside a code fence is a comment
    headings = [line.lstrip("#").strip() for line in prose.splitlines() if _is_heading(line)]
    return headings[-1] if headings else None


def sections(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Each cell with the heading it stands under."""
    current = ""
    for cell in notebook.cells:
        current = heading(cell) or current
        yield current, cell


def where(section: str, cell: NotebookNode) -> str:
    """A place a reader can find: cell numbers shift when a parameter is injected."""
    first_line = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
    return f"{section or 'the first cells'}, at `{first_line[:60]}`"


def parsed(cell: NotebookNode) -> ast.Module:
    """A code cell as Python sees it, magics as calls of `get_ipython()`. Raises SyntaxError."""
    from IPython.core.inputtransformer2 import TransformerManager

    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(TransformerManager().transform_cell(cell.source), "<cell>", "exec", flags)


def _is_heading(line: str) -> bool:
    return line.startswith("#") and line.lstrip("#").startswith(" ")


def _code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


# Parameters


def parameter_defaults(cell: NotebookNode) -> dict[str, Any]:
    """What a `parameters` cell assigns: name -> value, or `NOT_LITERAL` where it is not written out.

    papermill has a reader of its own, but it goes line by line and cannot read `OUT = "a=b"` or "#fff".
    """
    found = {}
    for statement in parsed(cell).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = _literal(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = _literal(value)
    return found


def _literal(expression: ast.expr | str) -> Any:
    try:
        return ast.literal_eval(expression)
    except (ValueError, SyntaxError, TypeError):
        return NOT_LITERAL


def _parameter_values(notebook: NotebookNode, given: Mapping[str, Any], fast: bool, name: str) -> dict[str, Any]:
    cells = [cell for cell in _code_cells(notebook) if "parameters" in tags(cell)]
    if given and not cells:
        raise InputError(f"{name} has no cell tagged `parameters`, so it takes none; got {', '.join(given)}")
    known = parameter_defaults(cells[0]) if cells else {}
    unknown = [key for key in given if key not in known]
    if unknown:
        raise InputError(f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    values = {"FAST": fast} if "FAST" in known else {}
    return values | {key: _typed(key, value, known[key]) for key, value in given.items()}


def _typed(name: str, given: Any, default: Any) -> Any:
    """`given` as the type of `default`: a command line has only text."""
    try:
        return _as_type_of(default, str(given) if isinstance(given, Path) else given)
    except (TypeError, ValueError):
        kind = type(default).__name__
        raise InputError(f"parameter {name} takes {kind}, such as {default!r}; got {given!r}") from None


def _as_type_of(default: Any, given: Any) -> Any:
    if isinstance(default, str):
        return _expect(given, str)
    if isinstance(default, bool):
        words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        return _expect(words.get(given.lower()) if isinstance(given, str) else given, bool)
    value = _literal(given) if isinstance(given, str) else given
    if default is None or default is NOT_LITERAL:
        return given if value is NOT_LITERAL else value
    if isinstance(value, bool):
        raise TypeError("a truth value is not a number")
    if isinstance(default, float):
        return float(_expect(value, int | float))
    if isinstance(default, list | tuple):
        return type(default)(_expect(value, list | tuple))
    return _expect(value, type(default))


def _expect(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(kind)
    return value


# Code whose failure no runner can see, so that it is refused before the run

_BANNED_CALLS = {
    "input": "waits for an answer",
    "getpass.getpass": "waits for an answer",
    "breakpoint": "waits for an answer",
    "os.system": "hides a failure",
    "os.popen": "hides a failure",
    "subprocess.call": "hides a failure",
    "subprocess.Popen": "hides a failure",
    "subprocess.getoutput": "hides a failure",
    "get_ipython().system": "a shell command's failure is invisible",
    "get_ipython().getoutput": "a shell command's failure is invisible",
    "get_ipython().run_cell_magic": "cell magics hide what they run",
}


def code_problems(notebook: NotebookNode) -> tuple[str, ...]:
    """Shell commands, magics and questions to the user: what fails unseen or waits for ever."""
    problems = []
    for section, cell in sections(notebook):
        if cell.cell_type == "code":
            problems += [f"{where(section, cell)}: {fault}" for fault in _faults(cell)]
    return tuple(problems)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with the dotted name it is made by."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _faults(cell: NotebookNode) -> Iterator[str]:
    try:
        tree = parsed(cell)
    except SyntaxError as problem:
        yield f"SyntaxError: {problem.msg}"
        return
    for name, call in calls(tree):
        arguments = [a.value for a in call.args if isinstance(a, ast.Constant)]
        if name in _BANNED_CALLS:
            shown = name + "".join(f" {argument}" for argument in arguments[:1])
            yield f"`{shown}` {_BANNED_CALLS[name]}; write it in Python"
        elif name == "get_ipython().run_line_magic" and arguments[:1] not in [[magic] for magic in MAGICS]:
            allowed = ", ".join(f"%{magic}" for magic in MAGICS)
            yield f"unknown or banned magic %{arguments[0] if arguments else '?'}; only {allowed} may be used"
        elif name == "subprocess.run" and not any(k.arg == "check" for k in call.keywords):
            yield "`subprocess.run` without `check=True` hides a failure"


# A private, offline place to run in

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
    folder: Path  # removed afterwards
    environment: dict[str, str]  # for the processes that run in it

    def thread_problems(self) -> tuple[str, ...]:
        """Exceptions that ended a thread in a kernel: nothing else reports them."""
        log = Path(self.environment["LABKIT_THREAD_LOG"])
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return tuple(" ".join(json.loads(line).split()) for line in lines)


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """A place where `python3` is this interpreter, no setting of the user's counts and only loopback answers.

    For a process that will start kernels: papermill, nbval, JupyterLab.
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


# A process that cannot outlive its limit


@dataclass(frozen=True)
class Ended:
    code: int | None  # exit status; None if it had to be ended at its limit
    seconds: float
    peak_rss_mb: float  # of the largest kernel below it
    log: str  # what it printed


def supervise(command: Sequence[str], environment: Mapping[str, str], cwd: Path, limit_s: float) -> Ended:
    """Run `command` to its end or to the limit. Afterwards nothing it started is alive."""
    start = time.monotonic()
    peak_mb, family = 0.0, set()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=cwd
        )
        try:
            while process.poll() is None and time.monotonic() - start < limit_s:
                family.update(_family(process.pid))  # and those stay in it whose parent has gone
                peak_mb = max([peak_mb, *map(_kernel_mb, family)])
                _wait(process, POLL_S)
            code = process.poll()
        finally:  # also when the user presses Ctrl-C: a kernel is in a session of its own and gets no signal
            _end(process, family)
        seconds = time.monotonic() - start
        log.seek(0)
        return Ended(code, seconds, peak_mb, log.read().decode("utf-8", "replace"))


def _wait(process: subprocess.Popen, seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _kernel_mb(process: psutil.Process) -> float:
    try:
        is_kernel = any("ipykernel" in word for word in process.cmdline())
        return process.memory_info().rss / 2**20 if is_kernel else 0.0
    except psutil.Error:  # gone since it was listed
        return 0.0


def _end(process: subprocess.Popen, family: set[psutil.Process]) -> None:
    newcomers = _family(process.pid) if process.poll() is None else []  # else the id may be another's by now
    process.kill()
    for member in family.union(newcomers):
        try:
            member.kill()  # psutil makes sure that the id is still the same process's
        except psutil.Error:
            pass
    process.wait()


# papermill, and what it passes over

# `python -m papermill`, with two repairs that must be made inside its process:
# - jsonschema builds a grammar of internet addresses (1.5 s) to check a format that no notebook has, and does
#   without where the package is missing;
# - nbclient answers an Output widget through the socket on which it waits for the cell's end, and so can miss
#   that end and wait for the whole cell timeout (jupyter/nbclient#312; 1 run in 6 of a notebook with widgets
#   on two busy cores). Asking again every 0.2 s finds the message.
_PAPERMILL = """\
import sys
sys.modules["rfc3987_syntax"] = None

from queue import Empty
from time import monotonic
from jupyter_client.channels import AsyncZMQSocketChannel

async def get_msg(self, timeout=None):
    end = float("inf") if timeout is None else monotonic() + timeout
    while True:
        left = max(0.0, end - monotonic())
        if await self.socket.poll(int(1000 * min(left, 0.2))):
            return await self._recv()
        if monotonic() >= end:
            raise Empty

AsyncZMQSocketChannel.get_msg = get_msg

from papermill.cli import papermill
papermill()
"""


def _papermill(source: Path, target: Path, values: dict[str, Any], cell_s: float, cwd: Path, box: Sandbox) -> list[str]:
    import yaml  # papermill's own format for parameters; JSON's 1e-05 would reach it as text

    command = [sys.executable, "-c", _PAPERMILL, str(source), str(target), "--no-progress-bar"]
    command += ["--kernel", "python3", "--language", "python", "--cwd", str(cwd)]
    command += ["--execution-timeout", str(math.ceil(cell_s))]
    if values:
        listed = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        file = write_text(box.folder / "parameters.yaml", yaml.safe_dump(listed, sort_keys=False))
        command += ["--parameters_file", str(file)]
    return command


def _unexecuted(notebook: NotebookNode) -> NotebookNode:
    """A copy with no trace of an earlier run, for this environment's kernel."""
    copy = nbformat.from_dict(notebook)
    copy.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC})
    for cell in copy.cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return copy


def _kernel_did_not_start(ended: Ended) -> bool:
    reasons = ("Kernel died before replying to kernel_info", "Kernel didn't respond in")
    return bool(ended.code) and any(reason in ended.log for reason in reasons)


def _written(target: Path) -> NotebookNode:
    """What papermill left, if anything: it may have been ended in the middle of a write."""
    try:
        return read_notebook(target)
    except InputError:
        return nbformat.v4.new_notebook()


def _problems(ended: Ended, notebook: NotebookNode, cell_s: float, total_s: float) -> list[str]:
    problems = [
        *_how_it_ended(ended, notebook, cell_s, total_s),
        *_errors(notebook),
        *_widget_errors(notebook),
    ]
    cells = _code_cells(notebook)
    missed = sum(cell.execution_count is None for cell in cells)
    if not cells:
        problems.append("no code cell ran: the notebook is empty")
    elif missed:
        problems.append(f"{missed} of {len(cells)} code cells did not run")
    if ended.code and not problems:
        last = (ended.log.strip().splitlines() or ["no message"])[-1]
        problems.append(f"papermill ended with status {ended.code}: {last[:200]}")
    return problems


def _how_it_ended(ended: Ended, notebook: NotebookNode, cell_s: float, total_s: float) -> Iterator[str]:
    reached = [
        (section, cell)
        for section, cell in sections(notebook)
        if cell.cell_type == "code" and cell.metadata.get("papermill", {}).get("start_time")
    ]
    place = where(*reached[-1]) if reached else "before the first cell"
    if ended.code is None:
        yield f"{place}: still running at the limit of {total_s:g} s for the whole notebook"
    elif "CellTimeoutError" in ended.log:
        yield f"{place}: ran past the limit of {cell_s:g} s for one cell"
    elif "DeadKernelError" in ended.log or _kernel_did_not_start(ended):
        yield f"{place}: the kernel died"


def _errors(notebook: NotebookNode) -> Iterator[str]:
    for section, cell in sections(notebook):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                yield f"{where(section, cell)}: {_said(output)}"


def _widget_errors(notebook: NotebookNode) -> Iterator[str]:
    """An exception in a callback lands in the saved state of an Output widget, and papermill exits with 0."""
    saved = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    for model in saved.get("state", {}).values():
        for output in model.get("state", {}).get("outputs", []):
            if model.get("model_name") == "OutputModel" and output.get("output_type") == "error":
                yield f"a widget's callback raised {_said(output)}"


def _said(output: Mapping[str, Any]) -> str:
    first_line = (str(output["evalue"]).splitlines() or ["no message"])[0]
    return f"{output['ename']}: {first_line[:300]}"
