"""What a front end without a kernel shows of a widget."""

from typing import Any


def with_html(bundle: Any, html: str) -> tuple[dict, dict] | None:
    """Add the static picture to a widget's mime bundle, for front ends without a kernel.

    Args:
        bundle: what the widget's own `_repr_mimebundle_` returned.
        html: the picture.

    Returns:
        The data and the metadata; None where the widget has no bundle.
    """
    if bundle is None:
        return None
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    return {**data, "text/html": html}, metadata
