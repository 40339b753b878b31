"""The parameters of a notebook: their defaults, and given values read as the types of the defaults."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from labkit.course.headless.reading import code_cells, parsed, tags
from labkit.system.errors import InputError

NOT_LITERAL = object()  # the default of a parameter that only running the notebook could tell


def parameter_defaults(cell: NotebookNode) -> dict[str, Any]:
    """Read what a `parameters` cell assigns.

    papermill has a reader of its own, but it goes line by line and cannot read `OUT = "a=b"` or "#fff".

    Args:
        cell: the code cell.

    Returns:
        Name -> value, or `NOT_LITERAL` where it is not written out.

    Raises:
        SyntaxError: the cell is no Python.
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


def parameter_values(notebook: NotebookNode, given: Mapping[str, Any], fast: bool, name: str) -> dict[str, Any]:
    """Collect the parameters to run with.

    Args:
        notebook: the notebook.
        given: name -> value; a text is read as the type of the default.
        fast: value of FAST, where the notebook has it and it is not given.
        name: of the notebook, for messages.

    Returns:
        Name -> value.

    Raises:
        InputError: the notebook has no such parameter, or the value is of another type.
    """
    cells = [cell for cell in code_cells(notebook) if "parameters" in tags(cell)]
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
