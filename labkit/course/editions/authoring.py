"""What an author writes: the sources, and the stub and the answer in each exercise."""

from pathlib import Path

import jupytext
from nbformat import NotebookNode

from labkit.course.headless import tags
from labkit.system.errors import InputError


def sources(root: str | Path) -> list[Path]:
    """List the sources of the course.

    Args:
        root: folder that holds notebooks/src.

    Returns:
        Paths of NN_topic.py, in teaching order.
    """
    return sorted(Path(root, "notebooks", "src").glob("[0-9][0-9]_*.py"))


def exercise_cells(source: str | Path) -> list[tuple[str, str]]:
    """Read the code of every exercise of a source.

    Args:
        source: the percent script.

    Returns:
        (stub, solution) of each.

    Raises:
        InputError: the source cannot be read, or an exercise in it lacks a mark.
    """
    return [stub_and_answer(cell.source) for cell in exercises(read_source(source))]


def read_source(path: str | Path) -> NotebookNode:
    """Read a percent script as a notebook.

    Args:
        path: the script.

    Returns:
        The notebook.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return jupytext.read(path, fmt="py:percent")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"no notebook source can be read at {path} ({problem})") from None


def exercises(notebook: NotebookNode) -> list[NotebookNode]:
    """List the exercises of a notebook.

    Args:
        notebook: the notebook of a source.

    Returns:
        Its code cells that are tagged `exercise`.
    """
    return [cell for cell in notebook.cells if is_exercise(cell)]


def is_exercise(cell: NotebookNode) -> bool:
    """Check that a cell is the code of an exercise; its Markdown may bear the tag too.

    Args:
        cell: the cell.

    Returns:
        True for a code cell tagged `exercise`.
    """
    return cell.cell_type == "code" and "exercise" in tags(cell)  # its Markdown may bear the tag too


def first_line(cell: NotebookNode) -> str:
    """Name a cell by its first line, in backticks.

    Args:
        cell: the cell.

    Returns:
        The name, for a problem.
    """
    return f"`{(cell.source.splitlines() or ['(empty)'])[0]}`"


def stub_and_answer(text: str) -> tuple[str, str]:
    """Split an exercise into what the learner sees and how it is solved.

    Args:
        text: the code, with its marks.

    Returns:
        The stub and the answer.

    Raises:
        InputError: a mark is missing.
    """
    stub: list[str] = []
    answer: list[str] = []
    replacement: list[str] = []
    inside = False
    for line in text.splitlines():
        word, indent = line.strip(), line[: len(line) - len(line.lstrip())]
        if word == "# solution" and not inside:
            inside = True
            stub += [indent + new for new in ["# write your code here", *(replacement or ["..."])]]
            replacement = []
        elif word == "# end solution" and inside:
            inside = False
        elif word.startswith("# stub:") and not inside:
            replacement.append(word.removeprefix("# stub:").removeprefix(" "))
        elif inside:
            answer.append(line)
        else:
            stub.append(line)
            answer.append(line)
    if inside or replacement:
        raise InputError(f"an exercise lacks its `# {'end ' * inside}solution` line: `{text.splitlines()[0]}`")
    return "\n".join(stub), "\n".join(answer)
