"""Code whose failure no runner can see, so that it is refused before the run."""

import ast
from collections.abc import Iterator

from nbformat import NotebookNode

from labkit.course.headless.reading import parsed, sections, where

MAGICS = ("matplotlib", "config")  # the only ones that change nothing but how figures look


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
    """Find shell commands, magics and questions to the user: what fails unseen or waits for ever.

    Args:
        notebook: the notebook.

    Returns:
        One line a problem.
    """
    problems = []
    for section, cell in sections(notebook):
        if cell.cell_type == "code":
            problems += [f"{where(section, cell)}: {fault}" for fault in _faults(cell)]
    return tuple(problems)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Find the calls in a program.

    Args:
        tree: the parsed program.

    Yields:
        The dotted name and the call.
    """
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
        arguments = [str(a.value) for a in call.args if isinstance(a, ast.Constant)]
        if name in _BANNED_CALLS:
            shown = name + "".join(f" {argument}" for argument in arguments[:1])
            yield f"`{shown}` {_BANNED_CALLS[name]}; write it in Python"
        elif name == "get_ipython().run_line_magic" and arguments[:1] not in [[magic] for magic in MAGICS]:
            allowed = ", ".join(f"%{magic}" for magic in MAGICS)
            yield f"unknown or banned magic %{arguments[0] if arguments else '?'}; only {allowed} may be used"
        elif name == "subprocess.run" and not any(k.arg == "check" for k in call.keywords):
            yield "`subprocess.run` without `check=True` hides a failure"
