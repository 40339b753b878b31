"""One percent source a notebook, two editions: the learner's, with blanks, and the solution's.

`notebooks/src/NN_topic.py` is what an author edits; `build` writes `notebooks/NN_topic.ipynb` and
`notebooks/solutions/NN_topic.ipynb`, the same bytes from the same source every time. In a code cell tagged
`exercise` the author writes the answer between two comments, with what the learner finds in its place before:

    # stub: return None
    # solution
    return energy / steps
    # end solution

Outputs live only on the learner edition's cells tagged `keep_output`; `execute_static` puts them there.
"""

import ast
import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from labkit import headless
from labkit.errors import InputError
from labkit.headless import heading, sections, tags, where
from labkit.storage import write_text

TAGS = frozenset(
    "parameters setup objectives predict exercise check hint solution widget report stretch keep_output "
    "hide-input nb-header nbval-check-output".split()
)
MOST_CODE_LINES = 25
MOST_PARAMETERS = 8
MOST_BYTES = 150_000
HINTS = 3


def build(root: str | Path) -> list[Path]:
    """Write both editions of every source under `root`/notebooks/src; returns their paths."""
    paths = []
    for source in sources(root):
        for path, text in _expected(source, root):
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                write_text(path, text)
            paths.append(path)
    return paths


def check(root: str | Path) -> list[str]:
    """Where the committed editions are not what their sources give; empty when they agree.

    Outputs of `keep_output` cells are taken as they are; any other output or execution count is a difference.
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


def lint(path: str | Path) -> list[str]:
    """What a course notebook may not be, for a source (both its editions) or for one edition's file."""
    path = Path(path)
    if path.suffix == ".py":
        try:
            editions = [_edition(path, solution) for solution in (False, True)]
        except InputError as problem:
            return [str(problem)]
        problems = [*_source_problems(path), *(p for e in editions for p in _problems(e, path.stem))]
    else:
        notebook = headless.read_notebook(path)
        problems = [*_problems(notebook, path.stem), *_stored_problems(notebook, path)]
    if path.stat().st_size > MOST_BYTES:
        problems.append(f"the file has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,}")
    return list(dict.fromkeys(problems))  # the editions share most of theirs


def exercise_cells(source: str | Path) -> list[tuple[str, str]]:
    """The code of every exercise of a source, as (stub, solution)."""
    return [_stub_and_answer(cell.source) for cell in _exercises(_read_source(source))]


def execute_static(root: str | Path, names: Iterable[str | int] = ()) -> list[Path]:
    """Run learner editions (all of them unless named) and store the pictures of their `keep_output` cells.

    Raises InputError if a notebook does not run cleanly, or a kept cell shows nothing that can be kept.
    """
    folder = Path(root, "notebooks")
    build(root)
    paths = [headless.find(name, folder) for name in names] or headless.notebooks(folder)
    for path in paths:
        outputs = _executed(path)
        source = folder / "src" / f"{path.stem}.py"
        write_text(path, _text(_edition(source, solution=False, kept=outputs)))
    return paths


def sources(root: str | Path) -> list[Path]:
    return sorted(Path(root, "notebooks", "src").glob("[0-9][0-9]_*.py"))


# From a source to an edition


def _expected(source: Path, root: str | Path) -> Iterator[tuple[Path, str]]:
    """Both editions' paths and texts; the learner's keeps the outputs it is allowed to have."""
    learner = Path(root, "notebooks", f"{source.stem}.ipynb")
    yield learner, _text(_edition(source, solution=False, kept=_cells_by_id(learner)))
    yield learner.parent / "solutions" / learner.name, _text(_edition(source, solution=True))


def _edition(source: Path, solution: bool, kept: Mapping[str, NotebookNode] | None = None) -> NotebookNode:
    ordinals, cells = Counter(), []
    for section, cell in sections(_read_source(source)):
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
    text = _stub_and_answer(cell.source)[solution] if "exercise" in tags(cell) else cell.source
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


def _stub_and_answer(text: str) -> tuple[str, str]:
    """An exercise's code as the learner finds it, and as it is solved."""
    stub, answer, replacement, inside = [], [], [], False
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


def _read_source(path: str | Path) -> NotebookNode:
    try:
        return jupytext.read(path, fmt="py:percent")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"no notebook source can be read at {path} ({problem})") from None


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


# Static outputs


def _executed(path: Path) -> dict[str, NotebookNode]:
    """The cells of `path` after a run, by id, with only those outputs that show without a kernel."""
    with tempfile.TemporaryDirectory(prefix="labkit-") as out:
        report = headless.run(path, out)
        if not report.passed:
            raise InputError(f"{path.name} does not run, so nothing was stored: {'; '.join(report.problems)}")
        cells = _cells_by_id(Path(out, path.name))
    for cell in cells.values():
        if "keep_output" in tags(cell):
            cell.outputs = [static for output in cell.outputs if (static := _static(output))]
            if not cell.outputs:
                raise InputError(
                    f"{path.name}: {_title(cell)} is tagged keep_output and leaves nothing to keep; "
                    f"show text, HTML or a picture with alt text"
                )
    return cells


