"""What a notebook of the course may not hold."""

import re
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from labkit.course import headless
from labkit.course.editions.authoring import exercises, first_line, is_exercise, read_source, stub_and_answer
from labkit.course.editions.building import edition
from labkit.course.editions.code import alt_problems, code_problems
from labkit.course.editions.outputs import static_output
from labkit.course.headless import heading, sections, tags, where
from labkit.system.errors import InputError

TAGS = frozenset(
    "parameters setup objectives predict exercise check hint solution widget report stretch keep_output "
    "hide-input nb-header nbval-check-output".split()
)
MOST_PARAMETERS = 8
MOST_BYTES = 150_000
HINTS = 3


def lint(path: str | Path) -> list[str]:
    """Find what a notebook of the course may not hold.

    Args:
        path: a source, for both its editions, or the file of one edition.

    Returns:
        One line a problem.

    Raises:
        InputError: the file of an edition cannot be read.
    """
    path = Path(path)
    if path.suffix == ".py":
        try:
            editions = [edition(path, solution) for solution in (False, True)]
        except InputError as problem:
            return [str(problem)]
        problems = [*_source_problems(path), *(p for e in editions for p in _problems(e, path.stem))]
    else:
        notebook = headless.read_notebook(path)
        problems = [*_problems(notebook, path.stem), *_stored_problems(notebook, path)]
    if path.stat().st_size > MOST_BYTES:
        problems.append(f"the file has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,}")
    return list(dict.fromkeys(problems))  # the editions share most of theirs


def _source_problems(path: Path) -> Iterator[str]:
    """What only the source shows."""
    for cell in exercises(read_source(path)):
        stub, answer = stub_and_answer(cell.source)
        if stub == answer:
            yield f"the exercise {first_line(cell)} has no `# solution` ... `# end solution` block"


def _stored_problems(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """What only a file has: outputs."""
    if "widgets" in notebook.metadata:
        yield "saved widget state: GitHub and an offline reader cannot show it"
    is_learners = path.parent.name != "solutions"
    for section, cell in sections(notebook):
        if is_learners and "keep_output" in tags(cell) and not cell.get("outputs"):
            yield f"{where(section, cell)}: tagged keep_output without an output; run execute_static"
        for output in cell.get("outputs", []):
            if static_output(output) != output:
                yield f"{where(section, cell)}: stores an output that cannot be kept; run execute_static"
            yield from alt_problems(where(section, cell), output.get("data", {}).get("text/html", ""))


def _problems(notebook: NotebookNode, name: str) -> Iterator[str]:
    yield from _skeleton_problems(notebook, name)
    yield from _parameter_problems(notebook)
    yield from _exercise_problems(notebook)
    yield from _widget_problems(notebook)
    yield from headless.code_problems(notebook)
    for section, cell in sections(notebook):
        place = where(section, cell)
        unknown = sorted(set(tags(cell)) - TAGS)
        if unknown:
            yield f"{place}: unknown tags {', '.join(unknown)}"
        if "nbval-check-output" in tags(cell) and "keep_output" not in tags(cell):
            yield f"{place}: nbval-check-output without keep_output compares nothing"
        yield from alt_problems(place, cell.source)
        if cell.cell_type == "code":
            yield from code_problems(place, cell)


def _skeleton_problems(notebook: NotebookNode, name: str) -> Iterator[str]:
    number = name[:2]
    first = notebook.cells[0] if notebook.cells else None
    if first is None or not re.match(rf"# {number}\. \S", first.source) or heading(first) is None:
        yield f"the first cell is not Markdown that starts with `# {number}. a title`"
    if not any("objectives" in tags(cell) for cell in notebook.cells if cell.cell_type == "markdown"):
        yield "no Markdown cell is tagged objectives"


def _parameter_problems(notebook: NotebookNode) -> Iterator[str]:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in tags(cell)]
    if len(tagged) != 1:
        yield f"{len(tagged)} code cells are tagged parameters; expected one"
        return
    if tagged[0] is not code[0]:
        yield "the parameters cell is not the first code cell"
    try:
        values = headless.parameter_defaults(tagged[0])
        statements = len(headless.parsed(tagged[0]).body)
    except SyntaxError:
        return  # reported as code
    if len(values) != statements or headless.NOT_LITERAL in values.values():
        yield "the parameters cell holds more than `NAME = literal` lines"
    if not 1 <= len(values) <= MOST_PARAMETERS:
        yield f"the parameters cell has {len(values)} parameters; expected 1 to {MOST_PARAMETERS}"


def _exercise_problems(notebook: NotebookNode) -> Iterator[str]:
    """Each exercise, up to the next one, has a check and its hints."""
    starts = [n for n, cell in enumerate(notebook.cells) if is_exercise(cell)]
    if not starts:
        yield "no code cell is tagged exercise"
    for start, end in zip(starts, [*starts[1:], None]):
        title = first_line(notebook.cells[start])
        following = notebook.cells[start:end]
        if not any("check" in tags(cell) and cell.cell_type == "code" for cell in following):
            yield f"the exercise {title} has no code cell tagged check"
        hints = sum(cell.source.count("<details") for cell in following if "hint" in tags(cell))
        if hints < HINTS:
            yield f"the exercise {title} has {hints} `<details>` in cells tagged hint; expected {HINTS}"


def _widget_problems(notebook: NotebookNode) -> Iterator[str]:
    drawn = False
    for section, cell in sections(notebook):
        if "widget" in tags(cell) and not drawn:
            yield f"{where(section, cell)}: no earlier keep_output cell draws what this widget shows"
        drawn = drawn or (cell.cell_type == "code" and "keep_output" in tags(cell))
