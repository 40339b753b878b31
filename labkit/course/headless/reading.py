"""Notebooks on the disk: cells, tags, headings, and the name of a place in one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from labkit.system.errors import InputError


def read_notebook(path: str | Path) -> NotebookNode:
    """Read a notebook in format 4.

    Args:
        path: the .ipynb file.

    Returns:
        The notebook.

    Raises:
        InputError: it cannot be read, or is no notebook.
    """
    path = Path(path)
    try:
        return nbformat.read(path, as_version=4)
    except OSError as problem:
        raise InputError(f"no notebook can be read at {path} ({problem.strerror or problem})") from None
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError) as problem:  # JSON or not
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise InputError(f"{path} is not a notebook ({reason[:120]})") from None


def tags(cell: NotebookNode) -> list[str]:
    """List the tags of a cell.

    Args:
        cell: the cell.

    Returns:
        Its tags; [] without any.
    """
    return cell.metadata.get("tags", [])


def heading(cell: NotebookNode) -> str | None:
    """Find the last heading in a Markdown cell.

    Args:
        cell: the cell.

    Returns:
        The text; None without a heading.
    """
    if cell.cell_type != "markdown":
        return None
    prose = "".join(cell.source.split("```")[::2])  # a # inside a code fence is a comment
    headings = [line.lstrip("#").strip() for line in prose.splitlines() if _is_heading(line)]
    return headings[-1] if headings else None


def sections(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Go through the cells with the heading that each stands under.

    Args:
        notebook: the notebook.

    Yields:
        The heading and the cell.
    """
    current = ""
    for cell in notebook.cells:
        current = heading(cell) or current
        yield current, cell


def where(section: str, cell: NotebookNode) -> str:
    """Name a place that a reader can find: cell numbers shift when a parameter is injected.

    Args:
        section: the heading that the cell stands under.
        cell: the cell.

    Returns:
        The heading and the first line.
    """
    first_line = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
    return f"{section or 'the first cells'}, at `{first_line[:60]}`"


def parsed(cell: NotebookNode) -> ast.Module:
    """Parse a code cell, with magics as calls of `get_ipython()`.

    Args:
        cell: the cell.

    Returns:
        The syntax tree.

    Raises:
        SyntaxError: the cell is no Python.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(TransformerManager().transform_cell(cell.source), "<cell>", "exec", flags)


def _is_heading(line: str) -> bool:
    return line.startswith("#") and line.lstrip("#").startswith(" ")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """List the code cells that are not empty.

    Args:
        notebook: the notebook.

    Returns:
        The cells, in order.
    """
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