def _static(output: NotebookNode) -> NotebookNode | None:
    """`output` without what needs a kernel, a page's script or eyes to be read; None if nothing is left."""
    if output.output_type in ("stream", "error"):
        return output if output.get("name") == "stdout" else None
    alts = {mime: about["alt"] for mime, about in output.metadata.items() if _has_alt(about)}
    shown = {mime: value for mime, value in output.data.items() if mime == "text/html" or mime in alts}
    if not shown and set(output.data) != {"text/plain"}:
        return None  # the text beside a widget, or beside a picture without alt text, says nothing
    if "text/plain" in output.data:
        shown["text/plain"] = output.data["text/plain"]
    metadata = {mime: {"alt": alt} for mime, alt in alts.items() if mime in shown}
    return nbformat.from_dict({**output, "data": shown, "metadata": metadata})


def _has_alt(about: Any) -> bool:
    return isinstance(about, Mapping) and bool(about.get("alt"))


# What a course notebook may not be


def _source_problems(path: Path) -> Iterator[str]:
    """What only the source shows."""
    for cell in _exercises(_read_source(path)):
        stub, answer = _stub_and_answer(cell.source)
        if stub == answer:
            yield f"the exercise {_title(cell)} has no `# solution` ... `# end solution` block"


def _stored_problems(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """What only a file has: outputs."""
    if "widgets" in notebook.metadata:
        yield "saved widget state: GitHub and an offline reader cannot show it"
    is_learners = path.parent.name != "solutions"
    for section, cell in sections(notebook):
        if is_learners and "keep_output" in tags(cell) and not cell.get("outputs"):
            yield f"{where(section, cell)}: tagged keep_output without an output; run execute_static"
        for output in cell.get("outputs", []):
            if _static(output) != output:
                yield f"{where(section, cell)}: stores an output that cannot be kept; run execute_static"
            yield from _alt_problems(where(section, cell), output.get("data", {}).get("text/html", ""))


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
        yield from _alt_problems(place, cell.source)
        if cell.cell_type == "code":
            yield from _code_problems(place, cell)


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
    starts = [n for n, cell in enumerate(notebook.cells) if _is_exercise(cell)]
    if not starts:
        yield "no code cell is tagged exercise"
    for start, end in zip(starts, [*starts[1:], None]):
        title = _title(notebook.cells[start])
        following = notebook.cells[start:end]
        if not any("check" in tags(cell) and cell.cell_type == "code" for cell in following):
            yield f"the exercise {title} has no code cell tagged check"
        hints = sum(cell.source.count("<details") for cell in following if "hint" in tags(cell))
        if hints < HINTS:
            yield f"the exercise {title} has {hints} `<details>` in cells tagged hint; expected {HINTS}"


def _exercises(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if _is_exercise(cell)]


def _is_exercise(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and "exercise" in tags(cell)  # its Markdown may bear the tag too


def _title(cell: NotebookNode) -> str:
    return f"`{(cell.source.splitlines() or ['(empty)'])[0]}`"


def _widget_problems(notebook: NotebookNode) -> Iterator[str]:
    drawn = False
    for section, cell in sections(notebook):
        if "widget" in tags(cell) and not drawn:
            yield f"{where(section, cell)}: no earlier keep_output cell draws what this widget shows"
        drawn = drawn or (cell.cell_type == "code" and "keep_output" in tags(cell))


def _alt_problems(place: str, text: str) -> Iterator[str]:
    for image in re.findall(r"<img\b[^>]*>", text):
        if not re.search(r"""\balt\s*=\s*(["'])\s*[^"'\s]""", image):
            yield f"{place}: an <img> without alt text"
    if re.search(r"!\[\s*\]\(", text):
        yield f"{place}: a Markdown image without alt text"


_MARKERS = re.compile(r"^\s*# (stub:|solution$|end solution$)", re.MULTILINE)
_ABSOLUTE = re.compile(r"(~|[A-Za-z]:)[\\/]|file:|/([\w.-]+/|(home|root|tmp|usr|var|mnt|etc|opt|content)$)")
_ADDRESS = re.compile(r"\b(https?|ftp|s3|gs)://")
_FETCHING = re.compile(r"(urllib\.request|requests|httpx|aiohttp|ftplib|gdown|wget|http\.client)\b")


def _code_problems(place: str, cell: NotebookNode) -> Iterator[str]:
    """What a cell of the course may not do, beyond what no runner could see."""
    lines = len(cell.source.splitlines())
    if lines > MOST_CODE_LINES:
        yield f"{place}: {lines} lines of code; at most {MOST_CODE_LINES}, the rest belongs in the package"
    if _MARKERS.search(cell.source):
        yield f"{place}: a `# solution` or `# stub:` mark outside a cell tagged exercise"
    try:
        tree = headless.parsed(cell)
    except SyntaxError:
        return  # headless.code_problems says so
    for text in _strings(tree):
        if _ADDRESS.search(text):
            yield f"{place}: an address in code; nothing is fetched, and links belong in Markdown"
        elif _ABSOLUTE.match(text):
            yield f"{place}: the absolute path {text!r}"
    for module in _imports(tree):
        if _FETCHING.match(module):
            yield f"{place}: imports {module}; nothing is fetched"
    for name, call in headless.calls(tree):
        if any(k.arg == "download" and getattr(k.value, "value", None) is True for k in call.keywords):
            yield f"{place}: `{name}` downloads"


def _strings(tree: ast.AST) -> Iterator[str]:
    """String constants, but for what follows a value in an f-string: f"{folder}/a/b" is a relative path."""
    later_parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values[1:]}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in later_parts:
            yield node.value


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
