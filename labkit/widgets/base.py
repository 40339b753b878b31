"""What a front end without a kernel shows of a widget."""

from typing import Any


def with_html(bundle: Any, html: str) -> tuple[dict, dict] | None:
    """The widget's mime bundle and the static picture, which front ends fall back to."""
    if bundle is None:
        return None
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    return {**data, "text/html": html}, metadata
