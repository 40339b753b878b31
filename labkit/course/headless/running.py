"""papermill behind the gate: a notebook runs, and what papermill passes over is looked for."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from labkit.course.headless.banned import code_problems
from labkit.course.headless.parameters import parameter_values
from labkit.course.headless.reading import code_cells, read_notebook, sections, where
from labkit.course.headless.sandboxing import KERNELSPEC, Sandbox, sandbox
from labkit.course.headless.supervising import Ended, supervise
from labkit.system.errors import InputError
from labkit.system.storage import NOTEBOOKS, writable_folder, write_text

FAST_LIMITS_S = (120, 600)  # one cell, one notebook
FULL_LIMITS_S = (4 * 3600, 12 * 3600)


@dataclass(frozen=True)
class RunReport:
    """The result of running one notebook.

    Attributes:
        notebook: the file's name without its suffix.
        seconds: wall clock, start of papermill and kernel included.
        peak_rss_mb: the kernel's resident memory, largest of the samples taken every `POLL_S`.
        cells: code cells that ran.
        problems: one line each; none means passed.
    """

    notebook: str  # the file's name without its suffix
    seconds: float  # wall clock, start of papermill and kernel included
    peak_rss_mb: float  # the kernel's resident memory, largest of the samples taken every `POLL_S`
    cells: int  # code cells that ran
    problems: tuple[str, ...]  # one line each; none means passed

    @property
    def passed(self) -> bool:
        """True where there is no problem."""
        return not self.problems

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED: " + "; ".join(self.problems)
        return f"{self.notebook}  {self.seconds:.1f} s  {self.peak_rss_mb:.0f} MB  {self.cells} cells  {verdict}"


def find(number_or_name: str | int | Path, folder: Path = NOTEBOOKS) -> Path:
    """Find a notebook.

    Args:
        number_or_name: "06", 6, "frontier", "06_frontier" or a path to an .ipynb file.
        folder: of the notebooks.

    Returns:
        The path.

    Raises:
        InputError: no such notebook.
    """
    wanted = str(number_or_name)
    if wanted.endswith(".ipynb") and Path(wanted).is_file():
        return Path(wanted)
    known = notebooks(folder)
    for path in known:
        number, _, topic = path.stem.partition("_")
        if wanted and (wanted.removesuffix(".ipynb") in (path.stem, topic) or wanted.zfill(2) == number):
            return path
    names = ", ".join(path.stem for path in known) or f"none in {folder}"
    raise InputError(f"no notebook {wanted!r}; there are: {names}")


def notebooks(folder: Path = NOTEBOOKS) -> list[Path]:
    """List the learner editions of the course.

    Args:
        folder: of the notebooks.

    Returns:
        Their paths, in teaching order.
    """
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def run_all(
    out: str | Path,
    fast: bool = True,
    on_report: Callable[[RunReport], object] | None = None,
    folder: Path = NOTEBOOKS,
    cwd: str | Path | None = None,
) -> list[RunReport]:
    """Run every notebook of the course in order; a failure does not stop the later ones.

    Args:
        out: folder of the executed notebooks.
        fast: run them shortened.
        on_report: called with each report.
        folder: of the notebooks.
        cwd: folder that the kernels work in; by default `out`.

    Returns:
        One report a notebook.

    Raises:
        InputError: no notebooks there, or `out` cannot be written.
    """
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
    """Execute a notebook into `out`/<its name> and look for everything that went wrong.

    Args:
        notebook: the .ipynb file.
        out: folder of the executed notebook.
        parameters: name -> value, instead of those in the cell tagged `parameters`; a text is read as the type of the
            default.
        fast: value of the parameter FAST, where the notebook has it and it is not given.
        cell_timeout: seconds for one cell; by default `FAST_LIMITS_S` or `FULL_LIMITS_S`.
        total_timeout: seconds for the notebook; by default the same.
        cwd: folder that the kernel works in, so that what the notebook writes lies there; by default `out`.

    Returns:
        The report, with what the notebook does wrong.

    Raises:
        InputError: no such file or parameter, or an output that is the notebook itself.
    """
    notebook, out = Path(notebook), writable_folder(out).resolve()
    content = read_notebook(notebook)
    target = out / notebook.name
    if target == notebook.resolve():
        raise InputError(f"the output {target} is the notebook itself; name another folder")
    values = parameter_values(content, parameters or {}, fast, notebook.name)
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
        cells = code_cells(_written(target))
        problems = (*_problems(ended, _written(target), cell_s, total_s), *box.thread_problems())
    ran = sum(cell.execution_count is not None for cell in cells)
    return RunReport(notebook.stem, ended.seconds, ended.peak_rss_mb, ran, problems)


PAPERMILL = "labkit.course.headless.papermill_main"  # run by `python -m`


def _papermill(source: Path, target: Path, values: dict[str, Any], cell_s: float, cwd: Path, box: Sandbox) -> list[str]:
    import yaml  # papermill's own format for parameters; JSON's 1e-05 would reach it as text

    command = [sys.executable, "-m", PAPERMILL, str(source), str(target), "--no-progress-bar"]
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
    cells = code_cells(notebook)
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
