"""What a cell of the course may not do or show, beyond what no runner could see."""

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

from labkit.course import headless

MOST_CODE_LINES = 25
_MARKERS = re.compile(r"^\s*# (stub:|solution$|end solution$)", re.MULTILINE)
_ABSOLUTE = re.compile(r"(~|[A-Za-z]:)[\\/]|file:|/([\w.-]+/|(home|root|tmp|usr|var|mnt|etc|opt|content)$)")
_ADDRESS = re.compile(r"\b(https?|ftp|s3|gs)://")
_FETCHING = re.compile(r"(urllib\.request|requests|httpx|aiohttp|ftplib|gdown|wget|http\.client)\b")


def code_problems(place: str, cell: NotebookNode) -> Iterator[str]:
    """Find what a cell of the course may not do, beyond what no runner could see.

    Args:
        place: of the cell, as `headless.where` names it.
        cell: a code cell.

    Yields:
        One line a problem.
    """
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


def alt_problems(place: str, text: str) -> Iterator[str]:
    """Find images in Markdown or HTML without a text that stands for them.

    It stands in `alt`, or in the brackets of Markdown.

    Args:
        place: of the cell, as `headless.where` names it.
        text: Markdown or HTML.

    Yields:
        One line an image.
    """
    for image in re.findall(r"<img\b[^>]*>", text):
        if not re.search(r"""\balt\s*=\s*(["'])\s*[^"'\s]""", image):
            yield f"{place}: an <img> without alt text"
    if re.search(r"!\[\s*\]\(", text):
        yield f"{place}: a Markdown image without alt text"


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
