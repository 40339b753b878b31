"""Notebooks as they lie on the disk: cells, tags, headings, and where in one something stands."""

import ast
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from labkit.system.errors import InputError


def read_notebook(path: str | Path) -> NotebookNode:
    """A notebook in format 4; InputError where it cannot be read or is none."""
    path = Path(path)
    try:
        return nbformat.read(path, as_version=4)
    except OSError as problem:
        raise InputError(f"no notebook can be read at {path} ({problem.strerror or problem})") from None
    except (ValueError, AttributeError, KeyError, nbformat.ValidationError) as problem:  # JSON or not
        reason = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise InputError(f"{path} is not a notebook ({reason[:120]})") from None


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell; [] without any."""
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


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells that are not empty."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
