"""Which outputs may be stored: those that can be read without a kernel, a page's script or eyes."""

from collections.abc import Mapping
from typing import Any

import nbformat
from nbformat import NotebookNode


def static_output(output: NotebookNode) -> NotebookNode | None:
    """Keep of an output what can be read without a kernel, a page's script or eyes.

    Args:
        output: of a code cell.

    Returns:
        What is left of it; None if nothing is.
    """
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
