"""From a source to its two editions, and the outputs that the learner's keeps."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from labkit.course import headless
from labkit.course.editions.authoring import first_line, read_source, sources, stub_and_answer
from labkit.course.editions.outputs import static_output
from labkit.course.headless import sections, tags
from labkit.system.errors import InputError
from labkit.system.storage import write_text


def build(root: str | Path) -> list[Path]:
    """Write both editions of every source.

    Args:
        root: folder that holds notebooks/src.

    Returns:
        The paths of all editions.

    Raises:
        InputError: a source cannot be read, or an exercise in it lacks a mark.
    """
    paths = []
    for source in sources(root):
        for path, text in _expected(source, root):
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)
            paths.append(path)
    return paths


def check(root: str | Path) -> list[str]:
    """Compare the committed editions with what their sources give.

    Outputs of `keep_output` cells are taken as they are; any other output or execution count is a difference.

    Args:
        root: folder that holds notebooks/src.

    Returns:
        One line a difference; empty when they agree.

    Raises:
        InputError: a source cannot be read, or an exercise in it lacks a mark.
    """
    differences, expected_paths = [], set()
    for source in sources(root):
        for path, text in _expected(source, root):
            expected_paths.add(path)
            if difference := _difference(path, text):
                differences.append(f"{path.relative_to(root).as_posix()} {difference}: run the build")
    found = {*Path(root, "notebooks").glob("*.ipynb"), *Path(root, "notebooks", "solutions").glob("*.ipynb")}
    for path in sorted(found - expected_paths):
        differences.append(f"{path.relative_to(root).as_posix()} has no source: remove it or write one")
    return differences


def execute_static(root: str | Path, names: Iterable[str | int] = ()) -> list[Path]:
    """Run learner editions and store the pictures of their `keep_output` cells.

    Args:
        root: folder that holds notebooks/src.
        names: the notebooks, as `headless.find` takes them; by default all.

    Returns:
        The paths of the editions.

    Raises:
        InputError: a notebook does not run cleanly, or a kept cell shows nothing that can be kept.
    """
    folder = Path(root, "notebooks")
    build(root)
    paths = [headless.find(name, folder) for name in names] or headless.notebooks(folder)
    for path in paths:
        outputs = _executed(path)
        source = folder / "src" / f"{path.stem}.py"
        write_text(path, _text(edition(source, solution=False, kept=outputs)))
    return paths


def _executed(path: Path) -> dict[str, NotebookNode]:
    """The cells of `path` after a run, by id, with only those outputs that show without a kernel."""
    with tempfile.TemporaryDirectory(prefix="labkit-") as out:
        report = headless.run(path, out)
        if not report.passed:
            raise InputError(f"{path.name} does not run, so nothing was stored: {'; '.join(report.problems)}")
        cells = _cells_by_id(Path(out, path.name))
    for cell in cells.values():
        if "keep_output" in tags(cell):
            cell.outputs = [static for output in cell.outputs if (static := static_output(output))]
            if not cell.outputs:
                raise InputError(
                    f"{path.name}: {first_line(cell)} is tagged keep_output and leaves nothing to keep; "
                    f"show text, HTML or a picture with alt text"
                )
    return cells


def _expected(source: Path, root: str | Path) -> Iterator[tuple[Path, str]]:
    """Both editions' paths and texts; the learner's keeps the outputs it is allowed to have."""
    learner = Path(root, "notebooks", f"{source.stem}.ipynb")
    yield learner, _text(edition(source, solution=False, kept=_cells_by_id(learner)))
    yield learner.parent / "solutions" / learner.name, _text(edition(source, solution=True))


def edition(source: Path, solution: bool, kept: Mapping[str, NotebookNode] | None = None) -> NotebookNode:
    """Make one edition of a source.

    Args:
        source: the percent script.
        solution: True for the solution's edition, False for the learner's.
        kept: cells by id, whose outputs may stay.

    Returns:
        The notebook.

    Raises:
        InputError: the source cannot be read, or an exercise in it lacks a mark.
    """
    ordinals: Counter[str] = Counter()
    cells = []
    for section, cell in sections(read_source(source)):
        ordinals[section] += 1
        identity = _cell_id(source.stem, section, ordinals[section])
        if solution or "solution" not in tags(cell):
            cells.append(_cell(cell, identity, solution, kept or {}))
    _number_shown(cells)
    metadata = {"kernelspec": headless.KERNELSPEC, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def _cell_id(notebook: str, section: str, ordinal: int) -> str:
    """Stable while the section's earlier cells are, and the same in both editions."""
    return hashlib.sha256(f"{notebook}\n{section}\n{ordinal}".encode()).hexdigest()[:12]


def _cell(cell: NotebookNode, identity: str, solution: bool, kept: Mapping[str, NotebookNode]) -> NotebookNode:
    metadata: dict[str, Any] = {"tags": tags(cell)} if tags(cell) else {}
    if cell.cell_type != "code":
        return nbformat.v4.new_markdown_cell(cell.source, id=identity, metadata=metadata)
    if "hide-input" in tags(cell):
        metadata["jupyter"] = {"source_hidden": True}  # what JupyterLab reads; the tag is for Jupyter Book
    text = stub_and_answer(cell.source)[solution] if "exercise" in tags(cell) else cell.source
    outputs = _kept_outputs(kept.get(identity), text) if "keep_output" in tags(cell) else []
    return nbformat.v4.new_code_cell(text, id=identity, metadata=metadata, outputs=outputs)


def _kept_outputs(earlier: NotebookNode | None, text: str) -> list[NotebookNode]:
    """The outputs of the cell as it was, unless its code has changed since."""
    return earlier.outputs if earlier is not None and earlier.source == text else []


def _number_shown(cells: list[NotebookNode]) -> None:
    """Count the cells that have outputs as a straight run would: nbval takes no output of a cell never run."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        if cell.outputs:
            cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number


def _text(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook) + "\n"


def _cells_by_id(path: Path) -> dict[str, NotebookNode]:
    try:
        cells = headless.read_notebook(path).cells
    except InputError:  # none yet, or one that a merge has broken: the source has everything but outputs
        return {}
    return {cell.get("id", ""): cell for cell in cells if cell.cell_type == "code"}


def _difference(path: Path, expected: str) -> str | None:
    if not path.exists():
        return "is missing"
    found = path.read_text(encoding="utf-8")
    if found == expected:
        return None
    lines = zip(expected.splitlines(), found.splitlines())
    differing = ((n, *pair) for n, pair in enumerate(lines, start=1) if pair[0] != pair[1])
    number, ours, theirs = next(differing, (0, "the source's length", "another length"))
    return (
        f"is not what its source gives (line {number}: expected `{ours.strip()[:60]}`, found `{theirs.strip()[:60]}`)"
    )
